from __future__ import annotations

from ipaddress import ip_address

import gevent
import pytest

from rtmpsrv.endpoint.limits import MAX_DEPARTED, Limits
from rtmpsrv.endpoint.publisher import LEFT, REPLACED, EndpointPublication
from rtmpsrv.endpoint.registration import STALLED
from rtmpsrv.endpoint.registrations import PublisherRegistration
from rtmpsrv.endpoint.requests import (
    StreamId,
)
from rtmpsrv.endpoint.types import (
    AudioCodec,
    AudioData,
    Client,
    ConnectionId,
    NewMediaData,
    NewPublisherConnected,
    PublishingStopped,
    RegistrationClosed,
    Statistics,
    StreamMetadata,
    VideoData,
)
from rtmpsrv.errors import PeerLost
from rtmpsrv.protocol import amf0, messages
from tests.unit.endpoint.doubles import Peer, observer, publishers, taken

WHO = Client(ConnectionId("c"), ip_address("127.0.0.1"), "app", "key")
FRAME = (messages.VIDEO, 5, 1, bytes.fromhex("1701000000") + b"k", 4)
HEADER = (messages.VIDEO, 0, 1, bytes.fromhex("1700000000") + b"h", 4)


def on_air(
    registration: PublisherRegistration, *taps: object
) -> tuple[EndpointPublication, Peer, list[object]]:
    peer = Peer()
    ended: list[object] = []
    publication = EndpointPublication(peer, WHO, StreamId("s"), registration, ended.append)
    publication.start("context", taps)  # type: ignore[arg-type]
    return publication, peer, ended


def test_connected_media_and_stopped_come_in_order() -> None:
    registration = publishers()
    publication, _peer, ended = on_air(registration)
    publication.append([HEADER, FRAME])
    publication.end("gone")
    publication.end("again")
    kinds = [type(message) for message in taken(registration)]
    assert kinds == [NewPublisherConnected, NewMediaData, NewMediaData, PublishingStopped]
    assert ended == [publication]
    assert registration.publications == {}


def test_media_after_the_end_goes_nowhere() -> None:
    registration = publishers()
    publication, _peer, _ended = on_air(registration)
    publication.end("gone")
    taken(registration)
    publication.append([FRAME])
    assert taken(registration) == []


def test_a_late_observer_gets_the_headers_and_its_own_end() -> None:
    registration, tap = publishers(), observer()
    publication, peer, _ended = on_air(registration)
    publication.append([HEADER, FRAME])
    publication.add_observer(tap)
    connected, header = taken(tap)
    assert connected == NewPublisherConnected(WHO, StreamId("s"))
    # At the time of now, not of then: its recording would begin with a gap.
    assert header.data == VideoData(b"h", 5, is_keyframe=True, is_sequence_header=True)
    tap.close()
    publication.append([FRAME])
    assert [type(one).__name__ for one in taken(tap)[:-1]] == ["PublishingStopped", "RegistrationClosed"]
    assert peer.dropped == []
    assert tap.publications == set()


def test_a_late_observer_gets_the_headers_of_all_tracks_and_the_latest_of_each() -> None:
    def message(type_id: int, payload: bytes, timestamp: int) -> tuple[int, int, int, bytes, int]:
        return type_id, timestamp, 1, payload, 4

    second_track = b"\x95\x00mp4a\x01\x12\x10"  # Enhanced RTMP: one track, id 1, sequence start
    publication, _peer, _ended = on_air(publishers())
    publication.append([message(messages.DATA_AMF0, amf0.encode("onMetaData", {"width": 1.0}), 0)])
    publication.append(
        [message(messages.AUDIO, b"\xaf\x00\x12\x10", 0), message(messages.AUDIO, second_track, 0)]
    )
    publication.append([HEADER, message(messages.AUDIO, b"\xaf\x00\x11\x90", 7)])
    tap = observer()
    publication.add_observer(tap)
    _connected, *early = taken(tap)
    assert early[0].data == StreamMetadata({"width": 1.0})
    assert sorted((one.data for one in early[1:]), key=repr) == [
        AudioData(b"\x11\x90", 7, is_sequence_header=True),
        AudioData(second_track, 7, AudioCodec.UNKNOWN, is_sequence_header=True, is_raw=True),
        VideoData(b"h", 7, is_keyframe=True, is_sequence_header=True),
    ]
    # After frames it is a new configuration, of one track.
    publication.append([message(messages.AUDIO, b"\xaf\x01frame", 8)])
    publication.append([message(messages.AUDIO, b"\xaf\x00\x12\x10", 9)])
    late = observer()
    publication.add_observer(late)
    assert [one.data.data for one in taken(late)[2:]] == [b"\x12\x10", b"h"]


def test_an_observer_that_is_given_up_when_it_joins_reads_nothing() -> None:
    registration, tap = publishers(), observer()
    publication, _peer, _ended = on_air(registration)
    publication.append([HEADER])
    for filler in range(60):  # more than the limit of messages: the next one ends it
        tap.inbox.put(filler)
    tap.inbox.is_stalled(0.0)
    publication.add_observer(tap)
    kinds = [type(one) for one in taken(tap) if not isinstance(one, int | type)]
    assert kinds == [NewPublisherConnected, PublishingStopped, RegistrationClosed]
    assert registration.closed is None


def test_a_replaced_publisher_ends_and_is_disconnected() -> None:
    registration = publishers()
    publication, peer, _ended = on_air(registration)
    publication.replace()
    assert [type(one) for one in taken(registration)] == [NewPublisherConnected, PublishingStopped]
    assert peer.dropped == [REPLACED]
    assert registration.publications == {}


def test_what_was_handed_over_is_counted() -> None:
    registration = publishers()
    publication, _peer, _ended = on_air(registration)
    publication.append([HEADER, FRAME])
    assert registration.statistics == Statistics(accepted=1, messages=2, bytes=2)


def test_an_end_by_the_registrant_is_logged_only_when_the_session_ends(
    caplog: pytest.LogCaptureFixture,
) -> None:
    registration = publishers()
    publication, _peer, _ended = on_air(registration)
    with caplog.at_level("INFO", "rtmpsrv"):
        registration.close("why")
        assert caplog.messages == []  # a program's log handler may switch greenlets, and close may not
        publication.end("connection lost")
        publication.end("connection lost")
    assert caplog.messages == ["publish ended app=app reason=why"]


def test_the_owner_s_end_ends_observers_too() -> None:
    registration, tap = publishers(), observer()
    _publication, peer, _ended = on_air(registration, tap)
    registration.close("why")
    assert taken(tap)[-1] == PublishingStopped(WHO)
    assert peer.dropped == ["why"]


def test_an_observer_that_is_full_misses_media_up_to_a_keyframe_and_holds_nobody_up() -> None:
    limits = Limits(queue_messages=4, stall_s=60.0)
    registration, tap = publishers(), observer(limits)
    publication, _peer, _ended = on_air(registration, tap)
    inter = (messages.VIDEO, 9, 1, bytes.fromhex("2701000000") + b"i", 4)
    sound = (messages.AUDIO, 9, 1, b"\xaf\x01s", 4)
    publication.append([HEADER, FRAME, inter, inter, inter, inter, FRAME])
    taken(registration)
    early = [one.data.data for one in taken(tap)[1:]]
    assert early == [b"h", b"k", b"i", b"i"]
    publication.append([inter, sound, FRAME, inter, sound])
    late = [one.data.data for one in taken(tap)]
    assert late == [b"h", b"k", b"i", b"s"]  # with the headers, for they may have changed
    assert tap.statistics.dropped == 5
    assert registration.statistics.messages == 12


def test_an_observer_of_sound_alone_goes_on_with_the_next_message() -> None:
    tap = observer(Limits(queue_messages=1, stall_s=60.0))
    publication, _peer, _ended = on_air(publishers(), tap)
    header, sound = ((messages.AUDIO, 9, 1, bytes((0xAF, kind, kind)), 4) for kind in (0, 1))
    publication.append([header, sound, sound])
    assert [one.data.data for one in taken(tap)[1:]] == [b"\0"]
    publication.append([sound])
    assert [one.data.data for one in taken(tap)] == [b"\0", b"\1"]
    publication.end("gone")
    assert taken(tap) == [PublishingStopped(WHO)]


def test_an_observer_that_takes_nothing_at_all_is_ended() -> None:
    tap = observer(Limits(queue_messages=1, stall_s=0.0))
    publication, _peer, _ended = on_air(publishers(), tap)
    publication.append([HEADER, FRAME, FRAME])
    publication.append([FRAME])
    assert tap.closed == STALLED
    publication.append([FRAME])


def test_an_observer_that_may_slow_a_publisher_misses_nothing() -> None:
    tap = observer(Limits(queue_messages=3, stall_s=60.0), slows_publishers=True)
    publication, _peer, _ended = on_air(publishers(), tap)
    publication.append([HEADER, FRAME, FRAME, FRAME])
    waiting = gevent.spawn(publication.append, [FRAME])
    gevent.sleep(0.01)
    assert not waiting.dead
    taken(tap)
    waiting.get(timeout=5)
    assert tap.statistics.dropped == 0


def test_a_publisher_that_left_waits_for_room_unless_too_many_do() -> None:
    registration = publishers(Limits(queue_messages=1, stall_s=60.0))
    publication, peer, _ended = on_air(registration)
    publication.append([HEADER])
    peer.left = True
    waiting = gevent.spawn(publication.append, [FRAME])
    gevent.sleep(0.01)
    assert registration.departed == {publication}
    assert len(taken(registration)) == 2
    waiting.get(timeout=5)
    assert registration.departed == set()
    publication.append([FRAME])
    registration.departed.update(range(MAX_DEPARTED))
    with pytest.raises(PeerLost, match=LEFT):
        publication.append([FRAME])
    publication.end(LEFT)
    assert [type(one) for one in taken(registration)] == [NewMediaData, NewMediaData, PublishingStopped]
    assert registration.departed == set(range(MAX_DEPARTED))


def test_one_that_waits_for_room_is_looked_at_again() -> None:
    registration = publishers(Limits(queue_messages=1, stall_s=60.0))
    publication, peer, _ended = on_air(registration)
    publication.append([HEADER])
    registration.departed.update(range(MAX_DEPARTED))
    waiting = gevent.spawn(publication.append, [FRAME])
    gevent.sleep(0.01)
    peer.left = True
    with pytest.raises(PeerLost):
        waiting.get(timeout=5)


def test_one_that_waits_for_room_is_asked_for_unread_bytes_hide_its_end() -> None:
    registration = publishers(Limits(queue_messages=1, stall_s=60.0))
    publication, peer, _ended = on_air(registration)
    publication.append([HEADER])
    registration.departed.update(range(MAX_DEPARTED))
    peer.leaves_when_asked = True
    with pytest.raises(PeerLost):
        gevent.spawn(publication.append, [FRAME]).get(timeout=5)


def test_an_observer_that_lets_go_of_a_publisher_when_it_comes_gets_no_media() -> None:
    tap = observer(Limits(unaccepted=1))
    accepted = tap.accept()
    publication, _peer, _ended = on_air(publishers())
    publication.append([HEADER])
    publication.add_observer(tap)
    next(accepted)
    for name in ("one", "two"):
        who = Client(ConnectionId(name), ip_address("127.0.0.1"), "app", name)
        other = EndpointPublication(Peer(), who, StreamId(name), publishers(), lambda one: None)
        other.start(None, [])
        other.append([HEADER])
        other.add_observer(tap)
    assert tap.statistics.messages == 2
    assert len(tap.publications) == 2

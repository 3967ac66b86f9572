from __future__ import annotations

from ipaddress import ip_address

from rtmpsrv.endpoint.publisher import EndpointPublication
from rtmpsrv.endpoint.registrations import PublisherRegistration
from rtmpsrv.endpoint.types import (
    Client,
    ConnectionId,
    NewMediaData,
    NewPublisherConnected,
    PublishingStopped,
    StreamId,
    VideoData,
)
from rtmpsrv.protocol import messages
from tests.unit.endpoint.doubles import Peer, observer, publishers, taken

WHO = Client(ConnectionId("c"), ip_address("127.0.0.1"), "app", "key")
FRAME = (messages.VIDEO, 5, 1, bytes.fromhex("1701000000") + b"k", 4)
HEADER = (messages.VIDEO, 0, 1, bytes.fromhex("1700000000") + b"h", 4)


def on_air(
    registration: PublisherRegistration, *taps: object
) -> tuple[EndpointPublication, Peer, list[object]]:
    peer = Peer()
    ended: list[object] = []
    publication = EndpointPublication(peer.client, WHO, StreamId("s"), registration, ended.append)
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
    assert header.data == VideoData(b"h", 0, is_keyframe=True, is_sequence_header=True)
    tap.close()
    publication.append([FRAME])
    assert [type(one).__name__ for one in taken(tap)[:-1]] == ["PublishingStopped", "RegistrationClosed"]
    assert peer.dropped == []
    assert tap.publications == set()


def test_the_owner_s_end_ends_observers_too() -> None:
    registration, tap = publishers(), observer()
    _publication, peer, _ended = on_air(registration, tap)
    registration.close("why")
    assert taken(tap)[-1] == PublishingStopped(WHO.connection_id)
    assert peer.dropped == ["why"]

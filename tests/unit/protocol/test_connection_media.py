"""What `protocol/connection.py` does with publishers and players."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest

from rtmpsrv.errors import RemoteProtocolError
from rtmpsrv.protocol import amf0, events, messages
from rtmpsrv.protocol.chunks import Limits, pack
from rtmpsrv.protocol.connection import (
    MAX_MESSAGES_BEFORE_ROLE,
    UNKNOWN_PEER,
)
from tests.unit.protocol.peer import (
    CAPTURES,
    MALFORMED,
    Peer,
    command,
    connected,
    flat,
    padded,
    playing,
    publishing,
    tag,
    video,
)
from tests.vectors import name_of

# --- publishing -----------------------------------------------------------------------------------


def test_accepted_publish_is_answered_on_its_stream() -> None:
    peer = publishing()
    assert peer.sent[-2] == (4, 0, 0, bytes.fromhex("000000000001"))
    assert peer.sent[-1][1] == 1
    assert peer.statuses() == [("status", "NetStream.Publish.Start", "started")]


def test_refused_publish_may_be_tried_again() -> None:
    peer = connected(answers=False)
    peer.connection.send(events.ConnectAccepted())
    peer.call("publish", "key", msid=1)
    peer.connection.send(events.PublishRefused("NetStream.Publish.BadName", "why"))
    peer.collect()
    assert peer.statuses() == [("error", "NetStream.Publish.BadName", "why")]
    assert peer.call("publish", "key", "live", msid=1) == [events.PublishAsked(1, "key", "live")]


@pytest.mark.parametrize(
    ("arguments", "name", "mode"),
    [
        ((), None, ""),
        (("",), "", ""),
        (({"a": 1.0},), "", ""),
        (("k?a=b",), "k?a=b", ""),
        (("k", "append"), "k", "append"),
        (("k", 5.0), "k", ""),
    ],
)
def test_name_and_mode_of_a_publish(arguments: tuple[Any, ...], name: str | None, mode: str) -> None:
    assert connected().call("publish", *arguments, msid=1) == [events.PublishAsked(1, name, mode)]


def test_media_comes_in_runs_between_commands() -> None:
    peer = publishing()
    data = [pack(4, 1, 8, 1, b"a"), video(b"v", 2), command("_checkbw", 0.0, None), video(b"w", 3)]
    assert peer.receive(b"".join(data)) == [
        [(8, 1, 1, b"a", 4), (9, 2, 1, b"v", 6)],
        [(9, 3, 1, b"w", 6)],
    ]


def test_media_before_and_after_publishing_is_dropped() -> None:
    peer = connected()
    assert peer.receive(video(b"early")) == []
    peer.call("createStream", transaction=2.0)
    data = command("publish", 0.0, None, "key", msid=1) + video(b"v")
    data += command("deleteStream", 0.0, None, 1.0) + video(b"late")
    new = peer.receive(data)
    assert [type(event) for event in new] == [events.PublishAsked, list, events.PublishStopAsked]
    assert new[1] == [(9, 0, 1, b"v", 6)]
    assert peer.statuses()[-1] == ("status", "NetStream.Unpublish.Success", "ended")


def test_aggregate_is_split_in_its_place() -> None:
    tags = tag(9, b"v") + tag(9, b"w")
    peer = publishing()
    assert flat(peer.receive(video(b"u") + pack(6, 50, 22, 1, tags) + video(b"x"))) == [
        (9, 0, 1, b"u", 6),
        (9, 50, 1, b"v", 6),
        (9, 50, 1, b"w", 6),
        (9, 0, 1, b"x", 6),
    ]


def test_data_sent_as_a_command_is_data() -> None:
    peer = publishing()
    payload = amf0.encode("@setDataFrame", "onMetaData", {"width": 1.0})
    for type_id, body in ((20, payload), (17, b"\0" + payload), (17, payload)):
        assert peer.receive(pack(3, 5, type_id, 1, body)) == [[(18, 5, 1, payload, 3)]]
    assert connected().receive(pack(3, 5, 20, 1, payload)) == []


def test_limits_widen_when_a_peer_may_publish() -> None:
    big = video(bytes(1 << 17))
    with pytest.raises(RemoteProtocolError, match="limit 65536"):
        connected().receive(big)
    peer = publishing(limits=Limits(media_bytes=1 << 17))
    assert len(peer.receive(big)[0]) == 1
    with pytest.raises(RemoteProtocolError, match="limit 131072"):
        peer.receive(video(bytes((1 << 17) + 1)))


def test_keyframe_may_come_in_one_read_with_the_publish_before_it() -> None:
    big = video(bytes(1 << 17))
    peer = connected()
    new = peer.receive(command("publish", 0.0, None, "key", msid=1) + big + video(b"next"))
    assert [type(event) for event in new] == [events.PublishAsked, list]
    assert [len(message[3]) for message in new[1]] == [1 << 17, 4]


def test_peer_that_does_not_say_what_it_wants_may_send_200_messages() -> None:
    peer = connected()
    used = peer.connection.messages_before_role
    peer.receive(video(b"v") * (MAX_MESSAGES_BEFORE_ROLE - used - 1))
    assert peer.call("publish", "key", "live", msid=1)
    peer.receive(video(b"v") * (MAX_MESSAGES_BEFORE_ROLE + 1))
    assert len(flat(peer.events)) == 2 + MAX_MESSAGES_BEFORE_ROLE + 1
    peer.call("closeStream", msid=1)
    peer.receive(video(b"v") * MAX_MESSAGES_BEFORE_ROLE)  # counted anew
    with pytest.raises(RemoteProtocolError, match="limit 200 before publish or play"):
        peer.receive(video(b"v"))


def test_commands_of_who_has_no_role_are_short() -> None:
    peer = connected()
    longest = UNKNOWN_PEER.command_bytes
    peer.receive(pack(3, 0, 20, 0, padded(longest)))
    with pytest.raises(RemoteProtocolError, match="16385 bytes, limit 16384"):
        peer.receive(pack(3, 0, 20, 0, padded(longest + 1)))
    publishing().receive(pack(3, 0, 20, 0, padded(longest + 1)))


def test_player_may_send_more_than_200_messages() -> None:
    peer = playing()
    peer.receive(messages.user_control(messages.PING_RESPONSE, 1) * (MAX_MESSAGES_BEFORE_ROLE + 1))
    peer.call("closeStream", msid=1)
    with pytest.raises(RemoteProtocolError, match="limit 200"):
        peer.receive(command("_checkbw", 0.0, None) * (MAX_MESSAGES_BEFORE_ROLE + 1))


def test_too_long_message_behind_other_commands_is_refused_all_the_same() -> None:
    peer = connected()
    with pytest.raises(RemoteProtocolError, match="131072 bytes, limit 65536"):
        peer.receive(command("createStream", 3.0, None) + video(bytes(1 << 17)))
    assert peer.connection.created_streams == 1


@pytest.mark.parametrize(
    ("name", "arguments", "msid"),
    [
        ("deleteStream", (1.0,), 0),
        ("deleteStream", ("key",), 0),  # GStreamer
        ("closeStream", (), 1),
        ("publish", (False,), 1),  # Wirecast
        ("publish", ("",), 1),
    ],
)
def test_publisher_may_stop_and_publish_again(name: str, arguments: tuple[Any, ...], msid: int) -> None:
    peer = publishing()
    assert peer.call(name, *arguments, msid=msid) == [events.PublishStopAsked()]
    assert peer.call("publish", "key", "live", msid=1) == [events.PublishAsked(1, "key", "live")]


@pytest.mark.parametrize(
    ("name", "arguments", "msid"),
    [
        ("deleteStream", (), 0),
        ("deleteStream", (2.0,), 0),
        ("deleteStream", (float("nan"),), 0),
        ("deleteStream", (float("inf"),), 0),
        ("deleteStream", (-1e300,), 0),
        ("deleteStream", ("another",), 0),
        ("deleteStream", (None,), 0),
        ("closeStream", (), 2),
    ],
)
@pytest.mark.parametrize("make", [publishing, playing])
def test_other_streams_may_be_closed(
    make: Callable[[], Peer], name: str, arguments: tuple[Any, ...], msid: int
) -> None:
    assert make().call(name, *arguments, msid=msid) == []


# --- playing --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "arguments", "msid"),
    [("deleteStream", (1.0,), 0), ("deleteStream", ("key",), 0), ("closeStream", (), 1)],
)
def test_player_may_stop_and_play_again(name: str, arguments: tuple[Any, ...], msid: int) -> None:
    peer = playing()
    assert peer.call(name, *arguments, msid=msid) == [events.PlayStopAsked()]
    assert peer.statuses()[-1] == ("status", "NetStream.Play.Stop", "stopped")
    assert peer.call("play", "key", msid=1) == [events.PlayAsked(1, "key")]


def test_play_name_that_is_no_string_is_empty() -> None:
    data = pack(3, 0, 20, 1, bytes.fromhex(MALFORMED["play name is a number"]["hex"]))
    assert connected().receive(data) == [events.PlayAsked(1, "")]


def test_play_without_a_name() -> None:
    assert connected().call("play", msid=1) == [events.PlayAsked(1, None)]


@pytest.mark.parametrize("waited", [False, True])
def test_refused_play_is_said_on_its_stream(waited: bool) -> None:
    peer = playing() if waited else connected(answers=False)
    if not waited:
        peer.connection.send(events.ConnectAccepted())
        peer.call("play", "key", msid=1)
    peer.connection.send(events.PlayRefused("NetStream.Play.BadName", "why"))
    peer.collect()
    assert peer.sent[-1][1] == 1
    assert peer.statuses()[-1] == ("error", "NetStream.Play.BadName", "why")


def test_silent_ends_say_nothing() -> None:
    for peer, event in ((publishing(), events.PublishEnded()), (playing(), events.PlayEnded())):
        before = len(peer.sent)
        peer.connection.send(event)
        peer.collect()
        assert len(peer.sent) == before


def test_pause_concerns_players_only() -> None:
    peer = playing()
    assert peer.call("pause", True, 0.0, msid=1) == [events.PauseAsked(True)]
    assert peer.call("pauseRaw", 0.0, 0.0, msid=1) == [events.PauseAsked(False)]
    assert peer.call("pause", msid=1) == []
    assert connected().call("pause", True, msid=1) == []


def test_receive_flags_may_come_before_play() -> None:
    peer = connected()
    assert peer.call("receiveAudio", False) == [events.ReceiveAsked(True, False)]
    assert peer.call("receiveVideo", True) == [events.ReceiveAsked(False, True)]
    assert peer.call("receiveVideo") == []


def test_one_connection_may_publish_and_play() -> None:
    peer = publishing()
    assert peer.call("play", "key", msid=2) == [events.PlayAsked(2, "key")]
    assert peer.call("closeStream", msid=2) == [events.PlayStopAsked()]
    assert peer.call("closeStream", msid=1) == [events.PublishStopAsked()]


# --- captures of real clients ---------------------------------------------------------------------


@pytest.mark.parametrize("capture", CAPTURES, ids=name_of)
def test_capture_is_understood(capture: dict[str, Any]) -> None:
    peer = Peer()
    peer.receive(bytes.fromhex(capture["client_to_server_hex"]))
    kinds = [type(event) for event in peer.events if not isinstance(event, list)]
    if "play" in capture["name"]:
        assert kinds[:2] == [events.ConnectAsked, events.PlayAsked]
        assert not [event for event in peer.events if isinstance(event, list)]
    else:
        assert kinds == [events.ConnectAsked, events.PublishAsked, events.PublishStopAsked]
        media = [m for m in capture["messages"] if m["type"] in (8, 9, 15, 18)]
        received = [event for event in flat(peer.events) if isinstance(event, tuple)]
        assert [(m[0], m[1], len(m[3])) for m in received] == [
            (m["type"], m["timestamp"], m["length"]) for m in media
        ]
        assert peer.statuses()[0][1] == "NetStream.Publish.Start"


@pytest.mark.parametrize("capture", CAPTURES, ids=name_of)
def test_capture_means_the_same_however_it_is_cut(capture: dict[str, Any]) -> None:
    data = bytes.fromhex(capture["client_to_server_hex"])
    whole, single, random_cuts = Peer(), Peer(), Peer()
    whole.receive(data)
    for byte in data:
        single.receive(bytes((byte,)))
    edges = sorted(random.Random(1).sample(range(len(data)), 25))
    for start, end in zip([0, *edges], [*edges, len(data)], strict=True):
        random_cuts.receive(data[start:end])
    assert flat(single.events) == flat(whole.events) == flat(random_cuts.events)

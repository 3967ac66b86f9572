"""That `protocol/connection.py` works in pieces, may move between them, and acknowledges."""

from __future__ import annotations

import itertools
import pickle
from typing import Any

import pytest

from rtmpsrv.protocol import events, messages
from rtmpsrv.protocol.chunks import pack
from rtmpsrv.protocol.connection import (
    ServerConnection,
)
from rtmpsrv.protocol.link import BYTES_PER_UNIT, DEFAULT_PEER_WINDOW, MESSAGES_PER_CALL
from rtmpsrv.protocol.state import Role
from tests.unit.protocol.peer import (
    CAPTURES,
    CHUNK_SIZE,
    HANDSHAKE,
    Peer,
    command,
    connect,
    connected,
    flat,
    playing,
    publishing,
    tag,
    video,
)

# --- work in pieces -------------------------------------------------------------------------------


def run_lengths(connection: ServerConnection, most: int = MESSAGES_PER_CALL) -> list[int]:
    """Take what one call has, which is media only; return how many messages were in each run."""
    return [len(run) for run in connection.events(most) if isinstance(run, list)]


def test_messages_of_one_call_are_bounded() -> None:
    connection = publishing().connection
    connection.receive_data(video(b"v") * (MESSAGES_PER_CALL + 1))
    before = connection.work
    assert run_lengths(connection) == [MESSAGES_PER_CALL]
    assert (connection.work - before, connection.backlog) == (MESSAGES_PER_CALL, True)
    assert run_lengths(connection) == [1]
    assert not connection.backlog
    assert list(connection.events()) == []


def test_aggregate_is_split_by_calls_and_can_move_between_them() -> None:
    connection = publishing().connection
    tags = [tag(9, bytes((number,))) for number in range(10)]
    connection.receive_data(pack(6, 0, 22, 1, b"".join(tags)) + video(b"behind"))
    taken: list[Any] = []
    held = []
    while connection.backlog:
        new = flat(connection.events(3))
        assert len(new) <= 3
        taken += new
        held.append(connection.held_bytes)
        connection = pickle.loads(pickle.dumps(connection))
    assert [message[3] for message in taken] == [bytes((number,)) for number in range(10)] + [b"behind"]
    assert held[0] >= sum(map(len, tags))
    assert held[-1] == 0


def test_tags_that_an_aggregate_may_not_carry_are_work_too() -> None:
    connection = publishing().connection
    connection.receive_data(pack(6, 0, 22, 1, tag(20, b"") * 10 + tag(18, bytes(BYTES_PER_UNIT)) + b"cut"))
    before = connection.work
    calls = 0
    while connection.backlog:
        calls += 1
        for run in connection.events(4):
            assert run == [(18, 0, 1, bytes(BYTES_PER_UNIT), 6)]
    assert connection.work - before == 1 + 10 + 2
    assert calls > 3


def test_rest_of_an_aggregate_goes_with_its_publication() -> None:
    connection = publishing().connection
    connection.receive_data(pack(6, 0, 22, 1, tag(9, b"v") * 10))
    assert sum(run_lengths(connection, 3)) == 2
    connection.send(events.PublishEnded())
    while connection.backlog:
        assert list(connection.events(3)) == []
    assert connection.held_bytes == 0
    connection.receive_data(pack(6, 0, 22, 1, tag(9, b"v") * 10))
    assert list(connection.events()) == []
    assert not connection.backlog


def test_long_commands_and_data_count_by_their_bytes() -> None:
    connection = publishing().connection
    for type_id in (15, 17, 18, 20):
        before = connection.work
        connection.receive_data(pack(3, 0, type_id, 1, b"\2\0\0" + b"\5" * (BYTES_PER_UNIT * 9 - 3)))
        while connection.backlog:
            list(connection.events())
        assert connection.work - before == 10


def test_caller_that_stops_loses_nothing_and_gets_nothing_twice() -> None:
    data = [video(b"u"), command("play", 0.0, None, "key", msid=2), pack(6, 0, 22, 1, tag(9, b"v") * 3)]
    data += [video(b"w"), command("closeStream", 0.0, None, msid=1), video(b"late")]
    connection = publishing().connection
    connection.receive_data(b"".join(data))
    taken: list[Any] = []
    while connection.backlog:
        for event in connection.events():
            taken.append(event)
            break
        connection = pickle.loads(pickle.dumps(connection))
    assert flat(taken) == [
        (9, 0, 1, b"u", 6),
        events.PlayAsked(2, "key"),
        *[(9, 0, 1, b"v", 6)] * 3,
        (9, 0, 1, b"w", 6),
        events.PublishStopAsked(),
    ]


def test_held_bytes_are_all_that_waits() -> None:
    connection = ServerConnection(CHUNK_SIZE)
    connection.receive_data(HANDSHAKE[:100])
    assert connection.held_bytes == 100
    connection = publishing().connection
    assert connection.held_bytes == 0
    half = video(bytes(100))[:50]
    connection.receive_data(half)
    assert (connection.held_bytes, connection.backlog) == (50, True)
    list(connection.events())
    assert (connection.held_bytes, connection.backlog) == (38, False)
    connection.receive_data(video(bytes(100))[50:] + command("play", 1.0, None, "k", msid=2) + half[:5])
    list(connection.events(1))
    list(connection.events(1))
    assert connection.waiting is not None
    assert connection.held_bytes >= len(connection.waiting[3])
    assert (list(connection.events()), connection.held_bytes) == ([events.PlayAsked(2, "k")], 5)


def test_bytes_that_wait_are_joined() -> None:
    connection = publishing().connection
    connection.receive_data(video(b"v")[:5])
    connection.receive_data(video(b"v")[5:])
    assert list(connection.events()) == [[(9, 0, 1, b"v", 6)]]


def test_log_sees_every_message_before_its_event() -> None:
    connection = publishing().connection
    connection.judged = []
    connection.receive_data(video(b"v") + command("play", 0.0, None, "key", msid=2) + video(b"w"))
    seen = []
    for _ in connection.events():
        seen.append([message[0] for message in connection.judged])
        connection.judged.clear()
    assert seen == [[9, 20], [], [9]]


# --- acknowledgements -----------------------------------------------------------------------------


def acknowledgements(peer: Peer) -> list[int]:
    return [int.from_bytes(body, "big") for kind, _, _, body in peer.sent if kind == 3]


def test_half_the_window_is_acknowledged() -> None:
    peer = publishing()
    total = peer.connection.received_bytes
    frame = video(bytes(1000))
    while not acknowledgements(peer):
        peer.receive(frame)
        total += len(frame)
    assert acknowledgements(peer) == [total]
    assert 0 <= total - DEFAULT_PEER_WINDOW // 2 < len(frame)


def test_window_of_the_peer_counts_from_its_message_on() -> None:
    peer = connected()
    peer.receive(messages.window_ack_size(200))
    start = peer.connection.received_bytes
    for _ in range(12):
        peer.receive(pack(2, 0, 3, 0, bytes(4)))  # 16 bytes
    acknowledged = acknowledgements(peer)
    assert acknowledged[0] <= start + 100
    assert all(100 <= b - a <= 112 for a, b in itertools.pairwise(acknowledged))


def test_window_0_wants_no_acknowledgements() -> None:
    peer = publishing()
    peer.receive(messages.window_ack_size(0))
    for _ in range(60):
        peer.receive(video(bytes(60000)))
    assert acknowledgements(peer) == []


def test_acknowledged_count_wraps() -> None:
    peer = connected()
    peer.connection.received_bytes = peer.connection.acknowledged_bytes = (1 << 32) - 30
    peer.receive(messages.window_ack_size(64))  # 16 bytes
    peer.receive(pack(2, 0, 3, 0, bytes(4)))
    assert acknowledgements(peer) == [2]
    peer.receive(pack(2, 0, 3, 0, bytes(4)) * 2)
    assert acknowledgements(peer) == [2, 34]


# --- a session can move ---------------------------------------------------------------------------


@pytest.mark.parametrize("cut", [1, 700, 1536, 1537, 2000, 3072, 3073, 3080, 3300, 4000, 4500, 5000, 9000])
def test_connection_goes_on_after_a_pickle(cut: int) -> None:
    data = bytes.fromhex(CAPTURES[1]["client_to_server_hex"])  # chunk size 128: cuts are inside chunks
    peer, moved = Peer(), Peer()
    peer.receive(data)
    moved.receive(data[:cut])
    moved.connection = pickle.loads(pickle.dumps(moved.connection))
    moved.receive(data[cut:])
    assert flat(moved.events) == flat(peer.events)
    assert moved.sent == peer.sent


def test_pickle_holds_what_was_not_yet_taken() -> None:
    connection = ServerConnection(CHUNK_SIZE)
    connection.receive_data(HANDSHAKE + connect()[:40])
    connection.receive_data(connect()[40:])
    moved: ServerConnection = pickle.loads(pickle.dumps(connection))
    assert moved.data_to_send() == connection.data_to_send()
    assert list(moved.events()) == list(connection.events()) != []
    assert moved.publish_role is Role.NONE


def test_repr_shows_no_stream_name() -> None:
    for peer in (publishing(), playing()):
        assert "'key'" not in repr(peer.connection)

"""Publishers that move while they send. Each message arrives once, and what they were granted is theirs."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from rtmpsrv.errors import ConnectionClosed
from rtmpsrv.protocol import messages
from rtmpsrv.server import ingest
from tests.client import chunks_of, keyframe
from tests.integration.moving import APP, Connection, Frame, House, house
from tests.unit.server.stage import PATIENCE_S, eventually

EXTENDED_HEADER = 16  # bytes of a type 0 chunk's header with one byte of chunk stream id


@pytest.fixture
def opened() -> Iterator[House]:
    with house() as made:
        yield made


# --- publishers ---------------------------------------------------------------------------------------

CUTS = [
    0, 1, 4, 7, 8, 12, 13, 15, EXTENDED_HEADER, EXTENDED_HEADER + 1,
    EXTENDED_HEADER + 127, EXTENDED_HEADER + 128,  # where the next chunk begins
    EXTENDED_HEADER + 129, EXTENDED_HEADER + 132, EXTENDED_HEADER + 133, 400,
]  # fmt: skip


@pytest.mark.parametrize("csid", [6, 70, 400])
def test_a_publisher_in_mid_chunk(opened: House, csid: int) -> None:
    watcher, publisher = opened.waiting(), opened.publisher()
    publisher.start()
    publisher.some()
    for cut in CUTS:
        frame = publisher.frame(messages.VIDEO, keyframe(bytes([cut % 251]) * 500))
        state = publisher.send_cut(publisher.pack(frame, csid), cut)
        assert state.publication is not None
        publisher.some(2)
    watcher.hear_to(publisher.mark())
    assert watcher.frames == publisher.sent


def test_a_publisher_in_mid_chunk_of_two_messages(opened: House) -> None:
    watcher, publisher = opened.waiting(), opened.publisher()
    publisher.start()
    sound = publisher.frame(messages.AUDIO, b"\xaf\x01" + b"sound" * 60)
    video = publisher.frame(messages.VIDEO, keyframe(b"video" * 100))
    type_id, timestamp, payload = video
    first, *others = chunks_of(messages.VIDEO, timestamp, type_id, 1, payload)
    data = first + publisher.pack(sound) + b"".join(others)
    for begin in range(0, len(data), 50):  # 50 bytes, of which 20 come before the move
        publisher.send_cut(data[begin : begin + 50], 20)
    watcher.hear_to(publisher.mark())
    assert watcher.frames == publisher.sent


def tags(frames: list[Frame]) -> bytes:
    """Return the body of an aggregate message."""
    return b"".join(
        bytes((type_id,))
        + len(payload).to_bytes(3, "big")
        + (timestamp & 0xFFFFFF).to_bytes(3, "big")
        + bytes((timestamp >> 24, 0, 0, 0))
        + payload
        + (len(payload) + 11).to_bytes(4, "big")
        for type_id, timestamp, payload in frames
    )


def test_a_publisher_inside_an_aggregate(opened: House) -> None:
    watcher, publisher = opened.waiting(), opened.publisher()
    publisher.start()
    publisher.sync()
    frames = [
        publisher.frame(messages.AUDIO, b"\xaf\x01" + number.to_bytes(4, "big")) for number in range(400)
    ]
    publisher.state.account.units = 0  # as if it had sent a lot: its turns are short
    aggregate = (messages.AGGREGATE, frames[0][1], tags(frames))
    publisher.client.send_bytes(publisher.pack(aggregate) + publisher.pack(publisher.frame(9, b"\x27\x01..")))
    for _ in range(3):
        eventually(lambda: publisher.state.connection.backlog, "a backlog")
        assert publisher.move().connection.backlog
    publisher.some()
    watcher.hear_to(publisher.mark())
    assert watcher.frames == publisher.sent


def test_publishers_at_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ingest, "REST_PER_PUBLISHER_S", 0.01)
    with house() as opened:
        watcher, publisher, other = opened.waiting(), opened.publisher(), opened.publisher("other")
        other.start()
        publisher.start()
        for cut in CUTS:
            # A reader rests after a read; a sweep between two sessions has woken the other one, too.
            other.some(1)
            publisher.sync()
            eventually(lambda: len(opened.parts.ingest) == 2, "rest")
            frame = publisher.frame(messages.VIDEO, keyframe(bytes([cut % 251]) * 500))
            publisher.send_cut(publisher.pack(frame), cut)
            publisher.some(2)
        watcher.hear_to(publisher.mark())
        assert watcher.frames == publisher.sent


def test_a_publisher_that_sends_while_it_moves(opened: House) -> None:
    watcher, publisher = opened.waiting(), opened.publisher()
    publisher.start()
    for _ in range(10):
        publisher.some()
        publisher.move(publisher.some)
    watcher.hear_to(publisher.mark())
    assert watcher.frames == publisher.sent
    publisher.client.stop_publishing()
    watcher.hear_status("NetStream.Play.UnpublishNotify")
    assert opened.desk.ended_ids == ["id-1"]


# --- grants -------------------------------------------------------------------------------------------


def ends(connection: Connection) -> None:
    """Read to the end of a connection."""
    with pytest.raises(ConnectionClosed):
        connection.hear(lambda _: False)
    connection.greenlet.join(PATIENCE_S)


def test_a_grant_survives_a_move(opened: House) -> None:
    watcher, publisher = opened.waiting(), opened.publisher()
    publisher.start()
    publisher.move()
    publisher.sync()
    assert not opened.gate.kill(APP, "id-2", "another one")
    assert opened.gate.kill(APP, "id-1", "killed")
    ends(publisher)
    watcher.hear_status("NetStream.Play.UnpublishNotify")
    assert opened.desk.ended_ids == ["id-1"]
    successor = opened.publisher()
    successor.start()
    watcher.hear_to(successor.mark())
    assert watcher.frames == publisher.sent + successor.sent


@pytest.mark.parametrize("how", ["killed", "left"])
def test_a_publication_that_ends_while_it_moves(opened: House, how: str) -> None:
    watcher, publisher = opened.waiting(), opened.publisher()
    publisher.start()
    publisher.sync()
    if how == "killed":
        publisher.move(lambda: opened.gate.kill(APP, "id-1", "killed"))
        ends(publisher)
    else:
        publisher.move(publisher.client.close)
    watcher.hear_status("NetStream.Play.UnpublishNotify")
    assert opened.desk.ended_ids == ["id-1"]
    successor = opened.publisher()
    successor.start()
    watcher.hear_to(successor.mark())
    assert watcher.frames == publisher.sent + successor.sent

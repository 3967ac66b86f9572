from __future__ import annotations

import pytest

from rtmpsrv.protocol.chunk_stream import LARGE_CHUNK, ChunkStream, joined, make_room
from rtmpsrv.protocol.chunks import pack


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ("", True),  # type 2
        ("00012c09", True),  # type 1
        ("00012c0901000000", True),  # type 0
        ("00012d09", False),
        ("00012c08", False),
        ("00012c0902000000", False),
    ],
)
def test_message_goes_on_behind_a_header_that_says_the_same(fields: str, expected: bool) -> None:
    stream = ChunkStream(6, length=300, type_id=9, msid=1, partial=bytearray(128))
    assert stream.continued_by(bytes.fromhex(fields)) == expected


def test_the_chunk_stream_that_was_idle_longest_makes_room() -> None:
    streams = {
        csid: ChunkStream(csid, partial=partial, used=used)
        for csid, partial, used in ((2, None, 9), (3, bytearray(1), 1), (4, None, 5), (5, None, 7))
    }
    assert make_room(streams)
    assert make_room(streams)
    assert sorted(streams) == [2, 3]
    assert make_room(streams)
    assert not make_room(streams), "an unfinished message stays"
    assert sorted(streams) == [3]


PAYLOAD = bytes(range(256)) * 20


@pytest.mark.parametrize("length", [LARGE_CHUNK, LARGE_CHUNK + 1, 2 * LARGE_CHUNK, len(PAYLOAD)])
def test_a_message_that_is_there_as_a_whole_is_joined(length: int) -> None:
    chunks = pack(6, 0, 9, 1, PAYLOAD[:length], LARGE_CHUNK)[12:]
    before, behind = b"before", b"behind"
    data = before + chunks + behind
    assert joined(data, len(before), length, LARGE_CHUNK, 6) == (PAYLOAD[:length], len(data) - len(behind))


@pytest.mark.parametrize(
    ("csid", "cut", "change"),
    [
        (6, 1, None),  # the last byte is to come
        (6, 0, LARGE_CHUNK),  # another chunk stream's between the first two
        (6, 0, 2 * LARGE_CHUNK + 1),
        (64, 0, None),  # more bytes between them
    ],
)
def test_what_is_no_whole_message_in_a_row_is_left(csid: int, cut: int, change: int | None) -> None:
    data = bytearray(pack(6, 0, 9, 1, PAYLOAD, LARGE_CHUNK)[12:])
    if change is not None:
        data[change] = 0xC4
    whole = bytes(data[: len(data) - cut])
    assert joined(whole, 0, len(PAYLOAD), LARGE_CHUNK, csid) == (None, 0)

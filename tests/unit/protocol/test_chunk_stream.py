from __future__ import annotations

import pytest

from rtmpsrv.protocol.chunk_stream import ChunkStream, make_room


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

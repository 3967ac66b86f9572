from __future__ import annotations

import struct

from rtmpsrv.media.mp4 import MAX_DURATION, Part, Run, box, fragment, random_access


def boxes(data: bytes) -> dict[str, list[bytes]]:
    """The contents of the boxes in a row, by kind; nothing is left over."""
    found: dict[str, list[bytes]] = {}
    while data:
        size, kind = struct.unpack_from(">I4s", data)
        assert 8 <= size <= len(data)
        found.setdefault(kind.decode(), []).append(data[8:size])
        data = data[size:]
    return found


def test_a_box_tells_its_size_and_kind() -> None:
    assert box(b"free", b"ab", b"c") == b"\0\0\0\x0bfreeabc"


def test_a_fragment_tells_where_each_frame_is() -> None:
    picture = [Part(33, 66, True, b"key"), Part(34, 0, False, b"inter")]
    sound = [Part(21, 0, True, b"tone")]
    data = fragment(7, [Run(1, 5_000_000_000, picture), Run(2, 5_000_000_010, sound)])

    top = boxes(data)
    moof = boxes(top["moof"][0])
    assert moof["mfhd"] == [struct.pack(">II", 0, 7)]
    video, audio = map(boxes, moof["traf"])
    assert video["tfhd"] == [struct.pack(">II", 0x020000, 1)]
    assert video["tfdt"] == [struct.pack(">IQ", 1 << 24, 5_000_000_000)]
    flags, count, offset, *rows = struct.unpack(">IIi IIIi IIIi", video["trun"][0])
    assert (flags, count) == (0x1000F01, 2)
    assert rows == [33, 3, 0x2000000, 66, 34, 5, 0x1010000, 0]
    assert data[offset : offset + 8] == b"keyinter"
    _, count, offset, *rows = struct.unpack(">IIi IIIi", audio["trun"][0])
    assert (count, rows) == (1, [21, 4, 0x2000000, 0])
    assert data[offset:] == b"tone"
    assert top["mdat"] == [b"keyintertone"]


def test_no_duration_is_above_what_its_field_holds() -> None:
    trun = boxes(
        boxes(boxes(fragment(1 << 40, [Run(1, 0, [Part(1 << 40, 0, True, b"x")])]))["moof"][0])["traf"][0]
    )
    assert struct.unpack_from(">I", trun["trun"][0], 12) == (MAX_DURATION,)


def test_the_index_at_the_end_tells_its_own_size() -> None:
    data = random_access(1, [(0, 1000), (2000, 1 << 33)])

    (whole,) = boxes(data)["mfra"]
    inside = boxes(whole)
    assert struct.unpack(">II", inside["mfro"][0]) == (0, len(data))
    assert struct.unpack_from(">IIII", inside["tfra"][0]) == (1 << 24, 1, 0, 2)
    assert struct.unpack_from(">QQBBB", inside["tfra"][0], 16 + 19) == (2000, 1 << 33, 1, 1, 1)

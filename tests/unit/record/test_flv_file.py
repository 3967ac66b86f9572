"""An FLV file from its first byte to what is written over it at the end; and one that was left unfinished."""

from __future__ import annotations

import pytest

from rtmpsrv.media.flv import Tag, TagReader
from rtmpsrv.protocol import amf0
from rtmpsrv.protocol.amf_values import EcmaArray
from rtmpsrv.record.flv_file import HEADER_SIZE, FlvFile, Scan
from tests.unit.record.stage import scanned

VIDEO, AUDIO = (9, bytes.fromhex("17000000000142c00affe10000")), (8, bytes.fromhex("af001210"))
META = amf0.encode("onMetaData", EcmaArray({"width": 640.0, "duration": 0.5, "encoder": "x"}))
KEYFRAME = bytes.fromhex("170100000000000001aabbcc")


def patched(data: bytes, patches: list[tuple[int, bytes]]) -> bytes:
    whole = bytearray(data)
    for place, new in patches:
        whole[place : place + len(new)] = new
    return bytes(whole)


def tags_of(data: bytes) -> list[Tag]:
    return TagReader().feed(data)


def written(
    headers: tuple[tuple[int, bytes], ...] = (VIDEO, AUDIO), meta: tuple[bytes, ...] = (META,)
) -> bytes:
    file = FlvFile(headers)
    return file.begin(headers, meta) + file.frame(9, 0, KEYFRAME) + file.frame(8, 1500, b"\xaf\x01x")


def test_payloads_are_as_they_were_sent() -> None:
    other = amf0.encode("onCuePoint", None)
    tags = tags_of(written(meta=(other, META)))
    assert [tag[:2] for tag in tags] == [(18, 0), (18, 0), (9, 0), (8, 0), (9, 0), (8, 1500)]
    assert [tag.payload for tag in tags][1:] == [other, VIDEO[1], AUDIO[1], KEYFRAME, b"\xaf\x01x"]


def test_what_is_known_at_the_end_is_written_over_the_beginning() -> None:
    file = FlvFile((VIDEO,))
    data = file.begin((VIDEO,), (META,)) + file.frame(9, 0, KEYFRAME) + file.frame(8, 1500, b"\xaf\x01x")
    whole = patched(data, file.patches(1500, len(data)))
    assert data[4] == 1
    assert whole[4] == 5
    assert amf0.decode(tags_of(whole)[0].payload) == [
        "onMetaData", {"duration": 1.5, "filesize": float(len(data)), "width": 640.0, "encoder": "x"},
    ]  # fmt: skip


@pytest.mark.parametrize("metadata", [b"", b"\x02\x00\x0aonMetaData\x03", amf0.encode("onMetaData"), b"\xff"])
def test_metadata_that_says_nothing_makes_no_difference(metadata: bytes) -> None:
    tags = tags_of(written(meta=(metadata,)))
    described = amf0.decode(tags[0].payload)
    assert described == ["onMetaData", {"duration": 0.0, "filesize": 0.0}]


def test_metadata_that_cannot_be_written_again_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    payload = amf0.encode("onMetaData", EcmaArray({"a": "b" * 70000}))
    assert amf0.decode(tags_of(written(meta=(payload,)))[0].payload)[1]["filesize"] == 0.0


def test_file_goes_on_while_none_of_its_headers_is_replaced() -> None:
    file = FlvFile((VIDEO,))
    assert file.goes_on((VIDEO, AUDIO))
    assert file.goes_on((AUDIO, VIDEO))
    assert not file.goes_on((VIDEO,))
    assert not file.goes_on(((9, b"other"), AUDIO))


def test_scan_stops_behind_the_last_whole_tag_wherever_a_file_was_cut() -> None:
    data = written()
    ends, at = [], HEADER_SIZE
    for tag in tags_of(data):
        ends.append(at)
        at += 15 + len(tag.payload)
    for cut in range(HEADER_SIZE, len(data)):
        assert scanned(Scan(), data[:cut]).size == max(end for end in ends if end <= cut)
    for end in ends:
        assert scanned(Scan(), data[:end] + bytes(100)).size == end
    assert scanned(Scan(), data[:5]).size == scanned(Scan(), b"MP4" + data).size == 0


def test_scan_finds_what_belongs_at_the_beginning() -> None:
    data = written()
    scan = scanned(Scan(), data)
    assert scan.holds_media
    assert scan.end_ms == 1500
    file = FlvFile((VIDEO, AUDIO))
    file.begin((VIDEO, AUDIO), (META,))
    assert scan.patches() == file.patches(1500, len(data))
    assert scan.patches()[0] == (4, b"\x05")


def test_file_with_headers_only_holds_no_media() -> None:
    file = FlvFile((VIDEO, AUDIO))
    assert not scanned(Scan(), file.begin((VIDEO, AUDIO), (META,))).holds_media
    assert not scanned(Scan(), b"").holds_media

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtmpsrv.errors import LocalProtocolError, RemoteProtocolError
from rtmpsrv.media.flv import MAX_PAYLOAD_SIZE, Tag, TagReader, header, tag
from tests.vectors import load, name_of


def read_tags(data: bytes) -> list[Tag]:
    """Return the tags of a whole FLV file; an incomplete last one is dropped."""
    return TagReader().feed(data)


TAGS = st.lists(
    st.builds(Tag, st.sampled_from([8, 9, 15, 18]), st.integers(0, 0xFFFFFFFF), st.binary(max_size=50))
)


@pytest.mark.parametrize("vector", load("flv")["header"], ids=lambda vector: vector["meaning"])
def test_header_announces_what_there_is(vector: dict[str, Any]) -> None:
    written = header(has_audio=bool(vector["flags"] & 4), has_video=bool(vector["flags"] & 1))
    assert written == bytes.fromhex(vector["hex"])
    reader = TagReader()
    assert reader.feed(written) == []
    assert (reader.has_audio, reader.has_video) == (bool(vector["flags"] & 4), bool(vector["flags"] & 1))


@pytest.mark.parametrize("vector", [v for v in load("flv")["tags"] if "body" in v], ids=name_of)
def test_tag_is_written_and_read_back(vector: dict[str, Any]) -> None:
    body = bytes.fromhex(vector["body"])
    written = tag(vector["tag_type"], vector["timestamp"], body)
    assert written == bytes.fromhex(vector["hex"])
    assert int.from_bytes(written[-4:], "big") == vector["previous_tag_size"]
    assert read_tags(header(True, True) + written) == [(vector["tag_type"], vector["timestamp"], body)]


def test_encrypted_tag_keeps_its_type() -> None:
    (vector,) = (v for v in load("flv")["tags"] if v["name"] == "filter bit")
    assert [t.type_id for t in read_tags(header(True, True) + bytes.fromhex(vector["hex"]))] == [8]


def test_tag_timestamp_wraps() -> None:
    assert tag(9, (1 << 32) + 7, b"") == tag(9, 7, b"")
    assert tag(9, -1, b"") == tag(9, 0xFFFFFFFF, b"")


def test_tag_holds_what_24_bits_can_say_and_not_one_byte_more() -> None:
    largest = bytes(MAX_PAYLOAD_SIZE)
    assert read_tags(header(False, True) + tag(9, 0, largest)) == [(9, 0, largest)]
    with pytest.raises(LocalProtocolError, match="limit 16777215"):
        tag(9, 0, largest + b"x")


@pytest.mark.parametrize("data", [b"F", b"FLX", b"\x00", b"GIF89a", b"FLv\x01"])
def test_other_files_are_refused_as_soon_as_they_differ(data: bytes) -> None:
    if b"FLV".startswith(data):
        assert read_tags(data) == []
    else:
        with pytest.raises(RemoteProtocolError, match="signature"):
            read_tags(data)


@pytest.mark.parametrize(("size", "accepted"), [(8, False), (9, True), (64, True), (65, False)])
def test_header_of_another_size_is_skipped_within_limits(size: int, accepted: bool) -> None:
    data = b"FLV\x01\x05" + size.to_bytes(4, "big") + bytes(max(0, size - 9) + 4) + tag(8, 1, b"a")
    if accepted:
        assert read_tags(data) == [(8, 1, b"a")]
    else:
        with pytest.raises(RemoteProtocolError, match=f"{size} bytes"):
            read_tags(data)


@given(TAGS, st.lists(st.integers(0, 400)))
def test_tags_cut_anywhere_come_back_equal(tags: list[Tag], cuts: list[int]) -> None:
    data = header(True, True) + b"".join(tag(*each) for each in tags)
    edges = sorted({0, len(data), *(cut for cut in cuts if cut < len(data))})
    reader = TagReader()
    read = [t for a, b in pairwise(edges) for t in reader.feed(data[a:b])]
    assert read == tags


@given(TAGS)
def test_tags_fed_byte_by_byte_come_back_equal(tags: list[Tag]) -> None:
    data = header(False, True) + b"".join(tag(*each) for each in tags)
    reader = TagReader()
    assert [t for byte in data for t in reader.feed(bytes([byte]))] == tags


@given(st.binary(max_size=100))
def test_any_bytes_behind_a_header_read_or_wait(data: bytes) -> None:
    assert sum(15 + len(t.payload) for t in read_tags(header(True, True) + data)) <= len(data)

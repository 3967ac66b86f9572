from __future__ import annotations

import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtmpsrv.media.metadata import (
    MAX_METADATA_BYTES,
    MAX_METADATA_NAMES,
    MAX_SHOWN_BYTES,
    DataKind,
    DataMessage,
    MetadataStore,
    live_metadata,
    metadata_from,
    shown_metadata,
)
from rtmpsrv.protocol import amf0
from rtmpsrv.protocol.amf_values import EcmaArray

SET = amf0.encode("@setDataFrame")
CLEAR = amf0.encode("@clearDataFrame")
META = amf0.encode("onMetaData")
# Keys unsorted, count wrong (0), a number with an odd NaN: none of this survives a re-encode.
VALUE = bytes.fromhex("08 00000000 0001 7a 00 7ff8000000000001 0001 61 01 02 000009".replace(" ", ""))


@pytest.mark.parametrize("wrapped", [SET + META + VALUE, META + VALUE])
def test_metadata_is_stored_under_its_name_with_the_publishers_bytes(wrapped: bytes) -> None:
    assert metadata_from(wrapped, False) == DataMessage(DataKind.STORE, "onMetaData", META + VALUE)


def test_bytes_behind_the_value_stay() -> None:
    assert metadata_from(SET + META + VALUE + b"\x05\xff", False).payload == META + VALUE + b"\x05\xff"


def test_long_string_names_are_understood() -> None:
    long_set = b"\x0c\x00\x00\x00\x0d@setDataFrame"
    assert metadata_from(long_set + META + VALUE, False).payload == META + VALUE


@pytest.mark.parametrize("payload", [SET, SET + META, META])
def test_absent_metadata_becomes_null(payload: bytes) -> None:
    assert metadata_from(payload, False) == DataMessage(DataKind.STORE, "onMetaData", META + b"\x05")


def test_other_data_frames_are_stored_by_name() -> None:
    message = metadata_from(SET + amf0.encode("onFoo", EcmaArray(a=1.0)), False)
    assert message == DataMessage(DataKind.STORE, "onFoo", amf0.encode("onFoo", EcmaArray(a=1.0)))


@pytest.mark.parametrize(
    ("payload", "name"),
    [(CLEAR + META, "onMetaData"), (CLEAR, "onMetaData"), (CLEAR + amf0.encode("onFoo"), "onFoo")],
)
def test_clear_data_frame_is_consumed(payload: bytes, name: str) -> None:
    assert metadata_from(payload, False) == DataMessage(DataKind.CLEAR, name, b"")


@pytest.mark.parametrize(
    ("payload", "name"),
    [
        (amf0.encode("onTextData", {"text": "hi"}), "onTextData"),
        (amf0.encode("onCuePoint", {"time": 1.0}), "onCuePoint"),
        (amf0.encode("additionalMedia") + b"\x11\x0c\x03abc", "additionalMedia"),
        (amf0.encode("@setDataFrame", "additionalMedia", {}), "additionalMedia"),
        (amf0.encode("@setDataFrame", "onExpectAdditionalMedia", {}), "onExpectAdditionalMedia"),
        (amf0.encode("@setDataFrame", 1.0, {}), "@setDataFrame"),
        (META + b"\xff", "onMetaData"),
        (META + VALUE[:-6], "onMetaData"),
        (SET + META + b"\xff", "onMetaData"),
        (amf0.encode(1.0, "onMetaData"), ""),
        (b"\x02\x00\x0aonMeta", ""),
        (b"\xff", ""),
        (b"", ""),
    ],
)
def test_everything_else_is_relayed_unchanged(payload: bytes, name: str) -> None:
    assert metadata_from(payload, False) == DataMessage(DataKind.RELAY, name, payload)


@pytest.mark.parametrize("payload", [b"\x00" + SET + META + VALUE, SET + META + VALUE])
def test_format_byte_of_type_15_is_dropped_where_it_is_there(payload: bytes) -> None:
    assert metadata_from(payload, True) == DataMessage(DataKind.STORE, "onMetaData", META + VALUE)


def test_format_byte_alone_leaves_nothing() -> None:
    assert metadata_from(b"\x00", True) == DataMessage(DataKind.RELAY, "", b"")


def test_a_number_in_type_18_is_no_format_byte() -> None:
    payload = amf0.encode(0.0, "onMetaData")
    assert metadata_from(payload, False).payload == payload


PREFIXES = st.sampled_from([b"", SET, CLEAR, META, SET + META, SET + SET, CLEAR + CLEAR, b"\x0c", b"\x02"])


@given(PREFIXES, st.binary(max_size=40), st.booleans())
def test_any_bytes_are_classified_and_nothing_is_invented(prefix: bytes, rest: bytes, byte: bool) -> None:
    payload = prefix + rest
    message = metadata_from(payload, byte)
    if message.kind is DataKind.CLEAR:
        assert message.payload == b""
    elif message.kind is DataKind.RELAY:
        assert message.payload in (payload, payload[1:] if byte else payload)
    else:
        assert payload.endswith(message.payload) or message.payload.endswith(b"\x05")
        assert amf0.decode_first_string(message.payload) == message.name


# --- what is kept ---------------------------------------------------------------------------------


def test_latest_of_each_name_is_kept_in_the_order_of_the_names() -> None:
    store = MetadataStore()
    assert store.snapshot() == ()
    for name, payload in (("a", b"1"), ("b", b"2"), ("a", b"333")):
        assert store.store(name, payload)
    assert (store.snapshot(), store.held_bytes) == ((b"333", b"2"), 4)
    store.clear("a")
    store.clear("unknown")
    assert (store.snapshot(), store.held_bytes) == ((b"2",), 1)


def test_metadata_is_kept_up_to_256_kib_in_all() -> None:
    store = MetadataStore()
    assert store.store("a", bytes(MAX_METADATA_BYTES))
    assert not store.store("b", b"x")
    assert store.store("a", bytes(MAX_METADATA_BYTES - 1))
    assert store.store("b", b"x")
    assert store.held_bytes == MAX_METADATA_BYTES == 262144


def test_what_has_no_room_takes_the_place_of_its_name_all_the_same() -> None:
    store = MetadataStore()
    store.store("a", b"old")
    assert not store.store("a", bytes(MAX_METADATA_BYTES + 1))
    assert (store.snapshot(), store.held_bytes) == ((), 0)


def test_names_are_bounded() -> None:
    store = MetadataStore()
    assert all(store.store(str(number), b"x") for number in range(MAX_METADATA_NAMES))
    assert not store.store("one more", b"x")
    assert store.store("0", b"new")
    store.clear("1")
    assert store.store("one more", b"x")


def test_store_survives_a_pickle() -> None:
    store = MetadataStore()
    store.store("a", b"1")
    copy = pickle.loads(pickle.dumps(store))
    assert copy.store("b", b"2")
    assert (copy.snapshot(), store.snapshot()) == ((b"1", b"2"), (b"1",))


def test_store_goes_on_from_its_value() -> None:
    store = MetadataStore()
    store.store("a", b"1")
    store.store("b", b"22")
    copy = MetadataStore.from_value(store.to_value())
    store.clear("a")
    assert (copy.snapshot(), copy.held_bytes) == ((b"1", b"22"), 3)


def test_numbers_and_short_words_of_a_fixed_set_are_shown() -> None:
    value = {
        "width": 1920.0, "framerate": float("nan"), "encoder": "obs\n" + "x" * 100, "stereo": True,
        "videocodecid": "avc1", "title": "private", "audiodatarate": None, "height": float("inf"),
    }  # fmt: skip
    assert shown_metadata(amf0.encode("onMetaData", value)) == {
        "width": 1920.0, "encoder": "obs" + "x" * 60, "stereo": True, "videocodecid": "avc1",
    }  # fmt: skip


def test_what_is_no_metadata_shows_nothing() -> None:
    deep = amf0.encode("onMetaData") + b"\x0a\0\0\0\1" * 100
    for payload in (b"", amf0.encode("onMetaData"), amf0.encode("onMetaData", 1.0), b"\xff", deep):
        assert shown_metadata(payload) == {}


def test_metadata_is_not_read_beyond_a_size() -> None:
    short = amf0.encode("onMetaData", {"width": 1.0, "x": ""})
    fill = MAX_SHOWN_BYTES - len(short)
    longest = amf0.encode("onMetaData", {"width": 1.0, "x": "." * fill})
    assert len(longest) == MAX_SHOWN_BYTES
    assert shown_metadata(longest) == {"width": 1.0}
    assert shown_metadata(amf0.encode("onMetaData", {"width": 1.0, "x": "." * (fill + 1)})) == {}


def test_a_store_is_asked_for_one_name() -> None:
    store = MetadataStore()
    store.store("onMetaData", b"payload")
    assert store.find("onMetaData") == b"payload"
    assert store.find("other") is None


# --- for a stream that is no file -----------------------------------------------------------------


def test_live_metadata_says_what_kinds_there_are_and_nothing_of_a_file() -> None:
    before = EcmaArray(width=640.0, duration=60.0, filesize=1.0, hasAudio=False, keyframes={"times": [0.0]})
    payload = live_metadata(META + amf0.encode(before), True, False)
    assert amf0.decode(payload) == ["onMetaData", {"width": 640.0, "hasAudio": True, "hasVideo": False}]


@pytest.mark.parametrize(
    "payload",
    [
        META,
        amf0.encode("onMetaData", None),
        amf0.encode("onCuePoint", {"duration": 1.0}),
        META + b"\x03\x00\x05width",
        META + amf0.encode({"a": "x" * MAX_SHOWN_BYTES, "duration": 1.0}),
        b"",
    ],
)
def test_metadata_that_is_none_stays_as_it_is(payload: bytes) -> None:
    assert live_metadata(payload, True, True) == payload

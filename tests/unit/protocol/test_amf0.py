from __future__ import annotations

import json
import struct
from collections import OrderedDict
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtmpsrv.errors import AmfError, AmfLimitError, LocalProtocolError
from rtmpsrv.protocol import amf0
from rtmpsrv.protocol.amf_values import (
    MAX_DEPTH,
    MAX_REPEATED,
    MAX_VALUES,
    UNDEFINED,
    UNSUPPORTED,
    AmfDate,
    AmfVector,
    AmfXml,
    EcmaArray,
    TypedObject,
    Value,
)
from tests.unit.protocol.amf_tags import exact, untag
from tests.vectors import load, name_of, vector_bytes

VECTORS = load("amf0")
# Where the vectors leave a choice, this is ours. All other error vectors must raise.
ACCEPTED: dict[str, list[Value]] = {
    "unterminated_object": [{"a": None}],
    "bad_utf8": ["\udcc3("],
    "librtmp_set_playlist_ecma": ["set_playlist", 0.0, None, EcmaArray({"0": "a"})],
}
# The marker of a string follows from its length alone.
NOT_WRITTEN_BACK = {"long_string_short"}


@pytest.mark.parametrize("vector", VECTORS["decode"], ids=name_of)
def test_vector_decodes(vector: dict[str, Any]) -> None:
    assert exact(amf0.decode(vector_bytes(vector))) == exact([untag(vector["value"])])


@pytest.mark.parametrize(
    "vector",
    [v for v in VECTORS["decode"] if v["roundtrip"] and v["name"] not in NOT_WRITTEN_BACK],
    ids=name_of,
)
def test_vector_encodes(vector: dict[str, Any]) -> None:
    assert amf0.encode(untag(vector["value"])) == vector_bytes(vector)


@pytest.mark.parametrize("vector", VECTORS["sequences"], ids=name_of)
def test_sequence_decodes(vector: dict[str, Any]) -> None:
    assert exact(amf0.decode(vector_bytes(vector))) == exact([untag(value) for value in vector["values"]])


@pytest.mark.parametrize("vector", VECTORS["errors"], ids=name_of)
def test_malformed_vector_is_refused_or_accepted_as_documented(vector: dict[str, Any]) -> None:
    data = vector_bytes(vector)
    if vector["name"] in ACCEPTED:
        assert exact(amf0.decode(data)) == exact(ACCEPTED[vector["name"]])
    else:
        with pytest.raises(AmfError):
            amf0.decode(data)


def nested_objects(depth: int) -> bytes:
    return b"\x03\x00\x01a" * depth + b"\x05" + b"\x00\x00\x09" * depth


def nested_arrays(depth: int) -> bytes:
    return b"\x0a\x00\x00\x00\x01" * depth + b"\x05"


@pytest.mark.parametrize("nested", [nested_objects, nested_arrays])
def test_depth_is_accepted_at_the_limit_and_refused_one_past_it(nested: Any) -> None:
    amf0.decode(nested(MAX_DEPTH))
    with pytest.raises(AmfError, match=f"limit {MAX_DEPTH}"):
        amf0.decode(nested(MAX_DEPTH + 1))


@pytest.mark.parametrize("level", [b"\x03\x00\x01a", b"\x0a\x00\x00\x00\x01"])
@pytest.mark.parametrize("levels", [MAX_DEPTH + 1, 100_000])
def test_the_first_level_past_the_limit_is_refused_whatever_follows(level: bytes, levels: int) -> None:
    data = level * levels + b"\x05"  # where reading went on, the data that end here would be the fault
    with pytest.raises(AmfError, match=f"limit {MAX_DEPTH}"):
        amf0.decode(data)
    with pytest.raises(AmfError, match=f"limit {MAX_DEPTH}"):
        amf0.skip_value(data, 0)


def test_depth_counts_through_the_switch_to_amf3() -> None:
    outside = MAX_DEPTH - 1
    prefix = b"\x0a\x00\x00\x00\x01" * outside + b"\x11"
    amf0.decode(prefix + b"\x09\x03\x01\x01")  # one AMF3 array
    with pytest.raises(AmfError, match="deep"):
        amf0.decode(prefix + b"\x09\x03\x01" * 2 + b"\x01")


def test_values_are_accepted_up_to_the_limit_of_a_message() -> None:
    assert len(amf0.decode(b"\x05" * MAX_VALUES)) == MAX_VALUES
    with pytest.raises(AmfError, match="values in a message"):
        amf0.decode(b"\x05" * (MAX_VALUES + 1))


def test_values_of_amf3_count_towards_the_same_limit() -> None:
    # 5000 times the switch and a null of AMF3: two values each
    assert len(amf0.decode(b"\x11\x01" * (MAX_VALUES // 2))) == MAX_VALUES // 2
    with pytest.raises(AmfError, match="values in a message"):
        amf0.decode(b"\x11\x01" * (MAX_VALUES // 2 + 1))


def test_an_array_count_is_accepted_up_to_the_bytes_left() -> None:
    assert amf0.decode(b"\x0a\x00\x00\x00\x02\x05\x05") == [[None, None]]
    with pytest.raises(AmfError, match="array of 3 values"):
        amf0.decode(b"\x0a\x00\x00\x00\x03\x05\x05")


def doubling_references(levels: int) -> bytes:
    """Return an array of arrays, each of which refers to the one before it twice."""
    first = b"\x0a\x00\x00\x00\x00"
    others = b"".join(
        b"\x0a\x00\x00\x00\x02" + b"\x07" + struct.pack(">H", i) + b"\x07" + struct.pack(">H", i)
        for i in range(1, levels)
    )
    return b"\x0a" + struct.pack(">I", levels) + first + others


def test_references_that_unfold_into_too_many_values_are_refused() -> None:
    data = doubling_references(10)
    assert len(json.dumps(amf0.decode(data))) > 2**10
    with pytest.raises(AmfError, match="values in a message"):
        amf0.decode(doubling_references(40))


def test_references_that_unfold_too_deep_are_refused() -> None:
    def chain(levels: int) -> bytes:
        links = b"".join(b"\x0a\x00\x00\x00\x01\x07" + struct.pack(">H", i) for i in range(1, levels))
        return b"\x0a" + struct.pack(">I", levels) + b"\x0a\x00\x00\x00\x00" + links

    amf0.encode(*amf0.decode(chain(MAX_DEPTH - 1)))
    with pytest.raises(AmfError, match="deep"):
        amf0.decode(chain(MAX_DEPTH))


def repeated_text(size: int, times: int) -> bytes:
    """An array of an array that holds an object with a text; then references to the inner array."""
    text = b"a" * size
    plain = b"\x03\x00\x01t\x0c" + struct.pack(">I", size) + text + b"\x00\x00\x09"
    wrapped = b"\x0a\x00\x00\x00\x01" + plain
    return b"\x0a" + struct.pack(">I", 1 + times) + wrapped + b"\x07\x00\x01" * times


def test_references_that_unfold_into_too_much_text_are_refused() -> None:
    size = MAX_REPEATED // 4 - 1  # and the name of the member
    (value,) = amf0.decode(repeated_text(size, 4))
    assert len(amf0.encode(value)) > 5 * size
    with pytest.raises(AmfLimitError, match="bytes of text"):
        amf0.decode(repeated_text(size + 1, 4))


def test_text_without_references_has_no_limit_of_its_own() -> None:
    long = "a" * (MAX_REPEATED + 1)
    assert amf0.decode(amf0.encode(long, {"t": long})) == [long, {"t": long}]


def test_a_reference_to_an_unfinished_value_is_refused() -> None:
    with pytest.raises(AmfError, match="inside itself"):
        amf0.decode(bytes.fromhex("03000161070000000009"))


@pytest.mark.parametrize("marker", [0x03, 0x08, 0x10])
def test_an_object_cut_off_between_members_is_accepted_at_the_top_only(marker: int) -> None:
    head = {0x03: b"", 0x08: bytes(4), 0x10: b"\x00\x01C"}[marker]
    value = bytes([marker]) + head + b"\x00\x01a\x05"
    assert amf0.decode(b"\x05" + value) == [None, {"a": None}]
    with pytest.raises(AmfError):
        amf0.decode(b"\x0a\x00\x00\x00\x01" + value)


@pytest.mark.parametrize("tail", ["00", "0000", "000161", "00016102"])
def test_an_object_cut_off_elsewhere_is_refused(tail: str) -> None:
    with pytest.raises(AmfError):
        amf0.decode(b"\x03\x00\x01a\x05" + bytes.fromhex(tail))


@pytest.mark.parametrize(
    ("data", "values"),
    [
        ("", []),
        ("04", []),
        ("05ff05", [None]),
        ("0300016105000162ff", [{"a": None}]),  # an object that breaks off
        ("0300016103000162050000", [{}]),  # only whole members count
        ("030001610500000904", [{"a": None}]),  # one that was complete is not there twice
        ("0a000000020504", []),
    ],
)
def test_lenient_reading_ends_where_nothing_can_be_read(data: str, values: list[Any]) -> None:
    assert amf0.decode(bytes.fromhex(data), lenient=True) == values


@pytest.mark.parametrize("data", [b"\x03\x00\x01a" * 3000, b"\x05" * (MAX_VALUES + 1)])
def test_lenient_reading_keeps_to_the_limits(data: bytes) -> None:
    with pytest.raises(AmfLimitError):
        amf0.decode(data, lenient=True)


def test_every_marker_without_its_body_raises_amf_error_or_decodes() -> None:
    for marker in range(256):
        try:
            amf0.decode(bytes([marker]))
        except AmfError:
            continue
        assert marker in {0x03, 0x05, 0x06, 0x0D}  # without a body, or an object cut off at once


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (b"\x02\x00\x0aonMetaData\x08", "onMetaData"),
        (b"\x0c\x00\x00\x00\x01a", "a"),
        (b"\x02\x00\x00", ""),
        (b"\x02\x00\x02\xff", None),
        (b"\x0c\xff\xff\xff\xffa", None),
        (b"\x02\x00", None),
        (b"\x02", None),
        (b"", None),
        (b"\x00\x00\x01\xb3", None),
    ],
)
def test_the_first_string_is_found_or_none(data: bytes, name: str | None) -> None:
    assert amf0.decode_first_string(data) == name


def test_skip_value_finds_the_start_of_the_second_value() -> None:
    payload = amf0.encode("@setDataFrame", "onMetaData", EcmaArray(width=1.0))
    second = amf0.skip_value(payload, 0)
    assert payload[second:] == amf0.encode("onMetaData", EcmaArray(width=1.0))
    end = amf0.skip_value(payload, amf0.skip_value(payload, second))
    assert end == len(payload)
    with pytest.raises(AmfError):
        amf0.skip_value(payload, end)


def test_short_strings_end_at_65535_bytes_not_characters() -> None:
    assert amf0.encode("é" * 32767 + "a")[:3] == b"\x02\xff\xff"
    assert amf0.encode("é" * 32768)[:5] == b"\x0c\x00\x01\x00\x00"


def test_integers_are_written_as_numbers_and_tuples_as_arrays() -> None:
    assert amf0.encode(1) == amf0.encode(1.0)
    assert amf0.encode((1, True)) == amf0.encode([1.0, True])
    assert amf0.encode(AmfVector([1])) == amf0.encode([1.0])
    assert amf0.encode(OrderedDict(a=1)) == amf0.encode({"a": 1.0})


@pytest.mark.parametrize(
    "value",
    [
        b"bytes",
        object(),
        10**400,
        "\ud800",
        {1: 2},
        {"a" * 65536: None},
        TypedObject("C" * 65536),
        [None] * MAX_VALUES,
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_amf0_cannot_say_is_our_error(value: Value) -> None:
    with pytest.raises(LocalProtocolError):
        amf0.encode(value)


def test_encoding_is_limited_like_decoding() -> None:
    amf0.decode(amf0.encode([None] * (MAX_VALUES - 1)))
    nested: Value = None
    for _ in range(MAX_DEPTH):
        nested = [nested]
    amf0.decode(amf0.encode(nested))
    with pytest.raises(LocalProtocolError, match=str(MAX_DEPTH)):
        amf0.encode({"a": nested})


def test_the_depth_of_encoding_does_not_add_up_over_neighbours() -> None:
    objects = [{"a": None}] * (MAX_DEPTH + 1)
    assert amf0.decode(amf0.encode(objects, *objects)) == [objects, *objects]
    arrays: list[Value] = [[None]] * (MAX_DEPTH + 1)
    assert amf0.decode(amf0.encode(arrays, *arrays)) == [arrays, *arrays]


def test_encoding_a_cycle_is_refused() -> None:
    members: dict[str, Value] = {}
    members["self"] = members
    with pytest.raises(LocalProtocolError):
        amf0.encode(members)
    array: list[Value] = []
    array += [array, array]
    with pytest.raises(LocalProtocolError):
        amf0.encode(array)


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20) | st.binary(max_size=20).map(
    lambda raw: raw.decode("utf-8", "surrogateescape")
)
simple_values = (
    st.none()
    | st.booleans()
    | st.floats()
    | texts
    | st.sampled_from([UNDEFINED, UNSUPPORTED])
    | st.floats(allow_nan=False).map(AmfDate)
    | texts.map(AmfXml)
)


def containers(values: st.SearchStrategy[Value]) -> st.SearchStrategy[Value]:
    members = st.dictionaries(texts, values, max_size=5)
    return (
        st.lists(values, max_size=5)
        | members
        | members.map(EcmaArray)
        | st.builds(TypedObject, class_name=texts, members=members)
    )


all_values = st.recursive(simple_values, containers, max_leaves=15)


@given(st.lists(all_values, min_size=1, max_size=5))
def test_values_come_back_equal(values: list[Value]) -> None:
    data = amf0.encode(*values)
    assert exact(amf0.decode(data)) == exact(values)
    position = 0
    for _ in values:
        position = amf0.skip_value(data, position)
    assert position == len(data)


@given(st.lists(all_values, min_size=1, max_size=3), st.data())
def test_truncated_values_raise_nothing_but_amf_error(values: list[Value], data: st.DataObject) -> None:
    encoded = amf0.encode(*values)
    only_amf_error(encoded[: data.draw(st.integers(0, len(encoded)))])


@given(st.lists(all_values, min_size=1, max_size=3), st.data())
def test_changed_values_raise_nothing_but_amf_error(values: list[Value], data: st.DataObject) -> None:
    encoded = bytearray(amf0.encode(*values))
    for _ in range(3):
        encoded[data.draw(st.integers(0, len(encoded) - 1))] = data.draw(st.integers(0, 255))
    only_amf_error(bytes(encoded))


@given(st.binary(max_size=200) | st.lists(st.integers(0, 0x11), max_size=100).map(bytes))
def test_random_bytes_raise_nothing_but_amf_error(data: bytes) -> None:
    only_amf_error(data)


def only_amf_error(data: bytes) -> None:
    amf0.decode_first_string(data)
    try:
        end = amf0.skip_value(data, 0)
        assert 0 < end <= len(data)
        values = amf0.decode(data)
    except AmfError:
        return
    assert 0 < len(values) <= MAX_VALUES
    repr(values)

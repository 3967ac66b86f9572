from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtmpsrv.errors import AmfError, AmfLimitError
from rtmpsrv.protocol import amf3
from rtmpsrv.protocol.amf_values import (
    MAX_DEPTH,
    MAX_REPEATED,
    MAX_VALUES,
    AmfDate,
    AmfVector,
    Budget,
    TypedObject,
    Value,
)
from tests.unit.protocol.amf_tags import exact, untag
from tests.vectors import load, name_of, vector_bytes

VECTORS = load("amf3")


def decode(hex_text: str) -> Value:
    """Return the value that is exactly these bytes."""
    data = bytes.fromhex(hex_text)
    value, position = amf3.decode(data, 0)
    assert position == len(data)
    return value


@pytest.mark.parametrize("vector", VECTORS["u29"], ids=lambda vector: vector["hex"])
def test_u29_vector_is_read(vector: dict[str, Any]) -> None:
    data = vector_bytes(vector)
    assert amf3.read_u29(b"\xff" + data + b"\x00", 1) == (vector["value"], 1 + len(data))
    assert amf3.signed_29(vector["value"]) == vector["as_signed_int"]
    assert decode("04" + vector["hex"]) == vector["as_signed_int"]


@pytest.mark.parametrize("data", ["", "80", "8080", "808080"])
def test_u29_cut_off_is_refused(data: str) -> None:
    with pytest.raises(AmfError, match="cut off"):
        amf3.read_u29(bytes.fromhex(data), 0)


@pytest.mark.parametrize("vector", VECTORS["decode"], ids=name_of)
def test_vector_decodes(vector: dict[str, Any]) -> None:
    data = vector_bytes(vector)
    value, position = amf3.decode(b"\x11" + data + b"\x05", 1)
    assert position == 1 + len(data)
    expected = untag(vector["value"])
    if vector["name"].startswith("vector_"):
        expected = AmfVector(expected)
    assert exact(value) == exact(expected)


@pytest.mark.parametrize("vector", VECTORS["errors"], ids=name_of)
def test_malformed_vector_is_refused(vector: dict[str, Any]) -> None:
    with pytest.raises(AmfError):
        amf3.decode(vector_bytes(vector), 0)


@pytest.mark.parametrize("vector", VECTORS["decode"], ids=name_of)
def test_vector_cut_off_anywhere_is_refused(vector: dict[str, Any]) -> None:
    data = vector_bytes(vector)
    for size in range(len(data)):
        with pytest.raises(AmfError):
            amf3.decode(data[:size], 0)


def nested_arrays(depth: int) -> bytes:
    return b"\x09\x03\x01" * depth + b"\x01"


def test_depth_is_accepted_at_the_limit_and_refused_one_past_it() -> None:
    amf3.decode(nested_arrays(MAX_DEPTH), 0)
    with pytest.raises(AmfError, match=f"limit {MAX_DEPTH}"):
        amf3.decode(nested_arrays(MAX_DEPTH + 1), 0)


@pytest.mark.parametrize(
    "level",
    [
        "090301",  # array of one
        "0a0b010361",  # object with a member "a"
        "0a0743" + b"flex.messaging.io.ArrayCollection".hex(),
        "10030001",  # vector of one object
        "110300",  # dictionary, as the key
    ],
)
@pytest.mark.parametrize("levels", [MAX_DEPTH + 1, 100_000])
def test_the_first_level_past_the_limit_is_refused_whatever_follows(level: str, levels: int) -> None:
    data = bytes.fromhex(level) * levels  # where reading went on, the data that end here would be the fault
    with pytest.raises(AmfError, match=f"limit {MAX_DEPTH}"):
        amf3.decode(data, 0)


def test_values_are_taken_from_the_budget_of_the_message() -> None:
    budget = Budget()
    amf3.decode(bytes.fromhex("090701040104020403"), 0, budget)
    assert budget.values_left == MAX_VALUES - 4
    budget.values_left = 3
    with pytest.raises(AmfError, match="values in a message"):
        amf3.decode(bytes.fromhex("090701040104020403"), 0, budget)


def test_the_items_of_a_packed_vector_count_as_values() -> None:
    budget = Budget()
    amf3.decode(bytes.fromhex("0d050000000001ffffffff"), 0, budget)
    assert budget.values_left == MAX_VALUES - 3


def test_sealed_names_count_as_values_before_they_are_read() -> None:
    budget = Budget()
    budget.values_left = 1
    with pytest.raises(AmfError, match="values in a message"):
        amf3.decode(bytes.fromhex("0a1307466f6f0200"), 0, budget)  # its name is a bad reference


@pytest.mark.parametrize(
    ("fits", "too_much"),
    [
        ("0905010101", "0909010101"),  # array
        ("1003000101", "1005000101"),  # vector of objects
        ("1103000101", "1105000101"),  # dictionary
        ("0a2301036103620101", "0a4301036103620101"),  # object with sealed members
    ],
)
def test_counts_are_checked_against_the_bytes_left(fits: str, too_much: str) -> None:
    decode(fits)
    with pytest.raises(AmfError, match=r"count of \d at"):
        decode(too_much)


@pytest.mark.parametrize(
    ("fits", "too_much"),
    [
        ("060361", "060561"),  # string
        ("0b0361", "0b0561"),  # XML
        ("0c050102", "0c070102"),  # byte array
        ("0d030000000001", "0d050000000001"),  # vector of int
        ("0f03003ff0000000000000", "0f05003ff0000000000000"),  # vector of double
    ],
)
def test_sizes_are_checked_against_the_bytes_left(fits: str, too_much: str) -> None:
    decode(fits)
    with pytest.raises(AmfError, match=r"wants \d+ bytes"):
        decode(too_much)


@pytest.mark.parametrize("data", ["0600", "0a01", "0900"])
def test_a_reference_into_an_empty_table_is_refused(data: str) -> None:
    with pytest.raises(AmfError, match=r"reference to \w+ 0 of 0"):
        decode(data)


def test_references_that_unfold_into_too_many_values_are_refused() -> None:
    def doubling(levels: int) -> bytes:
        arrays = b"".join(b"\x09\x05\x01" + bytes([0x09, i * 2]) * 2 for i in range(1, levels))
        return bytes([0x09, levels * 2 + 1, 0x01]) + b"\x09\x01\x01" + arrays

    value, _ = amf3.decode(doubling(10), 0)
    assert len(json.dumps(value)) > 2**10
    with pytest.raises(AmfError, match="values in a message"):
        amf3.decode(doubling(40), 0)


def u29(number: int) -> bytes:
    """Write a number below 2^21 in three bytes."""
    return bytes([0x80 | number >> 14, 0x80 | number >> 7 & 0x7F, number & 0x7F])


def repeated_string(size: int, times: int) -> bytes:
    return (
        b"\x09" + u29(2 * (1 + times) + 1) + b"\x01\x06" + u29(2 * size + 1) + b"a" * size + b"\x06\0" * times
    )


def repeated_bytes(size: int, times: int) -> bytes:
    array = b"\x09" + u29(2 * (1 + times) + 1) + b"\x01"
    return array + b"\x0c" + u29(2 * size + 1) + b"a" * size + b"\x0c\x02" * times


def repeated_class(size: int, times: int) -> bytes:
    array = b"\x09" + u29(2 * (1 + times) + 1) + b"\x01"
    return array + b"\x0a\x03" + u29(2 * size + 1) + b"a" * size + b"\x0a\x01" * times


@pytest.mark.parametrize("repeated", [repeated_string, repeated_bytes, repeated_class])
def test_references_that_unfold_into_too_much_text_are_refused(
    repeated: Callable[[int, int], bytes],
) -> None:
    size = MAX_REPEATED // 4
    value, _ = amf3.decode(repeated(size, 4), 0)
    assert len(value) == 5
    with pytest.raises(AmfLimitError, match="bytes of text"):
        amf3.decode(repeated(size + 1, 4), 0)


@pytest.mark.parametrize(
    ("data", "value"),
    [
        ("09050108014278bcfe568000000802", [AmfDate(1.7e12), AmfDate(1.7e12)]),
        ("0905010c0501020c02", [b"\x01\x02", b"\x01\x02"]),
        ("0905010b03610b02", ["a", "a"]),
        ("0905010d0300000000070d02", [[7], [7]]),
    ],
)
def test_dates_bytes_xml_and_vectors_can_be_referred_to(data: str, value: Value) -> None:
    assert decode(data) == value


def test_a_reference_to_an_unfinished_value_is_refused() -> None:
    with pytest.raises(AmfError, match="inside itself"):
        decode("0903010900")


def test_a_wrapper_class_can_be_repeated_by_its_traits() -> None:
    wrapped = "0743" + b"flex.messaging.io.ArrayCollection".hex() + "0401"
    assert decode("090501" + "0a" + wrapped + "0a01" + "0402") == [1, 2]


def test_an_object_is_registered_before_its_members() -> None:
    # [ {"a": [] }, reference to 1, reference to 2 ]
    assert decode("090701" + "0a0b010361" + "090101" + "01" + "0a02" + "0a04") == [{"a": []}, {"a": []}, []]


def test_a_class_with_sealed_and_dynamic_members_keeps_its_name() -> None:
    value = decode("0a1b07466f6f036104010362040201")
    assert isinstance(value, TypedObject)
    assert value.class_name == "Foo"


def test_strings_that_are_not_utf_8_keep_their_bytes() -> None:
    assert decode("0605c328").encode("utf-8", "surrogateescape") == b"\xc3\x28"
    assert decode("0b03ff") == "\udcff"


@given(st.binary(max_size=200) | st.lists(st.integers(0, 0x11), max_size=100).map(bytes))
def test_random_bytes_raise_nothing_but_amf_error(data: bytes) -> None:
    only_amf_error(data)


@given(st.sampled_from(VECTORS["decode"]).map(vector_bytes), st.data())
def test_changed_vectors_raise_nothing_but_amf_error(valid: bytes, data: st.DataObject) -> None:
    changed = bytearray(valid)
    for _ in range(2):
        changed[data.draw(st.integers(0, len(changed) - 1))] = data.draw(st.integers(0, 255))
    only_amf_error(bytes(changed))


def only_amf_error(data: bytes) -> None:
    try:
        value, position = amf3.decode(data, 0)
    except AmfError:
        return
    assert 0 < position <= len(data)
    repr(value)

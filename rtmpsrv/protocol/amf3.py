"""AMF3: one value of the second format, as it stands behind marker 11 in AMF0. Reading only.

Everything that this server writes is AMF0, which every client understands. Names and layout follow the
AMF3 specification, section 3. AmfError is the only exception that comes out, whatever the bytes.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from struct import Struct, unpack_from
from typing import NamedTuple

from rtmpsrv.errors import AmfError
from rtmpsrv.protocol.amf_values import (
    UNDEFINED,
    AmfDate,
    AmfDictionary,
    AmfVector,
    AmfXml,
    Budget,
    ComplexValues,
    EcmaArray,
    TypedObject,
    Value,
)

# Classes that write themselves and whose body is known: exactly one value.
WRAPPERS = frozenset(
    {
        "flex.messaging.io.ArrayCollection",
        "flex.messaging.io.ArrayList",
        "flex.messaging.io.ObjectProxy",
    }
)

_DOUBLE = Struct(">d")


def decode(data: bytes, position: int, budget: Budget | None = None) -> tuple[Value, int]:
    """Return the value at `position` and the position after it.

    `budget` is what the message around the value has left. The reference tables live for this one value.
    """
    reader = _Reader(data, position, budget or Budget())
    value = reader.value()
    return value, reader.position


def read_u29(data: bytes, position: int) -> tuple[int, int]:
    """Return the unsigned integer of 1 to 4 bytes at `position` and the position after it (section 1.3.1).

    Longer than necessary is accepted. Raises AmfError when the data ends first.
    """
    number = 0
    for index, byte in enumerate(data[position : position + 4]):
        if index == 3:
            return number << 8 | byte, position + 4  # the fourth byte has no "more" bit
        number = number << 7 | byte & 0x7F
        if byte < 0x80:
            return number, position + index + 1
    raise AmfError(f"AMF3 integer cut off at byte {len(data)}")


def signed_29(number: int) -> int:
    """Return the integer whose two's complement in 29 bits is `number`."""
    return number - 0x2000_0000 if number >= 0x1000_0000 else number


class _Traits(NamedTuple):
    class_name: str
    dynamic: bool
    wrapper: bool
    sealed_names: tuple[str, ...]
    text: int  # bytes of all names


class _Reader:
    """Reads one value; unusable after an AmfError."""

    __slots__ = ("_budget", "_complex_values", "_data", "_strings", "_traits", "position")

    def __init__(self, data: bytes, position: int, budget: Budget) -> None:
        self._data = data
        self.position = position
        self._budget = budget
        self._complex_values = ComplexValues(budget)
        self._strings: list[tuple[str, int]] = []  # with their bytes
        self._traits: list[_Traits] = []

    def value(self) -> Value:
        self._budget.spend(1)
        marker = self._byte()
        read = _READERS.get(marker)
        if read is None:
            raise AmfError(f"AMF3 marker {marker:02x} at byte {self.position - 1}")
        return read(self)

    def _advance(self, size: int) -> int:
        """Step over `size` bytes, which must be there, and return where they begin."""
        start = self.position
        if size > len(self._data) - start:
            raise AmfError(f"AMF3 wants {size} bytes at byte {start} of {len(self._data)}")
        self.position = start + size
        return start

    def _byte(self) -> int:
        return self._data[self._advance(1)]

    def _bytes(self, size: int) -> bytes:
        start = self._advance(size)
        self._budget.text += size
        return self._data[start : self.position]

    def _u29(self) -> int:
        number, self.position = read_u29(self._data, self.position)
        return number

    def _check_count(self, count: int, bytes_each: int) -> None:
        """Refuse a count that the rest of the data cannot hold, before anything is made of that size."""
        if count * bytes_each > len(self._data) - self.position:
            raise AmfError(f"AMF3 count of {count} at byte {self.position} of {len(self._data)}")

    def _complex_value(self, read_inline: Callable[[_Reader, int], Value]) -> Value:
        """Read a reference, or a value with members by `read_inline`, which gets the rest of the U29.

        What a reference points at is not held against the marker in front of it.
        """
        header = self._u29()
        if not header & 1:
            return self._complex_values.resolve(header >> 1)
        return self._complex_values.read(lambda: read_inline(self, header >> 1))

    def _integer(self) -> int:
        return signed_29(self._u29())

    def _double(self) -> float:
        number: float = _DOUBLE.unpack_from(self._data, self._advance(8))[0]
        return number

    def _string(self) -> str:
        header = self._u29()
        index = header >> 1
        if header & 1:
            text = str(self._bytes(index), "utf-8", "surrogateescape")
            if text:  # the empty string is never sent by reference
                self._strings.append((text, index))
            return text
        if index >= len(self._strings):
            raise AmfError(f"AMF3 reference to string {index} of {len(self._strings)}")
        text, size = self._strings[index]
        self._budget.repeat(size)
        return text

    def _xml(self) -> Value:
        return self._complex_value(lambda _, size: AmfXml(str(self._bytes(size), "utf-8", "surrogateescape")))

    def _date(self) -> Value:
        return self._complex_value(lambda _, __: AmfDate(self._double()))

    def _byte_array(self) -> Value:
        return self._complex_value(_Reader._bytes)

    def _array(self) -> Value:
        return self._complex_value(_Reader._array_members)

    def _array_members(self, count: int) -> Value:
        self._check_count(count, 1)
        members = self._named_values(EcmaArray())
        if not members:
            return [self.value() for _ in range(count)]
        for index in range(count):
            members[str(index)] = self.value()
        return members

    def _named_values(self, members: dict[str, Value]) -> dict[str, Value]:
        while name := self._string():
            members[name] = self.value()
        return members

    def _object(self) -> Value:
        return self._complex_value(_Reader._object_members)

    def _object_members(self, header: int) -> Value:
        traits = self._read_traits(header)
        if traits.wrapper:
            return self.value()
        members: dict[str, Value] = TypedObject(traits.class_name) if traits.class_name else {}
        for name in traits.sealed_names:
            members[name] = self.value()
        return self._named_values(members) if traits.dynamic else members

    def _read_traits(self, header: int) -> _Traits:
        """Return the class of an object; `header` is U29O without its lowest bit (section 3.12)."""
        if not header & 1:
            index = header >> 1
            if index >= len(self._traits):
                raise AmfError(f"AMF3 reference to traits {index} of {len(self._traits)}")
            known = self._traits[index]
            self._budget.repeat(known.text)
            return known
        externalizable, dynamic, sealed_count = header & 2 != 0, header & 4 != 0, header >> 3
        text_before = self._budget.text
        class_name = self._string()
        if externalizable and class_name not in WRAPPERS:
            # Only the class knows how long its body is: nothing behind it can be read either.
            raise AmfError(f"AMF3 object of the unknown externalizable class {class_name[:80]!r}")
        if externalizable:
            sealed_count = 0
        self._check_count(sealed_count, 2)  # a name and a value each
        self._budget.spend(sealed_count)
        names = tuple(self._string() for _ in range(sealed_count))
        traits = _Traits(class_name, dynamic, externalizable, names, self._budget.text - text_before)
        self._traits.append(traits)
        return traits

    def _vector(self, item: str, item_size: int) -> Value:
        return self._complex_value(lambda _, count: self._packed_items(count, item, item_size))

    def _packed_items(self, count: int, item: str, item_size: int) -> AmfVector:
        self._byte()  # whether the length is fixed
        self._budget.spend(count)
        return AmfVector(unpack_from(f">{count}{item}", self._data, self._advance(count * item_size)))

    def _object_vector(self) -> Value:
        return self._complex_value(_Reader._object_items)

    def _object_items(self, count: int) -> AmfVector:
        self._byte()  # whether the length is fixed
        self._string()  # the class of the items, who say it again
        self._check_count(count, 1)
        return AmfVector(self.value() for _ in range(count))

    def _dictionary(self) -> Value:
        return self._complex_value(_Reader._pairs)

    def _pairs(self, count: int) -> AmfDictionary:
        self._byte()  # whether the keys are weak
        self._check_count(count, 2)
        return AmfDictionary((self.value(), self.value()) for _ in range(count))


_READERS: dict[int, Callable[[_Reader], Value]] = {
    0x00: lambda _: UNDEFINED,
    0x01: lambda _: None,
    0x02: lambda _: False,
    0x03: lambda _: True,
    0x04: _Reader._integer,
    0x05: _Reader._double,
    0x06: _Reader._string,
    0x07: _Reader._xml,  # XMLDocument, the older class
    0x08: _Reader._date,
    0x09: _Reader._array,
    0x0A: _Reader._object,
    0x0B: _Reader._xml,
    0x0C: _Reader._byte_array,
    0x0D: partial(_Reader._vector, item="i", item_size=4),
    0x0E: partial(_Reader._vector, item="I", item_size=4),
    0x0F: partial(_Reader._vector, item="d", item_size=8),
    0x10: _Reader._object_vector,
    0x11: _Reader._dictionary,
}

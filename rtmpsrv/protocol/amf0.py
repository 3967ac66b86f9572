"""AMF0: the bytes of command and data messages <-> Python values (see `amf_values` for which).

Names and layout follow the AMF0 specification, section 2; deviations are said where they are made.
The decoder accepts any bytes: AmfError is the only exception that comes out of it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from struct import Struct

from rtmpsrv.errors import AmfError, AmfLimitError, LocalProtocolError
from rtmpsrv.protocol import amf3
from rtmpsrv.protocol.amf_values import (
    MAX_DEPTH,
    MAX_VALUES,
    UNDEFINED,
    UNSUPPORTED,
    AmfDate,
    AmfXml,
    Budget,
    ComplexValues,
    EcmaArray,
    TypedObject,
    Value,
)

NUMBER = 0x00
BOOLEAN = 0x01
STRING = 0x02
OBJECT = 0x03
NULL = 0x05
UNDEFINED_MARKER = 0x06
REFERENCE = 0x07
ECMA_ARRAY = 0x08
OBJECT_END = 0x09
STRICT_ARRAY = 0x0A
DATE = 0x0B
LONG_STRING = 0x0C
UNSUPPORTED_MARKER = 0x0D
XML_DOCUMENT = 0x0F
TYPED_OBJECT = 0x10
AVMPLUS = 0x11
# 04 (movie clip) and 0E (record set) are reserved and never seen: errors, like any unknown marker.

LONGEST_SHORT_STRING = 0xFFFF  # bytes; property and class names cannot be longer

_DOUBLE = Struct(">d")


def decode(data: bytes, lenient: bool = False) -> list[Value]:
    """Return all values of one message; at least one and not more than `MAX_VALUES`, else AmfError.

    An object or ECMA array at the top level may end where the data ends, without its end marker. `lenient`:
    the values end before the first that cannot be read; of an object that breaks off its members count.
    """
    reader = _Reader(data, 0)
    values: list[Value] = []
    try:
        while not values or reader.position < len(data):
            reader.unfinished = None
            values.append(reader.value())
    except AmfError as exc:
        if not lenient or isinstance(exc, AmfLimitError):
            raise
        if reader.unfinished is not None:
            values.append(reader.unfinished)
    return values


def decode_first_string(data: bytes) -> str | None:
    """Return the string that `data` begins with, such as the name of a data message, else None.

    Never raises, and looks at nothing behind the string.
    """
    try:
        reader = _Reader(data, 1)
        if data[0] == STRING:
            return reader.string()
        return reader.long_string() if data[0] == LONG_STRING else None
    except (AmfError, IndexError):
        return None


def skip_value(data: bytes, position: int) -> int:
    """Return the position after the value at `position`; raise AmfError when no whole value is there."""
    reader = _Reader(data, position)
    reader.value()
    return reader.position


def encode(*values: Value) -> bytes:
    """Return the values one after the other, without references.

    Raises LocalProtocolError for what AMF0 cannot say, and for more than the decoder's limits allow.
    """
    writer = _Writer()
    for value in values:
        writer.value(value)
    return bytes(writer.out)


class _Reader:
    """Reads the values of one message; unusable after an AmfError."""

    __slots__ = ("_budget", "_complex_values", "_data", "position", "unfinished")

    def __init__(self, data: bytes, position: int) -> None:
        self._data = data
        self.position = position
        self._budget = Budget()
        self._complex_values = ComplexValues(self._budget)
        self.unfinished: dict[str, Value] | None = None  # the object at the top level, while it is read

    def value(self) -> Value:
        self._budget.spend(1)
        marker = self._data[self._advance(1)]
        read = _READERS.get(marker)
        if read is None:
            raise AmfError(f"AMF0 marker {marker:02x} at byte {self.position - 1}")
        return read(self)

    def string(self) -> str:
        return self._text(self._uint(2))

    def long_string(self) -> str:
        return self._text(self._uint(4))

    def _advance(self, size: int) -> int:
        """Step over `size` bytes, which must be there, and return where they begin."""
        start = self.position
        if size > len(self._data) - start:
            raise AmfError(f"AMF0 wants {size} bytes at byte {start} of {len(self._data)}")
        self.position = start + size
        return start

    def _uint(self, size: int) -> int:
        start = self._advance(size)
        return int.from_bytes(self._data[start : self.position], "big")

    def _text(self, size: int) -> str:
        start = self._advance(size)
        self._budget.text += size  # not always UTF-8: surrogateescape brings the bytes of titles through
        return str(self._data[start : self.position], "utf-8", "surrogateescape")

    def _number(self) -> float:
        number: float = _DOUBLE.unpack_from(self._data, self._advance(8))[0]
        return number

    def _boolean(self) -> bool:
        return self._data[self._advance(1)] != 0

    def _object(self) -> Value:
        return self._complex_values.read(lambda: self._members({}))

    def _ecma_array(self) -> Value:
        self._uint(4)  # a hint that lies: 0, too big and too small all seen, so the end marker decides
        return self._complex_values.read(lambda: self._members(EcmaArray()))

    def _typed_object(self) -> Value:
        class_name = self.string()
        return self._complex_values.read(lambda: self._members(TypedObject(class_name)))

    def _members(self, members: dict[str, Value]) -> dict[str, Value]:
        data = self._data
        if self._budget.depth == 1:
            self.unfinished = members
        while self.position < len(data) or self._budget.depth > 1:
            name = self.string()
            # An empty name is a name like any other, unless the end marker follows.
            if not name and data[self.position : self.position + 1] == b"\x09":
                self.position += 1
                break
            members[name] = self.value()
        # else: FFmpeg and librtmp take an object that the message cuts off as complete; so do we.
        return members

    def _strict_array(self) -> Value:
        return self._complex_values.read(self._elements)

    def _elements(self) -> list[Value]:
        count = self._uint(4)
        if count > len(self._data) - self.position:  # each takes a byte at least
            raise AmfError(f"AMF0 array of {count} values at byte {self.position} of {len(self._data)}")
        return [self.value() for _ in range(count)]

    def _reference(self) -> Value:
        return self._complex_values.resolve(self._uint(2))

    def _date(self) -> AmfDate:
        milliseconds = self._number()
        self._advance(2)  # time zone, "should not be used" (section 2.13)
        return AmfDate(milliseconds)

    def _xml(self) -> AmfXml:
        return AmfXml(self.long_string())

    def _avmplus(self) -> Value:
        value, self.position = amf3.decode(self._data, self.position, self._budget)
        return value


_READERS: dict[int, Callable[[_Reader], Value]] = {
    NUMBER: _Reader._number,
    BOOLEAN: _Reader._boolean,
    STRING: _Reader.string,
    OBJECT: _Reader._object,
    NULL: lambda _: None,
    UNDEFINED_MARKER: lambda _: UNDEFINED,
    REFERENCE: _Reader._reference,
    ECMA_ARRAY: _Reader._ecma_array,
    STRICT_ARRAY: _Reader._strict_array,
    DATE: _Reader._date,
    LONG_STRING: _Reader.long_string,
    UNSUPPORTED_MARKER: lambda _: UNSUPPORTED,
    XML_DOCUMENT: _Reader._xml,
    TYPED_OBJECT: _Reader._typed_object,
    AVMPLUS: _Reader._avmplus,
}


class _Writer:
    """Appends values to `out`, within the limits that the decoder has."""

    __slots__ = ("_depth", "_values_left", "out")

    def __init__(self) -> None:
        self.out = bytearray()
        self._depth = 0
        self._values_left = MAX_VALUES

    def value(self, value: Value) -> None:
        self._values_left -= 1
        if self._values_left < 0:
            raise LocalProtocolError(f"more than {MAX_VALUES} AMF values to encode")
        for kind in type(value).__mro__:
            write = _WRITERS.get(kind)
            if write is not None:
                write(self, value)
                return
        raise LocalProtocolError(f"AMF0 has no {type(value).__name__}")

    def _null(self, _: None) -> None:
        self.out.append(NULL)

    def _boolean(self, value: bool) -> None:
        self.out += b"\x01\x01" if value else b"\x01\x00"

    def _number(self, value: int | float) -> None:
        try:
            number = _DOUBLE.pack(float(value))
        except OverflowError as exc:
            raise LocalProtocolError(
                f"an integer of {int(value).bit_length()} bits is no AMF number"
            ) from exc
        self.out.append(NUMBER)
        self.out += number

    def _string(self, value: str) -> None:
        text = _utf8(value)
        if len(text) > LONGEST_SHORT_STRING:
            self._long_text(LONG_STRING, text)
        else:
            self.out.append(STRING)
            self._short_text(text)

    def _xml(self, value: AmfXml) -> None:
        self._long_text(XML_DOCUMENT, _utf8(value))

    def _object(self, value: dict[str, Value]) -> None:
        self.out.append(OBJECT)
        self._members(value)

    def _ecma_array(self, value: EcmaArray) -> None:
        self.out.append(ECMA_ARRAY)
        self.out += len(value).to_bytes(4, "big")
        self._members(value)

    def _typed_object(self, value: TypedObject) -> None:
        self.out.append(TYPED_OBJECT)
        self._short_text(_utf8(value.class_name))
        self._members(value)

    def _members(self, members: Mapping[Value, Value]) -> None:
        self._enter()
        for name, value in members.items():
            self._short_text(_utf8(name))
            self.value(value)
        self._depth -= 1
        self.out += b"\x00\x00\x09"

    def _strict_array(self, value: list[Value] | tuple[Value, ...]) -> None:
        self._enter()
        self.out.append(STRICT_ARRAY)
        self.out += len(value).to_bytes(4, "big")
        for element in value:
            self.value(element)
        self._depth -= 1

    def _date(self, value: AmfDate) -> None:
        self.out.append(DATE)
        self.out += _DOUBLE.pack(value.milliseconds)
        self.out += b"\x00\x00"  # time zone, reserved (section 2.13)

    def _singleton(self, value: Value) -> None:
        self.out.append(UNDEFINED_MARKER if value is UNDEFINED else UNSUPPORTED_MARKER)

    def _enter(self) -> None:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise LocalProtocolError(f"AMF values to encode are nested deeper than {MAX_DEPTH}")

    def _short_text(self, text: bytes) -> None:
        if len(text) > LONGEST_SHORT_STRING:
            raise LocalProtocolError(f"AMF0 name of {len(text)} bytes, limit {LONGEST_SHORT_STRING}")
        self.out += len(text).to_bytes(2, "big")
        self.out += text

    def _long_text(self, marker: int, text: bytes) -> None:
        self.out.append(marker)
        self.out += len(text).to_bytes(4, "big")
        self.out += text


def _utf8(text: Value) -> bytes:
    if not isinstance(text, str):  # the name of a member, which may be anything
        raise LocalProtocolError(f"AMF text cannot be a {type(text).__name__}")
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError as exc:
        raise LocalProtocolError(f"AMF text cannot be written: {exc}") from exc


# By class, most derived first: bool before int, EcmaArray before dict. Values that AMF0 lacks but that have
# an obvious counterpart are converted: int and tuple, and the vectors and dictionaries of AMF3.
_WRITERS: dict[type, Callable[[_Writer, Value], None]] = {
    type(None): _Writer._null,
    bool: _Writer._boolean,
    int: _Writer._number,
    float: _Writer._number,
    str: _Writer._string,
    AmfXml: _Writer._xml,
    dict: _Writer._object,
    EcmaArray: _Writer._ecma_array,
    TypedObject: _Writer._typed_object,
    list: _Writer._strict_array,
    tuple: _Writer._strict_array,
    AmfDate: _Writer._date,
    type(UNDEFINED): _Writer._singleton,
}

"""The Python values that stand for AMF data, and the limits of one message; not the wire formats.

    number                  float       null                   None
    boolean                 bool        undefined              UNDEFINED
    string, long string     str         unsupported            UNSUPPORTED
    object                  dict        date                   AmfDate
    typed object            TypedObject XML, XML document      AmfXml
    ECMA array              EcmaArray   vector (AMF3)          AmfVector
    strict array            list        dictionary (AMF3)      AmfDictionary
    integer (AMF3)          int         byte array (AMF3)      bytes

What decodes is a tree or a graph without cycles: see `ComplexValues`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from rtmpsrv.errors import AmfError, AmfLimitError

MAX_DEPTH = 64  # objects and arrays inside each other; real traffic stays under 6, FFmpeg allows 16
MAX_VALUES = 10_000  # per message; a connect has about 15, the metadata of a recorded file some hundreds
MAX_REPEATED = 1 << 18  # bytes of text per message that references stand for; clients repeat short names

Value: TypeAlias = Any  # one of the types in the table above


class _Singleton:
    """A value without contents: falsy, equal to itself only, and itself again after pickle or copy."""

    __slots__ = ("_name",)

    def __init__(self, name: str) -> None:
        self._name = name

    def __bool__(self) -> bool:
        return False

    def __repr__(self) -> str:
        return self._name

    def __reduce__(self) -> str:
        return self._name  # a string means: the global of that name in this module


UNDEFINED: Final = _Singleton("UNDEFINED")
UNSUPPORTED: Final = _Singleton("UNSUPPORTED")


class EcmaArray(dict[str, Value]):
    """An associative array; equal to the dict with the same members."""


class TypedObject(dict[str, Value]):
    """An object of a named class; equality looks at the members only."""

    def __init__(self, class_name: str, members: Mapping[str, Value] | None = None) -> None:
        super().__init__(members or {})
        self.class_name = class_name

    def __repr__(self) -> str:
        return f"TypedObject({self.class_name!r}, {super().__repr__()})"

    def __reduce__(self) -> tuple[type[TypedObject], tuple[str, dict[str, Value]]]:
        return TypedObject, (self.class_name, dict(self))


@dataclass(frozen=True, slots=True)
class AmfDate:
    """A moment, in milliseconds since 1970 UTC; NaN and infinities are possible."""

    milliseconds: float


class AmfXml(str):
    """XML as it came: text that nobody here parses."""

    __slots__ = ()


class AmfVector(list[Value]):
    """An AMF3 vector of integers, doubles or objects."""


class AmfDictionary(list[tuple[Value, Value]]):
    """An AMF3 dictionary as (key, value) pairs: its keys may be objects, which do not hash."""


class Budget:
    """What is left of the limits of one message; AMF0 and the AMF3 inside it draw on the same one.

    `depth` is the present nesting, `deepest` the most inside the value that `ComplexValues.read` is reading.
    `text` counts all bytes of text so far, those of references as well.
    """

    __slots__ = ("_repeated", "deepest", "depth", "text", "values_left")

    def __init__(self) -> None:
        self.values_left = MAX_VALUES
        self.text = 0
        self._repeated = 0
        self.depth = 0
        self.deepest = 0

    def spend(self, count: int) -> None:
        """Pay for `count` values; raise AmfLimitError when the message holds too many."""
        self.values_left -= count
        if self.values_left < 0:
            raise AmfLimitError(f"more than {MAX_VALUES} AMF values in a message")

    def repeat(self, count: int) -> None:
        """Pay for `count` bytes of text that are there by reference; AmfLimitError when that is too much."""
        self.text += count
        self._repeated += count
        if self._repeated > MAX_REPEATED:
            raise AmfLimitError(f"AMF references to more than {MAX_REPEATED} bytes of text in a message")

    def descend(self, levels: int) -> None:
        """Note that values lie `levels` below the present depth; AmfLimitError when that is too deep."""
        deepest = self.depth + levels
        if deepest > MAX_DEPTH:
            raise AmfLimitError(f"AMF values nested {deepest} deep, limit {MAX_DEPTH}")
        self.deepest = max(self.deepest, deepest)


class ComplexValues:
    """The values that references can point at, in order of appearance: a reference table.

    A reference costs as many values, levels and bytes of text as a copy of its target would, and a target
    that is not complete yet is refused. So nobody downstream (repr, ==, json, the encoder) meets a cycle, or
    a few hundred bytes that unfold into millions of values, or gigabytes of text.
    """

    __slots__ = ("_budget", "_entries")

    def __init__(self, budget: Budget) -> None:
        self._budget = budget
        # (value, values inside it, levels inside it, text inside it); None while the value is being read
        self._entries: list[tuple[Value, int, int, int] | None] = []

    def read(self, read_members: Callable[[], Value]) -> Value:
        """Return the value that `read_members` reads one level down, registered before its members."""
        budget = self._budget
        index = len(self._entries)
        self._entries.append(None)
        deepest_outside, values_before, text_before = budget.deepest, budget.values_left, budget.text
        budget.deepest = budget.depth
        budget.descend(1)
        budget.depth += 1
        value = read_members()
        budget.depth -= 1
        self._entries[index] = (
            value,
            values_before - budget.values_left,
            budget.deepest - budget.depth,
            budget.text - text_before,
        )
        budget.deepest = max(budget.deepest, deepest_outside)
        return value

    def resolve(self, index: int) -> Value:
        """Return the value number `index`; raise AmfError when there is none or it holds the reference."""
        if index >= len(self._entries):
            raise AmfError(f"AMF reference to value {index} of {len(self._entries)}")
        entry = self._entries[index]
        if entry is None:
            raise AmfError(f"AMF reference to value {index} from inside itself")
        value, size, levels, text = entry
        self._budget.spend(size)
        self._budget.repeat(text)
        self._budget.descend(levels)
        return value

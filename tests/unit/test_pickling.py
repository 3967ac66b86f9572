"""Dataclasses that pickle by the names of their fields."""

from __future__ import annotations

import copy
import pickle
from dataclasses import dataclass, field

from rtmpsrv.pickling import Reduced, by_fields, rebuild


@dataclass(slots=True)
class Part:
    number: int
    data: bytearray | None = None

    def __reduce__(self) -> Reduced:
        return by_fields(self)


@dataclass(slots=True)
class Whole:
    parts: dict[int, Part] = field(default_factory=dict)
    current: Part | None = None

    def __reduce__(self) -> Reduced:
        return by_fields(self)


@dataclass(frozen=True, slots=True)
class Base:
    def __reduce__(self) -> Reduced:
        return by_fields(self)


@dataclass(frozen=True, slots=True)
class Derived(Base):
    name: str = field(repr=False)


def test_what_is_shared_inside_stays_shared() -> None:
    part = Part(3, bytearray(b"abc"))
    again = pickle.loads(pickle.dumps(Whole({3: part}, part)))
    assert again == Whole({3: part}, part)
    assert again.current is again.parts[3]


def test_frozen_and_derived_classes_come_back() -> None:
    again = pickle.loads(pickle.dumps(Derived("key")))
    assert type(again) is Derived
    assert again == Derived("key")


def test_fields_that_the_pickle_does_not_know_have_their_defaults() -> None:
    assert rebuild(Part, {"number": 4}) == Part(4, None)


def test_a_shallow_copy_shares_its_parts() -> None:
    whole = Whole({3: Part(3)})
    assert copy.copy(whole).parts is whole.parts

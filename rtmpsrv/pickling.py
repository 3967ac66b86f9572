"""How dataclasses pickle: by the names of their fields, so that any build and a later version reads them.

Without this, what a compiled class writes cannot be read where the class is not compiled, nor the other way
round, and a frozen one not even where it came from. Knows no class of this package.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Values: TypeAlias = dict[str, object]
Reduced: TypeAlias = tuple[Callable[[type[object], Values], object], tuple[type[object], Values]]


def by_fields(value: DataclassInstance) -> Reduced:
    """Return what `__reduce__` of a dataclass returns. Its constructor takes every field."""
    return rebuild, (type(value), {field.name: getattr(value, field.name) for field in fields(value)})


def rebuild(kind: type[object], values: Values) -> object:
    """Make the object again; fields that the pickle does not know have their defaults."""
    return kind(**values)

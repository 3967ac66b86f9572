"""How an answer travels: pickles, one behind the other, since a large one would hold up streams. Pure.

A list goes in pieces; everything else is one piece.
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Iterable, Sequence
from typing import Any, Final

PIECE: Final = 100  # values in one pickle: well below a millisecond


class _Plain(pickle.Unpickler):
    """Reads numbers, texts and what holds them; nothing that has a name."""

    def find_class(self, module: str, name: str) -> Any:
        raise pickle.UnpicklingError(f"{module}.{name} is no plain value")


def pack(value: object) -> bytes:
    """Return one piece."""
    return pickle.dumps(value, pickle.HIGHEST_PROTOCOL)


def pieces(values: Sequence[object]) -> Iterable[bytes]:
    """Return a list, piece by piece: whoever joins them may do other things in between."""
    for begin in range(0, max(len(values), 1), PIECE):
        yield pack(list(values[begin : begin + PIECE]))


def unpack(answer: bytes) -> Any:
    """Return what was packed. Raises ValueError for what is nothing of the kind."""
    stream = io.BytesIO(answer)
    found: list[Any] = []
    try:
        while stream.tell() < len(answer) or not found:
            found.append(_Plain(stream).load())
        return found[0] if len(found) == 1 else [value for piece in found for value in piece]
    except (pickle.UnpicklingError, EOFError, IndexError, TypeError, KeyError, AttributeError) as exc:
        raise ValueError(f"no answer of a process that serves: {type(exc).__name__}") from exc

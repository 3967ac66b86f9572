"""Who is being sent what of a window: nobody keeps a segment in memory that is counted no more.

A player that needs longer for a segment than that can be had plays nothing live. Never blocks.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, Protocol

TOO_SLOW: Final = "took a segment more slowly than it is kept"


class Window(Protocol):
    """What can be had."""

    def find(self, name: str) -> object:
        """Return what has a name; None where there is nothing, or no more."""


class Maker(Protocol):
    """Who makes what is sent."""

    @property
    def is_running(self) -> bool:
        """Whether it makes something, and counts what it holds."""

    @property
    def window(self) -> Window:
        """What it holds now."""


class Taker(Protocol):
    """The connection that it is sent over."""

    def drop(self, reason: str) -> None:
        """End it. Never blocks."""


class Sending:
    """All of a process."""

    def __init__(self) -> None:
        self._under_way: dict[object, tuple[Maker, str, Taker]] = {}

    @contextmanager
    def of(self, maker: Maker | None, name: str, taker: Taker) -> Iterator[None]:
        """Take note that something is sent, while the body runs; without a maker of nothing."""
        mark = object()
        if maker is not None:
            self._under_way[mark] = maker, name, taker
        try:
            yield
        finally:
            self._under_way.pop(mark, None)

    def see_to(self) -> None:
        """End those who are sent what has been let go of."""
        for maker, name, taker in list(self._under_way.values()):
            if not maker.is_running or maker.window.find(name) is None:
                taker.drop(TOO_SLOW)

"""How many connections of HTTP there may be, whether they watch or not. Never blocks.

A browser opens several, so they take no slots of clients that watch. When all places are taken, who has asked
for nothing for longest leaves: nobody shuts others out by holding connections.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable
from typing import Final, Protocol

from ..proxies import Addresses

MAX_OF_ADDRESS: Final = 64  # a browser opens six
MAX_CONNECTIONS: Final = 10_000
LEAVES: Final = "asked for nothing, and others came"


class Idle(Protocol):
    """A connection that may leave."""

    def drop(self, reason: str) -> None:
        """End it. Never blocks."""


class Places:
    """Those of one process."""

    def __init__(
        self,
        total: int = MAX_CONNECTIONS,
        *,
        of_address: int = MAX_OF_ADDRESS,
        exempt: Iterable[Addresses] = (),
        counted_as: Callable[[str], str] = str,
    ) -> None:
        """`exempt` are those whom the bound of one address does not apply to."""
        self.total = total
        self._of_address = of_address
        self._exempt = list(exempt)
        self._counted_as = counted_as
        self._counts: Counter[str] = Counter()
        self._open = 0
        self._idle: OrderedDict[Idle, None] = OrderedDict()  # who waits longest first

    def enter(self, address: str) -> str | None:
        """Take a place for a connection; return why not, None for yes."""
        refusal = self.ask(address)
        if refusal is None:
            if self._open >= self.total and not self._make_room():
                self.done(address)
                return f"limit of {self.total} connections of HTTP"
            self._open += 1
        return refusal

    def leave(self, address: str) -> None:
        """Give it back."""
        self._open -= 1
        self.done(address)

    def arrive(self, address: str) -> None:
        """Take a place whatever the limits say, for a connection that another process served until now."""
        self._open += 1
        self._counts[self._counted_as(address)] += 1

    def ask(self, address: str) -> str | None:
        """Count an address once more; return why not, None for yes. For who comes through a proxy, too."""
        name = self._counted_as(address)
        if self._counts[name] >= self._of_address and not any(address in rules for rules in self._exempt):
            return f"limit of {self._of_address} connections of HTTP from one address"
        self._counts[name] += 1
        return None

    def done(self, address: str) -> None:
        """Count it once less."""
        name = self._counted_as(address)
        self._counts[name] -= 1
        if not self._counts[name]:
            del self._counts[name]

    def rests(self, connection: Idle) -> None:
        """Take note that a connection waits for a request."""
        self._idle[connection] = None

    def works(self, connection: Idle) -> None:
        """Take note that it has one, or is over. Idempotent."""
        self._idle.pop(connection, None)

    def describe(self) -> dict[str, int]:
        """Return what an operator may want to know."""
        return {"open": self._open, "addresses": len(self._counts), "idle": len(self._idle)}

    def _make_room(self) -> bool:
        """Let one leave that waits; it goes in a moment, and is counted until then."""
        if not self._idle:
            return False
        connection, _ = self._idle.popitem(last=False)
        connection.drop(LEAVES)
        return True

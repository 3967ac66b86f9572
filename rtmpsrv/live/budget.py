"""What peers make this process hold, in bytes by kind, against bounds: one budget for all. Never blocks.

The logs of channels share one limit, which `relieve` restores; what single connections hold is bounded kind
by kind, at the cost of whoever holds most. Knows neither channels nor sessions.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

LOG = "log"  # serialised messages and their index
HEADERS = "headers"  # headers, metadata and what joiners are told before media
UNFINISHED = "unfinished"  # messages, handshakes and bytes of peers that are not complete or not judged yet
ANSWERS = "answers"  # what peers are told and have not taken yet
TLS = "tls"  # records of connections on their way in or out, a few of each at most
WINDOWS = "windows"  # of HLS and MP4: what viewers may ask for, and what that is made of

# Of all connections together. A frame is far below a mebibyte, and few are under way at one moment.
UNFINISHED_BYTES = 64 << 20
ANSWERS_BYTES = 64 << 20
TLS_BYTES = 64 << 20  # mostly nothing waits, and never more than 60 kB of one connection
# Of the limit: logs are what all viewers need, windows are what some do.
WINDOWS_SHARE = 0.5
PRESSED = 0.75  # of a bound, from where on as little as possible is to be held
# Segments of logs need a descriptor each; half of what the process may open is left for connections.
DESCRIPTOR_SHARE = 0.5


class Holder(Protocol):
    """A connection, or who makes HLS or MP4, as far as the budget knows it."""

    def drop(self, reason: str) -> None:
        """End it. Never blocks."""


class Budget:
    """Counts of one process. `relieve` is called when logs hold more than they may."""

    def __init__(
        self,
        limit_bytes: int,
        *,
        unfinished_bytes: int = UNFINISHED_BYTES,
        answers_bytes: int = ANSWERS_BYTES,
        tls_bytes: int = TLS_BYTES,
        descriptor_limit: int = 1 << 16,
    ) -> None:
        self.limit_bytes = limit_bytes
        self.used_bytes = 0  # of all kinds together; changed here only
        self.relieve: Callable[[], None] = _nothing
        windows_bytes = int(limit_bytes * WINDOWS_SHARE)
        self._bounds = {
            UNFINISHED: unfinished_bytes,
            ANSWERS: answers_bytes,
            TLS: tls_bytes,
            WINDOWS: windows_bytes,
        }
        self._used = {LOG: 0, HEADERS: 0, UNFINISHED: 0, ANSWERS: 0, TLS: 0, WINDOWS: 0}
        self._holders: dict[str, dict[Holder, int]] = {kind: {} for kind in self._bounds}
        self._descriptors = 0
        self._descriptor_limit = descriptor_limit

    def admits_publisher(self) -> bool:
        """Tell whether there is room for another stream; makes room first if there is none."""
        if self.used_bytes > self.limit_bytes:
            self.relieve()
        return self.used_bytes <= self.limit_bytes

    # --- what channels hold -----------------------------------------------------------------------

    def change(self, kind: str, by: int) -> None:
        """Count bytes that no single connection is answerable for: LOG or HEADERS."""
        self._used[kind] += by
        self.used_bytes += by

    def take_descriptor(self) -> bool:
        """Take a descriptor for a segment; False when logs have all they may have."""
        if self._descriptors >= self._descriptor_limit:
            return False
        self._descriptors += 1
        return True

    def adopt_descriptor(self) -> None:
        """Take note of one that came from another process: the bound holds for what is opened here."""
        self._descriptors += 1

    def give_descriptor(self) -> None:
        """Give one back."""
        self._descriptors -= 1

    def limit_descriptors(self, open_files: int) -> None:
        """Let logs have their share of the files that the process may open."""
        self._descriptor_limit = int(open_files * DESCRIPTOR_SHARE)

    # --- what connections hold --------------------------------------------------------------------

    def hold(self, kind: str, holder: Holder, count: int) -> None:
        """Take note that `holder` now holds `count` bytes of a kind that has a bound; 0 forgets it.

        Past the bound of the kind whoever holds most is dropped, which may be the caller.
        """
        holders = self._holders[kind]
        self.change(kind, count - holders.get(holder, 0))
        if count:
            holders[holder] = count
        else:
            holders.pop(holder, None)
        bound = self._bounds[kind]
        while self._used[kind] > bound:
            self.drop_largest(kind, f"all connections together may hold {bound}")

    def is_pressed(self, kind: str) -> bool:
        """Tell whether holders of a kind should hold as little as they can."""
        return self.used_bytes > self.limit_bytes or self._used[kind] > PRESSED * self._bounds[kind]

    def largest(self, kind: str) -> int:
        """Return what whoever holds most of a kind holds."""
        return max(self._holders[kind].values(), default=0)

    def drop_largest(self, kind: str, why: str) -> bool:
        """Drop whoever holds most of a kind; False if nobody holds any."""
        holders = self._holders[kind]
        if not holders:
            return False
        largest = max(holders, key=holders.__getitem__)
        held = holders.pop(largest)
        self.change(kind, -held)
        largest.drop(f"held {held} bytes of {kind} data; {why}")
        return True

    def describe(self) -> dict[str, Any]:
        """Return what is held, by kind, and the bounds."""
        return {
            "limit_bytes": self.limit_bytes,
            "used_bytes": self.used_bytes,
            **{f"{kind}_bytes": used for kind, used in self._used.items()},
            "holders": {kind: len(holders) for kind, holders in self._holders.items()},
            "descriptors": self._descriptors,
            "descriptor_limit": self._descriptor_limit,
        }


def _nothing() -> None:
    """Relieve nothing: nobody keeps logs yet."""

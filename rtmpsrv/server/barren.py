"""How many TLS records of a peer carry no data: changes of keys, 20 us each, which nobody needs often."""

from __future__ import annotations

from typing import Final

MAX_BARREN: Final = 128  # at one time, some 2.5 ms
BARREN_PER_S: Final = 16.0  # that are forgiven
# A record may hold thousands of messages of four bytes, such as hellos that TLS 1.2 refuses one by one.
USUAL_BYTES: Final = 64
BYTES_LIKE_ONE: Final = 8  # beyond these


class Barren:
    """The count of one connection. Pure; time is the caller's."""

    __slots__ = ("_count", "_counted_at")

    def __init__(self) -> None:
        self._count = 0.0
        self._counted_at = 0.0  # monotonic seconds

    def came(self, size: int, now: float) -> bool:
        """Count one; True when it is one too many. Records with data change nothing."""
        earned = (now - self._counted_at) * BARREN_PER_S
        weight = 1 + max(0, size - USUAL_BYTES) // BYTES_LIKE_ONE
        self._count, self._counted_at = max(0.0, self._count - earned) + weight, now
        return self._count > MAX_BARREN

"""How much of what a peer sends by TLS carries no data: changes of keys, some 10 us for 27 bytes."""

from __future__ import annotations

from typing import Final

MAX_BARREN_BYTES: Final = 32768  # at one time: an unfinished record is half of that
BARREN_BYTES_PER_S: Final = 32768.0  # that are forgiven: some clients pad what they say
RECORD_EXTRA_BYTES: Final = 64  # of a record beside its data, at most; but for padding


class Barren:
    """The count of one connection. Pure; time is the caller's."""

    __slots__ = ("_bytes", "_counted_at")

    def __init__(self) -> None:
        self._bytes = 0.0
        self._counted_at = 0.0  # monotonic seconds

    def came(self, count: int) -> None:
        """Count bytes of records."""
        self._bytes += count

    def carried(self, count: int) -> None:
        """Take away what a record with so many bytes of data may have."""
        self._bytes -= count + RECORD_EXTRA_BYTES

    def is_too_much(self, now: float) -> bool:
        """Tell whether more has come than anybody needs. What was saved up by data does not count."""
        earned = (now - self._counted_at) * BARREN_BYTES_PER_S
        self._bytes, self._counted_at = max(0.0, self._bytes - earned), now
        return self._bytes > MAX_BARREN_BYTES

"""What a TLS peer has sent and OpenSSL has not got yet, cut into records (RFC 8446 5.1)."""

from __future__ import annotations

from typing import Final

HEAD_BYTES: Final = 5
MAX_RECORD_BYTES: Final = HEAD_BYTES + 16384 + 320  # OpenSSL refuses what is larger by its head
DATA: Final = 23  # kind of record; in TLS 1.3 of all, outside
_KINDS: Final = range(20, 25)
_MAJOR_VERSION: Final = 3  # of all since SSL 3.0


class Records:
    """Bytes in, records out. Pure."""

    __slots__ = ("_at", "_data")

    def __init__(self) -> None:
        self._data = b""
        self._at = 0  # where what is left begins

    def __len__(self) -> int:
        """Count what is left."""
        return len(self._data) - self._at

    @property
    def held_bytes(self) -> int:
        """How many bytes stand in here: with what is left, what was taken before it."""
        return len(self._data)

    def add(self, data: bytes) -> None:
        """Take in what has come."""
        self._data = self.take_rest() + data

    def take(self) -> bytes:
        """Take a record; b"" when none is complete. What cannot be one is taken as it is, to be refused."""
        data, at = self._data, self._at
        left = len(data) - at
        if left < HEAD_BYTES:
            return b""
        size = HEAD_BYTES + (data[at + 3] << 8 | data[at + 4])
        if data[at] not in _KINDS or data[at + 1] != _MAJOR_VERSION or size > MAX_RECORD_BYTES:
            return self.take_rest()
        if size > left:
            return b""
        if size == left:
            return self.take_rest()
        self._at = at + size
        return data[at : at + size]

    def take_rest(self) -> bytes:
        """Take all that is left."""
        rest = self._data[self._at :]
        self._data, self._at = b"", 0
        return rest

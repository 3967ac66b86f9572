"""Arithmetic on message timestamps: 32 bits, milliseconds, modulo 2^32 (they wrap after 49.7 days)."""

from __future__ import annotations

TIMESTAMP_MASK = 0xFFFFFFFF
_HALF = 1 << 31


def add(timestamp: int, offset: int) -> int:
    """Return the timestamp `offset` ms later, or earlier when negative."""
    return (timestamp + offset) & TIMESTAMP_MASK


def signed_difference(a: int, b: int) -> int:
    """Return a - b as the shorter way round; -2^31 when both ways are as long."""
    return ((a - b + _HALF) & TIMESTAMP_MASK) - _HALF

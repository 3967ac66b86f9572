"""Bounds of channels, as settings say them. Nothing but declarations."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class LiveLimits:
    """Bounds of one channel; bytes and seconds."""

    cache_bytes: int = 256 << 20
    keep_stream: bool = False  # keep everything since the stream began, not just the current GOP
    merge_messages: int = 8
    lag_bytes: int = 8 << 20
    lag_s: float = 10.0

"""What stands for a publisher's key where something that it sent is kept after it has gone."""

from __future__ import annotations

import hmac
from hashlib import sha256
from typing import Final

NOBODYS: Final = b""  # which no key fits: it is not known any more


def lock_of(key: bytes | None) -> bytes | None:
    """Return what `fits` takes; None where players need no key."""
    return sha256(key).digest() if key is not None else None


def shape_of(key: str | None) -> bytes | None:
    """Return what `opens` takes of a player's key, for who asks more than once; None for who needs none."""
    return sha256(key.encode("utf-8", "surrogateescape")).digest() if key is not None else None


def opens(shape: bytes | None, lock: bytes | None) -> bool:
    """Tell whether a player needs no key, or has it; compares in constant time."""
    return shape is None or lock is None or hmac.compare_digest(shape, lock)


def fits(key: str, lock: bytes | None) -> bool:
    """Tell whether a player has the key."""
    return opens(shape_of(key), lock)

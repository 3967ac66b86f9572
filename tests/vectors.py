"""Loads the files of expected bytes and values in tests/wire/vectors."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

_DIRECTORY = Path(__file__).parent / "wire" / "vectors"


@cache
def load(name: str) -> dict[str, Any]:
    """Return the contents of NAME.json; shared between callers, so not to be changed."""
    vectors: dict[str, Any] = json.loads((_DIRECTORY / f"{name}.json").read_text(encoding="utf-8"))
    return vectors


def vector_bytes(vector: dict[str, Any]) -> bytes:
    """Return the bytes of a vector, written out or as a prefix and a repeated byte."""
    if "hex" in vector:
        return bytes.fromhex(vector["hex"])
    repeat = vector["then_repeat"]
    count: int = repeat["count"]
    return bytes.fromhex(vector["hex_prefix"]) + bytes.fromhex(repeat["byte"]) * count


def name_of(vector: dict[str, Any]) -> str:
    """Return what to call a vector in a test id."""
    return str(vector["name"])

"""JSON in few lines that are not too long. Pure."""

from __future__ import annotations

import json

WIDTH = 108  # columns


def pretty(value: object, depth: int = 0, before: int = 0) -> str:
    """Return the value as JSON, each object and list on one line if it fits beside what is before it."""
    flat = json.dumps(value, ensure_ascii=False)
    if depth + before + len(flat) < WIDTH or not value:
        return flat
    if isinstance(value, dict):
        names = [json.dumps(name, ensure_ascii=False) + ": " for name in value]
        pieces = [
            name + pretty(one, depth + 1, len(name)) for name, one in zip(names, value.values(), strict=True)
        ]
        return _lines("{", pieces, "}", depth)
    if isinstance(value, list):
        return _lines("[", [pretty(one, depth + 1) for one in value], "]", depth)
    return flat


def _lines(opening: str, pieces: list[str], closing: str, depth: int) -> str:
    indented = [" " * (depth + 1) + piece for piece in pieces]
    return "\n".join([opening, ",\n".join(indented), " " * depth + closing])

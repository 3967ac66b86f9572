"""What files are called: a pattern, a channel and a time become a path below the folder of recordings.

Pure. Whatever a channel is called, the path stays in the folder: parts hold no slash, begin with no dot and
are never empty; and two channels never share one.
"""

from __future__ import annotations

import hashlib
import re
from datetime import UTC, datetime
from typing import Final

from rtmpsrv.record_settings import PLACE

INDEX: Final = "index.jsonl"
PART: Final = ".part"  # behind the name of a file that is not whole
MAX_DEPTH: Final = 8  # parts of a channel's name that become folders; the rest is one
MAX_PART: Final = 120  # bytes; with pattern, counter and suffixes below the 255 of most file systems
MAX_NAME: Final = 230  # bytes of one part, suffixes not counted

_UNSAFE: Final = re.compile(rb"[^A-Za-z0-9_.-]")
_EMPTY: Final = "%"  # no other part is written so
_TIMES: Final = {"Y": "%Y", "m": "%m", "d": "%d", "H": "%H", "M": "%M", "S": "%S", "f": "%f"}


def path_of(pattern: str, channel: str, stream_id: str, at: float) -> str:
    """Return the path of a file that begins at `at` (wall clock, s), without suffix. Times are UTC."""
    when = datetime.fromtimestamp(at, UTC)
    words = {"path": safe(channel), "id": _safe_part(stream_id), "%": "%25"}

    def put(match: re.Match[str]) -> str:
        word = match[1]
        return words.get(word) or when.strftime(_TIMES[word])

    parts = PLACE.sub(put, pattern).split("/")
    return "/".join([_bounded(part, MAX_NAME) for part in parts])


def safe(channel: str) -> str:
    """Return a channel's name as parts of a path."""
    parts = channel.split("/", MAX_DEPTH - 1)
    return "/".join([_safe_part(part) for part in parts])


def is_below(path: str) -> bool:
    """Tell whether a path that was read from somewhere leads to a file below the folder."""
    return "\0" not in path and all(part and not part.startswith(".") for part in path.split("/"))


def _safe_part(text: str) -> str:
    raw = text.encode("utf-8", "surrogatepass")
    part = _UNSAFE.sub(lambda match: b"%%%02X" % match[0][0], raw).decode()
    if part.startswith(".") or part.endswith((".jsonl", PART)):  # the index, and what is not whole
        head, _dot, tail = part.rpartition(".")
        part = f"{head}%2E{tail}" if not part.startswith(".") else f"%2E{part[1:]}"
    return _bounded(part, MAX_PART) if part else _EMPTY


def _bounded(part: str, limit: int) -> str:
    """Return a part that is not too long: what is cut off is told by its digest."""
    if len(part.encode()) <= limit:
        return part
    digest = hashlib.sha256(part.encode()).hexdigest()[:16]
    cut = part.encode()[: limit - len(digest) - 1].decode(errors="ignore")
    return f"{cut}~{digest}"

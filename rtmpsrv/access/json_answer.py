"""The optional JSON answer of a backend, in every format: reason, lifetime, another channel. Pure."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import Any

from rtmpsrv.access.facts import Answer, Decision

MAX_REASON = 200  # characters that a client is told
MAX_STREAM_ID = 256
LONGEST_S = 10 * 366 * 86_400.0
MOST = 2**53  # of a limit
LIMITS = ("max_seconds", "max_bitrate", "max_players")
MAX_NOT_LIMITS = 4  # of one answer, that are told
MAX_NAME = 40  # characters of each


def is_json(answer: Answer) -> bool:
    """Tell whether the body is announced as JSON."""
    return answer.headers.get("content-type", "").partition(";")[0].strip().lower() == "application/json"


def read(body: bytes) -> dict[str, Any]:
    """Return the object that a body holds; an empty one for anything else."""
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def refined(decision: Decision, said: dict[str, Any]) -> Decision:
    """Return a decision with what an object says beside it; values of a wrong kind count as not given."""
    limits = said.get("limits")
    not_limits = _not_limits(limits)
    limits = limits if isinstance(limits, dict) else {}
    lifetime_s = _seconds(said.get("lifetime"), 1000)  # in ms, as OvenMediaEngine's
    longest_s = _seconds(limits.get("max_seconds"), 1)
    ends = [seconds for seconds in (lifetime_s, longest_s) if seconds]
    return replace(
        decision,
        allowed=decision.allowed and said.get("allow") is not False,
        reason=reason(said.get("reason")) or decision.reason,
        stream_id=stream_id(said.get("stream_id")) or decision.stream_id,
        channel=_text(said.get("channel")).strip("/") or decision.channel,
        lifetime_s=min(ends, default=decision.lifetime_s),
        max_bitrate=_whole(limits.get("max_bitrate")) or decision.max_bitrate,
        max_players=_whole(limits.get("max_players")) or decision.max_players,
        not_limits=not_limits or decision.not_limits,
    )


def stream_id(value: object) -> str:
    """Return a stream id that commands can name: printable ASCII; "" for anything else."""
    text = _text(value).strip()
    return text if text.isascii() and text.isprintable() and len(text) <= MAX_STREAM_ID else ""


def reason(value: object) -> str:
    """Return words for a client, without what no line of text holds."""
    text = _text(value)[:MAX_REASON]
    return "".join(letter if letter.isprintable() else " " for letter in text).strip()


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _not_limits(said: object) -> tuple[str, ...]:
    """Return the names among limits that say nothing, as text for a log."""
    if not isinstance(said, dict):
        return () if said is None else ("limits",)
    wrong = [name for name, value in said.items() if name not in LIMITS or not _is_limit(value)]
    shown = ["".join(letter for letter in name if letter.isprintable())[:MAX_NAME] for name in wrong]
    return tuple(sorted(shown)[:MAX_NOT_LIMITS])


def _is_limit(value: object) -> bool:
    """Tell whether a value is a limit, or says that there is none."""
    return value is None or (value == 0 and not isinstance(value, bool)) or _number(value) > 0


def _whole(value: object) -> int:
    """Return a limit that is counted; 0 for none."""
    return min(math.ceil(_number(value)), MOST)


def _seconds(value: object, unit: int) -> float:
    return min(_number(value) / unit, LONGEST_S)


def _number(value: object) -> float:
    """Return a number above 0; 0 for anything else."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return 0.0
    try:
        number = float(value)
    except OverflowError:
        return 0.0
    return number if math.isfinite(number) and number > 0 else 0.0

"""The optional JSON answer of a backend, in every format: reason, lifetime, another channel. Pure."""

from __future__ import annotations

import json
from dataclasses import replace
from math import isfinite
from typing import Any

from rtmpsrv.access.facts import Answer, Decision

MAX_REASON = 200  # characters that a client is told
MAX_STREAM_ID = 256
LONGEST_S = 10 * 366 * 86_400.0


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
    lifetime_s = _seconds(said.get("lifetime"), 1000)  # in ms, as OvenMediaEngine's
    longest_s = _seconds(limits.get("max_seconds"), 1) if isinstance(limits, dict) else 0.0
    ends = [seconds for seconds in (lifetime_s, longest_s) if seconds]
    return replace(
        decision,
        allowed=decision.allowed and said.get("allow") is not False,
        reason=reason(said.get("reason")) or decision.reason,
        stream_id=stream_id(said.get("stream_id")) or decision.stream_id,
        channel=_text(said.get("channel")).strip("/") or decision.channel,
        lifetime_s=min(ends, default=decision.lifetime_s),
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


def _seconds(value: object, unit: int) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return 0.0
    try:
        seconds = float(value) / unit
    except OverflowError:
        return 0.0
    return min(seconds, LONGEST_S) if isfinite(seconds) and seconds > 0 else 0.0

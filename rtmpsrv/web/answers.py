"""How the API answers: JSON always, refusals in MediaMTX's form, and a word about workers that are silent."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from flask import Response

from rtmpsrv.web.asked import Refused
from rtmpsrv.web.shapes import Problem
from rtmpsrv.web.source import Gathered

MISSING_HEADER = "X-Missing-Workers"
SILENT = "No process answered in time."


def answer(value: Mapping[str, object], missing: Sequence[str] = (), status: int = 200) -> Response:
    """Make an answer of a value, and say who is not in it."""
    try:
        text = json.dumps(value, separators=(",", ":"), allow_nan=False)
    except ValueError:  # what a peer calls a number may be none
        text = json.dumps(_finite(value), separators=(",", ":"))
    response = Response(text, status, mimetype="application/json")
    if missing:
        response.headers[MISSING_HEADER] = ", ".join(missing)
    return response


def refusal(status: int, sentence: str) -> Response:
    """Make an answer that is none, as MediaMTX does."""
    problem = Problem(status="error", error=sentence)
    return answer(dict(problem), status=status)


def refused(exc: Refused) -> Response:
    """Make an answer of a refusal on the way."""
    return refusal(exc.status, exc.sentence)


def of_somebody(gathered: Gathered[Any]) -> None:
    """Raise Refused where nobody has answered."""
    if gathered.nobody:
        raise Refused(503, SILENT)


def not_found(gathered: Gathered[Any], sentence: str) -> Refused:
    """Make what to raise for what is not there, or may be where nobody answered."""
    if gathered.nobody:
        return Refused(503, SILENT)
    if gathered.missing:
        return Refused(503, f"{sentence}; {', '.join(gathered.missing)} did not answer in time")
    return Refused(404, sentence)


def _finite(value: object) -> object:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: _finite(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(one) for one in value]
    return value

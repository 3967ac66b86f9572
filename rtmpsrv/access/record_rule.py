"""What an operator wrote about recording a channel. Pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from rtmpsrv.record_settings import FORMATS, MAX_SEGMENT_S

MAX_MB: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class RecordRule:
    """Whether, and how; None: as all channels."""

    wanted: bool = True
    format: str | None = None
    segment_seconds: int | None = None
    segment_mb: int | None = None


def read_record(value: object, wrong: Callable[[str], Exception]) -> RecordRule:
    """Return what `record = ...` means: true, false, or a table. Raises what `wrong` makes of a sentence."""
    if isinstance(value, bool):
        return RecordRule(value)
    if not isinstance(value, dict):
        raise wrong("record must be true, false or a table")
    for name, one in value.items():
        if name == "format":
            if one not in FORMATS:
                raise wrong(f"format must be one of {', '.join(FORMATS)}")
        elif name in _HIGHEST:
            if type(one) is not int or not 0 <= one <= _HIGHEST[name]:
                raise wrong(f"{name} must be a whole number from 0 to {_HIGHEST[name]}")
        else:
            raise wrong("record has format, segment_seconds and segment_mb")
    return RecordRule(True, **value)


_HIGHEST: Final = {"segment_seconds": MAX_SEGMENT_S, "segment_mb": MAX_MB}

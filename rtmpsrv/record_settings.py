"""The settings of recordings, and what is wrong with them together."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rtmpsrv.extras import how_to_get, installed
from rtmpsrv.groups import RECORD
from rtmpsrv.settings import Kind, setting

if TYPE_CHECKING:
    from rtmpsrv.config import Config

FORMATS = ("flv", "mp4")
NEEDED = {"mp4": ("av",)}  # of the extra `web`; it is loaded in a process of its own
MAX_SEGMENT_S = 7 * 24 * 3600
DEFAULT_PATTERN = "%path/%Y-%m-%d_%H-%M-%SZ"
MAX_PATTERN = 200  # characters
PLACE = re.compile(r"%(path|id|[YmdHMSf%])")  # what a pattern has room for


@dataclass(frozen=True, slots=True, repr=False)
class RecordSettings:
    """A part of `Config`."""

    # fmt: off
    record: bool = setting(RECORD, Kind.SWITCH, False,
        "Whether everything that is published is recorded. CHANNELS_FILE decides for single channels.")
    record_dir: str = setting(RECORD, Kind.TEXT, "recordings",
        "Folder of the recordings and their index. Made when there is something to record.")
    record_format: str = setting(RECORD, Kind.CHOICE, "flv",
        "What the files are: `flv`, with all that was sent, or `mp4` in fragments, with one track of video "
        "and all of audio, which needs the extra `web`.", choices=FORMATS)
    record_segment_seconds: int = setting(RECORD, Kind.NUMBER, 3600,
        "A file ends at the first keyframe at or after this time, and the next begins. 0: not by time.",
        unit="seconds", high=MAX_SEGMENT_S)
    record_segment_mb: int = setting(RECORD, Kind.NUMBER, 0,
        "Likewise by size. 0: not by size.", unit="MiB", high=1 << 20)
    record_keep_days: int = setting(RECORD, Kind.NUMBER, 0,
        "Older files are deleted, but for the newest of all. 0: none.", unit="days", high=36500)
    record_max_gb: int = setting(RECORD, Kind.NUMBER, 0,
        "While all are larger the oldest are deleted, but for the newest. 0: none.", unit="GiB", high=1 << 20)
    record_name: str = setting(RECORD, Kind.TEXT, DEFAULT_PATTERN,
        "Names of files, without their ending: `%path` is the channel, `%id` the stream id, "
        "`%Y %m %d %H %M %S %f` the time of the beginning (UTC), `%%` a percent sign.")
    # fmt: on


def problems(config: Config) -> list[str]:
    """Name what nothing can be recorded with."""
    problem = problem_of(config.record_name)
    return [f"RECORD_NAME: {problem}"] if problem else []


def lacking(config: Config) -> list[str]:
    """Name the format of all recordings if it is not there; single channels may have another."""
    form = config.record_format
    if not config.record or installed(*NEEDED.get(form, ())):
        return []
    return [f"RECORD_FORMAT: {form} needs the extra `web`: {how_to_get('web')}"]


def problem_of(pattern: str) -> str:
    """Say what is wrong with a pattern, "" for nothing."""
    if len(pattern) > MAX_PATTERN:
        return f"more than {MAX_PATTERN} characters"
    if "%" in PLACE.sub("", pattern):
        return "after % stands path, id, Y, m, d, H, M, S, f or %"
    if "%path" not in pattern:
        return "%path is missing: channels would share files"
    fixed = PLACE.sub("x", pattern).split("/")
    if any(not part or part.startswith(".") for part in fixed):
        return "no part of it may be empty or begin with a dot"
    if any(ord(one) < 32 or ord(one) == 127 for one in pattern):
        return "it holds control characters"
    return ""

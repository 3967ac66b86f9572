"""The recordings of an application, as settings and CHANNELS_FILE want them."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import fields
from typing import TYPE_CHECKING

from . import log
from .access.facts import RecordedFile
from .access.grants import Grant, Recorded
from .config import Config
from .errors import ConfigError
from .record.caretaker import Keeping
from .record.first_part import Init
from .record.flv_file import FlvFile
from .record.job import Plan
from .record.mp4_file import Mp4File
from .record.recordings import Recordings
from .record.take import Form, Forms
from .record_settings import lacking

if TYPE_CHECKING:
    from .access.callback_hooks import CallbackHooks
    from .entrance import Entrance
    from .live.registry import Registry
    from .record.index import Entry
    from .relay import Relay

MIB, GIB = 1 << 20, 1 << 30


def recordings_of(
    config: Config,
    registry: Registry[str],
    relay: Relay,
    entrance: Entrance,
    hooks: CallbackHooks | None,
    init: Init,
    tell: Callable[[str, str, float, int], None],
) -> Recordings:
    """Return them; `init` makes the first part of an MP4.

    `tell` gets channel, file and reason, seconds and bytes of each file that is whole.

    Raises ConfigError where everything is to be recorded, and folder or format cannot be used.
    """
    if missing := lacking(config):
        raise ConfigError(missing)

    def done(entry: Entry, grant: Grant, folder: str) -> None:
        tell(entry.channel, f"{entry.file}: {entry.reason}", entry.seconds, entry.bytes)
        if hooks is not None:
            file = RecordedFile(folder, entry.file, entry.seconds, entry.bytes, entry.reason)
            values = {one.name: getattr(grant, one.name) for one in fields(Grant)}
            hooks.recorded(Recorded(**values, file=file))

    recordings = Recordings(
        config.record_dir,
        Keeping(config.record_keep_days, config.record_max_gb * GIB),
        lambda channel: plan_of(config, entrance, channel),
        lambda form: plan(config, form or None),
        registry,
        relay.on_air.grant_of,
        done,
        forms(init),
        log.get("RECORD"),
    )
    if config.record:
        try:
            recordings.folder.open()
        except OSError as exc:
            folder = recordings.folder.path
            raise ConfigError([f"RECORD_DIR: {folder} cannot be used: {exc.strerror or exc}"]) from exc
    relay.on_published = recordings.published
    return recordings


def forms(init: Init) -> Forms:
    """Return the kinds of files."""
    return {
        "flv": Form(FlvFile, FlvFile.resumed),
        "mp4": Form(
            lambda headers: Mp4File(headers, init),
            lambda value, headers, beginning: Mp4File.resumed(value, headers, beginning, init),
        ),
    }


def is_wanted(config: Config) -> bool:
    """Tell whether there may be anything to record, or files to keep in order."""
    return bool(config.record or config.channels_file or os.path.isdir(config.record_dir))


def plan_of(config: Config, entrance: Entrance, channel: str) -> Plan | None:
    """Return how a channel is recorded, None where it is not. Never blocks."""
    rule = entrance.recording(channel)
    if rule is None:
        return plan(config) if config.record else None
    if not rule.wanted:
        return None
    return plan(config, rule.format, rule.segment_seconds, rule.segment_mb)


def plan(
    config: Config, form: str | None = None, segment_s: int | None = None, segment_mb: int | None = None
) -> Plan:
    """Return the plan of the settings, but for what is given."""
    return Plan(
        form or config.record_format,
        config.record_name,
        1000 * (config.record_segment_seconds if segment_s is None else segment_s),
        MIB * (config.record_segment_mb if segment_mb is None else segment_mb),
    )

"""What a recorder is told to do, and what it does it with. Plain values."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol, TypedDict

from rtmpsrv.access.grants import Grant
from rtmpsrv.log import Logger

from .disk import Folder
from .index import Entry
from .pace import Pace
from .take import Carried, Forms
from .threads import Threads


@dataclass(frozen=True, slots=True)
class Plan:
    """How a channel is recorded."""

    format: str
    pattern: str
    segment_ms: int  # 0: not cut by time
    segment_bytes: int  # 0: not cut by size


@dataclass(frozen=True, slots=True)
class Job:
    """One publication, and how it is recorded."""

    grant: Grant
    plan: Plan
    carried: Carried | None = None  # a file to go on with


class Memory(Protocol):
    """Where what is held is counted; `Budget`."""

    def change(self, kind: str, by: int) -> None: ...


@dataclass(frozen=True, slots=True)
class Means:
    """What all recorders of a process share. `done` is told of each file that is whole."""

    folder: Folder
    threads: Threads
    finishers: Threads  # where a file may take long until the disk has all of it
    forms: Forms
    memory: Memory
    log: Logger
    done: Callable[[Entry, Grant], None]
    clock: Callable[[], float] = time.time
    pace: Pace = field(default_factory=Pace)


class Running(TypedDict):
    """What is being recorded; `file` is "" before the first keyframe."""

    channel: str
    stream_id: str
    file: str
    format: str
    since: float  # wall clock, s
    seconds: float
    bytes: int
    files: int

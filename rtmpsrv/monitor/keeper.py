"""The keeper of several workers, as the web process sees it: a process without clients, whose gate counts."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import gevent

from rtmpsrv import __version__
from rtmpsrv.build import compiled
from rtmpsrv.log import Logger

from .actions import Kill, blocked, bounded, why
from .counters import Tallies
from .lag import LoopLag
from .packing import pack
from .report import Standing
from .values import EventsValue, ProcessValue

NAME: Final = "keeper"
# Workers are asked at the same moment. They tell their clients why they end; what is left is ended here: it
# is with an authority still, or its worker does not answer.
KILL_AFTER_S: Final = 0.3


class KeeperMonitor:
    """Answers for the keeper alone: it passes each question on to its workers as well."""

    def __init__(
        self,
        standing: Callable[[], Standing],
        block: Callable[[str, float], bool],
        kill: Kill,
        counted: Tallies,
        log: Logger,
        closed: Callable[[], Mapping[str, float]] = dict,
    ) -> None:
        """`block` the publishers of a channel for some seconds; `kill` what is published, or asked about."""
        self._standing = standing
        self._block = block
        self._kill = kill
        self._counted = counted
        self._log = log
        self._began_at = time.time()
        self._lag = LoopLag(counted.lag_s.add)
        self._answers: dict[str, Callable[..., object]] = {
            "process": self.process,
            "names": lambda: [],
            "channels": lambda names=None: [],
            "ids": lambda: [],
            "connections": lambda ids=None: [],
            "events": lambda after, channel=None: EventsValue(last=0, events=[]),
            "kick": lambda connection_id, block_s=0.0, reason="": False,
            "stop": self.stop,
            "record": lambda channel, wanted, form="": False,
            "files": lambda channel="": [],
            "blocks": lambda: blocked(closed()),
        }

    def start_watching(self) -> None:
        """Begin to look how late the event loop is. Idempotent, never blocks."""
        self._lag.start()

    def stop_watching(self) -> None:
        """End that. Idempotent, never blocks."""
        self._lag.stop()

    def answer(self, what: str, arguments: Sequence[Any] = ()) -> bytes:
        """Answer a question. May block for `KILL_AFTER_S`. Raises KeyError for one that is not known."""
        return pack(self._answers[what](*arguments))

    def process(self) -> ProcessValue:
        """Return what there is of the keeper. Never blocks."""
        standing = self._standing()
        return {
            "worker": NAME,
            "pid": os.getpid(),
            "version": __version__,
            "python": sys.version.partition(" ")[0],
            "compiled": compiled(),
            "started_at": self._began_at,
            "ready": not standing["not_ready"],
            "not_ready": standing["not_ready"],
            "succeeded": False,
            "listeners": [],
            "memory_budget_bytes": 0,
            "memory_held_bytes": 0,
            "gop_cache_bytes": 0,
            "callback_queue_length": standing["callback_queue_length"],
            "certificate_expires_at": None,
            "redis_connected": standing["redis_connected"],
            "control_connected": standing["control_connected"],
            "hls_makers": 0,
            "mp4_makers": 0,
            "ffmpeg_runs": False,
            "recordings": 0,
            "counters": self._counted.value(),
        }

    def stop(self, channel: str, block_s: float | None = None, reason: str = "") -> bool | None:
        """End what is published on a channel, or asked for; as `Actions`. Blocks for `KILL_AFTER_S`."""
        if block_s is not None and not self._block(channel, bounded(block_s)):
            return None
        gevent.sleep(KILL_AFTER_S)
        return self._kill(channel, None, why(reason))

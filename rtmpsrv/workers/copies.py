"""Channels of other workers that are played here, too, from the same memory: no copy of their media is made.

The worker that serves the publisher taps its channel for each other worker that asks; what the tap delivers
goes over a connection of its own, and feeds a mirror. When another worker has the channel, it goes on there.
"""

from __future__ import annotations

from collections.abc import Callable
from posix import close
from time import monotonic
from typing import Any, Final

import gevent

from rtmpsrv.live.channel import Channel
from rtmpsrv.live.mirror import Mirror, OutOfStep
from rtmpsrv.live.news import NewsOf
from rtmpsrv.live.tap import MOVED, STOP, Tap
from rtmpsrv.log import Logger
from rtmpsrv.workers.directory import Directory
from rtmpsrv.workers.estate import Channels
from rtmpsrv.workers.neighbours import Neighbours
from rtmpsrv.workers.wire import Wire, WireLost

COPY: Final = "copy"  # the first word of its connection
RETRY_S: Final = 0.05
IDLE_S: Final = 10.0  # without a player, after which a copy is given up
REPORT_S: Final = 1.0  # how often the owner learns what a flush costs here
SILENCE_S: Final = 5.0  # without a message, after which the connection is made anew
LAST_WORDS_S: Final = 1.0  # for a worker that has a channel no more to say what became of it


class Copies:
    """All of one worker: those that it has, and those that it gives."""

    def __init__(
        self,
        registry: Channels,
        directory: Directory,
        neighbours: Neighbours,
        tell: Callable[[list[NewsOf]], None],
        log: Logger,
    ) -> None:
        """`tell` passes on what happened to players."""
        self._registry = registry
        self._directory = directory
        self._neighbours = neighbours
        self._tell = tell
        self.log = log
        self._copies: dict[str, _Copy] = {}
        neighbours.others[COPY] = self._give

    def __len__(self) -> int:
        return len(self._copies)

    def open(self, channel: str) -> None:
        """Begin to follow a channel, unless that is done already. Never blocks."""
        copy = self._copies.get(channel)
        if copy is not None and self._registry.find(channel) is not copy.channel:
            self.close(channel)  # all its players had left, and others have come
            copy = None
        if copy is None:
            self._copies[channel] = copy = _Copy(channel, self._registry.open(channel))
            copy.greenlet = gevent.spawn(self._follow, copy)

    def turn(self, channel: str) -> None:
        """Take note that the channel may be another worker's now: its copy goes on there. Never blocks.

        Not at once: the keeper's word may overtake the last that was published. And where nobody publishes it
        its worker keeps the players for another publisher, or tells the end.
        """
        copy, worker = self._copies.get(channel), self._directory.elsewhere(channel)
        if copy is not None and copy.wire is not None and worker not in (None, copy.worker):
            copy.hang_up_later()

    def close(self, channel: str) -> None:
        """Give a copy up, if there is one: its players are told the end, and wait. Never blocks."""
        copy = self._copies.get(channel)
        if copy is not None:
            self._give_up(copy)
            if copy.greenlet is not None:
                copy.greenlet.kill(block=False)

    def close_all(self) -> None:
        """Give all up."""
        for channel in list(self._copies):
            self.close(channel)

    # --- those that it has ------------------------------------------------------------------------

    def _follow(self, copy: _Copy) -> None:
        """Feed a copy, from whichever worker has the channel, as long as one has; the top of a greenlet."""
        try:
            while not self._is_idle(copy) and (worker := self._directory.last(copy.name)) is not None:
                try:
                    if self._follow_at(copy, worker):
                        return
                except (WireLost, OutOfStep) as exc:
                    self.log.debug("copy interrupted channel=%s worker=%s reason=%s", copy.name, worker, exc)
                    if isinstance(exc, OutOfStep):
                        copy.from_start = True
                if self._directory.elsewhere(copy.name) is None and not copy.heard:
                    return  # nobody publishes it, and it waits for no publisher that goes on
                gevent.sleep(RETRY_S)  # the directory learns who has it now
        except Exception:  # a bug must cost this copy only
            self.log.exception("copy failed")
        finally:
            self._give_up(copy)

    def _follow_at(self, copy: _Copy, worker: str) -> bool:
        """Feed a copy from one worker: True at its end, False when that has moved. Raises as `_follow`."""
        copy.heard = False
        place = (0, 0) if copy.from_start else copy.mirror.place
        wire = self._neighbours.connect(worker, COPY, copy.name, *place)
        copy.worker, copy.wire = worker, wire
        try:
            report_at = monotonic()
            while True:
                message, fds = wire.receive(SILENCE_S)
                if copy.over:  # it was given up while this came: somebody publishes the channel here
                    for fd in fds:
                        close(fd)
                    return True
                self._tell(copy.mirror.feed(message, fds))
                copy.from_start, copy.heard = False, True
                if message["kind"] == MOVED:
                    return False
                if message["kind"] == STOP or self._is_idle(copy):
                    return True
                if monotonic() >= report_at:
                    report_at = monotonic() + REPORT_S
                    wire.post(copy.mirror.cost_s)
        finally:
            copy.hang_up()

    def _is_idle(self, copy: _Copy) -> bool:
        """Tell whether nobody has played or read it for long."""
        if copy.channel.is_wanted:
            copy.played_at = monotonic()
        return monotonic() - copy.played_at > IDLE_S

    def _give_up(self, copy: _Copy) -> None:
        if copy.over:
            return
        copy.over = True
        del self._copies[copy.name]
        self._tell(copy.mirror.lost())
        self._registry.release(copy.name)

    # --- those that it gives ----------------------------------------------------------------------

    def _give(self, wire: Wire, word: tuple[Any, ...]) -> None:
        """Serve another worker's connection for a copy to its end. Blocks."""
        _worker, _copy, name, publication, position = word
        channel = self._registry.find(name)
        if channel is None or channel.output is None or channel.output.log.is_mirror:
            raise WireLost(f"{name} is not published here")
        tap = Tap(channel, wire.post, publication, position)
        try:
            while not tap.lost:
                cost_s, _ = wire.receive()
                tap.report(float(cost_s))
        finally:
            tap.close()
            self._registry.release(name)  # it was kept for this


class _Copy:
    """One channel of another worker. Changed by `Copies` only."""

    def __init__(self, name: str, channel: Channel) -> None:
        self.name = name
        self.channel = channel
        self.mirror = Mirror(channel)
        self.greenlet: gevent.Greenlet[..., None] | None = None
        self.worker = ""
        self.wire: Wire | None = None  # to that worker
        self.from_start = False  # what it has does not fit any more
        self.heard = False  # anything over the last connection: a tap tells something at once
        self.played_at = monotonic()
        self.over = False
        self._leaving: gevent.Greenlet[..., None] | None = None  # hangs up when its time comes

    def hang_up_later(self) -> None:
        """Give the worker time to say the last, then end the connection. Idempotent, never blocks."""
        if self._leaving is None and self.wire is not None:
            self._leaving = gevent.spawn_later(LAST_WORDS_S, self.wire.close)

    def hang_up(self) -> None:
        """End the connection to the worker. Idempotent, never blocks."""
        if self._leaving is not None:
            self._leaving.kill(block=False)
            self._leaving = None
        if self.wire is not None:
            self.wire.close()
            self.wire = None

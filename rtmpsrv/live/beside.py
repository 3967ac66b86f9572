"""What is made of a publication beside what its RTMP players get: FLV, and what readings make of it.

Exists while somebody wants either; an output without it pays for nothing. Never blocks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from .budget import Budget
from .clock import Clock
from .flv_way import FlvWay
from .limits import LiveLimits
from .log import Log
from .output import Output
from .owner import Owner
from .player import Player

if TYPE_CHECKING:
    from .reading import Reading

# FLV that begins further back would take long to make at one go.
MAX_BEGIN_BYTES: Final = 16 << 20


class Beside:
    """Changed by its channel and the output that it belongs to."""

    __slots__ = ("_budget", "_clock", "_limits", "_owner", "_readings", "flv")

    def __init__(self, owner: Owner, clock: Clock, budget: Budget, limits: LiveLimits) -> None:
        self._owner, self._clock, self._budget, self._limits = owner, clock, budget, limits
        self._readings: dict[Reading, None] = {}
        self.flv: FlvWay | None = None  # while somebody plays it

    def welcome(self, source: Output, player: Player) -> None:
        """Start a player of FLV, or as soon as it is known what comes."""
        self._open_flv(source, resumes=False).welcome(player)

    def resume(self, source: Output, player: Player) -> None:
        """Let a player of FLV go on that was frozen."""
        self._open_flv(source, resumes=True).resume(player)
        source.come()
        player.sink.kick()

    def add(self, reading: Reading) -> None:
        """Let a reading know of each flush, and keep what it has not read."""
        self._readings[reading] = None

    def remove(self, reading: Reading) -> None:
        """Forget a reading. Idempotent."""
        self._readings.pop(reading, None)

    # --- called by the output ---------------------------------------------------------------------

    @property
    def players(self) -> int:
        """How many have been started here, and go on elsewhere when the publication moves."""
        return self.flv.players if self.flv is not None else 0

    @property
    def later_s(self) -> float:
        """What sending FLV took behind the flush that it belongs to."""
        return self.flv.later_s if self.flv is not None else 0.0

    @property
    def is_needed(self) -> bool:
        """Whether somebody reads what the output has."""
        return bool(self._readings) or self.players > 0

    def flushed(self, begin: int, unsent: list[bytes]) -> None:
        """Pass on what was flushed from a position on."""
        if self.flv is not None:
            self.flv.flushed(begin, unsent)
        self.notify()

    def notify(self) -> None:
        """Let readings look."""
        for reading in list(self._readings):
            reading.notify()

    def lowest(self, lowest: int | None) -> int | None:
        """Return the position of the reading that is furthest behind, or that of another one."""
        places = [reading.position for reading in self._readings]
        return min(places if lowest is None else [*places, lowest], default=None)

    def end(self) -> None:
        """The publication is over."""
        if self.flv is not None:
            self.flv.end()
            if not self.flv.players:
                self._drop_flv()
        for reading in list(self._readings):
            reading.over()
            reading.notify()

    def see_to_laggards(self, log: Log, waiting_is_over: bool, now: float) -> bool:
        """See to those who are behind; tell whether nobody wants anything of it any more."""
        if self.flv is not None and self.flv.see_to_laggards(waiting_is_over, now):
            self._drop_flv()
        for reading in self._readings:
            reading.skip_if_behind(log, now)
        return self.flv is None and not self._readings

    def skip_laggards(self, log: Log) -> None:
        """Let all leave out what they can."""
        if self.flv is not None:
            self.flv.skip_laggards()
        for reading in self._readings:
            reading.skip(log, to_the_end=True)

    def spare_bytes(self, log: Log, lowest: int | None) -> int:
        """Return what `shed` gives back of a log that players need from `lowest` on, and of that of FLV."""
        others = [reading.position for reading in self._readings if not reading.gives_way]
        if lowest is not None:
            others.append(lowest)
        needed = min([log.first, log.flushed, *others])
        backlog = max([needed - reading.position for reading in self._readings], default=0)
        return max(0, backlog) + (self.flv.kept_bytes if self.flv is not None else 0)

    def shed(self, log: Log) -> None:
        """Keep no FLV for joiners, and nothing for readings that give way: all of it was flushed."""
        if self.flv is not None:
            self.flv.shed()
        for reading in self._readings:
            if reading.gives_way:
                reading.skip(log, to_the_end=True)

    def forget(self, player: Player) -> None:
        """Forget a player that has not been started, or does not go on yet."""
        if self.flv is not None:
            self.flv.forget(player)

    def withdraw(self) -> None:
        """Do nothing any more, and hold nothing."""
        self._drop_flv()
        for reading in list(self._readings):
            reading.moved()
        self._readings.clear()

    # --- private ----------------------------------------------------------------------------------

    def _open_flv(self, source: Output, resumes: bool) -> FlvWay:
        """Return the way out as FLV, a new one if need be.

        That begins where joiners start; or, for players that come from another process, as early as can be.
        """
        flv = self.flv
        if flv is None:
            source.flush()
            log = source.log
            furthest = log.next_boundary(max(log.begin, log.end - MAX_BEGIN_BYTES))
            begin = log.end
            if resumes:
                begin = furthest
            elif log.joint is not None and log.joint >= furthest:
                begin = log.joint
            flv = FlvWay(source, begin, self._owner, self._clock, self._budget, self._limits)
            self.flv = flv
        return flv

    def _drop_flv(self) -> None:
        if self.flv is not None:
            self.flv.withdraw()
            self.flv = None

"""A channel: one name, its publication, and who plays it. Never blocks, so it needs no locks.

What was published goes into the log of an output, which sends it. The channel knows what the messages mean:
which of them is a header or a keyframe, and what players are told at the beginning and the end.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Final

from ..errors import CannotMove
from . import choices, facts
from .beside import Beside
from .budget import Budget
from .clock import Clock
from .contents import Contents
from .crowd import Crowd
from .ended import Ended
from .framing import RtmpFraming
from .news import News, NewsOf
from .output import LiveLimits, Output
from .patience import Patience
from .player import FLV, Player
from .reading import NOWHERE, Place, Reading, Readings
from .tap import Feed

if TYPE_CHECKING:
    from .mirror import Mirror

CHECK_S: Final = 0.5  # how often laggards whose sockets stay full are looked at

_NOTHING: list[NewsOf] = []  # never changed


class Channel:
    """One name on the air, or waiting for its publisher. All state changes in methods that never block."""

    def __init__(
        self,
        name: str,
        clock: Clock,
        budget: Budget,
        limits: LiveLimits,
        chunk_size: int,
        crowd: Crowd,
        forget: Callable[[], None] = lambda: None,
    ) -> None:
        """`forget` is called when the channel may be of no use any more, without anybody's doing."""
        self.name = name
        self.crowd, self.players = crowd, crowd.players
        self.output: Output | None = None  # None while nobody publishes
        self.publication = 0  # counts publishers
        self._limits, self.framing = limits, RtmpFraming(chunk_size)
        self._clock, self._now = clock, clock.now
        self._budget = budget
        self._ended = Ended()
        self._news: list[NewsOf] = []
        self.feed = Feed()  # to mirrors in other processes
        self._mirror: Mirror | None = None  # that feeds this one
        self._next_check = 0.0
        self.contents = self._no_contents()
        self.claim: tuple[bytes, ...] = ()  # what the last publisher showed; the host's
        self.patience = Patience(clock, self.stop, forget)  # with a publisher to come; others read it
        self.readings = Readings(forget)

    @property
    def live(self) -> bool:
        """Whether somebody publishes."""
        return self.output is not None and not self.patience.waits

    @property
    def suspended(self) -> bool:
        """Whether nobody publishes, and players do not know it: another publisher may go on."""
        return self.patience.waits

    # --- the publisher ----------------------------------------------------------------------------

    def start(self, key: str | None = None, claim: tuple[bytes, ...] = ()) -> list[NewsOf]:
        """Go on the air: waiting players whose key is the publisher's are started, others are refused."""
        assert self.output is None, "one publisher at a time; the host asks before"
        self.contents = self._no_contents(key)
        self.claim = claim
        self.publication = max(self.publication, self._ended.newest) + 1
        self.output = self._new_output(self.publication)
        self.feed.started(self)
        self.readings.begin(self.output)
        self.welcome_all()
        return self.take_news()

    def suspend(self, patience_s: float) -> None:
        """Wait so long for a publisher that goes on, then `stop`; players are told nothing before."""
        output = self.output
        assert output is not None, "there is something to go on with"
        output.flush()
        self.contents.suspend(output.log, self._now())
        output.trim()
        self.patience.wait(self._now() + patience_s)
        self.feed.suspended(output, self.contents)
        if output.beside is not None:
            output.beside.notify()

    def go_on(self, key: str | None = None, claim: tuple[bytes, ...] = ()) -> None:
        """Let a publisher go on for one that is gone: its time follows, what players know is not repeated."""
        assert self.suspended, "the host asks before"
        self.patience.stop()
        self.contents.go_on(self._now(), key)
        self.claim = claim

    def append(self, batch: Iterable[tuple[int, int, int, bytes, int]]) -> list[NewsOf]:
        """Add messages of the publisher, as the chunk reader delivers them, and flush if that is due."""
        output = self.output
        if output is None:
            return _NOTHING
        now = self._now()
        contents, waited = self.contents, self.contents.waits
        base = output.log.tail.base  # not the segment, which a reference would keep
        contents.append(output, batch, now)
        if waited and not contents.waits:
            self.welcome_all()
        output.flush_if_due()
        if output.log.tail.base != base:
            output.trim()
        if now >= self._next_check:
            self._check(output, now)
        if self._budget.used_bytes > self._budget.limit_bytes:
            self._budget.relieve()
        return self.take_news() if self._news else _NOTHING

    def stop(self) -> None:
        """Go off the air: players get the rest of the log, then are told, then wait."""
        output = self.output
        if output is None:
            return
        self.patience.stop()
        output.end()
        self.output = None
        self.contents.close()
        for player in list(output.audience):
            if not player.has_cursor:
                output.leave(player)
                self._tell_end(player)
        self._ended.keep(output)
        self.drop_ended()
        self.feed.stopped(output.publication)

    def take_news(self) -> list[NewsOf]:
        """Return what happened to players since the last call, for the host to tell of."""
        news, self._news = self._news, []
        return news

    # --- to another process -----------------------------------------------------------------------

    def snapshot(self, fds: list[int], moves: bool = True) -> dict[str, object]:
        """Return plain values with which `adopt` goes on in another process; flushes first.

        Appends the descriptors of the segments, which stay ours, to `fds`. To be taken before players are
        frozen, without whom a channel may be forgotten; until they are back nothing is let go of. Where it
        only is mirrored, publications that are over are left out.
        """
        outputs = self.outputs()[0 if moves else len(self._ended) :]
        return {
            "chunk_size": self.framing.chunk_size,
            "publication": self.publication,
            "claim": self.claim,
            "patience_until": self.patience.until,
            "live": self.output is not None,
            "outputs": [one.snapshot(fds, moves) for one in outputs],  # the live one is the last
            "contents": self.contents.snapshot(),
            "crowd": self.crowd.snapshot() if moves else None,  # a mirror's players are its own
        }

    def adopt(self, value: dict[str, Any], fds: list[int]) -> None:
        """Go on with what another process had, its descriptors included; waiting players are started.

        What became of these is among the news. Raises CannotMove, with nothing changed and the descriptors
        left alone, where somebody publishes here.
        """
        if self.output is not None:
            raise CannotMove(f"somebody publishes {self.name} here")
        if value["chunk_size"] != self.framing.chunk_size:
            raise CannotMove(f"chunks of {value['chunk_size']} bytes, here {self.framing.chunk_size}")
        for one in value["outputs"]:
            number: int = one["publication"]
            for player in self._ended.release(number):  # they tell publications by their numbers
                self._tell_end(player)
            output = self._new_output(number)
            self._ended.keep(output)
            output.adopt(one, fds)
        self.publication = value["publication"]
        self.crowd.adopt(value.get("crowd"))
        if value["live"]:
            self.claim = tuple(value["claim"])
            self.contents = self._no_contents()
            self.contents.adopt(value["contents"])
            self.output = self._ended.take(self.publication)
            self.patience.wait(value["patience_until"])
            self.readings.begin(self.output)
            self.welcome_all()

    def follow(self, mirror: Mirror | None) -> None:
        """Be fed by a mirror, and by nobody else; or no longer."""
        self._mirror = mirror
        if mirror is not None and self.output is not None:
            self.output.log.follow_another()

    def abandon(self) -> None:
        """Let go of all, with a word to mirrors only: another process goes on. Players were frozen before."""
        self.feed.moved()
        for output in self.outputs():
            output.withdraw()
        self.patience.stop()
        self.readings.moved()
        self.output = None
        self._ended.clear()
        self.contents.close()

    # --- players ----------------------------------------------------------------------------------

    def join(self, player: Player) -> None:
        """Add a player; it is started now if the channel is live, otherwise by the next publisher."""
        self.crowd.add(player)
        if self.output is not None:
            self._welcome(player)

    def subscribe(self, notify: Callable[[], None], place: Place = NOWHERE) -> Reading:
        """Read all that is published, from a place on if that is there. `reading.py` has the terms."""
        reading = self.readings.open(Reading(self, self._clock, notify, place))
        output = self._ended.find(place[0]) or self.output
        if output is not None:
            reading.begin(output, place[1] if place[0] == output.publication else None)
        return reading

    @property
    def is_wanted(self) -> bool:
        """Whether somebody plays, mirrors or reads it, or waits to."""
        return bool(self.players or self.feed.taps or self.readings)

    def welcome_all(self) -> None:
        """Start all players that wait."""
        for player in [player for player in self.players if player.state.waiting]:
            self._welcome(player)

    def leave(self, player: Player) -> None:
        """Remove a player. Idempotent."""
        self.release(player)
        player.finish()
        self.drop_ended()

    def release(self, player: Player) -> None:
        """Let go of a player, whose state then says where it was, so that `resume` can take it in again."""
        if player.output is not None:
            player.output.leave(player)
        elif self.output is not None:
            self.output.forget(player)
        self.crowd.discard(player)

    def resume(self, player: Player) -> None:
        """Take in a player that was released, perhaps by another process."""
        self.crowd.add(player)
        if self._mirror is not None and self._mirror.awaits(player):
            return
        state, live = player.state, self.output
        output = live if state.publication == self.publication else None
        output = output or self._ended.find(state.publication)
        if state.form == FLV and not state.waiting and output is not None:
            self.beside(output).resume(output, player)
        elif not state.waiting and output is not None and output.log.begin <= state.position:
            output.resume(player)
            player.sink.kick()
        elif not state.waiting and (output is None or output is not live):
            self._tell_end(player)
        elif live is not None:
            player.finish()  # nobody kept what it was about to read
            self._welcome(player)

    # --- called by outputs ------------------------------------------------------------------------

    def beside(self, output: Output) -> Beside:
        """Return what is made of an output beside; there is none while nobody wants it."""
        return output.beside or output.attach(Beside(self, self._clock, self._budget, self._limits))

    def finished(self, output: Output, player: Player) -> None:
        """Tell a player that its publisher left; start it again if the next one is there already."""
        self._tell_end(player)
        self.drop_ended()

    def jumped(self, player: Player, begin: int, end: int) -> None:
        """Take note that a player left something out."""
        self.crowd.jumped(player, begin, end)
        self._news.append((News.JUMPED, player))

    def drop_ended(self) -> None:
        """Let go of ended logs that nobody reads any more."""
        self._ended.drop()

    def keyframe_to_come(self) -> bool:
        """Tell whether it is worth waiting for a keyframe before sending video."""
        return self.contents.joints.keyframe_to_come(self._now())

    # --- what the process keeps -------------------------------------------------------------------

    def skip_laggards(self) -> None:
        """Let laggards leave out all they can, because the process holds too much."""
        self.drop_ended()
        for output in self.outputs():
            output.skip_laggards()

    def outputs(self) -> list[Output]:
        """Return those of publications that are over, and that of the present one."""
        return [*self._ended, *([self.output] if self.output is not None else [])]

    def end_position(self) -> int:
        """Return how many bytes the log of this publication has had so far."""
        return self.output.log.end if self.output is not None else 0

    def describe(self) -> dict[str, Any]:
        """Return what an operator wants to know."""
        return facts.of_channel(self, len(self._ended))

    def vitals(self) -> dict[str, Any] | None:
        """Return how the publication does; None where there is none, or its owner is another process."""
        return facts.vitals_of(self, self._now())

    # --- private ----------------------------------------------------------------------------------

    def _no_contents(self, key: str | None = None) -> Contents:
        return Contents(self.framing, self._budget, self._now(), self._limits.keep_stream, key)

    def _check(self, output: Output, now: float) -> None:
        self._next_check = now + CHECK_S
        self.drop_ended()
        self.contents.joints.check(output.log, now)
        output.see_to_laggards(self.contents.joints.waits_in_vain(now))
        output.trim()

    def _tell_end(self, player: Player) -> None:
        choices.tell_end(player, self.framing)
        if self.output is not None and player.state.waiting:
            self._welcome(player)

    def _new_output(self, publication: int) -> Output:
        return Output(publication, self.framing, self._clock, self._budget, self._limits, self, self.feed)

    def _welcome(self, player: Player) -> None:
        """Start a player, or refuse it if its key is not the publisher's."""
        assert self.output is not None, "players start while somebody publishes"
        if not self.contents.welcome(self.output, player, self._now(), self.beside):
            self.crowd.discard(player)
            self._news.append((News.REFUSED, player))

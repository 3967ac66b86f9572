"""One way out of a channel during one publication: a log, when to flush it, and who reads it. Never blocks.

It moves players between the fast lane and cursors of their own. What a publication is, and what players are
told of it, is the channel's affair.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from .audience import Audience
from .budget import Budget
from .clock import Clock, Timer
from .framing import Framing
from .limits import LiveLimits as LiveLimits
from .log import Log
from .owner import Owner
from .places import Places
from .player import Player
from .rounds import Rounds
from .schedule import FlushSchedule
from .segment import Segment
from .tap import Feed

if TYPE_CHECKING:
    from .beside import Beside

RETURN_S: Final = 5.0  # within which players come that were frozen with an output


class Output:
    """Made anew for each publication, so that players may finish an old one while the next has begun."""

    def __init__(
        self,
        publication: int,
        framing: Framing,
        clock: Clock,
        budget: Budget,
        limits: LiveLimits,
        owner: Owner,
        feed: Feed,
        places: Places | None = None,
    ) -> None:
        """`places` says where the messages are in the log that this one is made from; None: it is not."""
        self.publication = publication
        self.framing = framing
        self.log = Log(budget, limits.cache_bytes)
        self.schedule = FlushSchedule(limits.merge_messages)
        self.audience = Audience()
        self.rounds = Rounds(self.log, self.audience, self.schedule, clock)
        self.places = places
        self.beside: Beside | None = None  # what else is made of its log; the channel's, while there is any
        self._clock, self._now = clock, clock.now
        self._limits = limits
        self._owner = owner
        self._timer: Timer | None = None
        self._timer_at = 0.0
        self._held_from: int | None = None  # position from which all is kept for players to come
        self._holding: Timer | None = None
        self._feed = feed
        self._early: dict[Player, None] = {}  # ahead of a log that is on its way from another process
        self._to_come = 0  # players and mirrors that are known to be on their way

    # --- flushing ---------------------------------------------------------------------------------

    def flush(self) -> None:
        """Send everything appended since the last flush to every follower; never waits for one."""
        if self._timer is not None:
            self._timer.stop()
            self._timer = None
        log, audience, rounds, feed, beside = self.log, self.audience, self.rounds, self._feed, self.beside
        begin, unsent = log.flushed, log.take_unsent()
        if not unsent:
            return
        began = self._now()
        if feed.taps:
            feed.flushed(self, begin, self._owner.contents)
        joins = rounds.under_way  # goes to those who have not had their turn
        late = () if joins else rounds.begin(begin, unsent)
        walkers = audience.take_walkers() if audience.walkers else ()
        for player in walkers:
            player.take_cursor(log, begin)
        # Not before all have their places: a kick may end one player, and with it others of its session.
        early, self._early = self._early, {}
        for player in (*late, *walkers, *early):
            player.sink.kick()
        if beside is not None:
            beside.flushed(begin, unsent)
        is_alone = not (beside or self.places or feed.taps or walkers)
        if joins:
            rounds.joined(is_alone)
        else:
            rounds.go_on(began, feed.cost_s + (beside.later_s if beside is not None else 0.0), is_alone)

    def flush_if_due(self) -> None:
        """Flush now, or see to it that it happens in time."""
        unsent = len(self.log.unsent)
        if not unsent:
            return
        schedule, rounds, oldest_at = self.schedule, self.rounds, self.log.oldest_unsent_at
        now = self._now()
        if rounds.behind_since < oldest_at:
            oldest_at = rounds.behind_since
        due_at = schedule.due_at(unsent, oldest_at, self._clock.pressure)
        if now >= due_at or rounds.under_way:
            self.flush()
        elif self._timer is None or due_at < self._timer_at:
            if self._timer is not None:
                self._timer.stop()
            self._timer_at = due_at
            self._timer = self._clock.call_later(due_at + schedule.leeway_s - now, self.flush)

    def flush_before_keyframe(self) -> None:
        """Send what waits before something so large, if that is due; and hurry with what comes now."""
        schedule, log = self.schedule, self.log
        schedule.keyframe()
        if log.unsent:
            due_at = schedule.due_at(len(log.unsent), log.oldest_unsent_at, self._clock.pressure)
            if self._now() >= due_at:
                self.flush()
                schedule.keyframe()

    def shed(self) -> None:
        """Give back the oldest part of the cache, because the process holds too much."""
        self.log.shed()
        self.flush()  # lets go of what was flushed last
        self.trim()

    def shed_aside(self) -> None:
        """Give back what is held for nobody but viewers by HTTP."""
        self.flush()
        if self.beside is not None:
            self.beside.shed(self.log)
        self.log.cut()
        self.trim()

    def lowest(self) -> int | None:
        """Return from where on players need the log; None: from where the cache begins."""
        return self.audience.lowest() if self._held_from is None else self._held_from

    def trim(self) -> None:
        """Let go of what nobody needs any more."""
        if self.log.may_trim():
            if self.places is None:
                self._owner.contents.before_trim(self.log)
            lowest = self.lowest()
            self.log.trim(self.beside.lowest(lowest) if self.beside is not None else lowest)

    def end(self) -> None:
        """Flush the last of it; followers are at the end then, laggards have the rest before them."""
        self.flush()
        self.rounds.finish()
        self.log.close()
        if self.beside is not None:
            self.beside.end()
        if self._to_come <= 0:
            self.let_go()
        self.trim()

    # --- to another process -----------------------------------------------------------------------

    def snapshot(self, fds: list[int], moves: bool) -> dict[str, Any]:
        """Return what `adopt` takes elsewhere; appends descriptors. Where it `moves` all is kept a while."""
        self.flush()
        if moves:
            self.rounds.finish()
        mirrors = len(self._feed.taps) if moves and not self.log.closed else 0
        players = len(self.audience) + (self.beside.players if self.beside is not None else 0)
        if moves:
            self.hold(players)
        return {
            "publication": self.publication,
            "log": self.log.snapshot(fds),
            "schedule": self.schedule.snapshot(),
            "players": players + mirrors,
        }

    def adopt(self, value: dict[str, Any], fds: list[int]) -> None:
        """Go on where the output of another process was, whose readers are to come. Only for a new one."""
        self.log.adopt(value["log"], fds)
        self.schedule.adopt(value["schedule"])
        self.hold(value["players"])

    def hold(self, to_come: int, most_s: float = RETURN_S) -> None:
        """Let go of nothing until so many have `come`, or for a time."""
        if self._holding is not None:
            self._holding.stop()
        self._held_from, self._to_come = self.log.begin, to_come
        self._holding = self._clock.call_later(most_s, self.let_go)

    def come(self) -> None:
        """Take note of a player that goes on here, or of a mirror that does."""
        self._to_come -= 1
        if not self._to_come:
            self.let_go()

    @property
    def is_needed(self) -> bool:
        """Whether somebody reads the log, or may come to read it."""
        beside = self.beside is not None and self.beside.is_needed
        return beside or len(self.audience) > 0 or self._held_from is not None

    def let_go(self) -> None:
        """Keep nothing for players that have not come."""
        if self._holding is not None:
            self._holding.stop()
            self._held_from = self._holding = None
            self.trim()
            self._owner.drop_ended()

    def forget(self, player: Player) -> None:
        """Forget a player that has not been started, or does not go on yet. Idempotent."""
        if self.beside is not None:
            self.beside.forget(player)

    def attach(self, beside: Beside) -> Beside:
        """Let something else be made of the log."""
        self.beside = beside
        return beside

    def withdraw(self) -> None:
        """Do nothing any more: nobody needs it, or another process goes on."""
        if self.beside is not None:
            self.beside.withdraw()
            self.beside = None
        self.rounds.stop()
        for timer in (self._timer, self._holding):
            if timer is not None:
                timer.stop()
        self._timer = self._holding = None

    # --- players ----------------------------------------------------------------------------------

    def start(self, player: Player, position: int) -> None:
        """Let a player read from a position on. The caller kicks its sink."""
        log = self.log
        if position > log.flushed:
            self.flush()
        arrival = log.arrival_at(position)
        age_s = self._now() - arrival if arrival is not None else 0.0
        allowance_bytes = self._limits.lag_bytes + log.end - position
        player.start(self, position, allowance_bytes, self._limits.lag_s + age_s)
        self.audience.lag(player)

    def resume(self, player: Player) -> None:
        """Let a player go on that was frozen: its state says where. The caller kicks its sink."""
        state = player.state
        player.start(self, state.position, state.allowance_bytes, state.allowance_s)
        self.audience.lag(player)
        self.come()

    def arrived(self, player: Player) -> None:
        """Take over a player that was sent everything flushed: its place is the output's from now on."""
        if self.log.closed:
            self.audience.remove(player, self.log.flushed)
            self._owner.finished(self, player)
            return
        player.allow(self._limits.lag_bytes, self._limits.lag_s)
        player.give_cursor()
        if player.state.is_plain:
            self.audience.follow(player, self.log.flushed)
        else:
            self.audience.walk(player)

    def await_log(self, player: Player) -> None:
        """Kick a player again when there is more: it was sent more, by another process, than is here yet."""
        self._early[player] = None

    def fall_behind(self, player: Player) -> None:
        """Give one that is up to date a cursor of its own: something else comes first, or it wants that."""
        position = self.audience.remove(player, self.log.flushed)
        assert position is not None, "it has none"
        player.take_cursor(self.log, position)
        self.audience.lag(player)

    def leave(self, player: Player) -> None:
        """Forget a player, whose state then says where it was."""
        self._early.pop(player, None)
        position = self.audience.remove(player, self.log.flushed)
        if position is not None:
            player.take_cursor(self.log, position)
        elif self.log.closed and not self.is_needed:
            self._clock.call_later(RETURN_S, self._owner.drop_ended)  # if it moved, and does not come back

    # --- laggards ---------------------------------------------------------------------------------

    def see_to_laggards(self, waiting_is_over: bool) -> None:
        """See to those whose sockets stay full, and to those who wait for a keyframe that does not come."""
        for player in self.audience.laggards:
            self.skip_if_behind(player)
        if self.beside is not None and self.beside.see_to_laggards(self.log, waiting_is_over, self._now()):
            self.beside = None
        if waiting_is_over:
            for player in self.audience.off_the_lane:
                if player.state.needs_keyframe:
                    player.await_keyframe(False)

    def skip_if_behind(self, player: Player) -> bool:
        """Move a player that is further behind than it may be to the newest keyframe ahead of it.

        Where there is none it goes on, up to twice the allowance; then it waits for the next one.
        """
        log, state = self.log, player.state
        if log.closed or not player.has_cursor:
            return False
        behind = log.end - state.position
        arrival = log.arrival_at(state.position)
        late_s = self._now() - arrival if arrival is not None else 0.0
        if behind <= state.allowance_bytes and late_s <= state.allowance_s:
            return False
        far = behind > 2 * state.allowance_bytes or late_s > 2 * state.allowance_s
        return self.skip(player, far)

    def skip(self, player: Player, to_the_end: bool) -> bool:
        """Move a player to the newest keyframe, or else to the end of the log; False if it stays."""
        log, state = self.log, player.state
        keyframe = log.keyframe
        if keyframe is not None and keyframe >= log.flushed:
            self.flush()
        if not player.has_cursor:  # it caught up, or left, when others were written to
            return False
        if keyframe is not None and keyframe > state.position:
            target = keyframe
        elif not to_the_end or log.next_boundary(state.position) >= log.flushed:
            return False
        else:
            target = log.flushed
            player.await_keyframe(self._owner.keyframe_to_come())
        begun = player.jump(target, player.changed_headers(target))
        player.allow(self._limits.lag_bytes, self._limits.lag_s)
        self._owner.jumped(player, begun, target)
        return True

    def skip_laggards(self) -> None:
        """Let laggards leave out and let go of all they can."""
        self.let_go()
        self.flush()
        copies: dict[int, Segment] = {}
        for player in self.audience.laggards:
            self.skip(player, to_the_end=True)
            player.let_go(copies)
        if self.beside is not None:
            self.beside.skip_laggards(self.log)
        self.log.cut()
        self.trim()

    def describe(self) -> dict[str, Any]:
        """Return what an operator wants to know."""
        return {**self.log.describe(), "audience": len(self.audience), "flush_s": self.schedule.spent_s}

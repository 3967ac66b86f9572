"""Who reads one log: followers, who are sent everything, walkers, laggards; and in what order followers are.

Followers are in lanes. A flush serves one lane after the other; where there are many, the caller lets others
run in between, and who has his turn then gets what has come meanwhile. So a flush to thousands delays
nobody else, and of all that is sent nothing is older than one round. When to send, and what becomes of
players whose sockets are full, is decided elsewhere. Never blocks.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence

from .lane import Lane, Late
from .log import Log
from .player import Player

# Followers that are sent to at one go, which takes some 4 ms; with more others would wait too long. Those on
# TLS count as several. A round of the loop between two goes costs as much as three of them.
LANE_PLAYERS = 384
# The sockets of later players may hold a small write back while an earlier one is unacknowledged: 10 kB each
# 33 ms then cost 5.4 instead of 9.6 us. Where few watch, nothing is held back.
COALESCE_FROM = 16


class Audience:
    """Players of one log by how they are served. A player is in one place at a time; each move is O(1)."""

    __slots__ = ("_laggards", "_lane_of", "_lanes", "to_serve", "walkers")

    def __init__(self) -> None:
        self._lanes: deque[Lane] = deque()  # the one that was served last is the last
        self._lane_of: dict[Player, Lane] = {}
        self.to_serve = 0  # lanes, from the first on, that have their turn in this round yet
        self.walkers: dict[Player, None] = {}  # up to date, but served message by message
        self._laggards: dict[Player, None] = {}  # with a cursor of their own, in the greenlets of their sinks

    def __len__(self) -> int:
        return len(self._lane_of) + len(self.walkers) + len(self._laggards)

    def __iter__(self) -> Iterator[Player]:
        """Give all players, those that are up to date first."""
        return iter([*self._lane_of, *self.walkers, *self._laggards])

    @property
    def laggards(self) -> list[Player]:
        """Players with a cursor of their own."""
        return list(self._laggards)

    @property
    def off_the_lane(self) -> list[Player]:
        """Everybody but followers."""
        return [*self.walkers, *self._laggards]

    def lowest(self) -> int | None:
        """Return the position of the player furthest behind; None without a follower or laggard."""
        lanes = [lane.position for lane in self._lanes if lane.count]
        return min([*lanes, *[player.position for player in self._laggards]], default=None)

    # --- moves ------------------------------------------------------------------------------------

    def follow(self, player: Player, position: int) -> None:
        """Send a player what is flushed from a position on, up to which it was sent everything there is."""
        self._laggards.pop(player, None)
        lane = self._lanes[-1] if self._lanes else None
        if lane is None or lane.position != position or lane.load >= LANE_PLAYERS:
            lane = Lane(position)
            self._lanes.append(lane)
        lane.add(player)
        self._lane_of[player] = lane
        if len(self._lane_of) > COALESCE_FROM:
            player.sink.coalesce()

    def walk(self, player: Player) -> None:
        """Give a player its cursor back at each flush: it wants only a part, or something else first."""
        self._laggards.pop(player, None)
        self.walkers[player] = None

    def lag(self, player: Player) -> None:
        """Take note of a player with a cursor of its own."""
        self.walkers.pop(player, None)
        self._laggards[player] = None

    def remove(self, player: Player, flushed: int) -> int | None:
        """Let go of a player; return up to where it was sent everything, None if it had a cursor of its own.

        For a walker that is `flushed`. A follower's sink is told what was sent past it.
        """
        lane = self._lane_of.pop(player, None)
        if lane is not None:
            lane.remove(player, lane.position)
            return lane.position
        if player in self.walkers:
            del self.walkers[player]
            return flushed
        self._laggards.pop(player, None)
        return None

    def follows(self, player: Player) -> bool:
        """Tell whether the fast lane sends to a player, so that its sink must not be written to."""
        return player in self._lane_of

    def followed_bytes(self, player: Player) -> int:
        """Return what the fast lane has sent a player, and its sink does not know of yet."""
        lane = self._lane_of.get(player)
        return 0 if lane is None else lane.followed_bytes(player)

    def take_walkers(self) -> list[Player]:
        """Return all walkers; they have cursors of their own from now on."""
        walkers = list(self.walkers)
        self._laggards.update(self.walkers)
        self.walkers.clear()
        return walkers

    # --- sending ----------------------------------------------------------------------------------

    def behind(self, flushed: int) -> int | None:
        """Return the lowest position of followers who were sent less than was flushed; None: nobody was."""
        lowest = min([lane.position for lane in self._lanes if lane.count], default=flushed)
        return lowest if lowest < flushed else None

    def goes(self) -> list[int]:
        """Return for each go of a round up to where most of its players were sent everything."""
        found: list[int] = []
        room = most = 0
        for lane in self._lanes:
            if not found or lane.load > room:
                found.append(lane.position)
                room, most = LANE_PLAYERS, lane.load
            elif lane.load > most:
                found[-1], most = lane.position, lane.load
            room -= lane.load
        return found

    def send(self, log: Log, begin: int, messages: Sequence[bytes]) -> list[Late]:
        """Send what was flushed to those whose turn it is, so many at one go; or begin a round.

        `messages` are the bytes of the log from `begin` to what was flushed last. Returns those that took
        less, who lag from now on.
        """
        lanes, room = self._lanes, LANE_PLAYERS
        if not self.to_serve:
            self.to_serve = len(lanes)
        found: list[Late] = []
        while self.to_serve and (room >= lanes[0].load or room == LANE_PLAYERS):
            self.to_serve -= 1
            lane = lanes[0]
            room -= lane.load
            late = lane.send(log, begin, messages)
            if late:
                found += late
                self._put_aside(lane, late)
            if len(lanes) > 1:
                self._put_last(lanes.popleft())
        return found

    # --- private ----------------------------------------------------------------------------------

    def _put_aside(self, lane: Lane, late: list[Late]) -> None:
        for player, position in late:
            lane.remove(player, position)
            del self._lane_of[player]
            self._laggards[player] = None

    def _put_last(self, lane: Lane) -> None:
        """Put a lane behind the others; or its followers into one that was sent the same, with room."""
        for other in reversed(self._lanes):
            if other.position != lane.position:
                break
            if other.load + lane.load <= LANE_PLAYERS:
                for player in other.take_all(lane):
                    self._lane_of[player] = other
                return
        self._lanes.append(lane)

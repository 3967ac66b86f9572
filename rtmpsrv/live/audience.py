"""Who reads one log: followers, who were sent everything, walkers, laggards; and the loops that send to all.

This is where the server spends its time: one system call per follower and flush, straight to the socket,
bypassing the sink and its bookkeeping. So a follower's sink has nothing to write. When to send, and what
becomes of players whose sockets are full, is decided elsewhere. Never blocks.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from os import sendfile, write

from .log import Log
from .player import Player

# From this many followers on, writing the log to its file and sendfile cost less than a send of the joined
# bytes to each (measured, as all figures here: docs/performance.md).
SENDFILE_FROM = 4
# Below this a copying send is no dearer than sendfile: 8.4 and 8.5 us for 9 kB, 11.0 and 9.6 us for 33 kB.
SENDFILE_BYTES = 12 * 1024
# The sockets of later players may hold a small write back while an earlier one is unacknowledged: 10 kB each
# 33 ms then cost 5.4 instead of 9.6 us. Where few watch, nothing is held back.
COALESCE_FROM = 16

Late = tuple[Player, int]  # a follower, and how many bytes of those it was sent were taken


class Audience:
    """Players of one log by how they are served. A player is in one place at a time; each move is O(1)."""

    __slots__ = ("_by_sink", "_direct", "_followed_from", "_laggards", "_places", "_sockets", "walkers")

    def __init__(self) -> None:
        self._direct: list[Player] = []
        # Their sockets, and since which position they follow, in the same order. Not the players' or sinks'
        # objects: fetching the memory of those for each send cost 1 us of 6.7.
        self._sockets: list[int] = []
        self._followed_from: list[int] = []
        self._places: dict[Player, int] = {}  # of direct followers
        self._by_sink: dict[Player, None] = {}  # followers that only the sink can write to: TLS
        self.walkers: dict[Player, None] = {}  # up to date, but served message by message
        self._laggards: dict[Player, None] = {}  # with a cursor of their own, in the greenlets of their sinks

    def __len__(self) -> int:
        return len(self._direct) + len(self._by_sink) + len(self.walkers) + len(self._laggards)

    def __iter__(self) -> Iterator[Player]:
        """Give all players, those that are up to date first."""
        return iter([*self._by_sink, *self._direct, *self.walkers, *self._laggards])

    @property
    def laggards(self) -> list[Player]:
        """Players with a cursor of their own."""
        return list(self._laggards)

    @property
    def off_the_lane(self) -> list[Player]:
        """Everybody but followers."""
        return [*self.walkers, *self._laggards]

    def lowest(self) -> int | None:
        """Return the position of the laggard furthest behind; None without any."""
        return min([player.position for player in self._laggards], default=None)

    # --- moves ------------------------------------------------------------------------------------

    def follow(self, player: Player, position: int) -> None:
        """Send a player what is flushed from a position on, up to which it was sent everything."""
        self._laggards.pop(player, None)
        sink = player.sink
        if sink.socket is None:
            self._by_sink[player] = None
        else:
            self._places[player] = len(self._direct)
            self._direct.append(player)
            self._sockets.append(sink.socket)
            self._followed_from.append(position)
        if len(self._direct) + len(self._by_sink) > COALESCE_FROM:
            sink.coalesce()

    def walk(self, player: Player) -> None:
        """Give a player its cursor back at each flush: it wants only a part, or something else first."""
        self._laggards.pop(player, None)
        self.walkers[player] = None

    def lag(self, player: Player) -> None:
        """Take note of a player with a cursor of its own."""
        self.walkers.pop(player, None)
        self._laggards[player] = None

    def remove(self, player: Player, position: int) -> bool:
        """Let go of a player; False if it had a cursor of its own.

        A follower was sent everything up to `position`, which its sink is told.
        """
        place = self._places.pop(player, None)
        if place is not None:
            player.sink.credit(position - self._followed_from[place])
            self._close_gap(place)
            return True
        if player in self._by_sink:
            del self._by_sink[player]
            return True
        if player in self.walkers:
            del self.walkers[player]
            return True
        self._laggards.pop(player, None)
        return False

    def follows(self, player: Player) -> bool:
        """Tell whether the fast lane sends to a player, so that its sink must not be written to."""
        return player in self._places or player in self._by_sink

    def followed_bytes(self, player: Player, position: int) -> int:
        """Return what the fast lane has sent a player up to a position, and its sink does not know of yet."""
        place = self._places.get(player)
        return 0 if place is None else position - self._followed_from[place]

    def take_walkers(self) -> list[Player]:
        """Return all walkers; they have cursors of their own from now on."""
        walkers = list(self.walkers)
        self._laggards.update(self.walkers)
        self.walkers.clear()
        return walkers

    # --- sending ----------------------------------------------------------------------------------

    def send(self, log: Log, begin: int, messages: Sequence[bytes]) -> list[Late]:
        """Send `messages`, the bytes of the log from `begin` on, to all followers.

        Returns those that took less.
        """
        direct = len(self._sockets)
        if direct >= SENDFILE_FROM and log.end - begin >= SENDFILE_BYTES:
            parts = [(segment.file(), offset, count) for segment, offset, count in log.parts(begin, log.end)]
            if -1 not in [part[0] for part in parts]:
                late = self._send_file(parts)
                return late + self._offer(b"".join(messages)) if self._by_sink else late
        joined = messages[0] if len(messages) == 1 else b"".join(messages)
        late = self._write(joined) if direct else []
        return late + self._offer(joined) if self._by_sink else late

    def _offer(self, data: bytes) -> list[Late]:
        """A sink takes everything, and keeps what it cannot write."""
        return [(player, len(data)) for player in list(self._by_sink) if not player.sink.offer(data)]

    def _send_file(self, parts: Sequence[tuple[int, int, int]]) -> list[Late]:
        late = []
        if len(parts) == 1:  # but where a segment ends
            ((file, offset, size),) = parts
            for number, socket in enumerate(self._sockets):
                try:
                    sent = sendfile(socket, file, offset, size)
                except OSError:  # full; or dead, as its sink will see
                    sent = 0
                if sent != size:
                    late.append((self._direct[number], sent))
            return late
        for number, socket in enumerate(self._sockets):
            for part in parts:
                try:
                    sent = sendfile(socket, *part)
                except OSError:
                    sent = 0
                if sent != part[2]:
                    before = sum([count for _, _, count in parts[: parts.index(part)]])
                    late.append((self._direct[number], before + sent))
                    break
        return late

    def _write(self, data: bytes) -> list[Late]:
        late = []
        size = len(data)
        for number, socket in enumerate(self._sockets):
            try:
                sent = write(socket, data)
            except OSError:
                sent = 0
            if sent != size:
                late.append((self._direct[number], sent))
        return late

    def _close_gap(self, place: int) -> None:
        """Move the last follower to the place of one that left."""
        last = self._direct.pop()
        socket, begin = self._sockets.pop(), self._followed_from.pop()
        if place < len(self._direct):
            self._direct[place], self._sockets[place] = last, socket
            self._followed_from[place] = begin
            self._places[last] = place

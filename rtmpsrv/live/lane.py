"""Followers of one log who have been sent the same, and the loops that send to all of them.

This is where the server spends its time: one system call per follower and flush, straight to the socket,
bypassing the sink and its bookkeeping. So a follower's sink has nothing to write. Never blocks.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from os import sendfile, write
from typing import Final

from .log import Log
from .player import Player

# From this many followers on, writing the log to its file and sendfile cost less than a send of the joined
# bytes to each (measured, as all figures here: docs/performance.md).
SENDFILE_FROM = 4
# Below this a copying send is no dearer than sendfile: 8.4 and 8.5 us for 9 kB, 11.0 and 9.6 us for 33 kB.
SENDFILE_BYTES = 12 * 1024
# As how many others a follower on TLS counts: its copy is encrypted, so 33 kB take 43 instead of 10 us, and
# 100 kB 107 instead of 19.
TLS_LOAD: Final = 4

Late = tuple[Player, int]  # a follower that took less, and the position up to which it took


class Lane:
    """Changed by its audience only. Each move of a follower is O(1)."""

    __slots__ = ("_by_sink", "_direct", "_followed_from", "_places", "_sockets", "count", "load", "position")

    def __init__(self, position: int) -> None:
        self.position = position  # up to which all have been sent everything
        self.count = 0  # of followers
        self.load = 0  # what sending to all of them costs, in followers that are not on TLS
        self._direct: list[Player] = []
        # Their sockets, and since which position they follow, in the same order. Not the players' or sinks'
        # objects: fetching the memory of those for each send cost 1 us of 6.7.
        self._sockets: list[int] = []
        self._followed_from: list[int] = []
        self._places: dict[Player, int] = {}  # of direct followers
        self._by_sink: dict[Player, None] = {}  # followers that only the sink can write to: TLS

    def __iter__(self) -> Iterator[Player]:
        return iter([*self._by_sink, *self._direct])

    def add(self, player: Player) -> None:
        """Send a player what comes from the lane's position on."""
        self._add(player, self.position)

    def remove(self, player: Player, position: int) -> None:
        """Let go of a follower, whose sink is told what it was sent up to a position."""
        self.count -= 1
        place = self._places.pop(player, None)
        if place is None:
            del self._by_sink[player]
            self.load -= TLS_LOAD
        else:
            self.load -= 1
            player.sink.credit(position - self._followed_from[place])
            self._close_gap(place)

    def followed_bytes(self, player: Player) -> int:
        """Return what a follower was sent that its sink does not know of yet."""
        place = self._places.get(player)
        return 0 if place is None else self.position - self._followed_from[place]

    def take_all(self, other: Lane) -> list[Player]:
        """Take over all followers of another lane, which is at the same position; return them."""
        for player in other._by_sink:
            self._add(player, other.position)
        for player, begin in zip(other._direct, other._followed_from, strict=True):
            self._add(player, begin)
        return list(other)

    def send(self, log: Log, given: int, data: Sequence[bytes]) -> list[Late]:
        """Send what was flushed since the lane's position: `data`, if it has what follows `given`, that one.

        Returns those that took less.
        """
        begin, end = self.position, log.flushed
        if begin >= end:
            return []
        if begin != given:
            data = ()
        self.position = end
        direct = len(self._sockets)
        late: list[Late] = []
        if direct >= SENDFILE_FROM and end - begin >= SENDFILE_BYTES:
            parts = [(segment.file(), offset, count) for segment, offset, count in log.parts(begin, end)]
            if -1 not in [part[0] for part in parts]:
                late = self._send_file(parts, begin)
                direct = 0
        if direct or self._by_sink:
            joined = data[0] if len(data) == 1 else b"".join(data) if data else log.read(begin, end)
            if direct:
                late = self._write(joined, begin)
            if self._by_sink:
                late += [(player, end) for player in list(self._by_sink) if not player.sink.offer(joined)]
        return late

    # --- private ----------------------------------------------------------------------------------

    def _add(self, player: Player, begin: int) -> None:
        self.count += 1
        socket = player.sink.socket
        if socket is None:
            self._by_sink[player] = None
            self.load += TLS_LOAD
        else:
            self.load += 1
            self._places[player] = len(self._direct)
            self._direct.append(player)
            self._sockets.append(socket)
            self._followed_from.append(begin)

    def _send_file(self, parts: Sequence[tuple[int, int, int]], begin: int) -> list[Late]:
        late = []
        if len(parts) == 1:  # but where a segment ends
            ((file, offset, size),) = parts
            for number, socket in enumerate(self._sockets):
                try:
                    sent = sendfile(socket, file, offset, size)
                except OSError:  # full; or dead, as its sink will see
                    sent = 0
                if sent != size:
                    late.append((self._direct[number], begin + sent))
            return late
        for number, socket in enumerate(self._sockets):
            upto = begin
            for part in parts:
                try:
                    sent = sendfile(socket, *part)
                except OSError:
                    sent = 0
                upto += sent
                if sent != part[2]:
                    late.append((self._direct[number], upto))
                    break
        return late

    def _write(self, data: bytes, begin: int) -> list[Late]:
        late = []
        size = len(data)
        for number, socket in enumerate(self._sockets):
            try:
                sent = write(socket, data)
            except OSError:
                sent = 0
            if sent != size:
                late.append((self._direct[number], begin + sent))
        return late

    def _close_gap(self, place: int) -> None:
        """Move the last follower to the place of one that left."""
        last = self._direct.pop()
        socket, begin = self._sockets.pop(), self._followed_from.pop()
        if place < len(self._direct):
            self._direct[place], self._sockets[place] = last, socket
            self._followed_from[place] = begin
            self._places[last] = place

"""The fast lane of a channel: players that were sent everything, and the loops that send to all of them.

This is where the server spends its time: one system call per player and flush, straight to the socket,
past the sink and its bookkeeping. So a player may be here only while its sink has nothing to write. When
to send, and what becomes of players whose sockets are full, is the channel's to decide.
"""

from __future__ import annotations

from collections.abc import Sequence
from os import sendfile, write

from .player import Player
from .segment import Segment

# From this many players on, writing the log to its file and sendfile cost less than a send of the joined
# bytes to each (measured, as all figures here: docs/performance.md).
SENDFILE_FROM = 4
# Below this a copying send is no dearer than sendfile: 8.4 and 8.5 us for 9 kB, 11.0 and 9.6 us for 33 kB.
SENDFILE_BYTES = 12 * 1024
# The sockets of later players may hold a small write back while an earlier one is unacknowledged: 10 kB each
# 33 ms then cost 5.4 instead of 9.6 us. Where few watch, nothing is held back.
COALESCE_FROM = 16

Range = tuple[Segment, int, int]  # and offset and count of bytes, never 0
Late = tuple[Player, int]  # a player, and how many bytes of those it was sent were taken


class FanOut:
    """Players that are up to date. Never blocks, calls nothing that could change it meanwhile."""

    def __init__(self) -> None:
        self._direct: list[Player] = []
        # Their sockets, in the same order. Not the players' or sinks' objects: fetching the memory of those
        # for each send cost 1 us of 6.7.
        self._sockets: list[int] = []
        self._by_sink: list[Player] = []  # TLS: only the sink can write

    def players(self) -> list[Player]:
        """Return all, in the order in which they are sent to."""
        return [*self._by_sink, *self._direct]

    def add(self, player: Player, position: int) -> None:
        """Take a player that was sent everything up to a position of the log."""
        sink = player.sink
        player.following = True
        if sink.socket is None:
            self._by_sink.append(player)
        else:
            player.followed_from = position
            self._direct.append(player)
            self._sockets.append(sink.socket)
        if len(self._direct) + len(self._by_sink) > COALESCE_FROM:
            sink.coalesce()

    def remove(self, player: Player, position: int) -> None:
        """Let go of a player that was sent everything up to a position; of another one: nothing."""
        if not player.following:
            return
        player.following = False
        if player.sink.socket is None:
            self._by_sink.remove(player)
            return
        number = self._direct.index(player)
        del self._direct[number], self._sockets[number]
        player.sink.sent_bytes += position - player.followed_from

    def send(self, ranges: Sequence[Range], messages: Sequence[bytes]) -> list[Late]:
        """Send ranges of the log, whose bytes are `messages`, to all; return those that took less."""
        direct = len(self._direct)
        in_file = (
            direct >= SENDFILE_FROM
            and sum(part[2] for part in ranges) >= SENDFILE_BYTES
            and all(part[0].file() >= 0 for part in ranges)
        )
        late: list[Late] = []
        if self._by_sink or (direct and not in_file):
            joined = messages[0] if len(messages) == 1 else b"".join(messages)
            # What a sink does not get rid of it keeps: it takes all.
            late += [(player, len(joined)) for player in self._by_sink if not player.sink.offer(joined)]
            if not in_file:
                late += self._write(joined)
        if in_file:
            late += self._send_file([(segment.file(), offset, count) for segment, offset, count in ranges])
        return late

    def _send_file(self, parts: Sequence[tuple[int, int, int]]) -> list[Late]:
        late = []
        for number, socket in enumerate(self._sockets):
            for part in parts:
                try:
                    sent = sendfile(socket, *part)
                except OSError:  # full; or dead, as its sink will see
                    sent = 0
                if sent != part[2]:
                    before = sum(count for _, _, count in parts[: parts.index(part)])
                    late.append((self._direct[number], before + sent))
                    break
        return late

    def _write(self, data: bytes) -> list[Late]:
        late = []
        for number, socket in enumerate(self._sockets):
            try:
                sent = write(socket, data)
            except OSError:
                sent = 0
            if sent != len(data):
                late.append((self._direct[number], sent))
        return late

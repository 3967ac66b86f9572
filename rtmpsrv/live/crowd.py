"""The players of a channel, what they were sent and what they left out: sums that stay when players leave.

Sinks count what they send in any case, so nothing is counted here for a message, or a flush. Never blocks.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from .player import Player
from .segment import AUDIO, DATA, HEADER, KEYFRAME, VIDEO

_NAMES: Final = ("audio", "video", "data")
_FLAGS: Final = ((AUDIO, AUDIO | HEADER), (VIDEO, VIDEO | KEYFRAME, VIDEO | HEADER), (DATA,))


class LeftOut:
    """Messages that players were not sent because they were too far behind, by kind."""

    __slots__ = ("counts",)

    def __init__(self) -> None:
        self.counts = [0, 0, 0]  # audio, video, data

    def add(self, counts: Iterable[int]) -> None:
        """Count some more."""
        self.counts = [one + other for one, other in zip(self.counts, counts, strict=True)]

    def by_kind(self) -> dict[str, int]:
        """Return the counts by the names of the kinds."""
        return dict(zip(_NAMES, self.counts, strict=True))


class Crowd:
    """Who plays one channel. Changed by the channel only."""

    __slots__ = ("_before", "_gone_bytes", "_of_all", "left_out", "players")

    def __init__(self, of_all: LeftOut) -> None:
        """`of_all` counts what players of all channels leave out."""
        self.left_out = LeftOut()
        self._of_all = of_all
        self._gone_bytes = 0  # that were sent to players who left
        self._before: dict[Player, int] = {}  # what a player had been sent when it came
        self.players = self._before.keys()

    @property
    def sent_bytes(self) -> int:
        """All that players were sent while they were the channel's."""
        sent = [_sent(player) - before for player, before in self._before.items()]
        return self._gone_bytes + sum(sent)

    def add(self, player: Player) -> None:
        """Count what a player is sent from now on. Idempotent."""
        self._before.setdefault(player, _sent(player))

    def discard(self, player: Player) -> None:
        """Forget a player, but not what it was sent; its sink knows of that. Idempotent."""
        before = self._before.pop(player, None)
        if before is not None:
            self._gone_bytes += _sent(player) - before

    def jumped(self, player: Player, begin: int, end: int) -> None:
        """Count the messages from one boundary of a player's log to another, which it left out."""
        output = player.output
        assert output is not None, "it reads a log"
        counts = [0, 0, 0]
        for segment, offset, size in output.log.parts(begin, end):
            first, until = segment.message_at(offset), segment.message_at(offset + size)
            for number, kinds in enumerate(_FLAGS):
                counts[number] += sum([segment.flags.count(kind, first, until) for kind in kinds])
        self.left_out.add(counts)
        self._of_all.add(counts)

    def snapshot(self) -> tuple[int, list[int]]:
        """Return all that is past, as `adopt` takes it."""
        return self.sent_bytes, self.left_out.counts

    def adopt(self, value: Any) -> None:
        """Go on with the sums of another process."""
        if value is None:  # of an older version, or a channel to be mirrored
            return
        sent_bytes, counts = value
        self._gone_bytes += sent_bytes
        self.left_out.add(counts)


def _sent(player: Player) -> int:
    return player.sink.bytes_out + player.uncounted_bytes

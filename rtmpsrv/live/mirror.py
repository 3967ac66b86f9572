"""A channel that another process owns: fed by the messages of a tap, sent from the same memory. Never blocks.

Its players join, lag, pause and skip as they would at the owner. How messages come from there is up to the
host.
"""

from __future__ import annotations

from posix import close
from typing import Any

from ..errors import CannotMove
from .channel import Channel
from .news import NewsOf
from .player import Player
from .tap import FLUSH, START, STOP


class OutOfStep(ValueError):
    """A message does not follow what is here: the mirror needs another tap, from its place or a snapshot."""


class Mirror:
    """Feeds one channel. Nobody else publishes in it meanwhile."""

    def __init__(self, channel: Channel) -> None:
        """Follow the owner of a channel, which may be one that was handed over to it a moment ago.

        Mirrors that it had are told that it has moved.
        """
        self._channel = channel
        self._awaiting: list[Player] = []
        channel.follow(self)
        channel.feed.moved()

    @property
    def place(self) -> tuple[int, int]:
        """Publication and position up to which it knows all, where another tap may begin; zeros for none."""
        output = self._channel.output
        return (output.publication, output.log.end) if output is not None else (0, 0)

    @property
    def cost_s(self) -> float:
        """What a flush costs here, which the tap wants to know."""
        output = self._channel.output
        return output.schedule.took_s if output is not None else 0.0

    def feed(self, message: dict[str, Any], fds: list[int]) -> list[NewsOf]:
        """Take in a message of a tap and its descriptors, which are the mirror's from now on.

        Returns what happened to players, for the host to tell of. Raises OutOfStep, with nothing changed.
        """
        kind = message["kind"]
        if kind == START:
            return self._start(message["channel"], fds)
        if kind == FLUSH:
            return self._follow(message, fds)
        if kind == STOP:
            self._channel.stop()
        return self._channel.take_news()

    def lost(self) -> list[NewsOf]:
        """The owner is gone, or nobody needs the mirror: players are told the end, and wait for a publisher.

        To be called only when nobody goes on as the owner: another tap can begin at `place`.
        """
        self._channel.stop()
        self._channel.follow(None)
        return self._recall()

    def awaits(self, player: Player) -> bool:
        """Tell whether a player that comes knows more than is here, and has to wait for it."""
        state, publication = player.state, self._channel.publication
        if state.waiting:
            return self._channel.live and state.publication == publication  # it was told the end of that
        if state.publication <= publication:
            return False
        player.finish(waits=False)
        self._awaiting.append(player)
        return True

    def _recall(self) -> list[NewsOf]:
        awaiting, self._awaiting = self._awaiting, []
        for player in awaiting:
            if player in self._channel.players:
                self._channel.resume(player)
        return self._channel.take_news()

    def _start(self, value: dict[str, Any], fds: list[int]) -> list[NewsOf]:
        channel = self._channel
        channel.stop()
        try:
            channel.adopt(value, fds)
        except CannotMove as exc:
            _close(fds)
            raise OutOfStep(str(exc)) from exc
        channel.follow(self)
        return self._recall()

    def _follow(self, message: dict[str, Any], fds: list[int]) -> list[NewsOf]:
        channel = self._channel
        if self.place != (message["publication"], message["begin"]):
            _close(fds)
            raise OutOfStep(f"messages from {message['publication']}, {message['begin']}, not {self.place}")
        output = channel.output
        assert output is not None, "it has a place"
        output.log.extend(message["records"], fds)
        output.log.headers.extend(message["headers"])
        output.log.follow(message["log"])
        waited = channel.contents.waits
        channel.contents.follow(message["contents"])
        output.flush()
        output.trim()
        if waited and not channel.contents.waits:
            channel.welcome_all()
        return list(channel.append(()))


def _close(fds: list[int]) -> None:
    for fd in fds:
        close(fd)

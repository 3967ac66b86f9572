"""Who may still play a channel: how many, as the rules and a backend say, and who was turned away.

Counts those of this process.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from time import monotonic
from typing import TYPE_CHECKING, Protocol

from .access.blocks import Blocks
from .access.ip_rules import IpRules
from .access.limits import counted_as
from .access.visits import Visits
from .entrance import Entrance
from .errors import AccessDenied, NoRoom
from .live.channel import Channel
from .server.host import Client

if TYPE_CHECKING:
    from .relayed import RelayPlayback, RelayPublication

RULES, BACKEND = "CHANNELS_FILE", "CALLBACK_URL"  # who says so: for the log


class Limits(Protocol):
    """What other processes know of their channels. Never blocks."""

    def max_players(self, name: str) -> int:
        """Return how many may play a channel that is on the air elsewhere; 0 for any number."""


class Room:
    """Room for players. Never blocks."""

    def __init__(
        self,
        entrance: Entrance,
        visits: Visits,
        published: Callable[[str], RelayPublication | None],
        elsewhere: Callable[[], Limits | None],
        viewings: Callable[[str], int] = lambda name: 0,
    ) -> None:
        """`viewings`: how many watch a channel of a name, and are no players of it."""
        self._entrance = entrance
        self._visits = visits
        self._published = published
        self._elsewhere = elsewhere
        self._viewings = viewings
        self.turned_away = Blocks()  # addresses with channels; changed here, and by who hands them over

    def players(self, channel: Channel) -> int:
        """Return how many play or watch a channel here."""
        return len(channel.players) + self._viewings(channel.name)

    def turn_away(self, address: str, channel: str, seconds: float) -> None:
        """Let no players of an address join a channel for so long; 0 lets them again."""
        self.turned_away.add(_pair(address, channel), seconds, monotonic())

    def check_address(self, client: Client, channel: str) -> None:
        """Raise AccessDenied for a player whose address was turned away."""
        left_s = self.turned_away.left_s(_pair(client.ip, channel), monotonic())
        if left_s:
            description = f"You may not play this channel for {math.ceil(left_s)} s more"
            raise AccessDenied("NetStream.Play.BadName", description)

    def check(self, client: Client, channel: str, players: int, of_rules: int) -> None:
        """Raise AccessDenied for one more player than any of the limits allows; 0 is none."""
        limits = [
            (of_rules, RULES),
            (self._visits.max_players(client), BACKEND),
            (self._of_publisher(channel), BACKEND),
        ]
        for most, variable in limits:
            if most and players >= most:
                raise NoRoom("NetStream.Play.BadName", f"The channel is full ({most})", variable)

    def check_newcomer(self, playback: RelayPlayback) -> None:
        """Refuse a player that came from where its channel was not, and joined it here, if it is full."""
        client, channel = playback.peer.client, playback.channel
        try:
            of_rules = self._entrance.max_players(channel.name)
            self.check(client, channel.name, self.players(channel) - 1, of_rules)
        except AccessDenied as exc:
            playback.peer.refuse_play(exc.code, exc.description)

    def _of_publisher(self, channel: str) -> int:
        present, elsewhere = self._published(channel), self._elsewhere()
        if present is not None:
            return present.grant.max_players
        return elsewhere.max_players(channel) if elsewhere is not None else 0


def play_policy(rules: IpRules) -> Callable[[str], bool]:
    """Return who may play: everybody when there are no rules."""
    if rules.empty:
        return lambda address: True
    return lambda address: address in rules


def _pair(address: str, channel: str) -> str:
    return f"{counted_as(address)} {channel}"

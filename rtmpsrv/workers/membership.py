"""What makes an application one of several workers.

Its gate and its slots are the keeper's, and its players may go to the worker of their channel. Built in two
steps, since the application needs the first to build what the second needs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from rtmpsrv.access.limits import ConnectionLimits
from rtmpsrv.access.second_publisher import Claim
from rtmpsrv.live.news import NewsOf
from rtmpsrv.log import Logger
from rtmpsrv.server.host import Peer
from rtmpsrv.workers import doors
from rtmpsrv.workers.answering import Answering
from rtmpsrv.workers.copies import Copies
from rtmpsrv.workers.directory import Directory
from rtmpsrv.workers.elsewhere import Elsewhere
from rtmpsrv.workers.estate import Estate, Kills
from rtmpsrv.workers.link import Link
from rtmpsrv.workers.login_secret import shared
from rtmpsrv.workers.moving import Moving
from rtmpsrv.workers.neighbours import Neighbours
from rtmpsrv.workers.remote import RemoteGate, RemoteSlots

ASK_MORE_S = 15.0  # than the authority's deadline: the keeper answers in any case


class Sharing(Protocol):
    """The host of the worker's sessions: a relay."""

    def share(self, elsewhere: Elsewhere) -> None:
        """Serve together with other processes."""

    def is_free(self, name: str, claim: Claim = ()) -> bool:
        """Tell whether nobody publishes a channel here, or nobody any more. May block for some seconds."""

    def may_go_on(self, name: str, claim: Claim) -> bool:
        """Tell whether a channel here has a publisher with this right, or waits for one."""

    def waiting(self, name: str) -> Sequence[Peer]:
        """Return those who wait for a channel."""

    def tell(self, news: list[NewsOf]) -> None:
        """Pass on what happened to players."""

    def turn_away(self, address: str, channel: str, seconds: float) -> None:
        """Refuse the players of an address on a channel for so long."""


class Membership:
    """One worker's part in all of them."""

    def __init__(
        self, name: str, run_dir: str, limits: ConnectionLimits, authority_s: float, log: Logger
    ) -> None:
        """`name` is unlike that of any worker before; `limits` hold while there is no keeper."""
        self.name = name
        self._connects = False
        self._run_dir = run_dir
        self._log = log
        self.link = Link(name, log)
        self.gate = RemoteGate(self.link, authority_s + ASK_MORE_S)
        self.slots = RemoteSlots(self.link, limits)
        self.directory = Directory(self.link)
        self.neighbours = Neighbours(name, run_dir, log)
        # What the keeper has instead.
        self.kills = Kills(self.gate)
        self.callbacks = self.redis = self.coordinator = None

    def join(
        self,
        host: Sharing,
        estate: Estate,
        spread_players: int,
        describe: Callable[[], Any],
    ) -> None:
        """Put the application's parts in; `describe` says all that there is of it."""
        registry = estate.registry

        def room(channel: str) -> int:
            found = registry.find(channel)
            return spread_players - (len(found.players) if found is not None else 0)

        def keeps(channel: str) -> bool:
            found = registry.find(channel)
            return found is not None and found.suspended

        self.moving = Moving(self.neighbours, estate.listeners, self.slots, estate.numbers, self._log, room)
        self.copies = Copies(registry, self.directory, self.neighbours, host.tell, self._log)
        self.elsewhere = Elsewhere(self.directory, self.moving, self.copies, host.waiting, self._log)
        if estate.parts.site is not None:
            Answering(estate.parts.site, self.elsewhere, self.moving, estate.parts.budget)
        self.moving.calls |= {"may_go_on": host.may_go_on, "make_room": host.is_free, "keeps": keeps}
        host.share(self.elsewhere)
        self._turn_away = host.turn_away
        self.link.tells["turn_away"] = host.turn_away
        estate.copied, estate.published_here = self.elsewhere.adopted, self.elsewhere.published_here
        self.link.calls |= {"is_free": host.is_free, "describe": describe}

    def login_secret(self) -> bytes:
        """Return what all workers sign logins with. Blocks for a moment. Raises ConfigError."""
        return shared(self._run_dir)

    def connect(self, timeout_s: float) -> bool:
        """Look for the keeper from now on; return whether it is there. Blocks up to `timeout_s`."""
        if not self._connects:
            self._connects = True
            self.link.start(doors.path_of(self._run_dir, doors.KEEPER))
        return self.link.wait(timeout_s) is not None

    def block(self, channel: str, seconds: float) -> bool:
        """Have the publishers of a channel refused for so long, in all workers, as far as the keeper does.

        Never blocks.
        """
        self.link.tell("block", channel, seconds)
        return True

    def turn_away(self, address: str, channel: str, seconds: float) -> None:
        """Have the players of an address refused, in all workers, if the keeper is there. Never blocks."""
        self._turn_away(address, channel, seconds)
        self.link.tell("turn_away", address, channel, seconds)

    def start(self) -> None:
        """Be one of the workers. Raises OSError when there is no door to be opened."""
        self.neighbours.start()
        self.connect(0)

    def start_commands(self) -> None:
        """Do nothing: the keeper takes commands."""

    def stop_commands(self) -> None:
        """Do nothing: the keeper takes commands."""

    def leave(self) -> None:
        """Take in nobody more, and send nobody; the keeper is told of what ends until the gate is closed."""
        self.elsewhere.close()
        self.copies.close_all()
        self.neighbours.close()

"""The relay's side of viewers by HTTP: what they ask for by a path and a query, and what they are granted.

The same questions are asked about them as about players of RTMP, and the same bounds hold.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, ClassVar, Final

from .access.names import StreamName
from .access.terms import Terms
from .access.visits import Visits
from .entrance import Entrance
from .errors import CannotMove, NotThere
from .live.channel import Channel
from .live.player import FLV, Player, PlayerState
from .live.registry import Registry
from .live.sink import Sink
from .log import Logger
from .playing import PLAY_CODE, Playing
from .relayed import RelayPlayback, both, fields_of, wrong_key
from .server.host import Client, Peer

if TYPE_CHECKING:
    from .relay import Relay

HLS: Final = "hls"  # the form of those who ask again and again, by connections that are not theirs


class Viewing:
    """A client that watches otherwise than as a player: whoever makes its stream reads the channel."""

    def __init__(
        self, watching: Watching, peer: Peer, name: str, key: str | None, unwatch: Callable[[], None]
    ) -> None:
        self._watching = watching
        self.peer = peer
        self.name = name
        self.key = key  # that must be the publisher's; None: any
        self._unwatch = unwatch
        self._over = False
        self._before = peer.traffic()[1]
        self._guest_of = self.channel.readings
        self._guest_of.welcome(self)

    @property
    def channel(self) -> Channel:
        """The channel as it is now: one that nobody wants is forgotten, and is another one the next time."""
        return self._watching.channel(self.name)

    def began(self) -> None:
        """Somebody begins to publish: a viewer who waited for another one is refused. Never blocks."""
        if not self._over and self.key is not None and not self.channel.contents.accepts_key(self.key):
            denial = wrong_key()
            self.peer.refuse_play(denial.code, denial.description)

    def end(self, reason: str) -> None:
        """Be done. Idempotent, never blocks."""
        if self._over:
            return
        self._over = True
        self._unwatch()
        self._guest_of.dismiss(self)
        self._watching.forget(self)
        fields = fields_of("stop", self.peer, self.name, self.peer.client.to_play.at, reason)
        self.peer.log.info("PLAY STOP: %s, reason=%s", self.name, reason, extra={"fields": fields})

    def hand_over(self) -> None:
        """Be done without a word: the viewer goes on in another process. Never blocks."""
        if not self._over:
            self._over = True
            self._unwatch()
            self._guest_of.dismiss(self)
            self._watching.forget(self, goes_on=True)

    # --- as those see it who look at viewers and end them ---------------------------------------------

    role: ClassVar = "player"

    @property
    def client(self) -> Client:
        """Whose it is."""
        return self.peer.client

    @property
    def log(self) -> Logger:
        """Where its lines go."""
        return self.peer.log

    @property
    def granted(self) -> tuple[Viewing, ...]:
        """What it was granted."""
        return () if self._over else (self,)

    @property
    def sent_here(self) -> int:
        """How many bytes it was sent by this process."""
        return self.peer.traffic()[1] - self._before

    def is_unwanted(self) -> bool:
        """Tell whether somebody has ended it. Never blocks."""
        return self._over or self.peer.is_unwanted()

    def dismiss(self, reason: str) -> None:
        """End it. Never blocks."""
        kick = getattr(self.peer, "kick", self.peer.dismiss)  # who is no connection has to be kept away
        kick(reason)

    def freeze(self) -> object:
        """Stay: what is made for it is made in this process."""
        raise CannotMove("its stream is made here")


class Watching:
    """Lets viewers watch. What blocks, blocks as long as the entrance and a backend do."""

    def __init__(
        self, relay: Relay, registry: Registry[str], entrance: Entrance, visits: Visits, playing: Playing
    ) -> None:
        self._relay = relay
        self._registry = registry
        self._entrance = entrance
        self._visits = visits
        self._playing = playing
        self._viewings: dict[str, dict[Viewing, None]] = {}  # by channel, the oldest first
        self._apart: dict[str, Viewing] = {}  # those that are no connection, by the ids of clients

    def watch(self, peer: Peer, channel: str, query: str, sink: Sink, *, waits: bool) -> RelayPlayback:
        """Let a client play as FLV; only what is on the air, unless it `waits`. Raises AccessDenied."""
        stream, terms = self._admit(peer, channel, query, waits=waits)
        state = PlayerState(key=terms.key, cache=stream.cache, form=FLV)
        return self._relay.grant_playback(peer, Player(sink, state), stream, terms)

    def view(self, peer: Peer, channel: str, query: str) -> Viewing:
        """Let a client watch a channel that others make a stream of. Raises AccessDenied."""
        stream, terms = self._admit(peer, channel, query, waits=True, is_player=False)
        return self._grant(peer, stream, terms, terms.key)

    def resume_view(self, peer: Peer, key: str | None) -> Viewing:
        """Let a client watch on that did so in another process, with the key of then. Never blocks."""
        client = peer.client
        stream = self._visits.resumed(client, self._entrance.resumed(client, client.to_play))
        return self._grant(peer, stream, None, key)

    def resume_playback(self, peer: Peer, frozen: object, sink: Sink) -> RelayPlayback:
        """Take a player over from a frozen session. Never blocks."""
        return self._relay.resume_playback(peer, frozen, sink)

    def refusal_delay(self, address: str) -> float:
        """Count a refusal; return for how long it is kept from the client, in seconds. Never blocks."""
        return self._relay.refusal_delay(address)

    # --- what others ask, none of which blocks ------------------------------------------------------

    def channel(self, name: str) -> Channel:
        """Return a channel, a new one if need be."""
        return self._registry.open(name)

    def count(self, name: str) -> int:
        """Return how many watch a channel and are no players of it."""
        return len(self._viewings.get(name, ()))

    def viewings(self, name: str) -> list[Viewing]:
        """Return who watches a channel and is no player of it."""
        return list(self._viewings.get(name, ()))

    def apart(self) -> list[Viewing]:
        """Return all who watch and are no connection."""
        return list(self._apart.values())

    def find_apart(self, client_id: str) -> Viewing | None:
        """Return one of these."""
        return self._apart.get(client_id)

    def sent_before(self, name: str) -> int:
        """Return how many bytes those were sent who have watched a channel, and do no more."""
        channel = self._registry.find(name)
        return channel.readings.sent_bytes if channel is not None else 0

    def forget(self, viewing: Viewing, *, goes_on: bool = False) -> None:
        """Forget who watches no more, or `goes_on` elsewhere."""
        watching = self._viewings[viewing.name]
        del watching[viewing]
        if not watching:
            del self._viewings[viewing.name]
        self._apart.pop(viewing.peer.client.id, None)
        self._registry.release(viewing.name)
        channel = self._registry.find(viewing.name)
        if channel is not None:  # which keeps the sum: it is forgotten with the channel, whoever leaves last
            channel.readings.count(viewing.peer.traffic()[1])
        if not goes_on:
            self._visits.left(viewing.peer.client)

    # --- private ------------------------------------------------------------------------------------

    def _grant(self, peer: Peer, stream: StreamName, terms: Terms | None, key: str | None) -> Viewing:
        unwatch = both(
            self._entrance.watch_player(peer, stream, terms, key),
            self._visits.watch_player(peer.client, peer.dismiss).cancel,
        )
        viewing = Viewing(self, peer, stream.channel, key, unwatch)
        self._viewings.setdefault(stream.channel, {})[viewing] = None
        if peer.client.form == HLS:
            self._apart[peer.client.id] = viewing
        self._relay.look_elsewhere(stream.channel)
        return viewing

    def _admit(
        self, peer: Peer, channel: str, query: str, *, waits: bool, is_player: bool = True
    ) -> tuple[StreamName, Terms]:
        client = peer.client
        stream = self._entrance.watched(client, channel, query)
        if not waits and not self._relay.is_on(stream.channel):
            raise NotThere(PLAY_CODE, "Nobody publishes this channel now")
        told = f"{client.form}, {client.ip}"  # no line before has said who it is
        return self._playing.admit(peer, client.to_play.name, stream, told, is_player=is_player)

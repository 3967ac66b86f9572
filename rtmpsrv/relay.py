"""The stand-alone server's answer to its sessions: one publisher per channel, and any number of players.

Names, keys, who may play, and what ends a publication: docs/protocol.md, "Refusals". The gate decides who may
publish; the registry holds what is on the air.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from time import monotonic
from typing import Protocol

import gevent

from .access.gate import KILLED, Grant, PublishRequest, refusal, taken
from .access.hooks import Hooks, NoHooks
from .access.ip_rules import IpRules
from .access.names import StreamName
from .access.refusals import RefusalDelay
from .access.terms import Terms
from .access.visits import Visits
from .entrance import Entrance
from .errors import AccessDenied
from .live.channel import Channel
from .live.news import NewsOf
from .live.player import Player, PlayerState
from .live.registry import Registry
from .relayed import TELL, wrong_key
from .relayed import RelayPlayback as RelayPlayback
from .relayed import RelayPublication as RelayPublication
from .server.host import Peer
from .server.outlet import Outlet

SOUNDING_S = 0.3  # for a peer's system to answer: an encoder that comes back must find its channel free


class Gate(Protocol):
    """Who says whether somebody may publish: `access.gate`, or the keeper of several processes."""

    def admit(self, request: PublishRequest, on_kill: Callable[[str], None]) -> Grant:
        """Return a grant that must be released, or raise AccessDenied. May block."""

    def activate(self, grant: Grant) -> bool:
        """Say whether a channel that just went live may stay so. Never blocks."""

    def rebind(self, grant: Grant, on_kill: Callable[[str], None]) -> bool:
        """Let another session answer for a publication; False if it was ended meanwhile. Never blocks."""

    def release(self, grant: Grant) -> None:
        """End a publication. Idempotent, never blocks."""


class Elsewhere(Protocol):
    """The other processes, where there are any: channels that are on the air there. Never blocks."""

    def wanted(self, name: str) -> None:
        """Take note that a player waits here for a channel that may be on the air elsewhere."""

    def published_here(self, name: str) -> None:
        """Take note that a channel has a publisher here from now on: it is nobody's copy any more."""


class Relay:
    """One publisher and any number of players per channel."""

    def __init__(
        self,
        registry: Registry[str],
        gate: Gate,
        entrance: Entrance,
        may_play: Callable[[str], bool],
        refusals: RefusalDelay,
        hooks: Hooks | None = None,
    ) -> None:
        self._registry = registry
        self._gate = gate
        self._entrance = entrance
        self._may_play = may_play
        self._refusals = refusals
        self.elsewhere: Elsewhere | None = None
        self._visits = Visits(hooks or NoHooks())
        self._playbacks: dict[Player, RelayPlayback] = {}
        self._publications: dict[str, RelayPublication] = {}  # on the air, by channel

    def share(self, elsewhere: Elsewhere) -> None:
        """Serve together with other processes."""
        self.elsewhere = elsewhere

    def connect(self, peer: Peer) -> None:
        """Accept an application name that can be a channel. Blocks where a backend is asked."""
        self._entrance.check_app(peer.client)
        self._entrance.log_in(peer.client)
        if self._visits.connect(peer.client):
            self._entrance.check_app(peer.client)

    def publish(self, peer: Peer, name: str | None, msid: int) -> RelayPublication:
        """Ask the gate, then go on the air. Blocks as long as the gate does."""
        client = peer.client
        stream = self._entrance.published(client, name)
        terms = self._entrance.publish(client, stream)
        if not self.is_free(stream.channel):
            raise taken()
        peer.log.info("PUBLISH (%d): %s", msid, stream.channel)
        facts = self._visits.facts(client, name, stream)
        grant = self._gate.admit(PublishRequest(stream.channel, stream.shown, client.ip, facts), peer.drop)
        if grant.asked:
            self._check_new_name(grant)
        if self.elsewhere is not None:
            self.elsewhere.published_here(grant.channel)
        channel = self._registry.open(grant.channel)
        if channel.live:  # somebody else was faster while the gate was asked
            self._gate.release(grant)
            raise taken()
        if not self._gate.activate(grant):
            self._gate.release(grant)
            self._registry.release(grant.channel)
            raise refusal(KILLED)
        news = channel.start(stream.key)
        publication = self._publication(peer, channel, grant, stream, terms)
        peer.log.info("publish accepted channel=%s", grant.channel)
        self.tell(news)
        return publication

    def play(self, peer: Peer, name: str | None, msid: int, outlet: Outlet) -> RelayPlayback:
        """Let a client play, or wait for a publisher with its key. Blocks as long as the entrance does."""
        client = peer.client
        stream = self._entrance.played(client, name)
        if not self._may_play(client.ip):
            description = "Your net address is not whitelisted for playing"
            raise AccessDenied("NetStream.Play.BadName", description, "RTMP_PLAY_WHITELIST")
        terms = self._entrance.play(client, stream)
        peer.log.info("PLAY (%d): %s", msid, stream.channel)
        check = partial(self._check_player, terms)
        check(stream)
        stream = self._visits.play(client, name, stream, check)
        channel = self._registry.find(stream.channel)
        is_live = channel is not None and channel.live
        peer.log.debug("= player %s", "starts" if is_live else "waits for a publisher")
        return self._playback(peer, Player(outlet, PlayerState(msid, terms.key, stream.cache)), stream, terms)

    def resume_publication(self, peer: Peer, frozen: object) -> RelayPublication:
        """Take a publication over from a frozen session. Raises AccessDenied if it was ended meanwhile."""
        assert isinstance(frozen, Grant), "what `RelayPublication.freeze` returned"
        channel = self._registry.find(frozen.channel)
        if channel is None or not channel.live:
            self._gate.release(frozen)
            raise refusal(KILLED)
        stream = self._entrance.resumed(peer.client, peer.client.to_publish)
        publication = self._publication(peer, channel, frozen, stream)
        if not self._gate.rebind(frozen, peer.drop):
            # Nobody else does it: the session that was told to end had given the publication away.
            publication.end("ended on the way to another session")
            raise refusal(KILLED)
        return publication

    def resume_playback(self, peer: Peer, frozen: object, outlet: Outlet) -> RelayPlayback:
        """Take a player over from a frozen session; it goes on where it was."""
        assert isinstance(frozen, PlayerState), "what `RelayPlayback.freeze` returned"
        stream = self._visits.resumed(peer.client, self._entrance.resumed(peer.client, peer.client.to_play))
        return self._playback(peer, Player(outlet, frozen), stream)

    def refusal_delay(self, address: str) -> float:
        """Count a refusal; return for how long it is kept from the client, in seconds. Never blocks."""
        return self._refusals.refused(address, monotonic())

    def is_free(self, name: str) -> bool:
        """Tell whether nobody publishes a channel here, or nobody any more. Blocks up to `SOUNDING_S`."""
        if not self._is_live(name):
            return True
        present = self._publications.get(name)
        if present is None:  # another process publishes it, which the keeper knows, where there is one
            return self.elsewhere is not None
        if not present.has_left() and present.peer.sound():
            gevent.sleep(SOUNDING_S)
        if present.has_left():
            present.end("the peer has left")
            present.peer.drop("closed by the peer")
        return not self._is_live(name)

    def waiting(self, name: str) -> list[Peer]:
        """Return those who wait for a channel. Never blocks."""
        channel = self._registry.find(name)
        if channel is None:
            return []
        return [
            playback.peer
            for player in channel.players
            if player.state.waiting and (playback := self._playbacks.get(player)) is not None
        ]

    # --- called by publications and playbacks -----------------------------------------------------

    def tell(self, news: list[NewsOf]) -> None:
        """Pass on what happened to players. Never blocks but for the log."""
        for what, player in news:
            playback = self._playbacks.get(player)
            if playback is not None:
                TELL[what](playback)

    def published(self, publication: RelayPublication) -> None:
        """Free the channel of an ended publication, then report it. Never blocks."""
        del self._publications[publication.grant.channel]
        publication.channel.stop()
        self.tell(publication.channel.take_news())
        self._registry.release(publication.grant.channel)
        self._gate.release(publication.grant)

    def forget(self, playback: RelayPlayback) -> None:
        """Forget a player that has left its channel. Never blocks."""
        self._playbacks.pop(playback.feed, None)
        self._registry.release(playback.channel.name)

    def left(self, peer: Peer) -> None:
        """Take note that a player has left for good. Never blocks."""
        self._visits.left(peer.client)

    # --- private ----------------------------------------------------------------------------------

    def _is_live(self, name: str) -> bool:
        channel = self._registry.find(name)
        return channel is not None and channel.live

    def _check_new_name(self, grant: Grant) -> None:
        """Let an authority choose only a channel that may be one and is free. Blocks as `is_free`."""
        try:
            self._entrance.check_channel(grant.channel, "NetStream.Publish.BadName")
            if not self.is_free(grant.channel):
                raise taken()
        except AccessDenied:
            self._gate.release(grant)
            raise

    def _check_player(self, terms: Terms, stream: StreamName) -> None:
        """Raise AccessDenied for a key that is not the publisher's, and where there are enough players."""
        self._entrance.check_channel(stream.channel, "NetStream.Play.BadName")
        channel = self._registry.find(stream.channel)
        if channel is None:
            return
        if channel.live and terms.key is not None and not channel.accepts_key(terms.key):
            raise wrong_key()
        if terms.max_players and len(channel.players) >= terms.max_players:
            description = f"The channel is full ({terms.max_players})"
            raise AccessDenied("NetStream.Play.BadName", description, "CHANNELS_FILE")

    def _publication(
        self, peer: Peer, channel: Channel, grant: Grant, stream: StreamName, terms: Terms | None = None
    ) -> RelayPublication:
        unwatch = _both(
            self._entrance.watch_publisher(peer, stream, terms, channel.end_position),
            self._visits.watch_publisher(grant, peer.dismiss).cancel,
        )
        publication = RelayPublication(self, peer, channel, grant, stream.path, unwatch)
        self._publications[channel.name] = publication
        return publication

    def _playback(
        self, peer: Peer, player: Player, stream: StreamName, terms: Terms | None = None
    ) -> RelayPlayback:
        unwatch = _both(
            self._entrance.watch_player(peer, stream, terms, player.state.key),
            self._visits.watch_player(peer.client, peer.dismiss).cancel,
        )
        channel = self._registry.open(stream.channel)
        self._playbacks[player] = playback = RelayPlayback(self, peer, channel, player, unwatch)
        return playback


def play_policy(rules: IpRules) -> Callable[[str], bool]:
    """Return who may play: everybody when there are no rules."""
    if rules.empty:
        return lambda address: True
    return lambda address: address in rules


def _both(first: Callable[[], None], second: Callable[[], None]) -> Callable[[], None]:
    def call() -> None:
        first()
        second()

    return call

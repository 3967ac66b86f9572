"""The stand-alone server's answer to its sessions: one publisher per channel, and any number of players.

Names, keys, who may play, and what ends a publication: docs/protocol.md, "Refusals". The gate decides who may
publish; the registry holds what is on the air.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from time import monotonic
from typing import Protocol

import gevent

from .access.gate import INVALID_KEY, KILLED, Grant, PublishRequest, refusal, taken
from .access.ip_rules import IpRules
from .access.names import StreamName
from .access.refusals import RefusalDelay
from .access.terms import Terms
from .entrance import Entrance
from .errors import AccessDenied
from .live.channel import Channel
from .live.news import News, NewsOf
from .live.playback import ChannelPlayback
from .live.player import Player, PlayerState
from .live.registry import Registry
from .log import RateLimited
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
    ) -> None:
        self._registry = registry
        self._gate = gate
        self._entrance = entrance
        self._may_play = may_play
        self._refusals = refusals
        self.elsewhere: Elsewhere | None = None
        self._playbacks: dict[Player, RelayPlayback] = {}
        self._publications: dict[str, RelayPublication] = {}  # on the air, by channel

    def share(self, elsewhere: Elsewhere) -> None:
        """Serve together with other processes."""
        self.elsewhere = elsewhere

    def connect(self, peer: Peer) -> None:
        """Accept an application name that can be a channel."""
        self._entrance.check_app(peer.client)

    def publish(self, peer: Peer, name: str | None, msid: int) -> RelayPublication:
        """Ask the gate, then go on the air. Blocks as long as the gate does."""
        client = peer.client
        stream = self._entrance.published(client, name)
        terms = self._entrance.publish(client, stream)
        if not self.is_free(stream.channel):
            raise taken()
        peer.log.info("PUBLISH (%d): %s", msid, stream.channel)
        grant = self._gate.admit(PublishRequest(stream.channel, stream.shown, client.ip), peer.drop)
        if self.elsewhere is not None:
            self.elsewhere.published_here(stream.channel)
        channel = self._registry.open(stream.channel)
        if channel.live:  # somebody else was faster while the gate was asked
            self._gate.release(grant)
            raise taken()
        if not self._gate.activate(grant):
            self._gate.release(grant)
            self._registry.release(stream.channel)
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
        channel = self._registry.find(stream.channel)
        is_live = channel is not None and channel.live
        if channel is not None and is_live and terms.key is not None and not channel.accepts_key(terms.key):
            raise _wrong_key()
        if channel is not None and terms.max_players and len(channel.players) >= terms.max_players:
            description = f"The channel is full ({terms.max_players})"
            raise AccessDenied("NetStream.Play.BadName", description, "CHANNELS_FILE")
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
        stream = self._entrance.resumed(peer.client, peer.client.to_play)
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
                _TELL[what](playback)

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

    # --- private ----------------------------------------------------------------------------------

    def _is_live(self, name: str) -> bool:
        channel = self._registry.find(name)
        return channel is not None and channel.live

    def _publication(
        self, peer: Peer, channel: Channel, grant: Grant, stream: StreamName, terms: Terms | None = None
    ) -> RelayPublication:
        unwatch = self._entrance.watch_publisher(peer, stream, terms, channel.end_position)
        publication = RelayPublication(self, peer, channel, grant, stream.path, unwatch)
        self._publications[channel.name] = publication
        return publication

    def _playback(
        self, peer: Peer, player: Player, stream: StreamName, terms: Terms | None = None
    ) -> RelayPlayback:
        unwatch = self._entrance.watch_player(peer, stream, terms, player.state.key)
        channel = self._registry.open(stream.channel)
        self._playbacks[player] = playback = RelayPlayback(self, peer, channel, player, unwatch)
        return playback


class RelayPublication:
    """A client on the air."""

    may_block = False

    def __init__(
        self, relay: Relay, peer: Peer, channel: Channel, grant: Grant, path: str, unwatch: Callable[[], None]
    ) -> None:
        self.channel = channel
        self.grant = grant
        self.started = f"{path} is now published."
        self.ended = f"{path} is now unpublished."
        self._relay = relay
        self.peer = peer
        self._unwatch = unwatch
        self._over = False

    def append(self, batch: Iterable[tuple[int, int, int, bytes, int]]) -> None:
        """Relay what the publisher sent, but for what it had sent before its end. Never blocks."""
        if not self._over:  # else the channel is somebody else's by now
            news = self.channel.append(batch)
            if news:
                self._relay.tell(news)

    def end(self, reason: str) -> None:
        """Go off the air, tell the players, report the end once."""
        if self._over:
            return
        self._over = True
        self._unwatch()
        sent = self.channel.end_position()
        self._relay.published(self)
        self.peer.log.info("PUBLISH END: %s, reason=%s relayed=%d bytes", self.grant.channel, reason, sent)

    def has_left(self) -> bool:
        """Tell whether the publisher has hung up, which its session may not have read yet."""
        return not self._over and self.peer.has_left()

    def freeze(self) -> Grant:
        """Leave the stream on the air for another session, which resumes it by the grant."""
        self._over = True
        self._unwatch()
        return self.grant


class RelayPlayback(ChannelPlayback):
    """A client that plays or waits."""

    def __init__(
        self, relay: Relay, peer: Peer, channel: Channel, player: Player, unwatch: Callable[[], None]
    ) -> None:
        super().__init__(channel, player)
        self._relay = relay
        self.peer = peer
        self._unwatch = unwatch
        self._over = False
        self._jumps = RateLimited(
            lambda n: peer.log.info("player was too far behind: %d jumps to a keyframe", n)
        )

    def start(self, audio: bool, video: bool) -> None:
        """Join the channel; media starts now or with the next publisher, here or elsewhere."""
        super().start(audio, video)
        self._look_elsewhere()

    def resume(self) -> None:
        """Go on where the player was when it was frozen."""
        super().resume()
        self._relay.tell(self.channel.take_news())  # it may have waited elsewhere, with another key
        self._look_elsewhere()

    def end(self, reason: str) -> None:
        """Leave the channel."""
        if self._over:
            return
        self._over = True
        self._unwatch()
        self.channel.leave(self.feed)
        self._relay.tell(self.channel.take_news())
        self._relay.forget(self)
        self._jumps.flush()
        self.peer.log.info(
            "PLAY STOP: %s, reason=%s skipped=%d messages",
            self.channel.name, reason, self.feed.state.skipped_messages,
        )  # fmt: skip

    def freeze(self) -> PlayerState:
        """Leave the channel without a word; another session resumes by the state."""
        self._over = True
        self._unwatch()
        self.channel.release(self.feed)
        state = self.feed.freeze()
        self._relay.forget(self)
        return state

    def tell_jump(self) -> None:
        """Log that the player left something out, at most once a second."""
        self._jumps.add()

    def tell_refusal(self) -> None:
        """Tell a player that waited that its key is not the publisher's."""
        denial = _wrong_key()
        self.peer.refuse_play(denial.code, denial.description)

    def _look_elsewhere(self) -> None:
        elsewhere = self._relay.elsewhere
        if elsewhere is not None and self.feed.state.waiting:
            elsewhere.wanted(self.channel.name)


_TELL: dict[News, Callable[[RelayPlayback], None]] = {
    News.JUMPED: RelayPlayback.tell_jump,
    News.REFUSED: RelayPlayback.tell_refusal,
}


def play_policy(rules: IpRules) -> Callable[[str], bool]:
    """Return who may play: everybody when there are no rules."""
    if rules.empty:
        return lambda address: True
    return lambda address: address in rules


def _wrong_key() -> AccessDenied:
    return AccessDenied("NetStream.Play.BadName", f"{INVALID_KEY}: the publisher has another one")

"""The stand-alone server's answer to its sessions: one publisher per channel, and any number of players.

Names, keys, who may play, and what ends a publication: docs/protocol.md, "Refusals". The gate decides who may
publish; the registry holds what is on the air.
"""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic

from .access.gate import KILLED, Grant, PublishRequest, refusal, taken
from .access.hooks import Hooks, NoHooks
from .access.names import StreamName
from .access.refusals import RefusalDelay
from .access.second_publisher import Claim, SecondPolicy, claim_of, same_right
from .access.terms import Terms
from .access.visits import Visits
from .entrance import Entrance
from .errors import AccessDenied, naming
from .live.channel import Channel
from .live.news import NewsOf
from .live.player import Player, PlayerState
from .live.registry import Registry
from .live.sink import Sink
from .on_air import OnAir
from .playing import Playing
from .relay_partners import Elsewhere, Gate
from .relayed import TELL, both
from .relayed import RelayPlayback as RelayPlayback
from .relayed import RelayPublication as RelayPublication
from .room import Room
from .server.host import Peer
from .server.outlet import Outlet
from .takeover import make_room
from .watching import Watching


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
        self._refusals = refusals
        self.elsewhere: Elsewhere | None = None
        self._visits = Visits(hooks or NoHooks())
        self._playbacks: dict[Player, RelayPlayback] = {}
        self._publications: dict[str, RelayPublication] = {}  # on the air, by channel
        self._closed = False
        self.on_air = OnAir(self._publications, self._playbacks, entrance.max_bitrate)
        self.room = Room(
            entrance,
            self._visits,
            self._publications.get,
            lambda: self.elsewhere,
            lambda name: self.watching.count(name),
        )
        self._playing = Playing(registry, entrance, may_play, self._visits, self.room)
        self.watching: Watching = Watching(self, registry, entrance, self._visits, self._playing)
        self.on_published: Callable[[Channel], None] = lambda channel: None  # or goes on from elsewhere

    def share(self, elsewhere: Elsewhere) -> None:
        """Serve together with other processes."""
        self.elsewhere = elsewhere

    def connect(self, peer: Peer) -> None:
        """Accept an application name that can be a channel. Blocks where a backend is asked."""
        self._entrance.check_app(peer.client)
        with naming(f"app={peer.client.app}"):
            self._entrance.log_in(peer.client)
            if self._visits.connect(peer.client):
                self._entrance.check_app(peer.client)

    def publish(self, peer: Peer, name: str | None, msid: int) -> RelayPublication:
        """Ask the gate, then go on the air. Blocks as long as the gate does, and some seconds."""
        client = peer.client
        stream = self._entrance.published(client, name)
        client.channel, client.user = stream.channel, stream.who
        with naming(f"channel={stream.channel}"):
            terms = self._entrance.publish(client, stream)
            claim = claim_of(stream, terms.subject)
            self._look_elsewhere(peer, stream.channel, claim)
            replaces = self._make_room(peer.has_left, stream.channel, claim)
            peer.log.info("PUBLISH (%d): %s", msid, stream.channel)
            facts = self._visits.facts(client, name, stream)
            request = PublishRequest(stream.channel, stream.shown, client.ip, facts)
            on_air = ""
            try:
                publication = self._admitted(peer, request, stream, terms, claim)
                on_air = publication.grant.channel
                return publication
            finally:
                if replaces and on_air != stream.channel:
                    self._tell_in_vain(stream.channel)

    def _admitted(
        self, peer: Peer, request: PublishRequest, stream: StreamName, terms: Terms, claim: Claim
    ) -> RelayPublication:
        grant = self._gate.admit(request, peer.drop)
        if grant.asked:
            self._check_new_name(peer, grant, claim)
        if self.elsewhere is not None:
            self.elsewhere.published_here(grant.channel)
        channel = self._registry.open(grant.channel)
        if channel.live:  # somebody else was faster while the gate was asked
            self._gate.release(grant)
            raise taken()
        if not self._gate.activate(grant):
            self._gate.release(grant)
            self._tell_in_vain(grant.channel)
            self._registry.release(grant.channel)
            raise refusal(KILLED)
        news: list[NewsOf] = []
        if goes_on := channel.suspended and same_right(claim, channel.claim):
            channel.go_on(stream.key, claim)
        else:
            channel.stop()  # nobody has come whom players were kept for
            news = channel.start(stream.key, claim)
        publication = self._publication(peer, channel, grant, stream, terms)
        peer.log.info("publish accepted channel=%s%s", grant.channel, " players stay" if goes_on else "")
        self.tell(news)
        return publication

    def play(self, peer: Peer, name: str | None, msid: int, outlet: Outlet) -> RelayPlayback:
        """Let a client play, or wait for a publisher with its key. Blocks as long as the entrance does."""
        stream = self._entrance.played(peer.client, name)
        stream, terms = self._playing.admit(peer, name, stream, str(msid))
        return self.grant_playback(
            peer, Player(outlet, PlayerState(msid, terms.key, stream.cache)), stream, terms
        )

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

    def resume_playback(self, peer: Peer, frozen: object, outlet: Sink) -> RelayPlayback:
        """Take a player over from a frozen session; it goes on where it was."""
        assert isinstance(frozen, PlayerState), "what `RelayPlayback.freeze` returned"
        stream = self._visits.resumed(peer.client, self._entrance.resumed(peer.client, peer.client.to_play))
        return self.grant_playback(peer, Player(outlet, frozen), stream)

    def is_on(self, name: str) -> bool:
        """Tell whether somebody publishes a channel or is waited for, here or elsewhere, who may be asked."""
        channel = self._registry.find(name)
        if channel is not None and (channel.live or channel.suspended):
            return True
        others, policy = self.elsewhere, self._entrance.second(name)
        return others is not None and (others.has(name) or (policy != SecondPolicy() and others.keeps(name)))

    def refusal_delay(self, address: str) -> float:
        """Count a refusal; return for how long it is kept from the client, in seconds. Never blocks."""
        return self._refusals.refused(address, monotonic())

    def is_free(self, name: str, claim: Claim = ()) -> bool:
        """Tell whether nobody publishes a channel here, or nobody any more. Blocks for some seconds at most.

        With a claim room is made for who has it, in another process: players are kept by no means longer
        than the settings say.
        """
        try:
            if self._make_room(lambda: False, name, claim):
                self._tell_in_vain(name)
        except AccessDenied:
            return False
        return True

    def may_go_on(self, name: str, claim: Claim) -> bool:
        """Tell whether a channel here has a publisher with this right, or waits for one. Never blocks."""
        channel = self._registry.find(name)
        if channel is None or not (channel.suspended or name in self._publications):
            return False
        return same_right(claim, channel.claim)

    def waiting(self, name: str) -> list[Peer]:
        """Return those who wait for a channel that another process publishes. Never blocks."""
        channel = self._registry.find(name)
        if channel is None:
            return []
        if channel.suspended:
            channel.stop()  # nobody goes on here
        watching = [] if channel.live else self.watching.viewings(name)
        return [viewing.peer for viewing in watching] + [
            playback.peer
            for player in channel.players
            if player.state.waiting and (playback := self._playbacks.get(player)) is not None
        ]

    def turn_away(self, address: str, channel: str, seconds: float) -> None:
        """Let no players of an address join a channel for so long. Never blocks."""
        self.room.turn_away(address, channel, seconds)

    def give_up(self, name: str) -> bool:
        """Wait for no publisher that goes on; tell whether one was waited for. Never blocks."""
        channel = self._registry.find(name)
        if channel is None or not channel.suspended:
            return False
        channel.stop()
        self.tell(channel.take_news())
        self._registry.release(name)
        return True

    def close(self) -> None:
        """Let no players wait for a publisher that goes on: the process ends. Never blocks."""
        self._closed = True
        for channel in self._registry:
            if channel.suspended:
                channel.stop()

    # --- called by publications and playbacks -----------------------------------------------------

    def look_elsewhere(self, name: str) -> None:
        """Take note that somebody waits here for a channel that may be on the air elsewhere. Never blocks."""
        if self.elsewhere is not None:
            self.elsewhere.wanted(name)

    def tell(self, news: list[NewsOf]) -> None:
        """Pass on what happened to players. Never blocks but for the log."""
        for what, player in news:
            playback = self._playbacks.get(player)
            if playback is not None:
                TELL[what](playback)

    def published(self, publication: RelayPublication, keep_s: float) -> None:
        """Free the channel of an ended publication, then report it. Never blocks.

        Players are kept for `keep_s`, or as long as the settings say, unless somebody wanted the end.
        """
        channel, name = publication.channel, publication.grant.channel
        del self._publications[name]
        keep_s = max(keep_s, self._entrance.second(name).reconnect_s)
        if keep_s and self._may_go_on(publication):
            channel.suspend(keep_s)
        else:
            channel.stop()
        self.tell(channel.take_news())
        self._registry.release(name)
        self._gate.release(publication.grant)

    def grant_playback(
        self, peer: Peer, player: Player, stream: StreamName, terms: Terms | None = None
    ) -> RelayPlayback:
        """Keep a player that is about to join its channel, and have it watched. Never blocks."""
        unwatch = both(
            self._entrance.watch_player(peer, stream, terms, player.state.key),
            self._visits.watch_player(peer.client, peer.dismiss).cancel,
        )
        channel = self._registry.open(stream.channel)
        self._playbacks[player] = playback = RelayPlayback(self, peer, channel, player, unwatch)
        return playback

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

    def _look_elsewhere(self, peer: Peer, name: str, claim: Claim) -> None:
        """Let a publisher go on in another process, where that may be. Does not return if it went there."""
        if self.elsewhere is None or self._entrance.second(name) == SecondPolicy():
            return
        if not self.may_go_on(name, claim):
            self.elsewhere.go_on(peer, name, claim)

    def _check_new_name(self, peer: Peer, grant: Grant, claim: Claim) -> None:
        """Let an authority choose only a channel that may be one and is free. Blocks as `_make_room`."""
        try:
            self._entrance.check_channel(grant.channel, "NetStream.Publish.BadName")
            self._make_room(peer.has_left, grant.channel, claim)
        except AccessDenied:
            self._gate.release(grant)
            raise

    def _make_room(self, has_left: Callable[[], bool], name: str, claim: Claim) -> bool:
        """Let nobody else publish a channel here, or raise AccessDenied. Blocks for some seconds at most.

        Tell whether players are kept for the one who asks.
        """
        channel = self._registry.find(name)
        if channel is None or not channel.live:
            return False
        present = self._publications.get(name)
        if present is None:  # another process publishes it, which the keeper knows, where there is one
            if self.elsewhere is None:
                raise taken()
            return False
        keeps = make_room(
            has_left,
            present,
            lambda: self._publications.get(name) is present and channel.live,
            self._entrance.second(name),
            same_right(claim, channel.claim),
        )
        if self._is_live(name) or self._publications.get(name) is present:  # that goes on elsewhere
            raise taken()
        return keeps

    def _may_go_on(self, publication: RelayPublication) -> bool:
        """Tell whether somebody plays what another publisher may go on with: nobody wanted it to end."""
        channel = publication.channel
        if self._closed or publication.peer.is_unwanted() or not self._gate.activate(publication.grant):
            return False
        return channel.is_wanted

    def _tell_in_vain(self, name: str) -> None:
        """Tell players the end that were kept for a publisher that was refused, unless they wait anyway."""
        if not self._entrance.second(name).reconnect_s:
            self.give_up(name)

    def _publication(
        self, peer: Peer, channel: Channel, grant: Grant, stream: StreamName, terms: Terms | None = None
    ) -> RelayPublication:
        unwatch = both(
            self._entrance.watch_publisher(peer, stream, terms, channel.end_position, grant.max_bitrate),
            self._visits.watch_publisher(grant, peer.dismiss).cancel,
        )
        publication = RelayPublication(self, peer, channel, grant, stream.path, unwatch, terms)
        self._publications[channel.name] = publication
        self.on_published(channel)
        return publication

"""What the relay grants: a client on the air, and one that plays or waits. Each knows how to end."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from time import time
from typing import TYPE_CHECKING

from .access.gate import INVALID_KEY, Grant
from .access.terms import NO_LIMIT, Terms
from .errors import AccessDenied
from .live.channel import Channel
from .live.news import News
from .live.playback import ChannelPlayback
from .live.player import Player, PlayerState
from .log import RateLimited
from .server.host import Peer

if TYPE_CHECKING:
    from .relay import Relay


class RelayPublication:
    """A client on the air."""

    may_block = False

    def __init__(
        self,
        relay: Relay,
        peer: Peer,
        channel: Channel,
        grant: Grant,
        path: str,
        unwatch: Callable[[], None],
        terms: Terms | None = None,
    ) -> None:
        self.channel = channel
        self.grant = grant
        self.max_bitrates = grant.max_bitrate, terms.max_bitrate if terms is not None else NO_LIMIT
        self.started = f"{path} is now published."
        self.ended = f"{path} is now unpublished."
        self._relay = relay
        self.peer = peer
        self._unwatch = unwatch
        self._over = False

    @property
    def is_over(self) -> bool:
        """Whether it has ended, or goes on in another session or process."""
        return self._over

    def append(self, batch: Iterable[tuple[int, int, int, bytes, int]]) -> None:
        """Relay what the publisher sent, but for what it had sent before its end. Never blocks."""
        if not self._over:  # else the channel is somebody else's by now
            news = self.channel.append(batch)
            if news:
                self._relay.tell(news)

    def end(self, reason: str, keep_s: float = 0.0) -> None:
        """Go off the air, tell the players, but for those who are kept; report the end once."""
        if self._over:
            return
        self._over = True
        self._unwatch()
        sent = self.channel.end_position()
        self._relay.published(self, keep_s)
        name = self.grant.channel
        fields = fields_of("unpublish", self.peer, name, self.peer.client.to_publish.at, reason)
        self.peer.log.info(
            "PUBLISH END: %s, reason=%s relayed=%d bytes", name, reason, sent, extra={"fields": fields}
        )

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
        waited = self.feed.state.waiting
        super().resume()
        self._relay.tell(self.channel.take_news())  # it may have waited elsewhere, with another key
        if waited and self.channel.live and not self._over:
            self._relay.room.check_newcomer(self)
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
        self._relay.left(self.peer)
        self._jumps.flush()
        name, skipped = self.channel.name, self.feed.state.skipped_messages
        fields = fields_of("stop", self.peer, name, self.peer.client.to_play.at, reason)
        self.peer.log.info(
            "PLAY STOP: %s, reason=%s skipped=%d messages", name, reason, skipped, extra={"fields": fields}
        )

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
        denial = wrong_key()
        self.peer.refuse_play(denial.code, denial.description)

    def _look_elsewhere(self) -> None:
        if not self._over and self.feed.state.waiting:
            self._relay.look_elsewhere(self.channel.name)


TELL: dict[News, Callable[[RelayPlayback], None]] = {
    News.JUMPED: RelayPlayback.tell_jump,
    News.REFUSED: RelayPlayback.tell_refusal,
}


def fields_of(event: str, peer: Peer, channel: str, began_at: float, reason: str) -> dict[str, object]:
    """Return what a log of values is told of an end, by the API's word for it.

    The bytes are those of the connection so far.
    """
    received_bytes, sent_bytes = peer.traffic()
    return {
        "event": event,
        "address": peer.client.ip,
        "channel": channel,
        "seconds": round(max(0.0, time() - began_at), 3),
        "received_bytes": received_bytes,
        "sent_bytes": sent_bytes,
        "reason": reason,
    }


def wrong_key() -> AccessDenied:
    return AccessDenied("NetStream.Play.BadName", f"{INVALID_KEY}: the publisher has another one")


def both(first: Callable[[], None], second: Callable[[], None]) -> Callable[[], None]:
    """Return a function that calls two."""

    def call() -> None:
        first()
        second()

    return call

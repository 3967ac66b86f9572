"""One watcher: a player in the channel of its key, and its two messages to the registrant.

Never blocks, but where it says that it logs.
"""

from __future__ import annotations

from ..errors import CannotMove
from ..live.channel import Channel
from ..live.playback import ChannelPlayback
from ..live.player import Player
from ..server.host import Peer
from .registrations import WatcherRegistration
from .types import Client


class EndpointPlayback(ChannelPlayback):
    """A client that watches or waits; a `Playback` of its session."""

    def __init__(
        self,
        peer: Peer,
        watcher: Client,
        channel: Channel,
        player: Player,
        registration: WatcherRegistration,
        context: object,
    ) -> None:
        super().__init__(channel, player)
        self.watcher = watcher
        self.context = context
        self._peer = peer
        self._registration = registration
        self._over = False
        self._over_reason = ""
        self._logged = False
        registration.announce(watcher, peer.dismiss, context)

    def start(self, audio: bool, video: bool) -> None:
        """Join the channel, then tell the registrant."""
        super().start(audio, video)
        self._registration.admit(self.watcher, self._peer.dismiss, self.context)
        self._registration.watcher_joined(self.watcher.stream_key, self)
        self._peer.log.info("watch accepted app=%s", self.watcher.rtmp_app)

    def end(self, reason: str) -> None:
        """Stop, and log that; called by the session, always once. Idempotent."""
        self.stop(reason)
        if not self._logged:
            self._logged = True
            self._peer.log.info(
                "watch ended app=%s reason=%s skipped=%d messages",
                self.watcher.rtmp_app, self._over_reason, self.feed.state.skipped_messages,
            )  # fmt: skip

    def freeze(self) -> object:
        """Raise CannotMove: a registration is a program's, and stays with it."""
        raise CannotMove("watchers of a registration stay in its process")

    def stop(self, reason: str) -> None:
        """Leave the channel, then tell the registrant. Idempotent.

        Not a line of log in here: the handlers are the program's, and may switch greenlets.
        """
        if self._over:
            return
        self._over = True
        self._over_reason = reason
        self.channel.leave(self.feed)
        self._registration.watcher_left(self.watcher.stream_key, self, reason)

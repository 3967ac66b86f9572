"""A session's hold on a channel through one player: start, pause, choose. How it ends is up to each host.

Never blocks. Both hosts build their playbacks on it.
"""

from __future__ import annotations

from . import choices
from .channel import Channel
from .player import Player
from .segment import AUDIO, DATA, VIDEO


class ChannelPlayback:
    """What the relay and the endpoint do alike for a client that plays or waits."""

    def __init__(self, channel: Channel, player: Player) -> None:
        self.channel = channel
        self.feed = player

    def start(self, audio: bool, video: bool) -> None:
        """Join the channel; media starts now or with the next publisher."""
        self.feed.filter(_wants(audio, video), paused=False)
        self.channel.join(self.feed)

    def resume(self) -> None:
        """Go on where the player was when it was frozen."""
        self.channel.resume(self.feed)

    def pause(self, paused: bool) -> None:
        """Pause or resume."""
        channel = self.channel
        if paused:
            choices.pause(self.feed, channel.framing)
        else:
            choices.unpause(self.feed, channel.framing, channel.keyframe_to_come())

    def receive(self, audio: bool, video: bool) -> None:
        """Choose which media to receive."""
        channel = self.channel
        choices.receive(self.feed, _wants(audio, video), channel.framing, channel.keyframe_to_come())


def _wants(audio: bool, video: bool) -> int:
    return DATA | (AUDIO if audio else 0) | (VIDEO if video else 0)

"""The stand-alone server's answer to its sessions: `rtmp://HOST/CHANNEL/KEY`, one publisher per channel.

The Host of spec sections 2.2, 3.6, 3.7 and 4: names, keys, who may play, and what ends a publication. The
gate decides who may publish; the registry holds what is on the air.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from .access.gate import Gate, Grant, PublishRequest
from .access.ip_rules import IpRules
from .errors import AccessDenied
from .live.channel import Channel
from .live.playback import ChannelPlayback
from .live.player import Player
from .live.registry import Registry
from .log import RateLimited
from .server.host import Client
from .server.outlet import Outlet

_PLAIN_ID = re.compile(r"[0-9A-Za-z_-]*")
_NEVER_IN_ID = frozenset(">|\n")  # they separate the arguments of commands
_CACHE_CHOICES = frozenset(("no", "clear"))


@dataclass(frozen=True, slots=True)
class IdRules:
    """What channel names and stream keys may look like (spec section 2.2)."""

    max_bytes: int = 128
    allow_empty: bool = False
    allow_special: bool = False

    def allows(self, text: str) -> bool:
        """Tell whether `text` may name a channel or be a key."""
        if not text:
            return self.allow_empty
        if len(text.encode("utf-8", "surrogateescape")) > self.max_bytes:
            return False
        if self.allow_special:
            return not _NEVER_IN_ID.intersection(text)
        return _PLAIN_ID.fullmatch(text) is not None


class Relay:
    """One publisher and any number of players per channel."""

    def __init__(
        self, registry: Registry[str], gate: Gate, id_rules: IdRules, may_play: Callable[[str], bool]
    ) -> None:
        self._registry = registry
        self._gate = gate
        self._id_rules = id_rules
        self._may_play = may_play

    def connect(self, client: Client) -> None:
        """Accept an application name that can be a channel."""
        if not self._id_rules.allows(client.app):
            raise AccessDenied("NetConnection.Connect.Rejected", "Invalid application name")

    def publish(self, client: Client, name: str | None, msid: int) -> RelayPublication:
        """Ask the gate, then go on the air. Blocks as long as the gate does."""
        key, _query = self._key(name, "NetStream.Publish.BadName")
        channel = self._registry.find(client.app)
        if channel is not None and channel.live:
            raise _taken()
        client.log.info("PUBLISH (%d): %s", msid, client.app)
        request = PublishRequest(client.app, key, client.ip)
        grant = self._gate.admit(request, client.disconnect)
        channel = self._registry.open(client.app)
        if channel.live:  # somebody else was faster while the gate was asked
            self._gate.release(grant)
            raise _taken()
        if not self._gate.activate(grant):
            self._gate.release(grant)
            self._registry.release(client.app)
            raise AccessDenied("NetStream.Publish.BadName", "Invalid stream key provided")
        channel.start(key)
        return RelayPublication(self, client, channel, grant)

    def play(self, client: Client, name: str | None, msid: int, outlet: Outlet) -> RelayPlayback:
        """Let a client play, or wait for a publisher with its key."""
        key, query = self._key(name, "NetStream.Play.BadName")
        if not self._may_play(client.ip):
            raise AccessDenied("NetStream.Play.BadName", "Your net address is not whitelisted for playing")
        client.log.info("PLAY (%d): %s", msid, client.app)
        channel = self._registry.find(client.app)
        is_live = channel is not None and channel.live
        if channel is not None and is_live and not channel.accepts_key(key):
            raise AccessDenied("NetStream.Play.BadName", "Invalid stream key provided")
        client.log.debug("= player %s", "starts" if is_live else "waits for a publisher")
        cache = _parameter(query, "cache")
        player = Player(outlet, msid, key, cache if cache in _CACHE_CHOICES else "")
        return RelayPlayback(self, client, self._registry.open(client.app), player)

    def published(self, publication: RelayPublication) -> None:
        """Free the channel of an ended publication, then report it. Never blocks."""
        publication.channel.stop()
        self._registry.release(publication.client.app)
        self._gate.release(publication.grant)

    def played(self, playback: RelayPlayback) -> None:
        """Forget a player. Never blocks."""
        playback.channel.leave(playback.feed)
        self._registry.release(playback.client.app)

    def _key(self, name: str | None, code: str) -> tuple[str, str]:
        """Split a stream name into key and query text, or refuse it."""
        if name is None:
            raise AccessDenied(code, "No stream key provided")
        key, _mark, query = name.partition("?")
        if not self._id_rules.allows(key):
            raise AccessDenied(code, "Invalid stream key provided")
        return key, query.partition("?")[0]


class RelayPublication:
    """A client on the air."""

    def __init__(self, relay: Relay, client: Client, channel: Channel, grant: Grant) -> None:
        self.client = client
        self.channel = channel
        self.grant = grant
        path = f"/{grant.channel}/{grant.key}"
        self.started = f"{path} is now published."
        self.ended = f"{path} is now unpublished."
        self._relay = relay
        self._over = False
        client.log.info("publish accepted channel=%s", grant.channel)

    def append(self, batch: Iterable[tuple[int, int, int, bytes, int]]) -> None:
        """Relay what the publisher sent. Never blocks."""
        self.channel.append(batch)

    def end(self, reason: str) -> None:
        """Go off the air, tell the players, report the end once."""
        if self._over:
            return
        self._over = True
        sent = self.channel.end_position()
        self._relay.published(self)
        self.client.log.info("PUBLISH END: %s, reason=%s relayed=%d bytes", self.grant.channel, reason, sent)


class RelayPlayback(ChannelPlayback):
    """A client that plays or waits."""

    def __init__(self, relay: Relay, client: Client, channel: Channel, player: Player) -> None:
        super().__init__(channel, player)
        self.client = client
        self._relay = relay
        self._over = False
        self._skips = RateLimited(
            lambda n: client.log.info("player was too far behind: %d jumps to a keyframe", n)
        )
        player.on_skip = self._skips.add

    def end(self, reason: str) -> None:
        """Leave the channel."""
        if self._over:
            return
        self._over = True
        self._relay.played(self)
        self._skips.flush()
        self.client.log.info(
            "PLAY STOP: %s, reason=%s skipped=%d messages",
            self.channel.name, reason, self.feed.skipped_messages,
        )  # fmt: skip


def play_policy(rules: IpRules) -> Callable[[str], bool]:
    """Return who may play: everybody when there are no rules (design section 5, D1)."""
    if rules.empty:
        return lambda address: True
    return lambda address: address in rules


def _taken() -> AccessDenied:
    return AccessDenied("NetStream.Publish.BadName", "Stream already publishing")


def _parameter(query: str, name: str) -> str:
    """Return the last value of a query parameter; pairs need exactly one "=", nothing is decoded."""
    value = ""
    for pair in query.split("&"):
        parts = pair.split("=")
        if len(parts) == 2 and parts[0] == name:
            value = parts[1]
    return value

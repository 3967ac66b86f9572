"""What the relay asks about each client: which channel it means, may it, and until when. One for the process.

Joins what `access` has for that: names, doors, and the watch over those who were let in.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Protocol

from . import log
from .access.channel_rules import ChannelRules, read_rules
from .access.doors import Doors, play_refusal
from .access.give_way import GiveWay
from .access.login import Challenges, read_login
from .access.names import IdRules, Names, StreamName
from .access.record_rule import RecordRule
from .access.second_publisher import SecondPolicy
from .access.terms import NO_LIMIT, Terms
from .access.watch import Watch
from .access.watched_file import MAX_TOLD, WatchedFile
from .config import Config
from .errors import naming
from .server.host import Asked, Client, Peer

if TYPE_CHECKING:
    from .access.stream_tokens import StreamTokens

PUBLISH_CODE = "NetStream.Publish.BadName"
PLAY_CODE = "NetStream.Play.BadName"
ENCODER = "FMLE"  # how those that publish begin their flashVer: OBS, FFmpeg
PUBLISHES = "nonprivate"  # their type; GStreamer has that alone


class Source(Protocol):
    """Where rules or keys come from, looked at in the background."""

    def start(self) -> None:
        """Begin to look."""

    def ask(self) -> None:
        """Look now."""

    def close(self) -> None:
        """Look no more."""


class Entrance:
    """Lets clients in, and has them watched."""

    def __init__(
        self,
        names: Names | None = None,
        doors: Doors | None = None,
        sources: list[Source] | None = None,
        second: SecondPolicy | None = None,
    ) -> None:
        """Keep what is needed; without any the rules are those of the default settings."""
        self._names = names or Names(IdRules())
        self._doors = doors or Doors()
        self._watch = Watch(log.get("ACCESS"))
        self._sources = sources if sources is not None else []
        self._second = second or SecondPolicy()

    def start(self) -> None:
        """Begin to look at what the rules come from. Never blocks."""
        for source in self._sources:
            source.start()

    def ask(self) -> None:
        """Look at what the rules come from now. Never blocks."""
        for source in self._sources:
            source.ask()

    def close(self) -> None:
        """End what runs in the background. Blocks for a second or two at most."""
        self._watch.close()
        for source in self._sources:
            source.close()

    def use(self, rules: ChannelRules) -> None:
        """Let these rules be in force, for those who are there too. Never blocks."""
        self._doors.use(rules)
        self._watch.judge_again()

    def check_app(self, client: Client) -> None:
        """Raise AccessDenied for an app that can be no channel. Never blocks."""
        self._names.check_app(client.app)

    def log_in(self, client: Client) -> None:
        """Ask an encoder for its login, where its channel may want one. Raises AccessDenied. Never blocks."""
        login = read_login(client.app_query)
        # Others play, or cannot log in; and who shows something else means that.
        publishes = _said(client, "flashVer").startswith(ENCODER) or _said(client, "type") == PUBLISHES
        asks = publishes and self._names.offers_nothing(client.app_query, _said(client, "tcUrl"))
        self._doors.connect(login, asks, partial(self._names.may_hold, client.app), time.time())

    def check_channel(self, channel: str, code: str) -> None:
        """Raise AccessDenied for what cannot be a channel, whoever chose it. Never blocks."""
        self._names.check_channel(channel, code)

    def published(self, client: Client, name: str | None) -> StreamName:
        """Return what a publisher means by a stream name. Raises AccessDenied. Never blocks."""
        return self._read(client, name, PUBLISH_CODE)

    def played(self, client: Client, name: str | None) -> StreamName:
        """Return what a player means by a stream name. Raises AccessDenied. Never blocks."""
        return self._read(client, name, PLAY_CODE)

    def watched(self, client: Client, channel: str, query: str) -> StreamName:
        """Return what is meant by who asks by HTTP, and note that as if it had been by RTMP. As `played`."""
        client.app, name = self._names.by_web(channel, query)
        client.to_play = Asked(name, time.time())
        self._names.check_app(client.app)
        with naming(f"{self._names.app_is}={client.app}"):
            return self._names.read(client.app, "", name, "", PLAY_CODE, needs_key=False)

    def resumed(self, client: Client, asked: Asked) -> StreamName:
        """Return what a client meant that was let in before, perhaps by another process. Never blocks."""
        return self._names.read_again(client.app, client.app_query, asked.name or "", _said(client, "tcUrl"))

    def publish(self, client: Client, stream: StreamName) -> Terms:
        """Return on what terms a client may publish, or raise AccessDenied. May block for some seconds."""
        return self._doors.publish(stream, client.to_publish.at)

    def play(self, client: Client, stream: StreamName) -> Terms:
        """Return on what terms a client may play, or raise AccessDenied. May block for some seconds."""
        return self._doors.play(stream, client.to_play.at)

    def second(self, channel: str) -> SecondPolicy:
        """Return what becomes of a second publisher on a channel. Never blocks."""
        return self._doors.second(channel, self._second)

    def is_open(self, channel: str) -> bool:
        """Tell whether a player of a channel must show nothing. Never blocks."""
        return self._doors.is_open(channel)

    def max_players(self, channel: str) -> int:
        """Return how many may play a channel by the rules in force. Never blocks."""
        return self._doors.max_players(channel)

    def recording(self, channel: str) -> RecordRule | None:
        """Return what the rules in force say of recording a channel; None where nothing. Never blocks."""
        return self._doors.recording(channel)

    def max_bitrate(self, channel: str) -> int:
        """Return how many bits per second a channel may have by the rules in force. Never blocks."""
        return self._doors.max_bitrate(channel)

    def watch_publisher(
        self,
        peer: Peer,
        stream: StreamName,
        terms: Terms | None,
        sent: Callable[[], int],
        max_bitrate: int = NO_LIMIT,
    ) -> Callable[[], None]:
        """Dismiss a publisher when its terms end; without any they are found again, for one that moved.

        `max_bitrate` is what a backend said, whatever the rules are. Return what to call when it has ended.
        Never blocks.
        """
        judge = partial(self._judge_publisher, stream, peer.client.to_publish.at, max_bitrate)
        if terms is None and max_bitrate == NO_LIMIT and not self._doors.may_end:
            return _nothing
        return self._enter(peer, judge, terms.within(max_bitrate) if terms is not None else None, sent)

    def watch_player(
        self, peer: Peer, stream: StreamName, terms: Terms | None, key: str | None
    ) -> Callable[[], None]:
        """Dismiss a player when its terms end, as for a publisher; `key` is the one it plays with, if any."""
        if terms is None and not self._doors.may_end:
            return _nothing
        return self._enter(
            peer, partial(self._judge_player, stream, peer.client.to_play.at, key), terms, None
        )

    def _enter(
        self, peer: Peer, judge: Callable[[], Terms], terms: Terms | None, sent: Callable[[], int] | None
    ) -> Callable[[], None]:
        if terms is not None and terms.revision != self._doors.revision:
            terms = None  # the rules changed while a backend was asked
        if terms is not None and not (self._doors.may_change or terms.may_end):
            return _nothing
        return partial(self._watch.leave, self._watch.enter(judge, terms, peer.dismiss, sent))

    def _judge_publisher(self, stream: StreamName, asked_at: float, max_bitrate: int) -> Terms:
        return self._doors.publish(stream, asked_at, again=True).within(max_bitrate)

    def _judge_player(self, stream: StreamName, asked_at: float, key: str | None) -> Terms:
        terms = self._doors.play(stream, asked_at, again=True)
        if terms.key is not None and key is None:  # its channel would let it in with the next publisher too
            raise play_refusal("the rules of the channel have changed")
        return terms

    def _read(self, client: Client, name: str | None, code: str) -> StreamName:
        with naming(f"{self._names.app_is}={client.app}"):
            return self._names.read(client.app, client.app_query, name, _said(client, "tcUrl"), code)


def entrance_from(
    config: Config, give_way: GiveWay, login_secret: bytes, warn: Callable[[str], object] | None = None
) -> Entrance:
    """Return what the settings ask for. Raises ConfigError for a file that cannot be used.

    `login_secret` is known to all processes of this server, those to come too, and to nobody else.
    `warn` gets what is odd in files; without it the log does.
    """
    rules = IdRules(config.id_max_length, config.id_allow_empty, config.id_allow_special_characters)
    sources: list[Source] = []
    tokens = _tokens(config, give_way, sources) if config.tokens_given else None
    # That of the settings may be shared by several machines, between which a client's connections go.
    challenges = Challenges(config.token_secret.encode() or login_secret)
    doors = Doors(config.publish_access, config.play_access, tokens, challenges)
    second = SecondPolicy(config.second_publisher, float(config.reconnect_seconds))
    names = Names(rules, config.url_layout)
    entrance = Entrance(names, doors, sources, second)
    warn = warn or partial(log.get("ACCESS").warning, "%s")
    if config.channels_file:
        file = WatchedFile(
            "CHANNELS_FILE",
            config.channels_file,
            lambda contents: entrance.use(_rules(contents, tokens is not None, names, warn)),
            log.get("ACCESS"),
        )
        file.load()
        sources.append(file)
    return entrance


def _tokens(config: Config, give_way: GiveWay, sources: list[Source]) -> StreamTokens:
    """Return the reader of tokens; where its keys come from is added to the sources."""
    from .access.stream_tokens import SecretKey, StreamTokens  # loads PyJWT

    if config.token_secret:
        return StreamTokens(SecretKey(config.token_secret))
    from .access.jwks import KeyFetcher, KeyRing, read_keys  # loads requests and cryptography

    if config.token_jwks_url:
        fetcher = KeyFetcher(config.token_jwks_url, log.get("ACCESS"), give_way)
        sources.append(fetcher)
        return StreamTokens(fetcher.ring)
    ring = KeyRing()
    file = WatchedFile(
        "TOKEN_JWKS_FILE",
        config.token_jwks_file,
        lambda contents: ring.replace(read_keys(contents)),
        log.get("ACCESS"),
    )
    file.load()
    sources.append(file)
    return StreamTokens(ring)


def _rules(contents: bytes, has_tokens: bool, names: Names, warn: Callable[[str], object]) -> ChannelRules:
    """Return the rules of a file, and warn of those that are never used. Raises ConfigError."""
    rules = read_rules(contents, has_tokens=has_tokens, why_never=names.why_never)
    for one in rules.warnings[:MAX_TOLD]:
        warn(f"CHANNELS_FILE: {one}")
    if len(rules.warnings) > MAX_TOLD:
        warn(f"CHANNELS_FILE: {len(rules.warnings)} entries count for no channel")
    return rules


def _said(client: Client, name: str) -> str:
    """Return a text among the properties that a client connected with."""
    value = client.properties.get(name)
    return value if isinstance(value, str) else ""


def _nothing() -> None:
    """Nobody watches."""

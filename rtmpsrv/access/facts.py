"""What a backend is told about a client and what it may answer, before any format. Plain values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

CONNECT, START, STOP = "connect", "start", "stop"
PLAY, PLAY_STOP, UPDATE = "play", "play_stop", "update"
RECORD_DONE = "record_done"
KINDS: Final = (CONNECT, START, STOP, PLAY, PLAY_STOP, UPDATE, RECORD_DONE)

MAX_TEXT = 4096  # characters that are kept of each text a client sends: tokens have a quarter of that


@dataclass(frozen=True, slots=True, repr=False)
class Facts:
    """What one client said of itself and its stream. May hold secrets anywhere, so it has no repr."""

    id: str = ""  # of the connection, a UUID
    number: int = 0  # of the connection, unique in its process
    app: str = ""
    app_query: str = ""
    name: str = ""  # of the stream, as the client sent it, up to its query
    query: str = ""
    tc_url: str = ""
    page_url: str = ""
    swf_url: str = ""
    flash_ver: str = ""
    mode: str = ""  # of the publish command
    user: str = ""
    password: str = ""
    token: str = ""
    asked_at: float = 0.0  # wall clock, s


NO_FACTS: Final = Facts()


class ClientFacts(Protocol):
    """A connection's client, as the sessions know it."""

    id: str
    number: int
    app: str
    app_query: str
    properties: dict[str, Any]
    publish_mode: str

    @property
    def asked_at(self) -> float: ...


class Offered(Protocol):
    """What a client showed for what it asks."""

    @property
    def user(self) -> str: ...
    @property
    def password(self) -> str: ...
    @property
    def token(self) -> str: ...


def facts_of(client: ClientFacts, name: str = "", offered: Offered | None = None) -> Facts:
    """Return what is known of a client that connects, or asks for the stream `name`."""
    stream, _mark, query = name.partition("?")
    given = client.properties
    return Facts(
        client.id,
        client.number,
        _kept(client.app),
        _kept(client.app_query),
        _kept(stream),
        _kept(query),
        _kept(given.get("tcUrl")),
        _kept(given.get("pageUrl")),
        _kept(given.get("swfUrl")),
        _kept(given.get("flashVer")),
        _kept(client.publish_mode),
        offered.user if offered is not None else "",
        offered.password if offered is not None else "",
        offered.token if offered is not None else "",
        client.asked_at,
    )


def _kept(value: object) -> str:
    return value[:MAX_TEXT] if isinstance(value, str) else ""


@dataclass(frozen=True, slots=True)
class RecordedFile:
    """A recording that is whole."""

    folder: str
    name: str  # below the folder
    seconds: float = 0.0
    bytes: int = 0
    reason: str = ""  # for its end


@dataclass(frozen=True, slots=True)
class Event:
    """Something to tell a backend, or to ask it."""

    kind: str  # one of KINDS
    channel: str
    key: str = field(repr=False)
    client_ip: str
    stream_id: str | None = None  # None: it is asked for now
    facts: Facts = NO_FACTS
    publishes: bool = True  # whether the client of an update publishes
    seconds: int = 0  # that it has done so, or played
    id: str = ""  # the same in each attempt to deliver
    file: RecordedFile | None = None  # of `record_done`


@dataclass(frozen=True, slots=True)
class Message:
    """An event in the form that a backend reads: what to POST."""

    headers: Mapping[str, str] = field(repr=False)
    body: bytes | None = field(default=None, repr=False)
    name: str = ""  # of the event, in this form


@dataclass(frozen=True, slots=True)
class Answer:
    """What a backend said; of each header the first."""

    status: int
    headers: Mapping[str, str] = field(repr=False)  # names in small letters
    body: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True)
class Decision:
    """What an answer means."""

    allowed: bool
    reason: str = ""  # for the client; "" for none given
    stream_id: str = ""
    channel: str = ""  # another one than was asked for; for `connect` another app
    lifetime_s: float = 0.0  # 0: none is set
    max_bitrate: int = 0  # bits per second, of a publisher; 0: any
    max_players: int = 0  # of the channel; 0: any number
    not_limits: tuple[str, ...] = ()  # what was said beside limits that are known


@dataclass(frozen=True, slots=True)
class Approval:
    """A yes with more to it than a stream id."""

    stream_id: str
    channel: str = ""  # "": the one that was asked for
    ends_at: float = 0.0  # wall clock, s; 0: not by itself
    max_bitrate: int = 0  # bits per second, of a publisher; 0: any
    max_players: int = 0  # of the channel; 0: any number

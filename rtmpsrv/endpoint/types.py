"""What a program and the endpoint say to each other: requests, media, messages, failures. Data only.

The handles that own life (`register` returns them) are in `registrations`. Stream keys and query arguments
may be secrets: they are kept out of every repr and every exception text.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Any, NewType, TypeAlias

from gevent.event import AsyncResult

from ..errors import RtmpsrvError

ConnectionId = NewType("ConnectionId", str)  # random text, one for each TCP connection
StreamId = NewType("StreamId", str)  # names one flow of media; not a secret, unlike the key
Address: TypeAlias = IPv4Address | IPv6Address
Network: TypeAlias = IPv4Network | IPv6Network

DEFAULT_PORT = 1935
_MAPPED = IPv6Network("::ffff:0:0/96")  # IPv4 addresses as IPv6 sockets show them


# --- what to listen for ---------------------------------------------------------------------------


class AnyKey(Enum):
    """Every key of the app."""

    ANY = "*"


ANY = AnyKey.ANY


@dataclass(frozen=True, slots=True)
class Exact:
    """One key, compared exactly."""

    key: str = field(repr=False)

    def __post_init__(self) -> None:
        if not isinstance(self.key, str):
            raise TypeError(f"a stream key is text, this one is {type(self.key).__name__}")


StreamKeyRegistration: TypeAlias = AnyKey | Exact


@dataclass(frozen=True, slots=True)
class Allow:
    """Admit only these networks; an empty list admits nobody."""

    networks: tuple[Network, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "networks", _networks(self.networks))

    def permits(self, address: Address) -> bool:
        """Tell whether `address`, which is never IPv4-mapped here, is admitted."""
        return any(address in network for network in self.networks)


@dataclass(frozen=True, slots=True)
class Deny:
    """Admit all but these networks."""

    networks: tuple[Network, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "networks", _networks(self.networks))

    def permits(self, address: Address) -> bool:
        """Tell whether `address`, which is never IPv4-mapped here, is admitted."""
        return not any(address in network for network in self.networks)


IpRestriction: TypeAlias = Allow | Deny | None


class SecondPublisher(Enum):
    """What happens to a publish for a key that has a publisher."""

    REFUSE = "refuse"
    REPLACE = "replace"  # once it passed all checks; the first one is disconnected


@dataclass(frozen=True, slots=True, kw_only=True)
class ListenForPublishers:
    """Accept publishers. Port 0 takes a free port; the handle's `port` says which."""

    rtmp_app: str
    rtmp_stream_key: StreamKeyRegistration = ANY
    port: int = DEFAULT_PORT
    use_tls: bool = False
    ip_restriction: IpRestriction = None
    requires_approval: bool = False
    stream_id: StreamId | None = None  # only sensible together with Exact
    second_publisher: SecondPublisher = SecondPublisher.REFUSE

    def __post_init__(self) -> None:
        _check_where(self.rtmp_app, self.rtmp_stream_key)
        _check_restriction(self.ip_restriction)


@dataclass(frozen=True, slots=True, kw_only=True)
class ListenForWatchers:
    """Accept watchers, and send them media."""

    rtmp_app: str
    rtmp_stream_key: StreamKeyRegistration = ANY
    port: int = DEFAULT_PORT
    use_tls: bool = False
    ip_restriction: IpRestriction = None
    requires_approval: bool = False

    def __post_init__(self) -> None:
        _check_where(self.rtmp_app, self.rtmp_stream_key)
        _check_restriction(self.ip_restriction)


@dataclass(frozen=True, slots=True, kw_only=True)
class Observe:
    """Read along what publishers send, beside the registration that accepts them. Opens no port."""

    rtmp_app: str
    rtmp_stream_key: StreamKeyRegistration = ANY
    port: int = DEFAULT_PORT

    def __post_init__(self) -> None:
        _check_where(self.rtmp_app, self.rtmp_stream_key)


Request: TypeAlias = ListenForPublishers | ListenForWatchers | Observe


class RegistrationFailure(Enum):
    """Why `register` raised."""

    CONFLICT = "conflict"
    TLS_MISMATCH = "tls mismatch"
    PORT_UNAVAILABLE = "port unavailable"
    NO_CERTIFICATE = "no certificate"
    ENDPOINT_CLOSED = "endpoint closed"


class RegistrationError(RtmpsrvError):
    """The endpoint does not take a registration; nothing of it is left behind."""

    def __init__(self, reason: RegistrationFailure, detail: str = "") -> None:
        super().__init__(f"{reason.value}: {detail}" if detail else reason.value)
        self.reason = reason


# --- media, the same in both directions -----------------------------------------------------------


class VideoCodec(Enum):
    """H264 has a bare payload; what comes in as any other is raw."""

    H264 = "h264"
    HEVC = "hevc"
    AV1 = "av1"
    VP8 = "vp8"
    VP9 = "vp9"
    VVC = "vvc"
    UNKNOWN = "unknown"


class AudioCodec(Enum):
    """AAC has a bare payload; what comes in as any other is raw."""

    AAC = "aac"
    MP3 = "mp3"
    OPUS = "opus"
    FLAC = "flac"
    AC3 = "ac3"
    EAC3 = "eac3"
    SPEEX = "speex"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class StreamMetadata:
    """onMetaData, every property of it."""

    properties: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class VideoData:
    """A video message. H.264: `data` is a decoder configuration record or length-prefixed NAL units.

    With `is_raw` it is the whole message body as on the wire, of whatever codec; it is sent on unchanged.
    """

    data: bytes = field(repr=False)
    timestamp: int  # ms, decoding time, modulo 2^32
    codec: VideoCodec = VideoCodec.H264
    is_keyframe: bool = False
    is_sequence_header: bool = False
    composition_time_offset: int = 0  # ms
    is_end_of_sequence: bool = False
    is_raw: bool = False


@dataclass(frozen=True, slots=True)
class AudioData:
    """An audio message. AAC: `data` is an AudioSpecificConfig or a raw frame. For `is_raw` see VideoData."""

    data: bytes = field(repr=False)
    timestamp: int  # ms, modulo 2^32
    codec: AudioCodec = AudioCodec.AAC
    is_sequence_header: bool = False
    is_raw: bool = False


@dataclass(frozen=True, slots=True)
class ScriptData:
    """Any data message but metadata (cue points, captions): its AMF0 body, name first."""

    data: bytes = field(repr=False)
    timestamp: int


MediaData: TypeAlias = StreamMetadata | VideoData | AudioData | ScriptData


# --- messages to registrants ----------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Client:
    """Who publishes or watches."""

    connection_id: ConnectionId
    address: Address
    rtmp_app: str
    stream_key: str = field(repr=False)
    arguments: Mapping[str, str] = field(default_factory=dict, repr=False)  # of "key?token=x"
    port: int = 0
    is_tls: bool = False
    properties: Mapping[str, Any] = field(default_factory=dict, repr=False)  # of connect: tcUrl, flashVer


@dataclass(frozen=True, slots=True)
class Approve:
    """Yes; `context` comes back in NewPublisherConnected or WatcherConnected."""

    context: object = None


@dataclass(frozen=True, slots=True)
class Reject:
    """No; `reason` is shown to the client."""

    reason: str = "rejected"


ValidationResponse: TypeAlias = Approve | Reject


@dataclass(frozen=True, slots=True)
class ApprovalRequired:
    """A question about one request of one client: the first answer counts, for this request only."""

    client: Client
    response: AsyncResult[ValidationResponse] = field(repr=False, compare=False, default_factory=AsyncResult)

    def approve(self, context: object = None) -> None:
        """Let the client publish or watch. Never blocks."""
        if not self.response.ready():
            self.response.set(Approve(context))

    def reject(self, reason: str = "rejected") -> None:
        """Refuse the client. Never blocks."""
        if not self.response.ready():
            self.response.set(Reject(reason))


class PublisherRequiringApproval(ApprovalRequired):
    """A publish passed all checks and waits for an answer."""


class WatcherRequiringApproval(ApprovalRequired):
    """A play passed all checks and waits for an answer."""


@dataclass(frozen=True, slots=True)
class NewPublisherConnected:
    """A publisher is on the air; its media follows."""

    client: Client
    stream_id: StreamId
    context: object = None


@dataclass(frozen=True, slots=True)
class NewMediaData:
    """Something a publisher sent; `data` may be given to `send` as it is."""

    publisher: ConnectionId
    data: MediaData


@dataclass(frozen=True, slots=True)
class PublishingStopped:
    """The one end of a publisher that was announced, also if it was never let on the air."""

    connection_id: ConnectionId
    reason: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class StreamKeyBecameActive:
    """A key that nobody watched has a watcher."""

    stream_key: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class StreamKeyBecameInactive:
    """The last watcher of a key is gone."""

    stream_key: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class WatcherConnected:
    """A watcher is served, or waits for media."""

    client: Client
    context: object = None


@dataclass(frozen=True, slots=True)
class WatcherDisconnected:
    """The one end of a watcher that was announced, also if it was never let in."""

    connection_id: ConnectionId
    reason: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class RegistrationClosed:
    """The last message of a registration. When it was the last one of its queue, iteration ends there."""

    reason: str
    request: Request | None = field(default=None, compare=False)


@dataclass(slots=True)
class Statistics:
    """What a registration has seen so far; kept up to date by it, for others to read."""

    accepted: int = 0  # clients that were announced as connected
    refused: int = 0  # clients of its keys: by address, by approval, or since the key was taken
    messages: int = 0  # media that was put on the queue, or given to `send`
    bytes: int = 0  # their payload


PublisherMessage: TypeAlias = (
    PublisherRequiringApproval | NewPublisherConnected | NewMediaData | PublishingStopped | RegistrationClosed
)
WatcherMessage: TypeAlias = (
    WatcherRequiringApproval
    | WatcherConnected
    | WatcherDisconnected
    | StreamKeyBecameActive
    | StreamKeyBecameInactive
    | RegistrationClosed
)


# --- private --------------------------------------------------------------------------------------


def _check_where(rtmp_app: object, rtmp_stream_key: object) -> None:
    """Raise TypeError for what would silently match nobody."""
    if not isinstance(rtmp_app, str):
        raise TypeError(f"rtmp_app is text, this one is {type(rtmp_app).__name__}")
    if not isinstance(rtmp_stream_key, AnyKey | Exact):
        raise TypeError(f"rtmp_stream_key is ANY or Exact(key), not {type(rtmp_stream_key).__name__}")


def _check_restriction(restriction: object) -> None:
    if not isinstance(restriction, Allow | Deny | None):
        raise TypeError(f"ip_restriction is Allow, Deny or None, not {type(restriction).__name__}")


def _networks(given: object) -> tuple[Network, ...]:
    """Return networks to compare clients with; those of IPv4-mapped addresses become IPv4 ones."""
    if not isinstance(given, Iterable):
        raise TypeError(f"networks are a tuple, this is {type(given).__name__}")
    return tuple(map(_network, given))


def _network(given: object) -> Network:
    if isinstance(given, IPv6Network) and given.subnet_of(_MAPPED):
        return IPv4Network((int(given.network_address) & 0xFFFFFFFF, given.prefixlen - _MAPPED.prefixlen))
    if not isinstance(given, IPv4Network | IPv6Network):
        raise TypeError(f"{given!r} is no network: see ipaddress.ip_network")
    return given

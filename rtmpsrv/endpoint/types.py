"""What a program and the endpoint say to each other while a registration stands: media, messages. Data only.

The handles that own life (`register` returns them) are in `registrations`, what they are asked for with in
`requests`. Stream keys and query arguments may be secrets: they are kept out of every repr.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, NewType, TypeAlias

from gevent.event import AsyncResult

from .home import Home
from .requests import Address, Request, StreamId, check_text

ConnectionId = NewType("ConnectionId", str)  # random text, one for each TCP connection


# --- media, the same in both directions -----------------------------------------------------------

# Not frozen: to make a frozen one takes six times as long, and one is made for each message. They are shared
# between registrants: nobody writes to them.


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


@dataclass(slots=True, unsafe_hash=True)
class StreamMetadata:
    """onMetaData, every property of it."""

    properties: Mapping[str, Any]


@dataclass(slots=True, unsafe_hash=True)
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


@dataclass(slots=True, unsafe_hash=True)
class AudioData:
    """An audio message. AAC: `data` is an AudioSpecificConfig or a raw frame. For `is_raw` see VideoData."""

    data: bytes = field(repr=False)
    timestamp: int  # ms, modulo 2^32
    codec: AudioCodec = AudioCodec.AAC
    is_sequence_header: bool = False
    is_raw: bool = False


@dataclass(slots=True, unsafe_hash=True)
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

    def __post_init__(self) -> None:
        check_text("a reason", self.reason)


ValidationResponse: TypeAlias = Approve | Reject


@dataclass(frozen=True, slots=True)
class ApprovalRequired:
    """A question about one request of one client: the first answer counts, for this request only."""

    client: Client
    response: AsyncResult[ValidationResponse] = field(repr=False, compare=False, default_factory=AsyncResult)
    _home: Home = field(repr=False, compare=False, default_factory=Home)

    def approve(self, context: object = None) -> None:
        """Let the client publish or watch. Never blocks."""
        self._answer(Approve(context))

    def reject(self, reason: str = "rejected") -> None:
        """Refuse the client. Never blocks."""
        self._answer(Reject(reason))

    def _answer(self, answer: ValidationResponse) -> None:
        self._home.check("an answer")
        if not self.response.ready():
            self.response.set(answer)


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


@dataclass(slots=True, unsafe_hash=True)
class NewMediaData:
    """Something a publisher sent; `data` may be given to `send` as it is. Not frozen, as media."""

    client: Client
    data: MediaData
    stream_id: StreamId = field(default=StreamId(""), compare=False)
    context: object = field(default=None, compare=False)

    @property
    def publisher(self) -> ConnectionId:
        """The client's connection."""
        return self.client.connection_id


@dataclass(frozen=True, slots=True)
class _End:
    """The one end of a client that was announced. They are equal when they are of one kind and client."""

    client: Client
    reason: str = field(default="", compare=False)
    context: object = field(default=None, compare=False)  # of its approval

    @property
    def connection_id(self) -> ConnectionId:
        """The client's connection."""
        return self.client.connection_id


@dataclass(frozen=True, slots=True)
class PublishingStopped(_End):
    """A publisher that was on the air is not any more."""

    stream_id: StreamId = field(default=StreamId(""), compare=False)


class PublisherRefused(_End):
    """A publisher whose approval was asked for was never let on the air, whatever the answer."""


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


class WatcherDisconnected(_End):
    """A watcher that was let in is gone."""


class WatcherRefused(_End):
    """A watcher whose approval was asked for was never let in, whatever the answer."""


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
    dropped: int = 0  # media that an observer was too slow for


PublisherMessage: TypeAlias = (
    PublisherRequiringApproval
    | NewPublisherConnected
    | NewMediaData
    | PublishingStopped
    | PublisherRefused
    | RegistrationClosed
)
WatcherMessage: TypeAlias = (
    WatcherRequiringApproval
    | WatcherConnected
    | WatcherDisconnected
    | WatcherRefused
    | StreamKeyBecameActive
    | StreamKeyBecameInactive
    | RegistrationClosed
)

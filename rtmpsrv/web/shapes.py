"""The shapes of the answers of the API: MediaMTX's names, and beside them what is ours, in `rtmpsrv`.

The description of the API is made from these and from monitor/values.py, comments included. Moments are text
as in RFC 3339, those of monitor/values.py too.
"""

from __future__ import annotations

from typing import Literal, NotRequired, TypedDict

from rtmpsrv.monitor.values import (
    EventValue,
    FileValue,
    Form,
    Kind,
    PlayerValue,
    ProcessValue,
    RecordingValue,
    State,
    VitalsValue,
)

Severity = Literal["info", "warning", "bad"]
Health = Literal["good", "warning", "bad", "starting", "offline"]


class Problem(TypedDict):
    """Why an answer is none."""

    status: Literal["error"]
    error: str  # a sentence


class Done(TypedDict):
    """It was done."""

    status: Literal["ok"]


class Stopped(TypedDict):
    """It was done."""

    status: Literal["ok"]
    ended: bool  # whether somebody published; with `block` nobody may now, in either case


class Info(TypedDict):
    """The server."""

    version: str
    started: str  # moment: when the oldest of its processes began
    rtmpsrv: AboutAll


class AboutAll(TypedDict):
    """What is behind an answer."""

    missing: list[str]  # names of the workers that did not answer in time


class End(TypedDict):
    """A connection, or a viewer by HLS, who has none of its own."""

    type: Kind  # of ours: httpConn and httpsConn, who get FLV or MP4 by HTTP or a WebSocket
    id: str  # UUID of the connection


class CodecProps(TypedDict, total=False):
    """What is known of a track; what is not known is left out."""

    width: int
    height: int
    profile: str  # of H264 and H265
    level: str  # of H264 and H265
    sampleRate: int
    channelCount: int


class PathTrack(TypedDict):
    """A track of a publication."""

    codec: str  # such as H264, H265, AV1, VP9, MPEG-4 Audio, Opus
    codecProps: CodecProps | None


class FindingShape(TypedDict):
    """One thing that is not as it should be."""

    rule: str  # its stable id
    severity: Severity
    sentence: str


class HealthShape(TypedDict):
    """Whether a stream is well."""

    state: Health
    rule: str  # the id of the worst finding; empty where there is none
    sentence: str  # what to tell the person who streams
    findings: list[FindingShape]  # the worst first


class AboutPath(TypedDict):
    """What MediaMTX does not tell of a path."""

    worker: str  # who has the publisher; empty where there is only one process
    suspended: bool  # its players wait for a publisher that fell off
    waits_until_at: str | None  # moment; then they are told that the stream has ended
    publication: int  # grows with each one
    players: int  # all of them, those that are not listed too
    waiting: int  # players that wait for a publisher
    forms: dict[str, int]  # how many readers get it in which form: rtmp, flv, ws-flv, mp4, ws-mp4, hls
    readers_truncated: bool  # there are more readers than are listed
    cache_bytes: int  # held for those who join
    frames_dropped: int  # what players that were too slow have missed
    max_bitrate: int | None  # the limit for its publisher, bits per second
    recording: RecordingValue | None  # null: it is not recorded
    health: HealthShape
    vitals: VitalsValue | None
    events: NotRequired[list[EventValue]]  # its last ends, the oldest first; not in lists


class Path(TypedDict):
    """A channel that is on the air or waited for."""

    name: str  # the channel; never the key
    confName: str  # always `all_others`: there is no configuration by path
    ready: bool  # it is on the air
    readyTime: str | None  # moment
    available: bool  # players are served, or held while the publisher is waited for
    availableTime: str | None  # moment
    online: bool  # it is on the air
    onlineTime: str | None  # moment
    source: End | None  # its publisher
    tracks: list[str]  # codecs
    tracks2: list[PathTrack]
    readers: list[End]  # its players, 1,000 at most
    inboundBytes: int
    outboundBytes: int
    inboundFramesInError: int  # configurations of codecs that were not understood
    bytesReceived: int  # the same as inboundBytes
    bytesSent: int  # the same as outboundBytes
    rtmpsrv: AboutPath


class PathList(TypedDict):
    """A page of paths, by name."""

    itemCount: int  # of all pages
    pageCount: int
    items: list[Path]
    rtmpsrv: AboutAll


class AboutConnection(TypedDict):
    """What MediaMTX does not tell of a connection."""

    worker: str  # who serves it; empty where there is only one process
    number: int  # as in the log
    form: Form  # what it gets, or may get; http: pages, and pieces of HLS for viewers that are listed apart
    app: str  # without a query
    page_url: str  # without a query
    swf_url: str  # without a query
    player: PlayerValue | None  # how it does, if it plays


class Connection(TypedDict):
    """A connection of a client."""

    id: str  # UUID: the same in callbacks
    created: str  # moment
    remoteAddr: str  # an address, without a port
    state: State
    path: str  # the channel; empty while it neither publishes nor plays
    query: str  # always empty: queries hold tokens
    user: str
    userAgent: str  # what the client calls itself
    inboundBytes: int
    outboundBytes: int
    outboundFramesDiscarded: int
    bytesReceived: int  # the same as inboundBytes
    bytesSent: int  # the same as outboundBytes
    rtmpsrv: AboutConnection


class ConnectionList(TypedDict):
    """A page of connections, the oldest first."""

    itemCount: int  # of all pages
    pageCount: int
    items: list[Connection]
    rtmpsrv: AboutAll


class ChannelPlayer(Connection):
    """A connection that plays."""

    type: Kind  # under which of the lists its `get` and `kick` are


class PlayerList(TypedDict):
    """A page of the players of a channel, the oldest first."""

    itemCount: int  # of all pages
    pageCount: int
    items: list[ChannelPlayer]
    rtmpsrv: AboutAll


class EventList(TypedDict):
    """What has happened, the oldest first."""

    items: list[EventValue]
    after: str  # give it with the next question to be told only what is new
    rtmpsrv: AboutAll


class RecordingSegment(TypedDict):
    """A file of a channel."""

    start: str  # moment
    rtmpsrv: FileValue


class RecordingsOfPath(TypedDict):
    """The files of a channel, as MediaMTX has them."""

    name: str  # the channel
    segments: list[RecordingSegment]  # the oldest first, 1,000 at most: the newest
    rtmpsrv: AboutRecordings


class AboutRecordings(TypedDict):
    """What MediaMTX does not tell of them."""

    files: int  # all there are
    size_bytes: int  # of those that are whole
    recording: RecordingValue | None  # not in lists


class RecordingList(TypedDict):
    """A page of channels that have files, by name."""

    itemCount: int  # of all pages
    pageCount: int
    items: list[RecordingsOfPath]
    rtmpsrv: AboutAll


class ProcessList(TypedDict):
    """The processes that serve, by name."""

    items: list[ProcessValue]
    rtmpsrv: AboutAll

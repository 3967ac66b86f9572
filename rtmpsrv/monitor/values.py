"""The shapes of what a process tells of itself: plain values, which pickle and are JSON as they are.

Moments end in `_at` (seconds since 1970), spans in `_s` (seconds), sizes in `_bytes`; rates are bits per
second. None is what is not known. No key, token, password or query is in any of them.
"""

from __future__ import annotations

from typing import Literal, TypedDict

Kind = Literal["rtmpConn", "rtmpsConn", "httpConn", "httpsConn", "hlsSession"]
Form = Literal["rtmp", "flv", "ws-flv", "mp4", "ws-mp4", "hls", "jpg", "http"]  # http: pages, pieces of HLS
State = Literal["idle", "read", "publish"]
Happening = Literal["publish", "unpublish", "play", "stop", "refused", "kicked", "recorded"]


class Histogram(TypedDict):
    """How many of something were up to each bound; the last one has no bound and is `count`."""

    bounds: list[float]
    counts: list[int]  # of values up to each bound, the smaller ones included
    sum: float
    count: int


class Counted(TypedDict):
    """How often something was done, with what result."""

    what: str
    result: str
    count: int


class Counters(TypedDict):
    """What only grows, since the process began."""

    connections_accepted: int
    connections_rejected: dict[str, int]  # by reason: a short name of a fixed set
    viewer_requests: list[Counted]  # by HTTP, what: the kind of what was asked for, result: the status
    sent_bytes_by_form: dict[str, int]  # of `sent_bytes`, by what they were sent as
    ffmpeg_ends: int  # how often the process that helps with MP4 and stills died, or was ended
    recorded_files: int  # that are whole
    recorded_bytes: int
    recordings_failed: dict[str, int]  # by reason: a short name of a fixed set
    handshake_failures: dict[str, int]  # by reason
    publishes: dict[str, int]  # by result: accepted, refused, failed
    plays: dict[str, int]
    received_bytes: int
    sent_bytes: int
    frames_dropped: dict[str, int]  # by kind: audio, video, data: what laggards left out
    slow_players_disconnected: int
    callback_requests: list[Counted]  # what: the event
    callback_duration_s: Histogram
    event_loop_lag_s: Histogram


class ListenerValue(TypedDict):
    """One port."""

    protocol: Literal["rtmp", "http"]  # http: that of viewers
    address: str
    port: int
    secure: bool
    accepting: bool
    sessions: int


class ProcessValue(TypedDict):
    """One process that serves."""

    worker: str  # its name among several; "" for the only one
    pid: int
    version: str
    python: str
    compiled: bool
    started_at: float  # of the server: processes that succeed each other are one
    ready: bool
    not_ready: list[str]  # why, a sentence each
    succeeded: bool  # another process serves in its place; it has what could not move
    listeners: list[ListenerValue]
    memory_budget_bytes: int
    memory_held_bytes: int
    gop_cache_bytes: int
    callback_queue_length: int
    certificate_expires_at: float | None
    redis_connected: bool | None  # None: not used
    control_connected: bool | None
    hls_makers: int  # channels whose HLS is made now
    mp4_makers: int  # channels whose live MP4 is made now, once for each choice of tracks
    ffmpeg_runs: bool  # the process that helps with MP4 and stills
    recordings: int  # files that are written now
    counters: Counters


class TrackValue(TypedDict):
    """One track of a publication, by its configuration and what came."""

    kind: Literal["video", "audio"]
    track: int  # its number; 0 for the only one
    codec: str  # as MediaMTX names them: H264, H265, AV1, VP9, MPEG-4 Audio, Opus, MPEG-1/2 Audio, AC-3...
    profile: str  # such as High; "" where there is none
    level: str  # such as 4.1
    width: int | None
    height: int | None
    declared_fps: float | None
    fps: float | None  # measured over 10 s
    sample_rate: int | None
    channels: int | None
    frames: int
    received_bytes: int
    bitrate_10s: int
    bitrate_60s: int
    configured: bool  # its configuration has come and is understood


class VitalsValue(TypedDict):
    """How a publication does: what a verdict is made from."""

    age_s: float  # since the publication began
    tracks: list[TrackValue]
    bitrate_10s: int
    bitrate_60s: int
    bitrates: list[int]  # of the last 60 seconds, one each, the latest last: for a chart
    keyframes: int
    gops_s: list[float]  # distances of the last keyframes, by media time, up to 8, the latest last
    keyframe_age_s: float | None  # since the last keyframe arrived
    silence_s: float | None  # since the last audio or video arrived; None before the first
    media_rate: float | None  # media time over wall time, over 10 s
    av_offset_s: float | None  # last audio time minus last video time, median over 10 s
    jumps: int  # of timestamps, by more than 1 s or backwards, all so far
    jumps_10min: int
    last_jump_s: float | None  # how far the last one went; negative: backwards
    uneven_audio: int  # audio frames over the last 60 s whose time was more than one frame off
    jitter_s: float | None  # of arrival against media time, over 10 s
    stalls: int  # pauses of over 1 s without media, all so far
    stalls_10min: int
    odd_headers: int  # configurations that were not understood, all so far
    metadata: dict[str, float | str | bool]  # of onMetaData: numbers and short words of a fixed set of names


class ChannelValue(TypedDict):
    """One channel that is on the air, or waited for."""

    name: str
    worker: str
    live: bool
    suspended: bool  # its players wait for a publisher that fell off
    waits_until_at: float | None  # until then; None: nobody is waited for
    publication: int
    started_at: float | None
    publisher: str | None  # the id of its connection
    publisher_kind: Kind | None
    players: int  # of all kinds
    waiting: int  # of these, before anything came
    readers: list[tuple[str, Kind]]  # id and type of each player's connection
    forms: dict[str, int]  # how many of these get it in which form
    received_bytes: int  # of the publication
    sent_bytes: int  # to all its players, so far
    cache_bytes: int
    frames_dropped: int
    max_bitrate: int | None  # the limit that holds for it, bits per second
    recording: RecordingValue | None
    vitals: VitalsValue | None


class RecordingValue(TypedDict):
    """The recording of a channel."""

    running: bool
    file: str  # that is written now, below RECORD_DIR; "" between two
    format: str  # flv or mp4
    since_at: float | None  # since when it is written
    seconds: float  # that are in it
    written_bytes: int  # that are in it
    files: int  # of this recording, so far
    error: str  # why the last one could not go on; "" where nothing went wrong


class FileValue(TypedDict):
    """One file of the recordings."""

    worker: str  # who told of it; all have one folder
    file: str  # below RECORD_DIR
    channel: str
    stream_id: str
    whole: bool  # False: it is written now, or was when the server died
    began_at: float
    ended_at: float | None
    seconds: float  # of media that are in it
    size_bytes: int
    reason: str  # for its end; "" where it is written


class PlayerValue(TypedDict):
    """How one player does."""

    waiting: bool
    paused: bool
    audio: bool
    video: bool
    behind_bytes: int
    lag_s: float
    skipped_messages: int
    jumps: int


class ConnectionValue(TypedDict):
    """One connection of a client."""

    id: str  # a UUID, the same for its whole life, in callbacks too
    worker: str
    number: int
    kind: Kind
    form: Form  # what it gets, or may get
    created_at: float
    remote_ip: str
    state: State
    channel: str  # "" while it neither publishes nor plays
    app: str  # without a query
    user_agent: str  # flashVer
    page_url: str  # without query
    swf_url: str
    user: str  # the name only
    received_bytes: int
    sent_bytes: int
    frames_dropped: int
    player: PlayerValue | None


class EventValue(TypedDict):
    """Something that happened: an end, or a refusal."""

    serial: int  # of this process, growing
    worker: str
    at: float
    what: Happening
    connection: str  # its id, "" if there was none
    kind: Kind
    remote_ip: str
    channel: str
    reason: str  # a sentence; "" where nothing went wrong
    seconds: float
    received_bytes: int
    sent_bytes: int


class EventsValue(TypedDict):
    """The last events, the oldest first."""

    last: int  # the serial of the newest there was
    events: list[EventValue]

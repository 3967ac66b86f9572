"""Values as the processes that serve tell them, by hand: all is well, but for what a test changes."""

from __future__ import annotations

import uuid
from typing import Final

from rtmpsrv.monitor.values import (
    ChannelValue,
    ConnectionValue,
    Counters,
    EventValue,
    FileValue,
    Histogram,
    ListenerValue,
    PlayerValue,
    ProcessValue,
    RecordingValue,
    State,
    TrackValue,
    VitalsValue,
)

NOW: Final = 1_760_000_000.0  # 2025-10-09T08:53:20Z
STARTED: Final = NOW - 3600.0


def on_air(name: str, **changes: object) -> ChannelValue:
    """Make a channel that is live, with fields as given."""
    value = ChannelValue(
        name=name,
        worker="",
        live=True,
        suspended=False,
        waits_until_at=None,
        publication=7,
        started_at=NOW - 600.0,
        publisher=id_of(f"publisher {name}"),
        publisher_kind="rtmpConn",
        players=0,
        waiting=0,
        readers=[],
        forms={},
        received_bytes=337_500_000,
        sent_bytes=0,
        cache_bytes=1_200_000,
        frames_dropped=0,
        max_bitrate=None,
        recording=None,
        vitals=vitals(),
    )
    value.update(changes)  # type: ignore[typeddict-item]  # what a test gives
    return value


def waited_for(name: str, **changes: object) -> ChannelValue:
    """Make a channel that is only waited for."""
    off: dict[str, object] = {
        **{"live": False, "started_at": None, "publisher": None, "publisher_kind": None, "vitals": None},
        **{"publication": 0, "received_bytes": 0, "cache_bytes": 0},
    }
    return on_air(name, **{**off, **changes})


def vitals(**changes: object) -> VitalsValue:
    """Make the vitals of a stream with which nothing is wrong, with fields as given."""
    value = VitalsValue(
        age_s=600.0,
        tracks=[video(), audio()],
        bitrate_10s=4_500_000,
        bitrate_60s=4_480_000,
        bitrates=[4_400_000 + 10_000 * (second % 12) for second in range(60)],
        keyframes=300,
        gops_s=[2.0] * 8,
        keyframe_age_s=0.7,
        silence_s=0.02,
        media_rate=1.0,
        av_offset_s=0.01,
        jumps=0,
        jumps_10min=0,
        last_jump_s=None,
        uneven_audio=0,
        jitter_s=0.004,
        stalls=0,
        stalls_10min=0,
        odd_headers=0,
        metadata={"width": 1920.0, "height": 1080.0, "framerate": 30.0, "encoder": "obs-output module"},
    )
    value.update(changes)  # type: ignore[typeddict-item]  # what a test gives
    return value


def video(**changes: object) -> TrackValue:
    """Make a track of H.264, with fields as given."""
    value = TrackValue(
        kind="video",
        track=0,
        codec="H264",
        profile="High",
        level="4.1",
        width=1920,
        height=1080,
        declared_fps=30.0,
        fps=29.97,
        sample_rate=None,
        channels=None,
        frames=18_000,
        received_bytes=325_000_000,
        bitrate_10s=4_340_000,
        bitrate_60s=4_320_000,
        configured=True,
    )
    value.update(changes)  # type: ignore[typeddict-item]  # what a test gives
    return value


def audio(**changes: object) -> TrackValue:
    """Make a track of AAC, with fields as given."""
    value = TrackValue(
        kind="audio",
        track=0,
        codec="MPEG-4 Audio",
        profile="LC",
        level="",
        width=None,
        height=None,
        declared_fps=None,
        fps=None,
        sample_rate=48_000,
        channels=2,
        frames=28_125,
        received_bytes=12_000_000,
        bitrate_10s=160_000,
        bitrate_60s=160_000,
        configured=True,
    )
    value.update(changes)  # type: ignore[typeddict-item]  # what a test gives
    return value


def connection(what: str, state: State = "idle", channel: str = "", **changes: object) -> ConnectionValue:
    """Make a connection, its id made from `what`, with fields as given."""
    value = ConnectionValue(
        id=id_of(what),
        worker="",
        number=1,
        kind="rtmpConn",
        form="rtmp",
        created_at=NOW - 590.0,
        remote_ip="192.0.2.10",
        state=state,
        channel=channel,
        app="live",
        user_agent="FMLE/3.0 (compatible; FMSc/1.0)" if state == "publish" else "LNX 9,0,124,2",
        page_url="",
        swf_url="",
        user="",
        received_bytes=337_600_000 if state == "publish" else 3_500,
        sent_bytes=4_000 if state == "publish" else 330_000_000,
        frames_dropped=0,
        player=player() if state == "read" else None,
    )
    value.update(changes)  # type: ignore[typeddict-item]  # what a test gives
    return value


def player(**changes: object) -> PlayerValue:
    """Make a player that keeps up, with fields as given."""
    value = PlayerValue(
        waiting=False,
        paused=False,
        audio=True,
        video=True,
        behind_bytes=0,
        lag_s=0.0,
        skipped_messages=0,
        jumps=0,
    )
    value.update(changes)  # type: ignore[typeddict-item]  # what a test gives
    return value


def process(worker: str = "", **changes: object) -> ProcessValue:
    """Make a process with counters, with fields as given."""
    value = ProcessValue(
        worker=worker,
        pid=4711,
        version="1.0.0",
        python="3.11.2",
        compiled=False,
        started_at=STARTED,
        ready=True,
        not_ready=[],
        succeeded=False,
        listeners=[
            listener(1935, 7),
            listener(443, 2, secure=True),
            listener(8080, 3, protocol="http"),
        ],
        memory_budget_bytes=2_000_000_000,
        memory_held_bytes=5_000_000,
        gop_cache_bytes=3_600_000,
        callback_queue_length=0,
        certificate_expires_at=NOW + 60 * 86_400.0,
        redis_connected=True,
        control_connected=None,
        hls_makers=1,
        mp4_makers=2,
        ffmpeg_runs=True,
        recordings=1,
        counters=_counters(),
    )
    value.update(changes)  # type: ignore[typeddict-item]  # what a test gives
    return value


def listener(port: int, sessions: int, **changes: object) -> ListenerValue:
    """Make a port that accepts, with fields as given."""
    value = ListenerValue(
        protocol="rtmp", address="::", port=port, secure=False, accepting=True, sessions=sessions
    )
    value.update(changes)  # type: ignore[typeddict-item]  # what a test gives
    return value


def recording(**changes: object) -> RecordingValue:
    """Make a recording that goes on, with fields as given."""
    value = RecordingValue(
        running=True,
        file="live/good/2025-10-09_08-43-20.mp4",
        format="mp4",
        since_at=NOW - 600.0,
        seconds=599.5,
        written_bytes=337_000_000,
        files=1,
        error="",
    )
    value.update(changes)  # type: ignore[typeddict-item]  # what a test gives
    return value


def file_of(channel: str, **changes: object) -> FileValue:
    """Make a file of the recordings, with fields as given."""
    value = FileValue(
        worker="",
        file=f"{channel}/2025-10-08_20-00-00.mp4",
        channel=channel,
        stream_id="",
        whole=True,
        began_at=NOW - 86_400.0,
        ended_at=NOW - 82_800.0,
        seconds=3600.0,
        size_bytes=2_025_000_000,
        reason="the publication ended",
    )
    value.update(changes)  # type: ignore[typeddict-item]  # what a test gives
    return value


def event(serial: int, what: str, **changes: object) -> EventValue:
    """Make an event, with fields as given."""
    value = EventValue(
        serial=serial,
        worker="",
        at=NOW - 600.0 + serial,
        what="publish",
        connection=id_of(f"gone {serial}"),
        kind="rtmpConn",
        remote_ip="192.0.2.10",
        channel="live/good",
        reason="",
        seconds=0.0,
        received_bytes=0,
        sent_bytes=0,
    )
    value.update({"what": what, **changes})  # type: ignore[typeddict-item]  # what a test gives
    return value


def id_of(what: str) -> str:
    """Return the UUID that stands for these words."""
    return str(uuid.uuid5(uuid.NAMESPACE_OID, what))


def _counters() -> Counters:
    bounds = [0.001, 0.01, 0.1, 1.0, 10.0]
    return Counters(
        connections_accepted=120,
        connections_rejected={"limit_address": 3, "ip_rules": 1},
        handshake_failures={"handshake_timeout": 2},
        publishes={"accepted": 30, "refused": 4, "failed": 1},
        plays={"accepted": 80, "refused": 2},
        received_bytes=9_000_000_000,
        sent_bytes=55_000_000_000,
        viewer_requests=[
            {"what": "flv", "result": "200", "count": 40},
            {"what": "none", "result": "400", "count": 3},
        ],
        sent_bytes_by_form={"rtmp": 45_000_000_000, "flv": 6_000_000_000, "hls": 4_000_000_000},
        ffmpeg_ends=1,
        recorded_files=12,
        recorded_bytes=7_000_000_000,
        recordings_failed={"disk_full": 1, "media": 0},
        frames_dropped={"audio": 10, "video": 400, "data": 0},
        slow_players_disconnected=2,
        callback_requests=[
            {"what": "publish", "result": "accepted", "count": 30},
            {"what": "publish", "result": "refused", "count": 4},
        ],
        callback_duration_s=Histogram(bounds=bounds, counts=[0, 20, 33, 34, 34], sum=1.25, count=34),
        event_loop_lag_s=Histogram(bounds=bounds, counts=[7000, 7190, 7199, 7200, 7200], sum=4.5, count=7200),
    )

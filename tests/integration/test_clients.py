"""Real encoders and players: what is played is what was published, packet by packet.

One server and one run for the whole module: all streams are published in real time, some at once, each to
players that wait for it and to players that join in its middle. The tests only look at what came of it.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from subprocess import DEVNULL, PIPE
from typing import IO

import gevent
import pytest
from gevent.pool import Pool

from tests.media_files import (
    DURATION_S,
    FRAME_RATE,
    GOP_FRAMES,
    HASH_OPTIONS,
    Packet,
    current_ffmpeg,
    make_samples,
    packets_of,
    parse_hashes,
    system_tool,
)
from tests.server_process import ServerProcess
from tests.waiting import eventually

KEY = "key"
# Position in the stream at which its late players start; ffmpeg is half a second ahead of real time there.
JOIN_AT_S = 3.2
AT_ONCE = 4  # streams; more would make the machine too slow for real time
DEADLINE_S = 60.0  # for any one wait: whatever takes longer hangs
AUDIO_SKEW_MS = 500  # how far apart the first sound and the first picture of a late player may be
SKIPPED_S = DURATION_S - 1  # the most that a late player may have missed, on a busy machine

FFMPEG_OLD, FFMPEG_NEW = "ffmpeg of Debian", "current ffmpeg"
RTMPDUMP, RTMPSRC, RTMP2SRC, FFPLAY = "rtmpdump", "rtmpsrc", "rtmp2src", "ffplay"
RTMPSINK, RTMP2SINK = "rtmpsink", "rtmp2sink"
MPV, VLC, PYAV = "mpv", "vlc", "PyAV"
PLAYERS = (FFMPEG_OLD, FFMPEG_NEW, RTMPDUMP, RTMPSRC, RTMP2SRC)


@dataclass(frozen=True, slots=True)
class Stream:
    """What is published, by what, and who plays it."""

    channel: str
    sample: str
    publisher: str
    waiting: tuple[str, ...] = (FFMPEG_NEW,)
    late: tuple[str, ...] = (FFMPEG_NEW,)


STREAMS = (
    Stream("old", "h264_aac", FFMPEG_OLD, PLAYERS, PLAYERS),
    Stream("new", "h264_aac", FFMPEG_NEW, PLAYERS, PLAYERS),
    Stream("ffplay", "h264_aac", FFMPEG_NEW, (FFPLAY,), (FFPLAY,)),
    Stream("gst1", "h264_aac", RTMPSINK, (FFMPEG_NEW, RTMPSRC)),
    Stream("gst2", "h264_aac", RTMP2SINK, (FFMPEG_NEW, RTMP2SRC)),
    Stream("desktop", "h264_aac", FFMPEG_NEW, (MPV, VLC, PYAV), (MPV, VLC, PYAV)),
    Stream("pyav", "h264_aac", PYAV, (FFMPEG_NEW, PYAV)),
    Stream("hevc", "hevc_opus", FFMPEG_NEW),
    Stream("av1", "av1_aac", FFMPEG_NEW),
    Stream("tracks", "two_audio_tracks", FFMPEG_NEW),
    Stream("audio", "audio_only", FFMPEG_NEW),
    Stream("video", "video_only", FFMPEG_NEW),
)


@dataclass(slots=True)
class Outcome:
    """What a player or publisher left behind."""

    player: str
    output: Path
    status: int | None = None
    errors: str = ""

    def streams(self) -> dict[str, list[Packet]]:
        """Return the packets played; blocks while they are hashed, where the player does not do that."""
        if self.output.suffix == ".flv":
            return packets_of(self.output)
        return parse_hashes(self.output.read_text())


@dataclass(slots=True)
class Run:
    """All that was played, by channel, player and whether it joined late."""

    samples: dict[str, Path]
    publishers: dict[str, Outcome] = field(default_factory=dict)
    players: dict[tuple[str, str, bool], Outcome] = field(default_factory=dict)
    processes: list[subprocess.Popen[str]] = field(default_factory=list)

    def start(self, command: list[str], stdout: int) -> subprocess.Popen[str]:
        """Start a process; `stop` ends it, if nothing else does."""
        process = subprocess.Popen(command, stdin=DEVNULL, stdout=stdout, stderr=PIPE, text=True)
        self.processes.append(process)
        return process

    def stop(self) -> None:
        """End what still runs, as is the case when the fixture fails."""
        for process in self.processes:
            if process.poll() is None:
                process.kill()
                process.wait()

    def published(self, stream: Stream) -> dict[str, list[Packet]]:
        """Return the packets of a stream as its publisher read them from the sample."""
        return packets_of(self.samples[stream.sample])


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    """Publish and play everything once."""
    directory = tmp_path_factory.mktemp("clients")
    result = Run(make_samples(directory))
    with ServerProcess(CONCURRENT_LIMIT_WHITELIST="*") as server:
        pool = Pool(AT_ONCE)
        streams = [pool.spawn(_stream_through, server, stream, result, directory) for stream in STREAMS]
        try:
            gevent.joinall(streams, raise_error=True)
        finally:
            pool.kill()
            result.stop()
        yield result
        server.check_log()


def _stream_through(server: ServerProcess, stream: Stream, run: Run, directory: Path) -> None:
    """Let a stream's first players wait, publish it, let the others join, and wait for all to end."""
    url = f"rtmp://127.0.0.1:{server.port}/{stream.channel}/{KEY}"
    channel = stream.channel
    players = [_start_player(name, url, run, (channel, name, False), directory) for name in stream.waiting]
    server.wait_for_line(rf"PLAY \(\d+\): {channel}$", count=len(players), timeout_s=DEADLINE_S)
    publisher = run.start(_publisher_command(stream, url, run.samples[stream.sample]), PIPE)
    publisher_errors = gevent.spawn(_pipe(publisher.stderr).read)
    lines = iter(_pipe(publisher.stdout).readline, "")
    with gevent.Timeout(DEADLINE_S):
        for line in lines:
            if _position_s(line) >= JOIN_AT_S:
                break
    players += [_start_player(name, url, run, (channel, name, True), directory) for name in stream.late]
    publisher_output = gevent.spawn(lambda: [line for line in lines if line])
    run.publishers[channel] = Outcome(stream.publisher, directory)
    publisher_output.join()  # before its pipe is closed, which must not be while it is read
    _wait(publisher, run.publishers[channel], publisher_errors)
    # After the end rtmpsrc connects again and waits, unless its last block was full: then it ends by itself.
    restless = [process for process, outcome in players if outcome.player == RTMPSRC]

    def is_over() -> bool:
        waits = sum(process.poll() is None for process in restless)
        return len(server.matching(rf"PLAY \(\d+\): {channel}$")) >= len(players) + waits

    eventually(is_over, "the end of rtmpsrc", DEADLINE_S)
    for process in restless:
        process.send_signal(signal.SIGINT)
    for process, outcome in players:
        _wait(process, outcome, gevent.spawn(_pipe(process.stderr).read))


def _pipe(stream: IO[str] | None) -> IO[str]:
    assert stream is not None  # asked for when the process was started
    return stream


def _wait(process: subprocess.Popen[str], outcome: Outcome, errors: gevent.Greenlet[..., str]) -> None:
    try:
        outcome.status = process.wait(DEADLINE_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    outcome.errors = errors.get()
    for pipe in (process.stdout, process.stderr):
        if pipe:
            pipe.close()


def _start_player(
    player: str, url: str, run: Run, place: tuple[str, str, bool], directory: Path
) -> tuple[subprocess.Popen[str], Outcome]:
    hashes = player in (FFMPEG_OLD, FFMPEG_NEW)
    name = f"{place[0]} {player} {'late' if place[2] else 'waiting'}.{'hash' if hashes else 'flv'}"
    outcome = run.players[place] = Outcome(player, directory / name.replace(" ", "-"))
    # The drivers are for ffplay, which else looks for a screen.
    command = ["env", "SDL_VIDEODRIVER=dummy", "SDL_AUDIODRIVER=dummy", f"HOME={directory}"]
    command += _player_command(player, url, str(outcome.output))
    return run.start(command, DEVNULL), outcome


def _player_command(player: str, url: str, output: str) -> list[str]:
    gst = [system_tool("gst-launch-1.0"), "-q"]
    sink = ["!", "filesink", f"location={output}"]
    hash_it = ["-v", "error", "-nostdin", "-i", url, *HASH_OPTIONS, output]
    return {
        FFMPEG_OLD: [system_tool("ffmpeg"), *hash_it],
        FFMPEG_NEW: [current_ffmpeg(), *hash_it],
        RTMPDUMP: [system_tool("rtmpdump"), "-q", "--live", "-r", url, "-o", output],
        # It drops an unfinished block at the end, so blocks are shorter than any message here.
        RTMPSRC: [*gst, "rtmpsrc", "blocksize=16", f"location={url} live=1", *sink],
        RTMP2SRC: [*gst, "rtmp2src", f"location={url}", *sink],
        MPV: [system_tool("mpv"), "--no-config", "--really-quiet", f"--stream-dump={output}", url],
        VLC: [*_vlc(), f"--demuxdump-file={output}", url, "vlc://quit"],
        PYAV: [sys.executable, "-m", "tests.pyav", "play", url, output],
        FFPLAY: [system_tool("ffplay"), "-autoexit", "-noframedrop", "-nostats", "-vf", "showinfo", url],
    }[player]


def _vlc() -> list[str]:
    """Return the start of a command; VLC refuses to run as root, so that it is given another name."""
    nobody = ["unshare", "--user", "--map-user=1000"] if os.geteuid() == 0 else []
    return [*nobody, system_tool("cvlc"), "--quiet", "--play-and-exit", "--demux=dump"]


def _publisher_command(stream: Stream, url: str, sample: Path) -> list[str]:
    """Return a command that publishes in real time and prints its position now and then."""
    if stream.publisher in (FFMPEG_OLD, FFMPEG_NEW):
        program = current_ffmpeg() if stream.publisher == FFMPEG_NEW else system_tool("ffmpeg")
        options = "-v error -nostdin -stats_period 0.1 -progress pipe:1 -re -i"
        return [program, *options.split(), str(sample), "-map", "0", "-c", "copy", "-f", "flv", url]
    if stream.publisher == PYAV:
        return [sys.executable, "-m", "tests.pyav", "publish", str(sample), url]
    pipeline = (
        f"filesrc location={sample} ! flvdemux name=from flvmux name=to streamable=true"
        " from.video ! queue ! progressreport do-query=false update-freq=1 ! to.video"
        f" from.audio ! queue ! to.audio to. ! {stream.publisher} sync=true location={url}"
    )
    return [system_tool("gst-launch-1.0"), *pipeline.split()]


def _position_s(line: str) -> float:
    """Return the position that a line of ffmpeg's or GStreamer's progress tells; -1 for other lines."""
    if line.startswith("out_time_us="):
        value = line.partition("=")[2].strip()
        return float(value) / 1e6 if value != "N/A" else -1.0
    if line.startswith("progressreport"):
        hours, minutes, seconds = line.partition("(")[2].partition(")")[0].split(":")
        return int(hours) * 3600 + int(minutes) * 60 + int(seconds)
    return -1.0


# --- the tests ------------------------------------------------------------------------------------


def _cases(late: bool) -> list[object]:
    return [
        pytest.param(stream, player, id=f"{stream.sample}-{stream.publisher}-{player}".replace(" ", "_"))
        for stream in STREAMS
        for player in (stream.late if late else stream.waiting)
        if player != FFPLAY
    ]


@pytest.mark.parametrize("stream", STREAMS, ids=lambda stream: stream.channel)
def test_publisher_ends_without_an_error(run: Run, stream: Stream) -> None:
    publisher = run.publishers[stream.channel]
    assert publisher.status == 0, publisher.errors


@pytest.mark.parametrize(("stream", "player"), _cases(late=False))
def test_waiting_player_gets_every_packet(run: Run, stream: Stream, player: str) -> None:
    published, starts = _compare(run, stream, run.players[stream.channel, player, False])
    assert starts == dict.fromkeys(published, 0)


@pytest.mark.parametrize(("stream", "player"), _cases(late=True))
def test_late_player_gets_every_packet_from_a_keyframe_on(run: Run, stream: Stream, player: str) -> None:
    published, starts = _compare(run, stream, run.players[stream.channel, player, True])
    assert min(starts.values()) > 0, "it joined in the middle"
    if "video0" in starts:
        assert starts["video0"] % GOP_FRAMES == 0, "it starts at a keyframe"
        assert starts["video0"] <= SKIPPED_S * FRAME_RATE
        picture = published["video0"][starts["video0"]]
        for name, start in starts.items():
            assert abs(published[name][start].dts - picture.dts) < AUDIO_SKEW_MS


@pytest.mark.parametrize("channel", ["old", "new"])
@pytest.mark.parametrize("player", [RTMPDUMP, RTMPSRC, RTMP2SRC])
def test_first_picture_after_the_headers_is_a_keyframe(run: Run, channel: str, player: str) -> None:
    # These three write down the messages as they come.
    pictures = _video_tags(run.players[channel, player, True].output.read_bytes())
    assert pictures[0][:2] == b"\x17\x00", "an AVC sequence header"
    assert next(body for body in pictures if body[1] == 1)[0] == 0x17, "a keyframe"


@pytest.mark.parametrize("late", [False, True], ids=["waiting", "late"])
def test_ffplay_shows_the_pictures(run: Run, late: bool) -> None:
    outcome = run.players["ffplay", FFPLAY, late]
    assert outcome.status == 0, outcome.errors
    shown = outcome.errors.count(" pts_time:")
    expected = DURATION_S - SKIPPED_S if late else DURATION_S - 1
    assert shown >= expected * FRAME_RATE
    assert "error" not in outcome.errors.lower()


def _compare(run: Run, stream: Stream, outcome: Outcome) -> tuple[dict[str, list[Packet]], dict[str, int]]:
    """Check that what was played is a tail of what was published; return the latter and where it begins."""
    assert outcome.status is not None, f"hangs: {outcome.errors}"
    published, played = run.published(stream), outcome.streams()
    assert played.keys() == published.keys()
    starts = {
        name: [packet.hash for packet in published[name]].index(packets[0].hash)
        for name, packets in played.items()
    }
    expected = {name: packets[starts[name] :] for name, packets in published.items()}
    if outcome.player == RTMP2SRC:
        # GStreamer 1.22 throws away the message that it has not handed on when it reads StreamEOF.
        lost = {name: len(packets) - len(played[name]) for name, packets in expected.items()}
        assert sorted(lost.values()) in ([0, 0], [0, 1])
        expected = {name: packets[: len(played[name])] for name, packets in expected.items()}
    if stream.publisher in (RTMPSINK, RTMP2SINK):
        # flvmux makes times of its own.
        assert _hashes(played) == _hashes(expected)
    else:
        assert _rebased(played) == _rebased(expected)
    return published, starts


def _hashes(streams: dict[str, list[Packet]]) -> dict[str, list[str]]:
    return {name: [packet.hash for packet in packets] for name, packets in streams.items()}


def _rebased(streams: dict[str, list[Packet]]) -> dict[str, list[tuple[int, int, str]]]:
    """Count the times of all streams from the first picture, or else sound."""
    zero = (streams.get("video0") or streams["audio0"])[0].dts
    return {
        name: [(packet.dts - zero, packet.pts - packet.dts, packet.hash) for packet in packets]
        for name, packets in streams.items()
    }


def _video_tags(flv: bytes) -> list[bytes]:
    bodies = []
    position = 13  # the file header and the first, empty, back pointer
    while position + 11 <= len(flv):
        size = int.from_bytes(flv[position + 1 : position + 4], "big")
        if flv[position] == 9:
            bodies.append(flv[position + 11 : position + 11 + size])
        position += 11 + size + 4
    return bodies

"""HTTP-FLV as players of others see it: all packets of every sample, early and late, plain and Enhanced."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.media_files import (
    DURATION_S,
    FRAME_RATE,
    GOP_FRAMES,
    HASH_OPTIONS,
    SAMPLES,
    current_ffmpeg,
    make_samples,
    packets_of,
    parse_hashes,
)
from tests.media_files import system_tool as tool
from tests.server_process import ServerProcess, free_port

PATIENCE_S = 40.0
KEY = "k"
PLAIN = "h264_aac"  # for players that know nothing else


class Run:
    """Everything is published once, beside all players."""

    def __init__(self, folder: Path, ends: ExitStack) -> None:
        self.samples = make_samples(folder)
        self.folder = folder
        self.port = free_port()
        self.server = ends.enter_context(
            ServerProcess(HTTP_PORT=str(self.port), CONCURRENT_LIMIT_WHITELIST="*", RECONNECT_SECONDS="0")
        )
        self._ends = ends
        self.processes: dict[tuple[str, str], subprocess.Popen[str]] = {}
        self.said: dict[tuple[str, str], str] = {}
        for name in SAMPLES:
            self._start("new", name, [current_ffmpeg(), *self._hashes(name, "new")])
        self._start("old", PLAIN, [tool("ffmpeg"), *self._hashes(PLAIN, "old")])
        self._start("mpv", PLAIN, [tool("mpv"), "--no-config", "--really-quiet",
                                   f"--stream-dump={folder / 'mpv.flv'}", self.url(PLAIN)])  # fmt: skip
        self._start("vlc", PLAIN, self._vlc())
        show = ["-autoexit", "-noframedrop", "-nostats", "-vf", "showinfo"]
        self._start("ffplay", PLAIN, [tool("ffplay"), *show, self.url(PLAIN)])
        self.server.wait_for_line(r"PLAY \(flv, ", count=len(self.processes), timeout_s=PATIENCE_S)
        publishers = [self._publish(name) for name in SAMPLES]
        for process in [*publishers, *self.processes.values()]:
            process.wait(PATIENCE_S)
        for place, process in self.processes.items():
            assert process.stderr is not None
            self.said[place] = process.stderr.read()

    def url(self, name: str) -> str:
        return f"http://127.0.0.1:{self.port}/{name}.flv?key={KEY}&wait=1"

    def output(self, player: str, name: str) -> Path:
        return self.folder / f"{player}-{name}.hash"

    def _hashes(self, name: str, player: str) -> list[str]:
        return [
            "-v",
            "error",
            "-nostdin",
            "-i",
            self.url(name),
            *HASH_OPTIONS,
            str(self.output(player, name)),
        ]

    def _vlc(self) -> list[str]:
        nobody = ["unshare", "--user", "--map-user=1000"] if os.geteuid() == 0 else []  # it refuses root
        dump = ["--quiet", "--play-and-exit", "--demux=dump", f"--demuxdump-file={self.folder / 'vlc.flv'}"]
        return [*nobody, tool("cvlc"), *dump, self.url(PLAIN), "vlc://quit"]

    def _start(self, player: str, name: str, command: list[str]) -> None:
        # The drivers are for ffplay, which else looks for a screen.
        surroundings = ["env", "SDL_VIDEODRIVER=dummy", "SDL_AUDIODRIVER=dummy", f"HOME={self.folder}"]
        self.processes[player, name] = self._run([*surroundings, *command])

    def _publish(self, name: str) -> subprocess.Popen[str]:
        source = ["-re", "-i", str(self.samples[name]), "-map", "0", "-c", "copy", "-f", "flv"]
        url = f"rtmp://127.0.0.1:{self.server.port}/{name}/{KEY}"
        return self._run([current_ffmpeg(), "-v", "error", "-nostdin", *source, url])

    def _run(self, command: list[str]) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        )
        self._ends.callback(_end, process)
        return process


def _end(process: subprocess.Popen[str]) -> None:
    if process.poll() is None:
        process.kill()
    process.communicate()


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    with ExitStack() as ends:
        yield Run(tmp_path_factory.mktemp("players"), ends)


@pytest.mark.parametrize("name", list(SAMPLES))
def test_all_packets_come(run: Run, name: str) -> None:
    source = packets_of(run.samples[name])
    source.pop("audio1", None)  # a reader of FLV that is not Enhanced sees the first only
    found = parse_hashes(run.output("new", name).read_text())
    assert found.keys() == source.keys()
    for stream, packets in source.items():
        hashes = [one.hash for one in packets]
        if len(source) == 1:  # a second is waited for the other kind; the newest keyframe is the first then
            assert len(found[stream]) >= len(hashes) - 2 * GOP_FRAMES * (stream == "video0")
            hashes = hashes[-len(found[stream]) :]
        assert [one.hash for one in found[stream]] == hashes, (name, stream)


@pytest.mark.parametrize("player", ["old", "mpv", "vlc"])
def test_all_packets_come_to_others(run: Run, player: str) -> None:
    if player == "old":
        found = parse_hashes(run.output("old", PLAIN).read_text())
    else:
        found = packets_of(run.folder / f"{player}.flv")
    source = packets_of(run.samples[PLAIN])
    for stream, packets in source.items():
        assert [one.hash for one in found[stream]] == [one.hash for one in packets], (player, stream)


def test_ffplay_shows_the_pictures(run: Run) -> None:
    shown = run.said["ffplay", PLAIN].count("pts_time:")
    assert shown >= DURATION_S * FRAME_RATE / 2, "it leaves some out where the machine is slow"

"""The endpoint's examples as the programs they are, with real ffmpeg around them."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from time import monotonic, sleep

import pytest

from tests.client import Client
from tests.media_files import current_ffmpeg, make_samples, packets_of

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
LINE_S = 20.0
FFMPEG_S = 60.0


class Example:
    """A running example; its lines are collected by a thread."""

    def __init__(self, name: str, *arguments: str) -> None:
        self.lines: list[str] = []
        self.process = subprocess.Popen(
            [sys.executable, str(EXAMPLES / name), *arguments],
            cwd=EXAMPLES.parent,
            env={"PYTHONPATH": str(EXAMPLES.parent), "PATH": "/usr/bin:/bin", "FFMPEG": current_ffmpeg()},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._reader = Thread(target=self._collect, daemon=True)
        self._reader.start()

    def _collect(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line)

    def line(self, pattern: str, since: int = 0) -> re.Match[str]:
        """Wait for a line of that kind."""
        until = monotonic() + LINE_S
        while monotonic() < until:
            for line in self.lines[since:]:
                if found := re.search(pattern, line):
                    return found
            sleep(0.02)
        raise AssertionError(f"no line with {pattern!r}: {self.lines}")

    @property
    def port(self) -> int:
        return int(self.line(r"rtmp://127\.0\.0\.1:(\d+)/")[1])

    def stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        try:
            status = self.process.wait(20)
        finally:
            if self.process.poll() is None:
                self.process.kill()
                self.process.wait()
            self._reader.join(5)
            assert self.process.stdout is not None
            self.process.stdout.close()
        assert status == 0, self.lines
        assert not any("Traceback" in line for line in self.lines), "".join(self.lines)


@contextmanager
def example(name: str, *arguments: str) -> Iterator[Example]:
    running = Example(name, *arguments)
    try:
        yield running
    finally:
        running.stop()


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return make_samples(tmp_path_factory.mktemp("samples"))


def ffmpeg(*arguments: str) -> subprocess.Popen[bytes]:
    command = [current_ffmpeg(), "-v", "error", "-nostdin", "-y", *arguments]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def publish(path: Path, url: str, *, real_time: bool = True) -> subprocess.Popen[bytes]:
    pace = ["-re"] if real_time else []
    return ffmpeg(*pace, "-i", str(path), "-map", "0", "-c", "copy", "-f", "flv", url)


def play(url: str, path: Path, *options: str) -> subprocess.Popen[bytes]:
    return ffmpeg("-i", url, "-map", "0", "-c", "copy", *options, str(path))


def hashes(path: Path) -> dict[str, list[str]]:
    return {name: [packet.hash for packet in packets] for name, packets in packets_of(path).items()}


def ended(process: subprocess.Popen[bytes]) -> int:
    try:
        return process.wait(FFMPEG_S)
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


@pytest.mark.parametrize("sample", ["h264_aac", "hevc_opus", "av1_aac", "two_audio_tracks"])
def test_the_recorder_keeps_every_packet(samples: dict[str, Path], sample: str, tmp_path: Path) -> None:
    with example("recorder.py", str(tmp_path / "made" / "by it"), "0") as running:
        url = f"rtmp://127.0.0.1:{running.port}/live/{sample}"
        assert ended(publish(samples[sample], url, real_time=False)) == 0
        recorded = Path(running.line(r"recorded (.*)")[1])
    assert hashes(recorded) == hashes(samples[sample])


def test_the_on_demand_source_runs_only_while_watched(samples: dict[str, Path], tmp_path: Path) -> None:
    with example("on_demand.py", str(samples["h264_aac"]), "0") as running:
        url = f"rtmp://127.0.0.1:{running.port}/live/loop"
        running.line("idle")
        assert not any("feeding" in line for line in running.lines)
        output = tmp_path / "played.flv"
        assert ended(play(url, output, "-t", "2")) == 0
        running.line("feeding")
        running.line("idle", since=3)
        source = hashes(samples["h264_aac"])
        played = hashes(output)
        for stream in ("video0", "audio0"):
            assert len(played[stream]) > 20
            assert played[stream] == source[stream][: len(played[stream])]


class _Approval(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200 if b'"key": "good"' in body else 403)
        self.end_headers()

    def log_message(self, format: str, *arguments: object) -> None:
        pass


def test_the_relay_asks_the_http_server_about_each_publisher(
    samples: dict[str, Path], tmp_path: Path
) -> None:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Approval)
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        with example(
            "relay_with_approval.py", f"http://127.0.0.1:{server.server_address[1]}/", "0"
        ) as running:
            base = f"rtmp://127.0.0.1:{running.port}/live"
            output = tmp_path / "played.flv"
            player = play(f"{base}/good", output)
            sleep(1.0)
            assert ended(publish(samples["h264_aac"], f"{base}/bad")) != 0
            assert ended(publish(samples["h264_aac"], f"{base}/good")) == 0
            ended(player)
            assert hashes(output) == hashes(samples["h264_aac"])
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_secret_keys_are_played_under_public_names(samples: dict[str, Path], tmp_path: Path) -> None:
    with example("secret_keys.py", "s3cret=show", "0") as running:
        base = f"rtmp://127.0.0.1:{running.port}"
        output = tmp_path / "played.flv"
        player = play(f"{base}/watch/show", output)
        sleep(1.0)
        assert ended(publish(samples["hevc_opus"], f"{base}/publish/wrong")) != 0
        assert ended(publish(samples["hevc_opus"], f"{base}/publish/s3cret")) == 0
        ended(player)
        assert hashes(output) == hashes(samples["hevc_opus"])


def test_the_edge_pulls_only_while_watched(samples: dict[str, Path], tmp_path: Path) -> None:
    with example("secret_keys.py", "in=out", "0") as origin:
        origin_url = f"rtmp://127.0.0.1:{origin.port}"
        with example("edge.py", f"{origin_url}/watch", "0") as edge:
            edge_port = edge.port
            url = f"rtmp://127.0.0.1:{edge_port}/live/out"
            publisher = publish(samples["h264_aac"], f"{origin_url}/publish/in")
            sleep(0.5)
            assert not any("pulling" in line for line in edge.lines)
            with Client(edge_port) as strange:
                strange.play("live", "-version")
                sleep(0.2)
            outputs = [tmp_path / f"{number}.flv" for number in range(2)]
            players = [play(url, output, "-t", "2") for output in outputs]
            for player in players:
                assert ended(player) == 0
            edge.line("stopped")
            assert sum("pulling" in line for line in edge.lines) <= 2
            ended(publisher)
            source = hashes(samples["h264_aac"])
            for output in outputs:
                played = hashes(output)
                assert len(played["video0"]) > 20
                assert set(played["video0"]) <= set(source["video0"])
                assert set(played["audio0"]) <= set(source["audio0"])

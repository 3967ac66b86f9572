#!/usr/bin/env python3
"""Measure what viewers by HLS cost an own server: CPU without any, with one, and with many of one channel.

    scripts/measure_hls.py [--viewers 200] [--seconds 20] [--mbit 2.5] [--channels 50]

ffmpeg publishes H.264 and AAC: to `--channels` that nobody watches by HTTP, with HTTP_PORT=0 for comparison;
then to one, for viewers that fetch segments, and such with low latency, which wait for each part. They ask as
players do, by two requests for each segment or part, and keep their connections.
"""

from __future__ import annotations

from own_python import use_venv

use_venv()

from gevent import monkey

monkey.patch_all()

import argparse
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from http.client import HTTPConnection
from pathlib import Path

import gevent
from benchlib import procstat

PROJECT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(PROJECT))
from tests.media_files import current_ffmpeg
from tests.server_process import ServerProcess, free_port

PATIENCE_S = 30.0
CLIP_S = 20
JOIN_S = 5.0  # over which viewers come


class Viewer:
    """A player; counts what it gets."""

    def __init__(self, port: int, channel: str, *, low_latency: bool) -> None:
        self.answers = self.bytes = self.wrong = 0
        self._channel = channel
        self._low_latency = low_latency
        self._connection = HTTPConnection("127.0.0.1", port, timeout=PATIENCE_S)

    def run(self, after_s: float) -> None:
        """Watch until it is killed."""
        gevent.sleep(after_s)
        path = f"/{self._channel}/"
        plain = "" if self._low_latency else "&ll=no"
        index = ""
        while not index:
            index = self._get(f"{path}index.m3u8?key=key{plain}").decode()
            if not index.startswith("#EXTM3U"):  # it is not on the air yet
                index = ""
                gevent.sleep(0.5)
        link = path + index.splitlines()[-1]
        text = self._get(link).decode()
        while True:
            if self._low_latency:
                hint = re.search(r'PRELOAD-HINT:TYPE=PART,URI="[a-z0-9]+-(\d+)-(\d+)\.m4s', text)
                assert hint, text
                text = self._get(f"{link}&_HLS_msn={hint[1]}&_HLS_part={hint[2]}").decode()
                pieces = re.findall(r'#EXT-X-PART:.*URI="([^"]+)"', text)
            else:
                target = re.search(r"TARGETDURATION:(\d+)", text)
                assert target, text
                gevent.sleep(int(target[1]) * 0.9)
                text = self._get(link).decode()
                pieces = [line for line in text.splitlines() if line and not line.startswith("#")]
            self._get(path + pieces[-1])

    def _get(self, path: str) -> bytes:
        self._connection.request("GET", path)
        answer = self._connection.getresponse()
        body = answer.read()
        self.answers += 1
        self.bytes += len(body)
        self.wrong += answer.status != 200
        return body


@contextmanager
def published(port: int, clip: Path, *channels: str) -> Iterator[None]:
    """Publish a clip over and over to these channels."""
    source = [current_ffmpeg(), "-v", "error", "-nostdin", "-re", "-stream_loop", "-1", "-i", str(clip)]
    made = [
        subprocess.Popen([*source, "-c", "copy", "-f", "flv", f"rtmp://127.0.0.1:{port}/{channel}/key"])
        for channel in channels
    ]
    try:
        yield
    finally:
        for one in made:
            one.kill()
            one.wait()


def cpu_over(pid: int, seconds: float) -> float:
    """Return the share of a core that a process and its children take, in percent."""
    cpu, begin = procstat.cpu_seconds(pid), time.monotonic()
    gevent.sleep(seconds)
    return 100 * (procstat.cpu_seconds(pid) - cpu) / (time.monotonic() - begin)


def main() -> int:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description="Measure what viewers by HLS cost.")
    parser.add_argument("--viewers", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--mbit", type=float, default=2.5)
    parser.add_argument("--channels", type=int, default=50, help="that nobody watches; 0: not measured")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        clip = _clip(Path(directory) / "clip.flv", asked.mbit)
        if asked.channels:
            _unwatched(clip, asked.channels, asked.seconds)
        _watched(clip, asked.viewers, asked.seconds)
    return 0


def _unwatched(clip: Path, count: int, seconds: float) -> None:
    found = []
    for http in (0, free_port()):
        limits = {"MAX_IP_CONCURRENT_CONNECTIONS": "100000"}
        with (
            ServerProcess(HTTP_PORT=str(http), **limits) as server,
            published(server.port, clip, *[f"channel{number}" for number in range(count)]),
        ):
            gevent.sleep(3)
            found.append(cpu_over(server.process.pid, seconds))
    without, with_it = found
    print(f"{count} channels that nobody watches: {with_it:.1f}% of a core; with HTTP_PORT=0 {without:.1f}%")


def _watched(clip: Path, count: int, seconds: float) -> None:
    http = free_port()
    with ExitStack() as stack:
        server = stack.enter_context(
            ServerProcess(HTTP_PORT=str(http), CONCURRENT_LIMIT_WHITELIST="127.0.0.1", LOG_REQUESTS="NO")
        )
        stack.enter_context(published(server.port, clip, "channel"))
        gevent.sleep(3)
        pid = server.process.pid
        alone = cpu_over(pid, seconds / 2)
        print(f"one channel that nobody watches: {alone:.1f}% of a core")
        for low_latency in (False, True):
            for number in (1, count):
                viewers = [Viewer(http, "channel", low_latency=low_latency) for _ in range(number)]
                running = [gevent.spawn(one.run, JOIN_S * at / number) for at, one in enumerate(viewers)]
                gevent.sleep(JOIN_S + 5)
                answers, size = sum(one.answers for one in viewers), sum(one.bytes for one in viewers)
                cpu = cpu_over(pid, seconds)
                answers = sum(one.answers for one in viewers) - answers
                size = sum(one.bytes for one in viewers) - size
                failed = sum(one.ready() for one in running)
                gevent.killall(running)
                print(
                    f"{number} viewers{' with low latency' if low_latency else ''}: {cpu:.1f}% of a core,"
                    f" {cpu - alone:.1f}% more than without any; {answers / seconds:.0f} answers/s,"
                    f" {size * 8 / seconds / 1e6:.0f} Mbit/s; {sum(one.wrong for one in viewers)} refused,"
                    f" {failed} gone"
                )


def _clip(path: Path, mbit: float) -> Path:
    rate = f"{mbit * 1000:.0f}k"
    picture = f"testsrc2=size=1280x720:rate=30:duration={CLIP_S}"
    command = [current_ffmpeg(), "-v", "error", "-nostdin", "-y", "-f", "lavfi", "-i", picture]
    command += ["-f", "lavfi", "-i", f"sine=duration={CLIP_S}", "-c:v", "libx264", "-preset", "ultrafast"]
    command += ["-b:v", rate, "-minrate", rate, "-maxrate", rate, "-bufsize", rate, "-nal-hrd", "cbr"]
    command += ["-g", "60", "-pix_fmt", "yuv420p", "-c:a", "aac", str(path)]
    subprocess.run(command, check=True, stderr=subprocess.DEVNULL)
    return path


if __name__ == "__main__":
    sys.exit(main())

#!/usr/bin/env python3
"""Measure what the server adds to each picture on its way to viewers of MP4, and of HTTP-FLV beside it.

    scripts/measure_mp4.py [--seconds 20] [--viewers 1] [--first 1000] [--most 40]

A publisher of 30 pictures a second, with sound, marks each; viewers on the same machine look for the marks.
Printed are times from the sending of a picture to its last byte at a viewer, and from a request to its first
picture: of the first viewer of all, for whom FFmpeg's process is started, and of those after it. Returns 1
when the first picture takes longer than `--first` ms, or the 95th percentile of MP4 more than `--most` ms.
"""

from __future__ import annotations

import argparse
import socket
import subprocess
import sys
import threading
from time import monotonic, sleep

from own_python import use_venv

use_venv()

from rtmpsrv.media.flv import TagReader
from rtmpsrv.protocol import messages
from tests.client import Client
from tests.media_files import current_ffmpeg
from tests.server_process import ServerProcess, free_port

CLIP_S = 4
CLIP = (
    f"-f lavfi -i testsrc2=size=640x360:rate=30:duration={CLIP_S}"
    f" -f lavfi -i sine=sample_rate=48000:duration={CLIP_S}"
    " -c:v libx264 -preset ultrafast -tune zerolatency -b:v 2M -bf 0 -g 60 -keyint_min 60 -sc_threshold 0"
    " -c:a aac -f flv pipe:1"
)
MARK = b"\x0c<mark>"  # a unit of H.264 that decoders leave out, with a number behind it
DIGITS = 8
END = b"\x80"
SETTLE_S = 3.0  # after joining: what is at once is the GOP
PATIENCE_S = 30.0


class Viewer(threading.Thread):
    """Notes when each mark has come, and when the first."""

    def __init__(self, port: int, kind: str) -> None:
        super().__init__(daemon=True)
        self.kind = kind
        self.seen: dict[int, float] = {}
        self.asked_at = monotonic()
        self.begun = threading.Event()
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S)
        # Of HTTP/1.0: in no chunks, which would cut a mark in two.
        self._socket.sendall(f"GET /clock.{kind}?key=k HTTP/1.0\r\n\r\n".encode())
        self.start()

    @property
    def first_s(self) -> float:
        return min(self.seen.values()) - self.asked_at

    def run(self) -> None:
        size = len(MARK) + DIGITS + len(END)
        rest = b""
        while data := self._socket.recv(1 << 18):
            now = monotonic()
            rest += data
            while (place := rest.find(MARK)) >= 0 and place + size <= len(rest):
                start = place + len(MARK)
                self.seen.setdefault(int(rest[start : start + DIGITS]), now)
                rest = rest[place + size :]
                self.begun.set()
            rest = rest[-size:] if MARK not in rest else rest


def marked(payload: bytes, number: int) -> bytes:
    """Return a picture with a mark behind it."""
    unit = MARK + f"{number:0{DIGITS}d}".encode() + END
    return payload + len(unit).to_bytes(4, "big") + unit


def publish(port: int, sent: dict[int, float], is_over: threading.Event) -> None:
    """Publish in real time, and note when each picture was sent."""
    made = subprocess.run([current_ffmpeg(), "-v", "error", *CLIP.split()], check=True, capture_output=True)
    clip = [tag for tag in TagReader().feed(made.stdout) if tag.type_id in (messages.AUDIO, messages.VIDEO)]
    with Client(port) as client:
        client.publish("clock")
        began, number = monotonic(), 0
        for turn in range(1 << 20):
            for tag in clip:
                is_header = tag.payload[1] == 0
                if is_header and turn:
                    continue
                time = tag.timestamp + turn * CLIP_S * 1000
                if is_over.wait(max(0.0, began + time / 1000 - monotonic())):
                    return
                payload = tag.payload
                if tag.type_id == messages.VIDEO and not is_header:
                    number += 1
                    payload = marked(payload, number)
                    sent[number] = monotonic()
                csid = 6 if tag.type_id == messages.VIDEO else 4
                client.message(tag.type_id, payload, time, 1, csid)


def percentiles(name: str, values: list[float]) -> float:
    """Print some of times in seconds; return the 95th, in ms."""
    values.sort()
    found = [values[min(len(values) - 1, int(len(values) * part))] * 1000 for part in (0.5, 0.95, 0.99, 1.0)]
    print(
        f"{name:14} p50 {found[0]:6.1f}  p95 {found[1]:6.1f}  p99 {found[2]:6.1f}  max {found[3]:6.1f} ms"
        f"  ({len(values)} pictures)"
    )
    return found[1]


def main() -> int:
    """Start a server, publish, watch."""
    parser = argparse.ArgumentParser(description="Measure the delay of live MP4.")
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--viewers", type=int, default=1)
    parser.add_argument("--first", type=float, default=1000.0, help="ms to the first picture at most")
    parser.add_argument("--most", type=float, default=40.0, help="ms of p95 at most")
    given = parser.parse_args()
    http = free_port()
    sent: dict[int, float] = {}
    is_over = threading.Event()
    with ServerProcess(HTTP_PORT=str(http), CONCURRENT_LIMIT_WHITELIST="*") as server:
        publisher = threading.Thread(target=publish, args=(server.port, sent, is_over), daemon=True)
        publisher.start()
        while len(sent) < 75:  # in the middle of a GOP
            sleep(0.01)
        viewers: list[Viewer] = []
        for kind in ("mp4", *["mp4"] * given.viewers, "flv"):
            viewers.append(Viewer(http, kind))
            if not viewers[-1].begun.wait(PATIENCE_S):
                sys.exit(f"no picture by {kind}")
        sleep(SETTLE_S)
        first = max(sent)
        sleep(given.seconds)
        is_over.set()
        publisher.join()
        sleep(0.5)
    firsts = [one.first_s * 1000 for one in viewers if one.kind == "mp4"]
    print(
        f"first picture  {firsts[0]:.0f} ms of the first viewer, {max(firsts[1:]):.0f} ms of those after it"
    )
    late = 0.0
    for kind in ("flv", "mp4"):
        found = [at - sent[number] for one in viewers if one.kind == kind for number, at in one.seen.items()
                 if number > first]  # fmt: skip
        late = percentiles(f"{kind} delay", found)
    return int(late > given.most or firsts[0] > given.first)


if __name__ == "__main__":
    sys.exit(main())

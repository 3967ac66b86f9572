#!/usr/bin/env python3
"""Measure how long a player waits for its first picture on a channel with a cache; prints the median.

    scripts/measure_join.py [--joins 20]

The time runs from sending `play` to having read the whole keyframe, on joins of an own server process.
"""

from __future__ import annotations

import argparse
import os
import socket
import statistics
import subprocess
import sys
import time
from pathlib import Path

from own_python import use_venv

use_venv()

from benchlib.rtmpclient import (
    MSID,
    TYPE_VIDEO,
    WAIT_S,
    Client,
    Target,
    pack_message,
)
from benchlib.scenarios import Scenario
from benchlib.stream import AVC_HEADER, stamp, templates

PROJECT = Path(__file__).resolve().parent.parent
CHUNK_SIZE = 4096
START_S = 20.0
SCENARIO = Scenario(
    name="join", publishers=1, players=0, bitrate_mbit=4.0, fps=30.0, gop_s=2.0, chunk_size=CHUNK_SIZE
)


class JoiningClient(Client):
    """A client that notes when it asked to play."""

    asked_at = 0.0

    def command_play(self) -> None:
        """Ask to play once `createStream` is answered. Blocks up to `WAIT_S`."""
        self._wait_for_stream()
        self.asked_at = time.monotonic()
        self.rtmp.ask_play(self.stream_name, MSID)

    def wait_for_picture(self) -> float:
        """Return the seconds from `play` to the first picture, which must be a keyframe."""
        self.sock.settimeout(WAIT_S)
        while True:
            for type_id, _length, head in self.messages():
                if type_id == TYPE_VIDEO and head[1] == 1:
                    if head[0] != 0x17:
                        sys.exit("the first picture is not a keyframe")
                    return time.monotonic() - self.asked_at


def main() -> int:
    """Start a server, publish one GOP, join it again and again."""
    parser = argparse.ArgumentParser(description="Measure how long a player waits for its first picture.")
    parser.add_argument("--joins", type=int, default=20)
    joins: int = parser.parse_args().joins
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    settings = {"RTMP_PORT": str(port), "BIND_ADDRESS": "127.0.0.1", "CONCURRENT_LIMIT_WHITELIST": "*"}
    server = subprocess.Popen(
        [sys.executable, "-m", "rtmpsrv"],
        env=os.environ | settings | {"PYTHONPATH": str(PROJECT)},
        stdout=subprocess.DEVNULL,
    )
    try:
        target = Target("127.0.0.1", port)
        publisher = _publish(target)
        _join(target)  # the server has read the GOP after this one
        times_ms = [1000 * _join(target) for _ in range(joins)]
        publisher.close()
    finally:
        server.terminate()
        server.wait()
    print(
        f"play to first picture, {joins} joins: median {statistics.median(times_ms):.2f} ms,"
        f" lowest {min(times_ms):.2f} ms, highest {max(times_ms):.2f} ms"
    )
    return 0


def _join(target: Target) -> float:
    player = JoiningClient(target, 0, head_bytes=2)
    player.command_connect()
    player.command_play()
    seconds = player.wait_for_picture()
    player.close()
    return seconds


def _publish(target: Target) -> Client:
    """Put one GOP on the air and keep the connection; blocks until a player can have it."""
    give_up_at = time.monotonic() + START_S
    while True:
        try:
            client = Client(target, 0)
            break
        except ConnectionRefusedError:
            if time.monotonic() > give_up_at:
                raise
            time.sleep(0.05)
    client.command_connect(CHUNK_SIZE)
    client.command_publish()
    client.go()
    client.sock.settimeout(WAIT_S)
    made = templates(SCENARIO)
    client.sock.sendall(pack_message(6, TYPE_VIDEO, 1, AVC_HEADER, CHUNK_SIZE))
    for number in range(round(SCENARIO.fps * SCENARIO.gop_s)):
        message = made.inter if number else made.keyframe
        stamp(message, TYPE_VIDEO, round(1000 * number / SCENARIO.fps), time.monotonic_ns(), number)
        client.sock.sendall(message)
    return client


if __name__ == "__main__":
    sys.exit(main())

#!/usr/bin/env python3
"""Measure what one message costs in the packages that may be compiled, without sockets; prints both builds.

    scripts/measure_compiled.py [--rounds 5]

Needs build/compiled, which scripts/check_compiled makes. The builds take turns, each in a process of its own;
the least of all rounds counts, in microseconds. Followers are sent to /dev/null.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from own_python import use_venv

PROJECT = Path(__file__).resolve().parent.parent
COMPILED = PROJECT / "build" / "compiled"
REPEATS = 5  # in one process
FRAME_BYTES = 4000
SOUND_BYTES = 300
PAIRS = 300  # of video and audio messages in a stream
CALLS = 5000  # of functions that take no stream


class NoClock:
    """Time goes by only when told; timers never run."""

    def __init__(self) -> None:
        self.time_s = 0.0
        self.now = lambda: self.time_s
        self.pressure = 0.0

    def call_later(self, delay_s: float, callback: Callable[[], None]) -> NoClock:
        return self

    def stop(self) -> None:
        pass


class NoSink:
    """A socket that takes everything."""

    socket = os.open(os.devnull, os.O_WRONLY)
    bytes_out = 0

    def credit(self, count: int) -> None:
        pass

    def sendfile(self, fd: int, offset: int, count: int) -> int:
        return count

    def offer(self, data: bytes) -> bool:
        return True

    def reply(self, data: bytes) -> None:
        pass

    def kick(self) -> None:
        pass

    def coalesce(self) -> None:
        pass

    def end_when_empty(self) -> None:
        """Nothing ends."""


def microseconds(work: Callable[[], int]) -> float:
    """Return the least that one message took; `work` returns how many it handled."""
    least = float("inf")
    for _ in range(REPEATS):
        began = time.perf_counter()
        count = work()
        least = min(least, (time.perf_counter() - began) / count)
    return least * 1e6


def measure() -> dict[str, float]:
    """Return microseconds by what is done, for the build that this process imports."""
    from rtmpsrv.live.channel import Channel
    from rtmpsrv.live.output import LiveLimits
    from rtmpsrv.live.player import Player, PlayerState
    from rtmpsrv.live.registry import Registry
    from rtmpsrv.media import classify
    from rtmpsrv.protocol.chunks import ChunkReader, pack

    video, sound = b"\x27\x01\0\0\0" + bytes(FRAME_BYTES), b"\xaf\x01" + bytes(SOUND_BYTES)
    keyframe = (9, 0, 1, b"\x17\x01\0\0\0" + bytes(FRAME_BYTES), 6)
    stream = [
        message for n in range(PAIRS) for message in ((9, n * 33, 1, video, 6), (8, n * 33, 1, sound, 4))
    ]
    found: dict[str, float] = {}

    def read(chunk_size: int) -> Callable[[], int]:
        data = b"".join(
            [pack(csid, at, kind, msid, body, chunk_size) for kind, at, msid, body, csid in stream]
        )
        blocks = [data[begin : begin + 65536] for begin in range(0, len(data), 65536)]

        def work() -> int:
            reader = ChunkReader(chunk_size)
            return sum([len(reader.feed(block)) for block in blocks])

        return work

    def frame(chunk_size: int) -> Callable[[], int]:
        def work() -> int:
            for _ in range(CALLS):
                pack(6, 1000, 9, 1, video, chunk_size)
            return CALLS

        return work

    def look() -> int:
        for _ in range(CALLS):
            classify.classify_video(video)
        return CALLS

    def append(followers: int) -> Callable[[], int]:
        clock = NoClock()
        registry: Registry[str] = Registry(clock, LiveLimits(), 1 << 30, 4096)
        channel: Channel = registry.open("channel")
        channel.start()
        channel.append([keyframe])
        for _ in range(followers):
            player = Player(NoSink(), PlayerState())
            channel.join(player)
            while player.step(False):
                pass
        batches = [[message] for message in [keyframe, *stream]]

        def work() -> int:
            for batch in batches:
                clock.time_s += 0.033
                channel.append(batch)
            return len(batches)

        return work

    for size in (128, 4096):
        found[f"read a message, {size} bytes a chunk"] = microseconds(read(size))
    found["classify a frame"] = microseconds(look)
    for size in (128, 4096):
        found[f"frame a message, {size} bytes a chunk"] = microseconds(frame(size))
    for followers in (0, 1, 6, 300):
        found[f"append a message, {followers} followers"] = microseconds(append(followers))
    return found


def run(directory: Path) -> dict[str, float]:
    """Measure in a process that imports the server from a directory."""
    command = [sys.executable, str(Path(__file__).resolve()), "--measure", str(directory)]
    figures: dict[str, float] = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    return figures


def main() -> int:
    """Print the table, or what one process measured."""
    use_venv()
    parser = argparse.ArgumentParser(description="Compare the two builds, message by message.")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--measure", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        sys.path.insert(0, str(options.measure))
        json.dump(measure(), sys.stdout)
        return 0
    if not (COMPILED / "rtmpsrv").exists():
        print("build/compiled is not there: scripts/check_compiled makes it", file=sys.stderr)
        return 1
    rounds = [(run(PROJECT), run(COMPILED)) for _ in range(options.rounds)]
    print("| us | Python | compiled | ratio |\n|---|---|---|---|")
    for name in rounds[0][0]:
        ordinary, compiled = (min(one[build][name] for one in rounds) for build in (0, 1))
        print(f"| {name} | {ordinary:.2f} | {compiled:.2f} | {compiled / ordinary:.2f} |")
    return 0


if __name__ == "__main__":
    sys.exit(main())

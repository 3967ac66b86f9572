#!/usr/bin/env python3
"""Measure what recordings cost streams: the delay from publisher to player, and the server's CPU time.

Servers run side by side, each with a publisher and a player: two that record nothing, one that records,
and others whose disk is slow (each write takes 300 ms), hangs (60 s), or is full. Short rounds alternate
between them, so that all meet the same noise; p99 is that of the middle round. Wants a machine that has
nothing else to do. Then one server at a time has CHANNELS ffmpeg publishers of some 2.5 Mbit/s, which it
records as FLV, as MP4, or not.

    scripts/measure_recording.py [--rounds 50] [--messages 100] [--channels 20] [--seconds 10]
"""

from __future__ import annotations

import argparse
import errno
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from own_python import use_venv

use_venv()

from measured_channel import Channel, percentile_ms

from tests.client import stage
from tests.media_files import current_ffmpeg
from tests.server_process import PROJECT, ServerProcess

BAR = 1.2  # of the p99 without recordings
CONTROLS = ("nothing recorded", "nothing again")  # what differs between these is noise
PUBLISH = "-v error -nostdin -re -stream_loop -1 -i {file} -c copy -f flv rtmp://127.0.0.1:{port}/c{number}/k"
SAMPLE = (
    "-v error -nostdin -f lavfi -i testsrc2=size=1280x720:rate=30:duration=10 -f lavfi -i sine=duration=10"
    " -c:v libx264 -preset ultrafast -g 60 -b:v 2400k -maxrate 2400k -bufsize 2400k -pix_fmt yuv420p -c:a aac"
)

# Goes before all that the server imports: only recordings are written by other threads than its first.
STUB = """
import _thread, os, time
sleep, pwrite, ident = time.sleep, os.pwrite, _thread.get_ident  # not those of gevent
serving = ident()
def slow(fd, data, at):
    if ident() != serving:
        {what}
    return pwrite(fd, data, at)
os.pwrite = slow
"""
DISKS = {
    "slow": "sleep(0.3)",
    "hanging": "sleep(60)",
    "full": f"raise OSError({errno.ENOSPC}, 'No space left on device')",
}


def middle_ms(rounds: list[list[float]]) -> float:
    """Return the p99 of the middle round: others may have met the noise of the machine."""
    return statistics.median([percentile_ms(one, 0.99) for one in rounds])


def measure_delays(folder: Path, rounds: int, count: int) -> bool:
    """Print delays; tell whether they are within the bar."""
    channels: dict[str, Channel] = {}
    servers: dict[str, ServerProcess] = {}
    with ExitStack() as stack:
        for name in (*CONTROLS, "recorded", *DISKS):
            settings = {
                "RECORD": "NO" if name in CONTROLS else "YES",
                "RECORD_DIR": str(folder / name),
            }
            if name in DISKS:
                (folder / f"stub-{name}").mkdir()
                (folder / f"stub-{name}" / "sitecustomize.py").write_text(STUB.format(what=DISKS[name]))
                settings["PYTHONPATH"] = f"{folder / f'stub-{name}'}{os.pathsep}{PROJECT}"
            servers[name] = stack.enter_context(ServerProcess(**settings, DRAIN_TIMEOUT_SECONDS="1"))
            channels[name] = Channel(stack.enter_context(stage(servers[name].port)))
        delays: dict[str, list[list[float]]] = {name: [] for name in channels}
        names = list(channels)
        for _ in range(rounds):
            random.shuffle(names)
            for name in names:
                delays[name].append(channels[name].delays_s(count))
        for name in ("hanging", "full"):
            servers[name].wait_for_line("recording ended channel=one", timeout_s=30.0)
        usual = max([middle_ms(delays[name]) for name in CONTROLS])
        worst = 0.0
        for name, found in delays.items():
            p50, p99 = percentile_ms([one for some in found for one in some], 0.5), middle_ms(found)
            worst = max(worst, p99 / usual)
            ended = [
                line.rsplit(": ", 1)[1] for line in servers[name].matching("recording ended channel=one")
            ]
            print(
                f"{name:16} p50={p50:.2f} p99={p99:.2f} ms, {p99 / usual:.2f} x ({count * rounds} messages)"
                f"{'; ended: ' + ended[0] if ended else ''}"
            )
        return worst <= BAR


def cpu_s(pid: int) -> float:
    """Return the CPU time that a process has had."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def measure_cpu(folder: Path, channels: int, seconds: float) -> None:
    """Print what recordings cost."""
    sample = folder / "sample.flv"
    subprocess.run([current_ffmpeg(), *SAMPLE.split(), str(sample)], check=True)
    usual = 0.0
    for form in ("", "flv", "mp4"):
        settings = {"RECORD": "YES" if form else "NO", "RECORD_FORMAT": form or "flv"}
        settings |= {"RECORD_DIR": str(folder / f"cpu-{form}"), "CONCURRENT_LIMIT_WHITELIST": "*"}
        with ServerProcess(**settings) as server:
            publishers = [
                subprocess.Popen(
                    [
                        current_ffmpeg(),
                        *PUBLISH.format(file=sample, port=server.port, number=number).split(),
                    ]
                )
                for number in range(channels)
            ]
            try:
                server.wait_for_line("publish accepted", count=channels, timeout_s=60.0)
                if form:
                    server.wait_for_line("recording channel=", count=channels, timeout_s=60.0)
                before, began = cpu_s(server.process.pid), time.monotonic()
                time.sleep(seconds)
                share = 100 * (cpu_s(server.process.pid) - before) / (time.monotonic() - began)
                ended = len(server.matching("recording ended"))
            finally:
                for one in publishers:
                    one.kill()
                    one.wait()
            usual = usual or share
            more = (share - usual) / channels
            print(
                f"{channels} publishers, {form or 'nothing'} recorded: {share:.1f}% of a core,"
                f" {more:.2f}% more for each; {ended} ended"
            )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--rounds", type=int, default=50)
    parser.add_argument("--messages", type=int, default=100, help="of each round")
    parser.add_argument("--channels", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=10.0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        is_met = measure_delays(Path(folder), options.rounds, options.messages)
        print(f"p99 within {BAR} x: {'met' if is_met else 'MISSED'}")
        measure_cpu(Path(folder), options.channels, options.seconds)
    return 0 if is_met else 1


if __name__ == "__main__":
    sys.exit(main())

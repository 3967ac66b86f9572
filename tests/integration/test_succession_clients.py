"""Real encoders and players of which none notices that the server is succeeded, three times in a row.

Two runs for the module, one of a single process and one of two workers that are reloaded and upgraded: two
ffmpegs publish, six play each stream, two of them by RTMPS and one from before its publisher came. The tests
only look at what came of it.
"""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from subprocess import DEVNULL, PIPE
from typing import TypeVar

import gevent
import pytest

from tests.doubles.pairs import issue
from tests.media_files import (
    DURATION_S,
    HASH_OPTIONS,
    SAMPLES,
    Packet,
    current_ffmpeg,
    packets_of,
    parse_hashes,
    system_tool,
)
from tests.server_process import free_port
from tests.succession_process import Family

LONG_S = 14  # of the stream
JOIN_AT_S = 1.5
SUCCEED_AT_S = (4.0, 6.5, 9.0)
RELOADS = (signal.SIGHUP, signal.SIGUSR2, signal.SIGHUP)  # of several workers
DEADLINE_S = 50.0  # for any one wait: whatever takes longer hangs
KEY = "key"
CHANNELS: dict[str, Callable[[], str]] = {
    "debian": lambda: system_tool("ffmpeg"),
    "current": current_ffmpeg,
}  # whose ffmpeg publishes
EARLY = "early"
_Name = TypeVar("_Name", str, tuple[str, str])
PLAYERS = (EARLY, "late1", "late2", "late3", "rtmps1", "rtmps2")


@dataclass(slots=True)
class Run:
    """All that was published and played."""

    source: dict[str, list[Packet]]
    pids: list[list[int]] = field(
        default_factory=list
    )  # of those who serve, before and after each succession
    published: dict[str, tuple[int, str]] = field(default_factory=dict)  # exit code, what it said
    played: dict[tuple[str, str], tuple[int, str]] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)
    files: dict[tuple[str, str], Path] = field(default_factory=dict)


@pytest.fixture(scope="module", params=["one process", "two workers"])
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Publish and play both streams, and let the server be succeeded meanwhile."""
    directory = tmp_path_factory.mktemp("succession")
    sample = directory / "sample.flv"
    options = SAMPLES["h264_aac"].replace(f"duration={DURATION_S}", f"duration={LONG_S}")
    command = [current_ffmpeg(), "-v", "error", "-nostdin", "-y", *options.split(), str(sample)]
    subprocess.run(command, check=True, timeout=60, stderr=DEVNULL)
    chain, key = issue().write(directory)
    tls_port = free_port()
    settings = {"WORKERS": "2"} if request.param == "two workers" else {}
    settings |= {"SSL_PORT": str(tls_port), "SSL_CERT": str(chain), "SSL_KEY": str(key)}
    processes: list[subprocess.Popen[str]] = []
    result = Run(packets_of(sample))
    with Family(CONCURRENT_LIMIT_WHITELIST="*", BIND_ADDRESS="127.0.0.1", **settings) as family:
        family.wait_for_line(r"\[SERVER:TLS\] \[INFO\] Listening on ")
        result.pids.append(family.workers() or [family.pid])
        try:
            _perform(family, tls_port, sample, directory, result, processes)
        finally:
            for process in processes:
                if process.poll() is None:
                    process.kill()
                process.wait()
        result.faults = family.faults()
    return result


def _perform(
    family: Family,
    tls_port: int,
    sample: Path,
    directory: Path,
    run: Run,
    processes: list[subprocess.Popen[str]],
) -> None:
    def start(command: list[str], stdout: int) -> subprocess.Popen[str]:
        process = subprocess.Popen(command, stdin=DEVNULL, stdout=stdout, stderr=PIPE, text=True)
        processes.append(process)
        return process

    def play(channel: str, player: str) -> None:
        program = [system_tool("ffmpeg")] if player in ("late2", "rtmps2") else [current_ffmpeg()]
        if player == "rtmps1":
            program += ["-tls_verify", "0"]  # which it does unless told so
        scheme, port = ("rtmps", tls_port) if player.startswith("rtmps") else ("rtmp", family.port)
        output = run.files[channel, player] = directory / f"{channel}-{player}.hash"
        url = f"{scheme}://127.0.0.1:{port}/{channel}/{KEY}"
        players[channel, player] = start(
            [*program, "-v", "error", "-nostdin", "-i", url, *HASH_OPTIONS, str(output)], DEVNULL
        )

    players: dict[tuple[str, str], subprocess.Popen[str]] = {}
    for channel in CHANNELS:
        play(channel, EARLY)
    family.wait_for_line(r"PLAY \(\d+\): ", count=len(players), timeout_s=DEADLINE_S)
    publishers = {}
    for channel, program in CHANNELS.items():
        url = f"rtmp://127.0.0.1:{family.port}/{channel}/{KEY}"
        options = "-v error -nostdin -stats_period 0.1 -progress pipe:1 -re -i"
        command = [program(), *options.split(), str(sample), "-map", "0", "-c", "copy", "-f", "flv", url]
        publishers[channel] = start(command, PIPE)
    clock = publishers["current"]
    _await_position(clock, JOIN_AT_S)
    for channel in CHANNELS:
        for player in PLAYERS[1:]:
            play(channel, player)
    family.wait_for_line(r"PLAY \(\d+\): ", count=len(players), timeout_s=DEADLINE_S)
    for position, number in zip(SUCCEED_AT_S, RELOADS, strict=True):
        _await_position(clock, position)
        run.pids.append(family.reload(number) if family.workers() else [family.succeed()])
    run.published |= _ends_of(publishers)
    run.played |= _ends_of(players)


def _ends_of(processes: dict[_Name, subprocess.Popen[str]]) -> dict[_Name, tuple[int, str]]:
    """Wait for all to end; give exit code and what each had to say."""
    waiting = {
        name: gevent.spawn(process.communicate, timeout=DEADLINE_S) for name, process in processes.items()
    }
    gevent.joinall(list(waiting.values()), raise_error=True)
    return {name: (process.returncode, waiting[name].get()[1]) for name, process in processes.items()}


def _await_position(publisher: subprocess.Popen[str], position_s: float) -> None:
    """Wait until a publisher has come so far in its stream."""
    assert publisher.stdout is not None
    with gevent.Timeout(DEADLINE_S):
        for line in iter(publisher.stdout.readline, ""):
            name, _, value = line.partition("=")
            if name == "out_time_us" and value.strip() != "N/A" and float(value) / 1e6 >= position_s:
                return
    raise AssertionError(f"the publisher ended before {position_s} s")


def test_each_succession_brought_other_processes(run: Run) -> None:
    served = [pid for pids in run.pids for pid in pids]
    assert len(set(served)) == len(served) == len(run.pids[0]) * (1 + len(SUCCEED_AT_S))


def test_the_log_shows_no_bug(run: Run) -> None:
    assert run.faults == []


@pytest.mark.parametrize("channel", CHANNELS)
def test_publisher_ends_without_an_error(run: Run, channel: str) -> None:
    assert run.published[channel] == (0, "")


@pytest.mark.parametrize("player", PLAYERS)
@pytest.mark.parametrize("channel", CHANNELS)
def test_player_gets_every_packet_from_where_it_joined_to_the_end(
    run: Run, channel: str, player: str
) -> None:
    status, errors = run.played[channel, player]
    assert status == 0, errors
    played = parse_hashes(run.files[channel, player].read_text())
    assert played.keys() == run.source.keys()
    for name, packets in played.items():
        hashes = [packet.hash for packet in run.source[name]]
        start = hashes.index(packets[0].hash)
        assert [packet.hash for packet in packets] == hashes[start:]
        times = [packet.dts - packets[0].dts for packet in packets]
        assert times == [packet.dts - run.source[name][start].dts for packet in run.source[name][start:]]
        # Who joins on a busy machine may be late for the first succession, not for the others.
        assert start == 0 if player == EARLY else start < len(hashes) * SUCCEED_AT_S[1] / LONG_S

"""The pure parts of scripts/bench: chunks, stamps, rates, verdicts. No server and no load is started."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import pytest

from rtmpsrv.protocol.chunks import ChunkReader

sys.path.append(str(Path(__file__).resolve().parents[2] / "scripts"))
client = importlib.import_module("benchlib.rtmpclient")
report = importlib.import_module("benchlib.report")
run = importlib.import_module("benchlib.run")
scenarios = importlib.import_module("benchlib.scenarios")
stream = importlib.import_module("benchlib.stream")


@pytest.mark.parametrize("chunk_size", [128, 4096])
@pytest.mark.parametrize("cut", [1, 7, 128, 100_000])
def test_a_stamp_survives_chunks_and_cuts(chunk_size: int, cut: int) -> None:
    made = stream.templates(scenarios.Scenario(chunk_size=chunk_size))
    wire = client.pack_message(2, client.TYPE_CHUNK_SIZE, 0, chunk_size.to_bytes(4, "big"))
    for number, (message, type_id) in enumerate([(made.keyframe, 9), (made.audio, 8), (made.inter, 9)]):
        stream.stamp(message, type_id, 1000, 12345 + number, number)
        wire += bytes(message)
    reader = ChunkReader()
    messages = [found for at in range(0, len(wire), cut) for found in reader.feed(wire[at : at + cut])]
    stamps = [stream.stamp_of(found[0], found[3][: stream.STAMPED_HEAD]) for found in messages[1:]]
    assert stamps == [(12345, 0), (12346, 1), (12347, 2)]
    assert len(messages[1][3]) == stream.frame_sizes(scenarios.Scenario())[0]


def test_a_sequence_header_has_no_stamp() -> None:
    assert stream.stamp_of(client.TYPE_VIDEO, stream.AVC_HEADER[: stream.STAMPED_HEAD]) is None
    assert stream.stamp_of(client.TYPE_AUDIO, stream.AAC_HEADER) is None


def test_frames_of_a_gop_make_the_bitrate() -> None:
    key, inter = stream.frame_sizes(scenarios.Scenario(bitrate_mbit=2.5, fps=30, gop_s=2))
    assert (key + 59 * inter) * 8 / 2 == pytest.approx(2.5e6, rel=0.01)


@pytest.mark.parametrize(
    ("publishers", "players", "plan"), [(1, 300, (1, 5)), (1, 2, (1, 2)), (100, 1, (10, 1)), (3, 2, (3, 2))]
)
def test_probes_never_outnumber_players(publishers: int, players: int, plan: tuple[int, int]) -> None:
    assert run.probe_plan(scenarios.Scenario(publishers=publishers, players=players)) == plan


def _row(server: str, **values: float) -> object:
    every = {key: 0.0 for _, key, _ in report.COLUMNS}
    return report.Row(server, "fanout300", 1, every | values)


def test_a_row_under_a_busy_load_is_called_doubtful() -> None:
    rows = [_row("ours", load_cpu_percent=96.0), _row("nginx", load_cpu_percent=20.0)]
    (line,) = report.doubts(rows, load_cores=1)
    assert "ours" in line


def test_a_missed_bar_is_called_missed() -> None:
    middle = report.medians(
        [_row("ours", ms_per_player_s=0.3, p99_ms=39.0), _row("nginx", ms_per_player_s=0.2, p99_ms=9.0)]
    )
    lines = report.verdicts(scenarios.presets()["fanout300"], middle)
    assert [line.split()[0] for line in lines] == ["MISS", "ok", "ok", "ok"]


@pytest.mark.parametrize(("cpu", "verdict"), [(12.5, "ok"), (12.6, "MISS")])
def test_the_endpoint_is_held_against_the_stand_alone_server(cpu: float, verdict: str) -> None:
    middle = report.medians(
        [_row("ours", ms_per_player_s=0.1, cpu_percent=10.0), _row("endpoint", cpu_percent=cpu)]
    )
    lines = report.verdicts(scenarios.presets()["fanout300"], middle)
    (line,) = [line for line in lines if "endpoint / of" in line]
    assert line.startswith(verdict)
    assert any(line.startswith("endpoint / ours: CPU 1.2") for line in report.ratios(middle))

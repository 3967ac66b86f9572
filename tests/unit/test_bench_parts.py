"""The pure parts of scripts/bench: chunks, stamps, rates, verdicts. No server, no load is started."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import pytest

from rtmpsrv.protocol.chunks import ChunkReader

sys.path.append(str(Path(__file__).resolve().parents[2] / "scripts"))
bars = importlib.import_module("benchlib.bars")
cli = importlib.import_module("benchlib.cli")
client = importlib.import_module("benchlib.rtmpclient")
lateness = importlib.import_module("benchlib.lateness")
options = importlib.import_module("benchlib.options")
report = importlib.import_module("benchlib.report")
run = importlib.import_module("benchlib.run")
scenarios = importlib.import_module("benchlib.scenarios")
stream = importlib.import_module("benchlib.stream")
workers = importlib.import_module("benchlib.workers")


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


def test_a_row_on_a_machine_that_was_busy_before_is_called_doubtful() -> None:
    (line,) = report.doubts([_row("ours", before_percent=150.0), _row("nginx")], load_cores=1)
    assert "ours" in line
    assert "before" in line


def _verdicts(scenario: str, rows: list[object], **builds: str) -> list[str]:
    lines: list[str] = bars.verdicts(scenarios.presets()[scenario], report.medians(rows), builds)
    return lines


def test_a_missed_bar_is_called_missed() -> None:
    rows = [_row("ours", cpu_percent=30.0, p99_ms=39.0), _row("nginx", cpu_percent=20.0, p99_ms=9.0)]
    lines = _verdicts("fanout300", rows, ours="pure")
    assert [line.split()[0] for line in lines] == ["MISS", "ok", "ok", "ok"]


def test_each_build_is_held_against_its_own_bars() -> None:
    rows = [_row("ours", cpu_percent=11.0), _row("fast", cpu_percent=11.0), _row("nginx", cpu_percent=10.0)]
    lines = _verdicts("ingest100", rows, ours="pure", fast="compiled")
    assert [line[:12] for line in lines if "CPU" in line] == ["ok   ours: C", "MISS fast: C"]


def test_without_nginx_no_ratio_is_judged() -> None:
    lines = _verdicts("ingest100", [_row("ours", cpu_percent=11.0)], ours="pure")
    assert not [line for line in lines if "CPU" in line]


def test_bars_name_presets_only() -> None:
    assert bars.BARS.keys() <= scenarios.presets().keys()


@pytest.mark.parametrize(("cpu", "verdict"), [(12.5, "ok"), (12.6, "MISS")])
def test_the_endpoint_is_held_against_the_stand_alone_server(cpu: float, verdict: str) -> None:
    rows = [_row("ours", cpu_percent=10.0), _row("endpoint", cpu_percent=cpu)]
    (line,) = [line for line in _verdicts("fanout300", rows, ours="pure") if "/ of the" in line]
    assert line.startswith(verdict)
    assert any(line.startswith("endpoint / ours: CPU 1.2") for line in report.ratios(report.medians(rows)))


@pytest.mark.parametrize(("cpu", "verdict"), [(5.0, "ok"), (5.1, "MISS")])
def test_a_stalled_player_may_cost_others_little(cpu: float, verdict: str) -> None:
    rows = [_row("ours", p99_ms=2.5), _row("ours+stalled", p99_ms=cpu)]
    (line,) = [line for line in _verdicts("stalled", rows, ours="pure") if "p99 beside" in line]
    assert line.startswith(verdict)


# ---- lateness ----


def test_without_a_round_nobody_is_late() -> None:
    assert lateness.Lateness().percentile_ms(0.99) == 0


def test_a_long_round_weighs_as_much_as_it_lasts() -> None:
    late = lateness.Lateness()
    for _ in range(100):
        late.note(100_000)
    late.note(10_500_000)
    assert late.percentile_ms(0.4) == 1
    assert late.percentile_ms(0.99) == 11


def test_a_round_longer_than_the_histogram_counts_at_its_end() -> None:
    late = lateness.Lateness()
    late.note(5_000_000_000)
    assert late.percentile_ms(0.5) == lateness.MOST_MS + 1


# ---- options ----


def test_another_interpreter_is_a_server_of_its_own() -> None:
    chosen = options.parse(["--ours", f"compiled={sys.executable}", "--only", "compiled", "--only", "nginx"])
    assert chosen.ours == [("compiled", sys.executable)]
    assert chosen.only == ["compiled", "nginx"]


@pytest.mark.parametrize(
    "arguments",
    [
        ["--ours", "/usr/bin/python3"],
        ["--ours", "a=/no/such/python"],
        ["--ours", f"nginx={sys.executable}"],
        ["--ours", f"a={sys.executable}", "--ours", f"a={sys.executable}"],
        ["--only", "apache"],
        ["--peer", "127.0.0.1:1935"],
        ["--players", "0"],
        ["--chunk-size", "63"],
    ],
)
def test_arguments_that_make_no_sense_are_refused(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        options.parse(arguments)
    assert ended.value.code == 2
    assert arguments[0] in capsys.readouterr().err


def test_options_override_a_preset() -> None:
    (scenario,) = options.scenarios(options.parse(["--scenario", "fanout1000-low", "--fps", "25"]))
    assert (scenario.players, scenario.fps, scenario.bitrate_mbit) == (1000, 25.0, 0.6)


def test_each_server_has_each_place_in_a_round() -> None:
    starters = dict.fromkeys(("ours", "compiled", "nginx"))
    bench = cli.Bench(starters, {}, workers.Cores(frozenset({0}), frozenset({1})), 3, 0.0)
    turns = list(cli._turns(bench))
    assert [number for number, _ in turns] == [1, 1, 1, 2, 2, 2, 3, 3, 3]
    for place in range(3):
        assert {name for _, name in turns[place::3]} == set(starters)

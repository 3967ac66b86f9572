"""The pure parts of scripts/bench: chunks, stamps, rates, ramps, verdicts. No server, no load is started."""

from __future__ import annotations

import importlib
import select
import socket
import sys
from pathlib import Path

import pytest

from rtmpsrv.protocol.chunks import ChunkReader

sys.path.append(str(Path(__file__).resolve().parents[2] / "scripts"))
bars = importlib.import_module("benchlib.bars")
capacity = importlib.import_module("benchlib.capacity")
cli = importlib.import_module("benchlib.cli")
client = importlib.import_module("benchlib.rtmpclient")
flvclient = importlib.import_module("benchlib.flvclient")
lateness = importlib.import_module("benchlib.lateness")
options = importlib.import_module("benchlib.options")
ramp = importlib.import_module("benchlib.ramp")
ramp_report = importlib.import_module("benchlib.ramp_report")
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


@pytest.mark.parametrize(
    ("cpu", "p99", "lost", "verdicts"),
    [(0.135, 13.0, 0, ["ok", "ok", "ok"]), (0.136, 13.1, 1, ["MISS", "MISS", "MISS"])],
)
def test_several_workers_are_held_against_one_process(
    cpu: float, p99: float, lost: float, verdicts: list[str]
) -> None:
    rows = [
        _row("ours", ms_per_player_s=0.1, p99_ms=10.0),
        _row("ours+workers", ms_per_player_s=cpu, p99_ms=p99, lost=lost),
    ]
    lines = [line for line in _verdicts("workers1000", rows, ours="pure") if "several workers" in line]
    assert [line.split()[0] for line in lines] == verdicts
    assert any(line.startswith("ours+workers / ours:") for line in report.ratios(report.medians(rows)))


@pytest.mark.parametrize(
    ("preset", "name", "figures", "kept"),
    [
        ("flv300", "ours+flv", {"ms_per_player_s": 1.1}, True),
        ("flv300", "ours+flv", {"ms_per_player_s": 1.2}, False),
        ("flv300", "ours+flv", {"ms_per_player_s": 1.0, "lost": 1}, False),
        ("unwatched50", "ours+nohttp", {"cpu_percent": 0.99}, True),
        ("unwatched50", "ours+nohttp", {"cpu_percent": 0.97}, False),
    ],
)
def test_http_is_held_against_rtmp(preset: str, name: str, figures: dict[str, float], kept: bool) -> None:
    rows = [_row("ours", ms_per_player_s=1.0, cpu_percent=1.0), _row(name, **figures)]
    lines = [line for line in _verdicts(preset, rows, ours="pure") if "HTTP" in line]
    assert all(line.startswith("ok") for line in lines) == kept, lines


def test_only_our_servers_run_with_http() -> None:
    preset = scenarios.presets()["flv1000"]
    assert [(one.flv, run.variant_of(one)) for one in cli._variants(preset, ours=True)] == [
        (False, ""),
        (True, "+flv"),
    ]
    assert len(cli._variants(preset, ours=False)) == 1
    unwatched = scenarios.presets()["unwatched50"]
    assert [run.variant_of(one) for one in cli._variants(unwatched, ours=True)] == ["", "+nohttp"]


@pytest.mark.parametrize("cut", [1, 2, 3, 5, 100])
def test_a_viewer_takes_the_frames_of_chunked_transfer_away(cut: int) -> None:
    wire = b"5\r\nhello\r\n1A\r\n" + bytes(range(26)) + b"\r\n"
    chunks = flvclient.Chunks()
    assert b"".join(chunks.take(wire[at : at + cut]) for at in range(0, len(wire), cut)) == b"hello" + bytes(
        range(26)
    )


@pytest.mark.parametrize("head", [b"", b"Transfer-Encoding: chunked\r\n"])
def test_a_viewer_finds_stamps_in_tags(head: bytes) -> None:
    body = bytes(stream.templates(scenarios.Scenario()).audio[stream.CHUNK_HEADER :])
    tag = b"\x08" + len(body).to_bytes(3) + bytes(7) + body + bytes(4)
    wire = b"FLV\1\5\0\0\0\x09\0\0\0\0" + tag + tag + tag[:50]
    if head:
        wire = f"{len(wire):x}\r\n".encode() + wire
    with socket.create_server(("127.0.0.1", 0)) as listener:
        target = client.Target("127.0.0.1", 0, http_port=listener.getsockname()[1])
        viewer = flvclient.FlvClient(target, 7, stream.STAMPED_HEAD)
        peer, _ = listener.accept()
        with peer:
            viewer.command_connect()
            assert peer.recv(1000).startswith(b"GET /bench7.flv?key=key HTTP/1.1\r\n")
            peer.sendall(b"HTTP/1.1 200 OK\r\n" + head + b"\r\n" + wire)
            viewer.go()
            found: list[object] = []
            while len(found) < 2:
                select.select([viewer.raw], [], [], 0.1)
                found += viewer.messages()
            assert found == [(8, len(body), body[: stream.STAMPED_HEAD])] * 2
        viewer.close()


def test_a_viewer_that_is_refused_says_so() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        viewer = flvclient.FlvClient(client.Target("127.0.0.1", 0, http_port=listener.getsockname()[1]), 7)
        peer, _ = listener.accept()
        with peer:
            peer.sendall(b"HTTP/1.1 403 Forbidden\r\n\r\n")
            with pytest.raises(client.ClientError, match="403 Forbidden"):
                viewer.go()
        viewer.close()


def test_only_our_servers_run_with_several_workers() -> None:
    preset = scenarios.presets()["workers1000"]
    assert [one.workers for one in cli._variants(preset, ours=True)] == [1, 2]
    assert [one.workers for one in cli._variants(preset, ours=False)] == [1]
    stalled = scenarios.presets()["stalled"]
    assert [one.stalled for one in cli._variants(stalled, ours=False)] == [False, True]


@pytest.mark.parametrize(("players", "verdict"), [(2500, "ok"), (2499, "MISS")])
def test_capacity_is_held_against_nginx(players: int, verdict: str) -> None:
    (line,) = bars.capacity_verdicts({"ours": players, "nginx": 1000, "endpoint": 10}, {"ours": "pure"})
    assert line.startswith(verdict)


# ---- ramps ----


def _step(players: int, **values: float) -> object:
    usual = {
        **{"players": players, "p50_ms": 10.0, "p99_ms": 100.0, "lost": 0, "closed": 0},
        **{"server_percent": 50.0, "server_cpu_percent": 50.0, "load_percent": 50.0},
        **{"load_cpu_percent": 50.0, "other_percent": 0.0, "reads_late_ms": 5.0},
        **{"probe_late_ms": 1.0, "publisher_late_ms": 1.0},
    }
    return ramp.Step(**(usual | values))


def _ramp_to(limit: int, first: int = 1000, most: int = 20_000) -> list[object]:
    """Run a ramp against a server that carries `limit` players, with CPU in proportion."""
    steps: list[object] = []
    while (players := ramp.next_players(steps, first, most)) is not None:
        cpu = min(100.0, 100 * players / max(1, limit))
        failed = {"p99_ms": 251.0} if players > limit else {}
        steps.append(_step(players, **({"server_cpu_percent": cpu, "server_percent": cpu} | failed)))
        assert len(steps) < 60
    return steps


@pytest.mark.parametrize("limit", [150, 900, 1000, 4321, 15_000])
def test_a_ramp_finds_the_limit_to_a_twentieth(limit: int) -> None:
    found = ramp.carried(_ramp_to(limit))
    assert limit * 0.92 - ramp.FINEST <= found <= limit


def test_a_ramp_ends_at_the_most_that_is_asked_for() -> None:
    steps = _ramp_to(50_000, most=7000)
    assert ramp.carried(steps) == 7000
    assert ramp.bound(steps, "7000 players were asked for").startswith("neither: 7000 players were")


def test_a_server_that_carries_nobody_ends_the_ramp() -> None:
    assert ramp.carried(_ramp_to(0)) == 0


def test_a_step_that_failed_is_tried_again_once() -> None:
    steps = [_step(1000), _step(1400, p99_ms=300.0)]
    assert ramp.next_players(steps, 1000, 9000) == 1400
    steps.append(_step(1400, p99_ms=300.0))
    assert ramp.next_players(steps, 1000, 9000) == 1050


def test_a_hiccup_is_no_limit() -> None:
    steps = [_step(1000), _step(1400, lost=3), _step(1400)]
    assert ramp.next_players(steps, 1000, 9000) > 1400
    assert ramp.bound(steps, "minutes").startswith("neither: minutes")


@pytest.mark.parametrize(
    ("values", "held"),
    [
        ({"p99_ms": 250.0}, True),
        ({"p99_ms": 250.1}, False),
        ({"p99_ms": float("nan")}, False),
        ({"lost": 1}, False),
        ({"closed": 1}, False),
    ],
)
def test_a_step_holds_while_nothing_is_late_or_lost(values: dict[str, float], held: bool) -> None:
    assert _step(1000, **values).held is held  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("values", "side"),
    [
        ({"server_percent": 99.0}, "server CPU:"),
        ({"load_percent": 99.0}, "load:"),
        ({"reads_late_ms": 300.0}, "load:"),
        ({"server_percent": 99.0, "load_percent": 99.0}, "server and load, both full:"),
        ({}, "server, with time left:"),
    ],
)
def test_what_bounded_a_server_is_named(values: dict[str, float], side: str) -> None:
    failing = _step(1050, **({"p99_ms": 400.0} | values))
    found = ramp.bound([_step(1000), failing, failing], "minutes")
    assert found.startswith(side)
    assert "1050 players p99 was 400 ms" in found


def test_the_median_of_rounds_is_compared_with_nginx() -> None:
    found = [
        ramp.Carried(server, "capacity", number, players, "server CPU", False, full, 20.0, (_step(players),))
        for server, counts in (("ours", (900, 1200, 1000)), ("nginx", (500, 400, 300)))
        for number, (players, full) in enumerate(zip(counts, (False, True, False), strict=True), 1)
    ]
    lines = ramp_report.capacities(found)
    assert "ours: median 1000 players, 2.50x nginx" in lines
    assert "doubtful: ours: the load was full at the limit in round 2" in lines


def test_a_ramp_that_was_cut_short_says_at_least() -> None:
    found = [ramp.Carried("ours", "capacity", 1, 900, "minutes", True, False, 20.0, (_step(900),))]
    assert "ours: median 900 players or more" in ramp_report.capacities(found)
    assert ramp_report.capped(found) == {"ours"}


def test_a_table_of_steps_has_a_cell_for_each_title() -> None:
    assert ramp_report.step_header().splitlines()[0].count("|") == ramp_report.step_line(_step(9)).count("|")


@pytest.mark.parametrize(
    ("counts", "missed"),
    [([], 0), ([5000, 5000], 0), ([4982, 5000], 0), ([3000, 4000, 5000], 3), ([0, 5000], 5)],
)
def test_a_frame_that_a_counting_player_missed_is_counted(counts: list[int], missed: int) -> None:
    assert capacity.frames_missed(counts, frame_bytes=1000) == missed


def test_a_ramp_ends_where_descriptors_do() -> None:
    unlimited, why = capacity.most_players(None)
    assert unlimited > 0
    assert "descriptors" in why or "ports" in why
    assert capacity.most_players(7) == (7, "7 players were the most asked for")


def test_a_step_counts_what_probes_and_players_missed() -> None:
    def counters(at: float, server: float, load: float, cores: float) -> object:
        return workers.Counters(at, server, {"players": load}, 2 * cores, cores, cores)

    results = {
        "publishers": {"sent": [300], "late_ns": [1_000_000]},
        "players": {"since_mark": [700_000, 700_000], "closed": 1, "late_p99_ms": 7.0},
        "probes": {"received": [(0, 300), (0, 298)], "closed": 0, "delay_ns": [], "latency_ns": [2_000_000]},
    }
    cores = workers.Cores(frozenset({0}), frozenset({1}))
    begin, end = counters(100.0, 5.0, 1.0, 50.0), counters(110.0, 9.0, 3.0, 57.0)
    scenario = scenarios.presets()["capacity"]
    step = capacity.step_of(scenario, 1000, begin, end, cores, results)
    assert (step.players, step.lost, step.closed, step.p99_ms) == (1000, 2, 1, 2.0)
    assert (step.server_percent, step.server_cpu_percent, step.load_percent) == (70.0, 40.0, 70.0)
    assert (step.load_cpu_percent, step.other_percent, step.reads_late_ms) == (20.0, 80.0, 7.0)


class _Load:
    """A load process that does at once what it is told."""

    def __init__(self) -> None:
        self.joined: list[int] = []
        self.left = 0

    def ask(self, verb: str, what: object, *_rest: object) -> None:
        if verb == "join":
            assert isinstance(what, list)
            self.joined.append(len(what))
        else:
            assert isinstance(what, int)
            self.left += what


def test_probes_are_spread_over_the_join_order_and_stay() -> None:
    players, probes = _Load(), _Load()
    crowd = capacity._Crowd(players, probes)
    crowd.bring_to(400)
    assert (players.joined, probes.joined, crowd.size) == ([149, 149, 99], [1, 1, 1], 400)
    crowd.bring_to(200)
    assert (players.left, crowd.size) == (200, 200)
    crowd.bring_to(301)
    assert (sum(players.joined) - players.left, len(probes.joined), crowd.size) == (298, 3, 301)


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
    (scenario,) = options.scenarios(
        options.parse(["--scenario", "capacity", "--ramp-to", "50", "--fps", "25"])
    )
    assert (scenario.ramp, scenario.ramp_to, scenario.fps, scenario.bitrate_mbit) == (True, 50, 25.0, 0.6)


def test_each_server_has_each_place_in_a_round() -> None:
    starters = dict.fromkeys(("ours", "compiled", "nginx"))
    bench = cli.Bench(starters, {}, workers.Cores(frozenset({0}), frozenset({1})), 3, 0.0, 1.0)
    turns = list(cli._turns(bench))
    assert [number for number, _ in turns] == [1, 1, 1, 2, 2, 2, 3, 3, 3]
    for place in range(3):
        assert {name for _, name in turns[place::3]} == set(starters)

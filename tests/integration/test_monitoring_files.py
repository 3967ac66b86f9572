"""The files for Prometheus and Grafana, by Prometheus's own tool: they parse, and alert when they should."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from flask import Flask

from rtmpsrv.web import metrics
from rtmpsrv.web.verdict import Verdicts
from tests.doubles.monitor_source import FakeSource
from tests.doubles.monitor_values import process
from tests.media_files import system_tool
from tests.monitoring_files import ALERTS, PROMETHEUS, alerts, dashboard, panels
from tests.pages import page

PROMTOOL_S = 60.0
FOR_THE_TEST = {"job": "rtmpsrv", "instance": "here"}
# Of each alert: series that set it off, what it has of labels, what it says; and series that do not.
CASES: dict[str, tuple[dict[str, str], dict[str, str], str, dict[str, str]]] = {
    "RtmpsrvDown": ({"up": "1 0x40"}, {}, "here does not answer.", {"up": "1x40"}),
    "RtmpsrvWorkerDown": (
        {'rtmpsrv_worker_up{worker="w2"}': "0x40"},
        {"worker": "w2"},
        "Worker w2 of here does not answer.",
        {'rtmpsrv_worker_up{worker="w2"}': "1x40"},
    ),
    "RtmpsrvEventLoopSlow": (
        {
            'rtmpsrv_event_loop_lag_seconds_bucket{le="0.1"}': "0+90x100",
            'rtmpsrv_event_loop_lag_seconds_bucket{le="1.0"}': "0+100x100",
            'rtmpsrv_event_loop_lag_seconds_bucket{le="+Inf"}': "0+100x100",
        },
        {},
        "here is 910ms late: it has more to do than it can.",
        {
            'rtmpsrv_event_loop_lag_seconds_bucket{le="0.1"}': "0+100x100",
            'rtmpsrv_event_loop_lag_seconds_bucket{le="1.0"}': "0+100x100",
            'rtmpsrv_event_loop_lag_seconds_bucket{le="+Inf"}': "0+100x100",
        },
    ),
    "RtmpsrvCertificateEnds": (
        {"rtmpsrv_tls_certificate_expiry_timestamp_seconds": "1000000x100"},
        {},
        "The certificate of here ends in 11d 13h 31m 40s.",
        {"rtmpsrv_tls_certificate_expiry_timestamp_seconds": "2000000x100"},
    ),
    "RtmpsrvCallbackFails": (
        {
            'rtmpsrv_callback_requests_total{event="publish",result="failed"}': "0+2x100",
            'rtmpsrv_callback_requests_total{event="publish",result="accepted"}': "0+8x100",
        },
        {},
        "20% of the callback's requests by here fail.",
        {
            'rtmpsrv_callback_requests_total{event="publish",result="failed"}': "0+1x100",
            'rtmpsrv_callback_requests_total{event="publish",result="accepted"}': "0+19x100",
        },
    ),
    "RtmpsrvMemoryBudgetNearlyFull": (
        {"rtmpsrv_memory_held_bytes": "95x100", "rtmpsrv_memory_budget_bytes": "100x100"},
        {},
        "here holds 95% of what peers may make it hold.",
        {"rtmpsrv_memory_held_bytes": "85x100", "rtmpsrv_memory_budget_bytes": "100x100"},
    ),
    "RtmpsrvRecordingFailed": (
        {'rtmpsrv_recordings_failed_total{reason="disk_full"}': "0+1x100"},
        {"reason": "disk_full"},
        "here does not record what it should: disk_full. Its log says which channel.",
        {'rtmpsrv_recordings_failed_total{reason="disk_full"}': "1x100"},
    ),
    "RtmpsrvFfmpegEnds": (
        {"rtmpsrv_ffmpeg_ends_total": "0+1x100"},
        {},
        "The process of here that begins MP4 and stills dies again and again: "
        "of what a stream sends, as a rule.",
        {"rtmpsrv_ffmpeg_ends_total": "0+1x2 2x97"},
    ),
    "RtmpsrvChannelBad": (
        {'rtmpsrv_channel_verdict{channel="x",state="bad"}': "1x100"},
        {"channel": "x", "state": "bad"},
        "The verdict on x is bad: the page of here says why.",
        {
            'rtmpsrv_channel_verdict{channel="x",state="bad"}': "0x100",
            'rtmpsrv_channel_verdict{channel="x",state="warning"}': "1x100",
        },
    ),
    "RtmpsrvChannelSilent": (
        {'rtmpsrv_channel_last_packet_timestamp_seconds{channel="x"}': "0x100"},
        {"channel": "x"},
        "Nothing has come to x for 15m 0s.",
        {'rtmpsrv_channel_last_packet_timestamp_seconds{channel="x"}': "0+30x100"},
    ),
    "RtmpsrvChannelStarves": (
        {'rtmpsrv_channel_media_rate_ratio{channel="x"}': "0.8x100"},
        {"channel": "x"},
        "x comes slower than it plays (80%).",
        {'rtmpsrv_channel_media_rate_ratio{channel="x"}': "0.9x100"},
    ),
    "RtmpsrvChannelKeyframesRare": (
        {'rtmpsrv_channel_keyframe_interval_seconds{channel="x"}': "12x100"},
        {"channel": "x"},
        "Keyframes of x come every 12s.",
        {'rtmpsrv_channel_keyframe_interval_seconds{channel="x"}': "8x100"},
    ),
    "RtmpsrvChannelSoundApart": (
        {'rtmpsrv_channel_av_offset_seconds{channel="x"}': "-1.5x100"},
        {"channel": "x"},
        "Sound and picture of x are 1.5s apart.",
        {'rtmpsrv_channel_av_offset_seconds{channel="x"}': "0.5x100"},
    ),
}
BY_INSTANCE_ONLY = {"RtmpsrvEventLoopSlow", "RtmpsrvCallbackFails", "RtmpsrvRecordingFailed"}


def promtool(*arguments: str, given: str = "") -> subprocess.CompletedProcess[str]:
    command = [system_tool("promtool"), *arguments]
    return subprocess.run(
        command, input=given, capture_output=True, text=True, timeout=PROMTOOL_S, check=False
    )


def metrics_text() -> str:
    app = Flask(__name__, static_folder=None)
    source = FakeSource(processes=[process(control_connected=True)])
    app.register_blueprint(metrics.blueprint(source, per_channel=True, verdicts=Verdicts()))
    client = app.test_client()
    client.get("/metrics")
    return client.get("/metrics").text


def test_promtool_has_nothing_to_say_about_the_metrics() -> None:
    done = promtool("check", "metrics", given=metrics_text())
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_promtool_would_say_it() -> None:
    text = metrics_text().replace("rtmpsrv_sent_bytes_total", "rtmpsrv_sent_bytes")
    assert promtool("check", "metrics", given=text).returncode != 0


def test_the_configuration_and_its_rules_are_valid() -> None:
    done = promtool("check", "config", str(PROMETHEUS))
    assert done.returncode == 0, done.stderr
    assert f"{len(CASES)} rules found" in done.stdout


def test_every_expression_of_the_dashboard_parses(tmp_path: Path) -> None:
    rules = [
        {"record": f"panel:{index}", "expr": expression}
        for index, (_, expressions) in enumerate(panels())
        for expression in expressions
    ]
    path = tmp_path / "panels.yml"
    path.write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]}))
    done = promtool("check", "rules", str(path))
    assert done.returncode == 0, done.stderr


def test_dashboard_and_alerts_ask_only_for_metrics_that_there_are() -> None:
    there = set(re.findall(r"^(rtmpsrv_\w+)", metrics_text(), re.MULTILINE))
    expressions = [expression for _, several in panels() for expression in several]
    asked = {
        name
        for one in (*expressions, *(one for _, one in alerts()))
        for name in re.findall(r"rtmpsrv_\w+", one)
    }
    assert asked - there == set()
    assert len(asked) > 20


def test_the_dashboard_is_one_grafana_can_import() -> None:
    read = dashboard()
    assert [one["name"] for one in read["templating"]["list"]] == ["datasource", "instance"]
    assert len({panel["id"] for panel in read["panels"]}) == len(read["panels"])
    assert len(list(panels())) in range(8, 25)
    first_row = {panel["title"] for panel in read["panels"] if panel["gridPos"]["y"] == 0}
    assert {"Channels live", "Viewers"} <= first_row
    sources = {panel["datasource"]["uid"] for panel in read["panels"] if panel["type"] != "row"}
    assert sources == {"${datasource}"}
    places = [tuple(panel["gridPos"][side] for side in "xywh") for panel in read["panels"]]
    cells = [(x + i, y + j) for x, y, w, h in places for i in range(w) for j in range(h)]
    assert len(cells) == len(set(cells))
    assert max(x for x, _ in cells) < 24


def test_every_alert_has_its_cases() -> None:
    assert {name for name, _ in alerts()} == set(CASES)


@pytest.mark.parametrize("name", CASES)
def test_an_alert_comes_when_it_should_and_only_then(name: str, tmp_path: Path) -> None:
    bad, labels, says, good = CASES[name]
    by_instance = {"instance": "here"} if name in BY_INSTANCE_ONLY else FOR_THE_TEST
    severity = next(
        rule["labels"]["severity"]
        for group in yaml.safe_load(ALERTS.read_text())["groups"]
        for rule in group["rules"]
        if rule["alert"] == name
    )
    found: dict[str, Any] = {
        "exp_labels": {**by_instance, **labels, "severity": severity},
        "exp_annotations": {"summary": says},
    }
    tests = [
        {
            "interval": "30s",
            "input_series": [{"series": labelled(one), "values": values} for one, values in series.items()],
            "alert_rule_test": [{"eval_time": "15m", "alertname": name, "exp_alerts": expected}],
        }
        for series, expected in ((bad, [found]), (good, []))
    ]
    path = tmp_path / "cases.yml"
    path.write_text(yaml.safe_dump({"rule_files": [str(ALERTS)], "tests": tests}))
    done = promtool("test", "rules", str(path))
    assert done.returncode == 0, done.stdout + done.stderr


def labelled(series: str) -> str:
    """Return the series with the labels of a scrape."""
    name, _, rest = series.partition("{")
    labels = ",".join(f'{label}="{value}"' for label, value in FOR_THE_TEST.items())
    return f"{name}{{{labels}{',' + rest if rest else '}'}"


def test_the_documentation_has_every_metric_and_no_other() -> None:
    told = re.findall(r"^\| `(rtmpsrv_\w+)`", page("metrics.md"), re.MULTILINE)
    there = re.findall(r"^# TYPE (rtmpsrv_\w+)", metrics_text(), re.MULTILINE)
    assert sorted(told) == sorted(there)

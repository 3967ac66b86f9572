"""`/metrics`: all names, their values over several processes, series of channels, hostile names."""

from __future__ import annotations

from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.metrics_core import Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families as read_openmetrics
from prometheus_client.parser import text_string_to_metric_families as read_text

from rtmpsrv.web import metrics
from rtmpsrv.web.source import Seen
from rtmpsrv.web.verdict import Verdicts
from tests.doubles.monitor_source import HTML_NAME, FakeSource, crowd
from tests.doubles.monitor_values import NOW, listener, on_air, process, recording, vitals, waited_for

ALWAYS = {
    *("rtmpsrv_build_info", "rtmpsrv_worker_up", "rtmpsrv_worker_ready", "rtmpsrv_worker_start_time_seconds"),
    *("rtmpsrv_connections", "rtmpsrv_channels", "rtmpsrv_callback_queue_length", "rtmpsrv_gop_cache_bytes"),
    *("rtmpsrv_memory_budget_bytes", "rtmpsrv_memory_held_bytes", "rtmpsrv_redis_connected"),
    *("rtmpsrv_tls_certificate_expiry_timestamp_seconds", "rtmpsrv_connections_accepted_total"),
    *("rtmpsrv_connections_rejected_total", "rtmpsrv_handshake_failures_total", "rtmpsrv_publishes_total"),
    *("rtmpsrv_plays_total", "rtmpsrv_received_bytes_total", "rtmpsrv_sent_bytes_total"),
    *("rtmpsrv_frames_dropped_total", "rtmpsrv_slow_players_disconnected_total"),
    *("rtmpsrv_callback_requests_total", "rtmpsrv_callback_duration_seconds_bucket"),
    *("rtmpsrv_callback_duration_seconds_count", "rtmpsrv_callback_duration_seconds_sum"),
    *("rtmpsrv_event_loop_lag_seconds_bucket", "rtmpsrv_event_loop_lag_seconds_count"),
    *("rtmpsrv_event_loop_lag_seconds_sum", "rtmpsrv_players", "rtmpsrv_viewer_requests_total"),
    *("rtmpsrv_form_sent_bytes_total", "rtmpsrv_hls_makers", "rtmpsrv_mp4_makers", "rtmpsrv_recordings"),
    *("rtmpsrv_ffmpeg_processes", "rtmpsrv_ffmpeg_ends_total", "rtmpsrv_recorded_files_total"),
    *("rtmpsrv_recorded_bytes_total", "rtmpsrv_recordings_failed_total"),
}
OF_CHANNELS = {
    f"rtmpsrv_channel_{name}"
    for name in (
        *("players", "received_bytes_total", "sent_bytes_total", "keyframe_interval_seconds"),
        *("av_offset_seconds", "timestamp_jumps_total", "last_packet_timestamp_seconds", "media_rate_ratio"),
        *("verdict", "recorded"),
    )
}


KNOWN_OF_ALL = ("players", "received_bytes_total", "sent_bytes_total", "recorded")


def client_of(source: FakeSource, per_channel: bool = False, seen: Seen | None = None) -> FlaskClient:
    app = Flask(__name__, static_folder=None)
    app.register_blueprint(metrics.blueprint(source, per_channel, Verdicts(), lambda: NOW, lambda: seen))
    return app.test_client()


def families(client: FlaskClient, path: str = "/metrics") -> list[Metric]:
    return list(read_text(client.get(path).text))


def samples(client: FlaskClient) -> dict[tuple[str, tuple[str, ...]], float]:
    """Return values by name and values of labels, in the order of their names."""
    return {
        (one.name, tuple(one.labels.values())): one.value
        for family in families(client)
        for one in family.samples
    }


def test_all_names_are_there_each_with_help_and_type() -> None:
    found = families(client_of(FakeSource()))
    assert {one.name for family in found for one in family.samples} == ALWAYS
    assert all(family.documentation.endswith((".", "1.")) for family in found)
    kinds = {family.name: family.type for family in found}
    assert "unknown" not in kinds.values()
    assert kinds["rtmpsrv_received_bytes"] == "counter"
    assert kinds["rtmpsrv_event_loop_lag_seconds"] == "histogram"


def test_it_is_the_same_in_openmetrics_where_prometheus_asks_for_that() -> None:
    client = client_of(FakeSource(), per_channel=True)
    accept = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5"
    answer = client.get("/metrics", headers={"Accept": accept})
    assert answer.content_type.startswith("application/openmetrics-text")
    found = list(read_openmetrics(answer.text))  # type: ignore[no-untyped-call]
    read = {one.name for family in found for one in family.samples}
    assert read - {"rtmpsrv_http_requests_total"} == ALWAYS | OF_CHANNELS
    assert client.get("/metrics").content_type.startswith("text/plain")


def test_processes_are_one() -> None:
    both = [process("w1"), process("w2", version="1.0.1")]
    source = FakeSource([], [], [], both)
    read = samples(client_of(source))
    assert read["rtmpsrv_received_bytes_total", ()] == 18e9
    assert read["rtmpsrv_memory_budget_bytes", ()] == 4e9
    assert read["rtmpsrv_event_loop_lag_seconds_bucket", ("0.01",)] == 14_380
    assert read["rtmpsrv_event_loop_lag_seconds_bucket", ("+Inf",)] == 14_400
    assert read["rtmpsrv_build_info", ("3.11.2", "1.0.1")] == 1
    assert read["rtmpsrv_callback_requests_total", ("publish", "refused")] == 8
    assert read["rtmpsrv_worker_up", ("w1",)] == 1


def test_a_worker_that_does_not_answer_is_down_and_the_sums_stay() -> None:
    source = FakeSource([], [], [], [process("w1"), process("w2")])
    client = client_of(source)
    samples(client)
    source.missing = ["w2"]
    read = samples(client)
    assert (read["rtmpsrv_worker_up", ("w1",)], read["rtmpsrv_worker_up", ("w2",)]) == (1, 0)
    assert read["rtmpsrv_received_bytes_total", ()] == 18e9
    assert ("rtmpsrv_worker_ready", ("w2",)) not in read


def test_nobody_who_answers_is_an_error() -> None:
    source = FakeSource()
    source.missing = [""]
    assert client_of(source).get("/metrics").status_code == 503


def test_connections_are_counted_by_what_they_do() -> None:
    listeners = [
        listener(1935, 7),
        listener(1936, 1),
        listener(443, 2, secure=True),
        listener(8080, 4, protocol="http"),
    ]
    players = [
        ("a", "rtmpConn"),
        ("b", "rtmpsConn"),
        ("c", "rtmpConn"),
        ("d", "httpConn"),
        ("e", "hlsSession"),
    ]
    channels = [on_air("x", readers=players), on_air("y", publisher_kind="rtmpsConn"), waited_for("z")]
    read = samples(client_of(FakeSource(channels, [], [], [process(listeners=listeners)])))
    told = {labels: value for (name, labels), value in read.items() if name == "rtmpsrv_connections"}
    assert told == {
        **{("rtmp", "publisher"): 1, ("rtmp", "player"): 2, ("rtmp", "idle"): 5},
        **{("rtmps", "publisher"): 1, ("rtmps", "player"): 1, ("rtmps", "idle"): 0},
        **{("http", "player"): 1, ("http", "idle"): 3, ("https", "player"): 0, ("https", "idle"): 0},
    }


def test_players_are_counted_by_what_they_get() -> None:
    channels = [on_air("x", forms={"rtmp": 2, "hls": 1}), on_air("y", forms={"flv": 4, "rtmp": 1})]
    read = samples(client_of(FakeSource(channels)))
    told = {labels[0]: value for (name, labels), value in read.items() if name == "rtmpsrv_players"}
    assert told == {"rtmp": 3, "flv": 4, "ws-flv": 0, "mp4": 0, "ws-mp4": 0, "hls": 1}


def test_viewers_requests_and_recordings_are_counted() -> None:
    read = samples(client_of(FakeSource([], [], [], [process("w1"), process("w2")])))
    assert read["rtmpsrv_viewer_requests_total", ("flv", "200")] == 80
    assert read["rtmpsrv_form_sent_bytes_total", ("hls",)] == 8e9
    assert read["rtmpsrv_recordings_failed_total", ("disk_full",)] == 2
    assert read["rtmpsrv_recorded_files_total", ()] == 24
    assert [read[f"rtmpsrv_{name}", ()] for name in ("hls_makers", "mp4_makers", "recordings")] == [2, 4, 2]
    assert (read["rtmpsrv_ffmpeg_ends_total", ()], read["rtmpsrv_ffmpeg_processes", ()]) == (2, 2)


def test_whether_a_channel_is_recorded_is_its_series() -> None:
    channels = [
        on_air("x", recording=recording()),
        on_air("y", recording=recording(running=False)),
        on_air("z"),
    ]
    app = client_of(FakeSource(channels), per_channel=True)
    read = samples(app)
    assert [read["rtmpsrv_channel_recorded", (name,)] for name in "xyz"] == [1, 0, 0]


def test_those_that_came_between_two_answers_make_no_number_negative() -> None:
    nobody = [process(listeners=[])]
    read = samples(client_of(FakeSource([on_air("x")], [], [], nobody)))
    assert read["rtmpsrv_connections", ("rtmp", "idle")] == 0


def test_channels_are_counted_by_state() -> None:
    channels = [on_air("x"), on_air("y"), waited_for("z", suspended=True), waited_for("q")]
    read = samples(client_of(FakeSource(channels)))
    assert [read["rtmpsrv_channels", (state,)] for state in ("live", "suspended", "waiting")] == [2, 1, 1]


@pytest.mark.parametrize(
    ("states", "expected"), [([None, None], None), ([True, None], 1), ([True, False], 0), ([False], 0)]
)
@pytest.mark.parametrize("name", ["redis", "control"])
def test_a_link_is_there_where_all_that_use_it_have_it(
    states: list[bool | None], expected: int | None, name: str
) -> None:
    other = {"redis": "control", "control": "redis"}[name]
    of_each = [
        process(f"w{index}", **{f"{name}_connected": state, f"{other}_connected": None})
        for index, state in enumerate(states)
    ]
    read = samples(client_of(FakeSource([], [], [], of_each)))
    assert read.get((f"rtmpsrv_{name}_connected", ())) == expected
    assert (f"rtmpsrv_{other}_connected", ()) not in read


def test_the_certificate_that_ends_first_counts() -> None:
    ends = [process("w1", certificate_expires_at=NOW + 9.0), process("w2", certificate_expires_at=NOW + 5.0)]
    read = samples(client_of(FakeSource([], [], [], ends)))
    assert read["rtmpsrv_tls_certificate_expiry_timestamp_seconds", ()] == NOW + 5.0
    without = FakeSource([], [], [], [process(certificate_expires_at=None)])
    assert not [name for name, _ in samples(client_of(without)) if "certificate" in name]


# --- of each channel ----------------------------------------------------------------------------------------


def test_channels_have_no_series_unless_wanted() -> None:
    assert not [name for name, _ in samples(client_of(crowd(3, 1))) if name.startswith("rtmpsrv_channel_")]


def test_a_channel_has_its_values() -> None:
    channel = on_air("x", players=3, sent_bytes=9, vitals=vitals(gops_s=[1.0, 4.0], jumps=2, silence_s=0.5))
    read = samples(client_of(FakeSource([channel]), per_channel=True))
    of_it = {name: value for (name, labels), value in read.items() if labels == ("x",)}
    assert of_it == {
        "rtmpsrv_channel_players": 3,
        "rtmpsrv_channel_recorded": 0,
        "rtmpsrv_channel_received_bytes_total": 337_500_000,
        "rtmpsrv_channel_sent_bytes_total": 9,
        "rtmpsrv_channel_keyframe_interval_seconds": 4.0,
        "rtmpsrv_channel_av_offset_seconds": 0.01,
        "rtmpsrv_channel_timestamp_jumps_total": 2,
        "rtmpsrv_channel_media_rate_ratio": 1.0,
        "rtmpsrv_channel_last_packet_timestamp_seconds": NOW - 0.5,
    }


def test_what_was_seen_a_moment_ago_is_not_asked_for_again() -> None:
    source = FakeSource([on_air("x", vitals=vitals(silence_s=0.5))])
    seen = Seen(source.processes(), source.channels(), 0.25)
    source.asked.clear()
    read = samples(client_of(source, per_channel=True, seen=seen))
    assert source.asked == []
    assert read["rtmpsrv_worker_up", ("",)] == 1
    assert read["rtmpsrv_channel_last_packet_timestamp_seconds", ("x",)] == NOW - 0.75


def test_what_is_not_known_of_a_channel_has_no_series() -> None:
    unknown = vitals(gops_s=[], av_offset_s=None, media_rate=None, silence_s=None)
    channels = [on_air("x", vitals=unknown), waited_for("y")]
    read = samples(client_of(FakeSource(channels), per_channel=True))
    assert {name for name, labels in read if labels == ("y",)} == {
        f"rtmpsrv_channel_{name}" for name in KNOWN_OF_ALL
    }
    assert {name for name, labels in read if labels == ("x",)} == {
        *(f"rtmpsrv_channel_{name}" for name in KNOWN_OF_ALL),
        "rtmpsrv_channel_timestamp_jumps_total",
    }


@given(st.text(st.characters(codec=None, exclude_categories=()), max_size=30))
def test_any_name_is_one_label(name: str) -> None:
    channel = on_air("x")
    channel["name"] = name
    text = client_of(FakeSource([channel]), per_channel=True).get("/metrics").text
    assert text.count("rtmpsrv_channel_players{") == 1
    (line,) = [one for one in text.split("\n") if one.startswith("rtmpsrv_channel_players{")]
    inside = line.removeprefix('rtmpsrv_channel_players{channel="').removesuffix('"} 0.0')
    plain = inside.replace("\\\\", "\0\0").replace("\\n", "\n").replace('\\"', '"').replace("\0\0", "\\")
    if "\0" not in name:
        assert plain == metrics.clean(name)


def test_html_and_lines_in_a_name_are_read_back() -> None:
    nasty = 'a"b\\c\nd'
    read = samples(client_of(FakeSource([on_air(HTML_NAME), on_air(nasty)]), per_channel=True))
    assert {labels for name, labels in read if name == "rtmpsrv_channel_players"} == {(HTML_NAME,), (nasty,)}


# --- of this process ----------------------------------------------------------------------------------------


def test_requests_are_counted_by_part_and_status() -> None:
    client = client_of(FakeSource())
    client.get("/metrics")
    client.get("/metrics?format=xml")
    client.get("/no/such/page")
    client.get("/nor/this/one")
    read = samples(client)
    told = {labels: value for (name, labels), value in read.items() if "http_requests" in name}
    assert told == {("metrics", "200"): 1, ("metrics", "400"): 1, ("none", "404"): 2}


@pytest.mark.parametrize("wanted", ["xml", "prometheus", "MediaMTX", " "])
def test_an_unknown_format_is_refused(wanted: str) -> None:
    answer: Any = client_of(FakeSource()).get("/metrics", query_string={"format": wanted})
    assert (answer.status_code, answer.mimetype) == (400, "text/plain")


def test_each_channel_has_the_verdict_that_the_page_shows() -> None:
    read = samples(client_of(FakeSource(), per_channel=True))
    states = {key[1]: value for key, value in read.items() if key[0] == "rtmpsrv_channel_verdict"}
    assert sum(states.values()) == len(FakeSource().values_of_channels) == len(states) / 5
    for name, state in {
        "live/good": "good",
        "live/bad": "bad",
        "live/suspended": "offline",
        "live/sound-only": "warning",
        "live/starting": "starting",
        HTML_NAME: "good",
    }.items():
        assert (states[name, state], sum(states[name, one] for one in metrics.STATES)) == (1, 1)

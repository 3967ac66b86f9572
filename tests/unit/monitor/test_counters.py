from __future__ import annotations

from rtmpsrv.access.ip_rules import IpRules
from rtmpsrv.access.limits import ConnectionLimits
from rtmpsrv.monitor.counters import CALLBACK_BOUNDS_S, LAG_BOUNDS_S, Here, Histogram, Tallies


def test_a_histogram_counts_the_smaller_ones_with_each_bound() -> None:
    histogram = Histogram((0.1, 1.0))
    for value in (0.0, 0.1, 0.5, 1.0, 2.0):
        histogram.add(value)
    assert histogram.value() == {"bounds": [0.1, 1.0], "counts": [2, 4], "sum": 3.6, "count": 5}


def test_everything_is_there_from_the_start() -> None:
    value = Tallies().value()
    assert value["connections_rejected"] == dict.fromkeys(
        ("limit_address", "limit_total", "ip_rules", "connect"), 0
    )
    assert value["handshake_failures"] == dict.fromkeys(("tls", "proxy", "timeout", "version", "closed"), 0)
    assert value["publishes"] == value["plays"] == {"accepted": 0, "refused": 0, "failed": 0}
    assert value["callback_requests"] == value["viewer_requests"] == []
    forms = ("rtmp", "flv", "ws-flv", "mp4", "ws-mp4", "hls", "jpg", "http")
    assert value["sent_bytes_by_form"] == dict.fromkeys(forms, 0)
    failures = ("disk_full", "disk_slow", "disk_error", "media", "internal")
    assert value["recordings_failed"] == dict.fromkeys(failures, 0)
    assert value["event_loop_lag_s"] == {
        "bounds": list(LAG_BOUNDS_S), "counts": [0] * len(LAG_BOUNDS_S), "sum": 0.0, "count": 0,
    }  # fmt: skip
    assert 0.1 in value["event_loop_lag_s"]["bounds"]
    assert value["callback_duration_s"]["bounds"] == list(CALLBACK_BOUNDS_S)


def test_refusals_of_limits_are_told_apart_by_what_limits_say() -> None:
    tallies, limits = Tallies(), ConnectionLimits(1, IpRules.parse(""), 2)
    for address in ("192.0.2.1", "192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.4"):
        if why := limits.admit(address):
            tallies.reject(why)
    rejected = tallies.value()["connections_rejected"]
    assert (rejected["limit_address"], rejected["limit_total"]) == (1, 2)


def test_requests_bytes_and_callbacks_are_added_up() -> None:
    tallies = Tallies()
    tallies.refuse("connect", "")
    tallies.refuse("publish", "")
    tallies.refuse("play", "RTMP_PLAY_WHITELIST")
    tallies.count("play", "accepted")
    tallies.left(10, 20, False, "")
    tallies.left(1, 2, True, "ws-flv")
    tallies.posted("start", "accepted", 0.2)
    tallies.posted("start", "accepted", 0.3)
    tallies.posted("stop", "failed", 20.0)
    value = tallies.value(Here(100, {"": 200, "ws-flv": 5}, dropped={"video": 3}))
    assert (value["received_bytes"], value["sent_bytes"], value["slow_players_disconnected"]) == (111, 227, 1)
    assert (value["sent_bytes_by_form"]["rtmp"], value["sent_bytes_by_form"]["ws-flv"]) == (220, 7)
    assert (value["connections_rejected"]["connect"], value["connections_rejected"]["ip_rules"]) == (1, 1)
    assert value["publishes"] == {"accepted": 0, "refused": 1, "failed": 0}
    assert value["plays"] == {"accepted": 1, "refused": 1, "failed": 0}
    assert value["callback_requests"] == [
        {"what": "start", "result": "accepted", "count": 2},
        {"what": "stop", "result": "failed", "count": 1},
    ]
    assert value["callback_duration_s"]["count"] == 3
    assert value["frames_dropped"] == {"video": 3}


def test_answers_of_hls_are_told_from_the_others_of_their_connections() -> None:
    tallies = Tallies()
    tallies.left(0, 1000, False, "http")
    tallies.hls_bytes += 300
    sent = tallies.value(Here(sent_bytes={"http": 100}, hls_bytes=50))["sent_bytes_by_form"]
    assert (sent["hls"], sent["http"]) == (350, 750)
    assert tallies.value(Here(hls_bytes=5000))["sent_bytes_by_form"]["http"] == 0


def test_answers_are_counted_by_kinds_of_a_fixed_set() -> None:
    tallies = Tallies()
    for kind, status in (("flv", 200), ("flv", 200), ("flv", 404), ("nonsense", 404), ("", 400)):
        tallies.answer(kind, status)
    assert tallies.value()["viewer_requests"] == [
        {"what": "flv", "result": "200", "count": 2},
        {"what": "flv", "result": "404", "count": 1},
        {"what": "none", "result": "400", "count": 1},
        {"what": "none", "result": "404", "count": 1},
    ]


def test_what_others_count_is_passed_on() -> None:
    here = Here(ffmpeg_ends=1, recorded_files=2, recorded_bytes=3, recordings_failed={"disk_full": 4})
    value = Tallies().value(here)
    assert (value["ffmpeg_ends"], value["recorded_files"], value["recorded_bytes"]) == (1, 2, 3)
    assert (value["recordings_failed"]["disk_full"], value["recordings_failed"]["media"]) == (4, 0)

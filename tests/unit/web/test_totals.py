"""Sums over processes: they never fall."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from rtmpsrv.monitor.values import Counters, Histogram, ProcessValue
from rtmpsrv.web import totals
from rtmpsrv.web.totals import Totals, plus
from tests.doubles.monitor_values import process


def counted(worker: str, bytes_: int, pid: int = 1) -> ProcessValue:
    value = process(worker, pid=pid)
    value["counters"]["received_bytes"] = bytes_
    return value


def received(counters: Counters | None) -> int:
    assert counters is not None
    return counters["received_bytes"]


def test_nobody_has_counted_anything_at_first() -> None:
    assert Totals().take([]) is None


def test_processes_are_summed() -> None:
    assert received(Totals().take([counted("w1", 100), counted("w2", 20)])) == 120


def test_one_that_does_not_answer_keeps_its_part() -> None:
    sums = Totals()
    sums.take([counted("w1", 100), counted("w2", 20)])
    assert received(sums.take([counted("w1", 130)])) == 150
    assert received(sums.take([])) == 150
    assert received(sums.take([counted("w1", 130), counted("w2", 25)])) == 155


def test_one_that_begins_anew_goes_on_from_the_sum_of_the_one_before() -> None:
    sums = Totals()
    sums.take([counted("w1", 100), counted("w2", 20)])
    assert received(sums.take([counted("w1", 3, pid=2), counted("w2", 20)])) == 123
    assert received(sums.take([counted("w1", 9, pid=2), counted("w2", 20)])) == 129
    assert received(sums.take([counted("w1", 1, pid=3), counted("w2", 20)])) == 130


def test_bytes_that_were_counted_once_too_often_do_not_fall_again() -> None:
    sums = Totals()
    assert received(sums.take([counted("", 100)])) == 100
    assert received(sums.take([counted("", 90)])) == 100
    assert received(sums.take([counted("", 101)])) == 101


def test_a_later_process_with_the_same_number_is_another_one() -> None:
    sums = Totals()
    sums.take([counted("", 100)])
    again = counted("", 5)
    again["started_at"] += 1.0
    assert received(sums.take([again])) == 105


def test_names_without_end_are_only_a_sum() -> None:
    sums = Totals()
    for number in range(totals.MAX_NAMES + 50):
        total = sums.take([counted(f"w{number}", 1), counted("stays", number)])
    assert received(total) == totals.MAX_NAMES + 50 + totals.MAX_NAMES + 49
    assert len(sums._last) == totals.MAX_NAMES
    assert "stays" in sums._last


names = st.sampled_from(["w1", "w2", "w3"])
steps = st.lists(st.tuples(names, st.integers(0, 50), st.booleans()), max_size=40)


@given(steps)
def test_no_sum_ever_falls(taken: list[tuple[str, int, bool]]) -> None:
    sums, bytes_, pids, last = Totals(), dict.fromkeys(["w1", "w2", "w3"], 0), {"w1": 1, "w2": 1, "w3": 1}, 0
    for name, more, anew in taken:
        if anew:
            pids[name] += 1
            bytes_[name] = 0
        bytes_[name] += more
        now = received(sums.take([counted(name, bytes_[name], pids[name])]))
        assert now >= last
        last = now


def test_all_fields_are_added() -> None:
    one, other = process()["counters"], process()["counters"]
    other["connections_rejected"] = {"limit_address": 1, "limit": 5}
    other["callback_requests"] = [
        {"what": "publish", "result": "refused", "count": 6},
        {"what": "play", "result": "accepted", "count": 1},
    ]
    both = plus(one, other)
    assert both["connections_accepted"] == 240
    assert both["connections_rejected"] == {"limit_address": 4, "ip_rules": 1, "limit": 5}
    assert both["handshake_failures"] == {"handshake_timeout": 4}
    assert both["publishes"] == {"accepted": 60, "refused": 8, "failed": 2}
    assert both["plays"] == {"accepted": 160, "refused": 4}
    assert (both["received_bytes"], both["sent_bytes"]) == (18_000_000_000, 110_000_000_000)
    assert both["frames_dropped"] == {"audio": 20, "video": 800, "data": 0}
    assert both["slow_players_disconnected"] == 4
    assert [(call["what"], call["result"], call["count"]) for call in both["callback_requests"]] == [
        ("publish", "accepted", 30),
        ("publish", "refused", 10),
        ("play", "accepted", 1),
    ]
    assert both["callback_duration_s"]["counts"] == [0, 40, 66, 68, 68]
    assert (both["callback_duration_s"]["sum"], both["callback_duration_s"]["count"]) == (2.5, 68)
    assert both["event_loop_lag_s"]["count"] == 14_400


def test_histograms_with_other_bounds_are_added_as_far_as_that_goes() -> None:
    one, other = process()["counters"], process()["counters"]
    other["event_loop_lag_s"] = Histogram(bounds=[1.0], counts=[5], sum=2.0, count=6)
    lag = plus(one, other)["event_loop_lag_s"]
    assert lag["counts"] == one["event_loop_lag_s"]["counts"]
    assert (lag["sum"], lag["count"]) == (6.5, 7206)

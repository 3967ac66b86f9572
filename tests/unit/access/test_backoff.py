from __future__ import annotations

import gevent
import pytest
import requests

from rtmpsrv import log
from rtmpsrv.access.backoff import Backoff, describe, keep_trying

from .conftest import LogLines


def waits(backoff: Backoff, count: int) -> list[float]:
    return [backoff.next_s() for _ in range(count)]


def test_waits_grow_from_one_second_to_ten_and_stay_there() -> None:
    assert waits(Backoff(jitter=0), 7) == [1, 2, 4, 8, 10, 10, 10]


def test_reset_begins_again() -> None:
    backoff = Backoff(jitter=0)
    waits(backoff, 3)
    backoff.reset()
    assert backoff.next_s() == 1


def test_jitter_only_shortens() -> None:
    assert Backoff(jitter=0.2, draw=lambda: 1.0).next_s() == pytest.approx(0.8)
    assert Backoff(jitter=0.2, draw=lambda: 0.0).next_s() == 1


class Attempts:
    def __init__(self, *errors: Exception | None) -> None:
        self.errors = list(errors)
        self.failures: list[tuple[str, float]] = []
        self.done = gevent.event.Event()

    def attempt(self) -> None:
        if not self.errors:
            self.done.set()
            gevent.sleep(60)
        error = self.errors.pop(0)
        if error is not None:
            raise error

    def run(self, stable_after_s: float) -> None:
        backoff = Backoff(0.001, 0.004, jitter=0)
        greenlet = gevent.spawn(
            keep_trying,
            self.attempt,
            expected=(OSError,),
            failed=lambda error, wait_s: self.failures.append((str(error), wait_s)),
            backoff=backoff,
            stable_after_s=stable_after_s,
            log=log.get("TEST"),
        )
        try:
            assert self.done.wait(5)
        finally:
            greenlet.kill()


def test_attempts_go_on_after_failures_with_longer_and_longer_waits() -> None:
    attempts = Attempts(*[OSError(str(number)) for number in range(4)])
    attempts.run(stable_after_s=60)
    assert attempts.failures == [("0", 0.001), ("1", 0.002), ("2", 0.004), ("3", 0.004)]


def test_an_attempt_that_lived_long_enough_resets_the_waits() -> None:
    attempts = Attempts(OSError("a"), OSError("b"), OSError("c"))
    attempts.run(stable_after_s=0)
    assert [wait_s for _, wait_s in attempts.failures] == [0.001, 0.001, 0.001]


def test_a_bug_is_logged_with_its_traceback_and_survived(log_lines: LogLines) -> None:
    attempts = Attempts(ZeroDivisionError("oops"), None)
    attempts.run(stable_after_s=60)
    assert log_lines.count("ZeroDivisionError") == 1
    assert not attempts.failures


def test_describe_says_what_the_system_said_and_nothing_that_was_sent() -> None:
    with pytest.raises(requests.ConnectionError) as caught:
        requests.post("http://127.0.0.1:9/path?token=abc", timeout=1)
    assert describe(caught.value) == "ConnectionError: Connection refused"
    assert describe(ValueError("password abc")) == "ValueError"
    assert describe(OSError("token abc")) == "OSError"


def test_describe_ends_on_a_ring_of_causes() -> None:
    first, second = ValueError("a"), ValueError("b")
    first.__cause__, second.__cause__ = second, first
    assert describe(first) == "ValueError"


def test_describe_names_a_status() -> None:
    error = ValueError("body with a token")
    error.status_code = 403  # type: ignore[attr-defined]
    assert describe(error) == "ValueError: status 403"

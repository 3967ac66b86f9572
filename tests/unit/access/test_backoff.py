from __future__ import annotations

import gevent
import pytest
import requests

from rtmpsrv import log
from rtmpsrv.access.backoff import Backoff, Stopped, describe, keep_trying, stop_trying

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
            stop_trying(greenlet, 1)
            assert greenlet.successful()


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


class Wrapped(Exception):
    """What a library makes of an OSError."""


@pytest.mark.parametrize("where", ["not begun", "in the attempt", "wrapped by a library", "between attempts"])
def test_stop_trying_ends_the_task_quietly_wherever_it_is(
    where: str, log_lines: LogLines, capsys: pytest.CaptureFixture[str]
) -> None:
    inside = gevent.event.Event()

    def attempt() -> None:
        inside.set()
        if where == "between attempts":
            raise OSError
        try:
            gevent.sleep(60)
        except Stopped as exc:
            if where == "wrapped by a library":
                raise Wrapped from exc
            raise

    task = gevent.spawn(
        keep_trying,
        attempt,
        expected=(OSError, Wrapped),
        failed=lambda error, wait_s: None,
        backoff=Backoff(60, 60),
        stable_after_s=60,
        log=log.get("TEST"),
    )
    if where != "not begun":
        assert inside.wait(2)
    stop_trying(task, 1)
    assert task.successful()
    assert not log_lines.lines
    assert not capsys.readouterr().err


def test_a_task_that_swallows_the_stop_is_killed() -> None:
    def attempt() -> None:
        try:
            gevent.sleep(60)
        except Stopped:
            gevent.sleep(60)

    task = gevent.spawn(
        keep_trying,
        attempt,
        expected=(OSError,),
        failed=lambda error, wait_s: None,
        backoff=Backoff(),
        stable_after_s=60,
        log=log.get("TEST"),
    )
    stop_trying(task, 0.05)
    assert task.dead

"""Who is ended, when, and with which words. Times are the test's own."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import gevent
import pytest

from rtmpsrv import log
from rtmpsrv.access import watch as watch_module
from rtmpsrv.access.terms import Terms
from rtmpsrv.access.watch import BITRATE_WINDOW_S, CHECK_S, JUDGED_AT_ONCE, ROUND_S, Stay, Watch
from rtmpsrv.errors import AccessDenied
from tests.unit.access.conftest import LogLines


class Scene:
    """A watch with clocks that the test moves."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.ends: list[str] = []
        self.judged = 0
        self.verdict: Terms | AccessDenied = Terms()
        self.watch = Watch(log.get("ACCESS"), lambda: self.now, lambda: self.now)

    def judge(self) -> Terms:
        self.judged += 1
        if isinstance(self.verdict, AccessDenied):
            raise self.verdict
        return self.verdict

    def enter(self, terms: Terms | None, sent: Callable[[], int] | None = None) -> Stay:
        return self.watch.enter(self.judge, terms, self.ends.append, sent)

    def after(self, seconds: float) -> list[str]:
        """Let time pass, look, and return all reasons so far."""
        self.now += seconds
        self.watch.look()
        return self.ends


@pytest.fixture
def scene() -> Iterator[Scene]:
    made = Scene()
    yield made
    made.watch.close()


def test_who_has_run_out_is_ended_once_with_the_reason(scene: Scene) -> None:
    scene.enter(Terms(until=1010.0, why="the token has run out"))
    scene.enter(Terms(until=1020.0, why="later"))
    assert scene.after(9.9) == []
    assert scene.after(0.1) == ["the token has run out"]
    assert scene.after(1) == ["the token has run out"]
    assert scene.watch.describe() == {"watched": 1}


def test_who_has_left_is_not_ended(scene: Scene) -> None:
    stay = scene.enter(Terms(until=1001.0, why="over"))
    scene.watch.leave(stay)
    scene.watch.leave(stay)
    assert scene.after(2) == []


def test_new_rules_are_for_those_who_are_there(scene: Scene) -> None:
    scene.enter(Terms(until=1100.0, why="over"))
    scene.after(1)
    assert scene.judged == 0
    scene.verdict = Terms(until=1005.0, why="shorter")
    scene.watch.judge_again()
    assert scene.after(1) == []
    assert scene.after(5) == ["shorter"]
    assert scene.judged == 1


def test_whom_new_rules_refuse_is_told_why(scene: Scene) -> None:
    scene.enter(Terms())
    scene.verdict = AccessDenied("Code", "the key was taken away", "VARIABLE")
    scene.watch.judge_again()
    assert scene.after(0) == ["the key was taken away"]


def test_whose_terms_are_not_known_is_judged_at_the_next_look(scene: Scene) -> None:
    scene.verdict = Terms(until=1000.0, why="over")
    scene.enter(None)
    assert scene.after(0) == ["over"]
    assert scene.judged == 1


def test_many_are_judged_by_turns_and_may_leave_meanwhile(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    stays = [scene.enter(Terms()) for _ in range(JUDGED_AT_ONCE + 50)]
    naps: list[float] = []

    def nap(seconds: float) -> None:
        naps.append(seconds)
        for stay in stays:
            scene.watch.leave(stay)

    monkeypatch.setattr(gevent, "sleep", nap)
    scene.watch.judge_again()
    scene.after(0)
    assert (scene.judged, naps) == (JUDGED_AT_ONCE, [ROUND_S])


@pytest.mark.parametrize(
    ("per_second", "ended"), [(100, False), (125, False), (126, True), (1000, True)]
)  # in bytes, with 1000 bits per second
def test_the_bitrate_is_that_of_ten_seconds(scene: Scene, per_second: int, ended: bool) -> None:
    sent = 0
    scene.enter(Terms(max_bitrate=1000), lambda: sent)
    scene.after(0)
    for _ in range(int(BITRATE_WINDOW_S / CHECK_S) * 3):
        sent += int(per_second * CHECK_S * 2)
        scene.after(CHECK_S)
        scene.after(CHECK_S)
    assert scene.ends == (["more than 1000 bits per second"] if ended else [])


def test_one_burst_is_no_bitrate(scene: Scene) -> None:
    sent = 0
    scene.enter(Terms(max_bitrate=1000), lambda: sent)
    scene.after(0)
    sent = 1250
    assert scene.after(CHECK_S) == []
    assert scene.after(BITRATE_WINDOW_S) == []
    sent = 2600
    assert scene.after(CHECK_S) == ["more than 1000 bits per second"]


def test_a_player_has_no_bitrate(scene: Scene) -> None:
    scene.enter(Terms(max_bitrate=1))
    assert scene.after(100) == []


def test_it_looks_by_itself_and_survives_a_bug(log_lines: LogLines, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch_module, "CHECK_S", 0.001)
    watch = Watch(log.get("ACCESS"))
    ended = gevent.event.Event()
    try:

        def fail(reason: str) -> None:
            raise RuntimeError(reason)

        def end(reason: str) -> None:
            ended.set()

        watch.enter(Terms, Terms(until=0.0, why="first"), fail)
        watch.enter(Terms, Terms(until=0.0, why="second"), end)
        assert ended.wait(5)
        assert log_lines.count("internal error, the watch goes on") <= 1
        ended.clear()
        watch.enter(lambda: Terms(until=0.0, why="third"), None, end)
        assert ended.wait(5)
    finally:
        watch.close()


def test_one_that_never_watched_closes() -> None:
    Watch(log.get("ACCESS")).close()

"""The first part of a file is asked for, and nobody waits for it but in the end."""

from __future__ import annotations

import gevent
import pytest
from gevent.event import Event

from rtmpsrv.errors import MediaBusy, MediaLost, MediaRefused
from rtmpsrv.media.mp4_source import Question
from rtmpsrv.record import first_part
from rtmpsrv.record.first_part import AGAIN_S, MAX_ATTEMPTS, FirstPart

QUESTION = Question(())


class Process:
    """Answers one question after the other, as soon as it may."""

    def __init__(self, *answers: bytes | Exception) -> None:
        self.may = Event()
        self.asked = 0
        self._answers = list(answers)

    def init(self, question: Question) -> bytes:
        assert question is QUESTION
        self.asked += 1
        self.may.wait()
        answer = self._answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


def question() -> Question:
    return QUESTION


def looked(part: FirstPart, now: float) -> bytes:
    """Look twice, and let others run in between."""
    found = part.look(question, now)
    gevent.sleep(0)
    return found or part.look(question, now)


def test_it_is_there_some_time_after_it_was_asked_for() -> None:
    process = Process(b"first")
    part = FirstPart(process.init)
    for _ in range(3):
        assert looked(part, 0.0) == b""
    process.may.set()
    gevent.sleep(0)
    assert (part.look(question, 0.0), process.asked) == (b"first", 1)


def test_that_too_many_ask_is_no_attempt() -> None:
    process = Process(*[MediaBusy("too many")] * 10, b"first")
    part = FirstPart(process.init)
    process.may.set()
    for number in range(10):
        assert looked(part, number * AGAIN_S) == b""
        assert looked(part, (number + 0.9) * AGAIN_S) == b""
    assert process.asked == 10
    assert looked(part, 10 * AGAIN_S) == b"first"


def test_attempts_have_an_end() -> None:
    process = Process(*[MediaLost("late")] * 9)
    part = FirstPart(process.init)
    process.may.set()
    for number in range(1, MAX_ATTEMPTS):
        assert looked(part, number * AGAIN_S) == b""
    with pytest.raises(MediaLost, match="late"):
        looked(part, MAX_ATTEMPTS * AGAIN_S)


@pytest.mark.parametrize("exc", [MediaRefused("no"), ValueError("a bug")])
def test_what_is_no_loss_is_raised_at_once(exc: Exception) -> None:
    process = Process(exc)
    process.may.set()
    with pytest.raises(type(exc), match=str(exc)):
        looked(FirstPart(process.init), 0.0)


def test_it_is_waited_for_in_the_end() -> None:
    process = Process(b"first", MediaLost("late"))
    part = FirstPart(process.init)
    assert looked(part, 0.0) == b""
    gevent.spawn(process.may.set)
    assert (part.wait(question), process.asked) == (b"first", 1)
    with pytest.raises(MediaLost, match="late"):
        FirstPart(process.init).wait(question)


def test_it_is_not_waited_for_without_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(first_part, "LAST_S", 0.001)
    process = Process(b"first")
    part = FirstPart(process.init)
    with pytest.raises(MediaBusy, match="not made in time"):
        part.wait(question)
    process.may.set()

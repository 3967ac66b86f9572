from __future__ import annotations

import logging
import os
import signal
from collections.abc import Callable
from time import monotonic

import gevent
import pytest

from rtmpsrv import log
from rtmpsrv.av import process as module
from rtmpsrv.av.process import AvProcess, _hash
from rtmpsrv.errors import MediaBusy, MediaLost, MediaRefused
from rtmpsrv.media.mp4_source import Asked, Question
from rtmpsrv.protocol.messages import VIDEO

# A process that does what the frame of a question tells it, in place of FFmpeg.
DOUBLE = """
from gevent import monkey; monkey.patch_all()
import gevent, os, sys
from rtmpsrv import log
from rtmpsrv.av.life import Life, inherited
from rtmpsrv.errors import MediaRefused
def made(question, found=b"made of "):
    what = question.tracks[0].frame
    if what == b"die": os._exit(9)
    if what == b"sleep": gevent.sleep(60)
    if what == b"refuse": raise MediaRefused("it is not wanted")
    if what == b"memory": raise MemoryError
    if what == b"odd": return 5
    if what == b"huge": return bytes(10 << 20)
    if what == b"class": return question
    if what == b"bug": raise KeyError(what)
    return found + what[:20]
Life(inherited(), log.get(), made, lambda question: made(question, b"picture of ")).run()
"""
COMMAND = ("-c", DOUBLE)
SILENT = ("-c", "import sys; sys.exit(3)")


def question(what: bytes) -> Question:
    return Question((Asked(VIDEO, b"avc1", what, what),))


def process(command: tuple[str, ...] = COMMAND, idle_s: float = 60.0, deadline_s: float = 20.0) -> AvProcess:
    return AvProcess(log.get("AV"), command=command, idle_s=idle_s, deadline_s=deadline_s)


def is_there(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_it_starts_at_the_first_question_and_serves_the_next() -> None:
    one = process()
    assert one.describe()["pid"] is None

    assert one.init(question(b"this")) == b"made of this"
    pid = one.pid
    assert pid is not None
    assert one.picture(question(b"that")) == b"picture of that"
    assert one.pid == pid
    assert one.describe() == {"pid": pid, "questions": 2, "ended": 0, "waiting": 0}

    one.close()
    one.close()
    assert not is_there(pid)
    with pytest.raises(MediaLost, match="server ends"):
        one.init(question(b"this"))


@pytest.mark.parametrize(
    ("what", "why"), [(b"refuse", "not wanted"), (b"memory", "too much memory"), (b"odd", "should not")]
)
def test_a_refusal_is_a_sentence(what: bytes, why: str) -> None:
    one = process()

    with pytest.raises(MediaRefused, match=why):
        one.init(question(what))
    assert one.init(question(b"this")) == b"made of this"
    assert one.ended == 0
    one.close()


@pytest.mark.parametrize("what", [b"die", b"bug"])
def test_it_is_back_after_its_death_and_what_killed_it_is_not_asked_again(
    what: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    one = process()
    with pytest.raises(MediaLost, match="at what this stream sends"):
        one.init(question(what))
    assert one.pid is None
    warnings = [record.levelno for record in caplog.records if "FFmpeg" in record.getMessage()]
    assert warnings == [logging.WARNING] * 2  # it is asked once more

    assert one.init(question(b"this")) == b"made of this"
    questions = one.questions
    with pytest.raises(MediaLost, match="has ended"):
        one.init(question(what))
    assert (one.questions, one.ended) == (questions, 2)
    one.close()


def test_an_answer_that_does_not_come_in_time_ends_it() -> None:
    one = process(deadline_s=20.0)
    one.init(question(b"this"))
    pid = one.pid
    assert pid is not None
    one._deadline_s = 0.05

    with pytest.raises(MediaLost):
        one.init(question(b"sleep"))

    assert not is_there(pid)
    one.close()


def test_one_that_was_killed_while_nobody_asked_is_started_again() -> None:
    one = process()
    one.init(question(b"this"))
    pid = one.pid
    assert pid is not None
    assert one._running is not None
    os.kill(pid, signal.SIGKILL)
    one._running._reading.join(20)

    assert one.init(question(b"this")) == b"made of this"
    assert one.pid != pid
    one.close()


def test_one_that_hangs_before_it_is_asked_is_not_waited_for(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    one = process()
    one.init(question(b"this"))
    pid = one.pid
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    monkeypatch.setattr(module, "THERE_S", 0.05)
    asking = gevent.spawn(one.init, question(b"this"))
    while one.pid == pid:
        gevent.sleep(0.001)
    monkeypatch.undo()

    assert asking.get(timeout=20) == b"made of this"
    assert not is_there(pid)
    assert (one.ended, one._blamed) == (1, {})
    assert "started again: ready: no answer" in caplog.text
    one.close()


def test_it_can_be_started_before_it_is_asked() -> None:
    one = process()
    one.warm()
    warming = one._warming
    assert warming is not None
    one.warm()
    assert one._warming is warming
    warming.join(20)
    pid = one.pid
    assert pid is not None

    assert one.init(question(b"this")) == b"made of this"
    one.warm()
    assert one._warming is not None
    one._warming.join(20)
    assert (one.pid, one.questions) == (pid, 1)
    one.warm()
    one.close()
    one.warm()
    assert [one._warming, one.pid] == [None, None]


def test_it_ends_when_nobody_asks_any_more() -> None:
    one = process(idle_s=0.01)
    one.init(question(b"this"))
    assert one._resting is not None

    one._resting.join(20)

    assert one.pid is None
    assert one.init(question(b"this")) == b"made of this"
    one.close()


def test_one_that_does_not_start_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    one = process(SILENT)
    with pytest.raises(MediaLost, match="does not start"):
        one.init(question(b"this"))
    assert one.ended == 1
    with pytest.raises(MediaLost, match="does not start"):  # nor is it tried again at once
        one.init(question(b"this"))
    assert one.ended == 1
    one.warm()
    assert one._warming is not None
    one._warming.join(20)
    monkeypatch.setattr(module, "spawn", lambda *_: (_ for _ in ()).throw(OSError("no more")))
    with pytest.raises(MediaLost, match="does not start"):
        process().init(question(b"this"))


def test_without_pyav_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "find_spec", lambda _: None)
    with pytest.raises(MediaRefused, match="not installed"):
        process().init(question(b"this"))


def test_what_ends_it_at_a_picture_is_not_asked_twice() -> None:
    one = process()
    with pytest.raises(MediaLost, match="at what this stream sends"):
        one.picture(question(b"die"))
    assert (one.ended, one.questions) == (1, 1)
    with pytest.raises(MediaLost, match="has ended"):
        one.picture(question(b"die"))
    assert one.questions == 1
    one.close()


def usual(one: AvProcess) -> bytes:
    return one.init(question(b"this"))


def large(one: AvProcess) -> bytes:
    return one.init(question(bytes(module.USUAL_BYTES)))


def picture(one: AvProcess) -> bytes:
    return one.picture(question(b"that"))


def test_first_parts_come_before_pictures_and_usual_ones_before_large_ones() -> None:
    one = process()
    order: list[str] = []

    def run(ask: Callable[[AvProcess], bytes]) -> None:
        ask(one)
        order.append(ask.__name__)

    with one._turns.take(0):
        waiting = [gevent.spawn(run, ask) for ask in (picture, large, usual)]
        gevent.sleep(0)
    gevent.joinall(waiting, timeout=20, raise_error=True)

    assert order == ["usual", "large", "picture"]
    one.close()


@pytest.mark.parametrize(("ask", "line"), [(usual, "USUAL"), (large, "LARGE"), (picture, "PICTURES")])
@pytest.mark.parametrize("bound", ["most", "most_bytes"])
def test_only_so_much_of_a_kind_waits_whatever_else_does(
    ask: Callable[[AvProcess], bytes], line: str, bound: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, line, getattr(module, line)._replace(**{bound: 1}))
    monkeypatch.setattr(module, "LINES", (module.USUAL, module.LARGE, module.PICTURES))
    one = process()
    with one._turns.take(0):
        waiting = [gevent.spawn(ask, one)]
        gevent.sleep(0)
        with pytest.raises(MediaBusy, match="too many"):
            ask(one)
        waiting += [gevent.spawn(other, one) for other in (usual, large, picture) if other is not ask]
        gevent.sleep(0)
        assert one.waiting == 3
    gevent.joinall(waiting, timeout=20, raise_error=True)

    assert one.waiting == 0
    assert ask(one)  # what is too much is none where nobody waits
    one.close()


def test_what_is_blamed_is_bounded() -> None:
    one = process()
    now = monotonic()
    for number in range(module.MAX_BLAMED + 1):
        one._blame(b"%d" % number, now)
    assert len(one._blamed) == module.MAX_BLAMED
    one._blame(b"later", now + module.BLAME_S + 1)
    assert list(one._blamed) == [b"later"]


def test_another_frame_is_another_question_about_a_picture_only() -> None:
    one = question(b"this")
    other = Question((one.tracks[0]._replace(frame=b"that"),))
    assert _hash("init", one) == _hash("init", other) != _hash("init", question(b"that"))
    assert _hash("picture", one) != _hash("picture", other)


@pytest.mark.parametrize("what", [b"huge", b"class"])
def test_what_it_must_not_say_is_its_end(what: bytes) -> None:
    one = process()
    with pytest.raises(MediaLost, match="at what this stream sends"):
        one.init(question(what))
    assert one.ended == 2
    one.close()

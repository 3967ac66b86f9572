"""What takes too long is waited for no more, and cleaned up once it is over."""

from __future__ import annotations

import errno
from threading import Event as ThreadEvent
from types import SimpleNamespace

import gevent
import gevent.event
import gevent.monkey
import pytest

from rtmpsrv.record.threads import Threads, TooSlow

NativeEvent = gevent.monkey.get_original("threading", "Event")


def test_result_and_error_come_back() -> None:
    threads = Threads()
    assert threads.call(divmod, 7, 2) == (3, 1)
    with pytest.raises(ZeroDivisionError):
        threads.call(divmod, 7, 0)


def test_what_hangs_is_left_and_cleaned_up_when_it_ends() -> None:
    threads = Threads(deadline_s=0.01, size=1)
    hanging: ThreadEvent = NativeEvent()
    cleaned = gevent.event.Event()
    with pytest.raises(TooSlow) as caught:
        threads.call_or(cleaned.set, hanging.wait, 60.0)
    assert caught.value.errno == errno.ETIMEDOUT
    assert not cleaned.is_set()
    late: list[int] = []
    with pytest.raises(TooSlow):  # there is no thread for it
        threads.call_or(lambda: late.append(1), len, "x")
    hanging.set()
    assert cleaned.wait(10.0)
    assert threads.call(len, "xy") == 2
    assert late == [1]


def test_what_was_never_begun_is_cleaned_up_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    threads = Threads(deadline_s=0.01)
    monkeypatch.setattr(threads, "_pool", SimpleNamespace(spawn=lambda *work: gevent.sleep(10.0)))
    late: list[int] = []
    with pytest.raises(TooSlow):
        threads.call_or(lambda: late.append(1), len, "x")
    assert late == [1]


def test_what_is_raised_is_not_printed(capfd: pytest.CaptureFixture[str]) -> None:
    def fail() -> None:
        raise OSError(5, "Input/output error")

    with pytest.raises(OSError, match="Input/output error"):
        Threads(size=1).call(fail)
    assert capfd.readouterr().err == ""

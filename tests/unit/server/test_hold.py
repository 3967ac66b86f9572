from __future__ import annotations

import gevent
from gevent.event import Event

from rtmpsrv.server.hold import Hold
from tests.unit.server.stage import PATIENCE_S


def test_who_waits_goes_on_when_it_opens() -> None:
    hold = Hold()
    hold.close()
    waiting = [gevent.spawn(hold.wait, Event()) for _ in range(3)]
    gevent.sleep(0)
    assert not any(greenlet.dead for greenlet in waiting)
    assert hold._waiting
    hold.open()
    gevent.joinall(waiting, PATIENCE_S)
    assert all(greenlet.successful() for greenlet in waiting)


def test_a_wait_can_be_ended_by_others_and_is_forgotten_then() -> None:
    hold, signal = Hold(), Event()
    hold.close()
    waiting, killed = gevent.spawn(hold.wait, signal), gevent.spawn(hold.wait, Event())
    gevent.sleep(0)
    killed.kill(timeout=PATIENCE_S)
    signal.set()
    waiting.join(PATIENCE_S)
    assert waiting.dead
    assert hold._waiting == set()
    assert hold.closed

from __future__ import annotations

import gevent
from gevent.event import Event

from rtmpsrv.av.turns import Turns


class Stage:
    def __init__(self) -> None:
        self.turns = Turns(3)
        self.order: list[str] = []

    def take(self, name: str, rank: int, until: Event | None = None) -> gevent.Greenlet[..., None]:
        def run() -> None:
            with self.turns.take(rank):
                self.order.append(name)
                if until is not None:
                    until.wait()

        running = gevent.spawn(run)
        gevent.sleep(0)
        return running


def test_the_urgent_come_first_and_each_in_their_order() -> None:
    stage, until = Stage(), Event()
    taking = [
        stage.take("first", 1, until),
        stage.take("other 1", 1),
        stage.take("other 2", 1),
        stage.take("urgent 1", 0),
        stage.take("urgent 2", 0),
    ]
    assert stage.order == ["first"]

    until.set()
    gevent.joinall(taking, timeout=5)

    assert stage.order == ["first", "urgent 1", "urgent 2", "other 1", "other 2"]
    stage.take("later", 1).join(5)
    assert stage.order[-1] == "later"


def test_who_waits_no_more_has_no_turn() -> None:
    stage, until = Stage(), Event()
    first = stage.take("first", 0, until)
    gone = stage.take("gone", 0)
    last = stage.take("last", 2)
    gone.kill()

    until.set()
    gevent.joinall([first, last], timeout=5)

    assert stage.order == ["first", "last"]


def test_who_is_killed_as_the_turn_comes_passes_it_on() -> None:
    stage = Stage()
    with stage.turns.take(0):
        called = stage.take("called", 0)
        last = stage.take("last", 0)
        called.kill(block=False)  # comes to it before the turn does
    last.join(5)

    assert stage.order == ["last"]

"""Who waits for a channel is woken."""

from __future__ import annotations

import gevent
from gevent.event import Event

from rtmpsrv.hls.changes import TOGETHER, Changes
from tests.waiting import eventually


def told(changes: Changes, count: int) -> list[Event]:
    """Return the events that so many wait for, who are told then."""
    events = list(dict.fromkeys([changes.event() for _ in range(count)]))
    changes.tell()
    return events


def test_few_are_woken_at_once() -> None:
    changes = Changes()
    changes.tell()
    (event,) = told(changes, TOGETHER)
    assert event.is_set()
    assert not changes.event().is_set()


def test_many_are_woken_in_turns() -> None:
    rounds: list[int] = []  # how many were woken, at each round of the loop
    round_of_the_loop = gevent.get_hub().loop.prepare()
    events = told(Changes(), 5 * TOGETHER + 1)
    assert [one.is_set() for one in events] == [True, *[False] * 5]
    round_of_the_loop.start(lambda: rounds.append(sum(one.is_set() for one in events)))
    eventually(events[-1].is_set)
    round_of_the_loop.stop()
    round_of_the_loop.close()
    assert {2, 3, 4, 5} <= set(rounds), "a round of the loop for each"


def test_who_waits_again_meanwhile_is_not_woken() -> None:
    changes = Changes()
    events = told(changes, 2 * TOGETHER)
    again = changes.event()
    eventually(events[-1].is_set)
    assert not again.is_set()

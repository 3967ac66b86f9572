"""Which sessions go, and what belongs to those that went; slices on their way are in test_predecessor.py."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from rtmpsrv.access.gate import Grant
from tests.integration.moving import Desk
from tests.unit.server.stage import eventually
from tests.unit.workers.houses import Handover


@pytest.fixture
def handover() -> Iterator[Handover]:
    made = Handover()
    yield made
    made.predecessor._talk.close()
    made.close()


def test_who_can_go_is_planned_by_channel(handover: Handover) -> None:
    handover.client()
    handover.publisher("one")
    handover.player("two")
    eventually(lambda: len(handover.old.sessions) == 3)
    handing = handover.predecessor._handing
    (channels, free) = handing.plan()
    assert (len(free.sessions), free.channels) == (1, [])
    assert (len(channels.sessions), sorted(channels.channels)) == (2, ["one", "two"])
    assert len(handing.plan(1)) == 3
    numbers = {session.client.number for session in free.sessions}
    assert [part.channels for part in handing.plan(without=numbers)] == [channels.channels]


def test_who_is_on_tls_or_busy_stays(handover: Handover) -> None:
    handover.client()
    handover.player("one")
    eventually(lambda: len(handover.old.sessions) == 2)
    for session in handover.old.sessions:
        session._requests.busy = True
    (part,) = handover.predecessor._handing.plan()
    assert part.channels == ["one"], "it may be ready when its turn comes"
    for session in handover.old.sessions:
        session._requests.busy = False
        session._transport.can_move = False
    assert handover.predecessor._handing.plan() == []


def test_the_end_of_a_link_is_told_for_what_it_granted_alone(handover: Handover) -> None:
    handing, one, other = handover.predecessor._handing, Desk(), Desk()
    told: list[object] = []

    def tell(message: object, descriptors: object = ()) -> bool:
        told.append(message)
        return True

    handing.talk.tell = tell  # type: ignore[method-assign]
    grants = {number: Grant("app", "key", "10.0.0.1", "id", number) for number in range(4)}
    handing.lent = {number: (one if number < 3 else other, grant) for number, grant in grants.items()}
    handing.link_lost(one, {0, 3})
    assert told == [{"kind": "link lost", "serials": {0}}]
    handing.link_lost(one, None)
    handing.link_lost(one, None)
    assert told[1:] == [{"kind": "link lost", "serials": {1, 2}}]
    assert set(handing.lent) == {3}

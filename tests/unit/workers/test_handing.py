"""Which sessions go, and what belongs to those that went; slices on their way are in test_predecessor.py."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

import pytest

from rtmpsrv.access.gate import Grant
from rtmpsrv.workers.handing import SESSION_S, STEP_S
from rtmpsrv.workers.slices import Slice
from rtmpsrv.workers.wire import WireLost
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
    handover.player("one")
    handover.publisher("two")
    eventually(lambda: len(handover.old.sessions) == 4)
    handing = handover.predecessor._handing
    (channels, free) = handing.plan()
    assert (len(free.sessions), free.channels) == (1, [])
    assert (len(channels.sessions), sorted(channels.channels)) == (3, ["one", "two"])
    assert len(handing.plan(1)) == 3
    numbers = {session.client.number for session in free.sessions}
    assert [part.channels for part in handing.plan(without=numbers)] == [channels.channels]


class Elder:
    pid = 1
    mirroring = ("waited",)


def test_however_many_wait_for_a_channel_few_are_frozen_at_once(handover: Handover) -> None:
    for _ in range(5):
        handover.player("waited")
    estate = handover.old.estate
    eventually(lambda: sum(len(channel.players) for channel in estate.registry) == 5)
    handing = handover.predecessor._handing
    assert [(len(part.sessions), part.channels) for part in handing.plan(2)] == [(2, []), (2, []), (1, [])]
    estate.elders.append(cast(Any, Elder()))
    assert [(len(part.sessions), part.channels) for part in handing.plan(2)] == [(5, ["waited"])]
    estate.elders.clear()
    handover.publisher("waited")
    assert [(len(part.sessions), part.channels) for part in handing.plan(2)] == [(6, ["waited"])]


@pytest.mark.parametrize("answer", ["prepared", "taken"])
def test_the_time_for_an_answer_grows_with_the_slice(
    handover: Handover, answer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[tuple[float, tuple[str, ...]]] = []

    def say(message: dict[str, Any], descriptors: object = ()) -> None:
        pass

    def answered(timeout_s: float, *kinds: str) -> dict[str, Any]:
        given.append((timeout_s, kinds))
        if answer in kinds:
            raise WireLost("enough")
        return {"kind": kinds[0]}

    handover.publisher("one")
    handover.player("one")
    handing = handover.predecessor._handing
    monkeypatch.setattr(handing.talk, "say", say)
    monkeypatch.setattr(handing.talk, "answer", answered)
    (part,) = handing.plan()
    with pytest.raises(WireLost, match="enough"):
        handing.hand_over(1, 1, part)
    handing.take_back()
    assert {timeout_s for timeout_s, _kinds in given} == {STEP_S + 2 * SESSION_S}


def test_who_is_on_tls_or_busy_stays(handover: Handover) -> None:
    handover.client()
    handover.publisher("one")
    eventually(lambda: len(handover.old.sessions) == 2)
    for session in handover.old.sessions:
        session._requests.busy = True
    (part,) = handover.predecessor._handing.plan()
    assert part.channels == ["one"], "it may be ready when its turn comes"
    for session in handover.old.sessions:
        session._requests.busy = False
        session._transport.can_move = False
    assert handover.predecessor._handing.plan(1) == []
    (part,) = handover.predecessor._handing.plan()
    assert part == Slice([], ["one"]), "others may come to play it there, or to publish"


def test_channels_that_others_publish_are_told_of_though_nobody_goes(handover: Handover) -> None:
    estate, handing = handover.old.estate, handover.predecessor._handing
    for name in ("waited", "another"):
        estate.registry.open(name).start("key")
    estate.elders.append(cast(Any, Elder()))
    assert handing.plan() == [Slice([], ["waited"])]
    handover.player("waited")
    (part,) = handing.plan()
    assert (len(part.sessions), part.channels) == (1, ["waited"])
    handover.clients[0].close()
    eventually(lambda: not handover.old.sessions)
    estate.copied = lambda name: None
    assert handing.plan() == [], "a keeper knows"
    estate.elders.clear()
    for name in ("waited", "another"):
        estate.registry.abandon(name)


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

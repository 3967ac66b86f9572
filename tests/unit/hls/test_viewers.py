"""Viewers of many requests, as one each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from rtmpsrv.errors import AccessDenied, NoRoom
from rtmpsrv.hls import viewers as module
from rtmpsrv.hls.viewers import AWAY_S, IDLE_S, LEFT_S, LOOKED_S, Viewers, is_name, new_name


class Viewing:
    name = "a"
    shape: bytes | None = None

    def __init__(self, send_away: Callable[[], None]) -> None:
        self.send_away = send_away
        self.ended = ""
        self.is_kicked = False
        self.rests = False
        self.full = 0  # so often

    def rest(self) -> None:
        self.rests = True

    def wake(self) -> None:
        if self.rests and self.full:
            self.full -= 1
            raise NoRoom("NetStream.Play.BadName", "full")
        self.rests = False

    def sent(self, count: int) -> None:
        """Nobody counts."""

    def state(self) -> dict[str, Any]:
        return {"key": "key"}

    def hand_over(self) -> None:
        self.ended = "goes on"

    def end(self, reason: str) -> None:
        self.ended = reason


class Door:
    def __init__(self) -> None:
        self.now = 0.0
        self.viewers: Viewers[Viewing] = Viewers(self.clock)
        self.asked: list[Viewing] = []

    def clock(self) -> float:
        return self.now

    def ask(self, send_away: Callable[[], None]) -> Viewing:
        viewing = Viewing(send_away)
        self.asked.append(viewing)
        return viewing

    def admit(self, address: str = "1.1.1.1", **query: str) -> Viewing:
        """Let a request in that is answered at once."""
        viewing = self.viewers.admit("a", address, query, self.ask)
        self.viewers.answered("a", address, query)
        return viewing


def test_nothing_that_was_shown_is_kept() -> None:
    door = Door()
    first = door.admit(s="1", token="shown" * 1000)
    assert "shown" not in repr((door.viewers.states_of("a"), list(door.viewers._viewers)))
    assert door.admit(s="1", token="shown" * 1000) is first
    assert door.admit(s="1", token="another") is not first


def test_viewer_is_asked_about_once() -> None:
    door = Door()
    first = door.admit(s="1", key="k")
    assert door.admit(s="1", key="k", _HLS_msn="5") is first
    assert len(door.asked) == len(door.viewers) == 1
    assert door.viewers.describe() == {"viewers": 1}


def test_others_are_others() -> None:
    door = Door()
    door.admit(s="1", key="k")
    door.admit(s="2", key="k")
    door.admit(s="1")  # knows the name, and not the key
    door.admit(s="1", key="wrong")
    door.admit("2.2.2.2", s="1", key="k")
    assert len(door.asked) == 5


def test_viewer_leaves_when_it_asks_no_more() -> None:
    door = Door()
    first, second, looked = door.admit(s="1"), door.admit(s="2"), door.admit(s="3")
    door.admit(s="2")
    door.now = LOOKED_S - 0.1
    door.admit(s="1")
    door.viewers.see_to()
    assert looked.ended == ""
    door.now = LOOKED_S
    door.viewers.see_to()
    assert looked.ended == "the viewer has left"
    door.now = LEFT_S
    door.viewers.see_to()
    assert (first.ended, second.ended) == ("", "the viewer has left")
    assert len(door.viewers) == 1


def test_viewer_that_waits_for_its_answer_stays() -> None:
    door = Door()
    who: dict[str, str] = {"s": "1"}
    viewing = door.viewers.admit("a", "1.1.1.1", who, door.ask)
    door.viewers.admit("a", "1.1.1.1", who, door.ask)
    door.now = 2 * LEFT_S
    door.viewers.answered("a", "1.1.1.1", who)
    door.now = 4 * LEFT_S
    door.viewers.see_to()
    assert viewing.ended == ""
    door.viewers.answered("a", "1.1.1.1", who)
    door.viewers.answered("a", "1.1.1.1", who)  # of a viewer of that name before
    door.viewers.answered("a", "1.1.1.1", {})
    door.now = 5 * LEFT_S
    door.viewers.see_to()
    assert viewing.ended == "the viewer has left"


def test_viewer_that_is_sent_away_is_refused_for_a_while_and_then_asked_about_again() -> None:
    door = Door()
    first = door.admit(s="1")
    first.send_away()
    assert first.ended == "sent away"
    first.send_away()
    with pytest.raises(AccessDenied, match="sent away"):
        door.admit(s="1")
    assert door.admit(s="2") is not first  # who asks anew
    door.now += AWAY_S
    assert door.admit(s="1") is not first


def test_of_those_who_were_sent_away_not_all_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_AWAY", 2)
    door = Door()
    for name in ("1", "2", "3"):
        door.admit(s=name).send_away()
    door.admit(s="1")
    for name in ("2", "3"):
        with pytest.raises(AccessDenied, match="sent away"):
            door.admit(s=name)


def test_refusal_leaves_nothing() -> None:
    door = Door()

    def refuse(send_away: Callable[[], None]) -> Viewing:
        raise AccessDenied("NetStream.Play.Failed", "no")

    with pytest.raises(AccessDenied):
        door.viewers.admit("a", "1.1.1.1", {}, refuse)
    assert len(door.viewers) == 0


def test_room_is_made_where_another_of_the_address_is_idle() -> None:
    door = Door()
    room = 2

    def ask(send_away: Callable[[], None]) -> Viewing:
        if sum(not one.ended for one in door.asked) >= room:
            raise NoRoom("NetStream.Play.BadName", "full")
        return door.ask(send_away)

    def admit(address: str, name: str) -> Viewing:
        viewing = door.viewers.admit("a", address, {"s": name}, ask)
        door.viewers.answered("a", address, {"s": name})
        return viewing

    first, other = admit("1.1.1.1", "1"), admit("2.2.2.2", "2")
    door.now = IDLE_S - 1
    with pytest.raises(NoRoom):
        admit("1.1.1.1", "3")
    door.now = IDLE_S
    admit("1.1.1.1", "3")
    assert (bool(first.ended), bool(other.ended)) == (True, False)


def test_two_requests_at_once_are_one_viewer() -> None:
    door = Door()
    inner: list[Viewing] = []

    def slow(send_away: Callable[[], None]) -> Viewing:
        inner.append(door.admit(s="1"))
        return door.ask(send_away)

    outer = door.viewers.admit("a", "1.1.1.1", {"s": "1"}, slow)
    assert outer is inner[0]
    assert door.asked[1].ended
    assert len(door.viewers) == 1


def test_there_are_not_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_VIEWERS", 2)
    door = Door()
    door.admit(s="1")
    door.admit(s="2")
    door.admit(s="1")
    with pytest.raises(AccessDenied):
        door.admit(s="3")


def test_all_go_in_the_end() -> None:
    door = Door()
    viewings = [door.admit(s="1"), door.admit(s="2")]
    door.viewers.close("the server ends")
    assert [one.ended for one in viewings] == ["the server ends"] * 2


def test_names_cannot_be_guessed() -> None:
    assert new_name() != new_name()
    assert is_name(new_name())
    assert not is_name("")
    assert not is_name("x" * 16)


def wait(door: Door, name: str) -> Viewing:
    """Ask, and wait for the answer."""
    return door.viewers.admit("a", "1.1.1.1", {"s": name}, door.ask)


def rests(viewing: Viewing) -> bool:
    return viewing.rests


def test_who_asked_once_holds_no_slot_until_it_asks_again() -> None:
    door = Door()
    viewing = wait(door, "1")
    assert not rests(viewing)
    door.viewers.answered("a", "1.1.1.1", {"s": "1"})
    assert rests(viewing)
    door.admit(s="1")
    assert not rests(viewing)


def test_who_asks_for_nothing_lets_others_have_its_slot() -> None:
    door = Door()
    door.admit(s="1")
    idle, busy = door.admit(s="1"), wait(door, "2")
    door.now = IDLE_S - 0.1
    door.viewers.see_to()
    assert not rests(idle)
    door.now = IDLE_S
    door.viewers.see_to()
    assert (rests(idle), idle.ended, rests(busy)) == (True, "", False)
    door.admit(s="1")
    assert not rests(idle)


def test_slot_that_others_have_is_not_had_again() -> None:
    door = Door()
    viewing = door.admit(s="1")
    viewing.full = 1
    with pytest.raises(NoRoom):
        door.admit(s="1")
    assert len(door.viewers) == 1
    viewing.full = 1
    other = door.admit(s="2")
    door.now = IDLE_S
    assert door.admit(s="1") is viewing, "as that of another one of the address"
    assert other.ended == "another one of its address came"


def test_who_is_ended_while_it_takes_a_slot_is_refused() -> None:
    door = Door()
    viewing = door.admit(s="1")
    viewing.wake = viewing.send_away  # type: ignore[method-assign]
    with pytest.raises(AccessDenied, match="sent away"):
        door.admit(s="1")
    assert len(door.viewers) == 0


def test_only_so_many_of_an_address_ask_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_LOOKING", 2)
    door = Door()
    door.viewers = Viewers(door.clock, lambda address: address[0])
    door.admit(s="0")
    watching, busy = door.admit(s="0"), wait(door, "1")
    other = door.admit("2.2.2.2", s="2")
    looks = [door.admit(f"1.{name}", s=name) for name in ("3", "4", "5")]
    assert [bool(one.ended) for one in looks] == [True, True, False]
    assert [one.ended for one in (watching, busy, other)] == ["", "", ""]
    assert len(door.viewers) == 4


def test_who_is_kicked_stays_away_under_any_name() -> None:
    door = Door()
    door.viewers = Viewers(door.clock, lambda address: address[0])
    first, neighbour = door.admit(s="1", key="k"), door.admit("1.2.3.4", s="2")
    first.is_kicked = True
    first.send_away()
    for address, query in [("1.1.1.1", {"s": "3", "key": "k"}), ("1.1.1.1", {}), ("1.9.9.9", {"user": "x"})]:
        with pytest.raises(AccessDenied, match="sent away"):
            door.admit(address, **query)
    assert door.admit("1.2.3.4", s="2") is neighbour
    door.admit("2.2.2.2", s="3")
    door.viewers.admit("b", "1.1.1.1", {}, door.ask)
    door.now = AWAY_S
    door.admit(s="1", key="k")


def test_who_has_likely_left_makes_room_where_there_are_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_VIEWERS", 1)
    door = Door()
    first = door.admit(s="1")
    with pytest.raises(AccessDenied, match="too many"):
        door.admit("2.2.2.2", s="2")
    door.now = IDLE_S
    door.admit("2.2.2.2", s="2")
    assert first.ended == "others came"


def test_who_came_while_another_request_of_it_woke_up_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_LOOKING", 1)
    door = Door()
    first = door.admit(s="1")
    again: list[Viewing] = []

    def wake() -> None:  # blocks, in a worker
        door.admit(s="2")
        again.append(wait(door, "1"))

    monkeypatch.setattr(first, "wake", wake)
    with pytest.raises(AccessDenied, match="sent away"):
        door.admit(s="1")
    assert first.ended == "others of its address came"
    assert again[0].ended == ""
    assert door.admit(s="1") is again[0]
    door.admit(s="3")
    door.viewers.close("the end")
    assert [bool(one.ended) for one in door.asked] == [True] * len(door.asked)

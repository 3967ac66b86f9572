"""A publisher whose channel is on the air waits for the end of the present one, or is refused."""

from __future__ import annotations

import re
from collections.abc import Callable

import gevent
import pytest

from rtmpsrv import takeover
from rtmpsrv.access.second_publisher import REFUSE, STALLED, TAKEOVER, SecondPolicy
from rtmpsrv.errors import AccessDenied
from rtmpsrv.server.host import Peer
from rtmpsrv.takeover import MOVE_S, REPLACED, TAKEOVER_S, WATCH_S, make_room
from tests.unit.test_relay import FakePeer

REFUSED = re.escape("NetStream.Publish.BadName: Stream already publishing")


class Incumbent:
    """The publisher on the air."""

    def __init__(self) -> None:
        self.fake = FakePeer()
        self.peer: Peer = self.fake
        self.ends: list[tuple[str, float]] = []
        self.is_over = False
        self.has_gone = False

    def has_left(self) -> bool:
        return self.fake.left

    def end(self, reason: str, keep_s: float) -> None:
        self.ends.append((reason, keep_s))

    def is_there(self) -> bool:
        return not (self.ends or self.has_gone)


class Time:
    """Passes while somebody waits."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 100.0
        self.waits: list[float] = []
        self.meanwhile: Callable[[], None] = lambda: None
        monkeypatch.setattr(takeover, "monotonic", lambda: self.now)
        monkeypatch.setattr(gevent, "sleep", self.sleep)

    def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.now += seconds
        self.meanwhile()


@pytest.fixture
def time(monkeypatch: pytest.MonkeyPatch) -> Time:
    return Time(monkeypatch)


def ask(
    incumbent: Incumbent, mode: str = REFUSE, reconnect_s: float = 0.0, same: bool = True, left: bool = False
) -> bool:
    return make_room(lambda: left, incumbent, incumbent.is_there, SecondPolicy(mode, reconnect_s), same)


@pytest.mark.parametrize(("mode", "same"), [(REFUSE, True), (STALLED, False), (TAKEOVER, False)])
def test_who_may_not_go_on_is_refused_at_once(mode: str, same: bool, time: Time) -> None:
    incumbent = Incumbent()
    incumbent.fake.silent_s = 1000
    with pytest.raises(AccessDenied, match=REFUSED):
        ask(incumbent, mode, same=same)
    assert (incumbent.ends, incumbent.fake.dismissals, time.waits) == ([], [], [])


def test_who_takes_over_does_so_at_once(time: Time) -> None:
    incumbent = Incumbent()
    assert ask(incumbent, TAKEOVER)
    assert incumbent.ends == [(REPLACED, TAKEOVER_S)]
    assert incumbent.fake.dismissals == [REPLACED]
    assert incumbent.fake.drops == []
    assert time.waits == []


def test_players_are_kept_for_as_long_as_they_would_be(time: Time) -> None:
    incumbent = Incumbent()
    assert ask(incumbent, TAKEOVER, 1000.0)
    assert incumbent.ends == [(REPLACED, 1000.0)]


def test_a_publisher_that_sends_keeps_its_channel(time: Time) -> None:
    incumbent = Incumbent()
    incumbent.fake.silent_s = 0.02
    with pytest.raises(AccessDenied, match=REFUSED):
        ask(incumbent, STALLED)
    assert time.waits == [WATCH_S]
    assert incumbent.ends == []


def test_a_publisher_that_sends_nothing_loses_it_after_3_s(time: Time) -> None:
    incumbent = Incumbent()
    incumbent.fake.silent_s = 1.0

    def pass_silently() -> None:
        incumbent.fake.silent_s += WATCH_S

    time.meanwhile = pass_silently
    assert ask(incumbent, STALLED)
    assert incumbent.ends == [(REPLACED, TAKEOVER_S)]
    assert time.now == pytest.approx(102.0, abs=0.15)


def test_a_publisher_that_sends_at_last_keeps_it(time: Time) -> None:
    incumbent = Incumbent()

    def speak_after_a_second() -> None:
        incumbent.fake.silent_s = time.now - 100.0 if time.now < 101.0 else 0.0

    time.meanwhile = speak_after_a_second
    with pytest.raises(AccessDenied, match=REFUSED):
        ask(incumbent, STALLED)
    assert incumbent.ends == []
    assert time.now == pytest.approx(101.0, abs=0.15)


def test_who_leaves_while_it_waits_ends_nobody(time: Time) -> None:
    incumbent = Incumbent()
    incumbent.fake.silent_s = 1000
    with pytest.raises(AccessDenied, match=REFUSED):
        ask(incumbent, STALLED, left=True)
    assert incumbent.ends == []


def test_a_publisher_that_ends_meanwhile_is_not_ended_again(time: Time) -> None:
    incumbent = Incumbent()
    incumbent.fake.silent_s = 1.0
    time.meanwhile = lambda: incumbent.ends.append(("by itself", 0.0))
    assert ask(incumbent, STALLED)
    assert incumbent.ends == [("by itself", 0.0)]
    assert incumbent.fake.dismissals == []


def test_a_publisher_that_moves_is_waited_for_and_not_ended_here(time: Time) -> None:
    incumbent = Incumbent()
    incumbent.is_over = True
    with pytest.raises(AccessDenied, match=REFUSED):
        ask(incumbent, TAKEOVER)
    assert (incumbent.ends, incumbent.fake.dismissals) == ([], [])
    assert time.now == pytest.approx(100.0 + MOVE_S, abs=1.5 * WATCH_S)


def test_a_publisher_that_has_moved_is_waited_for_no_longer(time: Time) -> None:
    incumbent = Incumbent()
    incumbent.is_over = True

    def go() -> None:
        incumbent.has_gone = True

    time.meanwhile = go
    assert ask(incumbent, TAKEOVER)
    assert (incumbent.ends, time.waits) == ([], [WATCH_S])


@pytest.mark.parametrize(
    ("mode", "reconnect_s", "same", "keep_s"),
    [
        (REFUSE, 0.0, True, 0.0),
        (REFUSE, 10.0, True, TAKEOVER_S),
        (REFUSE, 10.0, False, 0.0),
        (STALLED, 0.0, True, TAKEOVER_S),
        (STALLED, 0.0, False, 0.0),
        (TAKEOVER, 100.0, True, 100.0),
    ],
)
def test_players_of_one_that_has_left_are_kept_for_one_with_its_right(
    mode: str, reconnect_s: float, same: bool, keep_s: float, time: Time
) -> None:
    incumbent = Incumbent()
    incumbent.fake.left = True
    assert ask(incumbent, mode, reconnect_s, same) is (keep_s > 0)
    assert incumbent.ends == [("the peer has left", keep_s)]
    assert incumbent.fake.drops == ["closed by the peer"]
    assert incumbent.fake.dismissals == []


def test_a_peer_whose_end_is_hidden_gets_time_to_answer(time: Time) -> None:
    incumbent = Incumbent()
    incumbent.fake.hides = True
    ask(incumbent)
    assert time.waits == [takeover.SOUNDING_S]
    assert incumbent.ends == [("the peer has left", 0.0)]

from __future__ import annotations

from typing import Any, cast

import pytest

from rtmpsrv.access.gate import Gate, Grant, PublishRequest
from rtmpsrv.server.host import Client
from rtmpsrv.server.http import state as http_state
from rtmpsrv.server.listener import Listener
from rtmpsrv.server.session_state import SessionSettings, begin
from rtmpsrv.workers.estate import MOST_HELD, Estate, Kills, Numbers, channels_of, home_of, is_fixed
from tests.integration.moving import Desk


@pytest.fixture
def gate() -> Gate:
    return Gate(Desk())


class Neighbour:
    """A process before or after this one; it has what `has` says."""

    def __init__(self, *, has: bool = True) -> None:
        self.asked: list[tuple[str, str | None, str]] = []
        self.has = has

    def __call__(self, channel: str, stream_id: str | None, reason: str) -> bool:
        self.asked.append((channel, stream_id, reason))
        return self.has


def admit(gate: Gate, channel: str, reasons: list[str]) -> Grant:
    return gate.admit(PublishRequest(channel, "key", "10.0.0.1"), reasons.append)


def test_a_kill_is_passed_on_only_where_nothing_is_found(gate: Gate) -> None:
    kills, before, after = Kills(gate), Neighbour(has=False), Neighbour()
    reasons: list[str] = []
    admit(gate, "here", reasons)
    assert not kills.kill("elsewhere", None, "enough")
    kills.before, kills.after = [before], after
    assert kills.kill("here", None, "enough")
    assert kills.kill("elsewhere", "id", "enough")
    assert reasons == ["enough"]
    assert before.asked == after.asked == [("elsewhere", "id", "enough")]


def test_a_kill_that_was_passed_on_does_not_go_back(gate: Gate) -> None:
    kills, before, after = Kills(gate), Neighbour(), Neighbour()
    kills.before, kills.after = [before], after
    reasons: list[str] = []
    admit(gate, "one", reasons)
    admit(gate, "two", reasons)
    kills.from_before("elsewhere", None, "a")
    kills.from_before("one", None, "b")
    assert (before.asked, after.asked) == ([], [("elsewhere", None, "a")])
    kills.from_after("elsewhere", None, "c")
    kills.from_after("two", None, "d")
    assert (before.asked, after.asked) == ([("elsewhere", None, "c")], [("elsewhere", None, "a")])
    assert reasons == ["b", "d"]


def test_kills_are_held_and_done_in_the_end(gate: Gate) -> None:
    kills, reasons = Kills(gate), list[str]()
    kills.hold()
    admit(gate, "app", reasons)
    assert kills.kill("app", None, "enough")
    assert reasons == []
    for _ in range(MOST_HELD):
        kills.kill("other", None, "more")
    assert len(kills._held or ()) == MOST_HELD
    kills.release()
    assert reasons == ["enough"]
    kills.release()


def test_numbers_never_go_back() -> None:
    numbers = Numbers()
    assert [next(numbers), next(iter(numbers))] == [1, 2]
    numbers.begin_at(10)
    numbers.begin_at(5)
    assert next(numbers) == 10


def test_what_a_lost_link_granted_ends_here_and_later(gate: Gate) -> None:
    nothing: Any = None
    estate = Estate(nothing, gate, Kills(gate), nothing, Numbers(), [], {}, nothing)
    reasons: list[str] = []
    admit(gate, "app", reasons)
    desk, other = gate._authority, Desk()
    estate.link_lost(other)
    assert reasons == []
    told: list[object] = []
    estate.link_lost_after = lambda authority, serials: told.append((authority, serials))
    estate.link_lost(desk)
    assert reasons == ["control link lost"]
    assert told == [(desk, None)]


class Granted:
    def __init__(self, name: str) -> None:
        self.channel = cast(Any, type("Channel", (), {"name": name})())


def test_who_is_on_tls_or_on_two_channels_is_fixed() -> None:
    def session(*names: str, tls: bool = False) -> Any:
        return type("Session", (), {"granted": [Granted(name) for name in names], "is_bound": tls})()

    assert channels_of(session()) == set()
    assert channels_of(session("a", "a")) == {"a"}
    assert not is_fixed(session("a", "a"))
    assert is_fixed(session("a", "b"))
    assert is_fixed(session(tls=True))


def listener(protocol: str, *, secure: bool = False) -> Listener:
    return cast(Listener, type("Listener", (), {"protocol": protocol, "secure": secure})())


@pytest.mark.parametrize("behind_proxy", [False, True])
def test_a_session_from_elsewhere_belongs_to_the_listener_of_its_kind(behind_proxy: bool) -> None:
    client = Client(7, "10.0.0.1", 1935, behind_proxy)  # which says so of its client, who has TLS there
    by_rtmp, by_http = begin(client, SessionSettings(), 0), http_state.begin(client, SessionSettings(), 0)
    rtmp, rtmps = listener("rtmp"), listener("rtmp", secure=True)
    http, https = listener("http"), listener("http", secure=True)
    for listeners in ([rtmp, http, rtmps], [rtmp, rtmps, https, http]):
        assert home_of(by_rtmp, listeners) is rtmp
        assert home_of(by_http, listeners) is http
    assert home_of(by_http, [rtmp, https, rtmps]) is https, "that of its protocol, though it has TLS now"
    assert home_of(by_http, [rtmp, rtmps]) is rtmp, "nobody speaks it any more, and it goes on"

from __future__ import annotations

from collections.abc import Callable

import pytest

from rtmpsrv.access.facts import NO_FACTS, Facts
from rtmpsrv.access.gate import Grant, PublishRequest
from rtmpsrv.access.hooks import NoHooks, Watch
from rtmpsrv.access.names import StreamName
from rtmpsrv.access.visits import Visits
from rtmpsrv.errors import AccessDenied
from rtmpsrv.server.host import Client
from tests.doubles.secrets import KEY

STREAM = StreamName("live", KEY, token="t", shown=KEY)


class FakeHooks:
    """Says what a test wants and notes what it is asked."""

    wants_facts = True

    def __init__(self) -> None:
        self.app = ""
        self.channel = "live"
        self.max_players = 0
        self.asked: list[PublishRequest] = []
        self.connected: list[Facts] = []
        self.ended: list[Grant] = []
        self.watched: list[tuple[Grant, bool]] = []

    def connect(self, client_ip: str, facts: Facts) -> str:
        self.connected.append(facts)
        return self.app

    def play(self, request: PublishRequest) -> Grant | None:
        self.asked.append(request)
        channel, limit = self.channel, self.max_players
        return Grant(channel, request.key, request.client_ip, "s1", 1, request.facts, max_players=limit)

    def left(self, visit: Grant) -> None:
        self.ended.append(visit)

    def watch(self, grant: Grant, end: Callable[[str], None], *, publishes: bool) -> Watch:
        self.watched.append((grant, publishes))
        return Watch()


def client() -> Client:
    return Client(7, "192.0.2.1", 1935, False, "live")


def refuse(what: object) -> None:
    raise AccessDenied("code", "no")


def test_a_client_may_be_given_another_app() -> None:
    hooks, guest = FakeHooks(), client()
    visits = Visits(hooks)
    assert not visits.connect(guest)
    assert (guest.app, hooks.connected[0].app) == ("live", "live")
    hooks.app = "other"
    assert visits.connect(guest)
    assert guest.app == "other"


def test_a_player_gets_what_it_was_given_also_where_it_goes_on() -> None:
    hooks, guest = FakeHooks(), client()
    hooks.channel = "other"
    visits = Visits(hooks)
    checked: list[StreamName] = []
    stream = visits.play(guest, "alice?token=t", STREAM, checked.append)
    assert (stream.channel, stream.key, checked) == ("other", KEY, [stream])
    (request,) = hooks.asked
    assert (request.channel, request.key, request.client_ip) == ("live", KEY, "192.0.2.1")
    assert (request.facts.name, request.facts.token) == ("alice", "t")
    assert visits.resumed(guest, STREAM).channel == "other"
    visits.watch_player(guest, print)
    assert [publishes for _, publishes in hooks.watched] == [False]
    visits.left(guest)
    visits.left(guest)
    assert [visit.channel for visit in hooks.ended] == ["other"], "once"
    assert visits.resumed(guest, STREAM) is STREAM


def test_a_backend_may_say_how_many_play_with_a_player() -> None:
    visits, guest = Visits(NoHooks()), client()
    assert visits.max_players(guest) == 0
    guest.granted = Grant("live", KEY, "192.0.2.1", "s1", max_players=5)
    assert visits.max_players(guest) == 5


def test_a_player_that_was_accepted_and_is_refused_after_all_has_left() -> None:
    hooks, guest = FakeHooks(), client()
    with pytest.raises(AccessDenied):
        Visits(hooks).play(guest, KEY, STREAM, refuse)
    assert len(hooks.ended) == 1
    assert guest.granted is None


def test_where_nobody_is_asked_nothing_is_kept_or_told() -> None:
    visits, guest = Visits(NoHooks()), client()
    assert not visits.connect(guest)
    assert visits.play(guest, KEY, STREAM, refuse) is STREAM
    assert visits.facts(guest, KEY, STREAM) is NO_FACTS
    visits.left(guest)
    visits.watch_player(guest, print).cancel()


def test_publishers_are_looked_after() -> None:
    hooks = FakeHooks()
    grant = Grant("live", KEY, "192.0.2.1", "s1")
    Visits(hooks).watch_publisher(grant, print).cancel()
    assert hooks.watched == [(grant, True)]

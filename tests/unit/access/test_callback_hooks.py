from __future__ import annotations

import socket
from collections.abc import Iterator
from dataclasses import fields

import pytest

from rtmpsrv import log
from rtmpsrv.access.callback_hooks import LOOK_EVERY_S, TIME_IS_UP, CallbackHooks
from rtmpsrv.access.callback_sender import Sender
from rtmpsrv.access.facts import KINDS, Facts, RecordedFile
from rtmpsrv.access.form_nginx import NginxForm
from rtmpsrv.access.gate import Grant, PublishRequest
from rtmpsrv.access.grants import Recorded
from rtmpsrv.errors import AccessDenied
from rtmpsrv.server.turns import Turns
from tests.doubles.hook_backend import Fields, NginxBackend, Said
from tests.doubles.secrets import KEY
from tests.waiting import eventually

from .conftest import LogLines

PATIENCE_S = 15.0
FACTS = Facts(id="4711", app="live", name="alice", asked_at=1000.0)
ADDRESS = "192.0.2.1"


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def backend() -> Iterator[NginxBackend]:
    with NginxBackend() as running:
        assert isinstance(running, NginxBackend)
        yield running


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def hooks(backend: NginxBackend, clock: Clock) -> Iterator[CallbackHooks]:
    made = make(backend.url, clock=clock)
    yield made
    made.close()


def make(url: str, *kinds: str, clock: Clock | None = None) -> CallbackHooks:
    sender = Sender(url, NginxForm(), log=log.get("CALLBACK"), give_way=Turns(), timeout_s=PATIENCE_S)
    told = frozenset(kinds or KINDS)
    return CallbackHooks(sender, log=log.get("CALLBACK"), kinds=told, update_s=30, clock=clock or Clock())


def request() -> PublishRequest:
    return PublishRequest("live/alice", KEY, ADDRESS, FACTS)


def grant(ends_at: float = 0.0) -> Grant:
    return Grant("live/alice", KEY, ADDRESS, "s1", 1, FACTS, "", ends_at)


def refused(ask: object) -> str:
    assert callable(ask)
    with pytest.raises(AccessDenied) as caught:
        ask()
    return f"{caught.value.code} {caught.value.for_log}"


# --- connections and players ---------------------------------------------------------------------------


def test_a_connection_is_asked_about(hooks: CallbackHooks, backend: NginxBackend) -> None:
    assert hooks.connect(ADDRESS, FACTS) == ""
    (event,) = backend.received
    assert (event["call"], event["app"], event["addr"]) == ("connect", "live", ADDRESS)
    backend.says = lambda fields: Said(302, b"", {"location": "other"})
    assert hooks.connect(ADDRESS, FACTS) == "other"
    backend.says = lambda fields: backend.no("not today")
    why = refused(lambda: hooks.connect(ADDRESS, FACTS))
    assert why == "NetConnection.Connect.Rejected You may not connect: not today (CALLBACK_URL)"
    backend.says = lambda fields: Said(404)
    assert "refused by the callback (status 404)" in refused(lambda: hooks.connect(ADDRESS, FACTS))


def test_without_an_answer_nobody_connects(log_lines: LogLines) -> None:
    with socket.create_server(("127.0.0.1", 0)) as nobody:
        url = f"http://127.0.0.1:{nobody.getsockname()[1]}/"
    hooks = make(url)
    assert "the callback did not answer (CALLBACK_URL)" in refused(lambda: hooks.connect(ADDRESS, FACTS))
    assert log_lines.count("WARNING connect failed app=live") == 1
    hooks.close()


def test_a_hung_backend_is_named_by_the_deadline() -> None:
    with socket.create_server(("127.0.0.1", 0)) as hung:
        sender = Sender(
            f"http://127.0.0.1:{hung.getsockname()[1]}/",
            NginxForm(),
            log=log.get("CALLBACK"),
            give_way=Turns(),
            timeout_s=0.05,
        )
        hooks = CallbackHooks(sender, log=log.get("CALLBACK"), kinds=frozenset(KINDS))
        assert "(CALLBACK_TIMEOUT_SECONDS)" in refused(lambda: hooks.connect(ADDRESS, FACTS))
        hooks.close()


def test_a_player_is_asked_about_and_its_end_is_told(hooks: CallbackHooks, backend: NginxBackend) -> None:
    visit = hooks.play(request())
    assert visit is not None
    assert (visit.channel, visit.asked) == ("live/alice", "")
    hooks.left(visit)
    assert hooks.wait_idle(PATIENCE_S)
    assert [event["call"] for event in backend.received] == ["play", "play_done"]
    backend.says = lambda fields: backend.rename("bob")
    renamed = hooks.play(request())
    assert renamed is not None
    assert (renamed.channel, renamed.asked) == ("live/bob", "live/alice")
    backend.says = lambda fields: backend.no("pay first")
    why = refused(lambda: hooks.play(request()))
    assert why == "NetStream.Play.BadName You may not play: pay first (CALLBACK_URL)"


def test_a_hung_report_of_one_player_holds_up_no_other(hooks: CallbackHooks, backend: NginxBackend) -> None:
    backend.says = lambda fields: Said(503) if fields["clientid"] == "1" else backend.yes()
    for number in (1, 2):
        hooks.left(Grant("live/alice", KEY, ADDRESS, "s", number, Facts(number=number)))
    eventually(lambda: any(event["clientid"] == "2" for event in backend.received))


def test_events_that_nobody_wants_are_not_told(backend: NginxBackend) -> None:
    hooks = make(backend.url, "start", "stop")
    assert hooks.connect(ADDRESS, FACTS) == ""
    assert hooks.play(request()) is None
    hooks.left(grant())
    hooks.watch(grant(), print, publishes=True).cancel()
    hooks.close()
    only_ends = make(backend.url, "play_stop")
    visit = only_ends.play(request())
    assert visit is not None, "its end is to be told"
    only_ends.left(visit)
    assert only_ends.finish(PATIENCE_S)
    assert [event["call"] for event in backend.received] == ["play_done"]


def test_recordings_are_told(backend: NginxBackend) -> None:
    hooks = make(backend.url, "record_done")
    given = {one.name: getattr(grant(), one.name) for one in fields(Grant)}
    hooks.recorded(Recorded(**given, file=RecordedFile("/r", "a.flv")))
    assert hooks.waiting == 1
    assert hooks.finish(PATIENCE_S)
    assert [(event["call"], event["path"]) for event in backend.received] == [("record_done", "/r/a.flv")]


# --- updates and time ----------------------------------------------------------------------------------


def test_updates_go_out_from_time_to_time(hooks: CallbackHooks, backend: NginxBackend, clock: Clock) -> None:
    ends: list[str] = []
    publisher = hooks.watch(grant(), ends.append, publishes=True)
    hooks.watch(grant(), ends.append, publishes=False)
    clock.now += 29.9
    hooks.look()
    clock.now += 0.2
    hooks.look()
    hooks.look()
    eventually(lambda: len(backend.received) == 2)
    assert sorted(event["call"] for event in backend.received) == ["update_play", "update_publish"]
    assert {event["time"] for event in backend.received} == {"30"}
    publisher.cancel()
    publisher.cancel()
    clock.now += 30
    hooks.look()
    eventually(lambda: len(backend.received) == 3)
    assert backend.received[2]["call"] == "update_play"
    assert ends == []


def test_an_update_may_end_it(hooks: CallbackHooks, backend: NginxBackend, clock: Clock) -> None:
    ends: list[str] = []
    says: list[Said] = [Said(403), backend.no("too long")]
    backend.says = lambda fields: says.pop(0)
    for _ in range(2):
        hooks.watch(grant(), ends.append, publishes=True)
        clock.now += 30
        hooks.look()
        eventually(lambda: not hooks._watched)
    assert ends == ["ended by the callback: status 403", "ended by the callback: too long"]
    clock.now += 30
    hooks.look()
    assert len(backend.received) == 2


def test_an_update_without_an_answer_ends_nobody(
    hooks: CallbackHooks, backend: NginxBackend, clock: Clock, log_lines: LogLines
) -> None:
    ends: list[str] = []
    hooks.watch(grant(), ends.append, publishes=True)
    hooks._sender._url = "http://127.0.0.1:1/"
    clock.now += 30
    hooks.look()
    eventually(lambda: log_lines.count("updates without an answer: 1, the last reason=ConnectionError"))
    hooks._sender._url = backend.url
    clock.now += 30
    hooks.look()
    eventually(lambda: backend.received)
    assert ends == []


def test_who_has_left_meanwhile_is_not_ended(
    hooks: CallbackHooks, backend: NginxBackend, clock: Clock
) -> None:
    ends: list[str] = []
    watch = hooks.watch(grant(), ends.append, publishes=True)

    def leave(fields: Fields) -> Said:
        watch.cancel()
        return Said(403)

    backend.says = leave
    clock.now += 30
    hooks.look()
    eventually(lambda: backend.received)
    eventually(lambda: hooks._updates.free_count() == hooks._updates.size)
    assert ends == []


def test_the_time_that_was_allowed_ends(hooks: CallbackHooks, clock: Clock) -> None:
    ends: list[str] = []
    hooks.watch(grant(clock.now + 5), ends.append, publishes=False)
    clock.now += 4.9
    hooks.look()
    assert ends == []
    clock.now += 0.1
    hooks.look()
    hooks.look()
    assert ends == [TIME_IS_UP]


def test_an_update_may_set_the_time(hooks: CallbackHooks, backend: NginxBackend, clock: Clock) -> None:
    ends: list[str] = []
    body, json = b'{"lifetime": 2000}', {"content-type": "application/json"}
    backend.says = lambda fields: Said(200, body, json)
    hooks.watch(grant(), ends.append, publishes=True)
    clock.now += 30
    hooks.look()
    eventually(lambda: hooks._updates.free_count() == hooks._updates.size)
    clock.now += 2
    hooks.look()
    assert ends == [TIME_IS_UP]


def test_somebody_looks(backend: NginxBackend, clock: Clock) -> None:
    hooks = make(backend.url, "start", clock=clock)
    ends: list[str] = []
    hooks.watch(grant(clock.now), ends.append, publishes=True)
    eventually(lambda: ends)
    assert LOOK_EVERY_S < 1
    hooks.close()

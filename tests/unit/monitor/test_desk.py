"""The desk: no web process without a client, one with, and another one when that is gone."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Any

import gevent
import pytest
from gevent import socket as gsocket
from gevent.event import Event

from rtmpsrv import log
from rtmpsrv.monitor import desk
from rtmpsrv.monitor.desk import Desk
from rtmpsrv.server.binding import bind
from tests.unit.web.stage import Lines
from tests.unit.workers.lines import eventually


class Webs:
    """Makes what takes the place of web processes: each accepts one client, and ends as a test says."""

    def __init__(self) -> None:
        self.made: list[Web] = []
        self.fails = 0  # how many cannot be started
        self.ends_well = True
        self.stubborn = False  # does not end when it is asked to

    def __call__(self, listening: int, settings: Any, ask: Any, logger: Any) -> Web:
        if self.fails:
            self.fails -= 1
            raise OSError(11, "Resource temporarily unavailable")
        web = Web(self, listening, ask)
        self.made.append(web)
        return web


class Web:
    """One of them."""

    pid = 1

    def __init__(self, webs: Webs, listening: int, ask: Any) -> None:
        self._webs = webs
        self.ask = ask
        self.may_end = Event()
        self.reloads = self.kills = 0
        self.breaks = False
        with socket.socket(fileno=socket.dup(listening)) as sock:
            self.client, _ = sock.accept()

    def serve(self) -> bool:
        self.may_end.wait()
        self.client.close()
        if self.breaks:
            raise RuntimeError
        return self._webs.ends_well

    def stop(self) -> None:
        if not self._webs.stubborn:
            self.may_end.set()

    def leave(self, timeout_s: float) -> None:
        self.stop()

    def reload(self) -> None:
        self.reloads += 1

    def kill(self) -> None:
        self.kills += 1
        self.may_end.set()


class Place:
    """A desk, its web processes and its clients."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.webs = Webs()
        monkeypatch.setattr(desk, "WebProcess", self.webs)
        monkeypatch.setattr(desk, "FIRST_PAUSE_S", 0.001)
        monkeypatch.setattr(desk, "LONGEST_PAUSE_S", 0.002)
        monkeypatch.setattr(desk, "RETRY_S", 0.001)
        monkeypatch.setattr(desk, "END_S", 0.05)
        self.clients: list[gsocket.socket] = []
        self.desk = self.make(0)
        self.desk.open()

    def make(self, port: int) -> Desk:
        return Desk("127.0.0.1", port, {}, lambda what, arguments, timeout_s: {}, log.get("WEB"))

    @property
    def port(self) -> int:
        assert self.desk.socket is not None
        return int(self.desk.socket.getsockname()[1])

    def come(self) -> None:
        self.clients.append(gsocket.create_connection(("127.0.0.1", self.port), 5))

    def made(self, count: int) -> Web:
        eventually(lambda: len(self.webs.made) == count, f"{count} web processes")
        return self.webs.made[-1]


@pytest.fixture
def place(monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    found = Place(monkeypatch)
    yield found
    found.webs.stubborn = False
    found.desk.close(1.0)
    for client in found.clients:
        client.close()
    for web in found.webs.made:
        web.client.close()


def test_there_is_a_web_process_only_while_somebody_asks(place: Place) -> None:
    place.desk.start()
    gevent.sleep(0.01)
    assert place.webs.made == []
    place.come()
    first = place.made(1)
    place.desk.reload()
    assert first.reloads == 1
    first.may_end.set()
    place.come()
    place.made(2)


def test_who_came_before_the_start_is_served(place: Place) -> None:
    place.desk.reload()
    place.come()
    place.desk.start()
    place.made(1)


def test_one_that_dies_of_its_start_is_followed_by_others_with_pauses(place: Place, lines: Lines) -> None:
    place.webs.ends_well = False
    place.desk.start()
    for number in range(1, 4):
        place.come()
        place.made(number).may_end.set()
    error = ("ERROR", "the web process did not live; the next one in 0 s")
    eventually(lambda: lines.lines.count(error) == 3)
    place.webs.ends_well = True
    place.come()
    place.made(4).may_end.set()
    place.come()
    place.made(5)
    assert lines.lines.count(error) == 3


def test_one_that_cannot_be_started_or_breaks_is_followed_by_another(place: Place, lines: Lines) -> None:
    place.webs.fails = 1
    place.come()
    place.desk.start()
    web = place.made(1)
    web.breaks = True
    web.may_end.set()
    place.come()
    place.made(2)
    assert web.kills == 1
    errors = [text for level, text in lines.lines if level == "ERROR"]
    assert errors[0] == "the web process cannot be started: Resource temporarily unavailable"
    assert "the web process is given up" in errors


def test_at_the_end_it_may_finish_and_one_that_does_not_is_killed(place: Place) -> None:
    place.desk.start()
    place.come()
    web = place.made(1)
    place.webs.stubborn = True
    port = place.port
    closing = gevent.spawn(place.desk.close, 0.05)
    gevent.sleep(0)
    bind("127.0.0.1", port).close()  # at once: another process may wait for it
    assert web.kills == 0
    closing.get(timeout=5)
    assert web.kills == 1
    assert place.desk.descriptor is None
    place.desk.close(0.01)
    bind("127.0.0.1", port).close()


def test_one_that_retires_ends_its_web_process_and_starts_no_other(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(desk, "HAND_ON_S", 0.01)
    with socket.socket(fileno=socket.dup(place.desk.descriptor or 0)) as other:
        place.desk.start()
        place.come()
        web = place.made(1)
        place.desk.retire()
        eventually(lambda: place.desk.descriptor is None and web.may_end.is_set())
        gevent.sleep(0.01)
        with gsocket.create_connection(other.getsockname(), 5):
            gevent.sleep(0.01)
            assert len(place.webs.made) == 1, "the other process accepts"


def test_clients_wait_while_all_that_is_known_here_may_move(place: Place) -> None:
    place.desk.pause()
    place.desk.start()
    place.come()
    gevent.sleep(0.01)
    assert place.webs.made == []
    place.desk.resume()
    first = place.made(1)
    place.desk.pause()
    assert first.may_end.is_set()
    assert first.ask("process", (), 0.001) == {"": None}
    place.desk.resume()
    assert first.ask("process", (), 0.001) == {}


def test_a_socket_of_another_process_is_taken_over(place: Place, lines: Lines) -> None:
    heir = place.make(place.port)
    heir.open(socket.dup(place.desk.descriptor or 0))
    assert heir.bound_to == ("127.0.0.1", place.port)
    assert lines.lines[-1] == ("INFO", f"Watch what goes on: http://127.0.0.1:{place.port}/")
    heir.close()


def test_a_port_is_waited_for(place: Place, monkeypatch: pytest.MonkeyPatch, lines: Lines) -> None:
    monkeypatch.setattr(desk, "TOLD_AFTER_S", 0.0)
    heir = place.make(place.port)
    heir.start()
    eventually(lambda: any(level == "WARNING" for level, _ in lines.lines))
    gevent.sleep(0.01)
    assert heir.descriptor is None
    place.desk.close()
    eventually(lambda: heir.descriptor is not None)
    assert len([level for level, _ in lines.lines if level == "WARNING"]) == 1
    heir.close()


@pytest.mark.parametrize(
    ("address", "shown"),
    [("0.0.0.0", "127.0.0.1"), ("::", "[::1]"), ("::1", "[::1]"), ("127.0.0.1", "127.0.0.1")],
)
def test_the_url_is_one_that_works_here(address: str, shown: str, lines: Lines) -> None:
    found = Desk(address, 0, {}, lambda what, arguments, timeout_s: {}, log.get("WEB"), tls=True)
    found.open()
    assert found.socket is not None
    port = found.socket.getsockname()[1]
    others = f" (on {address}:{port}, for others too)" if address in ("0.0.0.0", "::") else ""
    assert lines.lines == [("INFO", f"Watch what goes on: https://{shown}:{port}/{others}")]
    found.close()

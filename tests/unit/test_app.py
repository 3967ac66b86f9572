"""The server put together, in this process. What it does for clients is in tests/integration."""

from __future__ import annotations

import logging
import os
import resource
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gevent
import pytest
from gevent import socket as gsocket
from gevent.event import Event

from rtmpsrv import log
from rtmpsrv.app import App
from rtmpsrv.bounds import raise_descriptor_limit
from rtmpsrv.client import Client
from rtmpsrv.config import Config
from rtmpsrv.errors import ConfigError
from rtmpsrv.server.ports import Ports
from rtmpsrv.workers.estate import Estate
from rtmpsrv.workers.successor import Abandoned
from tests.client import SETTINGS
from tests.doubles.certificates import make
from tests.unit.leading import Logged, spare_this_process
from tests.unit.server.stage import PATIENCE_S, eventually

QUICKLY: dict[str, Any] = {
    "bind_address": "127.0.0.1", "rtmp_port": 0, "drain_timeout_seconds": 1, "api_port": 0,
    "http_port": 0,
}  # fmt: skip


class Stage:
    def __init__(self, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
        self.logged = Logged(monkeypatch, caplog)
        self.levels: list[Config] = []
        self.apps: list[App] = []
        self.clients: list[Client] = []
        spare_this_process(monkeypatch)
        monkeypatch.setattr(log, "switch_levels", self.levels.append)

    def app(self, **settings: Any) -> App:
        made = App(Config(**QUICKLY | settings))
        self.apps.append(made)
        return made

    def client(self, app: App) -> Client:
        sock = gsocket.create_connection(("127.0.0.1", app.listeners[0].port), timeout=PATIENCE_S)
        self.clients.append(client := Client(sock, SETTINGS, "rtmp://127.0.0.1"))
        client.shake_hands()
        client.connect("news")
        return client

    def lines(self, level: int = logging.INFO) -> list[str]:
        return list(self.logged.lines(level))

    def close(self) -> None:
        for app in self.apps:
            if app.listeners:
                app.stop(0.0)
                app.run()
        for client in self.clients:
            client.close()


@pytest.fixture
def stage(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> Iterator[Stage]:
    made = Stage(monkeypatch, caplog)
    yield made
    made.close()


def test_its_life_from_the_start_to_the_drain(stage: Stage) -> None:
    app = stage.app()
    served: list[int] = []
    app.on_serving = lambda: served.append(app.listeners[0].port)
    app.start()
    (port,) = served
    assert f"Watch the same, for example with: ffplay rtmp://127.0.0.1:{port}/live/key" in stage.lines()
    stage.client(app).publish("key")
    described = app.describe()
    assert (described["pid"], len(described["sessions"]), len(described["listeners"])) == (os.getpid(), 1, 1)
    running = gevent.spawn(app.run)
    app.stop()
    assert running.get(timeout=PATIENCE_S) == 0
    assert stage.lines()[-1] == "Stopped"
    assert "Shutting down, 1 connections" in stage.lines()
    assert app.describe()["sessions"] == []
    with pytest.raises(ConnectionRefusedError):
        gsocket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S)


def test_what_does_not_end_in_time_is_told(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    app = stage.app()
    app.start()
    monkeypatch.setattr(app.gate, "close", lambda timeout_s: False)
    app.stop(0.5)
    assert app.run() == 0
    assert stage.lines()[-1] == "Stopped, not everything ended in time"


def test_a_callback_about_players_is_waited_for_no_longer_than_that(stage: Stage) -> None:
    app: Any = stage.app(callback_url="http://127.0.0.1:9/", callback_events="start,stop,play")
    app.start()
    waited: list[float] = []

    def finish(timeout_s: float) -> bool:
        waited.append(timeout_s)
        return False

    app._hooks.finish = finish
    app.stop(0.5)
    assert app.run() == 0
    (timeout_s,) = waited
    assert 0.0 <= timeout_s <= 0.5
    assert stage.lines()[-1] == "Stopped, not everything ended in time"
    assert any(", if your backend accepts it" in line for line in stage.lines())


def test_what_the_control_server_granted_ends_with_its_link_wherever_it_is(stage: Stage) -> None:
    app: Any = stage.app(control_use=True, control_base_url="ws://127.0.0.1:9/")
    lost: list[object] = []
    app.estate.link_lost_after = lambda authority, serials: lost.append(authority)
    app._admission.coordinator.on_link_lost()
    assert lost == [app._admission.authority]


def test_a_port_that_is_taken_is_an_error(stage: Stage) -> None:
    first = stage.app()
    first.start()
    with pytest.raises(OSError, match="in use"):
        stage.app(rtmp_port=first.listeners[0].port).start()


def test_all_ports_of_http_that_are_taken_are_named(stage: Stage) -> None:
    with gsocket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        app = stage.app(http_port=port, api_port=port, given=frozenset({"HTTP_PORT", "API_PORT"}))
        with pytest.raises(ConfigError) as caught:
            app.start()
    where = f"cannot listen on 127.0.0.1:{port}"
    assert [problem.split(": ")[:2] for problem in caught.value.problems] == [
        ["HTTP_PORT", where],
        ["API_PORT", where],
    ]


def test_a_socket_of_whoever_started_it_is_used(stage: Stage) -> None:
    with gsocket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        app = App(Config(**QUICKLY), Ports(os.dup(sock.fileno())))
        stage.apps.append(app)
        app.start()
        assert app.listeners[0].port == sock.getsockname()[1]
        stage.client(app)


def test_it_names_the_ports_of_its_sockets_whatever_the_settings_say(stage: Stage) -> None:
    with gsocket.socket() as plain, gsocket.socket() as secure:
        for sock in (plain, secure):
            sock.bind(("127.0.0.1", 0))
        ports = Ports(os.dup(plain.fileno()), os.dup(secure.fileno()))
        wrong = {"bind_address": "192.0.2.1", "rtmp_port": 5, "ssl_port": 6, "ssl_cert": "x", "ssl_key": "y"}
        app = App(Config(**QUICKLY | wrong), ports)
        stage.apps.append(app)
        app.start()
        numbers = [sock.getsockname()[1] for sock in (plain, secure)]
    assert f"Listening on 127.0.0.1:{numbers[0]}" in stage.lines()
    assert app.describe()["listeners"][0]["address"] == "127.0.0.1"
    os.close(ports.secure or -1)  # without a certificate nobody took it
    assert stage.lines()[0] == (
        f"Publish to rtmp://127.0.0.1:{numbers[0]}/CHANNEL/KEY, or to rtmps://HOST:{numbers[1]}/CHANNEL/KEY, "
        f"for example rtmp://127.0.0.1:{numbers[0]}/live/key"
    )


def test_refused_requests_are_counted_in_one_line(stage: Stage) -> None:
    stage.app()._tell_refusals(7, "10.0.0.1")
    assert stage.lines() == ["requests refused since the last such line: 7, the last from 10.0.0.1"]


# --- settings that are read again ---------------------------------------------------------------------


def test_new_settings_of_the_log_hold_at_once_and_others_are_named(stage: Stage) -> None:
    app = stage.app()
    app.start()
    new = Config(**QUICKLY | {"log_debug": True, "idle_timeout_seconds": 7, "gop_cache_size_mb": 7})
    app.reload(new)
    assert stage.levels == [new]
    assert stage.lines(logging.WARNING) == [
        "Changed, but in force after SIGUSR2 or a restart only: GOP_CACHE_SIZE_MB, IDLE_TIMEOUT_SECONDS"
    ]
    app.reload(Config(**QUICKLY))
    assert len(stage.lines(logging.WARNING)) == 1


def test_files_are_looked_at_even_if_settings_are_wrong(stage: Stage, tmp_path: Path) -> None:
    path = tmp_path / "channels.toml"
    path.write_text('[[channel]]\nname = "news"\npublish_keys = ["one-of-news"]\n')
    app: Any = stage.app(channels_file=str(path))
    asked: list[None] = []
    app._entrance.ask = lambda: asked.append(None)
    app.reload()
    assert len(asked) == 1
    assert stage.levels == []


def test_a_certificate_opens_the_second_port_and_is_renewed(
    stage: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pair = make(tmp_path)
    certificate, key = Path(pair.certificate), Path(pair.key)
    there = certificate.read_bytes()
    certificate.write_bytes(b"")
    app = stage.app(
        ssl_cert=str(certificate),
        ssl_key=str(key),
        ssl_bind_address="127.0.0.1",
        ssl_port=0,
        ssl_check_reload_seconds=0,
    )
    app.start()
    eventually(lambda: stage.lines(logging.ERROR) or stage.lines(logging.WARNING))
    assert len(app.listeners) == 1, "there is no certificate yet"
    certificate.write_bytes(there)
    app.reload()
    eventually(lambda: len(app.listeners) == 2)
    context = ssl.create_default_context(cafile=pair.ca)
    port = app.listeners[1].port
    with (
        gsocket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S) as sock,
        context.wrap_socket(sock, server_hostname="127.0.0.1") as secure,
    ):
        secure.sendall(b"\x03" + bytes(1536))
        assert secure.recv(1) == b"\x03"
    (tmp_path / "other").mkdir()
    other = make(tmp_path / "other")
    key.write_bytes(Path(other.key).read_bytes())
    certificate.write_bytes(Path(other.certificate).read_bytes())
    listener: Any = app.listeners[1]
    before = listener.context
    app.reload()
    eventually(lambda: listener.context is not before)
    assert len(app.listeners) == 2
    assert "or to rtmps://HOST:" in "".join(stage.lines())


# --- as the successor of another process --------------------------------------------------------------


class Before:
    """A predecessor, as a successor knows it."""

    def __init__(self, goes: Callable[[Callable[[], None]], None]) -> None:
        self._goes = goes
        self.closed = False

    def run(self, _estate: Estate, serve: Callable[[], None]) -> None:
        self._goes(serve)

    def close(self) -> None:
        self.closed = True


@pytest.mark.parametrize("problem", [Abandoned("it goes on"), ValueError("a bug")])
def test_a_succession_that_fails_ends_this_process_with_an_error(stage: Stage, problem: Exception) -> None:
    def goes(_serve: Callable[[], None]) -> None:
        raise problem

    before: Any = Before(goes)
    app = stage.app()
    app.on_serving = lambda: pytest.fail("clients were let in")
    app.start(before)
    assert gevent.spawn(app.run).get(timeout=PATIENCE_S) == 1
    assert before.closed
    (line,) = stage.lines(logging.ERROR)
    assert line.startswith("succession failed, this process ends")


def test_it_lets_nobody_in_before_it_is_its_turn(stage: Stage) -> None:
    turn = Event()

    def goes(serve: Callable[[], None]) -> None:
        turn.wait(PATIENCE_S)
        serve()

    before: Any = Before(goes)
    app = stage.app()
    served: list[None] = []
    app.on_serving = lambda: served.append(None)
    app.start(before)
    gevent.sleep(0)
    app.hand_over()
    assert stage.lines()[-1] == "succession: this process does not serve yet"
    assert (served, app.listeners[0].started) == ([], False)
    turn.set()
    eventually(lambda: before.closed)
    assert (len(served), app.listeners[0].started) == (1, True)
    stage.client(app)
    begun: list[None] = []
    app.succession.begin = lambda: begun.append(None)  # type: ignore[method-assign]
    app.hand_over()
    assert len(begun) == 1
    assert not app.handed_over


# --- what follows from settings -----------------------------------------------------------------------


@pytest.mark.parametrize(("soft", "hard", "raised"), [(1024, 4096, True), (4096, 4096, False)])
def test_the_limit_of_descriptors_is_raised_as_far_as_it_goes(
    monkeypatch: pytest.MonkeyPatch, soft: int, hard: int, raised: bool
) -> None:
    limits: list[tuple[int, int]] = []
    monkeypatch.setattr(resource, "getrlimit", lambda which: (soft, hard))
    monkeypatch.setattr(resource, "setrlimit", lambda which, new: limits.append(new))
    assert raise_descriptor_limit() == hard
    assert limits == ([(hard, hard)] if raised else [])

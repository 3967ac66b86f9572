"""API, metrics and page of real servers: who serves them, from the first client to the end of everything."""

from __future__ import annotations

import base64
import http.client
import json
import os
import re
import signal
import socket
import ssl
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from threading import Event, Thread
from time import monotonic, sleep

import pytest
from cryptography import x509

from rtmpsrv.workers.parent import descendants
from tests.client import stage
from tests.doubles.pairs import issue
from tests.integration.lineage import Lineage
from tests.integration.test_workers import Workers
from tests.server_process import ServerProcess, free_port, run

PATIENCE_S = 30.0
TOKEN = "Kleinod-7261"


class Admin:
    """A client of the admin side; each request has a connection of its own."""

    def __init__(
        self, port: int | None = None, token: str = "", context: ssl.SSLContext | None = None
    ) -> None:
        self.port = port if port is not None else free_port()
        self.settings = {"API_PORT": str(self.port)} | ({"API_TOKEN": token} if token else {})
        self.token = token
        self._context = context

    def ask(self, path: str, method: str = "GET", **fields: str) -> tuple[int, bytes]:
        """Return status and body. Raises OSError."""
        if self._context is not None:
            line: http.client.HTTPConnection = http.client.HTTPSConnection(
                "127.0.0.1", self.port, timeout=PATIENCE_S, context=self._context
            )
        else:
            line = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE_S)
        if self.token:
            fields = {"Authorization": f"Bearer {self.token}"} | fields
        try:
            line.request(method, path, headers=fields)
            answer = line.getresponse()
            return answer.status, answer.read()
        finally:
            line.close()

    def names(self) -> list[str]:
        """Return the channels that the API tells of."""
        status, body = self.ask("/v3/paths/list")
        assert status == 200, body
        return [item["name"] for item in json.loads(body)["items"]]


@pytest.fixture
def tmp_path(tmp_path: Path) -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as short:
        yield Path(short)


def webs_below(pid: int) -> list[int]:
    """Return the web processes of a server."""
    return [one for one in descendants(pid) if b"rtmpsrv.web" in read(one, "cmdline")]


def read(pid: int, what: str) -> bytes:
    with suppress(OSError):
        return Path(f"/proc/{pid}/{what}").read_bytes()
    return b""


def eventually(is_so: object, what: str) -> None:
    assert callable(is_so)
    until = monotonic() + PATIENCE_S
    while not is_so():
        assert monotonic() < until, what
        sleep(0.02)


def test_there_is_a_process_for_it_only_when_somebody_asks_and_another_one_when_it_was_killed() -> None:
    admin = Admin()
    with ServerProcess(**admin.settings) as server, stage(server.port) as on:
        assert server.matching(rf"Watch what goes on: http://127.0.0.1:{admin.port}/")
        on.publisher("app").fence()
        pid = server.process.pid
        assert webs_below(pid) == []
        assert admin.names() == ["app"]
        (first,) = webs_below(pid)
        os.kill(first, signal.SIGKILL)
        assert admin.names() == ["app"]
        (second,) = webs_below(pid)
        assert second != first
        assert server.stop() == 0
        eventually(lambda: not read(second, "cmdline"), "the web process has ended with the server")
        errors = server.matching(r"\[ERROR\]")
        assert [line.partition("[ERROR] ")[2] for line in errors] == [
            "the web process did not live; the next one in 1 s"
        ]


def test_a_server_that_is_killed_takes_it_along() -> None:
    admin = Admin()
    with ServerProcess(**admin.settings) as server:
        admin.names()
        (web,) = webs_below(server.process.pid)
        server.process.kill()
        eventually(lambda: not read(web, "cmdline"), "the web process has ended")
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", admin.port))


def test_signals_for_the_server_do_not_end_it() -> None:
    admin = Admin()
    with ServerProcess(**admin.settings) as server:
        admin.names()
        (web,) = webs_below(server.process.pid)
        for number in (signal.SIGHUP, signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2, signal.SIGQUIT):
            os.kill(web, number)
        admin.names()
        assert webs_below(server.process.pid) == [web]


def test_no_request_is_lost_while_servers_succeed_each_other() -> None:
    admin = Admin()
    with Lineage(**admin.settings) as server, stage(server.port) as on:
        on.publisher("app").fence()
        admin.names()
        over, found, failures = Event(), [], []

        def ask_on() -> None:
            while not over.is_set():
                try:
                    found.append(admin.names())
                except Exception as exc:  # noqa: BLE001 - whatever it is, it is one too many
                    failures.append(repr(exc))
                sleep(0.005)

        asking = Thread(target=ask_on)
        asking.start()
        try:
            for _ in range(3):
                server.succeed()
                seen = len(found)
                eventually(lambda seen=seen: len(found) > seen + 20, "requests go on")
        finally:
            over.set()
            asking.join()
        assert failures == []
        assert all(names == ["app"] for names in found)
        eventually(lambda: len(webs_below(server.pid)) == 1, "one process serves")
        remembered = json.loads(admin.ask("/v3/events")[1])["items"]
        assert [(one["what"], one["channel"]) for one in remembered] == [("publish", "app")]
        server.end()


def test_a_port_that_was_asked_for_and_is_taken_is_an_error() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        for more in ({}, {"WORKERS": "2"}):
            done = run(API_PORT=str(port), RTMP_PORT=str(free_port()), BIND_ADDRESS="127.0.0.1", **more)
            assert done.returncode == 1
            assert (
                f"[ERROR] API_PORT: cannot listen on 127.0.0.1:{port}: Address already in use" in done.stdout
            )


def test_a_token_is_needed_and_is_nowhere_to_be_seen() -> None:
    admin = Admin(token=TOKEN)
    with ServerProcess(**admin.settings, LOG_DEBUG="YES") as server:
        assert admin.ask("/v3/info")[0] == 200
        for wrong in ("", "Bearer x", "Basic " + base64.b64encode(b"x:y").decode()):
            assert admin.ask("/v3/info", Authorization=wrong)[0] == 401
        assert admin.ask("/healthz", Authorization="")[0] == 200
        (web,) = webs_below(server.process.pid)
        for what in ("cmdline", "environ"):
            assert TOKEN.encode() not in read(web, what)
        assert server.stop() == 0
        assert not server.matching(TOKEN)


def test_tls_with_a_certificate_that_is_renewed(tmp_path: Path) -> None:
    chain, key = issue().write(tmp_path)
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    admin = Admin(context=context)
    settings = {
        "API_TLS": "YES", "SSL_CERT": str(chain), "SSL_KEY": str(key), "SSL_PORT": str(free_port()),
        "SSL_CHECK_RELOAD_SECONDS": "0",
    }  # fmt: skip

    def shown() -> int:
        with (
            socket.create_connection(("127.0.0.1", admin.port), PATIENCE_S) as line,
            context.wrap_socket(line) as secure,
        ):
            return x509.load_der_x509_certificate(secure.getpeercert(True) or b"").serial_number

    with ServerProcess(**admin.settings, **settings) as server:
        assert server.matching(rf"https://127.0.0.1:{admin.port}/")
        assert admin.names() == []
        before = shown()
        renewed = issue()
        renewed.write(tmp_path)
        server.process.send_signal(signal.SIGHUP)
        eventually(lambda: shown() == renewed.serial, "the new certificate is shown")
        assert before != renewed.serial


def test_one_port_tells_of_all_workers_and_names_who_is_silent(tmp_path: Path) -> None:
    admin = Admin()
    with (
        Workers(tmp_path, **admin.settings, CONCURRENT_LIMIT_WHITELIST="*") as server,
        stage(server.port) as on,
    ):
        names = [f"app{number}" for number in range(8)]
        for name in names:
            on.publisher(name).fence()
        eventually(lambda: admin.names() == names, "all channels")
        status, body = admin.ask("/readyz")
        assert status == 200, body
        silent = server.children()[0]
        os.kill(silent, signal.SIGSTOP)
        try:
            status, body = admin.ask("/v3/paths/list")
            assert json.loads(body)["rtmpsrv"]["missing"] == [str(silent)]
            assert admin.ask("/readyz")[0] == 503
        finally:
            os.kill(silent, signal.SIGCONT)
        eventually(lambda: admin.names() == names, "all channels again")
        assert server.stop() == 0


def keeper_of(pid: int) -> int:
    found: list[int] = []

    def is_there() -> bool:
        found[:] = [one for one in descendants(pid) if b"rtmpsrv.keeper" in read(one, "cmdline")]
        return len(found) == 1

    eventually(is_there, "one keeper")
    return found[0]


def test_nobody_is_turned_away_while_workers_and_keeper_are_replaced(tmp_path: Path) -> None:
    admin = Admin()
    with Workers(tmp_path, **admin.settings) as server, stage(server.port) as on:
        on.publisher("app").fence()
        eventually(lambda: admin.names() == ["app"], "the channel")
        over, answered, failures = Event(), [], []

        def ask_on() -> None:
            while not over.is_set():
                try:
                    answered.append(admin.ask("/v3/info")[0])
                except (OSError, http.client.HTTPException) as exc:
                    failures.append(repr(exc))
                sleep(0.005)

        asking = Thread(target=ask_on)
        asking.start()
        try:
            for _ in range(2):
                keeper = keeper_of(server.process.pid)
                server.send(signal.SIGHUP)
                eventually(lambda keeper=keeper: not read(keeper, "cmdline"), "it is gone")
                seen = len(answered)
                eventually(lambda seen=seen: len(answered) > seen + 20, "requests go on")
        finally:
            over.set()
            asking.join()
        assert failures == []
        assert server.stop() == 0


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGHUP])
def test_the_next_keeper_has_the_port(tmp_path: Path, number: int) -> None:
    admin = Admin()
    with Workers(tmp_path, **admin.settings) as server, stage(server.port) as on:
        on.publisher("app").fence()
        eventually(lambda: admin.names() == ["app"], "the channel")
        keeper = keeper_of(server.process.pid)
        if number == signal.SIGKILL:
            os.kill(keeper, number)
        else:
            server.send(number)
        eventually(lambda: not read(keeper, "cmdline"), "it is gone")

        def answers() -> bool:
            with suppress(OSError, http.client.HTTPException):
                return admin.ask("/v3/info")[0] == 200
            return False

        eventually(answers, "the next one answers")
        eventually(lambda: admin.names() == ["app"], "and knows the workers")
        assert server.stop() == 0


def test_an_idle_client_holds_nothing_up_at_the_end() -> None:
    admin = Admin()
    with ServerProcess(**admin.settings) as server:
        admin.names()
        with socket.create_connection(("127.0.0.1", admin.port)) as idle:
            idle.sendall(b"GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert re.match(rb"HTTP/1.1 200 ", idle.recv(100))
            began = monotonic()
            assert server.stop() == 0
            assert monotonic() - began < 10

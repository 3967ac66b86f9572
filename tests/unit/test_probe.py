"""What a health check is told: of the admin side, and of the port where there is none."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from rtmpsrv import probe
from rtmpsrv.config import Config
from tests.doubles import certificates
from tests.doubles.certificates import Certificates


class AdminSide(HTTPServer):
    """Answers `/healthz` with 200 and everything else with 503, and keeps what it was asked."""

    def __init__(self, tls: Certificates | None = None) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.asked: list[tuple[str, str | None]] = []
        self.text = b"as it is\n"
        if tls is not None:
            self.socket = tls.server_context().wrap_socket(self.socket, server_side=True)

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing: the test looks at the other end."""


class _Handler(BaseHTTPRequestHandler):
    server: AdminSide

    def do_GET(self) -> None:
        self.server.asked.append((self.path, self.headers["Authorization"]))
        self.send_response(200 if self.path == "/healthz" else 503)
        self.end_headers()
        self.wfile.write(self.server.text)

    def log_message(self, format: str, *args: object) -> None:
        pass


@contextmanager
def admin_side(tls: Certificates | None = None) -> Iterator[AdminSide]:
    with AdminSide(tls) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join(5)


@pytest.fixture
def rtmp_port() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening.getsockname()[1]


@pytest.fixture
def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port: int = listening.getsockname()[1]
    return port


def settings(**variables: object) -> Config:
    return Config.load({name: str(value) for name, value in variables.items()}, memory_bytes=0)[0]


def test_the_admin_side_is_asked_for_what_is_wanted() -> None:
    with admin_side() as server:
        config = settings(API_PORT=server.server_port)
        assert probe.ask(config, "healthz") == (True, "as it is")
        assert probe.ask(config, "readyz") == (False, "as it is")
        server.text = b""
        assert probe.ask(config, "readyz") == (False, "status 503")
        assert [path for path, _ in server.asked] == ["/healthz", "/readyz", "/readyz"]


def test_tls_needs_no_name_that_fits(tmp_path: Path) -> None:
    files = certificates.make(tmp_path)
    with admin_side(files) as server:
        config = settings(
            API_PORT=server.server_port, API_TLS="YES", SSL_CERT=files.certificate, SSL_KEY=files.key
        )
        assert probe.ask(config, "healthz") == (True, "as it is")


def test_loopback_is_told_no_secret() -> None:
    with admin_side() as server:
        token = settings(API_PORT=server.server_port, API_BIND_ADDRESS="0.0.0.0", API_TOKEN="secret")
        assert probe.ask(token, "healthz")[0]
        assert server.asked == [("/healthz", None)]


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"API_TOKEN": "secret"}, "Bearer secret"),
        ({"API_USERS": "ann:one, bob:two"}, "Basic YW5uOm9uZQ=="),
        ({}, None),
    ],
)
def test_another_address_wants_to_know_who_asks(
    variables: dict[str, str], expected: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probe, "is_loopback", lambda address: False)
    with admin_side() as server:
        assert probe.ask(settings(API_PORT=server.server_port, **variables), "healthz")[0]
        assert server.asked == [("/healthz", expected)]


@pytest.mark.parametrize("how", ["API_PORT=0", "not installed", "default port"])
def test_without_an_admin_side_the_port_is_looked_at(
    how: str, rtmp_port: int, closed_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = settings(RTMP_PORT=rtmp_port, BIND_ADDRESS="0.0.0.0", **({"API_PORT": 0} if "=" in how else {}))
    if how == "not installed":
        monkeypatch.setattr(probe, "installed", lambda: False)
    if how == "default port":
        monkeypatch.setattr(probe, "HTTPConnection", refusing)
    assert probe.ask(config, "readyz") == (True, f"port {rtmp_port} takes connections")


def refusing(*_: object, **__: object) -> None:
    raise ConnectionRefusedError(111, "Connection refused")


def test_nobody_listens(closed_port: int) -> None:
    asked_for = settings(API_PORT=closed_port)
    assert probe.ask(asked_for, "healthz") == (False, "the admin side: Connection refused")
    without = settings(API_PORT=0, RTMP_PORT=closed_port, BIND_ADDRESS="127.0.0.1")
    assert probe.ask(without, "healthz") == (False, f"port {closed_port}: Connection refused")


def test_whoever_speaks_no_http_or_nothing_is_not_well(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "TIMEOUT_S", 0.05)
    with socket.create_server(("127.0.0.1", 0)) as mute:
        good, line = probe.ask(settings(API_PORT=mute.getsockname()[1]), "healthz")
    assert (good, line) == (False, "the admin side: timed out")


def test_ipv6_everywhere_is_asked_on_its_loopback() -> None:
    assert [probe._host(address) for address in ("", "::", "[::]", "192.0.2.1")] == [
        "127.0.0.1", "::1", "::1", "192.0.2.1",
    ]  # fmt: skip


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str, **variables: str) -> int:
    monkeypatch.setattr(Config, "start", lambda again: Config.load(variables, memory_bytes=0))
    return probe.main(list(arguments))


def test_the_exit_code_is_the_answer(
    rtmp_port: int, closed_port: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    there = {"API_PORT": "0", "RTMP_PORT": str(rtmp_port)}
    assert run(monkeypatch, **there) == 0
    assert run(monkeypatch, "readyz", **there) == 0
    assert run(monkeypatch, "healthz", **there | {"RTMP_PORT": str(closed_port)}) == 1
    assert run(monkeypatch, "healthz", RTMP_PORT="70000") == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"port {rtmp_port} takes connections"
    assert "RTMP_PORT" in lines[3]


@pytest.mark.parametrize("arguments", [["health"], ["healthz", "readyz"]])
def test_other_questions_are_not_understood(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert probe.main(arguments) == 2
    assert capsys.readouterr().err == "usage: python -m rtmpsrv.probe [healthz|readyz]\n"

"""The port of viewers: whether there is one."""

from __future__ import annotations

import dataclasses
import logging
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from gevent import socket as gsocket

from rtmpsrv import log
from rtmpsrv.access.ip_rules import IpRules
from rtmpsrv.av.process import AvProcess
from rtmpsrv.config import Config
from rtmpsrv.errors import ConfigError
from rtmpsrv.server.http.routes import FLV
from rtmpsrv.server.listener import Listener
from rtmpsrv.server.parts import ServerParts
from rtmpsrv.viewers_side import SHARE, ViewersSide
from tests.server_process import PROJECT, free_port
from tests.unit.server.http.stage import ViewingHost
from tests.unit.server.stage import FakeHost, make_parts

ASKED = frozenset({"HTTP_PORT"})
EXTRAS = ("h11", "wsproto", "av", "flask", "prometheus_client", "gunicorn")


@pytest.fixture
def listeners() -> Iterator[list[Listener]]:
    listeners = [Listener("127.0.0.1", 0, FakeHost(), make_parts())]
    yield listeners
    for one in listeners:
        one.close()


def side(listeners: list[Listener], **settings: object) -> tuple[ViewersSide, ServerParts]:
    config = Config(**settings)  # type: ignore[arg-type]
    made = ViewersSide(config, ViewingHost(), listeners, AvProcess(log.get("AV")))
    return made, dataclasses.replace(make_parts(), site=made.site)


def test_it_is_open_and_then_lets_viewers_in(listeners: list[Listener]) -> None:
    port = free_port()
    viewers, parts = side(listeners, http_port=port)
    assert FLV in viewers.site.handlers
    viewers.open(parts)
    assert listeners[-1].bound_to == ("127.0.0.1", port)
    assert not listeners[-1].started
    viewers.start()
    assert listeners[-1].started


def test_who_may_come_how_often_and_who_speaks_for_others(
    listeners: list[Listener], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rtmpsrv.viewers_side.raise_descriptor_limit", lambda: 400)
    viewers, parts = side(
        listeners,
        http_port=free_port(),
        http_trusted_proxies=IpRules.parse("10.0.0.1"),
        concurrent_limit_whitelist=IpRules.parse("192.0.2.1"),
    )
    places = viewers.site.places
    viewers.open(parts)
    assert places.total == 400 // SHARE
    assert "10.0.0.1" in viewers.site.trusted
    monkeypatch.setattr(places, "_of_address", 0)
    assert [places.enter(one) is None for one in ("10.0.0.1", "192.0.2.1", "192.0.2.2")] == [
        True,
        True,
        False,
    ]
    other, _parts = side(listeners, max_connections=7)
    assert other.site.places.total == 7


@pytest.mark.parametrize("binds", [True, False])
def test_there_may_be_none(listeners: list[Listener], binds: bool) -> None:
    viewers, parts = side(listeners, http_port=0 if binds else free_port())
    viewers.open(parts, binds=binds)
    viewers.start()
    assert len(listeners) == 1


def test_a_socket_of_others_is_taken_over(listeners: list[Listener]) -> None:
    with gsocket.create_server(("127.0.0.1", 0)) as sock:
        port, descriptor = sock.getsockname()[1], sock.detach()
    viewers, parts = side(listeners)
    viewers.open(parts, descriptor, binds=False)
    assert listeners[-1].port == port


def test_a_port_that_is_taken_matters_where_it_was_asked_for(
    listeners: list[Listener], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(logging.getLogger("rtmpsrv"), "propagate", True)
    with gsocket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        viewers, parts = side(listeners, http_port=port)
        viewers.open(parts)
        viewers.start()
        assert len(listeners) == 1
        (line,) = [one.getMessage() for one in caplog.records if one.levelno == logging.WARNING]
        assert line.startswith(f"no viewers by HTTP: HTTP_PORT: cannot listen on 127.0.0.1:{port}: ")
        viewers, parts = side(listeners, http_port=port, given=ASKED)
        with pytest.raises(ConfigError):
            viewers.open(parts)


def test_without_the_extra(listeners: list[Listener], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rtmpsrv.viewers_side.installed", lambda: False)
    viewers, parts = side(listeners, http_port=free_port())
    viewers.open(parts)
    assert len(listeners) == 1
    viewers, parts = side(listeners, http_port=free_port(), given=ASKED)
    with pytest.raises(ConfigError, match="need the extra `web`"):
        viewers.open(parts)


def test_with_tls_it_waits_for_a_certificate(listeners: list[Listener]) -> None:
    from gevent import ssl

    viewers, parts = side(listeners, http_port=free_port(), http_tls=True)
    viewers.open(parts)
    viewers.start()
    assert not listeners[-1].started
    made: Any = listeners[-1]
    contexts = [ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER) for _ in range(2)]
    for context in contexts:
        viewers.install(context)
        assert made.started
        assert made.context is context


def test_a_certificate_for_nobody(listeners: list[Listener]) -> None:
    viewers, _ = side(listeners)
    viewers.install(None)  # type: ignore[arg-type]


def test_application_needs_no_extra_and_loads_no_large_library() -> None:
    lines = [
        "import sys",
        f"sys.modules.update(dict.fromkeys({EXTRAS!r}))",
        "import rtmpsrv.app",
        "assert not {'OpenSSL', 'cryptography', 'requests', 'redis'} & sys.modules.keys()",
    ]
    subprocess.run([sys.executable, "-c", "\n".join(lines)], check=True, cwd=PROJECT)

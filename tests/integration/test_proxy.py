"""A real HAProxy in front, by both versions of the PROXY protocol: who counts is its client."""

from __future__ import annotations

import os
import shutil
import socket
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path
from time import monotonic, sleep

import pytest

from tests.access_run import AccessServer
from tests.client import Client, Closed, Stage, stage
from tests.doubles.callback_server import CallbackServer
from tests.doubles.pairs import issue
from tests.doubles.secrets import JWT_SECRET, KEY
from tests.server_process import free_port

PATIENCE_S = 10.0
LIMIT = 2  # connections of one address
VIEWER, OTHER = "127.0.0.21", "127.0.0.22"  # may play; may not
STRANGER = "127.0.0.23"  # reaches the server itself

CONFIG = """
global
    maxconn 200
defaults
    mode tcp
    timeout connect 5s
    timeout client 60s
    timeout server 60s
listen one
    bind 127.0.0.1:{one}
    server rtmp 127.0.0.1:{rtmp} send-proxy check inter 100ms
listen two
    bind 127.0.0.1:{two}
    server rtmp 127.0.0.1:{rtmp} send-proxy-v2 check inter 100ms
listen secure
    bind 127.0.0.1:{secure}
    server rtmp 127.0.0.1:{rtmps} send-proxy-v2 check inter 100ms
"""


def haproxy() -> str:
    """Return its path; Debian keeps it where only root looks."""
    path = shutil.which("haproxy", path=f"{os.environ['PATH']}:/usr/sbin:/usr/local/sbin")
    assert path, "haproxy is not installed; scripts/test installs it"
    return path


class Front:
    """The server, its callback, and HAProxy before it."""

    def __init__(self, folder: Path) -> None:
        issued = issue()
        (folder / "chain.pem").write_bytes(issued.chain)
        (folder / "key.pem").write_bytes(issued.key)
        self.rtmps, self.one, self.two, self.secure = (free_port() for _ in range(4))
        self.backend = CallbackServer(JWT_SECRET)
        self.backend.start()
        self.server = AccessServer(
            CALLBACK_URL=self.backend.url,
            JWT_SECRET=JWT_SECRET,
            SSL_CERT=str(folder / "chain.pem"),
            SSL_KEY=str(folder / "key.pem"),
            SSL_PORT=str(self.rtmps),
            PROXY_PROTOCOL_FROM="127.0.0.1",
            CONCURRENT_LIMIT_WHITELIST="127.0.0.1",
            MAX_IP_CONCURRENT_CONNECTIONS=str(LIMIT),
            RTMP_PLAY_WHITELIST=VIEWER,
        )
        self.server.wait_for_line(r"\[SERVER:TLS\] \[INFO\] Listening on ")
        config = folder / "haproxy.cfg"
        ports = {"one": self.one, "two": self.two, "secure": self.secure, "rtmps": self.rtmps}
        config.write_text(CONFIG.format(rtmp=self.server.port, **ports))
        self.proxy = subprocess.Popen([haproxy(), "-db", "-f", str(config)], stderr=subprocess.DEVNULL)
        until = monotonic() + PATIENCE_S
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.secure), 1).close()
                break
            except OSError:
                assert monotonic() < until, "haproxy does not listen"
                sleep(0.02)

    def close(self) -> None:
        self.proxy.terminate()
        self.proxy.wait(PATIENCE_S)
        self.server.__exit__(None, None, None)
        self.backend.stop()

    def port(self, version: int) -> int:
        return self.one if version == 1 else self.two


@pytest.fixture(scope="module")
def front(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Front]:
    made = Front(tmp_path_factory.mktemp("proxy"))
    yield made
    made.close()


@pytest.fixture(params=[1, 2])
def through(front: Front, request: pytest.FixtureRequest) -> Iterator[Stage]:
    with stage(front.port(request.param)) as opened:
        yield opened


def closes(client: Client) -> bool:
    """Shake hands in vain."""
    try:
        client.shake_hands()
    except (Closed, OSError):
        return True
    return False


def test_callback_and_whitelist_see_the_client(front: Front, through: Stage) -> None:
    channel = f"seen{through.port}"
    through.client(source=OTHER).publish(channel, KEY)
    assert front.backend.wait_for("start", channel=channel)
    assert front.backend.events("start", channel)[0].claims["client_ip"] == OTHER
    through.client(source=VIEWER).play(channel, KEY)
    refused = through.client(source=OTHER).connect(channel)
    refused.ask_play(KEY, refused.create_stream())
    assert "not whitelisted" in refused.expect_status("NetStream.Play.BadName")["description"]
    front.server.wait_for_line(f"Connection accepted from {VIEWER}")


def test_the_limit_is_each_clients_own(front: Front, through: Stage) -> None:
    addresses = [f"127.0.{through.port % 250}.{last}" for last in (1, 2)]
    for address in addresses:
        for _ in range(LIMIT):
            through.client(source=address).shake_hands()
    assert closes(through.client(source=addresses[0]))
    front.server.wait_for_line(f"Rejected request from {addresses[0]} due to connection limit")
    through.clients[0].close()
    until = monotonic() + PATIENCE_S
    while closes(through.client(source=addresses[0])):
        assert monotonic() < until, "the slot does not come back"


def test_rtmps_through_the_proxy(front: Front) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    with Client(front.secure, source="127.0.0.31") as client:
        client.socket = context.wrap_socket(client.socket)
        client.publish("secure", KEY)
        assert front.backend.events("start", "secure")[0].claims["client_ip"] == "127.0.0.31"


@pytest.mark.parametrize("secure", [False, True])
def test_without_a_header_the_proxy_is_turned_away(front: Front, secure: bool) -> None:
    with Client(front.rtmps if secure else front.server.port) as client:
        assert closes(client)
    port = "TLS" if secure else "TCP"
    front.server.wait_for_line(rf"SERVER:{port}\].*refused from proxies: 1, the last 127.0.0.1: no PROXY")


def test_a_header_of_anybody_else_is_a_bad_handshake(front: Front) -> None:
    with Client(front.server.port, source=STRANGER) as client:
        client.send(b"PROXY TCP4 127.0.0.1 127.0.0.1 1 1935\r\n")
        assert closes(client)
    front.server.wait_for_line(f"Connection accepted from {STRANGER}")
    assert not front.server.matching(r"\[INFO\] Connection accepted from 127.0.0.1$")


def test_the_checks_of_the_proxy_are_no_lines(front: Front) -> None:
    front.server.wait_for_line(r"\[DEBUG\] closed: .* in=0")
    assert not front.server.matching(r"\[INFO\] (Connection accepted from 127\.0\.0\.1$|closed: .* in=0)")

"""Attacks by HTTP, on the port of the API. Beside each somebody asks whether the server is well."""

from __future__ import annotations

import http.client
import threading
from collections.abc import Callable
from time import monotonic

from .attacker import Attack
from .cases import Surroundings, attack
from .wire import HOST, Connection

TOKEN = "Kleinod-7261"
API = Surroundings((("API_PORT", "free"),))
CLOSED = Surroundings((("API_PORT", "free"), ("API_TOKEN", TOKEN)))
SIDE_BY_SIDE = 4
HALF_OPEN = 2000
WELL_S = 2.0  # for the one who asks
EVENTS = 60
UNREAD = 64  # connections: all that an address may have
BEGIN = b"GET /v3/paths/list HTTP/1.1\r\nHost: localhost\r\n"
ASKS = BEGIN + b"\r\n"
FORBIDDEN = (
    b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
    b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n\r\n0\r\n\r\n",
    b"GET / HTTP/1.1\nHost: x\n\n",
    b"GET / HTTP/1.1\r\nHost: x\r\n folded\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n",
    b"GET http://127.0.0.1/ HTTP/1.1\r\nHost: x\r\n\r\n",
)
NEXT = b"GET /v3/info HTTP/1.1\r\nHost: localhost\r\n\r\n"
LONG = (
    b"GET /" + b"x" * 65536,
    BEGIN + b"X: " + b"y" * 65536,
    BEGIN + b"X: y\r\n" * 9999,
)
PATHS = (
    "/../../etc/passwd", "/static/../../config.py", "/static/..%2f..%2fconfig.py",
    "/static/%2e%2e/site.py",
    "/static/%00", "//etc/passwd", "/v3/paths/get/%ff%fe", "/static/....//site.py",
    "/%c0%ae%c0%ae/etc/passwd",
)  # fmt: skip


def beside_somebody(this: Attack, work: Callable[[], None]) -> None:
    """Attack, while somebody from another address asks whether the server is well, and must be answered."""

    def ask() -> None:
        while not this.over:
            began = monotonic()
            client = http.client.HTTPConnection(HOST, this.api_port, timeout=WELL_S)
            try:
                client.request("GET", "/healthz")
                status = client.getresponse().status
                if status != 200 or monotonic() - began > WELL_S:
                    this.complain(f"/healthz: {status} after {monotonic() - began:.2f} s")
            except (OSError, http.client.HTTPException) as exc:
                this.complain(f"/healthz: {exc!r} after {monotonic() - began:.2f} s")
            finally:
                client.close()
            threading.Event().wait(0.1)

    asking = threading.Thread(target=ask)
    asking.start()
    try:
        work()
    finally:
        asking.join()


def everything(connection: Connection) -> bytes:
    """Read until the server closes."""
    found = b""
    while piece := connection.socket.recv(65536):
        found += piece
    return found


@attack(API)
def http_heads_that_drip(this: Attack) -> None:
    """Hold two thousand connections in the middle of a head, as far as they are let, each dripping."""

    def work() -> None:
        held: list[Connection] = []
        while len(held) < HALF_OPEN and not this.over:
            with this.may_be_cut():
                held.append(this.open_api(BEGIN))
        this.flood(held, b"X: y\r\n", rate=HALF_OPEN)

    beside_somebody(this, work)


@attack(API)
def http_events_that_nobody_reads(this: Attack) -> None:
    """Ask for events on sixty connections, and read none."""
    ask = b"GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n"
    held = [this.open_api(ask, receive_buffer=4096) for _ in range(EVENTS)]

    def work() -> None:
        while not this.over:
            threading.Event().wait(0.05)

    beside_somebody(this, work)
    for one in held:
        one.close()


@attack(API)
def http_answers_that_nobody_reads(this: Attack) -> None:
    """Ask for long answers on sixty-four connections, one behind the other, read none; come back when cut."""
    asks = b"GET /v3/openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n" * 100

    def once() -> None:
        with this.may_be_cut():
            connection = this.open_api(receive_buffer=4096)
            while not this.over:
                connection.send(asks)

    beside_somebody(this, lambda: this.together(UNREAD, once))


@attack(API)
def http_heads_without_end(this: Attack) -> None:
    """Send request lines, fields and counts of fields that go on and on, four side by side."""

    def once() -> None:
        for data in LONG:
            connection = this.open_api()
            with this.may_be_cut():
                connection.send(data)
                everything(connection)

    beside_somebody(this, lambda: this.together(SIDE_BY_SIDE, once))


@attack(API)
def http_requests_for_two(this: Attack) -> None:
    """Send what two readers could take for different requests, and another one behind it; four at a time."""

    def once() -> None:
        for data in FORBIDDEN:
            connection = this.open_api(data + NEXT)
            found = b""
            with this.may_be_cut():
                found = everything(connection)
            if found and (not found.startswith(b"HTTP/1.1 400 ") or found.count(b"HTTP/1.1 ") != 1):
                this.complain(f"{data!r} was answered {found[:60]!r}")

    beside_somebody(this, lambda: this.together(SIDE_BY_SIDE, once))


@attack(API)
def http_paths_to_files(this: Attack) -> None:
    """Ask for files by paths that lead out of where they should, four side by side."""

    def once() -> None:
        for path in PATHS:
            ask = f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode()
            found = everything(this.open_api(ask))
            if found.startswith(b"HTTP/1.1 200 ") or found.startswith(b"HTTP/1.1 500 "):
                this.complain(f"{path} was answered {found[:60]!r}")

    beside_somebody(this, lambda: this.together(SIDE_BY_SIDE, once))


@attack(API)
def http_requests_by_the_thousand(this: Attack) -> None:
    """Send requests one behind the other without an end, on four connections, and read no answer."""

    def once() -> None:
        this.flood([this.open_api()], ASKS, reads=False)

    beside_somebody(this, lambda: this.together(SIDE_BY_SIDE, once))


@attack(API)
def http_bodies_that_are_long(this: Attack) -> None:
    """Announce bodies of any length, and send them, four side by side."""

    def once() -> None:
        for length in (65536, 65537, 1 << 40):
            head = b"POST /events/view HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % length
            connection = this.open_api(head)
            with this.may_be_cut():
                connection.send(b"x" * 300_000)
                everything(connection)

    beside_somebody(this, lambda: this.together(SIDE_BY_SIDE, once))


@attack(API)
def http_connections_by_the_thousand(this: Attack) -> None:
    """Connect and leave as fast as can be, eight side by side."""
    beside_somebody(this, lambda: this.together(2 * SIDE_BY_SIDE, lambda: this.open_api().close()))


@attack(CLOSED, not_logged=rf"{TOKEN}|Bearer")
def http_tokens_that_are_wrong(this: Attack) -> None:
    """Try tokens by the thousand, four side by side."""

    def once() -> None:
        connection = this.open_api()
        for number in range(200):
            shown = f"Authorization: Bearer {TOKEN[:-1]}{number}\r\n\r\n".encode()
            connection.send(BEGIN + shown)
            found = b""
            while not found.endswith(b"}\n"):
                piece = connection.socket.recv(65536)
                if not piece:
                    return
                found += piece
            if not found.startswith(b"HTTP/1.1 401 "):
                this.complain(f"a wrong token was answered {found[:60]!r}")
                return

    beside_somebody(this, lambda: this.together(SIDE_BY_SIDE, once))

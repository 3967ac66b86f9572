"""The attacker's process, and what attacks are made of.

`python -m tests.hostile.attacker CASE PORT TLS_PORT API_PORT HTTP_PORT SECONDS` waits for a line, attacks and
leaves.
It goes after the good stream where the machine is short of processors: the server is tried, not the
scheduler.
"""

from __future__ import annotations

import os
import selectors
import ssl
import sys
import threading
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, suppress
from time import monotonic

from .cases import ATTACK_S, CASES
from .wire import HOSTILE_ADDRESS, READ_SIZE, Closed, Connection
from .worker import Orders, tell

NICE = 10
POLL_S = 0.05
PIECE = 1 << 18  # bytes offered in one call


class Attack:
    """What an attack is given: where the server is, and how long it may go on."""

    def __init__(self, port: int, tls_port: int, api_port: int, attack_s: float, http_port: int = 0) -> None:
        """Begin now."""
        self.port = port
        self.tls_port = tls_port
        self.api_port = api_port
        self.http_port = http_port
        self.attack_s = attack_s
        self.until = monotonic() + attack_s
        self.complaints: list[str] = []
        self._made = 0
        self._opened = threading.local()  # of each thread, so that none is closed for want of a reference

    @property
    def is_long(self) -> bool:
        """True in the long version, which may do more of the same."""
        return self.attack_s > 2 * ATTACK_S

    @property
    def over(self) -> bool:
        """True when it is time to leave."""
        return monotonic() >= self.until

    def open(self, *, secure: bool = False, receive_buffer: int = 0) -> Connection:
        """Return a new connection, as TCP or TLS made it."""
        port = self.tls_port if secure else self.port
        connection = Connection(port, secure=secure, receive_buffer=receive_buffer)
        self._mine().append(connection)
        return connection

    def open_api(self, data: bytes = b"", *, receive_buffer: int = 0) -> Connection:
        """Return a new connection to the port of the API, which has sent something."""
        connection = Connection(self.api_port, receive_buffer=receive_buffer)
        self._mine().append(connection)
        if data:
            connection.send(data)
        return connection

    def open_http(
        self, data: bytes = b"", *, source: str = HOSTILE_ADDRESS, receive_buffer: int = 0
    ) -> Connection:
        """Return a new connection to the port of viewers, which has sent something."""
        connection = Connection(self.http_port, source, receive_buffer=receive_buffer)
        self._mine().append(connection)
        if data:
            connection.send(data)
        return connection

    def app(self) -> str:
        """Return a channel name of its own."""
        self._made += 1
        return f"evil{os.getpid()}-{self._made}"  # what an earlier attack left behind is judged, not met

    def publisher(self, app: str = "", *, secure: bool = False) -> Connection:
        """Return a connection on the air."""
        return self.open(secure=secure).publish(app or self.app())

    def player(self, app: str, *, secure: bool = False, receive_buffer: int = 0, msid: int = 1) -> Connection:
        """Return a connection that asked to play."""
        return self.open(secure=secure, receive_buffer=receive_buffer).play(app, msid=msid)

    def complain(self, text: str) -> None:
        """Make the case fail; once is enough."""
        if text not in self.complaints:
            self.complaints.append(text)

    def may_be_cut(self) -> AbstractContextManager[None]:
        """Return a context in which to be thrown out is an end like others."""
        return suppress(Closed, ConnectionError)

    def flood(
        self,
        connections: Iterable[Connection],
        data: bytes,
        *,
        readers: Iterable[Connection] = (),
        reads: bool = True,
        rate: float = 0,
        piece: int = PIECE,
    ) -> int:
        """Send `data` over and over on each connection, at `rate` bytes a second in all or as it is taken.

        With `reads`, what is answered is thrown away; on `readers` it always is. Ends when the time is up or
        all senders are closed; returns how many are. `piece` is how many bytes are given at once.
        """
        if not rate:
            data *= max(1, piece // len(data))
        flood = _Flood(list(connections), list(readers), memoryview(data), reads, piece)
        began = monotonic()
        while not self.over and flood.senders:
            flood.turn(began + flood.sent / rate if rate else 0.0)
        flood.end()
        return flood.closed

    def together(self, count: int, work: Callable[[], None]) -> None:
        """Do the same in so many threads, again and again until the time is up; being cut ends nothing."""

        def again() -> None:
            while not self.over:
                with suppress(Closed, OSError):
                    work()
                for connection in self._mine():
                    connection.close()
                self._mine().clear()

        threads = [threading.Thread(target=again, daemon=True) for _ in range(count)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(max(0.0, self.until - monotonic()) + POLL_S)

    def _mine(self) -> list[Connection]:
        if not hasattr(self._opened, "here"):
            self._opened.here = []
        mine: list[Connection] = self._opened.here
        return mine

    def watch(self, readers: Iterable[Connection] = ()) -> None:
        """Hold what there is until the time is up; read what comes for `readers`."""
        flood = _Flood([], list(readers), memoryview(b""), True, PIECE)
        while not self.over:
            flood.turn(0.0)
        flood.end()


class _Flood:
    """Connections that write and read side by side in one thread."""

    def __init__(
        self,
        senders: list[Connection],
        readers: list[Connection],
        data: memoryview,
        reads: bool,
        piece: int,
    ) -> None:
        self.senders = dict.fromkeys(senders, 0)  # with the place in `data`
        self.sent = 0
        self.closed = 0
        self._data = data
        self._piece = piece
        self._selector = selectors.DefaultSelector()
        for one in senders:
            self._register(one, selectors.EVENT_WRITE | (selectors.EVENT_READ if reads else 0))
        for one in readers:
            self._register(one, selectors.EVENT_READ)

    def end(self) -> None:
        self._selector.close()

    def turn(self, not_before: float) -> None:
        """Do what is possible now."""
        for key, events in self._selector.select(POLL_S):
            connection: Connection = key.data
            try:
                if events & selectors.EVENT_READ and not connection.socket.recv(READ_SIZE):
                    raise ConnectionError("end of stream")
                if events & selectors.EVENT_WRITE and monotonic() >= not_before:
                    self._send(connection)
            except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
                continue
            except OSError:
                self._forget(connection)
        if monotonic() < not_before:
            threading.Event().wait(min(POLL_S, not_before - monotonic()))  # the rate

    def _send(self, connection: Connection) -> None:
        place = self.senders[connection]
        count = connection.socket.send(self._data[place : place + self._piece])
        self.sent += count
        self.senders[connection] = (place + count) % len(self._data)

    def _register(self, connection: Connection, events: int) -> None:
        connection.socket.settimeout(0)
        self._selector.register(connection.socket, events, connection)

    def _forget(self, connection: Connection) -> None:
        self._selector.unregister(connection.socket)
        if self.senders.pop(connection, None) is not None:
            self.closed += 1


def main() -> None:
    """Wait for the word, attack, tell how it went, leave."""
    from . import every_attack  # noqa: F401  fills the list

    name, attack_s = sys.argv[1], float(sys.argv[6])
    os.nice(NICE)
    do = CASES[name].do
    assert do is not None
    orders = Orders()
    tell(ready=name)
    orders.next()
    port, tls_port, api_port, http_port = map(int, sys.argv[2:6])
    this = Attack(port, tls_port, api_port, attack_s, http_port)
    try:
        do(this)
    except (Closed, OSError) as exc:
        # An attack that ends before its time has shown nothing: one that may be thrown out says `may_be_cut`.
        this.complain(f"the attack ended early: {exc!r}")
    tell(done=name, complaints=this.complaints)
    os._exit(0)  # all connections go at once, as those of a process that was killed


if __name__ == "__main__":
    main()

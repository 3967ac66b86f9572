"""The one writer of a connection's socket: answers, and what a player is sent. Its methods never block.

Everything is written at once while the socket takes it. When it is full, the outlet's own greenlet waits
until it is writable and goes on; until then nobody else writes. Answers go out between messages, never
inside one.
"""

from __future__ import annotations

import contextlib
import os
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Protocol

import gevent
from gevent import socket as gsocket
from gevent.event import Event
from gevent.queue import Full, Queue

MAX_WAITING_REPLIES = 64  # a peer that lets more pile up does not read


class Transport(Protocol):
    """The writing side of a socket; non-blocking."""

    can_sendfile: bool  # and be written to by others, through its descriptor

    @property
    def write(self) -> Callable[[bytes | memoryview], int]:
        """Writes what is taken now; 0 or BlockingIOError when the socket is full, OSError when it is dead."""

    def fileno(self) -> int:
        """Return the descriptor."""

    def coalesce(self) -> None:
        """Let the kernel hold small writes back until earlier ones are acknowledged. Never raises."""

    def shutdown(self) -> None:
        """End both directions, so that whoever reads the socket is woken. Idempotent, never raises."""


class Feed(Protocol):
    """Where a player's media comes from. Its methods never block."""

    @property
    def at_boundary(self) -> bool:
        """Whether an answer may be written now."""

    def fall_behind(self) -> None:
        """Send no more but in `step`: something else has to be written first."""

    def step(self, to_boundary: bool) -> bool | None:
        """Send some, no further than the next message boundary if so asked.

        True: moved, there may be more. False: the socket is full. None: nothing left to send now.
        """


class PlainTransport:
    """A TCP socket in non-blocking mode."""

    can_sendfile = True

    def __init__(self, sock: gsocket.socket) -> None:
        self._socket = sock
        self._fd = sock.fileno()
        self.write: Callable[[bytes | memoryview], int] = partial(os.write, self._fd)

    def fileno(self) -> int:
        return self._fd

    def coalesce(self) -> None:
        coalesce(self._socket)

    def shutdown(self) -> None:
        with contextlib.suppress(OSError):  # the peer was faster
            self._socket.shutdown(gsocket.SHUT_RDWR)


def coalesce(sock: gsocket.socket) -> None:
    """Turn the algorithm of Nagle on, which listeners turn off so that answers and starts go out at once."""
    with contextlib.suppress(OSError):  # the peer was faster, or it is no TCP socket
        sock.setsockopt(gsocket.IPPROTO_TCP, gsocket.TCP_NODELAY, 0)


class Outlet:
    """Writes one socket. Owned by a session, which alone closes the socket after `close`."""

    def __init__(self, transport: Transport, stall_s: float, on_refused: Callable[[str, str], None]) -> None:
        self.feed: Feed | None = None
        self.sent_bytes = 0
        self.failure: str | None = None  # why nothing more is written
        self._transport = transport
        self._send = transport.write
        self._fd = transport.fileno()
        self.socket = self._fd if transport.can_sendfile else None
        self._stall_s = stall_s
        self._on_refused = on_refused
        self._pending: deque[bytes | memoryview] = deque()  # goes before anything else
        self._replies: Queue[bytes] = Queue(maxsize=MAX_WAITING_REPLIES)
        self._waiting = False  # the greenlet waits for the socket
        self._coalescing = False
        self._ending = False  # shut the socket down when everything is written
        self._greenlet: gevent.Greenlet[[], None] | None = None
        self._emptied = Event()

    # --- the sink of a player ---------------------------------------------------------------------

    def sendfile(self, fd: int, offset: int, count: int) -> int:
        """Send from a log file; returns less than `count` when the socket is full, or dead."""
        if self._pending or self.failure is not None:
            return 0
        try:
            sent = os.sendfile(self._fd, fd, offset, count)
        except BlockingIOError:
            return 0
        except OSError as exc:
            self._fail_write(exc)
            return 0
        self.sent_bytes += sent
        return sent

    def offer(self, data: bytes) -> bool:
        """Send a copy of media; what the socket refuses is kept. False when something is kept, or dead."""
        if self._pending:
            self._pending.append(data)
            return False
        if self.failure is not None:
            return False
        # As in `_write`, without its frame: this runs for each TLS player and flush.
        try:
            sent = self._send(data)
        except BlockingIOError:
            sent = 0
        except OSError as exc:
            self._fail_write(exc)
            return False
        self.sent_bytes += sent
        if sent == len(data):
            return True
        self._pending.append(memoryview(data)[sent:])
        return False

    def reply(self, data: bytes) -> None:
        """Send an answer at the next message boundary; fails the connection if too many wait."""
        if not data or self.failure is not None:
            return
        try:
            self._replies.put_nowait(data)
        except Full:
            self.fail(f"{MAX_WAITING_REPLIES} answers not read")
            return
        self.kick()

    def kick(self) -> None:
        """Write what there is; leaves the rest to the greenlet when the socket is full."""
        if self._waiting or self.failure is not None:
            return
        if not self._pump():
            self._waiting = True
            self._emptied.clear()
            if self.feed is not None:
                self.feed.fall_behind()
            if self._greenlet is None:
                self._greenlet = gevent.spawn(self._write_on)
            else:
                self._replies.put(b"")  # wakes it

    def coalesce(self) -> None:
        """Let the kernel join small writes from now on; nothing is in a hurry any more."""
        if not self._coalescing:
            self._coalescing = True
            self._transport.coalesce()

    def refuse(self, code: str, description: str) -> None:
        """Pass a late refusal of the host on to the session."""
        self._on_refused(code, description)

    # --- the session ------------------------------------------------------------------------------

    def fail(self, reason: str) -> None:
        """Write nothing more, and wake the session's reader. The first reason counts."""
        if self.failure is None:
            self.failure = reason
            self._pending.clear()
            self._emptied.set()
            self._transport.shutdown()

    def end_when_empty(self) -> None:
        """Shut the socket down as soon as what waits was written. Never blocks."""
        self._ending = True
        self.kick()

    def drain(self, timeout_s: float) -> bool:
        """Wait until everything was written; False when it took longer. Blocks up to `timeout_s`."""
        if not self._waiting:
            return True
        return self._emptied.wait(timeout_s)

    def close(self) -> None:
        """Stop writing; ends the greenlet. The session closes the socket afterwards."""
        self.failure = self.failure or "closed"
        if self._greenlet is not None:
            self._greenlet.kill()

    # --- private ----------------------------------------------------------------------------------

    def _write(self, data: bytes | memoryview) -> int:
        if self.failure is not None:
            return 0
        try:
            sent = self._send(data)
        except BlockingIOError:
            return 0
        except OSError as exc:
            self._fail_write(exc)
            return 0
        self.sent_bytes += sent
        return sent

    def _fail_write(self, error: OSError) -> None:
        self.fail(f"write failed: {error.strerror or error}")

    def _pump(self) -> bool:
        """Write until there is nothing left (True) or the socket is full (False)."""
        pending, replies = self._pending, self._replies
        while self.failure is None:
            if pending:
                data = pending[0]
                sent = self._write(data)
                if sent < len(data):
                    if self.failure is None:
                        pending[0] = memoryview(data)[sent:]
                    return self.failure is not None
                pending.popleft()
                continue
            feed = self.feed
            asked = replies.qsize()
            if asked and (feed is None or feed.at_boundary):
                data = b"".join([replies.get_nowait() for _ in range(asked)])
                if data:
                    pending.append(data)
                continue
            if feed is None:
                break
            moved = feed.step(bool(asked))
            if moved is False:
                return self.failure is not None
            if moved is None and not replies.qsize() and not pending:
                break
        if self._ending:
            self._transport.shutdown()
        return True

    def _write_on(self) -> None:
        """The greenlet: finish what a kick could not. A peer that takes nothing for long is given up."""
        while self.failure is None:
            if self._waiting:
                while not self._pump():
                    try:
                        gsocket.wait_write(self._fd, timeout=self._stall_s)
                    except gsocket.timeout:
                        self.fail(f"took nothing for {self._stall_s:g} s")
                        return
                self._waiting = False
                self._emptied.set()
            self._replies.peek()
            if not self._waiting:
                self.kick()

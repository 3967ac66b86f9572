"""A connection's socket as a session and its outlet see it: bytes in, bytes out. Its methods never block.

`TlsTransport` is the other one. Whatever a socket raises is the peer's or the network's doing and is
translated where it is called (`PeerLost`), so that an OSError from anywhere else is known for what it is: a
fault of our own.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import termios
from collections.abc import Callable, Sequence
from functools import partial
from typing import Protocol

from gevent import socket as gsocket

from ..errors import PeerLost

_TCP_NOTSENT_LOWAT = getattr(gsocket, "TCP_NOTSENT_LOWAT", 25)
_TCP_ESTABLISHED = 1  # the state that TCP_INFO begins with


class Transport(Protocol):
    """One connection, in non-blocking mode."""

    can_sendfile: bool  # and be written to by others, through its descriptor
    can_move: bool  # to another process
    has_more: bool  # the last read left much behind, or something that the system does not tell of

    @property
    def read(self) -> Callable[[int], bytes]:
        """Reads up to so many bytes; b"" at the end. BlockingIOError: none yet, OSError: dead."""

    @property
    def write(self) -> Callable[[bytes | memoryview], int]:
        """Writes what is taken now; 0 or BlockingIOError when the socket is full, OSError when it is dead."""

    @property
    def write_together(self) -> Callable[[Sequence[bytes | memoryview]], int]:
        """Writes some pieces one behind the other, as `write` does one."""

    def fileno(self) -> int:
        """Return the descriptor."""

    def coalesce(self) -> None:
        """Let the kernel hold small writes back until earlier ones are acknowledged. Never raises."""

    def limit_unsent(self, count: int) -> bool:
        """Let the kernel take no more than so many bytes that it cannot send yet; False where it cannot."""

    def has_left(self) -> bool:
        """Tell whether the peer has closed its side, though unread bytes may hide that. Never raises."""

    def has_unread(self) -> bool:
        """Tell whether bytes are there that were not read, which may hide the end. Never raises."""

    def shutdown(self, how: int = gsocket.SHUT_RDWR) -> None:
        """End directions; whoever waits for the socket is woken. Idempotent, never raises."""

    def close(self) -> None:
        """Give the socket back. Idempotent."""


class PlainTransport:
    """A TCP connection."""

    can_sendfile = True
    can_move = True
    has_more = False

    def __init__(self, sock: gsocket.socket) -> None:
        """Take a socket over."""
        sock.setblocking(False)
        self._socket = sock
        self._fd = sock.fileno()
        # The system's calls themselves: a frame of Python for each would be a good part of their cost.
        self.read: Callable[[int], bytes] = partial(os.read, self._fd)
        self.write: Callable[[bytes | memoryview], int] = partial(os.write, self._fd)
        self.write_together: Callable[[Sequence[bytes | memoryview]], int] = partial(os.writev, self._fd)

    def fileno(self) -> int:
        return self._fd

    def coalesce(self) -> None:
        coalesce(self._socket)

    def limit_unsent(self, count: int) -> bool:
        return limit_unsent(self._socket, count)

    def has_left(self) -> bool:
        return has_left(self._socket)

    def has_unread(self) -> bool:
        return has_unread(self._socket)

    def shutdown(self, how: int = gsocket.SHUT_RDWR) -> None:
        with contextlib.suppress(OSError):  # the peer was faster
            self._socket.shutdown(how)

    def close(self) -> None:
        self._socket.close()


# --- what both kinds do with their socket of TCP --------------------------------------------------------


def coalesce(sock: gsocket.socket) -> None:
    """Switch Nagle's algorithm on; listeners switch it off so that answers and starts go out at once."""
    with contextlib.suppress(OSError):  # the peer was faster, or it is no TCP socket
        sock.setsockopt(gsocket.IPPROTO_TCP, gsocket.TCP_NODELAY, 0)


def limit_unsent(sock: gsocket.socket, count: int) -> bool:
    """See `Transport.limit_unsent`."""
    try:
        sock.setsockopt(gsocket.IPPROTO_TCP, _TCP_NOTSENT_LOWAT, count)
    except OSError:
        return False
    return True


def has_left(sock: gsocket.socket) -> bool:
    """See `Transport.has_left`."""
    try:
        return bool(sock.getsockopt(gsocket.IPPROTO_TCP, gsocket.TCP_INFO, 1)[0] != _TCP_ESTABLISHED)
    except OSError:
        return False  # not a TCP socket


def has_unread(sock: gsocket.socket) -> bool:
    """See `Transport.has_unread`."""
    try:
        return fcntl.ioctl(sock.fileno(), termios.FIONREAD, bytes(4)) != bytes(4)
    except (OSError, ValueError):
        return False  # closed


def lost(error: OSError) -> PeerLost:
    """Translate what a read or a write raised."""
    return PeerLost(f"connection lost: {error.strerror or error}")

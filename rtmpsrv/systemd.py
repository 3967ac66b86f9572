"""What systemd tells a service through its environment, and what it wants to be told. Knows no RTMP."""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import Mapping, MutableMapping

FIRST_DESCRIPTOR = 3  # sd_listen_fds(3)
_NAMES = ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES")


def offered(environ: Mapping[str, str], pid: int) -> list[tuple[int, str]]:
    """List descriptors and names that the environment promises to the process `pid`."""
    try:
        count = int(environ.get("LISTEN_FDS", "0"))
        meant = int(environ.get("LISTEN_PID", "0")) == pid
    except ValueError:
        return []
    if not meant or count < 1:
        return []
    names = environ.get("LISTEN_FDNAMES", "").split(":")
    names += [""] * count
    return [(FIRST_DESCRIPTOR + number, names[number]) for number in range(count)]


def take_sockets(environ: MutableMapping[str, str]) -> list[tuple[int, str]]:
    """Return the descriptors that were opened for this process, with their names.

    The variables are taken away, so that no process started from here believes them.
    """
    sockets = offered(environ, os.getpid())
    for name in _NAMES:
        environ.pop(name, None)
    for descriptor, _name in sockets:
        with contextlib.suppress(OSError):  # it is not there: whoever uses it finds out
            os.set_inheritable(descriptor, False)
    return sockets


class Notifier:
    """Tells systemd how the service is; nobody where none asked. Never blocks, never raises."""

    def __init__(self, address: str) -> None:
        """Take the value of NOTIFY_SOCKET, which may be empty."""
        self._address = "\0" + address[1:] if address.startswith("@") else address

    def ready(self) -> None:
        """Say that the ports are open, or that a reload is over."""
        self._send("READY=1")

    def reloading(self) -> None:
        """Say that a reload begins; `ready` ends it."""
        self._send(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def stopping(self) -> None:
        """Say that the end begins."""
        self._send("STOPPING=1")

    def took_over(self, pid: int) -> None:
        """Say which process is the service's main one from now on, and that it is ready."""
        self._send(f"MAINPID={pid}\nREADY=1")

    def _send(self, text: str) -> None:
        if not self._address:
            return
        with (
            contextlib.suppress(OSError, ValueError),  # systemd is not there, or takes nothing now
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock,
        ):
            sock.setblocking(False)
            sock.sendto(text.encode(), self._address)

"""The sockets of processes that belong together, by name, in their folder RUN_DIR."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable
from contextlib import suppress
from typing import Final

import gevent
from gevent import socket as gsocket

from rtmpsrv.workers.wire import Wire, WireLost

KEEPER: Final = "keeper"
SUFFIX: Final = ".sock"
BACKLOG: Final = 1024
CONNECT_S: Final = 2.0
ACCEPT_PAUSE_S: Final = 0.1  # after an error


def path_of(run_dir: str, name: str) -> str:
    """Return where a process of that name listens."""
    return os.path.join(run_dir, f"{name}{SUFFIX}")


def listen(path: str) -> gsocket.socket:
    """Listen there instead of whoever did; at any moment there is one to connect to. Raises OSError."""
    fresh = f"{path}.{os.getpid()}"
    with suppress(FileNotFoundError):
        os.unlink(fresh)
    sock = gsocket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.bind(fresh)
        os.chmod(fresh, 0o600)
        sock.listen(BACKLOG)
        os.rename(fresh, path)
    except OSError:
        sock.close()
        raise
    return sock


def sweep(run_dir: str) -> None:
    """Remove what killed processes have left: sockets that nobody listens on. Never blocks."""
    for file in os.listdir(run_dir):
        path = os.path.join(run_dir, file)
        if not file.endswith(SUFFIX):
            continue
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock, suppress(OSError):
            sock.setblocking(False)
            if sock.connect_ex(path) == errno.ECONNREFUSED:
                os.unlink(path)


def accept(listener: gsocket.socket, welcome: Callable[[gsocket.socket], object]) -> None:
    """Pass on whoever connects, until the listener is closed; out of descriptors is not the end. Blocks."""
    while True:
        try:
            sock, _ = listener.accept()
        except OSError:
            if listener.fileno() < 0:
                return
            gevent.sleep(ACCEPT_PAUSE_S)
        else:
            welcome(sock)


def connect(path: str) -> Wire:
    """Connect to who listens there. Blocks up to `CONNECT_S`. Raises WireLost."""
    try:
        sock = gsocket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    except OSError as exc:  # out of descriptors
        raise WireLost(exc.strerror or str(exc)) from exc
    try:
        with gevent.Timeout(CONNECT_S, TimeoutError(f"no connection within {CONNECT_S:g} s")):
            sock.connect(path)
    except BaseException as exc:
        sock.close()
        if isinstance(exc, OSError):
            raise WireLost(exc.strerror or str(exc)) from exc
        raise
    return Wire(sock)

"""Sockets for listeners that others have opened: systemd, a manager, the process before this one."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterable
from dataclasses import dataclass

from .binding import BACKLOG

PLAIN, SECURE, HTTP = "rtmp", "rtmps", "http"  # names of sockets


@dataclass(frozen=True, slots=True)
class Ports:
    """Descriptors of bound sockets, for whoever listens on them to own; None: it binds one itself."""

    plain: int | None = None
    secure: int | None = None
    http: int | None = None  # that of viewers
    admin: int | None = None  # that of API, metrics and page; from the process before this one only


NO_PORTS = Ports()


@dataclass(frozen=True, slots=True)
class Offer:
    """A socket that somebody has opened."""

    descriptor: int
    name: str  # what whoever opened it calls it
    port: int


def offers(sockets: Iterable[tuple[int, str]]) -> list[Offer]:
    """Look at descriptors, each with a name; leave out what is no TCP socket."""
    found = []
    for descriptor, name in sockets:
        try:
            sock = socket.socket(fileno=os.dup(descriptor))
        except OSError:
            continue
        with sock:
            if sock.family in (socket.AF_INET, socket.AF_INET6) and sock.type == socket.SOCK_STREAM:
                found.append(Offer(descriptor, name, sock.getsockname()[1]))
    return found


def choose(offered: list[Offer], plain_port: int, secure_port: int, http_port: int = 0) -> Ports:
    """Return the sockets for RTMP, RTMPS and HTTP: by their names `rtmp`, `rtmps`, `http`, else by ports.

    A single one that neither its name nor its port explains is that of RTMP.
    """
    plain = _first(offered, PLAIN, plain_port)
    secure = _first(offered, SECURE, secure_port)
    http = _first(offered, HTTP, http_port)
    if plain is None:
        others = [one.descriptor for one in offered if one.descriptor not in (secure, http)]
        plain = others[0] if len(others) == 1 else None
    return Ports(plain, secure, http)


def place_of(descriptor: int | None, address: str, port: int) -> tuple[str, int]:
    """Return where a socket is bound; `address` and `port` where there is none yet."""
    if descriptor is None:
        return address, port
    with socket.socket(fileno=os.dup(descriptor)) as sock:
        bound = sock.getsockname()
        return str(bound[0]), int(bound[1])


def listening(descriptor: int | None) -> int | None:
    """Begin to listen on a socket that may only be bound so far; return it. Raises OSError."""
    if descriptor is not None:
        with socket.socket(fileno=os.dup(descriptor)) as sock:
            sock.listen(BACKLOG)
    return descriptor


def _first(offered: list[Offer], name: str, port: int) -> int | None:
    named = [one.descriptor for one in offered if one.name == name]
    others = [one.descriptor for one in offered if one.name not in (PLAIN, SECURE, HTTP) and one.port == port]
    return next(iter(named + others), None)

"""What attacks on the port for viewers are made of: requests, frames, addresses, and something to watch."""

from __future__ import annotations

import base64
import os
from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic, sleep

from tests.access_run import Encoder

from .attacker import Attack
from .good import KEY
from .wire import Connection

ADDRESSES = 40  # that connections come from, where an attacker has many
SHOWN = "shown"
LOOKS, LOOK_S = 40, 0.2  # for the first playlist
TEXT, BINARY, CLOSE, PING = 1, 2, 8, 9


def asking(path: str, *lines: str, method: str = "GET") -> bytes:
    """Return a request."""
    return "\r\n".join([f"{method} {path} HTTP/1.1", "Host: localhost", *lines, "", ""]).encode()


def upgrade(path: str) -> bytes:
    """Return a request for a WebSocket."""
    key = base64.b64encode(os.urandom(16)).decode()
    return asking(
        path, "Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13",
        f"Sec-WebSocket-Key: {key}",
    )  # fmt: skip


def framed(opcode: int, data: bytes, *, first: int = 0x80, length: int | None = None) -> bytes:
    """Return a frame with a mask of zeros; `length` is what it says to have."""
    told = len(data) if length is None else length
    if told < 126:
        size = bytes((0x80 | told,))
    elif told < 1 << 16:
        size = b"\xfe" + told.to_bytes(2)
    else:
        size = b"\xff" + told.to_bytes(8)
    return bytes((first | opcode,)) + size + bytes(4) + data


def everything(connection: Connection, most: int = 1 << 20) -> bytes:
    """Read until the server closes."""
    found = b""
    while len(found) < most and (piece := connection.socket.recv(65536)):
        found += piece
    return found


@contextmanager
def shown(this: Attack) -> Iterator[bytes]:
    """Publish what can be shown in all forms, unlike the good stream; the time counts from then on.

    Gives the answer to who asks for the playlist.
    """
    with Encoder(this.port, SHOWN, KEY):
        for _ in range(LOOKS):
            index = everything(this.open_http(asking(f"/{SHOWN}/index.m3u8?key={KEY}", "Connection: close")))
            if index.startswith(b"HTTP/1.1 200 "):
                break
            sleep(LOOK_S)
        else:
            this.complain(f"there is nothing to be shown: {index!r}")
        this.until = monotonic() + this.attack_s
        yield index


def source(number: int) -> str:
    """Return one of the attacker's addresses."""
    return f"127.0.66.{number % ADDRESSES + 1}"

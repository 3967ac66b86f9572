"""Frames of WebSockets: those we send, and where one that came ends. Pure; wsproto understands what came.

A frame is given to wsproto when all of it is there, so that between two there is nothing in it: a connection
that moves to another process takes its unread bytes along, and nothing else.
"""

from __future__ import annotations

import base64
import hashlib
from typing import Final

from wsproto.connection import Connection, ConnectionState, ConnectionType
from wsproto.events import BytesMessage, CloseConnection, Ping, Pong, TextMessage
from wsproto.utilities import LocalProtocolError, RemoteProtocolError

_KEY: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455, 1.3
_KEY_BYTES: Final = 16
VERSION: Final = "13"
TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10
MAX_FRAME_BYTES: Final = 1024  # of what viewers say: a word or two
MAX_TEXT_BYTES: Final = 1024
MAX_FRAMES: Final = 8  # in one go
MAX_UNREAD_BYTES: Final = MAX_FRAME_BYTES + 14
NORMAL, GOING_AWAY, BROKEN, UNSUPPORTED, REFUSED, TOO_BIG = 1000, 1001, 1002, 1003, 1008, 1009


class Broken(Exception):
    """What came is no WebSocket's, or more than we take; `code` is what the viewer is told."""

    def __init__(self, code: int, why: str) -> None:
        super().__init__(why)
        self.code = code


def acceptance(key: str) -> str | None:
    """Return what proves that we know what a WebSocket is; None where the viewer's key is none."""
    try:
        decoded = base64.b64decode(key, validate=True)
    except ValueError:
        return None
    if len(decoded) != _KEY_BYTES:
        return None
    return base64.b64encode(hashlib.sha1(key.encode("ascii") + _KEY, usedforsecurity=False).digest()).decode()


def frame(opcode: int, length: int) -> bytes:
    """Return what goes before so many bytes of ours: one frame, not masked (RFC 6455, 5.2)."""
    first = bytes((0x80 | opcode,))
    if length < 126:
        return first + bytes((length,))
    if length < 1 << 16:
        return first + b"\x7e" + length.to_bytes(2)
    return first + b"\x7f" + length.to_bytes(8)


def close_frame(code: int, why: str = "") -> bytes:
    """Return the frame that ends a WebSocket; a reason has 123 bytes at most."""
    payload = code.to_bytes(2) + why.encode()[:123].decode(errors="ignore").encode()
    return frame(CLOSE, len(payload)) + payload


def whole_bytes(data: bytes) -> int:
    """Return how many bytes the first frame has, 0 when it has not come as a whole. Raises Broken."""
    if len(data) < 2:
        return 0
    if not data[1] & 0x80:
        raise Broken(BROKEN, "a frame without a mask")
    length, at = data[1] & 0x7F, 2
    if length >= 126:
        at = 4 if length == 126 else 10
        if len(data) < at:
            return 0
        length = int.from_bytes(data[2:at])
    if length > MAX_FRAME_BYTES:
        raise Broken(TOO_BIG, f"frame of {length} bytes, limit {MAX_FRAME_BYTES}")
    at += 4  # the mask
    return at + length if len(data) >= at + length else 0


class Talk:
    """What a viewer says over a WebSocket. Answers pings; keeps nothing but a text that is not complete."""

    __slots__ = ("_connection", "_text", "closed")

    def __init__(self) -> None:
        self._connection = Connection(ConnectionType.SERVER)
        self._text = ""
        self.closed = False  # the viewer has said goodbye

    @property
    def is_between(self) -> bool:
        """Whether nothing has begun that has not ended."""
        return not self._text and not self.closed

    def take(self, data: bytes) -> tuple[int, bytes, list[str]]:
        """Work through some whole frames; return how many bytes they had, an answer, and texts that came.

        Raises Broken.
        """
        done, answer = 0, b""
        texts: list[str] = []
        for _ in range(MAX_FRAMES):
            if self.closed or not (count := whole_bytes(data[done : done + MAX_UNREAD_BYTES])):
                break
            answer += self._one(data[done : done + count], texts)
            done += count
        return done, answer, texts

    def _one(self, data: bytes, texts: list[str]) -> bytes:
        connection, answer = self._connection, b""
        try:
            connection.receive_data(data)
            for event in connection.events():
                if isinstance(event, Ping):
                    answer += connection.send(event.response())
                elif isinstance(event, CloseConnection):
                    if connection.state is not ConnectionState.REMOTE_CLOSING:  # it is wsproto's own
                        raise Broken(int(event.code), f"broken WebSocket: {event.reason}")
                    self.closed = True
                    answer += connection.send(event.response())
                elif isinstance(event, TextMessage):
                    self._add(event, texts)
                elif isinstance(event, BytesMessage):
                    raise Broken(UNSUPPORTED, "viewers send no media")
                else:
                    assert isinstance(event, Pong)
        except (RemoteProtocolError, LocalProtocolError) as exc:
            raise Broken(BROKEN, f"broken WebSocket: {exc}") from exc
        return answer

    def _add(self, event: TextMessage, texts: list[str]) -> None:
        self._text += event.data
        if len(self._text) > MAX_TEXT_BYTES:
            raise Broken(TOO_BIG, f"text of more than {MAX_TEXT_BYTES} characters")
        if event.message_finished:
            texts.append(self._text)
            self._text = ""

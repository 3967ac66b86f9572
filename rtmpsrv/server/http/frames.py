"""Frames of WebSockets: those we send, and where one that came ends. Pure; what came is `talk`'s."""

from __future__ import annotations

import base64
import hashlib
from typing import Final

_KEY: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455, 1.3
_KEY_BYTES: Final = 16
VERSION: Final = "13"
CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
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


def frame(opcode: int, length: int, *, is_last: bool = True) -> bytes:
    """Return what goes before so many bytes of ours: one frame, not masked (RFC 6455, 5.2).

    A message in several ends with the last, and continues with CONTINUATION before.
    """
    first = bytes(((0x80 if is_last else 0) | opcode,))
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

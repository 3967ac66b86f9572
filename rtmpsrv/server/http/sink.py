"""A player's bytes as messages of a WebSocket: each piece is one. The outlet behind it writes them."""

from __future__ import annotations

from typing import TypeAlias

from ..outlet import Outlet
from .frames import BINARY, NORMAL, close_frame, frame


class WebSocketSink:
    """What a player is given in place of the outlet. Its methods never block, and never raise."""

    socket: int | None = None  # nobody else can write frames

    def __init__(self, outlet: Outlet) -> None:
        self._outlet = outlet
        self._ended = False

    @property
    def bytes_out(self) -> int:
        """All that was sent so far, frames included."""
        return self._outlet.bytes_out

    def credit(self, count: int) -> None:
        """Nobody writes past the outlet."""
        raise AssertionError("there is no fast lane")

    def sendfile(self, fd: int, offset: int, count: int) -> int:
        """Nothing is sent as it is."""
        raise AssertionError("there is no fast lane")

    def offer(self, data: bytes) -> bool:
        """Send a piece as a message; what the socket refuses is kept."""
        return self._outlet.offer(frame(BINARY, len(data)) + data)

    def reply(self, data: bytes) -> None:
        """Send a piece as a message at the next boundary."""
        if data:
            self._outlet.reply(frame(BINARY, len(data)) + data)

    def kick(self) -> None:
        self._outlet.kick()

    def coalesce(self) -> None:
        self._outlet.coalesce()

    def end_when_empty(self) -> None:
        """Say goodbye behind all that waits, then end."""
        self.end(NORMAL, "the stream is over")

    def answered(self) -> None:
        """Say goodbye no more: the viewer did, and has its answer."""
        self._ended = True

    def end(self, code: int, why: str) -> None:
        """Say goodbye with a code, behind all that waits, then end. Idempotent."""
        if not self._ended:
            self._ended = True
            self._outlet.reply(close_frame(code, why))
            self._outlet.end_when_empty()


MediaSink: TypeAlias = Outlet | WebSocketSink

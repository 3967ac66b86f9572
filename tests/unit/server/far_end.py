"""What a session sends, as the other end of its socket reads it; not a test."""

from __future__ import annotations

from gevent import socket as gsocket


class FarEnd:
    """Base of stages: they have the other end of a session's socket."""

    peer: gsocket.socket

    def read(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            piece = self.peer.recv(count - len(data))
            assert piece, f"closed {count - len(data)} bytes too early"
            data += piece
        return data

    def read_to_end(self) -> bytes:
        data = b""
        while piece := self.peer.recv(65536):
            data += piece
        return data

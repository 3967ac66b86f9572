"""What viewers say over WebSockets: wsproto understands it. Imported with the first session of HTTP. Pure.

A frame is given to wsproto when all of it is there, so that between two there is nothing in it: a connection
that moves to another process takes its unread bytes along, and nothing else.
"""

from __future__ import annotations

from wsproto.connection import Connection, ConnectionState, ConnectionType
from wsproto.events import BytesMessage, CloseConnection, Ping, Pong, TextMessage
from wsproto.utilities import LocalProtocolError, RemoteProtocolError

from .frames import (
    BROKEN,
    MAX_FRAMES,
    MAX_TEXT_BYTES,
    MAX_UNREAD_BYTES,
    TOO_BIG,
    UNSUPPORTED,
    Broken,
    whole_bytes,
)


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

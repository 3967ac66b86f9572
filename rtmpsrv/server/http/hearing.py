"""What a viewer says while it watches: next to nothing. And a WebSocket from its beginning to its goodbye.

A player's session hears in its own greenlet. While a handler makes a stream there, another one does.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NoReturn, Protocol

import gevent

from ...errors import PeerLost
from ...log import Logger
from ..ending import Ended
from ..outlet import Outlet
from .frames import Broken
from .reader import HttpReader
from .sink import WebSocketSink
from .state import WS_FLV, HttpState
from .talk import Talk


class Owner(Protocol):
    """Whose connection it is."""

    log: Logger

    def viewer_left(self, reason: str) -> None:
        """Take note that the viewer of a handler's stream is gone, or has to be. Never blocks."""


class Hearing:
    """One for each session."""

    __slots__ = ("_greenlet", "_heard", "_outlet", "_owner", "_reader", "_state", "_talk", "sink")

    def __init__(self, owner: Owner, state: HttpState, outlet: Outlet, reader: HttpReader) -> None:
        self._owner = owner
        self._state = state
        self._outlet = outlet
        self._reader = reader
        self._heard: Callable[[str], None] = _nobody
        self._greenlet: gevent.Greenlet[[], None] | None = None
        self._talk: Talk | None = None  # of a WebSocket
        self.sink: WebSocketSink | None = None
        if state.form == WS_FLV:
            self._begin()

    def converse(self, heard: Callable[[str], None], next_ping: float) -> None:
        """Hear a WebSocket from now on; `heard` gets the texts that come, and must not block."""
        self._begin()
        self._heard = heard
        self._state.next_ping = next_ping

    @property
    def is_between(self) -> bool:
        """Whether nothing has begun that has not ended."""
        return self._talk is None or self._talk.is_between

    def hear(self) -> NoReturn:
        """Hear the viewer to the end. Blocks; Ended, PeerLost and Broken tell how."""
        if self._talk is None:
            self._reader.watch_out()
        self._reader.listen(self._take)

    def begin(self) -> None:
        """Do the same in a greenlet of its own. Idempotent, never blocks."""
        if self._greenlet is None:
            self._greenlet = gevent.spawn(self._hear)

    def say_goodbye(self, code: int, why: str) -> None:
        """End a WebSocket, if it is one: behind all that waits. Idempotent, never blocks."""
        if self.sink is not None:
            self.sink.end(code, why)

    def stop(self) -> None:
        """Hear no more. Idempotent; blocks for a round of the loop."""
        if self._greenlet is not None:
            self._greenlet.kill()

    def _begin(self) -> None:
        self._talk = Talk()
        self.sink = WebSocketSink(self._outlet)

    def _hear(self) -> None:
        """The top of a greenlet."""
        reason = "internal error"
        try:
            self.hear()
        except (Ended, PeerLost) as exc:
            reason = str(exc)
        except Broken as exc:
            reason = str(exc)
            self.say_goodbye(exc.code, reason)
        except Exception:  # a bug of ours must cost this connection only
            self._owner.log.exception("session failed")
        self._owner.viewer_left(reason)

    def _take(self, data: bytes) -> int:
        """Work through what came over a WebSocket. Raises Broken, Ended."""
        talk = self._talk
        assert talk is not None, "it is one"
        assert self.sink is not None, "they come together"
        done, answer, texts = talk.take(data)
        if answer:
            self._outlet.reply(answer, owed=talk.closed)
        for text in texts:
            self._heard(text)
        if talk.closed:
            self.sink.answered()
            raise Ended("closed by the peer")
        return done


def _nobody(text: str) -> None:
    """Nobody listens."""

"""What sessions of both kinds have in common, whatever they speak: a socket, its end, the way elsewhere."""

from __future__ import annotations

from time import monotonic
from typing import Generic, Protocol, TypeVar

import gevent
from greenlet import greenlet

from ..errors import CannotMove
from ..log import Logger
from .ending import Dismissed, Moved
from .host import Client
from .http.state import HttpState
from .outlet import Outlet
from .session_state import SessionState
from .transport import Transport

AnyState = TypeVar("AnyState", SessionState, HttpState)


class Reads(Protocol):
    """The reader of a session."""

    def stop(self) -> None:
        """End what blocks in it soon. Never blocks."""

    def release(self) -> None:
        """Read no more, at once: the session moves."""


class BaseSession(Generic[AnyState]):
    """Base of `Session` and `HttpSession`, which set `outlet` and `_reader`. See `served.Served`."""

    outlet: Outlet
    _reader: Reads

    def __init__(self, state: AnyState, transport: Transport, log: Logger) -> None:
        self.client: Client = state.client
        self.log = log
        self._state: AnyState = state
        self._transport = transport
        self._brought_along = state.bytes_in, state.outlet.bytes_out  # from another process
        self._drop_reason: str | None = None
        self._ending = False
        self._moved = False
        self._over = False
        self._greenlet: greenlet | None = None  # that of `run`

    # --- from other greenlets ---------------------------------------------------------------------

    def drop(self, reason: str) -> None:
        """End the connection. Never blocks."""
        if self._drop_reason is None:
            self._drop_reason = reason
            self._reader.stop()
            self._interrupt()
            self.outlet.fail(reason)  # lets go of what waits, whatever the session's greenlet waits for

    def has_left(self) -> bool:
        """Tell whether the peer has closed its side, though unread bytes may hide that. Never blocks."""
        return self._drop_reason is not None or self.outlet.failure is not None or self._transport.has_left()

    def is_unwanted(self) -> bool:
        """Tell whether `drop` or `dismiss` were called. Never blocks."""
        return self._drop_reason is not None

    def silence_s(self) -> float:
        """Return for how long the peer has sent nothing. Never blocks."""
        return monotonic() - self._state.heard_at

    def traffic(self) -> tuple[int, int]:
        """Return how many bytes were received and sent so far. Not when it is over. Never blocks."""
        raise NotImplementedError

    def traffic_here(self) -> tuple[int, int]:
        """Return the same since the connection came to this process."""
        received, sent = self.traffic()
        return received - self._brought_along[0], sent - self._brought_along[1]

    def can_move(self) -> bool:
        """Tell whether `freeze` would succeed, but for what the host may say. Never blocks."""
        return not self._why_not_movable()

    def freeze(self) -> AnyState:
        """Stop, without a word to the peer, and return all that another session needs to go on.

        The socket stays open and is the caller's; `run` leaves without touching it. Never blocks. Raises
        CannotMove, and the session goes on: with TLS, whose keys are in a library; in the middle of a
        request; when the session is ending; when the host's part in it stays.
        """
        if why_not := self._why_not_movable():
            raise CannotMove(why_not)
        self._freeze_granted()
        self._moved = True
        self._state.outlet = self.outlet.freeze()
        self._reader.release()
        if self._greenlet is not None:
            gevent.kill(self._greenlet, Moved)
        return self._state

    def fileno(self) -> int:
        """Return the descriptor of its socket."""
        return self._transport.fileno()

    # --- what a kind of session adds, and uses ------------------------------------------------------

    def _interrupt(self) -> None:
        """End waits of the session's greenlet, but for those of its reader and its outlet."""
        raise NotImplementedError

    def _is_busy(self) -> bool:
        """Tell whether it is in the middle of a request."""
        raise NotImplementedError

    def _freeze_granted(self) -> None:
        """Put what it was granted into its state. Raises CannotMove."""
        raise NotImplementedError

    def _throw_out(self) -> None:
        """Run in the hub: wherever the session's greenlet waits, it leaves; unless it does already."""
        if not (self._ending or self._over or self._moved) and self._greenlet is not None:
            self._greenlet.throw(Dismissed)

    def _why_not_movable(self) -> str:
        if self._moved or self._ending or self._drop_reason is not None or self.outlet.failure is not None:
            return "it is ending, or has moved"
        if not self._transport.can_move:
            return "TLS stays where it was set up"
        return "in the middle of a request" if self._is_busy() else ""

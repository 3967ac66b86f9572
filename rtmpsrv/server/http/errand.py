"""A request while it is answered: it may go along to another process as long as its answer has not begun.

Then its bytes are put back where they came from, and the session there reads them as if they had just come.
"""

from __future__ import annotations

from collections.abc import Callable

from gevent.event import Event

from ...errors import AccessDenied, PeerLost
from ..ending import Moved
from .state import HttpState


class Errand:
    """One for each session, in whose greenlet everything runs but `refuse`."""

    __slots__ = ("_has_moved", "_left", "_raw", "_refusal", "_state", "is_under_way")

    def __init__(self, state: HttpState, left: Event, has_moved: Callable[[], bool]) -> None:
        """`left` ends what its viewer waits for; `has_moved`: another session has the connection now."""
        self.is_under_way = False  # in the middle of a request, which therefore cannot move
        self._state = state
        self._left = left
        self._has_moved = has_moved
        self._raw = b""
        self._refusal: AccessDenied | None = None

    def begin(self, raw: bytes) -> bytes:
        """Begin with a head that was taken out of what came, and return it."""
        self._raw, self.is_under_way = raw, True
        return raw

    def end(self) -> None:
        """Be done with it. Idempotent."""
        self._raw, self.is_under_way = b"", False
        self._state.is_passed_on = False

    def travel(self, wait: Callable[[], object]) -> None:
        """Let somebody freeze the session, its request included, while `wait` blocks; returns if it stays.

        Raises Moved, and what `wait` raises.
        """
        state, raw = self._state, self._raw
        if not (raw and self.is_under_way):
            wait()
            return
        state.unread, self.is_under_way = raw + state.unread, False
        try:
            wait()
        finally:
            if not self._has_moved():  # else the state is another session's
                state.unread, self.is_under_way = state.unread[len(raw) :], True
        if self._has_moved():  # and what was waited for came at the same time
            raise Moved

    def pass_on(self, move: Callable[[], object]) -> None:
        """Let `move` try, once, to take the request elsewhere; returns if it stays. Blocks as `move` does."""
        if not self._state.is_passed_on:
            self._state.is_passed_on = True
            move()

    def refuse(self, code: str, description: str) -> None:
        """Let a viewer be refused that waits, or sees a stream. Never blocks; from any greenlet."""
        self._refusal = AccessDenied(code, description)
        self._left.set()

    def why_over(self) -> Exception:
        """Return what to raise in place of an answer."""
        return self._refusal or PeerLost("the viewer left")

"""A connection as those see it who move, count and end connections: RTMP, or HTTP. Interfaces only."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, runtime_checkable

from .host import Peer, Playback, Publication
from .http.state import HttpState
from .session_state import SessionState

if TYPE_CHECKING:
    from .http.site import Viewing

State: TypeAlias = SessionState | HttpState


@runtime_checkable
class Served(Peer, Protocol):
    """A session. Others call it from their greenlets; nothing but `run` and `travel` blocks."""

    def run(self) -> None:
        """Serve the connection to its end, whatever happens; then close the socket. Never raises."""

    def drop_gently(self, reason: str) -> None:
        """End the connection when everything that waits for the peer was written."""

    def end_publication(self, reason: str) -> None:
        """Take the publisher of this connection, if any, off the air. Idempotent."""

    @property
    def role(self) -> str:
        """What it does, in a word: publisher or player; empty for nothing (any more)."""

    @property
    def granted(self) -> Sequence[Publication | Playback | Viewing]:
        """What it was granted by the host, and has not ended."""

    def traffic_here(self) -> tuple[int, int]:
        """Return how many bytes were received and sent since the connection came to this process."""

    @property
    def is_bound(self) -> bool:
        """Whether it cannot move, now or ever."""

    @property
    def is_held(self) -> bool:
        """Whether it waits with a request until a succession is over."""

    def play_at_once(self) -> bool:
        """Let a request to play that is held go on all the same; False for any other."""

    def can_move(self) -> bool:
        """Tell whether `freeze` would succeed, but for what the host may say."""

    def travel(self, wait: Callable[[], object]) -> None:
        """Let somebody freeze it with its request while `wait` blocks; returns if it stays."""

    def freeze(self) -> State:
        """Stop, and return all that another session needs to go on. Raises CannotMove."""

    def fileno(self) -> int:
        """Return the descriptor of its socket."""

    def describe(self) -> dict[str, Any]:
        """Return what an operator wants to know; no keys, no queries."""

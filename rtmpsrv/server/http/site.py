"""Who answers what: handlers by the kind of their route, and the host that says who may watch."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

from ..host import Peer, Playback
from ..proxies import Addresses
from .places import Places
from .sink import MediaSink
from .stagger import Stagger

if TYPE_CHECKING:
    from .reply import Reply
    from .request import Request

    Handler = Callable[[Request, Reply], None]


class Viewing(Protocol):
    """A channel that a viewer may watch, in whatever form. Counts as a player of it."""

    @property
    def channel(self) -> Any:
        """The host's own, as it is now: what nobody wants is forgotten, and another one the next time."""

    @property
    def name(self) -> str:
        """The channel's, which may be another one than was asked for."""

    @property
    def key(self) -> str | None:
        """What has to be the publisher's; None: nothing has."""

    def end(self, reason: str) -> None:
        """Be done. Idempotent, never blocks."""


class ViewerHost(Protocol):
    """The application behind the sessions, as far as viewers by HTTP need it."""

    def watch(self, peer: Peer, channel: str, query: str, sink: MediaSink, *, waits: bool) -> Playback:
        """Let a peer play a channel as FLV, or raise AccessDenied; `query` is as it was sent. May block.

        Without `waits` only what is on the air: NotThere.
        """

    def view(self, peer: Peer, channel: str, query: str) -> Viewing:
        """Let a peer watch a channel in another form, or raise AccessDenied. May block."""

    def resume_playback(self, peer: Peer, frozen: object, sink: MediaSink, /) -> Playback:
        """Go on with what `Playback.freeze` returned; the session calls `resume`. Never blocks."""

    def refusal_delay(self, address: str) -> float:
        """Return for how many seconds to keep a refusal from a peer of that address. Never blocks."""


class Site:
    """What there is to be seen. Made once, before the listeners."""

    def __init__(self, host: ViewerHost, *, has_paths: bool = False, allow_origin: str = "") -> None:
        """`has_paths`: channels are called APP/NAME. `allow_origin`: HTTP_ALLOW_ORIGIN."""
        self.host = host
        self.has_paths = has_paths
        self.allow_origin = allow_origin
        self.places = Places()
        self.stagger = Stagger()
        self.trusted: Addresses = ()  # proxies whose word is taken for whose requests they send
        self.handlers: dict[str, Handler] = {}
        self.answered: Callable[[str, int], None] = lambda kind, status: None  # counts answers
        self.leaving: Callable[[], bool] = lambda: False  # the process has a successor, or ends

    def add(self, kind: str, handler: Handler) -> None:
        """Let a handler answer what is of a kind (`routes`)."""
        if kind in self.handlers:
            raise ValueError(f"two handlers for {kind}")
        self.handlers[kind] = handler

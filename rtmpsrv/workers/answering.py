"""HLS of a channel is made and answered by the worker that has the channel, whichever was asked.

Two makers would number and cut differently, and a player's requests come over several connections, which are
accepted anywhere. So the connection goes there, with its request; it stays there for those that follow. Where
it cannot, as on TLS, that worker is asked for the answer, which takes its turn on the line between the two.
"""

from __future__ import annotations

from collections.abc import Sequence
from time import monotonic
from typing import TYPE_CHECKING, Any, Final

from gevent.event import Event

from rtmpsrv.server.host import Client
from rtmpsrv.server.http.answers import TEXT
from rtmpsrv.server.http.routes import HLS, Route
from rtmpsrv.workers.borrowed import Borrowed, Memory, size_of
from rtmpsrv.workers.calls import Bulk
from rtmpsrv.workers.elsewhere import Elsewhere
from rtmpsrv.workers.moving import Moving

if TYPE_CHECKING:
    from rtmpsrv.server.http.head import Head
    from rtmpsrv.server.http.reply import Reply
    from rtmpsrv.server.http.request import Request
    from rtmpsrv.server.http.site import Handler, Site

ANSWER_S: Final = 45.0  # the longest that a request waits there for the next segment, and some
LEAVING_S: Final = 3.0  # for a worker that leaves, until another one has the channel
LOOK_AGAIN_S: Final = 1.0  # though nothing is told: it may have been out of reach for a moment
COME_AGAIN: Final = (("Retry-After", "1"), ("Cache-Control", "no-cache"))

Answer = tuple[int, Any, str, tuple[tuple[str, str], ...]]  # status, body, its type, headers
LATER: Final[Answer] = (503, b"Come again.\n", TEXT, COME_AGAIN)


class Answering:
    """One worker's, in front of its own handler."""

    def __init__(self, site: Site, elsewhere: Elsewhere, moving: Moving, memory: Memory) -> None:
        """Take the place of the handler of HLS, if the site has one. Never blocks."""
        self._elsewhere = elsewhere
        self._moving = moving
        self._borrowed = Borrowed(memory)
        handler = site.handlers.get(HLS)
        if handler is not None:
            self._here: Handler = handler
            site.handlers[HLS] = self.handle
            moving.calls["hls"] = self.answer

    def handle(self, request: Request, reply: Reply) -> None:
        """Answer a viewer of this worker's, or let another one do so. As any handler."""
        channel = request.route.channel
        until = monotonic() + LEAVING_S
        while True:
            worker = self._elsewhere.last(channel)
            if worker is not None and self._is_answered_by(worker, request, reply):
                pass
            elif not self._elsewhere.has(channel):
                self._here(request, reply)
            elif monotonic() >= until:
                reply.send(*LATER)
            else:  # that worker leaves, perhaps, and soon another one has the channel; or this one does
                if self._elsewhere.last(channel) == worker:
                    request.peer.errand.travel(lambda: self._elsewhere.wait(channel, LOOK_AGAIN_S))
                continue
            return

    def _is_answered_by(self, worker: str, request: Request, reply: Reply) -> bool:
        channel = request.route.channel
        request.peer.errand.pass_on(lambda: self._elsewhere.pass_on(request.peer, channel))
        asked = request.client, request.head, request.route
        found: Answer | None = self._moving.ask(worker, "hls", *asked, timeout_s=ANSWER_S)
        if found is None:
            return False
        status, body, type, headers = found
        del found  # what is sent may be another viewer's
        with self._borrowed.of((channel, request.route.rest), body, request.peer) as body:
            reply.send(status, body, type, headers)
        return True

    def answer(self, client: Client, head: Head, route: Route) -> Bulk:
        """Answer a viewer of another worker's. Blocks, and raises, as the handler does."""
        from rtmpsrv.server.http.request import Request

        noted = _Noted()
        request: Any = Request(head, route, head.parameters(), _Far(client))  # type: ignore[arg-type]
        self._here(request, noted)  # type: ignore[arg-type]
        return Bulk(noted.answer, size_of(noted.answer[1]), LATER)


class _Far:
    """A viewer whose connection another worker has."""

    def __init__(self, client: Client) -> None:
        self.client = client


class _Noted:
    """An answer for another worker."""

    def __init__(self) -> None:
        self.answer: Answer = (500, b"", "", ())

    def send(
        self, status: int, body: Any = b"", type: str = "", headers: Sequence[tuple[str, str]] = ()
    ) -> None:
        """Keep it."""
        self.answer = status, body, type, tuple(headers)

    def wait(self, event: Event, timeout_s: float | None = None) -> bool:
        """Wait for an event; whether the viewer is there only the other worker knows."""
        return event.wait(timeout_s)

"""Requests for HLS over HTTP: who asks, and what is answered. Runs in each connection's greenlet.

A viewer whose first playlist is the multivariant one gets a name, which stands in all URIs that follow.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Protocol

import gevent
from gevent.event import Event

from rtmpsrv.errors import AccessDenied, NoRoom, NotThere
from rtmpsrv.hls.answers import INDEX, NOT_THERE, TOO_LONG, Answer, answer, opens, shown
from rtmpsrv.hls.makers import Makers
from rtmpsrv.hls.sending import Sending, Taker
from rtmpsrv.hls.viewers import NAME, Viewers, Viewing, is_name, new_name
from rtmpsrv.log import Logger
from rtmpsrv.media.hls_playlist import MEDIA

PLAYLISTS: Final = frozenset((INDEX, MEDIA))

MAX_QUERY_BYTES: Final = 5120  # a token as long as it may be, and directives; it is kept, and in each URI
SHORT_QUERY_BYTES: Final = MAX_QUERY_BYTES // 10  # a character that was sent is nine at most in a URI
LOOKS: Final = 20  # for a channel that nobody publishes here
LOOK_S: Final = 0.1
LOOK_AFTER_S: Final = 2.0  # between two looks for viewers that have left


class Route(Protocol):
    """What a path means."""

    @property
    def channel(self) -> str: ...
    @property
    def rest(self) -> str: ...


class Head(Protocol):
    """How it was asked."""

    @property
    def query(self) -> str: ...


class Asker(Protocol):
    """The client behind a connection."""

    @property
    def ip(self) -> str: ...


class Request(Protocol):
    """One request; see `server.http.request`. No part of its query may reach a log."""

    @property
    def head(self) -> Head: ...
    @property
    def route(self) -> Route: ...
    @property
    def query(self) -> Mapping[str, str]: ...
    @property
    def client(self) -> Asker: ...
    @property
    def peer(self) -> Taker: ...


class Reply(Protocol):
    """Its answer; see `server.http.reply`."""

    def send(
        self,
        status: int,
        body: bytes | Sequence[bytes] = b"",
        type: str = "",
        headers: Sequence[tuple[str, str]] = (),
    ) -> None: ...
    def wait(self, event: Event, timeout_s: float | None = None) -> bool: ...


class HlsHandler:
    """Answers all requests for HLS of a process."""

    def __init__(
        self,
        makers: Makers,
        viewers: Viewers[Any],
        admit: Callable[[Any, Callable[[], None]], Viewing],
        is_on_air: Callable[[str], bool],
        log: Logger,
        resume: Callable[[dict[str, Any], Callable[[], None]], Viewing] | None = None,
        *,
        delay: Callable[[str], float] = lambda address: 0.0,
    ) -> None:
        """`admit` asks who may watch what a request names, given what to call when that one is sent away.

        It may block, and raises AccessDenied. `is_on_air` tells whether somebody publishes a channel;
        `resume` is `admit` for who has watched in another process. `delay` counts a refusal of an
        address, and returns for how many seconds to keep it back.
        """
        self.makers = makers
        self.viewers = viewers
        self._admit = admit
        self._is_on_air = is_on_air
        self._resume = resume
        self._delay = delay
        self._sending = Sending()
        self.log = log
        self._looking: gevent.Greenlet[[], None] | None = None  # after viewers, while there are any

    def __call__(self, request: Request, reply: Reply) -> None:
        """Answer. Blocks for seconds at most. Raises AccessDenied, PeerLost."""
        asked, name = request.route.channel, request.route.rest
        query = dict(request.query)
        if not is_name(query.get(NAME, "")):
            query.pop(NAME, None)
            if name == INDEX:
                query[NAME] = new_name()
        if _is_too_long(request.head.query, query):
            _send(reply, TOO_LONG)
            return
        ip = request.client.ip
        viewing = self.viewers.admit(asked, ip, query, lambda end: self._let_in(request, end, reply))
        self._look()
        try:
            found = self._answer(viewing, name, query, reply)
            viewing.sent(len(found.body) if isinstance(found.body, bytes) else sum(map(len, found.body)))
            maker = None if name in PLAYLISTS else self.makers.find(viewing.name)
            with self._sending.of(maker, name, request.peer):
                _send(reply, found)
        finally:
            self.viewers.answered(asked, ip, query)

    def describe(self) -> dict[str, Any]:
        """Return what an operator may want to know."""
        return {"channels": self.makers.describe(), "viewers": len(self.viewers)}

    # --- to another process -----------------------------------------------------------------------

    def state_of(self, channel: str, most: int) -> tuple[dict[str, Any], int]:
        """Return what is made of a channel, and who watches, for `adopt` there; and its bytes, at `most`.

        Never blocks.
        """
        maker = self.makers.state_of(channel, most)
        size = maker["window"]["size"] if maker is not None else 0
        return {"maker": maker, "viewers": self.viewers.states_of(channel)}, size

    def let_go(self, channel: str) -> None:
        """Take note that those viewers are another process's now. Never blocks."""
        self.viewers.hand_over(channel)

    def adopt(self, channel: str, value: dict[str, Any]) -> None:
        """Go on with what another process had. Never blocks."""
        if value["maker"] is not None:
            self.makers.adopt(channel, value["maker"])
        if (resume := self._resume) is not None:
            for state in value["viewers"]:
                self.viewers.adopt(state, lambda end, state=state: resume(state, end))  # type: ignore[misc]
            self._look()

    def _let_in(self, request: Request, end: Callable[[], None], reply: Reply) -> Viewing:
        """Ask who may watch; who guesses keys gets slower, as in all other forms."""
        try:
            return self._admit(request, end)
        except (NotThere, NoRoom):
            raise
        except AccessDenied:
            delay_s = self._delay(request.client.ip)
            if delay_s > 0:
                reply.wait(Event(), delay_s)
            raise

    def _answer(self, viewing: Viewing, name: str, query: Mapping[str, str], reply: Reply) -> Answer:
        channel, shape = viewing.name, viewing.shape
        maker = self.makers.find(channel)
        is_there = maker is not None and opens(maker, shape)
        if not is_there and name in PLAYLISTS and self._comes_on_air(channel, reply):
            maker, is_there = self.makers.open(channel), True
        if maker is None or not is_there:
            return NOT_THERE
        maker.asked(with_key=shape is not None)
        return answer(maker, name, query, shape, reply)

    def _look(self) -> None:
        if self._looking is None and len(self.viewers):
            self._looking = gevent.spawn(self._look_after)

    def _comes_on_air(self, channel: str, reply: Reply) -> bool:
        """Wait a little for a channel: it may have to be brought from another process first."""
        for _ in range(LOOKS):
            if self._is_on_air(channel):
                return True
            reply.wait(Event(), LOOK_S)
        return self._is_on_air(channel)

    def close(self, reason: str) -> None:
        """End all. Idempotent. Blocks until the makers have ended."""
        self.viewers.close(reason)
        if self._looking is not None:
            self._looking.kill()
            self._looking = None
        self.makers.close()

    def _look_after(self) -> None:
        """Let viewers go that have left; the top of a greenlet, which ends with the last of them."""
        while len(self.viewers):
            gevent.sleep(LOOK_AFTER_S)
            try:
                self.viewers.see_to()
                self._sending.see_to()
            except Exception:  # a bug of ours; the others have to be let go all the same
                self.log.exception("HLS: letting a viewer go failed")
        self._looking = None


def _is_too_long(sent: str, query: Mapping[str, str]) -> bool:
    """Tell whether a query is, as it was sent or as it would stand in URIs."""
    if len(sent) <= SHORT_QUERY_BYTES:
        return False
    return len(sent) > MAX_QUERY_BYTES or len(shown(query)) > MAX_QUERY_BYTES


def _send(reply: Reply, found: Answer) -> None:
    reply.send(found.status, found.body, found.type, found.headers)

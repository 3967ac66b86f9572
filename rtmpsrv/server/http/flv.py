"""FLV by HTTP and by WebSocket: a player of a channel, who is told where it is by the head of an answer."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, NoReturn

from .answers import FLV_TYPE

if TYPE_CHECKING:
    from .reply import Reply
    from .request import Request

WAIT = "wait"  # `?wait=1`: for a publisher


def serve(request: Request, reply: Reply) -> NoReturn:
    """Answer who wants FLV: to the end of the connection."""
    channel, query = request.route.channel, request.head.query
    if request.is_websocket:
        # At once, also where nobody publishes yet, or the viewer may not watch: a browser shows no more of a
        # handshake that failed than that it did.
        reply.accept()
        request.peer.play(channel, query, _nothing, waits=True)
    # Until the connection ends, not in chunks: so the log's bytes go out as they are, by `sendfile`, and some
    # players cannot read chunks.
    begin = partial(reply.begin, 200, FLV_TYPE, chunked=False)
    request.peer.play(channel, query, begin, waits=request.query.get(WAIT) == "1")


def _nothing() -> None:
    """The answer has begun."""

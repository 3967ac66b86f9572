"""One request and its answer: what it means, who answers it, and what a refusal looks like."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, Protocol

from ...errors import AccessDenied, NoRoom, NotThere, PeerLost
from ..ending import Ended, refused, whose
from . import answers, forwarded, telling
from .frames import REFUSED, Broken
from .head import ALLOWED, BadRequest, Head, read_head
from .reply import Reply, Writer
from .request import Asker, Request
from .routes import ANY, FLV, JPG, MP4, Route, find

if TYPE_CHECKING:
    from .site import Site

MAX_TEXT: Final = 512  # characters that are kept of what a viewer says of itself
COME_AGAIN_S: Final = 2  # a publisher may be there then
CODE: Final = "NetStream.Play.BadName"
_STREAMS: Final = frozenset((FLV, MP4))


class Speaker(Writer, Asker, Protocol):
    """A session."""

    own: tuple[str, bool]  # address of its connection, and whether that is TLS


def answer(session: Speaker, site: Site, raw: bytes) -> bool:
    """Answer a request; tell whether the connection may go on. Blocks as long as its handler does.

    Raises BadRequest, and what ends the connection.
    """
    head = read_head(raw)
    came = forwarded.came(*session.own, head.headers, site.trusted)
    if came.host:
        head = replace(head, headers={**head.headers, "host": came.host})
    session.client.ip, session.client.secure = came.address, came.secure
    origin = head.headers.get("origin", "")
    shared = answers.cross_origin(origin, site.allow_origin)
    route = find(head.path, has_paths=site.has_paths)
    kind = route.kind if route is not None else ""
    keeps = head.keeps and not site.leaving()
    reply = Reply(session, head, shared, keeps=keeps, told=lambda status: site.answered(kind, status))
    if session.log.isEnabledFor(logging.DEBUG):
        session.log.debug("< %s %s", head.method, telling.asked_for(route))
    if head.method == "OPTIONS":
        reply.send(204, headers=answers.options(ALLOWED))
        return reply.keeps
    handler = site.handlers.get(route.kind) if route is not None else None
    if route is None or handler is None:
        reply.send(404, b"There is nothing here.\n")
        return reply.keeps
    _introduce(session, head, route)
    # Who comes by a proxy counts for itself here; others do by their connections.
    counted = came.address if session.own[0] in site.trusted else ""
    try:
        if counted and (refusal := site.places.ask(counted)):
            counted = ""
            raise NoRoom(CODE, f"There are too many connections: {refusal}")
        if head.is_websocket and not _may_converse(head, origin, site.allow_origin):
            raise AccessDenied(CODE, "Pages of other origins may not watch", "HTTP_ALLOW_ORIGIN")
        handler(Request(head, route, head.parameters(), session), reply)
        reply.finish()
    except AccessDenied as denial:
        _deny(session, reply, denial)
    except (BadRequest, PeerLost, Ended, Broken):
        raise
    except Exception:  # a bug of ours must cost this request only
        session.log.exception("no answer to a request for %s", route.kind)
        reply.keeps = False
        if not reply.begun:
            reply.send(500, b"Something is wrong with the server.\n")
    finally:
        if counted:
            site.places.done(counted)
    return reply.keeps


def refuse(session: Writer, site: Site, refusal: BadRequest) -> None:
    """Answer what is no request, and is not read any further. Raises PeerLost."""
    body = f"{refusal}.\n".encode()
    headers = [
        ("Content-Type", answers.TEXT), ("Content-Length", str(len(body))), ("Connection", "close"),
    ]  # fmt: skip
    if refusal.status == 405:
        headers.append(("Allow", ALLOWED))
    site.answered("", refusal.status)
    session.put(answers.head(refusal.status, answers.with_defaults(headers)) + body)


def _deny(session: Speaker, reply: Reply, denial: AccessDenied) -> None:
    """Say no: with a status; over a WebSocket, with a reason."""
    if not isinstance(denial, NotThere):
        told = {"event": "refused", **whose(session.client), "reason": denial.for_log}
        fields = told | refused("play", denial.user)
        session.log.info("play refused: %s", denial.for_log, extra={"fields": fields})
    if reply.begun:
        reply.close(REFUSED, denial.description)
        return
    headers: list[tuple[str, str]] = []
    if isinstance(denial, NotThere | NoRoom):
        headers.append(("Retry-After", str(COME_AGAIN_S)))
    reply.send(answers.status_of(denial), f"{denial.description}.\n".encode(), headers=headers)


def _introduce(session: Speaker, head: Head, route: Route) -> None:
    """Keep what a viewer says of itself, by the names that RTMP has for it."""
    client = session.client
    given: dict[str, Any] = {
        "flashVer": _kept(head, "user-agent"),
        "pageUrl": _kept(head, "referer"),
        "tcUrl": f"http{'s' if client.secure else ''}://{_kept(head, 'host')}{_shown(head.path)}",
    }
    client.properties = {name: value for name, value in given.items() if value}
    if route.kind in _STREAMS:
        client.form = f"ws-{route.kind}" if head.is_websocket else route.kind
    else:  # who watches by HLS is no connection
        client.form = JPG if route.kind == JPG else ANY


def _may_converse(head: Head, origin: str, rule: str) -> bool:
    """Tell whether a page may open a WebSocket, which no browser asks about: ours, or one that is let in."""
    if not origin:
        return True  # no browser
    return origin.partition("://")[2] == head.headers.get("host", "") or answers.allows(origin, rule)


def _kept(head: Head, name: str) -> str:
    return head.headers.get(name, "")[:MAX_TEXT]


def _shown(path: str) -> str:
    """Return a path for people: nothing that would be another line."""
    if path.isprintable():
        return path[:MAX_TEXT]
    return "".join(one if one.isprintable() else "?" for one in path[:MAX_TEXT])

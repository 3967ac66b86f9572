"""The API, in the shape of MediaMTX's `/v3`: routes only. What the answers look like is in shapes.py.

A path is a channel; a key is in none of the answers.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from importlib import resources
from time import monotonic
from typing import Final, Protocol

from flask import Blueprint, Response, request
from werkzeug.routing import BaseConverter

from rtmpsrv.access.blocks import MAX_BLOCKS
from rtmpsrv.monitor.values import ChannelValue, ConnectionValue, Kind
from rtmpsrv.web import v3_recordings
from rtmpsrv.web.answers import answer, not_found, of_somebody, refused
from rtmpsrv.web.asked import Refused, block_and_reason, connection_id, one, page_of, places, places_text
from rtmpsrv.web.items import VerdictFacts, connection_item, path_item, player_item, rfc3339, with_moments
from rtmpsrv.web.shapes import (
    AboutAll,
    ConnectionList,
    Done,
    EventList,
    Info,
    PathList,
    PlayerList,
    ProcessList,
    Stopped,
)
from rtmpsrv.web.source import Gathered, Source

KINDS: Final[dict[str, Kind]] = {
    "rtmpconns": "rtmpConn",
    "rtmpsconns": "rtmpsConn",
    "httpconns": "httpConn",
    "httpsconns": "httpsConn",
    "hlssessions": "hlsSession",
}


class NameConverter(BaseConverter):
    """The name of a channel in a rule: anything at all, slashes and ends of line too."""

    regex = "(?s:.+?)"
    part_isolating = False  # it may be several parts of the path


class Judge(Protocol):
    """Who tells whether a stream is well."""

    def judge(self, channel: ChannelValue, now: float) -> VerdictFacts:
        """Return what is thought of it now."""


def blueprint(source: Source, verdicts: Judge, clock: Callable[[], float] = monotonic) -> Blueprint:
    """Make the routes of the API. Each blocks as long as `source` does."""
    routes = Blueprint("v3", __name__, url_prefix="/v3")
    routes.record_once(lambda state: state.app.url_map.converters.update(channel=NameConverter))
    routes.register_error_handler(Refused, refused)
    routes.add_url_rule("/openapi.json", view_func=openapi)
    _add_facts(routes, source)
    _add_paths(routes, source, verdicts, clock)
    v3_recordings.add(routes, source)
    for name, kind in KINDS.items():
        _add_connections(routes, source, name, kind)
    return routes


def openapi() -> Response:
    """Answer with the description of all this."""
    return Response(_description(), mimetype="application/json")


def _add_facts(routes: Blueprint, source: Source) -> None:
    @routes.get("/info")
    def info() -> Response:
        told = source.processes()
        of_somebody(told)
        started = min(one["started_at"] for one in told.values)
        value = Info(
            version=told.values[0]["version"],
            started=rfc3339(started),
            rtmpsrv=AboutAll(missing=told.missing),
        )
        return answer({**value}, told.missing)

    @routes.get("/processes")
    def processes() -> Response:
        told = source.processes()
        of_somebody(told)
        items = [with_moments(one) for one in told.values]
        return answer({**ProcessList(items=items, rtmpsrv=AboutAll(missing=told.missing))}, told.missing)

    @routes.get("/events")
    def events() -> Response:
        after = places(request.args)
        channel = one(request.args, "channel")
        told = source.events(after, channel)
        of_somebody(told)
        items = [with_moments(event) for event in told.values]
        value = EventList(
            items=items,
            after=places_text({**after, **told.last}),  # who is silent goes on from where it was
            rtmpsrv=AboutAll(missing=told.missing),
        )
        return answer({**value}, told.missing)


def _add_paths(routes: Blueprint, source: Source, verdicts: Judge, clock: Callable[[], float]) -> None:
    @routes.get("/paths/list")
    def list_paths() -> Response:
        names = source.names()
        of_somebody(names)
        page, pages = page_of(names.values, request.args)
        told = source.channels(page) if page else Gathered[ChannelValue]([])  # no more than is shown
        missing = sorted({*names.missing, *told.missing})
        now = clock()
        value = PathList(
            itemCount=len(names.values),
            pageCount=pages,
            items=[path_item(channel, verdicts.judge(channel, now)) for channel in told.values],
            rtmpsrv=AboutAll(missing=missing),
        )
        return answer({**value}, missing)

    @routes.get("/paths/get/<channel:name>")
    def get_path(name: str) -> Response:
        channel, missing = _channel(source, name)
        ends = source.events({}, name)
        missing = sorted({*missing, *ends.missing})
        return answer({**path_item(channel, verdicts.judge(channel, clock()), ends.values)}, missing)

    @routes.get("/channels/<channel:name>/players")
    def players(name: str) -> Response:
        channel, missing = _channel(source, name)
        page, pages = page_of(channel["readers"], request.args)
        told = source.connections([reader for reader, _ in page]) if page else Gathered[ConnectionValue]([])
        missing = sorted({*missing, *told.missing})
        value = PlayerList(
            itemCount=len(channel["readers"]),
            pageCount=pages,
            items=[player_item(player) for player in told.values],  # who has just left is not in it
            rtmpsrv=AboutAll(missing=missing),
        )
        return answer({**value}, missing)

    @routes.post("/channels/<channel:name>/stop")
    def stop(name: str) -> Response:
        block_s, reason = block_and_reason(request.args)
        done = source.stop(name, block_s, reason)
        _allowed(done)
        if not any(done.values) and (done.missing or block_s is None):
            raise not_found(done, "nobody publishes this channel")
        return answer({**Stopped(status="ok", ended=any(done.values))}, done.missing)


def _add_connections(routes: Blueprint, source: Source, name: str, kind: Kind) -> None:
    def list_connections() -> Response:
        ids = source.ids()
        of_somebody(ids)
        found = [one for one, its in ids.values if its == kind]
        page, pages = page_of(found, request.args)
        told = source.connections(page) if page else Gathered[ConnectionValue]([])
        missing = sorted({*ids.missing, *told.missing})
        value = ConnectionList(
            itemCount=len(found),
            pageCount=pages,
            items=[connection_item(one) for one in told.values],
            rtmpsrv=AboutAll(missing=missing),
        )
        return answer({**value}, missing)

    def find(text: str) -> tuple[ConnectionValue, list[str]]:
        wanted = connection_id(text)
        told = source.connections([wanted])
        for value in told.values:
            if value["kind"] == kind:
                return value, told.missing
        raise not_found(told, "connection not found")

    def get(text: str) -> Response:
        value, missing = find(text)
        return answer({**connection_item(value)}, missing)

    def kick(text: str) -> Response:
        block_s, reason = block_and_reason(request.args)
        value, _ = find(text)
        done = source.kick(value["id"], block_s or 0.0, reason)
        _allowed(done)
        if not any(done.values):
            raise not_found(done, "connection not found")
        return answer({**Done(status="ok")}, done.missing)

    routes.add_url_rule(f"/{name}/list", f"{name}_list", list_connections)
    routes.add_url_rule(f"/{name}/get/<text>", f"{name}_get", get)
    routes.add_url_rule(f"/{name}/kick/<text>", f"{name}_kick", kick, methods=["POST"])


def _allowed(done: Gathered[bool | None]) -> None:
    """Raise Refused where a process could not do it without opening a channel that is closed."""
    if None in done.values:
        raise Refused(429, f"{MAX_BLOCKS} channels are blocked: lift a block first")


def _channel(source: Source, name: str) -> tuple[ChannelValue, list[str]]:
    told = source.channels([name])
    for channel in told.values:
        return channel, told.missing
    raise not_found(told, "path not found")


@lru_cache(maxsize=1)
def _description() -> bytes:
    return resources.files("rtmpsrv.web").joinpath("openapi.json").read_bytes()

"""`/control/drop/...` and `/control/record/...` as nginx-rtmp has them.

They end connections by application, stream, address or number, and start and stop recordings.

A GET that changes something is what nginx-rtmp's tools send; so pages of others, which a browser opens beside
the operator's, must not be able to send it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from flask import Blueprint, Response, request

from rtmpsrv.monitor.values import ConnectionValue
from rtmpsrv.web.source import Source
from rtmpsrv.web.stat import APP_STREAM, application_and_name

REASON: Final = "dropped through /control"
OWN_SITES: Final = ("same-origin", "none")  # of Sec-Fetch-Site; none: typed in
RECORD: Final = {"start": True, "stop": False}
FILTERS: Final[dict[str, Callable[[ConnectionValue], bool]]] = {
    "publisher": lambda one: one["state"] == "publish",
    "subscriber": lambda one: one["state"] == "read",
    "client": lambda one: one["state"] != "idle",
}


def blueprint(source: Source, url_layout: str) -> Blueprint:
    """Make the routes."""
    routes = Blueprint("control", __name__, url_prefix="/control")

    @routes.before_request
    def own_pages_only() -> Response | None:
        if from_elsewhere(request.method, request.headers.get):
            return _say("Not from a page in a browser. Programs may send this, or POST.", 403)
        return None

    # Without this one Flask would answer HEAD with what GET does.
    @routes.route("/drop/<who>", methods=["HEAD"])
    @routes.route("/record/<what>", methods=["HEAD"])
    def look(who: str = "", what: str = "") -> Response:
        return Response(status=405, headers={"Allow": "GET, POST"})

    @routes.route("/drop/<who>", methods=["GET", "POST"])
    def drop(who: str) -> Response:
        if who not in FILTERS:
            return _say(f"Undefined filter: {', '.join(FILTERS)} are known.", 400)
        if request.values.get("srv", "0") != "0":
            return _say("Server index out of range: there is one server, 0.", 400)
        gathered = source.connections()
        if gathered.nobody:
            return _say("No process of the server answered.", 503)
        meant = list(_meant(gathered.values, who, url_layout))
        if "clientid" in request.values and len({one["worker"] for one in meant}) > 1:
            return _say("Clients of several workers have this number: add addr, or app and name.", 409)
        dropped = sum(any(source.kick(one["id"], 0.0, REASON).values) for one in meant)
        return Response(str(dropped), mimetype="text/plain")

    @routes.route("/record/<what>", methods=["GET", "POST"])
    def record(what: str) -> Response:
        if what not in RECORD:
            return _say(f"Undefined: {', '.join(RECORD)} are known.", 400)
        application, name = request.values.get("app", ""), request.values.get("name", "")
        if not name:
            return _say("A name is needed, and with URL_LAYOUT=app-stream an app.", 400)
        channel = f"{application}/{name}" if url_layout == APP_STREAM else name
        before = _file_of(channel)
        done = source.record(channel, RECORD[what], "")
        if done.nobody:
            return _say("No process of the server answered.", 503)
        if not any(done.values):
            return Response(status=204)  # as nginx-rtmp, which then has done nothing
        return Response(f"{before or _file_of(channel)}", mimetype="text/plain")

    def _file_of(channel: str) -> str:
        found = [one["recording"] for one in source.channels([channel]).values]
        return next((one["file"] for one in found if one is not None), "")

    @routes.route("/<section>", methods=["GET", "POST"])
    @routes.route("/<section>/<path:rest>", methods=["GET", "POST"])
    def other(section: str, rest: str = "") -> Response:
        return _say("Only /control/drop and /control/record are here: this server does not redirect.", 404)

    return routes


def from_elsewhere(method: str, header: Callable[[str], str | None]) -> bool:
    """True when a page of another site may have made the browser send this.

    Browsers tell where a request comes from, but not over plain HTTP to another machine; there a GET for an
    image carries neither that nor an Origin, and still the browser's password. It does carry its User-Agent.
    """
    site = header("Sec-Fetch-Site")
    if site is not None:
        return site not in OWN_SITES
    return method == "GET" and "mozilla/" in (header("User-Agent") or "").lower()


def _meant(connections: list[ConnectionValue], who: str, url_layout: str) -> Iterator[ConnectionValue]:
    """Return those that all given arguments fit."""
    wanted = {
        name: request.values[name] for name in ("app", "name", "addr", "clientid") if name in request.values
    }
    for one in connections:
        if not FILTERS[who](one):
            continue
        application, name = application_and_name(one["channel"], url_layout)
        facts = {"app": application, "name": name, "addr": one["remote_ip"], "clientid": str(one["number"])}
        if all(facts[argument] == value for argument, value in wanted.items()):
            yield one


def _say(sentence: str, status: int) -> Response:
    return Response(f"{sentence}\n", status, mimetype="text/plain")

"""The page's stream of server-sent events, and what a page wants to see of a channel."""

from __future__ import annotations

from flask import Blueprint, Response, jsonify, request

from .depth import view_of
from .poller import Poller

HEADERS = {
    "Cache-Control": "no-cache, no-transform",
    "X-Accel-Buffering": "no",  # nginx: pass each message on as it comes
}
RETRY_AFTER_S = 10


def blueprint(poller: Poller) -> Blueprint:
    """Return the routes."""
    routes = Blueprint("live_events", __name__)

    @routes.get("/events")
    def events() -> Response:
        """Answer with everything, then what changes, until the page goes."""
        if request.method == "HEAD":  # a page that was refused asks why
            return _full() if poller.full else Response(content_type="text/event-stream", headers=HEADERS)
        listener = poller.join()
        if listener is None:
            return _full()
        answer = Response(listener.messages(), content_type="text/event-stream", headers=HEADERS)
        answer.call_on_close(lambda: poller.leave(listener))
        return answer

    @routes.post("/events/view")
    def view() -> tuple[Response, int]:
        """Let a page's stream tell of one channel, or of none again."""
        try:
            asked = request.get_json(silent=True)
        except RecursionError:  # brackets in brackets in brackets
            asked = None
        wanted = view_of(asked)
        if not isinstance(asked, dict) or wanted is None:
            return jsonify(status="error", error="not a view"), 400
        if not poller.look(str(asked.get("listener", "")), wanted):
            return jsonify(status="error", error="no such listener"), 404
        return jsonify(status="ok"), 200

    return routes


def _full() -> Response:
    answer = jsonify(status="error", error="too many pages are open")
    answer.status_code = 503
    answer.headers["Retry-After"] = str(RETRY_AFTER_S)
    return answer

"""The routes put together: who is let in, what they are, and what is said when something goes wrong."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic

import flask
from werkzeug.exceptions import HTTPException

from rtmpsrv.access.refusals import RefusalDelay
from rtmpsrv.api_settings import users_of
from rtmpsrv.config import Config
from rtmpsrv.few_lines import FewLines
from rtmpsrv.log import Logger, RateLimited
from rtmpsrv.web import control, headers, health, live_events, metrics, page, stat, v3
from rtmpsrv.web.guard import CHALLENGES, Guard, Refusal, who
from rtmpsrv.web.handler import DELAY, described
from rtmpsrv.web.head import MAX_BODY_BYTES
from rtmpsrv.web.poller import Poller
from rtmpsrv.web.source import Source
from rtmpsrv.web.verdict import Verdicts

API: tuple[str, ...] = ("/v3/", "/events")  # where errors are JSON
CHANGING_BY_GET = "control"  # routes
CHANGING = frozenset(
    {"v3.stop", "v3.start_recording", "v3.stop_recording", "control.drop", "control.record"}
    | {f"v3.{name}_kick" for name in v3.KINDS}
)  # who did it is logged
MAX_PATH = 300


class Site:
    """The application, with all that is in force on every route; which there are is not its business."""

    def __init__(self, config: Config, log: Logger) -> None:
        self.app = flask.Flask("rtmpsrv.web", static_folder=None, template_folder=None)
        self.app.url_map.merge_slashes = False  # a channel's name may have two
        self.app.config["MAX_CONTENT_LENGTH"] = MAX_BODY_BYTES
        self.close: Callable[[], None] = lambda: None  # ends what never ends by itself
        self._done = FewLines(lambda text: log.info("%s", text))
        self._failed = FewLines(lambda text: log.error("%s", text))
        self._guard = Guard(config.api_token, users_of(config.api_users))
        self._refused_last = ""
        self._delay = RefusalDelay()  # who guesses gets slower; who knows, never
        self._refused = RateLimited(
            lambda count: log.info(
                "requests without rights: %d, the last from %s", count, self._refused_last
            ),
            interval_s=10.0,
        )
        self.app.before_request(self._let_in)
        self.app.after_request(self._complete)
        self.app.register_error_handler(HTTPException, self._tell)
        self.app.register_error_handler(Exception, self._fail)

    def _let_in(self) -> flask.Response | None:
        refusal = self._guard.judge(flask.request.environ, changes=flask.request.blueprint == CHANGING_BY_GET)
        if refusal is None:
            return None
        address = self._refused_last = flask.request.remote_addr or ""
        if refusal.status == 401 and "Authorization" in flask.request.headers:
            flask.request.environ[DELAY] = self._delay.refused(address, monotonic())
        self._refused.add()
        return _refused(refusal)

    def _complete(self, response: flask.Response) -> flask.Response:
        request = flask.request
        if request.endpoint in CHANGING and request.method in ("GET", "POST") and response.status_code < 300:
            self._done.add(f"{ascii(request.path)[1:-1][:MAX_PATH]} by {who(request.environ)}")
        for name, value in headers.ALWAYS.items():
            response.headers.setdefault(name, value)
        response.headers.setdefault("Cache-Control", headers.NOT_KEPT)
        return response

    def _tell(self, exc: HTTPException) -> flask.Response:
        """Answer what Werkzeug raises: no route, no such method, too long."""
        status = exc.code or 500
        answer = _error(status, headers.reason_of(status).lower())
        for name, value in exc.get_headers():
            if name.lower() not in ("content-type", "content-length"):
                answer.headers[name] = value
        return answer

    def _fail(self, exc: Exception) -> flask.Response:
        """Let a bug of ours cost this one answer."""
        self._failed.add(f"{flask.request.endpoint} failed: {described(exc)}")
        return _error(500, "internal error")


def make_site(source: Source, config: Config, log: Logger) -> Site:
    """Return the site with all its routes."""
    site = Site(config, log)
    verdicts = Verdicts()  # which remember: the same for all who show them
    poller = Poller(source, verdicts, config.url_layout)
    site.close = poller.close
    for routes in (
        v3.blueprint(source, verdicts),
        stat.blueprint(source, config.url_layout),
        control.blueprint(source, config.url_layout),
        metrics.blueprint(source, config.metrics_per_channel, verdicts, seen_lately=poller.seen_lately),
        health.blueprint(source),
        live_events.blueprint(poller),
        page.blueprint(),
    ):
        site.app.register_blueprint(routes)
    return site


def _refused(refusal: Refusal) -> flask.Response:
    answer = _error(*refusal)
    if refusal.status == 401:
        for challenge in CHALLENGES:
            answer.headers.add("WWW-Authenticate", challenge)
    return answer


def _error(status: int, sentence: str) -> flask.Response:
    if flask.request.path.startswith(API):
        return flask.Response(headers.error_body(sentence), status, content_type="application/json")
    return flask.Response(f"{sentence}\n", status, content_type="text/plain; charset=utf-8")

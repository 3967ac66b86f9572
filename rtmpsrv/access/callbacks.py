"""The HTTP callback: one POST asks whether a publication may start, one tells that it ended
(docs/callbacks.md).

`start` is asked in the publisher's own greenlet and has a deadline. `stop` never holds up a session: it is
queued per channel, in order, and tried again until the server takes it or it is given up, with a line in
the log. Cooperates with other greenlets only where `gevent.monkey` patched the sockets.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from http.client import HTTPException
from urllib.parse import urlsplit

import gevent
import requests
import urllib3.exceptions
from gevent.event import Event
from gevent.lock import BoundedSemaphore
from gevent.pool import Group

from rtmpsrv.access.backoff import Backoff, describe
from rtmpsrv.access.callback_http import MAX_BODY_BYTES, make_session
from rtmpsrv.access.gate import Grant, PublishRequest, refusal
from rtmpsrv.access.give_way import GiveWay
from rtmpsrv.access.tokens import callback_token
from rtmpsrv.access.trust import Trust
from rtmpsrv.log import Logger

CONNECT_TIMEOUT_S = 5.0  # docs/callbacks.md, "Deadlines"
TOTAL_TIMEOUT_S = 20.0
STOP_BACKLOG = 10_000  # stops that may wait, over all channels
STOP_CONCURRENCY = 128  # requests for stops at one time; those of a hung channel are a few of them
STOP_GIVE_UP_S = 300.0
STOP_FIRST_S = 3.0  # how long a start lets the unfinished stop of its own channel go first
MAX_ANSWER_WAIT_S = 1.0
TRY_AGAIN_STATUS = frozenset({408, 425, 429})  # and 5xx: the server says that it is not the request's fault

HTTP_ERRORS = (OSError, ValueError, HTTPException, urllib3.exceptions.HTTPError)


class CallbackTimeout(OSError):
    """The callback did not answer within the total deadline."""


class _StopLine:
    """The stops of one channel that still have to go out, oldest first; one greenlet serves it."""

    __slots__ = ("done", "grants", "hurry", "sending")

    def __init__(self, grant: Grant) -> None:
        self.grants = deque([grant])
        self.done = Event()
        self.sending = False  # the first one is on its way
        self.hurry = Event()  # a start of this channel waits: do not sit out the back-off


class CallbackAuthority:
    """Ask the operator's HTTP server."""

    key_names_stream = False

    def __init__(
        self,
        url: str,
        *,
        jwt_secret: str,
        log: Logger,
        give_way: GiveWay,
        subject: str = "",
        rtmp_host: str = "",
        rtmp_port: int = 1935,
        connect_timeout_s: float = CONNECT_TIMEOUT_S,
        timeout_s: float = TOTAL_TIMEOUT_S,
        ca: str = "",
        backoff: type[Backoff] = Backoff,
        stop_backlog: int = STOP_BACKLOG,
        stop_give_up_s: float = STOP_GIVE_UP_S,
        stop_first_s: float = STOP_FIRST_S,
    ) -> None:
        self._url = url
        self._shown_url = _without_secrets(url)
        self._jwt_secret = jwt_secret
        self._subject = subject
        self._rtmp_host = rtmp_host
        self._rtmp_port = rtmp_port
        self._connect_timeout_s = connect_timeout_s
        self._timeout_s = timeout_s
        self._log = log
        self._backoff = backoff
        self._stop_backlog = stop_backlog
        self._stop_give_up_s = stop_give_up_s
        self._stop_first_s = stop_first_s
        self._http = make_session(give_way, Trust(ca))
        self._stop_slots = BoundedSemaphore(STOP_CONCURRENCY)
        self._stop_lines: dict[str, _StopLine] = {}
        self._stops_waiting = 0
        self._no_stops = Event()
        self._no_stops.set()
        self._workers = Group()
        self._closed = False
        self.on_reported: Callable[[Grant], None] = lambda grant: None  # delivered, or given up for good

    def authorise(self, request: PublishRequest) -> str:
        """Return the stream id that the callback chose. Blocks up to `timeout_s`. Raises AccessDenied."""
        deadline = time.monotonic() + self._timeout_s
        earlier = self._stop_lines.get(request.channel)
        if earlier is not None:
            earlier.hurry.set()
            earlier.done.wait(min(self._stop_first_s, self._timeout_s / 2))
        try:
            answer = self._post("start", request, deadline - time.monotonic())
        except HTTP_ERRORS as exc:
            self._log.warning(
                "start failed channel=%s url=%s reason=%s", request.channel, self._shown_url, describe(exc)
            )
            late = isinstance(exc, CallbackTimeout)
            variable = "CALLBACK_TIMEOUT_SECONDS" if late else "CALLBACK_URL"
            raise refusal("the callback did not answer", variable) from None  # the cause quotes URLs
        if answer.status_code != 200:
            self._log.info("start refused channel=%s status=%d", request.channel, answer.status_code)
            raise refusal(f"refused by the callback (status {answer.status_code})", "CALLBACK_URL")
        stream_id = _stream_id(answer)
        self._log.debug("start accepted channel=%s stream_id=%s", request.channel, stream_id)
        return stream_id

    def ended(self, grant: Grant) -> None:
        """Queue the `stop` of a publication. Never blocks."""
        if self._closed or self._stops_waiting >= self._stop_backlog:
            self._give_up(grant, "closed" if self._closed else "too many stops are waiting")
            if not self._closed:
                self.on_reported(grant)
            return
        self._stops_waiting += 1
        self._no_stops.clear()
        line = self._stop_lines.get(grant.channel)
        if line is None:
            line = self._stop_lines[grant.channel] = _StopLine(grant)
            self._workers.spawn(self._serve, grant.channel, line)
        else:
            line.grants.append(grant)

    def take_unsent(self) -> list[Grant]:
        """Give up, for another process to send, the stops that are not on their way. Never blocks."""
        taken: list[Grant] = []
        for line in self._stop_lines.values():
            kept = deque(list(line.grants)[: line.sending])
            taken += list(line.grants)[len(kept) :]
            line.grants = kept
            line.hurry.set()  # whoever waits to try again has nothing left to try
        self._count_down(len(taken))
        return taken

    def wait_idle(self, timeout_s: float) -> bool:
        """Wait until every stop was delivered or given up. Blocks up to `timeout_s`."""
        for line in self._stop_lines.values():
            line.hurry.set()
        return bool(self._no_stops.wait(timeout_s))

    def close(self) -> None:
        """Give up the stops that are left. Blocks for a second at most."""
        self._closed = True
        self._workers.kill(timeout=1.0)
        self._http.close()

    def _serve(self, channel: str, line: _StopLine) -> None:
        try:
            while line.grants:
                grant = line.grants[0]
                self._deliver(line, grant)
                if line.grants and line.grants[0] is grant:
                    self.on_reported(line.grants.popleft())
                    self._count_down(1)
        finally:
            # Stops are left only after close() or a bug: the count must be right all the same.
            for grant in line.grants:
                self._give_up(grant, "server is shutting down")
            self._count_down(len(line.grants))
            del self._stop_lines[channel]
            line.done.set()

    def _count_down(self, stops: int) -> None:
        self._stops_waiting -= stops
        if not self._stops_waiting:
            self._no_stops.set()

    def _deliver(self, line: _StopLine, grant: Grant) -> None:
        backoff = self._backoff()
        give_up_at = time.monotonic() + self._stop_give_up_s
        while True:
            problem = self._try_stop(line, grant)
            if problem is None:
                return
            wait_s = backoff.next_s()
            if time.monotonic() + wait_s >= give_up_at:
                self._give_up(grant, problem)
                return
            self._log.warning(
                "stop failed, will be tried again channel=%s stream_id=%s url=%s reason=%s",
                grant.channel,
                grant.stream_id,
                self._shown_url,
                problem,
            )
            if line.hurry.wait(wait_s):
                line.hurry.clear()
            if not line.grants or line.grants[0] is not grant:
                return  # it was taken away

    def _try_stop(self, line: _StopLine, grant: Grant) -> str | None:
        """Send one `stop`; return why to send it again, or None: it has arrived, or was taken away."""
        with self._stop_slots:
            if not line.grants or line.grants[0] is not grant:
                return None
            line.sending = True
            try:
                answer = self._post("stop", grant, self._timeout_s)
            except HTTP_ERRORS as exc:
                return describe(exc)
            finally:
                line.sending = False
        status = answer.status_code
        self._log.debug("stop sent channel=%s stream_id=%s status=%d", grant.channel, grant.stream_id, status)
        return f"status {status}" if status >= 500 or status in TRY_AGAIN_STATUS else None

    def _give_up(self, grant: Grant, reason: str) -> None:
        self._log.error(
            "stop given up channel=%s stream_id=%s reason=%s", grant.channel, grant.stream_id, reason
        )

    def _post(self, event: str, about: PublishRequest | Grant, budget_s: float) -> requests.Response:
        """Send one event; return the answer once its headers are here. Blocks up to `budget_s`."""
        # client_ip is null on stop, stream_id on start: docs/callbacks.md, "What is asked, and when".
        token = callback_token(
            event,
            secret=self._jwt_secret,
            subject=self._subject,
            channel=about.channel,
            key=about.key,
            client_ip=None if isinstance(about, Grant) else about.client_ip,
            stream_id=about.stream_id if isinstance(about, Grant) else None,
            rtmp_host=self._rtmp_host,
            rtmp_port=self._rtmp_port,
        )
        # It fires however much the server sends: reading gives way.
        timer = gevent.Timeout(max(budget_s, 0.001))
        with timer:
            try:
                return self._exchange(token)
            except gevent.Timeout as exc:
                if exc is not timer:
                    raise
                raise CallbackTimeout(f"no answer within {self._timeout_s:g} s") from None

    def _exchange(self, token: str) -> requests.Response:
        try:
            return self._send(token)
        except requests.ConnectionError as exc:
            if not _closed_before_answering(exc):
                raise
            # A server that closes idle connections (node: after 5 s) may do so just as one is used again.
            return self._send(token)

    def _send(self, token: str) -> requests.Response:
        answer = self._http.post(
            self._url,
            headers={"rtmp-event": token},
            timeout=(self._connect_timeout_s, self._timeout_s),
            allow_redirects=False,  # the token is for this URL only
            stream=True,
        )
        _throw_body_away(answer)
        return answer


def _throw_body_away(answer: requests.Response) -> None:
    """Read a short body so that the connection can be used again; whatever it is, it changes no decision."""
    timer = gevent.Timeout(MAX_ANSWER_WAIT_S)
    with timer:
        try:
            read_bytes = 0
            for block in answer.iter_content(8192):
                read_bytes += len(block)
                if read_bytes > MAX_BODY_BYTES:
                    break
        except gevent.Timeout as exc:
            if exc is not timer:
                raise
        except HTTP_ERRORS:
            pass  # the status is known, and the connection gets closed below
        finally:
            answer.close()


def _closed_before_answering(error: requests.ConnectionError) -> bool:
    inner = error.args[0] if error.args else None
    if not isinstance(inner, urllib3.exceptions.ProtocolError):
        return False
    return any(isinstance(argument, ConnectionError) for argument in inner.args)


def _stream_id(answer: requests.Response) -> str:
    """Return the text of the first such header, or "" where it holds more than printable ASCII."""
    given = answer.raw.headers.getlist("stream-id")  # those of `requests` are joined
    text = given[0].strip() if given else ""
    return text if text.isascii() and text.isprintable() else ""


def _without_secrets(url: str) -> str:
    """Return a URL for the log: without user, password and query."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return "(not a URL)"
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"

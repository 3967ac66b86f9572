"""The control server: asks it over one websocket who may publish, and does as it says
(docs/control.md).

`Coordinator` is the authority and keeps the link up in a background greenlet; one connection, while it
lasts, is in control_link.py. A lost link ends every publication, since the control server forgets this
server's channels with it.
"""

from __future__ import annotations

import errno
import itertools
from collections.abc import Callable
from urllib.parse import urljoin, urlsplit

import gevent
from gevent.event import Event

from rtmpsrv.access.backoff import Backoff, describe, keep_trying, stop_trying
from rtmpsrv.access.control_link import CLOSE_TIMEOUT_S, LINK_ERRORS, ControlLink, ControlSocket
from rtmpsrv.access.gate import Grant, PublishRequest, refusal
from rtmpsrv.access.give_way import GiveWay
from rtmpsrv.access.tokens import control_token
from rtmpsrv.access.trust import Trust
from rtmpsrv.errors import AccessDenied, ConfigError
from rtmpsrv.log import Logger

PATH = "./ws/control/rtmp"
REQUEST_TIMEOUT_S = 20.0  # docs/control.md, "Timings"
HEARTBEAT_S = 20.0
SILENCE_S = 60.0
CONNECT_TIMEOUT_S = 10.0
STABLE_AFTER_S = 10.0  # a link that lived this long resets the back-off


class LinkLost(ConnectionError):
    """The link ended; the text says why and quotes nothing that the peer sent."""


def resolve_url(base_url: str) -> str:
    """Return the address of the control link below a base address (docs/control.md). Raises ConfigError."""
    if urlsplit(base_url).scheme not in ("ws", "wss"):
        raise ConfigError(["CONTROL_BASE_URL must begin with ws:// or wss://"])
    return urljoin(base_url, PATH)


class Coordinator:
    """Ask the control server. `on_stream_kill` (id None: any) and `on_link_lost` must not block."""

    key_names_stream = False

    def __init__(
        self,
        base_url: str,
        *,
        secret: str,
        log: Logger,
        validation_log: Logger,
        give_way: GiveWay,
        external_ip: str = "",
        external_port: str = "",
        external_ssl: bool = False,
        ca: str = "",
        request_timeout_s: float = REQUEST_TIMEOUT_S,
        heartbeat_s: float = HEARTBEAT_S,
        silence_s: float = SILENCE_S,
        connect_timeout_s: float = CONNECT_TIMEOUT_S,
        backoff: Backoff | None = None,
        stable_after_s: float = STABLE_AFTER_S,
    ) -> None:
        self._url = resolve_url(base_url) if base_url else ""
        parts = urlsplit(self._url)
        self._shown_url = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
        self._secret = secret
        self._log = log
        self._validation_log = validation_log
        self._headers = _external_headers(external_ip, external_port, external_ssl)
        self._trust = Trust(ca)
        self._give_way = give_way
        self._request_timeout_s = request_timeout_s
        self._heartbeat_s = heartbeat_s
        self._silence_s = silence_s
        self._connect_timeout_s = connect_timeout_s
        self._backoff = backoff or Backoff()
        self._stable_after_s = stable_after_s
        self._request_ids = itertools.count(1)  # never begins again while the process lives
        self._link: ControlLink | None = None
        self._connected = Event()
        self._tried = Event()  # cleared while the very first attempt to connect is under way
        self._tried.set()
        self._greenlet: gevent.Greenlet[..., None] | None = None
        self.on_link_lost: Callable[[], None] = lambda: None
        self.on_stream_kill: Callable[[str, str | None], bool] = lambda channel, stream_id: False

    def start(self) -> None:
        """Begin to connect, in a greenlet of its own. Never blocks."""
        if not self._url:
            self._log.error("CONTROL_BASE_URL is not set: every publisher will be refused")
        elif self._greenlet is None:
            self._tried.clear()
            self._greenlet = gevent.spawn(self._run)

    def wait_connected(self, timeout_s: float) -> bool:
        """Wait until the link is up; return whether it is. Blocks up to `timeout_s`."""
        return bool(self._connected.wait(timeout_s))

    @property
    def connected(self) -> bool:
        """Whether the link is up."""
        return self._link is not None

    def authorise(self, request: PublishRequest) -> str:
        """Return the stream id that the control server chose, or raise AccessDenied.

        Blocks up to `request_timeout_s`, while the process starts twice that.
        """
        # Publishers that were cut by a restart come back as soon as the port is open.
        self._tried.wait(self._request_timeout_s)
        link = self._link
        if link is None:
            self._validation_log.warning("refused, no control link channel=%s", request.channel)
            raise _no_link()
        request_id = next(self._request_ids)
        answer = link.ask(request_id, request)
        waited = False
        try:
            answer.wait(self._request_timeout_s)
            waited = True
        finally:
            # Also when the session is killed while it waits: an ACCEPT that nobody uses must be taken back.
            if not waited or not answer.ready():
                link.abandon(request_id, request.channel, answer)
        if not answer.ready():
            self._validation_log.warning(
                "no answer within %g s channel=%s request=%d",
                self._request_timeout_s,
                request.channel,
                request_id,
            )
            raise refusal("the control server did not answer", "CONTROL_REQUEST_TIMEOUT_SECONDS")
        stream_id: str | None = answer.get_nowait()
        if stream_id is None:
            self._validation_log.debug("refused channel=%s request=%d", request.channel, request_id)
            if self._link is not link:
                raise _no_link()
            raise refusal("refused by the control server", "CONTROL_BASE_URL")
        self._validation_log.debug("accepted channel=%s stream_id=%s", request.channel, stream_id)
        return stream_id

    def ended(self, grant: Grant) -> None:
        """Queue a PUBLISH-END on the link, if there is one; without it the other side knows. Never blocks."""
        if self._link is not None:
            self._link.send_end(grant.channel, grant.stream_id)

    def wait_idle(self, timeout_s: float) -> bool:
        """Wait until all that was queued is written. Blocks up to `timeout_s`."""
        return self._link is None or bool(self._link.written.wait(timeout_s))

    def close(self) -> None:
        """End the link and refuse who waits for an answer. Blocks for a few seconds at most."""
        if self._greenlet is not None:
            stop_trying(self._greenlet, 3 * CLOSE_TIMEOUT_S)
            self._greenlet = None

    def _run(self) -> None:
        keep_trying(
            self._live_through_one_link,
            expected=LINK_ERRORS,
            failed=self._tell_failure,
            backoff=self._backoff,
            stable_after_s=self._stable_after_s,
            log=self._log,
        )

    def _tell_failure(self, error: Exception, wait_s: float) -> None:
        self._tried.set()
        if isinstance(error, LinkLost):
            self._log.error("Disconnected: %s, next attempt in %.1f s", error, wait_s)
        else:
            self._log.error("Cannot connect: %s, next attempt in %.1f s", describe(error), wait_s)

    def _live_through_one_link(self) -> None:
        link = ControlLink(self._connect(), self._log, self.on_stream_kill)
        self._log.info("Connected: %s", self._shown_url)
        self._link = link
        self._connected.set()
        self._tried.set()
        try:
            raise LinkLost(link.run(self._heartbeat_s, self._silence_s))
        finally:
            # No switch to another greenlet before the end of on_link_lost: nobody sees half of a loss.
            self._connected.clear()
            self._link = None
            link.refuse_all()
            try:
                self.on_link_lost()
            finally:
                link.hang_up()

    def _connect(self) -> ControlSocket:
        secure = urlsplit(self._url).scheme == "wss"
        socket = ControlSocket({"context": self._trust.context()} if secure else None, self._give_way.share())
        # An OSError, not the timer's own exception: the library then closes the socket of an unfinished
        # connect(). It fires however much the server sends: reading gives way.
        too_slow = TimeoutError(errno.ETIMEDOUT, f"not connected within {self._connect_timeout_s:g} s")
        with gevent.Timeout(self._connect_timeout_s, too_slow):
            socket.connect(  # type: ignore[no-untyped-call]  # the library has no hint here
                self._url,
                header=[*self._headers, f"x-control-auth-token: {control_token(self._secret)}"],
                timeout=self._connect_timeout_s,
                redirect_limit=0,  # the token is for this address only
            )
        return socket


def _no_link() -> AccessDenied:
    return refusal("the control server is not connected", "CONTROL_BASE_URL")


def _external_headers(ip: str, port: str, ssl: bool) -> list[str]:
    """Return the headers that say how this server is reached from outside. Raises ConfigError."""
    headers = []
    for variable, name, value in (
        ("EXTERNAL_IP", "x-external-ip", ip),
        ("EXTERNAL_PORT", "x-custom-port", port),
        ("EXTERNAL_SSL", "x-ssl-use", "true" if ssl else ""),
    ):
        if not (value.isascii() and value.isprintable()):
            raise ConfigError([f"{variable} holds characters that no HTTP header may hold"])
        if value:
            headers.append(f"{name}: {value}")
    return headers

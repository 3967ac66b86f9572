"""A listening port: accepts, counts, and hands each connection to a session in a greenlet of its own."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable
from posix import close  # that of `os` is replaced by gevent's, which asks the hub each time
from time import monotonic
from typing import Any

import gevent
from gevent import socket as gsocket
from gevent.pool import Group
from gevent.server import StreamServer

from .. import log
from ..errors import CannotMove
from .binding import adopted, bind
from .host import Client, Host
from .parts import ServerParts, Slots
from .proxies import read_header
from .proxy_protocol import BadHeader, ProxyHeader
from .served import Served, State
from .session import Session
from .session_state import Frozen, SessionState, begin
from .tally import PROXY
from .transport import PlainTransport, Transport
from .trim import Trim

EXHAUSTED = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}
ACCEPT_PAUSE_S = 0.1  # after running out of descriptors
# In one round of the loop, which gives the greenlets that are ready 5 ms. More than can begin and end in that
# time pile up: with gevent's 100, four loops of connect and close held 1,300 descriptors.
MAX_ACCEPT = 4
MAX_COMING_AGAIN = 200  # connections that are about to end and count no more


class Listener(StreamServer):
    """One plain RTMP port. `start` raises OSError when the address cannot be bound."""

    prefix = "SERVER:TCP"
    protocol = "rtmp"
    form = ""  # of its clients, as long as they have said no more
    secure = False
    max_accept = MAX_ACCEPT

    def __init__(
        self, address: str, port: int, host: Host, parts: ServerParts, descriptor: int | None = None
    ) -> None:
        """Bind an address, or take over a socket that listens already, whose descriptor is given."""
        self.log = log.get(self.prefix)
        self.sessions: set[Served] = set()
        self._by_id: dict[str, Served] = {}  # the same
        self.greenlets = Group()
        self._beginning: set[Any] = set()  # greenlets of connections that have no session yet
        self._coming_again: set[_Slot] = set()
        self._last_refused = ""
        self._refused_headers = log.RateLimited(
            lambda n: self.log.info("refused from proxies: %d, the last %s", n, self._last_refused)
        )
        self._address = address.strip("[]")
        self.host = host
        self._parts = parts
        self._resume_timer: object = None
        self._paused = False
        self._trim = Trim(parts.clock)
        self._accept_errors = log.RateLimited(
            lambda n: self.log.error("accept failed %d times: out of descriptors or memory", n)
        )
        sock = bind(self._address, port) if descriptor is None else adopted(descriptor)
        self.port: int = sock.getsockname()[1]
        self._told_address = self._address if descriptor is None else sock.getsockname()[0]  # for people
        # gevent's stubs know handlers of a socket and an address, but not that the address is a tuple.
        super().__init__(sock, self._serve, spawn=self.greenlets.spawn)  # type: ignore[call-overload]

    def start(self) -> None:
        """Listen, and say so."""
        super().start()
        fields = {"event": "listening", "address": self._told_address, "port": self.port}
        self.log.info("Listening on %s:%d", self._told_address, self.port, extra={"fields": fields})

    def do_read(self) -> tuple[gsocket.socket, Any]:
        """Accept one connection; running out of descriptors pauses the listener, it does not end it."""
        try:
            return super().do_read()
        except OSError as exc:
            if exc.errno not in EXHAUSTED:
                raise
            self._accept_errors.add()
            self.stop_accepting()
            self._resume_timer = self._parts.clock.call_later(ACCEPT_PAUSE_S, self._resume)
            return None  # type: ignore[return-value]  # gevent: nothing to handle

    def _resume(self) -> None:
        self._resume_timer = None
        if self.started and not self._paused:
            self.start_accepting()

    def _serve(self, sock: gsocket.socket, peer: tuple[Any, ...]) -> None:
        """Run in the connection's greenlet: find out whose it is, take a slot, serve, give it back."""
        accepted_at = monotonic()
        address = str(peer[0])
        if address in self._parts.proxies.addresses:
            self._serve_proxied(sock, address, accepted_at)
        else:
            self._serve_client(sock, address, self.secure, accepted_at)

    def _serve_client(self, sock: gsocket.socket, address: str, secure: bool, accepted_at: float) -> None:
        refusal = self._parts.slots.admit(address)
        if refusal is not None:
            self.log.info("Rejected request from %s due to connection limit: %s", address, refusal)
            self._parts.tally.rejected(address, secure, refusal)
            sock.close()
            return
        self._parts.tally.accepted()
        slot = _Slot(self._parts.slots, address, self._coming_again)
        try:
            self._run_session(sock, address, secure, accepted_at, slot.leave_early)
        finally:
            slot.leave()

    def _serve_proxied(self, sock: gsocket.socket, proxy: str, accepted_at: float) -> None:
        """Serve the client that a proxy names; what is the proxy's own, such as a probe, takes no slot."""
        proxies = self._parts.proxies
        if not proxies.begin():
            self._refuse_proxied(sock, proxy, f"limit of {proxies.most_unnamed} connections without a client")
            return
        address = ""
        try:
            header = self._read_header(sock, proxy, accepted_at)
            if header is None:
                return
            address, secure = header.address, header.secure or self.secure
            if not address:
                self._run_session(sock, proxy, secure, accepted_at)
        finally:
            proxies.end()
        if address:
            self._serve_client(sock, address, secure, accepted_at)

    def _read_header(self, sock: gsocket.socket, proxy: str, accepted_at: float) -> ProxyHeader | None:
        """Read what the proxy says; None when that is nothing or wrong, and the socket is closed."""
        header: ProxyHeader | None = None
        current = gevent.getcurrent()
        limit_s = self._parts.settings.handshake_s
        late = TimeoutError(f"no PROXY header within {limit_s:g} s")
        self._beginning.add(current)
        try:
            with gevent.Timeout(max(0.0, accepted_at + limit_s - monotonic()), late):
                header = read_header(sock)
            if header is None:
                self.log.debug("%s connected and left without a byte", proxy)
        except (BadHeader, OSError) as exc:
            self._refuse_proxied(sock, proxy, str(exc))
        finally:
            self._beginning.discard(current)
            if header is None:
                sock.close()
        return header

    def _refuse_proxied(self, sock: gsocket.socket, proxy: str, why: str) -> None:
        self._last_refused = f"{proxy}: {why} (PROXY_PROTOCOL_FROM)"
        self._refused_headers.add()
        self._parts.tally.handshake_failed(PROXY)
        sock.close()

    def _serve_adopted(self, frozen: Frozen) -> None:
        sock = adopted(frozen.descriptor)
        try:
            self._run(frozen.state, PlainTransport(sock))
        finally:
            if isinstance(frozen.state, SessionState):  # others give it back by themselves
                self._parts.slots.release(frozen.state.client.ip)
            sock.close()

    def _open(self, sock: gsocket.socket, address: str, accepted_at: float) -> Transport | None:
        """Return what a session reads from and writes to; None when the connection is over.

        `TlsListener` does its handshake in here.
        """
        return PlainTransport(sock)

    def _run_session(
        self,
        accepted: gsocket.socket,
        address: str,
        secure: bool,
        accepted_at: float,
        comes_again: Callable[[], None] = lambda: None,
    ) -> None:
        accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        transport = self._open(accepted, address, accepted_at)
        if transport is None:
            return
        client = Client(next(self._parts.numbers), address, self.port, secure, form=self.form)
        self._run(self._begin(client, accepted_at), transport, comes_again)

    def _begin(self, client: Client, accepted_at: float) -> State:
        return begin(client, self._parts.settings, accepted_at)

    def _run(
        self, state: State, transport: Transport, comes_again: Callable[[], None] = lambda: None
    ) -> None:
        logger = log.session_logger(self.prefix, state.client.number)
        session: Served
        if isinstance(state, SessionState):
            session = Session(state, transport, self.host, self._parts, logger, comes_again)
        else:
            from .http.session import HttpSession  # nobody else needs libraries for it

            session = HttpSession(state, transport, self._parts, logger)
        self.sessions.add(session)
        self._by_id[session.client.id] = session
        try:
            session.run()
        finally:
            self._forget(session)
            self._trim.freed(state.bytes_in)

    def find(self, connection_id: str) -> Served | None:
        """Return the session of a connection, None where it is not here. Never blocks."""
        return self._by_id.get(connection_id)

    def _forget(self, session: Served) -> None:
        self.sessions.discard(session)
        # Else it has moved, and is here again as another one.
        if self._by_id.get(session.client.id) is session:
            del self._by_id[session.client.id]

    @property
    def bound_to(self) -> tuple[str, int]:
        """Where it listens: the address as it was configured, and the port."""
        return self._address, self.port

    def pause(self) -> None:
        """Accept nobody until `resume`; the kernel holds newcomers. Never blocks."""
        self._paused = True
        self.stop_accepting()

    def resume(self) -> None:
        """Accept again; also begins, without a word, where `start` was never called. Never blocks."""
        self._paused = False
        super().start()

    def release(self, session: Served) -> Frozen:
        """Freeze a session of this port. Never blocks. Raises CannotMove, and nothing was changed."""
        try:
            # gevent closes the descriptor that it accepted when the session's greenlet ends.
            descriptor = os.dup(session.fileno())
        except OSError as exc:
            raise CannotMove(exc.strerror or str(exc)) from exc
        try:
            state = session.freeze()
        except CannotMove:
            close(descriptor)
            raise
        self._forget(session)
        if state.holds_slot:
            state.slot = self._parts.slots.depart(state.client.ip)
        return Frozen(state, descriptor)

    def adopt(self, frozen: Frozen) -> None:
        """Let a session go on that another process, or this one, has frozen. Never blocks."""
        if frozen.state.holds_slot:
            self._parts.slots.arrive(frozen.state.slot, frozen.state.client.ip)
        self.greenlets.spawn(self._serve_adopted, frozen)

    def describe(self) -> dict[str, Any]:
        """Return what an operator wants to know."""
        return {
            "protocol": self.protocol,
            "address": self._told_address,
            "port": self.port,
            "secure": self.secure,
            "accepting": self.started and not self._paused and self._resume_timer is None,
            "sessions": len(self.sessions),
        }

    def end_publications(self, reason: str) -> None:
        """Take every publisher of this port off the air; their players are told."""
        for session in list(self.sessions):
            session.end_publication(reason)

    def stop_sessions(self, reason: str, timeout_s: float) -> bool:
        """End all sessions; True when all were over in time. Blocks up to `timeout_s`."""
        gevent.killall(list(self._beginning), block=False)
        for session in list(self.sessions):
            session.drop_gently(reason)
        over = bool(self.greenlets.join(timeout_s))
        self.greenlets.kill(timeout=1)
        return over


class _Slot:
    """A connection's slot, which it may give back before it is over, if there are not too many that do."""

    __slots__ = ("_address", "_early", "_given_back", "_slots")

    def __init__(self, slots: Slots, address: str, early: set[_Slot]) -> None:
        self._slots = slots
        self._address = address
        self._early = early
        self._given_back = False

    def leave_early(self) -> None:
        if len(self._early) < MAX_COMING_AGAIN:
            self._early.add(self)
            self._give_back()

    def leave(self) -> None:
        self._early.discard(self)
        self._give_back()

    def _give_back(self) -> None:
        if not self._given_back:
            self._given_back = True
            self._slots.release(self._address)

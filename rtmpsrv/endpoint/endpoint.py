"""The endpoint: opens ports for registrations, composes what they share, closes what nobody uses.

It needs no monkey patching: everything it waits for goes through gevent itself. It belongs to the thread in
which it was made.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import count
from time import monotonic
from typing import Any, overload

from gevent import ssl
from gevent.lock import BoundedSemaphore
from gevent.queue import Queue

from ..access.ip_rules import IpRules
from ..access.limits import ConnectionLimits
from ..live.output import LiveLimits
from ..live.registry import Registry
from ..server.clock import LoopClock
from ..server.ingest import Ingest
from ..server.listener import Listener
from ..server.parts import ServerParts
from ..server.session_state import SessionSettings
from ..server.tls import TlsListener
from ..server.tls_probe import can_serve
from ..server.turns import Turns
from .home import Home, refuse_in_asyncio
from .inbox import Inbox, check_queue
from .limits import Limits
from .port import Port
from .registration import Registration
from .registrations import (
    ChannelName,
    ObserverRegistration,
    PublisherRegistration,
    WatcherRegistration,
)
from .requests import (
    MAX_PORT,
    ListenForPublishers,
    ListenForWatchers,
    Observe,
    RegistrationError,
    RegistrationFailure,
    Request,
)

CLOSED = "the endpoint is closed"
PORT_CLOSED = "the port is closed"


class RtmpEndpoint:
    """Accepts publishers and watchers for the program it lives in. A context manager that closes on exit."""

    def __init__(
        self, host: str = "0.0.0.0", tls: ssl.SSLContext | None = None, limits: Limits | None = None
    ) -> None:
        """Open nothing yet; `host` is the address of all ports, `::` is IPv4 and IPv6 together.

        `tls` is a `gevent.ssl.SSLContext`, which is `ssl.SSLContext` in a patched program; another
        certificate may be loaded into it at any time.
        """
        if not isinstance(host, str):
            raise TypeError(f"host is text, this one is {type(host).__name__}")
        if not isinstance(limits, Limits | None):
            raise TypeError(f"limits are rtmpsrv.Limits, not {type(limits).__name__}")
        if tls is not None and not isinstance(tls, ssl.SSLContext):
            raise TypeError("tls must be a gevent.ssl.SSLContext: that of ssl would block everybody")
        self._home = Home()
        self._host = host
        self._tls = tls
        self._limits = limits = limits or Limits()
        live = LiveLimits(
            cache_bytes=limits.cache_bytes,
            merge_messages=limits.merge_messages,
            lag_bytes=limits.watcher_lag_bytes,
            lag_s=limits.watcher_lag_s,
        )
        clock = LoopClock()
        self._registry: Registry[ChannelName] = Registry(
            clock, live, limits.cache_total_bytes, limits.chunk_size
        )
        settings = SessionSettings(
            chunk_size=limits.chunk_size,
            handshake_s=limits.handshake_s,
            setup_s=limits.request_s,
            idle_s=limits.silence_s,
            ping_s=limits.ping_s,
            stall_s=limits.stall_s,
            message_bytes=limits.message_bytes,
        )
        slots = ConnectionLimits(limits.connections_per_address, IpRules(), limits.connections)
        ingest = Ingest(clock, enabled=limits.merge_messages > 1)
        self._parts = ServerParts(settings, slots, self._registry.budget, clock, Turns(), ingest, count(1))
        self._registration_numbers = count(1)
        self._opening = BoundedSemaphore()  # binding may switch greenlets, and a port is opened once
        self._ports: dict[int, Port] = {}
        self._retired: list[Listener] = []  # closed, with sessions that are still ending
        self._observers: dict[tuple[int, str], list[ObserverRegistration]] = {}
        self._registrations: set[Registration[Any, Any]] = set()
        self._inboxes: dict[int, Inbox] = {}  # by identity of their queue, which they keep alive
        self._closed = False

    def __enter__(self) -> RtmpEndpoint:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        state = "closed" if self._closed else f"{len(self._registrations)} registrations"
        return f"<Endpoint host={self._host!r} ports={sorted(self._ports)}, {state}>"

    @overload
    def register(
        self, request: ListenForPublishers, messages: Queue[Any] | None = None
    ) -> PublisherRegistration: ...

    @overload
    def register(
        self, request: ListenForWatchers, messages: Queue[Any] | None = None
    ) -> WatcherRegistration: ...

    @overload
    def register(self, request: Observe, messages: Queue[Any] | None = None) -> ObserverRegistration: ...

    def register(
        self, request: Request, messages: Queue[Any] | None = None
    ) -> PublisherRegistration | WatcherRegistration | ObserverRegistration:
        """Start to accept what `request` says; messages go to the handle's queue, or to the one given here.

        Raises RegistrationError, with a reason; TypeError or ValueError for what is no request or no queue
        without a maximum size; RuntimeError where nobody would be served. May block for a moment while a port
        is opened. A queue that several registrations share ends with the last of them.
        """
        self._home.check("register")
        refuse_in_asyncio("register")
        given: object = request
        if isinstance(given, type):
            name = given.__name__
            raise TypeError(f"the class {name} is no request: call it, such as {name}(rtmp_app=...)")
        if not isinstance(request, Request):
            raise TypeError(f"{type(request).__name__} is no request: see ListenForPublishers")
        if messages is not None:
            check_queue("a queue for messages", messages)
        lowest = 1 if isinstance(request, Observe) else 0
        if not lowest <= request.port <= MAX_PORT:
            detail = f"port {request.port}, for {type(request).__name__} it is {lowest} to {MAX_PORT}"
            raise RegistrationError(RegistrationFailure.PORT_UNAVAILABLE, detail)
        if isinstance(request, Observe):
            return self._observe(request, messages)
        with self._opening:
            number, port = self._port(request)
            table = port.publishers if isinstance(request, ListenForPublishers) else port.watchers
            if table.conflicts(request.rtmp_app, request.rtmp_stream_key):
                kind, app = type(request).__name__, request.rtmp_app
                detail = f"port {number}, app {app!r}: another {kind} has the same key, or one of them ANY"
                raise RegistrationError(RegistrationFailure.CONFLICT, detail)
            inbox = self._inbox(messages)
            own_number = next(self._registration_numbers)
            handle: PublisherRegistration | WatcherRegistration
            if isinstance(request, ListenForPublishers):
                handle = PublisherRegistration(request, own_number, number, inbox, self._forget)
                port.publishers.add(handle)
            else:
                handle = WatcherRegistration(request, own_number, number, inbox, self._forget, self._registry)
                port.watchers.add(handle)
            self._registrations.add(handle)
            return handle

    def close(self) -> None:
        """End all registrations, close all ports, wait for connections to end. Idempotent.

        Blocks up to the limit `close_s`; connections that last longer are cut.
        """
        self._home.check("close")
        self._closed = True
        for registration in list(self._registrations):
            registration.close(CLOSED)
        retired, self._retired = self._retired, []
        until = monotonic() + self._limits.close_s
        for listener in retired:
            listener.stop_sessions(CLOSED, max(0.0, until - monotonic()))

    def feeds(self, queue: Queue[Any]) -> bool:
        """Tell whether a registration reports to a queue."""
        return id(queue) in self._inboxes

    # --- private ----------------------------------------------------------------------------------

    def _observe(self, request: Observe, messages: Queue[Any] | None) -> ObserverRegistration:
        self._refuse_when_closed()
        observer = ObserverRegistration(
            request, next(self._registration_numbers), request.port, self._inbox(messages), self._forget
        )
        self._registrations.add(observer)
        self._observers.setdefault((request.port, request.rtmp_app), []).append(observer)
        port = self._ports.get(request.port)
        if port is not None:
            for publication in list(port.publications):
                publisher = publication.publisher
                if publisher.rtmp_app == request.rtmp_app and observer.covers(publisher.stream_key):
                    publication.add_observer(observer)
        return observer

    def _observers_of(self, port: int, app: str, key: str) -> Iterable[ObserverRegistration]:
        return [one for one in self._observers.get((port, app), ()) if one.covers(key)]

    def _inbox(self, messages: Queue[Any] | None) -> Inbox:
        queue: Queue[Any] = Queue() if messages is None else messages
        inbox = self._inboxes.get(id(queue))
        if inbox is None:
            inbox = self._inboxes[id(queue)] = Inbox(queue, self._limits)
        inbox.registrations += 1
        return inbox

    def _port(self, request: ListenForPublishers | ListenForWatchers) -> tuple[int, Port]:
        """Return the open port that a request names; opens it if need be. May switch greenlets."""
        self._refuse_when_closed()
        port = self._ports.get(request.port) if request.port else None
        if port is not None:
            if port.use_tls != request.use_tls:
                detail = f"port {request.port} is open {'with' if port.use_tls else 'without'} TLS"
                raise RegistrationError(RegistrationFailure.TLS_MISMATCH, detail)
            return request.port, port
        port = Port(request.use_tls, self._limits.approval_s, self._observers_of)
        self._retired = [listener for listener in self._retired if len(listener.greenlets)]
        try:
            listener = self._listener(request, port)
            listener.start()
        except OSError as exc:
            detail = f"port {request.port}: {exc.strerror or exc}"
            raise RegistrationError(RegistrationFailure.PORT_UNAVAILABLE, detail) from exc
        self._refuse_when_closed(listener)
        port.listener = listener
        number = listener.port
        self._ports[number] = port
        return number, port

    def _refuse_when_closed(self, opened: Listener | None = None) -> None:
        """Raise if the endpoint is closed by now; a listener that was opened meanwhile goes again."""
        if self._closed:
            if opened is not None:
                opened.close()
            raise RegistrationError(RegistrationFailure.ENDPOINT_CLOSED)

    def _listener(self, request: ListenForPublishers | ListenForWatchers, port: Port) -> Listener:
        if not request.use_tls:
            return Listener(self._host, request.port, port, self._parts)
        if self._tls is None or not can_serve(self._tls):
            missing = "Endpoint(tls=...)" if self._tls is None else "a certificate loaded into that `tls`"
            detail = f"port {request.port}: use_tls needs {missing}"
            raise RegistrationError(RegistrationFailure.NO_CERTIFICATE, detail)
        return TlsListener(self._host, request.port, port, self._parts, self._tls)

    def _forget(self, registration: Registration[Any, Any]) -> None:
        """Undo what `register` did for a closed handle; a port that nobody uses goes. Never blocks."""
        self._registrations.discard(registration)
        if not registration.inbox.registrations:
            self._inboxes.pop(id(registration.inbox.queue), None)
        if isinstance(registration, ObserverRegistration):
            self._forget_observer(registration)
            return
        port = self._ports[registration.port]
        if isinstance(registration, PublisherRegistration):
            port.publishers.remove(registration)
        elif isinstance(registration, WatcherRegistration):
            port.watchers.remove(registration)
        if not port.in_use:
            del self._ports[registration.port]
            port.listener.close()
            self._retired.append(port.listener)
            for session in list(port.listener.sessions):
                session.drop(PORT_CLOSED)

    def _forget_observer(self, observer: ObserverRegistration) -> None:
        name = observer.port, observer.request.rtmp_app
        observers = self._observers[name]
        observers.remove(observer)
        if not observers:
            del self._observers[name]

"""The port for API, metrics and page: always open; what serves it lives only as long as somebody asks.

This process never accepts there. It waits until a client is in the queue, and starts the web process, which
takes the client from the same socket; when that has ended, for want of clients or otherwise, it waits again.
So nobody who connects is lost, and a flood of connections costs this process nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from time import monotonic
from typing import Any, Final

import gevent
from gevent import socket as gsocket
from gevent.event import Event

from rtmpsrv.log import Logger
from rtmpsrv.monitor.web_process import Ask, WebProcess
from rtmpsrv.server.binding import bind

SOUND_S: Final = 10.0  # one that has lived for so long did not die of its start
FIRST_PAUSE_S: Final = 1.0  # after one that did
LONGEST_PAUSE_S: Final = 30.0
END_S: Final = 4.0  # for the web process to end: it gives requests 2 s
HAND_ON_S: Final = 3.0  # for the next process to take the socket, which it else has to open anew
PAUSE_S: Final = 0.5  # for requests to be answered, before all that is known here moves
RETRY_S: Final = 0.2  # to get a port that another process is about to leave
TOLD_AFTER_S: Final = 5.0
EVERYWHERE: Final = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}  # and how it is reached from this machine


class Desk:
    """One port. `start` after `open`, or instead of it."""

    def __init__(
        self,
        address: str,
        port: int,
        settings: Mapping[str, str],
        ask: Ask,
        log: Logger,
        *,
        tls: bool = False,
    ) -> None:
        """Prepare; `settings` are what the web process gets, `ask` answers its questions. Never blocks."""
        self.bound_to = (address.strip("[]"), port)
        self.socket: gsocket.socket | None = None
        self._settings = settings
        self._ask = ask
        self._log = log
        self._tls = tls
        self._web: WebProcess | None = None
        self._attending: gevent.Greenlet[[], None] | None = None
        self._closing = False
        self._open = Event()  # for clients; not while all that is known here goes to another process
        self._knows = Event()  # until it goes
        self.resume()

    @property
    def descriptor(self) -> int | None:
        """The socket that listens; None for none."""
        return self.socket.fileno() if self.socket is not None and not self._closing else None

    def open(self, descriptor: int | None = None) -> None:
        """Listen, or take over a socket that does. Raises OSError. Blocks for a name."""
        if descriptor is not None:
            self.socket = gsocket.socket(fileno=descriptor)
            self.socket.setblocking(False)
        else:
            self.socket = bind(*self.bound_to)
        host, port = self.socket.getsockname()[:2]
        here = EVERYWHERE.get(host, f"[{host}]" if ":" in host else host)
        open_to = f" (on {host}:{port}, for others too)" if host in EVERYWHERE else ""
        self._log.info("Watch what goes on: http%s://%s:%d/%s", "s" * self._tls, here, port, open_to)

    def start(self) -> None:
        """Wait for clients from now on; get the port first, as soon as it is free. Never blocks."""
        self._attending = gevent.spawn(self._attend)

    def reload(self) -> None:
        """Let the web process look at its files. Never blocks."""
        if self._web is not None:
            self._web.reload()

    def pause(self) -> None:
        """Let clients wait in the queue, once those who asked have their answers. Blocks up to `PAUSE_S`."""
        self._open.clear()
        if self._web is not None:
            self._web.leave(PAUSE_S)
        self._knows.clear()

    def resume(self) -> None:
        """Serve them: nothing has changed. Never blocks."""
        self._open.set()
        self._knows.set()

    def retire(self) -> None:
        """Leave clients to another process, which has the same socket, or will have it. Never blocks."""
        gevent.spawn(self._retire)

    def close(self, timeout_s: float = END_S) -> None:
        """Be done; requests are finished before. Idempotent. Blocks up to `timeout_s`."""
        self._closing = True
        attending, web = self._attending, self._web
        if web is not None:
            web.stop()
            self._close_socket()  # now: who waits for this port need not wait for answers to be taken
            if attending is not None:
                attending.join(timeout_s)
            if self._web is web:
                web.kill()
                if attending is not None:
                    attending.join(END_S)
        if attending is not None:
            attending.kill()
            self._attending = None
        self._close_socket()

    # --- private ----------------------------------------------------------------------------------

    def _retire(self) -> None:
        self.pause()
        gevent.sleep(HAND_ON_S)
        self.close()

    def _close_socket(self) -> None:
        if self.socket is not None:
            self.socket.close()

    def _attend(self) -> None:
        """Have a web process whenever somebody is there; the top of a greenlet."""
        sock = self.socket or self._wait_for_port()
        pause_s = 0.0
        while not self._closing:
            gsocket.wait_read(sock.fileno())
            self._open.wait()
            began = monotonic()
            if self._serve(sock) or monotonic() - began >= SOUND_S:
                pause_s = 0.0
            else:
                pause_s = min(max(2 * pause_s, FIRST_PAUSE_S), LONGEST_PAUSE_S)
                self._log.error("the web process did not live; the next one in %.0f s", pause_s)
            gevent.sleep(pause_s)

    def _serve(self, sock: gsocket.socket) -> bool:
        """Let a web process serve to its end; tell whether that was a good one."""
        try:
            web = self._web = WebProcess(sock.fileno(), self._settings, self._ask_while_known, self._log)
        except OSError as exc:
            self._log.error("the web process cannot be started: %s", exc.strerror or exc)
            return False
        self._log.debug("started the web process, process %d", web.pid)
        try:
            return web.serve()
        except Exception:  # noqa: BLE001 - a bug of ours: the port is there for the next one
            self._log.exception("the web process is given up")
            web.kill()
            return False
        finally:
            self._web = None

    def _ask_while_known(
        self, what: str, arguments: tuple[Any, ...], timeout_s: float
    ) -> dict[str, bytes | None]:
        """Pass a question on; one that comes too late for this process has no answer. Blocks."""
        return self._ask(what, arguments, timeout_s) if self._knows.wait(timeout_s) else {"": None}

    def _wait_for_port(self) -> gsocket.socket:
        """Get the port, for which another process may have to end first."""
        told_at = monotonic() + TOLD_AFTER_S
        while True:
            with suppress(OSError):
                self.open()
            if self.socket is not None:
                return self.socket
            if monotonic() >= told_at:
                told_at = float("inf")
                self._log.warning(
                    "no API, metrics and page: %s:%d cannot be listened on; it is tried on and on "
                    "(API_BIND_ADDRESS, API_PORT)",
                    *self.bound_to,
                )
            gevent.sleep(RETRY_S)

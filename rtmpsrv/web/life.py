"""The web process, from start to end: it is told what it needs, serves, and leaves when nobody asks."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from typing import TYPE_CHECKING, Final

import gevent
from gevent import socket as gsocket
from gevent.event import Event

from rtmpsrv import log
from rtmpsrv.config import Config
from rtmpsrv.monitor.spawning import FIRST_DESCRIPTOR
from rtmpsrv.monitor.web_process import BLOCKED
from rtmpsrv.web.line_source import LineSource
from rtmpsrv.web.server import Server
from rtmpsrv.web.site import make_site
from rtmpsrv.workers.calls import CallLost, Calls
from rtmpsrv.workers.wire import Wire

if TYPE_CHECKING:
    from rtmpsrv.server.certificates import CertificatePair
    from rtmpsrv.server.reloader import CertificateReloader

IDLE_S: Final = 60.0  # without a connection
LOOK_EVERY_S: Final = 1.0
SETTINGS_S: Final = 10.0  # for the settings to be told
LEAVE_S: Final = 0.4  # for requests to be answered, before streams move
FLUSH_S: Final = 1.0
NICENESS: Final = 5  # streams come first


class Life:
    """Composes the web process, and ends it."""

    def __init__(self, sock: gsocket.socket, wire: Wire, idle_s: float = IDLE_S) -> None:
        """Take over a socket that listens, and the line to the process that has started this one."""
        self._socket = sock
        self._idle_s = idle_s
        self._log = log.get()
        self._over = Event()  # to end, for whatever reason
        self._certificates: CertificateReloader | None = None
        self._server: Server | None = None
        self._line = Calls(
            wire,
            self._log,
            tells={"stop": self.stop, "reload": self._reload},
            calls={"ping": lambda: None, "leave": self._leave},
        )

    def stop(self) -> None:
        """Ask `run` to end. Never blocks."""
        self._over.set()

    def run(self) -> None:
        """Serve as long as somebody asks, and whoever has started this is there. Blocks."""
        reading = gevent.spawn(self._line.serve)
        reading.link(lambda _: self.stop())  # that process is gone: its facts are, too
        try:
            texts: dict[str, str] = self._line.call("settings", timeout_s=SETTINGS_S)
        except CallLost:
            return
        config, _ = Config.load(texts)
        log.setup(config)
        log.name_process("WEB")
        site = make_site(LineSource(self._line, self._log), config, self._log)
        server = self._server = Server(self._socket, site.app, self._log, tls=config.api_tls)
        if config.api_tls:
            self._certificates = self._reloader(config)
            self._certificates.start()
        if not self._over.is_set():  # else who waits is the next process's
            server.start()
        while not self._over.wait(LOOK_EVERY_S) and not server.leave(self._idle_s):
            pass
        self._line.tell("ends")
        site.close()
        server.finish()
        server.end()
        if self._certificates is not None:
            self._certificates.close()
        self._line.flush(FLUSH_S)
        self._line.close()

    def _leave(self) -> None:
        """Answer what was asked, and accept nobody more: others will. Then end. Blocks up to `LEAVE_S`."""
        if self._server is not None:
            self._server.finish(LEAVE_S)
        self.stop()

    def _reload(self) -> None:
        if self._certificates is not None:
            self._certificates.ask()

    def _reloader(self, config: Config) -> CertificateReloader:
        from rtmpsrv.server.reloader import CertificateReloader  # loads cryptography and OpenSSL

        return CertificateReloader(
            config.ssl_cert, config.ssl_key, float(config.ssl_check_reload_seconds), self._install, self._log
        )

    def _install(self, pair: CertificatePair) -> None:
        from rtmpsrv.server.tls import make_context

        assert self._server is not None
        self._server.context = make_context(pair)


def inherited() -> Life:
    """Return the life of this process, with the descriptors that it was started with. Raises OSError."""
    listening, wire = FIRST_DESCRIPTOR, FIRST_DESCRIPTOR + 1
    for descriptor in (listening, wire):
        os.set_inheritable(descriptor, False)
    sock = gsocket.socket(fileno=listening)
    sock.setblocking(False)
    return Life(sock, Wire(gsocket.socket(fileno=wire)))


def heed_signals(life: Life) -> None:
    """Let the one that ends processes end this one; others are meant for those that serve. Never blocks."""
    for number in BLOCKED:
        if number == signal.SIGTERM:
            gevent.signal_handler(number, life.stop)
        else:
            signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, BLOCKED)
    with suppress(OSError):
        os.nice(NICENESS)

"""The port for viewers by HTTP, as the settings want it: opened, started, and given its certificate."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rtmpsrv import log
from rtmpsrv.access.limits import counted_as
from rtmpsrv.access.names import APP_STREAM
from rtmpsrv.av.process import AvProcess
from rtmpsrv.bounds import raise_descriptor_limit
from rtmpsrv.config import Config
from rtmpsrv.errors import ConfigError
from rtmpsrv.greeting import where_to_watch
from rtmpsrv.http_settings import MISSING, installed, taken, was_asked_for
from rtmpsrv.live.registry import Registry
from rtmpsrv.monitor.viewed import Made
from rtmpsrv.server.http import flv
from rtmpsrv.server.http.listener import HttpListener
from rtmpsrv.server.http.places import Places
from rtmpsrv.server.http.routes import FLV
from rtmpsrv.server.http.site import Site, ViewerHost
from rtmpsrv.server.listener import Listener
from rtmpsrv.server.parts import ServerParts
from rtmpsrv.server.ports import listening
from rtmpsrv.shown import Shown

if TYPE_CHECKING:
    from gevent import ssl

    from rtmpsrv.server.http.secure_listener import HttpsListener

SHARE = 5  # of what the process may open, one part is for connections of HTTP


class ViewersSide:
    """One process's. Its listener is among those of the application, as soon as it is open."""

    def __init__(self, config: Config, host: ViewerHost, listeners: list[Listener], av: AvProcess) -> None:
        """Prepare what there is to be seen; other parts add to `site`. Never blocks."""
        self.site = Site(
            host, has_paths=config.url_layout == APP_STREAM, allow_origin=config.http_allow_origin
        )
        self.site.trusted = config.http_trusted_proxies
        self.site.places = Places(
            config.max_connections,
            exempt=(config.concurrent_limit_whitelist, config.http_trusted_proxies),
            counted_as=counted_as,
        )
        self.site.add(FLV, flv.serve)
        self.shown = Shown(self.site, av) if config.http_port else None
        self._av = av
        self._config = config
        self._listeners = listeners
        self._listener: Listener | None = None
        self._tls: HttpsListener | None = None
        self._serves = False

    def show(self, registry: Registry[str], parts: ServerParts) -> None:
        """Add what needs all channels and what listeners share. Never blocks."""
        self.site.answered = parts.tally.answered
        if self.shown is not None:
            self.shown.show_mp4(registry)
            self.shown.show_hls(registry, parts, self._config.hls_window_seconds)

    def open(self, parts: ServerParts, descriptor: int | None = None, *, binds: bool = True) -> None:
        """Listen, or take over a socket that does; a worker `binds` none, others have done that.

        Raises ConfigError where it was asked for and cannot be. Blocks for a name.
        """
        config = self._config
        if not config.http_port or (descriptor is None and not binds):
            return
        if not installed():
            self._miss(f"HTTP_PORT: {MISSING}", f"{MISSING} (HTTP_PORT=0 wants none)")
            return
        self.site.places.total = min(config.max_connections, raise_descriptor_limit() // SHARE)
        address, port = config.http_bind_address, config.http_port
        # The host of sessions is asked for nothing here: `Site` has that of viewers.
        nobody = self._listeners[0].host
        try:
            if config.http_tls:
                from rtmpsrv.server.http.secure_listener import HttpsListener  # loads OpenSSL

                self._tls = HttpsListener(address, port, nobody, parts, None, listening(descriptor))
                self._listener = self._tls
            else:
                self._listener = HttpListener(address, port, nobody, parts, listening(descriptor))
        except OSError as exc:
            self._miss(taken(config, exc), f"no viewers by HTTP: {taken(config, exc)}")
            return
        self._listeners.append(self._listener)
        log.get().info("%s", where_to_watch(config, *self._listener.bound_to))

    def start(self) -> None:
        """Let viewers in; with TLS as soon as there is a certificate. Never blocks."""
        self._serves = True
        if self._listener is not None and (self._tls is None or self._tls.context is not None):
            self._listener.start()

    def install(self, context: ssl.SSLContext) -> None:
        """Let new connections use another certificate. Never blocks."""
        if self._tls is not None:
            is_first, self._tls.context = self._tls.context is None, context
            if is_first and self._serves:
                self._tls.start()

    def made(self) -> Made:
        """Return what is made for viewers, in numbers. Never blocks."""
        about = self._av.describe()
        return {
            "hls": self.shown.hls.makers.running if self.shown is not None and self.shown.hls else 0,
            "mp4": self.shown.mp4.makers if self.shown is not None and self.shown.mp4 else 0,
            "ffmpeg_runs": about["pid"] is not None,
            "ffmpeg_ends": about["ended"],
        }

    def close(self) -> None:
        """End what is made for viewers. Idempotent. Blocks for seconds at most."""
        if self.shown is not None:
            self.shown.close()

    def _miss(self, problem: str, warning: str) -> None:
        """Do without, if nobody has asked for it."""
        if was_asked_for(self._config):
            raise ConfigError([problem])
        log.get().warning("%s", warning)

"""What a server that starts says about where to publish and to watch. Pure but for a look at sockets."""

from __future__ import annotations

from .access.names import CHANNEL_KEY, PATHS
from .config import Config
from .server.ports import Ports, place_of

EVERYWHERE = ("0.0.0.0", "::")  # addresses that are all of this machine's
OPEN = "open"  # PUBLISH_ACCESS that asks for nothing
ALONE = ("127.0.0.1", "::1")  # that nobody else reaches


def where_to_publish(config: Config, ports: Ports, port: int) -> list[str]:
    """Return lines for the log; `port` is where the server listens."""
    # Sockets that others have opened need not be where the settings say.
    address, _port = place_of(ports.plain, config.bind_address, config.rtmp_port)
    _address, secure_port = place_of(ports.secure, "", config.ssl_port)
    anywhere, here = urls(config, address, port)
    path = PATHS[config.url_layout]
    secure = f", or to rtmps://HOST:{secure_port}/{path}" if config.tls_enabled else ""
    access = config.publish_access
    shown = f", with what PUBLISH_ACCESS={access} asks for" if access != OPEN else ""
    asked = ", if your backend accepts it" if config.control_use or config.callback_url else ""
    return [
        f"Publish to {anywhere}{secure}, for example {here}{shown}{asked}",
        f"Watch the same, for example with: ffplay {here}{_token(config)}",
        "In OBS: Settings, Stream, Service Custom; Server {}, Stream Key {}".format(*here.rsplit("/", 1)),
    ]


def where_to_watch(config: Config, address: str, port: int) -> str:
    """Return a line for the log; address and port are where the server listens for viewers."""
    everywhere = address in EVERYWHERE
    here = "127.0.0.1" if everywhere else address
    scheme = "https" if config.http_tls else "http"
    channel = "live" if config.url_layout == CHANNEL_KEY else "live/stream"
    key = "?key=key" if config.url_layout == CHANNEL_KEY and config.play_access == "key" else _token(config)
    example = f"{scheme}://{_in_url(here)}:{port}/{channel}{key}"
    if everywhere:
        pattern = "CHANNEL" if config.url_layout == CHANNEL_KEY else "APP/NAME"
        anywhere = f"{scheme}://{_in_url(config.rtmp_host or 'HOST')}:{port}/{pattern}"
        return f"Watch it in a browser: {anywhere}, here {example}"
    if address in ALONE:
        return f"Watch it in a browser, on this machine (HTTP_BIND_ADDRESS): {example}"
    return f"Watch it in a browser: {example}"


def urls(config: Config, address: str, port: int) -> tuple[str, str]:
    """Return what to publish to: as a pattern for anywhere, and one that works on this machine."""
    everywhere = address in EVERYWHERE
    here = "127.0.0.1" if everywhere else address
    public = config.rtmp_host or ("HOST" if everywhere else here)
    example = "live/key" if config.url_layout == CHANNEL_KEY else "live/stream"
    path = PATHS[config.url_layout]
    return f"rtmp://{_in_url(public)}:{port}/{path}", f"rtmp://{_in_url(here)}:{port}/{example}"


def _token(config: Config) -> str:
    return "?token=TOKEN" if config.play_access == "token" else ""


def _in_url(host: str) -> str:
    return f"[{host}]" if ":" in host else host

"""What the settings of the viewers' side mean together: whether that is allowed, and can be."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rtmpsrv import extras
from rtmpsrv.access.ip_rules import IpRules
from rtmpsrv.groups import HTTP
from rtmpsrv.record_settings import RecordSettings
from rtmpsrv.settings import Kind, setting

if TYPE_CHECKING:
    from rtmpsrv.config import Config

NOBODY = IpRules()
NEEDED = ("h11", "wsproto")  # of the extra `web`
MISSING = f"viewers by HTTP need the extra `web`: {extras.how_to_get('web')}"
ASKED_BY = frozenset({"HTTP_PORT", "HTTP_BIND_ADDRESS", "HTTP_TLS"})  # whoever sets one of them wants it

_ORIGIN = re.compile(r"https?://[0-9A-Za-z.\-]+(:[0-9]{1,5})?|https?://\[[0-9A-Fa-f:.]+\](:[0-9]{1,5})?")


@dataclass(frozen=True, slots=True, repr=False)
class HttpSettings(RecordSettings):
    """A part of `Config`, like the one that it stands on: a class with slots has but one base."""

    # fmt: off
    http_bind_address: str = setting(HTTP, Kind.ADDRESS, "127.0.0.1", "Address for viewers by HTTP.")
    http_port: int = setting(HTTP, Kind.NUMBER, 8080, "Port for them; needs the extra `web`. 0: none.",
        high=65535)
    http_tls: bool = setting(HTTP, Kind.SWITCH, False, "Whether it uses TLS, with SSL_CERT and SSL_KEY.")
    http_allow_origin: str = setting(HTTP, Kind.TEXT, "",
        "Origins of other pages that may play streams: `https://HOST`, several with commas; `*` is all.")
    http_trusted_proxies: IpRules = setting(HTTP, Kind.IP_RULES, NOBODY,
        "Addresses of proxies that send viewers' requests on: the viewer's address is the last in their "
        "`X-Forwarded-For` that is none of theirs, and `X-Forwarded-Proto` and `-Host` count, too. "
        "PROXY_PROTOCOL_FROM does not apply to them on this port.")
    hls_window_seconds: int = setting(HTTP, Kind.NUMBER, 30,
        "How far back HLS players can go. A playlist has three target durations at least.",
        unit="seconds", high=3600)
    # fmt: on


def installed() -> bool:
    """Tell whether there is what viewers by HTTP need; loads nothing of it."""
    return extras.installed(*NEEDED)


def was_asked_for(config: Config) -> bool:
    """Tell whether somebody has set where viewers are to come by HTTP."""
    return not config.given.isdisjoint(ASKED_BY)


def taken(config: Config, exc: OSError) -> str:
    """Say why nobody can listen there."""
    where = f"{config.http_bind_address}:{config.http_port}"
    return f"HTTP_PORT: cannot listen on {where}: {exc.strerror or exc} (HTTP_BIND_ADDRESS, HTTP_PORT)"


def problems(config: Config) -> list[str]:
    """Name what viewers cannot be served with."""
    if not config.http_port:
        return []
    found = []
    if config.http_tls and not config.tls_enabled:
        found.append("HTTP_TLS: the certificate is that of SSL_CERT and SSL_KEY, which are not both given")
    rule = config.http_allow_origin
    if rule and rule != "*":
        for number, origin in enumerate(rule.split(","), 1):
            if _ORIGIN.fullmatch(origin.strip()) is None:
                found.append(f"HTTP_ALLOW_ORIGIN: entry {number} is no origin, such as https://HOST")
    return found

"""What the settings of the viewers' side mean together: whether that is allowed, and can be."""

from __future__ import annotations

import importlib.util
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rtmpsrv.config import Config

NEEDED = ("h11", "wsproto")  # of the extra `web`
MISSING = "viewers by HTTP need the extra `web`: pip install 'rtmpsrv[web]'"
ASKED_BY = frozenset({"HTTP_PORT", "HTTP_BIND_ADDRESS", "HTTP_TLS"})  # whoever sets one of them wants it

_ORIGIN = re.compile(r"https?://[0-9A-Za-z.\-]+(:[0-9]{1,5})?|https?://\[[0-9A-Fa-f:.]+\](:[0-9]{1,5})?")


def installed() -> bool:
    """Tell whether there is what viewers by HTTP need; loads nothing of it."""
    return all(importlib.util.find_spec(name) is not None for name in NEEDED)


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

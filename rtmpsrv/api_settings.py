"""What the settings of the admin side mean together: who is let in, whether that is allowed, and can be."""

from __future__ import annotations

from ipaddress import ip_address
from typing import TYPE_CHECKING

from rtmpsrv import extras

if TYPE_CHECKING:
    from rtmpsrv.config import Config

NEEDED = ("flask", "prometheus_client")  # the extra `web`
MISSING = f"API, metrics and page need the extra `web`: {extras.how_to_get('web')}"

ASKED_BY = frozenset({"API_PORT", "API_BIND_ADDRESS"})  # whoever sets one of them wants the admin side


def is_loopback(address: str) -> bool:
    """Tell whether an address, or `localhost`, is reached from this machine only."""
    try:
        parsed = ip_address(address.partition("%")[0])
    except ValueError:
        return address.lower() == "localhost"
    mapped = getattr(parsed, "ipv4_mapped", None)
    return bool((mapped or parsed).is_loopback)


def users_of(text: str) -> dict[str, str]:
    """Read `name:password`, several with commas. Raises ValueError, whose text shows none of it."""
    users: dict[str, str] = {}
    for number, part in enumerate(text.split(",") if text else (), 1):
        name, colon, password = part.strip().partition(":")
        if not (name and colon and password):
            raise ValueError(f"entry {number} is not of the form name:password")
        if name in users:
            raise ValueError(f"entry {number} has the name of one before it")
        users[name] = password
    return users


def installed() -> bool:
    """Tell whether there is what the admin side needs; loads nothing of it."""
    return extras.installed(*NEEDED)


def taken(address: str, port: int, exc: OSError) -> str:
    """Say why nobody can listen there."""
    return f"API_PORT: cannot listen on {address}:{port}: {exc.strerror or exc} (API_BIND_ADDRESS, API_PORT)"


def in_the_clear(config: Config) -> list[str]:
    """Say where others may read along."""
    if not config.api_port or config.api_tls or is_loopback(config.api_bind_address):
        return []
    return [
        f"API_BIND_ADDRESS={config.api_bind_address} without API_TLS: "
        "passwords, tokens and what is shown go over the network in the clear"
    ]


def problems(config: Config) -> list[str]:
    """Name what the admin side cannot be opened with."""
    if not config.api_port:
        return []
    found = []
    if not (config.api_token or config.api_users or is_loopback(config.api_bind_address)):
        found.append(
            f"API_BIND_ADDRESS: {config.api_bind_address} is not of this machine alone, "
            "which needs API_TOKEN or API_USERS"
        )
    token = config.api_token
    if token and not (token.isascii() and token.isprintable() and " " not in token):
        found.append("API_TOKEN: holds characters that no HTTP header may hold")
    try:
        users_of(config.api_users)
    except ValueError as exc:
        found.append(f"API_USERS: {exc}")
    if config.api_tls and not config.tls_enabled:
        found.append("API_TLS: the certificate is that of SSL_CERT and SSL_KEY, which are not both given")
    return found

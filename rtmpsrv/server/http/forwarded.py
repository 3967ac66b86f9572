"""Whose request it is, when a proxy sends it: what `X-Forwarded-For` and its like say. Pure.

Only of those who are trusted, and only the words that they have added themselves: each writes the address
that it was asked from behind what it was told, so what counts is the last address that none of them has.
`Forwarded` is not read: a proxy that does not know it lets pass what a client says there.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from ipaddress import IPv6Address, ip_address
from typing import Final, NamedTuple

from ..proxies import Addresses

FOR, PROTO, HOST = "x-forwarded-for", "x-forwarded-proto", "x-forwarded-host"
MAX_HOPS: Final = 16  # one behind the other
_HOST: Final = re.compile(r"[0-9A-Za-z._\-]{1,253}(:[0-9]{1,5})?|\[[0-9A-Fa-f:.]{2,45}\](:[0-9]{1,5})?")
_WITH_PORT: Final = re.compile(r"([0-9.]+):[0-9]{1,5}|\[([0-9A-Fa-f:.]+)\](?::[0-9]{1,5})?")


class Came(NamedTuple):
    """Where a request comes from, and what its sender has called this server."""

    address: str
    secure: bool
    host: str  # "": as the request itself says


def came(address: str, secure: bool, headers: Mapping[str, str], trusted: Addresses) -> Came:
    """Return that of a request over a connection from an address; `headers` by names in small letters."""
    if address not in trusted:
        return Came(address, secure, "")
    found = address
    for told in reversed(headers.get(FOR, "").rsplit(",", MAX_HOPS)[-MAX_HOPS:]):
        hop = _address(told.strip())
        if hop is None:
            break  # whoever was asked from there is all that is known
        found = hop
        if hop not in trusted:
            break
    proto, host = _last(headers, PROTO).lower(), _last(headers, HOST)
    if proto in ("http", "https"):
        secure = proto == "https"
    return Came(found, secure, host if _HOST.fullmatch(host) else "")


def _last(headers: Mapping[str, str], name: str) -> str:
    """Return what the nearest proxy says."""
    return headers.get(name, "").rpartition(",")[2].strip()


def _address(told: str) -> str | None:
    """Read an address, with or without a port; None for anything else."""
    with_port = _WITH_PORT.fullmatch(told)
    try:
        parsed = ip_address(with_port.group(1) or with_port.group(2) if with_port else told)
    except ValueError:
        return None
    if isinstance(parsed, IPv6Address):
        if parsed.scope_id:
            return None
        return str(parsed.ipv4_mapped or parsed)
    return str(parsed)

"""Which listeners the settings give one port on addresses that overlap, so that only one can listen.

Pure.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv6Address, ip_address
from itertools import combinations
from typing import TYPE_CHECKING, Any, Final

from rtmpsrv import api_settings, http_settings

if TYPE_CHECKING:
    from rtmpsrv.config import Config

RTMP: Final = "RTMP_PORT"
RTMPS: Final = "SSL_PORT"
LOCALHOST: Final = frozenset({ip_address("127.0.0.1"), ip_address("::1")})

# What nobody may have asked for, by the setting that turns it off, and what there is not without it.
_OPTIONAL: Final = {
    "http_port": (http_settings.ASKED_BY, "there are no viewers by HTTP"),
    "api_port": (api_settings.ASKED_BY, "there are no API, metrics and page"),
}


@dataclass(frozen=True, slots=True)
class Place:
    """Where somebody listens, with the variables that say so."""

    name: str
    port: int
    address_name: str
    address: str


def places(config: Config) -> list[Place]:
    """List where this server is to listen."""
    listed = [Place(RTMP, config.rtmp_port, "BIND_ADDRESS", config.bind_address)]
    if config.tls_enabled:
        listed.append(Place(RTMPS, config.ssl_port, "SSL_BIND_ADDRESS", config.ssl_bind_address))
    listed.append(Place("HTTP_PORT", config.http_port, "HTTP_BIND_ADDRESS", config.http_bind_address))
    listed.append(Place("API_PORT", config.api_port, "API_BIND_ADDRESS", config.api_bind_address))
    return [one for one in listed if one.port]


def clashes(listed: list[Place]) -> Iterator[tuple[Place, Place]]:
    """Find the pairs of which only one can listen."""
    for one, other in combinations(listed, 2):
        if one.port == other.port and overlap(one.address, other.address):
            yield one, other


def overlap(one: str, other: str) -> bool:
    """Tell whether two listeners with one port cannot have these addresses. Names are not looked up."""
    if one.lower() == other.lower():
        return True
    mine, theirs = _addresses(one), _addresses(other)
    if not mine or not theirs:  # a name, which may be that of any address of this machine
        return any(address.is_unspecified for address in mine | theirs)
    return any(_meet(a, b) for a in mine for b in theirs)


def without_spare(config: Config) -> tuple[Config, list[str]]:
    """Return the settings without the ports that nobody asked for and others have, and warnings of these.

    A server that was right before there were such ports is right with them.
    """
    told = []
    for field, (asked_by, what) in _OPTIONAL.items():
        if not config.given.isdisjoint(asked_by):
            continue
        name = field.upper()
        pairs = [pair for pair in clashes(places(config)) if name in (pair[0].name, pair[1].name)]
        if pairs:
            one, other = pairs[0]
            has_it = one if other.name == name else other
            told.append(f"{name} is {one.port}, which is {has_it.name}: {what}")
            without: dict[str, Any] = {field: 0}
            config = replace(config, **without)
    return config, told


def problems(config: Config) -> list[str]:
    """Name the pairs with which a server cannot start."""
    return [
        f"{one.name}, {other.name}: both are {one.port}, and {one.address_name} ({one.address}) and "
        f"{other.address_name} ({other.address}) overlap"
        for one, other in clashes(places(config))
        if config.workers > 1 or not _is_rtmps_alone(one, other)
    ]


def warnings(config: Config) -> list[str]:
    """Name those with which it can: a single process goes on without RTMPS, as the reference server does."""
    return [
        f"{other.name} is {one.port}, which is {one.name}: there is no RTMPS"
        for one, other in clashes(places(config))
        if config.workers == 1 and _is_rtmps_alone(one, other)
    ]


def _is_rtmps_alone(one: Place, other: Place) -> bool:
    return (one.name, other.name) == (RTMP, RTMPS)


def _addresses(text: str) -> frozenset[IPv4Address | IPv6Address]:
    """Return what a text is the address of; nothing for a name but that of this machine to itself."""
    if text.lower() == "localhost":
        return LOCALHOST
    try:
        parsed = ip_address(text)
    except ValueError:
        return frozenset()
    mapped = parsed.ipv4_mapped if isinstance(parsed, IPv6Address) else None
    return frozenset({mapped or parsed})


def _meet(one: IPv4Address | IPv6Address, other: IPv4Address | IPv6Address) -> bool:
    """`::` takes IPv4 as well, see `server/binding.py`; `0.0.0.0` takes nothing else."""
    if one == other:
        return True
    wild = [address for address in (one, other) if address.is_unspecified]
    return any(address.version == 6 for address in wild) or (bool(wild) and one.version == other.version)

"""Lists of addresses and networks, as the whitelists of the settings hold them.

What an address may do when it is in a list, or when the list is empty, is the business of who asks.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)

EVERYTHING = "*"
# Address with an optional prefix length. `ipaddress` alone would also take netmasks and IPv6 scope ids.
_ENTRY = re.compile(r"[0-9A-Fa-f.:]+(/[0-9]{1,3})?")
MAX_KNOWN = 1024  # addresses that were read before, as each request asks about its own: 0.3 MB at most


@dataclass(frozen=True, slots=True)
class IpRules:
    """A set of IPv4 and IPv6 networks. Immutable; `address in rules` never raises."""

    networks_v4: tuple[IPv4Network, ...] = ()
    networks_v6: tuple[IPv6Network, ...] = ()
    everything: bool = False

    @classmethod
    def parse(cls, text: str) -> IpRules:
        """Read `*`, or addresses and networks separated by commas; an empty text is an empty list.

        Host bits are allowed: `10.1.2.3/8` is the whole /8. Raises ValueError naming the first bad part.
        """
        if not text:
            return cls()
        if text == EVERYTHING:
            return cls(everything=True)
        networks = [_parse_entry(part.strip()) for part in text.split(",")]
        return cls(
            tuple(network for network in networks if isinstance(network, IPv4Network)),
            tuple(network for network in networks if isinstance(network, IPv6Network)),
        )

    @property
    def empty(self) -> bool:
        """True when no address can match."""
        return not (self.everything or self.networks_v4 or self.networks_v6)

    def __contains__(self, address: str) -> bool:
        """Tell whether a peer's address matches; a scope id (`fe80::1%eth0`) is ignored."""
        if self.everything:
            return True
        if not (self.networks_v4 or self.networks_v6):
            return False
        try:
            peer = _read(address)
        except ValueError:
            return False  # not an address, so no rule names it
        if isinstance(peer, IPv6Address):
            if any(peer in network for network in self.networks_v6):
                return True
            embedded = _embedded_v4(peer)
            if embedded is None:
                return False
            peer = embedded
        return any(peer in network for network in self.networks_v4)

    def _networks(self) -> list[IPv4Network | IPv6Network]:
        return [*self.networks_v4, *self.networks_v6]

    def __str__(self) -> str:
        """Give the list as `parse` reads it, host bits removed."""
        if self.everything:
            return EVERYTHING
        return ",".join(_entry_text(network) for network in self._networks())


@lru_cache(maxsize=MAX_KNOWN)
def _read(address: str) -> IPv4Address | IPv6Address:
    """Read a peer's address. Raises ValueError."""
    return ip_address(address.partition("%")[0])


def _parse_entry(entry: str) -> IPv4Network | IPv6Network:
    if not _ENTRY.fullmatch(entry):
        raise ValueError(f"{entry!r} is not an IP address or network")
    try:
        return ip_network(entry, strict=False)
    except ValueError:
        raise ValueError(f"{entry!r} is not an IP address or network") from None


def _embedded_v4(address: IPv6Address) -> IPv4Address | None:
    """Give the IPv4 form of an IPv4-mapped or IPv4-compatible address.

    A dual-stack listener sees IPv4 peers as mapped. The compatible form is read too, as operators' lists
    written for the reference server expect; `::1` is therefore also tested as 0.0.0.1.
    """
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    value = int(address)
    return IPv4Address(value) if value < 2**32 else None


def _entry_text(network: IPv4Network | IPv6Network) -> str:
    if network.prefixlen == network.max_prefixlen:
        return str(network.network_address)
    return str(network)

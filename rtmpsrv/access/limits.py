"""How many connections there may be: per address, and in all. Pure; never blocks."""

from __future__ import annotations

from functools import lru_cache
from ipaddress import IPv6Address, ip_address

from .ip_rules import IpRules

OF_ADDRESS = "from one address"
MAX_KNOWN = 1024  # addresses that were read before, of 62 characters at most: 0.3 MB


class ConnectionLimits:
    """Slots of open connections. Each `admit` that returns None is owed one `release`.

    Addresses of one IPv6 /64 are counted together; an IPv4-mapped address counts as the IPv4 one. Entries
    vanish with their last connection.
    """

    def __init__(
        self,
        per_address: int,
        exempt: IpRules,
        total: int,
        *,
        per_address_variables: str = "",
        total_variable: str = "",
    ) -> None:
        """Begin with all slots free; the settings that an operator may change are named with a refusal."""
        self._per_address_hint = f" ({per_address_variables})" if per_address_variables else ""
        self._total_hint = f" ({total_variable})" if total_variable else ""
        self._per_address = per_address
        self._exempt = exempt
        self._total = total
        self._counts: dict[str, int] = {}
        self._open = 0

    def admit(self, address: str) -> str | None:
        """Take a slot; return why not, None for yes."""
        if self._open >= self._total:
            return f"limit of {self._total} connections{self._total_hint}"
        key = counted_as(address)
        count = self._counts.get(key, 0)
        if count >= self._per_address and address not in self._exempt:
            return f"limit of {self._per_address} connections {OF_ADDRESS}{self._per_address_hint}"
        self.take(address)
        return None

    def take(self, address: str) -> None:
        """Take a slot in any case, for a connection that was admitted before; owed a `release` as well."""
        key = counted_as(address)
        self._counts[key] = self._counts.get(key, 0) + 1
        self._open += 1

    def depart(self, address: str) -> int:
        """Return 0: of this process a slot is as good as any other, and `release` gives it back."""
        return 0

    def arrive(self, slot: int, address: str) -> None:
        """Take a slot for a connection that has moved. Owed a `release`, too."""
        self.take(address)

    def release(self, address: str) -> None:
        """Give back a slot that `admit` gave."""
        key = counted_as(address)
        self._open -= 1
        self._counts[key] -= 1
        if not self._counts[key]:
            del self._counts[key]

    def describe(self) -> dict[str, int]:
        """Say how many slots are taken, and by how many addresses."""
        return {"open": self._open, "addresses": len(self._counts)}


def is_per_address(refusal: str) -> bool:
    """Tell whether what `admit` returned, here or in another process, is about a single address."""
    return OF_ADDRESS in refusal


@lru_cache(maxsize=MAX_KNOWN)
def counted_as(address: str) -> str:
    """Name what an address belongs to: itself, or the /64 of IPv6 that one client usually owns."""
    parsed = ip_address(address.partition("%")[0])
    if isinstance(parsed, IPv6Address):
        if parsed.ipv4_mapped is not None:
            return str(parsed.ipv4_mapped)
        return f"{parsed.exploded[:19]}::/64"
    return str(parsed)

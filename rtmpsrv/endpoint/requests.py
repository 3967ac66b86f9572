"""What a program asks the endpoint for: requests, address rules, and why one is not taken. Data only.

Stream keys may be secrets: they are kept out of every repr and every exception text.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import Enum
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import NewType, TypeAlias

from ..errors import RtmpsrvError

StreamId = NewType("StreamId", str)  # names one flow of media; not a secret, unlike the key
Address: TypeAlias = IPv4Address | IPv6Address
Network: TypeAlias = IPv4Network | IPv6Network

DEFAULT_PORT = 1935
_MAPPED = IPv6Network("::ffff:0:0/96")  # IPv4 addresses as IPv6 sockets show them


class AnyKey(Enum):
    """Every key of the app."""

    ANY = "*"


ANY = AnyKey.ANY


@dataclass(frozen=True, slots=True)
class Exact:
    """One key, compared exactly."""

    key: str = field(repr=False)

    def __post_init__(self) -> None:
        if not isinstance(self.key, str):
            raise TypeError(f"a stream key is text, this one is {type(self.key).__name__}")


StreamKeyRegistration: TypeAlias = AnyKey | Exact


@dataclass(frozen=True, slots=True)
class Allow:
    """Admit only these networks; an empty list admits nobody."""

    networks: tuple[Network, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "networks", _networks(self.networks))

    def permits(self, address: Address) -> bool:
        """Tell whether `address`, which is never IPv4-mapped here, is admitted."""
        return any(address in network for network in self.networks)


@dataclass(frozen=True, slots=True)
class Deny:
    """Admit all but these networks."""

    networks: tuple[Network, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "networks", _networks(self.networks))

    def permits(self, address: Address) -> bool:
        """Tell whether `address`, which is never IPv4-mapped here, is admitted."""
        return not any(address in network for network in self.networks)


IpRestriction: TypeAlias = Allow | Deny | None


class SecondPublisher(Enum):
    """What happens to a publish for a key that has a publisher."""

    REFUSE = "refuse"
    REPLACE = "replace"  # once it passed all checks; the first one is disconnected


@dataclass(frozen=True, slots=True, kw_only=True)
class ListenForPublishers:
    """Accept publishers. Port 0 takes a free port; the handle's `port` says which."""

    rtmp_app: str
    rtmp_stream_key: StreamKeyRegistration = ANY
    port: int = DEFAULT_PORT
    use_tls: bool = False
    ip_restriction: IpRestriction = None
    requires_approval: bool = False
    stream_id: StreamId | None = None  # only sensible together with Exact
    second_publisher: SecondPublisher = SecondPublisher.REFUSE

    def __post_init__(self) -> None:
        _check_where(self.rtmp_app, self.rtmp_stream_key)
        _check_restriction(self.ip_restriction)


@dataclass(frozen=True, slots=True, kw_only=True)
class ListenForWatchers:
    """Accept watchers, and send them media."""

    rtmp_app: str
    rtmp_stream_key: StreamKeyRegistration = ANY
    port: int = DEFAULT_PORT
    use_tls: bool = False
    ip_restriction: IpRestriction = None
    requires_approval: bool = False

    def __post_init__(self) -> None:
        _check_where(self.rtmp_app, self.rtmp_stream_key)
        _check_restriction(self.ip_restriction)


@dataclass(frozen=True, slots=True, kw_only=True)
class Observe:
    """Read along what publishers send, beside the registration that accepts them. Opens no port."""

    rtmp_app: str
    rtmp_stream_key: StreamKeyRegistration = ANY
    port: int = DEFAULT_PORT

    def __post_init__(self) -> None:
        _check_where(self.rtmp_app, self.rtmp_stream_key)


Request: TypeAlias = ListenForPublishers | ListenForWatchers | Observe


class RegistrationFailure(Enum):
    """Why `register` raised."""

    CONFLICT = "conflict"
    TLS_MISMATCH = "tls mismatch"
    PORT_UNAVAILABLE = "port unavailable"
    NO_CERTIFICATE = "no certificate"
    ENDPOINT_CLOSED = "endpoint closed"


class RegistrationError(RtmpsrvError):
    """The endpoint does not take a registration; nothing of it is left behind."""

    def __init__(self, reason: RegistrationFailure, detail: str = "") -> None:
        super().__init__(f"{reason.value}: {detail}" if detail else reason.value)
        self.reason = reason


# --- private --------------------------------------------------------------------------------------


def _check_where(rtmp_app: object, rtmp_stream_key: object) -> None:
    """Raise TypeError for what would silently match nobody."""
    if not isinstance(rtmp_app, str):
        raise TypeError(f"rtmp_app is text, this one is {type(rtmp_app).__name__}")
    if not isinstance(rtmp_stream_key, AnyKey | Exact):
        raise TypeError(f"rtmp_stream_key is ANY or Exact(key), not {type(rtmp_stream_key).__name__}")


def _check_restriction(restriction: object) -> None:
    if not isinstance(restriction, Allow | Deny | None):
        raise TypeError(f"ip_restriction is Allow, Deny or None, not {type(restriction).__name__}")


def _networks(given: object) -> tuple[Network, ...]:
    """Return networks to compare clients with; those of IPv4-mapped addresses become IPv4 ones."""
    if not isinstance(given, Iterable):
        raise TypeError(f"networks are a tuple, this is {type(given).__name__}")
    return tuple(map(_network, given))


def _network(given: object) -> Network:
    if isinstance(given, IPv6Network) and given.subnet_of(_MAPPED):
        return IPv4Network((int(given.network_address) & 0xFFFFFFFF, given.prefixlen - _MAPPED.prefixlen))
    if not isinstance(given, IPv4Network | IPv6Network):
        raise TypeError(f"{given!r} is no network: see ipaddress.ip_network")
    return given

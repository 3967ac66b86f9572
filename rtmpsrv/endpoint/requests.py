"""What a program asks the endpoint for: requests, address rules, and why one is not taken. Data only.

Fields are checked when a value is built: what means something plainly is converted, all else raises TypeError
or ValueError there, not where it would be used.

Stream keys may be secrets: they are kept out of every repr and every exception text.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, fields
from enum import Enum
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network
from typing import Any, ClassVar, NewType, Protocol, TypeAlias

from ..errors import RtmpsrvError
from ..server.requests import split_app

StreamId = NewType("StreamId", str)  # names one flow of media; not a secret, unlike the key
Address: TypeAlias = IPv4Address | IPv6Address
Network: TypeAlias = IPv4Network | IPv6Network

DEFAULT_PORT = 1935
MAX_PORT = 65535
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
        check_text("a stream key", self.key)
        if "?" in self.key:  # not said which: it may be a secret
            raise ValueError("a stream key with a query matches nobody: clients' keys end before the `?`")


StreamKeyRegistration: TypeAlias = AnyKey | Exact


@dataclass(frozen=True, slots=True)
class Allow:
    """Admit only these networks; an empty list admits nobody. Text is read as by `ipaddress.ip_network`."""

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
        check(self)
        stream_id: object = self.stream_id
        second: object = self.second_publisher
        if not isinstance(stream_id, str | None):
            raise TypeError(f"stream_id is text or None, not {type(stream_id).__name__}")
        if not isinstance(second, SecondPublisher):
            object.__setattr__(self, "second_publisher", SecondPublisher(second))  # of its value


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
        check(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Observe:
    """Read along what publishers send, beside the registration that accepts them. Opens no port."""

    rtmp_app: str
    rtmp_stream_key: StreamKeyRegistration = ANY
    port: int = DEFAULT_PORT
    slows_publishers: bool = False  # when its queue is full; else it misses media, which is counted

    def __post_init__(self) -> None:
        check(self)


Request: TypeAlias = ListenForPublishers | ListenForWatchers | Observe


def check_text(what: str, given: object) -> None:
    """Raise TypeError for what is no text, which would be equal to nothing that a client says."""
    if not isinstance(given, str):
        raise TypeError(f"{what} is text, this one is {type(given).__name__}")


class Where(Protocol):
    """What every request has; a dataclass."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def rtmp_app(self) -> str: ...
    @property
    def rtmp_stream_key(self) -> StreamKeyRegistration: ...
    @property
    def port(self) -> int: ...


def check(request: Where) -> None:
    """Raise TypeError or ValueError for what would match nobody, or mean something else than it seems to."""
    app, key, port = request.rtmp_app, request.rtmp_stream_key, request.port
    check_text("rtmp_app", app)
    # As the app of a client is read, too: what is left out there would be out of reach.
    name, _query = split_app(app)
    if "?" in app:
        raise ValueError("rtmp_app is a name, without a query")
    if split_app(name)[0] != name:
        raise ValueError(f"rtmp_app {app!r} names the default instance of a default instance")
    object.__setattr__(request, "rtmp_app", name)
    if not isinstance(key, AnyKey | Exact):
        raise TypeError(f"rtmp_stream_key is ANY or Exact(key), not {type(key).__name__}")
    if not isinstance(port, int) or isinstance(port, bool):
        raise TypeError(f"port is a whole number, this one is {type(port).__name__}")
    for item in fields(request):
        value = getattr(request, item.name)
        if item.type == "bool" and not isinstance(value, bool):
            raise TypeError(f"{item.name} is True or False, not {value!r}")
        if item.name == "ip_restriction" and not isinstance(value, Allow | Deny | None):
            raise TypeError(f"ip_restriction is Allow, Deny or None, not {type(value).__name__}")


class RegistrationFailure(Enum):
    """Why `register` raised."""

    CONFLICT = "conflict"
    TLS_MISMATCH = "tls mismatch"
    PORT_UNAVAILABLE = "port unavailable"
    NO_CERTIFICATE = "no certificate"
    ENDPOINT_CLOSED = "endpoint closed"
    INVALID_REQUEST = "invalid request"  # only said by a request queue; `register` raises what is wrong


class RegistrationError(RtmpsrvError):
    """The endpoint does not take a registration; nothing of it is left behind."""

    def __init__(self, reason: RegistrationFailure, detail: str = "") -> None:
        super().__init__(f"{reason.value}: {detail}" if detail else reason.value)
        self.reason = reason


# --- private --------------------------------------------------------------------------------------


def _networks(given: object) -> tuple[Network, ...]:
    """Return networks to compare clients with; those of IPv4-mapped addresses become IPv4 ones."""
    if isinstance(given, str | IPv4Network | IPv6Network | IPv4Address | IPv6Address):
        return (_network(given),)
    if not isinstance(given, Iterable) or isinstance(given, bytes | bytearray):
        raise TypeError(f"networks are a tuple, this is {type(given).__name__}")
    return tuple(map(_network, given))


def _network(given: object) -> Network:
    if not isinstance(given, str | IPv4Network | IPv6Network | IPv4Address | IPv6Address):
        raise TypeError(f"{given!r} is no network: see ipaddress.ip_network")
    network = ip_network(given)
    if isinstance(network, IPv6Network) and network.subnet_of(_MAPPED):
        return IPv4Network((int(network.network_address) & 0xFFFFFFFF, network.prefixlen - _MAPPED.prefixlen))
    return network

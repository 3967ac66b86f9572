"""The header that a proxy sends before its client's bytes: PROXY protocol, versions 1 and 2. Pure.

By HAProxy's doc/proxy-protocol.txt, sections 2.1 and 2.2. Whose header counts is not decided here, and
nothing is guessed: what does not begin as a header is an error.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from ipaddress import IPv4Address, IPv6Address
from socket import AF_INET6, inet_ntop

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"  # of version 2
V2_HEAD_BYTES = 16  # signature, version and command, family and transport, length
V1_BEGINNING = b"PROXY "
V1_MAX_BYTES = 107  # with its line feed, section 2.1
MAX_REST_BYTES = 4096  # behind the head of version 2; senders may count on 536 to fit

LOCAL, PROXY = 0x20, 0x21  # version 2, and the command
UNSPECIFIED, INET, INET6, UNIX = 0, 1, 2, 3
STREAM = 1
ADDRESS_BYTES = {UNSPECIFIED: 0, INET: 12, INET6: 36, UNIX: 216}

TLV_CRC32C, TLV_UNIQUE_ID, TLV_SSL = 0x03, 0x05, 0x20
MAX_UNIQUE_ID_BYTES = 128
SSL_HEAD_BYTES = 5  # which kinds of certificates, and whether they were verified
CLIENT_SSL = 0x01

_PORT = re.compile(r"0|[1-9][0-9]{0,4}")


class BadHeader(ValueError):
    """What came is no header, or not one that may be believed; the text says why and quotes nothing."""


@dataclass(frozen=True, slots=True)
class ProxyHeader:
    """What a proxy says of a connection."""

    address: str  # of the client; "" where the proxy speaks for itself, or does not know
    secure: bool = False  # the client came to the proxy by TLS


class HeaderReader:
    """Takes one header, in pieces of any size; never a byte behind it, since those are the client's."""

    __slots__ = ("_data",)

    def __init__(self) -> None:
        self._data = b""

    @property
    def wanted(self) -> int:
        """How many bytes may be taken without taking any behind the header."""
        data = self._data
        if len(data) < len(SIGNATURE):
            return len(SIGNATURE) - len(data)  # no header of version 1 is shorter
        if data.startswith(V1_BEGINNING):
            return 1 if data.endswith(b"\r") else 2
        return V2_HEAD_BYTES - len(data) if len(data) < V2_HEAD_BYTES else self._rest_bytes() - len(data)

    @property
    def empty(self) -> bool:
        """True before the first byte."""
        return not self._data

    def feed(self, data: bytes) -> ProxyHeader | None:
        """Take up to `wanted` bytes; return the header when it is whole. Raises BadHeader."""
        self._data = data = self._data + data
        if V1_BEGINNING.startswith(data[: len(V1_BEGINNING)]):
            return self._version_1()
        if not SIGNATURE.startswith(data[: len(SIGNATURE)]):
            raise BadHeader("no PROXY header")
        return self._version_2()

    def _version_1(self) -> ProxyHeader | None:
        ends = self._data.endswith(b"\n")
        if len(self._data) + (not ends) > V1_MAX_BYTES:
            raise BadHeader(f"a PROXY line of more than {V1_MAX_BYTES} bytes")
        return parse_line(self._data) if ends else None

    def _version_2(self) -> ProxyHeader | None:
        data = self._data
        if len(data) < V2_HEAD_BYTES:
            return None
        if data[12] not in (LOCAL, PROXY):
            raise BadHeader(f"PROXY version and command {data[12]:#04x}")
        return parse_binary(data) if len(data) == self._rest_bytes() else None

    def _rest_bytes(self) -> int:
        """Return how long the whole header is, once its head is there."""
        length = int.from_bytes(self._data[14:16], "big")
        if length > MAX_REST_BYTES:
            raise BadHeader(f"a PROXY header of {length} bytes behind its head, limit {MAX_REST_BYTES}")
        return V2_HEAD_BYTES + length


def parse_line(line: bytes) -> ProxyHeader:
    """Read a header of version 1, with the line feed that ends it. Raises BadHeader."""
    if not line.endswith(b"\r\n") or b"\r" in line[:-2] or not line.isascii():
        raise BadHeader("a PROXY line that is not ASCII, or does not end in CR LF")
    words = line[:-2].decode("ascii").split(" ")
    if words[1] == "UNKNOWN":
        return ProxyHeader("")
    if len(words) != 6 or words[1] not in ("TCP4", "TCP6"):
        raise BadHeader("a PROXY line without TCP4 or TCP6, two addresses and two ports")
    if not all(_PORT.fullmatch(port) and int(port) <= 0xFFFF for port in words[4:]):
        raise BadHeader("a PROXY line whose ports are not from 0 to 65535")
    kind = IPv4Address if words[1] == "TCP4" else IPv6Address
    try:
        source, _target = (kind(word) for word in words[2:4])
    except ValueError:
        raise BadHeader(f"a PROXY line whose addresses are not of {words[1]}") from None
    if getattr(source, "scope_id", None) is not None:
        raise BadHeader("a PROXY line whose address has a zone")
    return ProxyHeader(_text(source.packed))


def parse_binary(data: bytes) -> ProxyHeader:
    """Read a whole header of version 2. Raises BadHeader."""
    if data[12] == LOCAL:  # whatever follows does not count
        return ProxyHeader("")
    family, transport = data[13] >> 4, data[13] & 15
    if family not in ADDRESS_BYTES or transport > STREAM:  # datagrams do not come here
        raise BadHeader(f"PROXY family and transport {data[13]:#04x}")
    known = family if transport == STREAM else UNSPECIFIED
    end_of_addresses = V2_HEAD_BYTES + ADDRESS_BYTES[known]
    if len(data) < end_of_addresses:
        raise BadHeader("a PROXY header that is too short for its addresses")
    if known == UNSPECIFIED:
        return ProxyHeader("")  # whether and where there are other values, nobody can say
    secure = _judge_values(data, end_of_addresses)
    if known == UNIX:
        return ProxyHeader("", secure)
    return ProxyHeader(_text(data[16:20] if known == INET else data[16:32]), secure)


def _text(address: bytes) -> str:
    """Write an address as sockets do, those of IPv4 in IPv6 too."""
    return str(IPv4Address(address)) if len(address) == 4 else inet_ntop(AF_INET6, address)


def _judge_values(data: bytes, start: int) -> bool:
    """Check what follows the addresses; tell whether the client came by TLS. Raises BadHeader."""
    secure = has_checksum = False
    for kind, at, end in _values(data, start):
        length = end - at
        if kind == TLV_CRC32C:
            given = int.from_bytes(data[at:end], "big")
            if has_checksum:  # each costs a walk over all of it
                raise BadHeader("a PROXY header with several checksums")
            has_checksum = True
            if length != 4 or given != crc32c(data[:at] + bytes(4) + data[end:]):
                raise BadHeader("a PROXY header whose checksum is wrong")
        elif kind == TLV_UNIQUE_ID and length > MAX_UNIQUE_ID_BYTES:
            raise BadHeader(f"a PROXY header with an id of {length} bytes, limit {MAX_UNIQUE_ID_BYTES}")
        elif kind == TLV_SSL:
            if length < SSL_HEAD_BYTES:
                raise BadHeader("a PROXY header whose part about TLS is too short")
            secure = bool(data[at] & CLIENT_SSL)
    return secure


def _values(data: bytes, start: int) -> Iterator[tuple[int, int, int]]:
    """Give kind, beginning and end of each value: a byte, two for the length, and the value."""
    while start < len(data):
        at = start + 3
        end = at + int.from_bytes(data[start + 1 : at], "big")
        if at > len(data) or end > len(data):
            raise BadHeader("a PROXY header whose values are longer than it is")
        yield data[start], at, end
        start = end


def crc32c(data: bytes) -> int:
    """Return the checksum of RFC 3309 (Castagnoli), which Python's library does not have."""
    table = _crc_table()
    crc = 0xFFFFFFFF
    for byte in data:
        crc = crc >> 8 ^ table[crc & 0xFF ^ byte]
    return crc ^ 0xFFFFFFFF


@cache
def _crc_table() -> tuple[int, ...]:
    table = []
    for entry in range(256):
        for _ in range(8):
            entry = entry >> 1 ^ (0x82F63B78 if entry & 1 else 0)
        table.append(entry)
    return tuple(table)

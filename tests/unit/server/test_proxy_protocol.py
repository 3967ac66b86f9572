from __future__ import annotations

import socket
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtmpsrv.server.proxy_protocol import (
    MAX_REST_BYTES,
    SIGNATURE,
    V1_MAX_BYTES,
    BadHeader,
    HeaderReader,
    ProxyHeader,
    crc32c,
)

V4 = socket.inet_aton("192.0.2.7") + socket.inet_aton("198.51.100.1") + struct.pack("!HH", 40_000, 1935)
V6 = (
    socket.inet_pton(socket.AF_INET6, "2001:db8::7")
    + socket.inet_pton(socket.AF_INET6, "2001:db8::1")
    + struct.pack("!HH", 40_000, 1935)
)
UNIX = b"/run/one".ljust(108, b"\0") + b"/run/two".ljust(108, b"\0")


def binary(rest: bytes, kind: int = 0x11, command: int = 0x21) -> bytes:
    return SIGNATURE + bytes((command, kind)) + len(rest).to_bytes(2, "big") + rest


def value(kind: int, content: bytes) -> bytes:
    return bytes((kind,)) + len(content).to_bytes(2, "big") + content


def summed(rest: bytes) -> bytes:
    """Return a header with its checksum as the last value."""
    blank = binary(rest + value(3, bytes(4)))
    return blank[:-4] + crc32c(blank).to_bytes(4, "big")


def summed_twice() -> bytes:
    """Return a header with two checksums, of which the first is right."""
    blank = binary(V4 + value(3, bytes(4)) * 2)
    return blank[:-11] + crc32c(blank).to_bytes(4, "big") + blank[-7:]


def read(data: bytes, piece: int = 1 << 20) -> tuple[ProxyHeader, int]:
    """Take a header as a socket gives it; return it, and how much was taken."""
    reader, taken = HeaderReader(), 0
    while True:
        wanted = reader.wanted
        assert wanted > 0
        given = data[taken : taken + min(wanted, piece)]
        assert given, "it wants more than there is"
        taken += len(given)
        header = reader.feed(given)
        assert not reader.empty
        if header is not None:
            return header, taken


GOOD = [
    pytest.param(b"PROXY TCP4 192.0.2.7 198.51.100.1 40000 1935\r\n", "192.0.2.7", id="1: IPv4"),
    pytest.param(b"PROXY TCP6 2001:db8:0::7 2001:db8::1 0 65535\r\n", "2001:db8::7", id="1: IPv6"),
    pytest.param(b"PROXY TCP6 ::ffff:192.0.2.7 ::1 1 2\r\n", "::ffff:192.0.2.7", id="1: mapped"),
    pytest.param(b"PROXY UNKNOWN\r\n", "", id="1: unknown"),
    pytest.param(
        b"PROXY UNKNOWN ffff:f...f:ffff ffff:f...f:ffff 65535 65535 and so on\r\n", "", id="1: unknown, long"
    ),
    pytest.param(b"PROXY UNKNOWN".ljust(V1_MAX_BYTES - 2, b" ") + b"\r\n", "", id="1: as long as it may be"),
    pytest.param(binary(V4), "192.0.2.7", id="2: IPv4"),
    pytest.param(binary(V6, 0x21), "2001:db8::7", id="2: IPv6"),
    pytest.param(binary(UNIX, 0x31), "", id="2: Unix"),
    pytest.param(binary(b"", 0x00), "", id="2: unspecified"),
    pytest.param(binary(b"anything", 0x01), "", id="2: unspecified stream"),
    pytest.param(binary(V4, 0x10), "", id="2: unspecified transport"),
    pytest.param(binary(b"", 0x00, 0x20), "", id="2: local"),
    pytest.param(binary(V4 + b"\xff", 0xFF, 0x20), "", id="2: local, the rest does not count"),
    pytest.param(binary(V4 + value(4, b"padding") + value(0xEA, b"\x01vpce")), "192.0.2.7", id="2: values"),
    pytest.param(binary(V4 + value(5, bytes(128))), "192.0.2.7", id="2: the longest id"),
    pytest.param(
        binary(V4 + value(4, bytes(MAX_REST_BYTES - len(V4) - 3))), "192.0.2.7", id="2: as long as may be"
    ),
    pytest.param(summed(V4 + value(4, b"x")), "192.0.2.7", id="2: checksum"),
]


@pytest.mark.parametrize("piece", [1, 3, 1 << 20])
@pytest.mark.parametrize(("data", "address"), GOOD)
def test_a_header_is_read_and_not_a_byte_behind_it(data: bytes, address: str, piece: int) -> None:
    header, taken = read(data + b"\x03 the client's", piece)
    assert header == ProxyHeader(address)
    assert taken == len(data)


@pytest.mark.parametrize(("client_bits", "secure"), [(0, False), (1, True), (2, False), (7, True)])
def test_a_proxy_tells_that_its_client_came_by_tls(client_bits: int, secure: bool) -> None:
    about = bytes((client_bits,)) + bytes(4) + value(0x21, b"TLSv1.3")
    assert read(binary(V4 + value(0x20, about)))[0] == ProxyHeader("192.0.2.7", secure)


NO_HEADER = "no PROXY header"
BAD = [
    pytest.param(b"\x03", NO_HEADER, id="RTMP"),
    pytest.param(b"\x16\x03\x01", NO_HEADER, id="TLS"),
    pytest.param(b"PROXX", NO_HEADER, id="almost version 1"),
    pytest.param(b"\r\n\r\n\0\r\nQUIT\r", NO_HEADER, id="almost version 2"),
    pytest.param(b"PROXY TCP4 192.0.2.7 198.51.100.1 40000 1935\n", "CR LF", id="1: no CR"),
    pytest.param(b"PROXY UNKNOWN\r \r\n", "CR LF", id="1: CR inside"),
    pytest.param(b"PROXY UNKNOWN \xe9\r\n", "ASCII", id="1: not ASCII"),
    pytest.param(b"PROXY \r\n     \r\n", "a PROXY line", id="1: shorter than any"),
    pytest.param(b"PROXY TCP4 192.0.2.7 198.51.100.1 40000\r\n", "two ports", id="1: a part is missing"),
    pytest.param(b"PROXY TCP4 192.0.2.7  198.51.100.1 40000 1935\r\n", "two ports", id="1: two blanks"),
    pytest.param(b"PROXY TCP4 192.0.2.7 198.51.100.1 40000 1935 \r\n", "two ports", id="1: a blank behind"),
    pytest.param(b"PROXY UDP4 192.0.2.7 198.51.100.1 40000 1935\r\n", "without TCP4", id="1: datagrams"),
    pytest.param(b"PROXY tcp4 192.0.2.7 198.51.100.1 40000 1935\r\n", "without TCP4", id="1: small letters"),
    pytest.param(b"PROXY TCP4 192.0.2.7 198.51.100.1 40000 65536\r\n", "from 0 to 65535", id="1: port"),
    pytest.param(b"PROXY TCP4 192.0.2.7 198.51.100.1 040 1935\r\n", "from 0 to 65535", id="1: port with 0"),
    pytest.param(b"PROXY TCP4 192.0.2.07 198.51.100.1 1 2\r\n", "not of TCP4", id="1: address with 0"),
    pytest.param(b"PROXY TCP4 2001:db8::7 2001:db8::1 1 2\r\n", "not of TCP4", id="1: IPv6 as IPv4"),
    pytest.param(b"PROXY TCP6 192.0.2.7 198.51.100.1 1 2\r\n", "not of TCP6", id="1: IPv4 as IPv6"),
    pytest.param(b"PROXY TCP6 fe80::1%eth0 fe80::2 1 2\r\n", "zone", id="1: zone"),
    pytest.param(b"PROXY UNKNOWN".ljust(V1_MAX_BYTES - 1, b" ") + b"\r\n", "more than 107", id="1: too long"),
    pytest.param(b"PROXY ".ljust(V1_MAX_BYTES + 1, b"x"), "more than 107", id="1: without end"),
    pytest.param(binary(V4, command=0x11), "version and command 0x11", id="2: version"),
    pytest.param(binary(V4, command=0x22), "version and command 0x22", id="2: command"),
    pytest.param(binary(V4, 0x41), "family and transport 0x41", id="2: family"),
    pytest.param(binary(V4, 0x12), "family and transport 0x12", id="2: datagrams"),
    pytest.param(binary(V4, 0x13), "family and transport 0x13", id="2: transport"),
    pytest.param(binary(V4[:-1]), "too short", id="2: IPv4 cut"),
    pytest.param(binary(V4, 0x21), "too short", id="2: IPv6 cut"),
    pytest.param(binary(bytes(MAX_REST_BYTES + 1)), "4097 bytes", id="2: too long"),
    pytest.param(binary(V4 + b"\x04\0"), "longer than it is", id="2: value without length"),
    pytest.param(binary(V4 + b"\x04\0\x02x"), "longer than it is", id="2: value cut"),
    pytest.param(binary(V4 + value(5, bytes(129))), "129 bytes", id="2: id too long"),
    pytest.param(binary(V4 + value(0x20, bytes(4))), "TLS", id="2: too little about TLS"),
    pytest.param(summed(V4)[:-1] + b"\0", "checksum", id="2: wrong checksum"),
    pytest.param(binary(V4 + value(3, b"\0")), "checksum", id="2: short checksum"),
    pytest.param(summed_twice(), "several checksums", id="2: several checksums"),
]


@pytest.mark.parametrize("piece", [1, 1 << 20])
@pytest.mark.parametrize(("data", "why"), BAD)
def test_what_is_wrong_is_refused_and_said(data: bytes, why: str, piece: int) -> None:
    with pytest.raises(BadHeader, match=why):
        read(data, piece)


def test_it_is_empty_before_the_first_byte() -> None:
    assert HeaderReader().empty
    reader = HeaderReader()
    reader.feed(b"P")
    assert not reader.empty


def test_the_checksum_is_castagnolis() -> None:
    assert crc32c(b"123456789") == 0xE3069283


@given(st.sampled_from([b"", b"PROXY ", b"PROXY TCP4 ", SIGNATURE, SIGNATURE + b"\x21\x11\0"]), st.binary())
def test_whatever_comes_is_a_header_or_refused(beginning: bytes, rest: bytes) -> None:
    data = (beginning + rest).ljust(MAX_REST_BYTES + 100, b"\0")
    try:
        _, taken = read(data)
    except BadHeader:
        return
    assert taken <= 16 + MAX_REST_BYTES

from __future__ import annotations

import pytest

from rtmpsrv.server.http import head as head_module
from rtmpsrv.server.http.head import MAX_PARAMETERS, BadRequest, Head, read_head


def get(*lines: str, first: str = "GET /live.flv?key=a%20b&key=c HTTP/1.1") -> Head:
    return read_head("".join(f"{line}\r\n" for line in (first, "Host: x", *lines, "")).encode("latin-1"))


def refusal(raw: bytes) -> int:
    with pytest.raises(BadRequest) as caught:
        read_head(raw)
    return caught.value.status


def test_a_request() -> None:
    head = get("User-Agent: Lavf", "X: 1", "x: 2")
    assert (head.method, head.path, head.query) == ("GET", "/live.flv", "key=a%20b&key=c")
    assert head.headers == {"host": "x", "user-agent": "Lavf", "x": "1"}
    assert head.parameters() == {"key": "a b"}
    assert head.keeps
    assert not head.is_old
    assert not head.is_websocket
    assert "a%20b" not in repr(head)


def test_lists_that_come_in_pieces() -> None:
    head = get("X-Forwarded-For: 9.9.9.9", "Connection: x", "X-Forwarded-For: 1.2.3.4", "Connection: close")
    assert head.headers["x-forwarded-for"] == "9.9.9.9, 1.2.3.4"
    assert not head.keeps


def test_what_a_query_may_say() -> None:
    assert get(first="GET /?=x&a&b=1=2&&c=%zz HTTP/1.1").parameters() == {"a": "", "b": "1=2", "c": "%zz"}
    many = "&".join(f"p{number}=" for number in range(2 * MAX_PARAMETERS))
    assert len(get(first=f"GET /?{many} HTTP/1.1").parameters()) == MAX_PARAMETERS


def test_whether_the_connection_goes_on() -> None:
    assert not get("Connection: foo, Close").keeps
    old = read_head(b"GET / HTTP/1.0\r\n\r\n")
    assert old.is_old
    assert not old.keeps


def test_who_asks_for_a_websocket() -> None:
    assert get("Upgrade: WebSocket", "Connection: Upgrade").is_websocket
    assert not get("Upgrade: h2c").is_websocket


def test_a_body_of_no_bytes_is_none() -> None:
    assert get("Content-Length: 0").method == "GET"


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (b"GET / HTTP/1.1\nHost: x\n\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: x\rY: z\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: x\r\n folded\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: x\r\n\tfolded\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: x\0\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n", 413),
        (b"GET / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n", 413),
        (b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", 413),
        (b"GET / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: x\r\n\r\n", 501),
        (b"POST / HTTP/1.1\r\nHost: x\r\n\r\n", 405),
        (b"CONNECT x:1 HTTP/1.1\r\nHost: x\r\n\r\n", 405),
        (b"GET / HTTP/3.0\r\nHost: x\r\n\r\n", 505),
    ],
)
def test_what_is_refused(raw: bytes, status: int) -> None:
    assert refusal(raw) == status


def test_fields_that_were_read_before_belong_to_any_request() -> None:
    fields = b"Host: x\r\nX: 7\r\n\r\n"
    first = read_head(b"GET /a?b=c HTTP/1.1\r\n" + fields)
    second = read_head(b"HEAD /d HTTP/1.1\r\n" + fields)
    assert first.headers is second.headers
    assert (first.method, first.path, first.query) == ("GET", "/a", "b=c")
    assert (second.method, second.path, second.query) == ("HEAD", "/d", "")
    assert first == head_module._read_all(b"GET /a?b=c HTTP/1.1\r\n" + fields)
    assert not read_head(b"GET / HTTP/1.1\r\nConnection: close\r\n" + fields).keeps


@pytest.mark.parametrize(
    "line",
    [b"GET  / HTTP/1.1", b"GET / HTTP/1.1 ", b"get / HTTP/1.1", b"GET / a HTTP/1.1", b"GET /\x7f HTTP/1.1"],
)
def test_unusual_lines_are_refused_as_ever(line: bytes) -> None:
    fields = b"\r\nHost: x\r\n\r\n"
    read_head(b"GET / HTTP/1.1" + fields)
    assert refusal(line + fields) in (400, 405)


def test_long_fields_are_not_kept() -> None:
    fields = b"Host: x\r\nX: " + b"y" * head_module.MAX_KNOWN_BYTES + b"\r\n\r\n"
    one, other = (read_head(b"GET / HTTP/1.1\r\n" + fields) for _ in range(2))
    assert one == other
    assert one.headers is not other.headers


@pytest.mark.parametrize(("more", "kept"), [(0, True), (1, False)])
def test_fields_of_many_lines_are_not_kept(more: int, kept: bool) -> None:
    lines = b"".join(b"x%d: y\r\n" % number for number in range(head_module.MAX_KNOWN_LINES - 1 + more))
    one, other = (read_head(b"GET / HTTP/1.1\r\nHost: x\r\n" + lines + b"\r\n") for _ in range(2))
    assert one == other
    assert (one.headers is other.headers) == kept

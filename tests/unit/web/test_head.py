"""Heads of requests: what is read, and what is refused whatever a proxy would make of it."""

from __future__ import annotations

import pytest

from rtmpsrv.web.head import MAX_BODY_BYTES, MAX_FIELDS, MAX_HEAD_BYTES, BadRequest, end_of, parse


def head(*lines: str, line: str = "GET / HTTP/1.1", host: bool = True) -> bytes:
    fields = ["Host: a", *lines] if host else list(lines)
    return "\r\n".join([line, *fields, "", ""]).encode("latin-1")


def refused(data: bytes) -> int:
    with pytest.raises(BadRequest) as caught:
        parse(data)
    return caught.value.status


def test_a_request_is_read() -> None:
    found = parse(head("X-Two: 1", "Content-Length: 12", "x-two:  2 \t", line="POST /a%20b?c=d HTTP/1.1"))
    assert (found.method, found.target, found.version) == ("POST", "/a%20b?c=d", "HTTP/1.1")
    assert found.fields == {"host": "a", "x-two": "1, 2", "content-length": "12"}
    assert (found.body_bytes, found.keeps, found.waits) == (12, True, False)
    assert parse(head(line="GET /\xe4 HTTP/1.1")).target == "/\xe4"


@pytest.mark.parametrize(
    ("line", "fields", "keeps"),
    [
        ("GET / HTTP/1.1", ("Connection: x, Close",), False),
        ("GET / HTTP/1.0", (), False),
        ("GET / HTTP/1.0", ("Connection: keep-alive",), True),
    ],
)
def test_whether_the_connection_is_kept(line: str, fields: tuple[str, ...], keeps: bool) -> None:
    assert parse(head(*fields, line=line)).keeps is keeps


def test_who_waits_for_a_word_before_the_body_is_known() -> None:
    assert parse(head("Expect: 100-Continue")).waits
    assert not parse(head("Expect: 100-continue", line="GET / HTTP/1.0")).waits
    assert parse(head(host=False, line="GET / HTTP/1.0")).fields == {}


@pytest.mark.parametrize(
    "line",
    [
        "", "GET /",
        "GET  / HTTP/1.1", "GET / HTTP/1.1 ", " GET / HTTP/1.1",
        "GET /a b HTTP/1.1",
        "G(T / HTTP/1.1", "GET http://a/ HTTP/1.1", "GET a HTTP/1.1", "CONNECT a:1 HTTP/1.1",
        "GET * HTTP/1.1",
        "GET /\x00 HTTP/1.1", "GET /\x7f HTTP/1.1", "GET / http/1.1", "GET\t/ HTTP/1.1",
    ],
)  # fmt: skip
def test_a_line_that_is_none_is_refused(line: str) -> None:
    assert refused(head(line=line)) == 400


@pytest.mark.parametrize("version", ["HTTP/0.9", "HTTP/2.0", "HTTP/1.2"])
def test_other_versions_are_refused(version: str) -> None:
    assert refused(head(line=f"GET / {version}")) == 505


@pytest.mark.parametrize(
    "fields",
    [
        ("Content-Length: 1", "Content-Length: 1"),
        ("Content-Length: 1, 1",),
        ("Content-Length: +1",),
        ("Content-Length: -1",),
        ("Content-Length: 0x1",),
        ("Content-Length: ",),
        ("Content-Length: \xb2",),
        ("Content-Length : 1",),
        (" Content-Length: 1",),
        ("X: a", "\tfolded: b"),
        ("Transfer-Encoding: chunked", "Content-Length: 1"),
        ("Content-Length: 1", "Transfer-Encoding: chunked"),
        ("Transfer-Encoding: chunked", "Transfer-Encoding: identity"),
        ("Transfer-Encoding: gzip, chunked",),
        ("Transfer-Encoding: \x0bchunked",),
        ("Transfer-Encoding: xchunked",),
        ("Host: b",),
        ("Authorization: a", "Authorization: b"),
        ("X: \x00",),
        ("X: \x08",),
        (": x",),
        ("X",),
        ("\xe4: x",),
    ],
)
def test_what_two_readers_could_take_for_different_requests_is_refused(fields: tuple[str, ...]) -> None:
    assert refused(head(*fields)) == 400


def test_a_body_has_a_length_and_that_a_bound() -> None:
    assert refused(head("Transfer-Encoding: Chunked")) == 411
    assert parse(head(f"Content-Length: {MAX_BODY_BYTES}")).body_bytes == MAX_BODY_BYTES
    assert refused(head(f"Content-Length: {MAX_BODY_BYTES + 1}")) == 413


def test_http_1_1_has_a_host() -> None:
    assert refused(head(host=False)) == 400
    assert refused(head("Host: ", host=False)) == 400


def test_fields_are_counted() -> None:
    assert parse(head(*["X: y"] * (MAX_FIELDS - 1)))
    assert refused(head(*["X: y"] * MAX_FIELDS)) == 431


def test_the_end_of_a_head_is_found_however_it_comes() -> None:
    data = head("X: y") + b"rest"
    whole = len(data) - 4
    assert end_of(data) == whole
    assert [end_of(data[:end], max(0, end - 1)) for end in range(1, whole)] == [-1] * (whole - 1)
    assert end_of(data[:whole], whole - 1) == whole
    assert end_of(data[:whole], whole - 3) == whole


@pytest.mark.parametrize("bad", [b"\n", b"GET / HTTP/1.1\n", b"GET / HTTP/1.1\r\nX: y\nY: z\r\n", b"GET \r/"])
def test_lines_end_with_both_characters(bad: bytes) -> None:
    with pytest.raises(BadRequest) as caught:
        end_of(bad)
    assert caught.value.status == 400
    with pytest.raises(BadRequest):
        assert {end_of(bad[:end], max(0, end - 1)) for end in range(1, len(bad) + 1)} == {-1}


def test_what_follows_the_head_is_not_looked_at() -> None:
    data = head()
    assert end_of(data + b"\n\r\n\x00") == len(data)


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"G" * (MAX_HEAD_BYTES + 1), 414),
        (b"GET /" + b"x" * MAX_HEAD_BYTES + b" HTTP/1.1\r\n\r\n", 414),
        (b"GET / HTTP/1.1\r\nX: " + b"y" * MAX_HEAD_BYTES, 431),
    ],
)
def test_a_head_has_a_bound(data: bytes, status: int) -> None:
    with pytest.raises(BadRequest) as caught:
        end_of(data)
    assert caught.value.status == status

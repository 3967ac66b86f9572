"""Who is let in."""

from __future__ import annotations

import base64

import pytest

from rtmpsrv.web.guard import Guard, host_of, is_of_another_site

TOKEN = "Kleinod-7261"
FAR = {"REMOTE_ADDR": "192.0.2.1", "HTTP_HOST": "live.example.org"}
HERE = {"REMOTE_ADDR": "127.0.0.1", "HTTP_HOST": "localhost:9997", "REQUEST_METHOD": "GET", "PATH_INFO": "/"}


def basic(name: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()


def status(guard: Guard, environ: dict[str, str], **more: str) -> int | None:
    refusal = guard.judge(environ | more)
    return refusal.status if refusal is not None else None


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1:9997", "[::1]:1", "LOCALHOST:80"])
def test_without_credentials_this_machine_is_let_in_under_its_own_names(host: str) -> None:
    assert status(Guard("", {}), HERE, HTTP_HOST=host) is None
    assert status(Guard("", {}), HERE, HTTP_HOST=host, REMOTE_ADDR="::ffff:127.0.0.1") is None


@pytest.mark.parametrize(
    "host", ["", "evil.example", "127.0.0.1.evil.example", "192.0.2.1", "[", "localhost."]
)
def test_without_credentials_other_names_are_refused(host: str) -> None:
    assert status(Guard("", {}), HERE, HTTP_HOST=host) == 403


def test_without_credentials_nobody_else_is_let_in() -> None:
    guard = Guard("", {})
    assert not guard.asks
    for path in ("/", "/healthz", "/v3/info"):
        assert status(guard, HERE, REMOTE_ADDR="192.0.2.1", PATH_INFO=path) == 403
    assert status(guard, {}) == 403


@pytest.mark.parametrize("where", [HERE, FAR])
def test_with_a_token_it_is_needed_from_everywhere(where: dict[str, str]) -> None:
    guard = Guard(TOKEN, {})
    for wrong in (
        "",
        "Bearer",
        "Bearer x",
        f"Digest {TOKEN}",
        f"Bearer {TOKEN}x",
        TOKEN,
        "Basic ?",
        "Basic eA==",
    ):
        assert status(guard, where, HTTP_AUTHORIZATION=wrong) == 401
    assert status(guard, where, HTTP_AUTHORIZATION=basic("x", "y")) == 401
    assert status(guard, where, HTTP_AUTHORIZATION=f"bearer  {TOKEN}") is None
    assert status(guard, where, HTTP_AUTHORIZATION=basic("whoever", TOKEN)) is None


def test_users_have_a_password_each() -> None:
    guard = Guard("", {"eve": "a:b", "ädam": "ü"})
    assert guard.asks
    assert status(guard, FAR, HTTP_AUTHORIZATION=basic("eve", "a:b")) is None
    assert status(guard, FAR, HTTP_AUTHORIZATION=basic("ädam", "ü")) is None
    for name, password in (("eve", "ü"), ("eve", ""), ("", "a:b"), ("nobody", "a:b")):
        assert status(guard, FAR, HTTP_AUTHORIZATION=basic(name, password)) == 401
    assert status(guard, FAR, HTTP_AUTHORIZATION="Bearer a:b") == 401


def test_probes_of_this_machine_need_no_credentials() -> None:
    guard = Guard(TOKEN, {})
    for path in ("/healthz", "/readyz"):
        assert status(guard, HERE, PATH_INFO=path) is None
        assert status(guard, FAR, PATH_INFO=path) == 401
    assert status(guard, HERE, PATH_INFO="/healthz/x") == 401


def test_pages_of_other_sites_are_kept_out_with_credentials_too() -> None:
    guard = Guard(TOKEN, {})
    good = {"HTTP_AUTHORIZATION": f"Bearer {TOKEN}"}
    assert status(guard, FAR | good, HTTP_SEC_FETCH_SITE="cross-site") == 403
    assert status(guard, FAR | good, HTTP_ORIGIN="https://evil.example") == 403
    assert status(guard, FAR | good, HTTP_ORIGIN="https://live.example.org") == 403
    proxied = FAR | good | {"HTTP_X_FORWARDED_PROTO": "https"}
    assert status(guard, proxied, HTTP_ORIGIN="https://live.example.org") is None
    assert status(guard, proxied, HTTP_ORIGIN="http://live.example.org") == 403


@pytest.mark.parametrize(
    ("environ", "other"),
    [
        ({}, False),
        ({"HTTP_SEC_FETCH_SITE": "same-origin", "HTTP_ORIGIN": "https://a"}, False),
        ({"HTTP_SEC_FETCH_SITE": "none"}, False),
        ({"HTTP_SEC_FETCH_SITE": "same-site"}, True),
        ({"HTTP_SEC_FETCH_SITE": "cross-site", "HTTP_SEC_FETCH_MODE": "no-cors"}, True),
        ({"HTTP_ORIGIN": "http://localhost:9997"}, False),
        ({"HTTP_ORIGIN": "http://localhost:9998"}, True),
        ({"HTTP_ORIGIN": "https://localhost:9997"}, True),
        ({"HTTP_ORIGIN": "https://LOCALHOST:9997", "wsgi.url_scheme": "https"}, False),
        ({"HTTP_ORIGIN": "http://localhost:9997", "wsgi.url_scheme": "https"}, True),
        ({"HTTP_ORIGIN": "https://localhost:9997", "HTTP_X_FORWARDED_PROTO": "https, http"}, False),
        ({"HTTP_ORIGIN": "null"}, True),
        ({"HTTP_ORIGIN": ""}, True),
        ({"HTTP_ORIGIN": "http://["}, True),
    ],
)
def test_what_a_browser_says_of_where_it_asks_from(environ: dict[str, str], other: bool) -> None:
    assert is_of_another_site(HERE | environ) is other


def test_a_link_to_the_page_may_be_followed_but_not_to_what_changes_things() -> None:
    link = {
        "HTTP_SEC_FETCH_SITE": "cross-site",
        "HTTP_SEC_FETCH_MODE": "navigate",
        "HTTP_SEC_FETCH_DEST": "document",
    }
    assert not is_of_another_site(HERE | link)
    assert is_of_another_site(HERE | link, changes=True)
    assert is_of_another_site(HERE | link | {"REQUEST_METHOD": "POST"})
    assert is_of_another_site(HERE | link | {"HTTP_SEC_FETCH_DEST": "iframe"})


def test_hosts_without_ports() -> None:
    assert [host_of(text) for text in ("a:1", "[::1]", "", "[", "A")] == ["a", "::1", "", "", "a"]

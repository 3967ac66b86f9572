"""What may be set for viewers by HTTP."""

from __future__ import annotations

import pytest

from rtmpsrv.check import check
from rtmpsrv.http_settings import MISSING, installed, was_asked_for
from tests.unit.test_config import load, problems_of


def test_defaults() -> None:
    config = load()
    assert (config.http_bind_address, config.http_port) == ("127.0.0.1", 8080)
    assert not config.http_tls
    assert config.http_allow_origin == ""
    assert config.http_trusted_proxies.empty
    assert not was_asked_for(config)
    assert was_asked_for(load(HTTP_PORT="8080"))


def test_tls_needs_the_certificate() -> None:
    (problem,) = problems_of(HTTP_TLS="YES")
    assert problem.startswith("HTTP_TLS: ")
    assert load(HTTP_TLS="YES", SSL_CERT="x.pem", SSL_KEY="y.pem").http_tls
    assert load(HTTP_TLS="YES", HTTP_PORT="0").http_port == 0


@pytest.mark.parametrize("rule", ["*", "https://a.example", "http://[::1]:80, https://b.example:8443"])
def test_origins(rule: str) -> None:
    assert load(HTTP_ALLOW_ORIGIN=rule).http_allow_origin == rule


@pytest.mark.parametrize("rule", ["a.example", "https://a.example/", "*,*", "https://a, x", "null"])
def test_what_is_no_origin(rule: str) -> None:
    assert problems_of(HTTP_ALLOW_ORIGIN=rule)[0].startswith("HTTP_ALLOW_ORIGIN: entry ")


def test_whether_the_extra_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    assert installed()
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert not installed()
    assert f"# WARNING: {MISSING} (HTTP_PORT=0 wants none)" in check()[0]
    monkeypatch.setenv("HTTP_PORT", "8081")
    assert f"# ERROR: HTTP_PORT: {MISSING}" in check()[0]

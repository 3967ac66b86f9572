"""What is let in at the admin side, as the settings say."""

from __future__ import annotations

import re

import pytest

from rtmpsrv.api_settings import MISSING, installed, is_loopback, users_of
from rtmpsrv.check import check
from tests.server_process import PROJECT
from tests.unit.test_config import load, problems_of, warnings_of

SECRET = "Kleinod-7261"


@pytest.mark.parametrize("address", ["127.0.0.1", "127.9.9.9", "::1", "localhost", "::ffff:127.0.0.1"])
def test_addresses_of_this_machine_alone(address: str) -> None:
    assert is_loopback(address)


@pytest.mark.parametrize("address", ["0.0.0.0", "::", "192.0.2.1", "example.org", "fe80::1%eth0", ""])
def test_addresses_that_others_reach(address: str) -> None:
    assert not is_loopback(address)


def test_users_are_names_with_passwords() -> None:
    assert users_of("") == {}
    assert users_of("eve:a:b, adam:c") == {"eve": "a:b", "adam": "c"}


@pytest.mark.parametrize("text", ["eve", "eve:", ":x", "eve:x,", "eve:x,eve:y"])
def test_what_is_no_list_of_users_is_refused_without_being_shown(text: str) -> None:
    (problem,) = problems_of(API_USERS=text.replace("x", SECRET))
    assert problem.startswith("API_USERS: entry ")
    assert SECRET not in problem
    assert "eve" not in problem


def test_who_can_be_reached_by_others_needs_a_token_or_users() -> None:
    (problem,) = problems_of(API_BIND_ADDRESS="0.0.0.0")
    assert problem.startswith("API_BIND_ADDRESS: 0.0.0.0 is not of this machine alone")
    assert load(API_BIND_ADDRESS="0.0.0.0", API_TOKEN=SECRET).api_token == SECRET
    assert load(API_BIND_ADDRESS="0.0.0.0", API_USERS=f"eve:{SECRET}").api_users
    assert load(API_BIND_ADDRESS="0.0.0.0", API_PORT="0").api_port == 0


@pytest.mark.parametrize("token", ["two words", "schlüssel", "line\n"])
def test_a_token_is_what_a_header_may_hold(token: str) -> None:
    (problem,) = problems_of(API_TOKEN=token)
    assert problem == "API_TOKEN: holds characters that no HTTP header may hold"


def test_what_others_can_read_along_is_warned_of() -> None:
    told = "API_BIND_ADDRESS=0.0.0.0 without API_TLS: "
    (warning,) = warnings_of(API_BIND_ADDRESS="0.0.0.0", API_TOKEN=SECRET)
    assert warning.startswith(told)
    assert SECRET not in warning
    secure = {"API_TLS": "YES", "SSL_CERT": __file__, "SSL_KEY": __file__}
    assert warnings_of(API_BIND_ADDRESS="0.0.0.0", API_TOKEN=SECRET, **secure) == []
    assert warnings_of(API_BIND_ADDRESS="0.0.0.0", API_TOKEN=SECRET, API_PORT="0") == []
    assert warnings_of(API_TOKEN=SECRET) == []


def test_tls_needs_the_certificate() -> None:
    (problem,) = problems_of(API_TLS="YES")
    assert problem.startswith("API_TLS: ")
    assert load(API_TLS="YES", SSL_CERT="x.pem", SSL_KEY="y.pem").api_tls


def test_the_extra_is_installed_as_the_documentation_says() -> None:
    command = re.search("pip install '.*?'", MISSING)
    assert command is not None
    assert command[0] in (PROJECT / "README.md").read_text()


def test_whether_the_extra_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    assert installed()
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert not installed()
    monkeypatch.setenv("HTTP_PORT", "0")
    told = f"# WARNING: {MISSING} (API_PORT=0 wants none)", f"# ERROR: API_PORT: {MISSING}"
    assert marked() == [told[0]], "nobody asked for it"
    monkeypatch.setenv("API_BIND_ADDRESS", "127.0.0.1")
    assert marked() == [told[1]]
    monkeypatch.delenv("API_BIND_ADDRESS")
    monkeypatch.setenv("API_PORT", "9998")
    assert marked() == [told[1]]
    monkeypatch.setenv("API_PORT", "0")
    assert marked() == []


def marked() -> list[str]:
    """Return what `--check-config` finds; see that the verdict agrees."""
    lines, right = check()
    found = [line for line in lines if line.startswith("#")]
    assert right is not bool(found)
    return found

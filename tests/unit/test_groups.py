"""Which settings are in use, and which were given."""

from __future__ import annotations

import pytest

from rtmpsrv.config import SETTINGS
from rtmpsrv.groups import API, given_in
from tests.unit.test_config import load, problems_of


def test_given_is_what_is_set_under_its_name_or_an_alias() -> None:
    environ = {"API_PORT": "9997", "RTMP_PORT": "", "PLAY_ALLOWED_FROM": "*", "HOME": "/"}
    assert given_in(environ, SETTINGS) == {"API_PORT", "RTMP_PLAY_WHITELIST"}
    assert load(API_PORT="9997").given == {"API_PORT"}
    assert load(API_PORT="9997") == load(), "what counts is the value"


def test_of_an_admin_side_that_is_off_nothing_is_judged_but_its_port() -> None:
    assert SETTINGS["api_port"].group == API
    assert load(API_PORT="0", API_BIND_ADDRESS="a..b").api_port == 0
    assert problems_of(API_PORT="70000") == ["API_PORT: 70000 is outside 0-65535"]


@pytest.mark.parametrize(
    ("variable", "text", "valid"),
    [
        ("API_TLS", "on", "YES or NO"),
        ("HTTP_TLS", "1", "YES or NO"),
        ("RECORD", "ja", "YES or NO"),
        ("METRICS_PER_CHANNEL", "no ", "YES or NO"),
        ("HTTP_PORT", "none", "0-65535"),
        ("WORKERS", "four", "1-256"),
    ],
)
def test_what_cannot_be_read_in_parts_of_our_own_is_an_error(variable: str, text: str, valid: str) -> None:
    assert problems_of(**{variable: text}) == [f"{variable}: {text!r} is not a valid value ({valid})"]


def test_an_error_of_that_kind_shows_no_secret() -> None:
    assert problems_of(API_TOKEN="Kleinod-7261\udcff") == ["API_TOKEN: *** is not a valid value (text)"]


@pytest.mark.parametrize("port", ["API", "HTTP"])
def test_a_part_of_our_own_that_is_off_is_not_judged(port: str) -> None:
    off = {f"{port}_PORT": "0", f"{port}_TLS": "on"}
    assert load(**off).api_tls is False

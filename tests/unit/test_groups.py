"""Which settings are in use, and which were given."""

from __future__ import annotations

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

"""Which channels anybody may be told of."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from rtmpsrv.access.channel_rules import read_rules
from rtmpsrv.access.ip_rules import IpRules
from rtmpsrv.bounds import live_limits
from rtmpsrv.config import Config
from rtmpsrv.entrance import Entrance, entrance_from
from rtmpsrv.listing import Listing
from rtmpsrv.live.registry import Registry
from rtmpsrv.server.turns import Turns
from tests.unit.live.fakes import FakeClock


class Others:
    """Another process."""

    def names(self) -> list[str]:
        return ["far", "closed", "on"]


def listing(others: Any = None, **settings: Any) -> tuple[Listing, Registry[str], Entrance]:
    config = Config(**settings)
    registry: Registry[str] = Registry(FakeClock(), live_limits(config), 1 << 20, 4096)
    entrance = entrance_from(config, Turns(), b"secret")
    return Listing(config, registry, SimpleNamespace(elsewhere=others), entrance), registry, entrance


def test_what_is_on_the_air_and_open_is_listed() -> None:
    listed, registry, entrance = listing(play_access="open")
    assert listed() == []
    registry.open("on").start()
    registry.open("closed").start()
    registry.open("waited for")
    assert sorted(listed() or []) == ["closed", "on"]
    rule = b'[[channel]]\nname = "closed"\nplay_keys = ["a-key-of-players"]'
    entrance.use(read_rules(rule, has_tokens=False))
    assert listed() == ["on"]
    registry.open("on").stop()
    assert listed() == []


def test_what_is_on_the_air_in_another_process_is_listed_too() -> None:
    listed, registry, entrance = listing(Others(), play_access="open")
    registry.open("on").start()
    rule = b'[[channel]]\nname = "closed"\nplay_keys = ["a-key-of-players"]'
    entrance.use(read_rules(rule, has_tokens=False))
    assert sorted(listed() or []) == ["far", "on"]


@pytest.mark.parametrize(
    "settings",
    [{}, {"play_access": "open", "rtmp_play_whitelist": IpRules.parse("10.0.0.0/8")}],
)
def test_nothing_is_listed_where_players_are_asked_for_something(settings: dict[str, Any]) -> None:
    listed, registry, _entrance = listing(**settings)
    registry.open("on").start()
    assert listed() is None

from __future__ import annotations

from rtmpsrv.access.facts import NO_FACTS as FACTS
from rtmpsrv.access.gate import Grant, PublishRequest
from rtmpsrv.access.hooks import NoHooks
from tests.doubles.secrets import KEY


def test_where_nobody_is_asked_everything_is_allowed() -> None:
    hooks = NoHooks()
    assert hooks.connect("192.0.2.1", FACTS) == ""
    assert hooks.play(PublishRequest("live", KEY, "192.0.2.1")) is None
    hooks.left(Grant("live", KEY, "192.0.2.1", "s1"))
    hooks.watch(Grant("live", KEY, "192.0.2.1", "s1", ends_at=1.0), print, publishes=True).cancel()
    assert not hooks.wants_facts

"""Endpoints in several threads of one program: no byte of one publisher in a message of another."""

from __future__ import annotations

from contextlib import ExitStack

import pytest

from .stand import BEGIN_S
from .worker import Worker

SECONDS = 4.0
MODULE = "tests.hostile.two_endpoints"

pytestmark = pytest.mark.alone


def test_two_endpoints_in_two_threads_share_nothing() -> None:
    with ExitStack() as ends:
        server = ends.enter_context(Worker(MODULE, "serve", str(SECONDS)))

        def facts(name: str) -> list[dict[str, object]]:
            return [one for one in server.told if name in one]

        assert server.wait_until(lambda: len(facts("listening")) == 2, BEGIN_S)
        for one in facts("listening"):
            fill = {"a": "65", "b": "66"}[str(one["listening"])]
            ends.enter_context(Worker(MODULE, "publish", str(one["port"]), fill))
        assert server.wait_until(lambda: len(facts("received")) == 2, SECONDS + BEGIN_S)
        for one in facts("received"):
            assert one["mixed"] == 0, one
            assert one["ends"] == [], one
            assert int(str(one["whole"])) > 100, one

"""The keeper among several workers as processes: replaced once when it is to be, and when it hangs."""

from __future__ import annotations

import os
import signal
from time import monotonic, sleep

import pytest

from rtmpsrv.workers import doors
from tests.client import Stage
from tests.doubles.callback_server import CallbackServer
from tests.doubles.secrets import JWT_SECRET
from tests.kin import LOOK_S
from tests.succession_process import Family

PATIENCE_S = 40.0  # some 10 s without an answer, and a busy machine


def keeper_other_than(family: Family, former: int) -> int:
    """Wait until one keeper is there alone, and return it."""
    until = monotonic() + PATIENCE_S
    while len(found := family.keepers()) != 1 or found == [former]:
        assert monotonic() < until, f"{found} came for {former}:\n" + "\n".join(
            family.first.everything()[-30:]
        )
        sleep(LOOK_S)
    return found[0]


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGUSR2])
def test_a_reload_renews_the_keeper_once_and_every_end_is_told(number: int) -> None:
    with (
        CallbackServer(JWT_SECRET) as callback,
        Family(WORKERS="2", CALLBACK_URL=callback.url, JWT_SECRET=JWT_SECRET, BIND_ADDRESS="127.0.0.1") as on,
    ):
        (former,) = on.keepers()
        mark = on.first.mark()
        on.reload(number)
        stage = Stage(on.port)
        names = [f"app{position}" for position in range(12)]
        for name in names:  # while one keeper takes the other's place
            stage.client().publish(name, "k").close()
        stage.close()
        keeper_other_than(on, former)
        for name in names:
            assert callback.wait_for("stop", channel=name, timeout_s=PATIENCE_S)
        assert on.first.matching("started a keeper", mark) == []
        told = [(one.claims["event"], one.claims["channel"]) for one in callback.received]
        assert sorted(told) == sorted((event, name) for event in ("start", "stop") for name in names)
        run_dir = os.path.join(on._directory.name, "run")
        on.stop()
        assert not os.path.exists(doors.path_of(run_dir, doors.KEEPER))


def test_a_keeper_that_hangs_is_replaced_and_streams_go_on() -> None:
    with Family(WORKERS="2", CONCURRENT_LIMIT_WHITELIST="*", BIND_ADDRESS="127.0.0.1") as on:
        stage = Stage(on.port)
        publisher, player = stage.publisher("app"), stage.player("app")
        stage.passed(publisher, player)
        (former,) = on.keepers()
        os.kill(former, signal.SIGSTOP)
        on.wait_for_line("the keeper does not answer any more", timeout_s=PATIENCE_S)
        keeper_other_than(on, former)
        stage.passed(publisher, player)
        stage.passed(stage.publisher("other"), stage.player("other"))
        stage.close()

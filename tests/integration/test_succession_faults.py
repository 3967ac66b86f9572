"""Successions that fail: at each step one of the two processes dies or hangs, and no client notices."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from rtmpsrv.workers.child import VARIABLE
from tests.client import Client, Stage, keyframe, names_of
from tests.server_process import PROJECT
from tests.succession_process import Family

FAILING = PROJECT / "tests" / "failing"
CHANNELS = 4
FAILED = r"\[ERROR\] succession failed: "
PATIENCE_S = 30.0


class Room:
    """A server that can be made to fail, and pairs of publisher and player."""

    def __init__(self, plan: Path) -> None:
        self._plan = plan
        settings = {"PYTHONPATH": f"{FAILING}:{PROJECT}", "FAILS_AS": str(plan)}
        self.family = Family(CONCURRENT_LIMIT_WHITELIST="*", HANDOVER_TIMEOUT_SECONDS="6", **settings)
        self.on = Stage(self.family.port, strangers=True)
        self.pairs: list[tuple[Client, Client]] = []
        for number in range(CHANNELS):
            publisher, player = self.on.publisher(f"c{number}"), self.on.player(f"c{number}")
            self.on.passed(publisher, player)
            self.pairs.append((publisher, player))

    def close(self) -> None:
        self.on.close()
        self.family.__exit__(None, None, None)

    def let_fail(self, how: str) -> None:
        """Say how the next succession fails."""
        self._plan.write_text(how)

    def has_failed(self) -> bool:
        return not self._plan.exists()

    def flows(self) -> list[list[str]]:
        """Return what each player gets of one more picture."""
        got = []
        for publisher, player in self.pairs:
            publisher.video(40, keyframe(b"flows"))
            got.append(names_of(self.on.passed(publisher, player)))
        return got


def test_a_process_can_tell_that_it_is_the_one_to_fail() -> None:
    assert f'"{VARIABLE}" in os.environ' in (FAILING / "sitecustomize.py").read_text()


ALL_FLOW = [["video flows"]] * CHANNELS


@pytest.fixture
def room(tmp_path: Path) -> Iterator[Room]:
    opened = Room(tmp_path / "plan")
    try:
        yield opened
    finally:
        opened.close()


@pytest.mark.parametrize(
    "how",
    [
        "successor at start die",
        "successor at start hang",
        "successor receive hello die",
        "successor receive hello hang",
        "successor send ready die",
        "successor sent ready die",
        "successor sent ready hang",
        "successor receive slice die",
        "successor receive slice hang",
        "successor send prepared die",
    ],
)
def test_a_successor_that_fails_before_commit_costs_nothing(room: Room, how: str) -> None:
    before = room.family.pid
    room.let_fail(how)
    os.kill(before, signal.SIGUSR2)
    room.family.wait_for_line(FAILED, timeout_s=PATIENCE_S)
    assert room.has_failed()
    assert room.family.pid == before
    assert room.flows() == ALL_FLOW
    room.on.passed(room.on.publisher("new"), room.on.player("new"))  # it accepts again
    assert room.family.succeed() != before  # and can be succeeded
    assert room.flows() == ALL_FLOW
    assert room.family.faults(FAILED) == []


@pytest.mark.parametrize("how", ["predecessor send commit die", "predecessor sent commit die"])
def test_an_old_process_that_dies_with_everything_handed_over_costs_nothing(room: Room, how: str) -> None:
    before = room.family.pid
    room.let_fail(how)
    os.kill(before, signal.SIGUSR2)
    room.family.wait_for_line("has died on the way", timeout_s=PATIENCE_S)
    assert room.family.serving(other_than=before) != before
    assert room.flows() == ALL_FLOW
    room.on.passed(room.on.publisher("new"), room.on.player("new"))
    assert room.family.faults("has died on the way") == []


def test_a_new_process_that_dies_after_commit_takes_what_it_had_along(room: Room) -> None:
    before = room.family.pid
    room.let_fail("successor receive serve die")
    os.kill(before, signal.SIGUSR2)
    room.family.wait_for_line(FAILED, timeout_s=PATIENCE_S)
    assert room.family.pid == before
    for publisher, player in room.pairs:
        publisher.expect_closed()
        player.expect_closed()
    # The old process serves on: newcomers, and in the same channels.
    room.on.passed(room.on.publisher("c0"), room.on.player("c0"))
    room.on.passed(room.on.publisher("new"), room.on.player("new"))
    assert room.family.faults(FAILED) == []


def test_a_second_signal_in_the_middle_of_a_succession_is_not_another(room: Room) -> None:
    before = room.family.pid
    for _ in range(3):
        os.kill(before, signal.SIGUSR2)
    after = room.family.serving(other_than=before)
    assert room.flows() == ALL_FLOW
    assert room.family.pid == after
    assert room.family.faults() == []

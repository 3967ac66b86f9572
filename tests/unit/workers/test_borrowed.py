"""Answers of other workers in memory: each once, counted, and at the cost of the slowest."""

from __future__ import annotations

from contextlib import ExitStack

import pytest

from rtmpsrv.live.budget import WINDOWS, Budget
from rtmpsrv.workers import borrowed as module
from rtmpsrv.workers.borrowed import TOO_SLOW, Borrowed

LIMIT = 1000  # half of it for windows


class Taker:
    def __init__(self) -> None:
        self.dropped: list[str] = []

    def drop(self, reason: str) -> None:
        self.dropped.append(reason)


def used(memory: Budget) -> tuple[int, int]:
    told = memory.describe()
    return told[f"{WINDOWS}_bytes"], told["holders"][WINDOWS]


def pieces(text: bytes) -> tuple[bytes, ...]:
    """Return what is like another one, and not the same."""
    return tuple(bytes([one]) * 10 for one in text)


def test_what_many_are_sent_is_there_once_and_counts_until_the_last_has_it() -> None:
    memory = Budget(LIMIT)
    borrowed = Borrowed(memory)
    with borrowed.of(("news", "1.m4s"), first := pieces(b"abc"), Taker()) as one:
        with borrowed.of(("news", "1.m4s"), pieces(b"abc"), Taker()) as other:
            assert one is other is first
            assert used(memory) == (30, 1)
        assert used(memory) == (30, 1)
    assert used(memory) == (0, 0)


def test_what_has_the_same_name_and_is_not_the_same_is_sent_as_it_is() -> None:
    memory = Budget(LIMIT)
    borrowed = Borrowed(memory)
    with borrowed.of(("news", "live.m3u8"), b"old", Taker()) as old, ExitStack() as rest:
        new = rest.enter_context(borrowed.of(("news", "live.m3u8"), b"newer", Taker()))
        assert (old, new) == (b"old", b"newer")
        assert used(memory) == (8, 2)
        rest.close()
        assert used(memory) == (3, 1)
    assert used(memory) == (0, 0)


def test_the_oldest_makes_room_for_what_others_are_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_BORROWED_BYTES", 50)
    memory = Budget(LIMIT)
    borrowed = Borrowed(memory)
    slow, twin, fast = Taker(), Taker(), Taker()
    with ExitStack() as stack:
        for taker in (slow, twin):
            stack.enter_context(borrowed.of(("news", "1.m4s"), pieces(b"abc"), taker))
        stack.enter_context(borrowed.of(("news", "2.m4s"), pieces(b"def"), fast))
        assert [one.dropped for one in (slow, twin, fast)] == [[TOO_SLOW], [TOO_SLOW], []]
        assert used(memory) == (30, 1)
        again = pieces(b"abc")
        assert stack.enter_context(borrowed.of(("news", "1.m4s"), again, Taker())) is again, "not the dropped"
    assert used(memory) == (0, 0)


def test_a_single_one_may_be_larger(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_BORROWED_BYTES", 5)
    taker = Taker()
    with Borrowed(Budget(LIMIT)).of(("news", "1.m4s"), b"abcdef", taker):
        assert not taker.dropped


def test_it_is_bounded_with_all_windows_of_the_process() -> None:
    memory = Budget(LIMIT)
    taker = Taker()
    with Borrowed(memory).of(("news", "1.m4s"), bytes(LIMIT), taker):
        assert len(taker.dropped) == 1
        assert used(memory) == (0, 0)
    assert used(memory) == (0, 0)

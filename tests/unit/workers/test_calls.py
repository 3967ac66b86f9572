"""Questions and answers over a pair of real sockets."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import gevent
import pytest
from gevent.event import AsyncResult, Event

from rtmpsrv import log
from rtmpsrv.errors import AccessDenied, LoginAsked, NoRoom, NotThere
from rtmpsrv.workers import calls as module
from rtmpsrv.workers.calls import Bulk, CallLost, Calls
from rtmpsrv.workers.wire import WireLost
from tests.unit.workers.lines import PATIENCE_S, Ends, eventually
from tests.waiting import at_next_round

REFUSALS = {one.__name__: one for one in (AccessDenied, LoginAsked, NoRoom, NotThere)}


class Answers:
    """What the other end does."""

    def __init__(self) -> None:
        self.told: list[Any] = []
        self.go_on = Event()
        self.asked = 0
        self.kept: list[int] = []

    def add(self, one: int, other: int) -> int:
        return one + other

    def wait(self) -> str:
        self.asked += 1
        self.go_on.wait(PATIENCE_S)
        return "done"

    def large(self, size: int) -> Bulk:
        self.asked += 1
        return Bulk(bytes(size), size, "later")

    def refuse(self, kind: str = "AccessDenied") -> None:
        raise REFUSALS[kind]("Code", "why not", "SETTING")

    def fail(self) -> None:
        raise ValueError("a bug")

    def pass_on(self) -> None:
        raise CallLost("a third process is gone")

    def note(self, value: object) -> None:
        if value == "bug":
            raise ValueError("a bug")
        self.told.append(value)

    def keep_first(self, fds: list[int]) -> int:
        self.kept.append(fds.pop(0))
        return os.fstat(self.kept[0]).st_ino


@pytest.fixture
def answers() -> Answers:
    return Answers()


@pytest.fixture
def ends(answers: Answers) -> Iterator[Ends]:
    ends = Ends(
        {"note": answers.note},
        {
            "add": answers.add,
            "wait": answers.wait,
            "large": answers.large,
            "refuse": answers.refuse,
            "fail": answers.fail,
            "pass_on": answers.pass_on,
            "keep_first": answers.keep_first,
            "told": lambda: list(answers.told),
        },
    )
    yield ends
    ends.close()


def ask(ends: Ends, name: str, *arguments: object, timeout_s: float = PATIENCE_S, **how: Any) -> Any:
    return ends.one.call(name, *arguments, timeout_s=timeout_s, **how)


def test_questions_are_answered(ends: Ends) -> None:
    assert ask(ends, "add", 1, 2) == 3


def test_a_question_that_waits_holds_up_no_other(ends: Ends, answers: Answers) -> None:
    slow = gevent.spawn(ask, ends, "wait")
    eventually(lambda: answers.asked, "asked")
    assert ask(ends, "add", 1, 1) == 2
    answers.go_on.set()
    assert slow.get(timeout=PATIENCE_S) == "done"


def test_what_is_told_is_known_before_what_is_asked_later(ends: Ends) -> None:
    for number in range(200):
        ends.one.tell("note", number)
    assert ask(ends, "told") == list(range(200))


def test_a_refusal_is_passed_on_whole(ends: Ends) -> None:
    with pytest.raises(AccessDenied) as caught:
        ask(ends, "refuse")
    denial = caught.value
    assert (denial.code, denial.description, denial.variable) == ("Code", "why not", "SETTING")


@pytest.mark.parametrize(
    ("kind", "heard"),
    [
        ("NoRoom", NoRoom),
        ("NotThere", NotThere),
        ("LoginAsked", AccessDenied),
        ("AccessDenied", AccessDenied),
    ],
)
def test_a_refusal_is_of_its_kind_at_the_other_end(ends: Ends, kind: str, heard: type[AccessDenied]) -> None:
    with pytest.raises(AccessDenied) as caught:
        ask(ends, "refuse", kind)
    assert type(caught.value) is heard


def test_a_refusal_of_another_version_is_one(ends: Ends) -> None:
    answer: AsyncResult[Any] = AsyncResult()
    ends.one._waiting[7] = answer
    ends.wires[1].post(("no", 7, "", ("Code", "why not", "")))
    with pytest.raises(AccessDenied) as caught:
        answer.get(timeout=PATIENCE_S)
    assert type(caught.value) is AccessDenied


@pytest.mark.parametrize(("name", "logged"), [("fail", True), ("pass_on", False)])
def test_a_failure_costs_that_question_only(
    ends: Ends, name: str, logged: bool, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(CallLost, match=f"^{name} failed in the other process$"):
        ask(ends, name)
    assert ("a bug" in caplog.text) == logged
    assert ask(ends, "add", 1, 1) == 2


def test_a_bug_in_what_is_told_costs_that_only(ends: Ends, caplog: pytest.LogCaptureFixture) -> None:
    ends.one.tell("note", "bug")
    ends.one.tell("something of a later version")
    ends.one.tell("note", "fine")
    assert ask(ends, "told") == ["fine"]
    assert "note failed" in caplog.text


def test_the_other_end_s_death_fails_all_that_wait(ends: Ends, answers: Answers) -> None:
    slow = [gevent.spawn(pytest.raises, CallLost, ask, ends, "wait") for _ in range(3)]
    eventually(lambda: answers.asked == 3, "asked")
    ends.other.close()
    gevent.joinall(slow, PATIENCE_S, raise_error=True)
    assert "closed by the other process" in str(slow[0].get().value)
    with pytest.raises(CallLost, match=r"^add: "):
        ask(ends, "add", 1, 1)
    assert not ends.one.tell("note", 1)
    assert ends.served[0].get(timeout=PATIENCE_S) == "closed by the other process"


def test_silence_has_a_deadline_and_a_late_answer_hurts_nobody(ends: Ends, answers: Answers) -> None:
    with pytest.raises(CallLost, match=r"wait: no answer within 0\.01 s"):
        ask(ends, "wait", timeout_s=0.01)
    answers.go_on.set()
    assert ask(ends, "add", 1, 1) == 2


@pytest.mark.parametrize("name", ["refuse", "fail", "told"])
def test_a_late_answer_of_any_kind_hurts_nobody(ends: Ends, name: str) -> None:
    ends.one._wire.post(("call", 7, name, ()))  # nobody waits for number 7
    assert ask(ends, "add", 1, 1) == 2


def test_descriptors_that_nobody_keeps_are_closed(ends: Ends, answers: Answers) -> None:
    ours = os.memfd_create("ours")
    ask(ends, "add", 1, 1)  # the loop has descriptors of its own from now on
    before = len(os.listdir("/proc/self/fd"))
    assert ask(ends, "keep_first", fds=[ours, ours]) == os.fstat(ours).st_ino
    ends.one.tell("note", fds=[ours])  # one argument, where the handler does not know descriptors
    ends.one.tell("unknown", fds=[ours])
    ask(ends, "told")
    assert len(os.listdir("/proc/self/fd")) == before + 1
    for fd in (ours, answers.kept[0]):
        os.close(fd)


def test_what_is_no_message_ends_the_connection(ends: Ends) -> None:
    ends.wires[0].post(("what", 1, "", ()), [0])
    assert ends.served[1].get(timeout=PATIENCE_S) == "what came is no message"


def test_a_question_of_a_later_version_fails(ends: Ends) -> None:
    with pytest.raises(CallLost, match=r"^later is not known there$"):
        ask(ends, "later", fds=[0])
    assert ask(ends, "add", 1, 1) == 2


def test_only_so_many_questions_at_one_time(
    ends: Ends, answers: Answers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_CALLS", 1)
    slow = gevent.spawn(ask, ends, "wait")
    eventually(lambda: answers.asked, "asked")
    with pytest.raises(CallLost, match="too many questions"):
        ask(ends, "add", 1, 1)
    answers.go_on.set()
    assert slow.get(timeout=PATIENCE_S) == "done"


def test_answers_in_the_making_end_with_the_process(ends: Ends, answers: Answers) -> None:
    slow = gevent.spawn(pytest.raises, CallLost, ask, ends, "wait")
    eventually(lambda: answers.asked, "asked")
    ends.other.kill_answers()
    assert str(slow.get(timeout=PATIENCE_S).value) == "ended"


def test_everything_was_handed_over(ends: Ends) -> None:
    ends.one.tell("note", 1)
    assert ends.one.flush(PATIENCE_S)


def test_large_answers_take_turns_and_never_cost_the_line(
    ends: Ends, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_BULK_BYTES", 1_500_000)
    wire = ends.wires[1]
    wire._max_waiting_bytes = 4_000_000
    asking = [gevent.spawn(ask, ends, "large", 1_000_000) for _ in range(16)]
    asking.append(
        gevent.spawn(ask, ends, "large", 3_000_000)
    )  # more than the bound: when nothing else is there
    gevent.joinall(asking, PATIENCE_S, raise_error=True)
    assert [len(one.get()) for one in asking] == [*[1_000_000] * 16, 3_000_000]
    assert wire.lost is None


def test_an_answer_whose_turn_does_not_come_is_another_one(
    ends: Ends, answers: Answers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_BULK_BYTES", 1_500_000)
    monkeypatch.setattr(module, "BULK_S", 0.01)
    monkeypatch.setattr(ends.wires[1], "flush", lambda timeout_s: Event().wait(timeout_s))
    ends.wires[1]._waiting_bytes += 1_000_000  # as if the other end read nothing
    assert ask(ends, "large", 1_000_000) == "later"
    assert len(ask(ends, "large", 400_000)) == 400_000, "for that there is room"


def test_an_answer_that_no_line_is_for_is_another_one(ends: Ends, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_ANSWER_BYTES", 1000)
    assert ask(ends, "large", 1001) == "later"
    assert len(ask(ends, "large", 1000)) == 1000


class Full:
    """A wire whose messages have all come already."""

    def __init__(self, messages: int) -> None:
        self._left = messages

    def receive(self) -> tuple[Any, list[int]]:
        if not self._left:
            raise WireLost("that was all")
        self._left -= 1
        return ("tell", 0, "note", (self._left,)), []

    def close(self, reason: str) -> None:
        """Do nothing."""


def test_sockets_are_looked_at_between_many_messages() -> None:
    told: list[int] = []
    seen: list[int] = []

    def note(number: int) -> None:
        if not told:
            at_next_round(lambda: seen.append(len(told)))
        told.append(number)

    wire: Any = Full(5000)
    assert gevent.spawn(Calls(wire, log.get("FULL"), {"note": note}, {}).serve).get(timeout=PATIENCE_S)
    assert (len(told), len(seen)) == (5000, 1)
    assert seen[0] < 1500

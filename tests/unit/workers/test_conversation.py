from __future__ import annotations

import os
from collections.abc import Iterator
from posix import close

import gevent
import pytest
from gevent import socket as gsocket

from rtmpsrv.workers.conversation import Conversation, Message
from rtmpsrv.workers.wire import Wire, WireLost

PATIENCE_S = 5.0


class Both:
    def __init__(self) -> None:
        one, other = gsocket.socketpair(gsocket.AF_UNIX)
        self.unasked: list[Message] = []
        self.talk = Conversation(Wire(one))
        self.talk.handle("news", lambda message, descriptors: self.unasked.append(message))
        self.talk.listen()
        self.far = Wire(other)


@pytest.fixture
def both() -> Iterator[Both]:
    made = Both()
    yield made
    made.talk.close()
    made.far.close()


def test_answers_and_what_comes_unasked_are_told_apart(both: Both) -> None:
    both.talk.say({"kind": "question"})
    assert both.far.receive(PATIENCE_S) == ({"kind": "question"}, [])
    for kind in ("news", "yes"):
        both.far.post({"kind": kind})
    assert both.talk.answer(PATIENCE_S, "no", "yes") == {"kind": "yes"}
    assert both.unasked == [{"kind": "news"}]
    assert both.talk.goes_on
    both.talk.flush(PATIENCE_S)


def test_silence_and_a_wrong_answer_are_the_end(both: Both) -> None:
    with pytest.raises(WireLost, match="no answer within"):
        both.talk.answer(0.01, "yes")
    both.far.post({"kind": "what"})
    with pytest.raises(WireLost, match="'what' is no answer"):
        both.talk.answer(PATIENCE_S, "yes")


def test_descriptors_that_nobody_expects_are_closed(both: Both) -> None:
    read, write = os.pipe()
    both.far.post({"kind": "yes"}, [write])
    both.talk.answer(PATIENCE_S, "yes")
    both.far.flush(PATIENCE_S)
    close(write)
    os.set_blocking(read, False)  # BlockingIOError: somebody has a copy
    assert os.read(read, 1) == b""
    close(read)


@pytest.mark.parametrize("how", ["it dies", "no message"])
def test_the_end_of_the_other_is_told_to_who_waits_and_who_asks_later(both: Both, how: str) -> None:
    waiting = gevent.spawn(both.talk.answer, PATIENCE_S, "yes")
    gevent.sleep(0)
    if how == "it dies":
        both.far.close()
    else:
        both.far.post(["kind"])
    with pytest.raises(WireLost, match=r"closed by the other|no message"):
        waiting.get(timeout=PATIENCE_S)
    assert not both.talk.goes_on
    both.talk.close()
    assert not both.talk.tell({"kind": "question"})
    with pytest.raises(WireLost, match=r"closed by the other|no message"):
        both.talk.say({"kind": "question"})
    with pytest.raises(WireLost):
        both.talk.flush(0.01)


def test_whoever_waits_can_be_told_to_give_up(both: Both) -> None:
    waiting = gevent.spawn(both.talk.answer, PATIENCE_S, "yes")
    gevent.sleep(0)
    both.talk.give_up("this process ends")
    with pytest.raises(WireLost, match="this process ends"):
        waiting.get(timeout=PATIENCE_S)

from __future__ import annotations

import asyncio

import pytest
from gevent.queue import Channel, LifoQueue, PriorityQueue, Queue

from rtmpsrv.endpoint.inbox import Inbox, check_queue
from rtmpsrv.endpoint.limits import Limits

LIMITS = Limits(queue_messages=3, queue_bytes=100, stall_s=10.0)


def test_room_ends_one_past_the_limit_of_messages() -> None:
    inbox = Inbox(Queue(), LIMITS)
    for _ in range(3):
        inbox.put("message")
        assert inbox.has_room()
    inbox.put("message")
    assert not inbox.has_room()
    inbox.queue.get_nowait()
    assert inbox.has_room()


def test_room_ends_one_past_the_limit_of_bytes() -> None:
    inbox = Inbox(Queue(), LIMITS)
    inbox.put("media", 100)
    assert inbox.has_room()
    inbox.put("media", 1)
    assert not inbox.has_room()
    inbox.queue.get_nowait()
    assert inbox.has_room()


def test_a_full_queue_is_stalled_after_the_limit_of_time() -> None:
    inbox = Inbox(Queue(), LIMITS)
    assert not inbox.is_stalled(0.0)
    inbox.put("media", 200)
    assert not inbox.is_stalled(100.0)
    assert not inbox.is_stalled(109.9)
    assert inbox.is_stalled(110.0)


def test_a_queue_that_moves_is_not_stalled() -> None:
    inbox = Inbox(Queue(), LIMITS)
    for _ in range(10):
        inbox.put("media", 100)
    assert not inbox.is_stalled(0.0)
    inbox.queue.get_nowait()
    assert not inbox.is_stalled(10.0)
    assert not inbox.is_stalled(19.0)
    assert inbox.is_stalled(20.0)


def test_a_queue_that_was_emptied_begins_anew() -> None:
    inbox = Inbox(Queue(), LIMITS)
    inbox.put("media", 200)
    assert not inbox.is_stalled(0.0)
    inbox.queue.get_nowait()
    assert not inbox.is_stalled(20.0)
    inbox.put("media", 200)
    assert not inbox.is_stalled(21.0)
    assert inbox.is_stalled(31.0)


def test_foreign_messages_in_the_queue_do_no_harm() -> None:
    inbox = Inbox(Queue(), LIMITS)
    inbox.queue.put("mine")
    inbox.put("media", 50)
    assert inbox.has_room()
    inbox.queue.get_nowait()
    inbox.queue.get_nowait()
    assert inbox.has_room()


def test_what_was_on_the_queue_counts_as_messages_and_an_old_end_does_not() -> None:
    waiting: Queue[object] = Queue()
    for item in ("a", "b", "c", StopIteration):
        waiting.put(item)
    inbox = Inbox(waiting, LIMITS)
    assert waiting.qsize() == 3
    assert inbox.has_room()
    inbox.put("d")
    assert not inbox.has_room()


def test_the_queue_ends_with_its_last_registration() -> None:
    inbox = Inbox(Queue(), LIMITS)
    inbox.registrations = 2
    inbox.leave()
    assert inbox.queue.qsize() == 0
    inbox.leave()
    assert inbox.queue.get_nowait() is StopIteration


@pytest.mark.parametrize(
    "given",
    [asyncio.Queue(), LifoQueue(), PriorityQueue(), Channel(), []],
)
def test_other_queues_are_a_type_error_that_names_them(given: object) -> None:
    with pytest.raises(TypeError, match=f"a queue is a gevent.queue.Queue, not .*{type(given).__name__}"):
        check_queue("a queue", given)


def test_a_queue_with_a_maximum_size_is_a_value_error() -> None:
    check_queue("a queue", Queue())
    with pytest.raises(ValueError, match="maximum size, this one has 5"):
        check_queue("a queue", Queue(5))

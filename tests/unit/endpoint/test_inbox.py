from __future__ import annotations

from gevent.queue import Queue

from rtmpsrv.endpoint.inbox import Inbox
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

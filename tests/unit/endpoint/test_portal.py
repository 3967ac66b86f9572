from __future__ import annotations

import asyncio
from collections.abc import Iterator
from concurrent.futures import CancelledError
from typing import Any

import gevent
import pytest
from gevent.event import Event
from gevent.queue import Queue

from rtmpsrv.endpoint.endpoint import RtmpEndpoint
from rtmpsrv.endpoint.portal import Portal, start_portal


@pytest.fixture
def portal() -> Iterator[Portal]:
    made = Portal(RtmpEndpoint())
    yield made
    if not made._closed:
        made.close()


def elsewhere(function: Any, *args: Any) -> Any:
    """Run in another thread, as long as it takes; this one's greenlets run meanwhile."""
    return gevent.get_hub().threadpool.spawn(function, *args)


def test_a_call_runs_in_the_endpoint_s_thread(portal: Portal) -> None:
    def here(number: int, *, more: int) -> int:
        portal.endpoint._home.check("here")
        gevent.sleep(0)
        return number + more

    assert elsewhere(lambda: portal.call(here, 1, more=2)).get(timeout=5) == 3
    with pytest.raises(RuntimeError, match="call the function itself"):
        portal.call(here, 1, more=2)


def test_what_it_raises_is_raised_where_it_was_called(portal: Portal) -> None:
    with pytest.raises(ZeroDivisionError):
        elsewhere(portal.call, divmod, 1, 0).get(timeout=5)


def test_what_is_iterated_there_comes_over_in_order(portal: Portal) -> None:
    queue: Queue[Any] = Queue()
    for item in ("a", "b", StopIteration):
        queue.put(item)
    assert elsewhere(lambda: list(portal.iterate(queue))).get(timeout=5) == ["a", "b"]


def test_what_waits_comes_over_together(portal: Portal) -> None:
    class Source:
        waiting = 200

        def __iter__(self) -> Iterator[int]:
            return iter(range(150))

    jobs: list[object] = []
    submit = portal._submit

    def counting(job: Any) -> bool:
        jobs.append(job)
        return submit(job)

    portal._submit = counting  # type: ignore[method-assign]
    assert elsewhere(lambda: list(portal.iterate(Source()))).get(timeout=5) == list(range(150))
    assert len(jobs) == 1 + 3 + 1  # iter, three times up to 65, the end


def test_a_future_that_is_cancelled_ends_its_greenlet(portal: Portal) -> None:
    ended = Event()

    def wait() -> None:
        try:
            gevent.sleep(60)
        finally:
            ended.set()

    future = portal.start_task_soon(wait)
    gevent.sleep(0.01)
    assert future.cancel()
    assert ended.wait(5)
    gevent.sleep(0)
    assert not portal._running


def test_one_that_is_cancelled_before_it_began_never_does(portal: Portal) -> None:
    future = portal.start_task_soon(pytest.fail, "it began")
    future.cancel()
    gevent.sleep(0.01)
    assert not portal._running


def test_the_end_ends_what_runs_and_refuses_what_comes(portal: Portal) -> None:
    running = portal.start_task_soon(gevent.sleep, 60)
    gevent.sleep(0.01)
    late = portal.start_task_soon(gevent.sleep, 60)
    portal.close()
    for future in (running, late):
        with pytest.raises(CancelledError):
            future.result(timeout=5)
    with pytest.raises(RuntimeError, match="closed"):
        portal.start_task_soon(gevent.sleep, 60)


def test_what_is_iterated_ends_with_the_portal(portal: Portal) -> None:
    queue: Queue[Any] = Queue()
    listing = elsewhere(lambda: list(portal.iterate(queue)))
    queue.put("a")
    gevent.sleep(0.05)
    portal.close()
    assert listing.get(timeout=5) == ["a"]
    assert elsewhere(lambda: list(portal.iterate(queue))).get(timeout=5) == []


def test_a_task_of_asyncio_waits_and_the_loop_goes_on(portal: Portal) -> None:
    queue: Queue[Any] = Queue()
    for item in ("a", "b", StopIteration):
        queue.put(item)

    async def program() -> list[Any]:
        total = await portal.run(lambda: 1 + 2)
        items = [item async for item in portal.aiterate(queue)]
        waiting = asyncio.ensure_future(portal.run(gevent.sleep, 60))
        await asyncio.sleep(0.01)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        return [total, *items]

    assert elsewhere(asyncio.run, program()).get(timeout=5) == [3, "a", "b"]
    gevent.sleep(0.01)
    assert not portal._running


def test_a_blocking_call_inside_a_running_loop_is_refused(portal: Portal) -> None:
    async def program() -> None:
        with pytest.raises(RuntimeError, match=r"await portal\.run"):
            portal.call(divmod, 1, 1)
        with pytest.raises(RuntimeError, match=r"portal\.aiterate"):
            list(portal.iterate([1]))

    elsewhere(asyncio.run, program()).get(timeout=5)
    assert elsewhere(portal.call, divmod, 1, 1).get(timeout=5) == (1, 0)


def test_a_patched_program_needs_no_thread_of_the_endpoint_s() -> None:
    with pytest.raises(RuntimeError, match="patched"), start_portal():
        pass


def test_stop_iteration_is_a_runtime_error_over_here(portal: Portal) -> None:
    with pytest.raises(RuntimeError, match="StopIteration") as caught:
        elsewhere(portal.call, next, iter(())).get(timeout=5)
    assert isinstance(caught.value.__cause__, StopIteration)
    with pytest.raises(RuntimeError, match="StopIteration"):
        elsewhere(lambda: asyncio.run(asyncio.wait_for(portal.run(next, iter(())), 5))).get(timeout=10)

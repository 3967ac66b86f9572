"""A way into the thread of an endpoint, for plain threads and for asyncio: after the portal of anyio.

An endpoint's thread runs greenlets, and only they may call it. A portal takes calls from all other threads,
runs each in a greenlet over there, and brings back what it returns or raises.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from concurrent.futures import CancelledError, Future
from contextlib import contextmanager
from functools import partial
from itertools import islice
from typing import Any, ParamSpec, TypeVar

import gevent
from gevent import monkey, ssl
from gevent.event import Event

from .endpoint import RtmpEndpoint
from .home import Home
from .limits import Limits

CLOSED = "the portal is closed"
START_S = 10.0  # for the thread to make its endpoint, which opens nothing
_allocate_lock = monkey.get_original("_thread", "allocate_lock")  # held for a moment, between threads
MAX_TOGETHER = 64  # items that come over at once

P = ParamSpec("P")
T = TypeVar("T")
Job = Callable[[], object]


class PortalClosed(RuntimeError):
    """A call came after the end."""


class Portal:
    """Runs calls in the thread in which it is made, that of its endpoint. For all other threads."""

    def __init__(self, endpoint: RtmpEndpoint) -> None:
        self.endpoint = endpoint
        self._home = Home()
        self._jobs: deque[Job] = deque()
        self._running: set[gevent.Greenlet[..., None]] = set()
        self._lock = _allocate_lock()  # between a call that comes and the end
        self._closed = False
        self._wake: Any = gevent.get_hub().loop.async_()
        self._wake.start(self._work_off)

    def call(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a function over there, and return what it returns. Blocks the calling thread until then.

        Raises what the function raises, but RuntimeError for StopIteration; RuntimeError in the endpoint's
        own thread, inside a running loop of asyncio, and after the portal's end; CancelledError when that
        came meanwhile.
        """
        if self._home.is_here:
            raise RuntimeError("this is the endpoint's own thread: call the function itself")
        _refuse_to_hold_up_a_loop()
        return self.start_task_soon(function, *args, **kwargs).result()

    def start_task_soon(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Have a function run over there; return its future, and to cancel that ends it. Never blocks.

        StopIteration comes back as a RuntimeError, as out of generators: a future of asyncio cannot carry it,
        and who waits for that would do so for ever.
        """
        future: Future[T] = Future()

        def run() -> None:
            try:
                result = function(*args, **kwargs)
            except gevent.GreenletExit:
                future.cancel()
            except StopIteration as exc:
                error = RuntimeError("the function raised StopIteration: iterate with iterate or aiterate")
                error.__cause__ = exc
                if future.set_running_or_notify_cancel():
                    future.set_exception(error)
            except BaseException as exc:  # noqa: BLE001 - it belongs to whoever has the future
                if future.set_running_or_notify_cancel():
                    future.set_exception(exc)
            else:
                if future.set_running_or_notify_cancel():
                    future.set_result(result)

        def start() -> None:
            if future.cancelled():
                return
            greenlet = gevent.spawn(run)
            self._running.add(greenlet)

            def ended(greenlet: gevent.Greenlet[..., None]) -> None:
                self._running.discard(greenlet)
                future.cancel()  # it was killed before it began; else the future is done

            def done(future: Future[T]) -> None:
                if future.cancelled():
                    self._submit(partial(greenlet.kill, block=False))

            greenlet.rawlink(ended)
            future.add_done_callback(done)

        if not self._submit(start):
            raise PortalClosed(CLOSED)
        return future

    def iterate(self, source: Iterable[T]) -> Iterator[T]:
        """Yield what a handle, a publisher or `accept()` yields over there. Blocks between two of them.

        Ends with the portal, too.
        """
        try:
            iterator = self.call(iter, source)
            while items := self.call(_some, iterator, source):
                yield from items
        except (PortalClosed, CancelledError):
            if not self._closed:
                raise

    async def run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Do as `call`, for asyncio: the loop goes on meanwhile. A task that is cancelled ends the call."""
        return await asyncio.wrap_future(self.start_task_soon(function, *args, **kwargs))

    async def aiterate(self, source: Iterable[T]) -> AsyncIterator[T]:
        """Do as `iterate`, for asyncio."""
        try:
            iterator = await self.run(iter, source)
            while items := await self.run(_some, iterator, source):
                for item in items:
                    yield item
        except PortalClosed:
            return

    def close(self) -> None:
        """Take no more calls, and end those that run. For the endpoint's thread; blocks until they have."""
        self._home.check("close")
        with self._lock:
            self._closed = True
        self._work_off()
        gevent.killall(list(self._running))
        self._wake.stop()
        self._wake.close()

    # --- private ----------------------------------------------------------------------------------

    def _submit(self, job: Job) -> bool:
        """Have a job done in the hub; False when that is not there any more."""
        with self._lock:
            if self._closed:
                return False
            self._jobs.append(job)
            self._wake.send()
            return True

    def _work_off(self) -> None:
        """Run in the hub, and once more at the end."""
        while self._jobs:
            self._jobs.popleft()()


@contextmanager
def start_portal(
    host: str = "0.0.0.0", tls: ssl.SSLContext | None = None, limits: Limits | None = None
) -> Iterator[Portal]:
    """Give a portal to an endpoint with a thread of its own; leaving the block closes the endpoint.

    Arguments as of `Endpoint`. Blocks a moment at the beginning, and at the end as `Endpoint.close` does. Not
    for a patched program, whose threads are greenlets: RuntimeError.
    """
    if monkey.is_module_patched("threading"):
        raise RuntimeError("the threads of a patched program are greenlets: use an Endpoint itself")
    made: Future[Portal] = Future()
    leave: Future[Callable[[], None]] = Future()
    thread = threading.Thread(
        target=_serve, args=(made, leave, host, tls, limits), name="rtmpsrv-portal", daemon=True
    )
    thread.start()
    portal = made.result(START_S)
    try:
        yield portal
    finally:
        portal.start_task_soon(leave.result(START_S))
        thread.join()


def _serve(
    made: Future[Portal],
    leave: Future[Callable[[], None]],
    host: str,
    tls: ssl.SSLContext | None,
    limits: Limits | None,
) -> None:
    """Be the endpoint's thread."""
    over = Event()
    try:
        endpoint = RtmpEndpoint(host, tls, limits)
        portal = Portal(endpoint)
    except BaseException as exc:  # noqa: BLE001 - it is raised where the portal was asked for
        made.set_exception(exc)
        return
    leave.set_result(over.set)
    made.set_result(portal)
    try:
        over.wait()
        endpoint.close()
        portal.close()
    finally:
        gevent.get_hub().destroy(destroy_loop=True)


def _refuse_to_hold_up_a_loop() -> None:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return
    raise RuntimeError(
        "this would hold up the running asyncio loop: use `await portal.run(...)`, or `portal.aiterate(...)`"
    )


def _some(iterator: Iterator[T], source: Iterable[T]) -> list[T]:
    """Wait for the next item; return it with those behind it, which come over together. [] at the end."""
    items = list(islice(iterator, 1))
    waiting = getattr(source, "waiting", 0) if items else 0
    return [*items, *islice(iterator, min(waiting, MAX_TOGETHER))]

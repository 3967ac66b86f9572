"""Lines to a descriptor by a thread of their own: whoever puts one never waits. Knows no form of lines.

A pipe that nobody reads blocks whoever writes to it, and a greenlet that is blocked by the system blocks all
of them. So the thread is one of the system, made with what `gevent.monkey` replaces elsewhere; it takes part
in no hub.
"""

from __future__ import annotations

import contextlib
import errno
import os
import select
import time
from collections.abc import Callable
from typing import Any

from gevent import monkey

QUEUE_BYTES = 1 << 20
QUEUE_LINES = 10_000
# PIPE_BUF of Linux: what is written at once, up to this, a pipe takes whole or not at all. Lines are joined
# up to it, for each write gives up the interpreter's lock and may wait 5 ms to have it back.
WRITE_BYTES = 4096
STUCK_S = 1.0  # at the end: an output that takes nothing for so long is left
END_S = 5.0  # and one that is slow, after so long

_new_lock = monkey.get_original("_thread", "allocate_lock")
_new_thread = monkey.get_original("_thread", "start_new_thread")
_new_queue = monkey.get_original("queue", "SimpleQueue")
_new_poll = monkey.get_original("select", "poll")
_close = monkey.get_original("os", "close")  # gevent's leaves it to the loop, which may not run any more

_CLOSE = object()  # in the queue: the end


class _Line:
    """Bytes to write, and how many lines had been dropped when they were put."""

    __slots__ = ("dropped", "text")

    def __init__(self, text: bytes, dropped: int) -> None:
        self.text = text
        self.dropped = dropped


class LineWriter:
    """Owns a descriptor. What does not fit the queue is dropped and counted; `notice` says so in its place.

    One greenlet or thread at a time may put; a `logging.Handler` sees to that. Each counter is changed by one
    side only, the one that puts or the one that writes. A forked child has a thread and a queue of its own.
    """

    def __init__(
        self,
        descriptor: int,
        notice: Callable[[int], bytes],
        *,
        limit_bytes: int = QUEUE_BYTES,
        limit_lines: int = QUEUE_LINES,
    ) -> None:
        self._descriptor = descriptor
        self._notice = notice
        self._limit_bytes = limit_bytes
        self._limit_lines = limit_lines
        self._closed = False
        self._begin()

    def _begin(self) -> None:
        self._pid = os.getpid()
        self._queue: Any = _new_queue()
        self._running = False
        self._put_lines = self._put_bytes = self._dropped = 0  # changed by who puts
        self._done_lines = self._done_bytes = self._said = self._failed = self._lost = 0  # by who writes

    def put(self, text: bytes) -> None:
        """Queue one line for the output, or drop it. Never blocks."""
        if self._pid != os.getpid():
            self._begin()
        held_lines = self._put_lines - self._done_lines
        held_bytes = self._put_bytes - self._done_bytes
        if self._closed or held_lines >= self._limit_lines or held_bytes + len(text) > self._limit_bytes:
            self._dropped += 1
            return
        self._put_lines += 1
        self._put_bytes += len(text)
        self._queue.put(_Line(text, self._dropped))
        if not self._running:
            with contextlib.suppress(RuntimeError):  # no thread to be had now: the next line tries again
                _new_thread(self._run, (self._queue,))
                self._running = True

    def flush(self) -> bool:
        """Wait until all is written that was put; return whether it is.

        Blocks the whole process, up to `END_S`: it is for the end, when nothing else is left to do. An output
        that takes nothing is left after `STUCK_S`.
        """
        if not self._running or self._pid != os.getpid():
            return self._put_lines == self._done_lines
        reached = _new_lock()
        reached.acquire()
        self._queue.put(reached)
        give_up_at = time.monotonic() + END_S
        moved = self._done_lines
        while not reached.acquire(timeout=STUCK_S):
            if self._done_lines == moved or time.monotonic() >= give_up_at:
                return False
            moved = self._done_lines
        return True

    def close(self) -> None:
        """Write what the output still takes, and close the descriptor. Blocks as `flush` does."""
        if self._closed:
            return
        self.flush()
        self._closed = True
        if self._running and self._pid == os.getpid():
            self._queue.put(_CLOSE)  # the thread may still be writing: it closes the descriptor
        else:
            _close(self._descriptor)

    def describe(self) -> dict[str, int]:
        """Say what waits and what was lost so far."""
        return {
            "queued_lines": self._put_lines - self._done_lines,
            "queued_bytes": self._put_bytes - self._done_bytes,
            "dropped_lines": self._dropped + self._lost,
        }

    def _run(self, queue: Any) -> None:
        """Write until the end. Runs in the thread."""
        item = queue.get()
        while item is not _CLOSE:
            if isinstance(item, _Line):
                item = self._write_together(item, queue)
            else:
                item.release()  # `flush` waits for what came before it
                item = queue.get()
        _close(self._descriptor)

    def _write_together(self, first: _Line, queue: Any) -> Any:
        """Write a line and those that fit into the same write; return the next thing in the queue. Blocks."""
        self._tell_of_drops(first.dropped)
        texts = [first.text]
        size = len(first.text)
        following = None
        while not queue.empty():
            following = queue.get()
            if not self._fits(following, first, size):
                break
            texts.append(following.text)
            size += len(following.text)
            following = None
        if not self._write(b"".join(texts)):
            self._failed += len(texts)
            self._lost += len(texts)
        self._done_lines += len(texts)
        self._done_bytes += size
        if following is None and queue.empty():
            self._tell_of_drops(self._dropped)  # nobody else may come for a long time
        return following if following is not None else queue.get()

    def _fits(self, item: Any, first: _Line, size: int) -> bool:
        return (
            isinstance(item, _Line) and item.dropped == first.dropped and size + len(item.text) <= WRITE_BYTES
        )

    def _tell_of_drops(self, dropped: int) -> None:
        """Say how many lines are missing at this place, if any; what cannot be said now is said later."""
        missing = dropped - self._said + self._failed
        if missing > 0 and self._write(self._notice(missing)):
            self._said = dropped
            self._failed = 0

    def _write(self, data: bytes) -> bool:
        """Write all; return whether it worked. Blocks as long as the output does."""
        try:
            while data:
                try:
                    data = data[os.write(self._descriptor, data) :]
                except BlockingIOError:  # whoever shares the pipe made it so
                    self._wait_until_writable()
        except OSError as exc:
            if exc.errno == errno.EPIPE:
                self._lead_nowhere()  # who read it went away for good
            return False
        return True

    def _wait_until_writable(self) -> None:
        ready = _new_poll()
        ready.register(self._descriptor, select.POLLOUT)
        ready.poll()

    def _lead_nowhere(self) -> None:
        with contextlib.suppress(OSError):
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, self._descriptor, inheritable=False)
            _close(null)

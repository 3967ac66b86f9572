"""One end of a wire: what is said, answers with a deadline, and what comes unasked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from posix import close
from typing import Any, TypeAlias

import gevent
from gevent.queue import Empty, Queue

from .wire import Wire, WireLost

Message: TypeAlias = dict[str, Any]  # `kind` says what it is
Handler: TypeAlias = Callable[[Message, list[int]], None]  # the descriptors are the handler's


class Conversation:
    """With one other process. Messages of a kind with a handler go there, the others wait to be asked for."""

    def __init__(self, wire: Wire) -> None:
        """Take over a wire; `listen` begins."""
        self.lost = ""  # why there is nobody any more
        self.on_lost: Callable[[], None] = lambda: None
        self._wire = wire
        self._handlers: dict[str, Handler] = {}
        self._waiting: Queue[tuple[Message, list[int]] | None] = Queue()
        self._listening: gevent.Greenlet[[], None] | None = None

    @property
    def goes_on(self) -> bool:
        """Whether the other process is there, as far as is known."""
        return not self.lost and self._wire.lost is None

    def handle(self, kind: str, handler: Handler) -> None:
        """Let messages of a kind go to a function, which must not block."""
        self._handlers[kind] = handler

    def listen(self) -> None:
        """Begin to take what the other process says. Never blocks."""
        self._listening = gevent.spawn(self._listen)

    def say(self, message: Message, descriptors: Sequence[int] = ()) -> None:
        """Send something. Never blocks. Raises WireLost."""
        if not self.tell(message, descriptors):
            raise WireLost(self.lost or self._wire.lost or "closed")

    def tell(self, message: Message, descriptors: Sequence[int] = ()) -> bool:
        """Send something; False when there is nobody. Never blocks."""
        return self._wire.post(message, descriptors)

    def flush(self, timeout_s: float) -> None:
        """Wait until all was handed to the kernel. Blocks up to `timeout_s`. Raises WireLost."""
        if not self._wire.flush(timeout_s):
            raise WireLost(self.lost or self._wire.lost or f"it reads nothing for {timeout_s:g} s")

    def next(self, timeout_s: float | None) -> tuple[Message, list[int]]:
        """Return the next message without a handler. Blocks up to `timeout_s`. Raises WireLost."""
        try:
            found = self._waiting.get(timeout=timeout_s)
        except Empty:
            raise WireLost(f"no answer within {timeout_s:g} s") from None
        if found is None:
            self._waiting.put(None)  # for the next one
            raise WireLost(self.lost)
        return found

    def answer(self, timeout_s: float, *kinds: str) -> Message:
        """Wait for an answer of one of these kinds. Blocks up to `timeout_s`. Raises WireLost."""
        answer, descriptors = self.next(timeout_s)
        for descriptor in descriptors:
            close(descriptor)
        if answer["kind"] not in kinds:
            raise WireLost(f"{answer['kind']!r} is no answer")
        return answer

    def give_up(self, reason: str) -> None:
        """Let whoever waits for a message, now or later, know that none comes. Never blocks."""
        self.lost = self.lost or reason
        self._waiting.put(None)

    def close(self) -> None:
        """End it. Idempotent."""
        self.give_up("closed")
        if self._listening is not None:
            self._listening.kill()
        self._wire.close()

    def _listen(self) -> None:
        try:
            while True:
                message, descriptors = self._wire.receive()
                if not isinstance(message, dict) or "kind" not in message:
                    for descriptor in descriptors:
                        close(descriptor)
                    raise WireLost("no message")
                handler = self._handlers.get(message["kind"])
                if handler is None:
                    self._waiting.put((message, descriptors))
                else:
                    handler(message, descriptors)
        except WireLost as exc:
            self.give_up(str(exc))
        finally:
            self.give_up("internal error")  # a bug of ours must leave nobody waiting
            self.on_lost()

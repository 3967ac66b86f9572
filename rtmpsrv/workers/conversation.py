"""The old side of a wire: what is said, answers with a deadline, and what comes unasked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from posix import close
from typing import Any, TypeAlias

import gevent
from gevent.queue import Empty, Queue

from .wire import Wire, WireLost

Message: TypeAlias = dict[str, Any]  # `kind` says what it is


class Conversation:
    """With one successor. Messages that `unasked` names go to their functions, others are answers."""

    def __init__(self, wire: Wire, unasked: dict[str, Callable[[Message], None]]) -> None:
        """Prepare to listen on `wire`, which is this object's from now on."""
        self.lost = ""  # why there is nobody any more
        self._wire = wire
        self._unasked = unasked
        self._answers: Queue[Message | None] = Queue()
        self._listening = gevent.spawn(self._listen)

    @property
    def goes_on(self) -> bool:
        """Whether the other process is there, as far as is known."""
        return not self.lost and self._wire.lost is None

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

    def answer(self, timeout_s: float, *kinds: str) -> Message:
        """Wait for an answer of one of these kinds. Blocks up to `timeout_s`. Raises WireLost."""
        try:
            answer = self._answers.get(timeout=timeout_s)
        except Empty:
            raise WireLost(f"no answer within {timeout_s:g} s") from None
        if answer is None:
            raise WireLost(self.lost)
        if answer["kind"] not in kinds:
            raise WireLost(f"{answer['kind']!r} is no answer")
        return answer

    def give_up(self, reason: str) -> None:
        """Let whoever waits for an answer, now or later, know that there is none. Never blocks."""
        self.lost = self.lost or reason
        self._answers.put(None)

    def close(self) -> None:
        """End it. Idempotent."""
        self._listening.kill()
        self._wire.close()

    def _listen(self) -> None:
        try:
            while True:
                message, descriptors = self._wire.receive()
                for descriptor in descriptors:
                    close(descriptor)
                if not isinstance(message, dict) or "kind" not in message:
                    raise WireLost("no message")
                self._unasked.get(message["kind"], self._answers.put)(message)
        except WireLost as exc:
            self.give_up(str(exc))

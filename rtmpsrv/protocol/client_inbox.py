"""What a client has received and not taken yet: answers it may wait for, and messages. Pure and bounded."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Any, TypeVar

from ..errors import RemoteProtocolError, RequestRefused
from . import commands
from .events import Call, ConnectRejected, Event, PlayRefused, PublishRefused, Status
from .link import MediaMessage
from .messages import Message

KEPT_EVENTS = 64  # of each kind; what nobody asked for is forgotten when newer comes

_Wanted = TypeVar("_Wanted", bound=Event)
_REFUSALS = (ConnectRejected, PublishRefused, PlayRefused)


def _events() -> deque[Any]:
    return deque(maxlen=KEPT_EVENTS)


@dataclass(slots=True)
class ClientInbox:
    """Filled as bytes arrive, emptied by those who wait. Never blocks."""

    limit_bytes: int  # of the messages that wait
    statuses: deque[Status] = field(default_factory=_events)
    calls: deque[Call] = field(default_factory=_events)  # results of the client's calls among them
    answers: deque[Event] = field(default_factory=_events)
    messages: deque[Message] = field(default_factory=deque)
    held_bytes: int = 0

    def add_event(self, event: Event) -> None:
        """Keep an event that the connection yielded."""
        if isinstance(event, Status):
            self.statuses.append(event)
        elif isinstance(event, Call):
            self.calls.append(event)
        else:
            self.answers.append(event)

    def add_messages(self, run: list[MediaMessage]) -> None:
        """Keep messages to be read; RemoteProtocolError when nobody reads them."""
        self.messages.extend([Message(*message) for message in run])
        self.held_bytes += sum([len(message[3]) for message in run])
        if self.held_bytes > self.limit_bytes:
            raise RemoteProtocolError(
                f"{self.held_bytes} bytes received and not read, limit {self.limit_bytes}"
            )

    def take_message(self) -> Message | None:
        """Return the oldest message, None when there is none."""
        if not self.messages:
            return None
        message = self.messages.popleft()
        self.held_bytes -= len(message.payload)
        return message

    def take_answer(self, kind: type[_Wanted]) -> _Wanted | None:
        """Return the oldest answer of a kind, None when it is not there; RequestRefused for a refusal."""
        for answer in self.answers:
            if isinstance(answer, kind):
                self.answers.remove(answer)
                return answer
        self.raise_refusal()
        return None

    def raise_refusal(self) -> None:
        """Raise RequestRefused when the server has refused anything."""
        for answer in self.answers:
            if isinstance(answer, _REFUSALS):
                self.answers.remove(answer)
                raise RequestRefused(answer.code, answer.description)

    def take_result(self, transaction_id: float) -> tuple[Any, ...] | None:
        """Return what a call's `_result` carries, None when it is not there; RequestRefused for `_error`."""
        for call in self.calls:
            if call.transaction_id == transaction_id and call.name in ("_result", "_error"):
                self.calls.remove(call)
                if call.name == "_result":
                    return call.arguments
                information = call.arguments[0] if call.arguments else None
                known = information if isinstance(information, dict) else {}
                raise RequestRefused(
                    commands.text(known.get("code")), commands.text(known.get("description"))
                )
        return None

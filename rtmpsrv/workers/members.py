"""The workers that the keeper is connected to, by name, and whoever else has connected."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import gevent

from rtmpsrv.workers.member import Member


class Members:
    """Nothing but `sound`, `describe` and `flush` blocks, and `ask`."""

    def __init__(self) -> None:
        self.connections: set[Member] = set()  # of workers and others; changed by the keeper
        self._by_name: dict[str, Member] = {}

    def __iter__(self) -> Iterator[str]:
        return iter(list(self._by_name))

    def __len__(self) -> int:
        return len(self._by_name)

    def __contains__(self, name: str) -> bool:
        return name in self._by_name

    @property
    def are_asking(self) -> bool:
        """Whether somebody waits for what is not decided yet."""
        return any(member.asking for member in self.connections)

    def find(self, name: str) -> Member | None:
        """Return a worker's connection."""
        return self._by_name.get(name)

    def add(self, member: Member, name: str) -> None:
        """Note a worker; one of the same name is hung up on: its loss was not seen yet."""
        before = self._by_name.get(name)
        member.name = name
        self._by_name[name] = member
        if before is not None:
            before.calls.close("another one has that name")

    def discard(self, member: Member) -> bool:
        """Forget a worker; False where that is none, or was hung up on."""
        if self._by_name.get(member.name) is not member:
            return False
        del self._by_name[member.name]
        return True

    def tell(self, worker: str, name: str, *arguments: object) -> None:
        """Tell one worker, if it is there."""
        member = self.find(worker)
        if member is not None:
            member.calls.tell(name, *arguments)

    def tell_all(self, name: str, *arguments: object) -> None:
        """Tell all workers."""
        for member in self._by_name.values():
            member.calls.tell(name, *arguments)

    def sound(self, worker: str, channel: str, timeout_s: float) -> None:
        """Let a worker, if it is there, look whether its publisher is gone. Blocks up to `timeout_s`."""
        member = self.find(worker)
        if member is not None:
            member.sound(channel, timeout_s)

    def flush(self, timeout_s: float) -> None:
        """Wait until everything was sent to everybody. Blocks up to `timeout_s` for each."""
        for member in list(self.connections):
            member.calls.flush(timeout_s)

    def close(self) -> None:
        """Hang up on everybody, whatever they wait for."""
        for member in list(self.connections):
            member.calls.close()
            member.calls.kill_answers()

    def ask(self, what: str, arguments: tuple[Any, ...], timeout_s: float) -> dict[str, bytes | None]:
        """Return each worker's answer to what the web process asks; None for none in time. Blocks."""
        asked = {
            name: gevent.spawn(member.ask, what, arguments, timeout_s)
            for name, member in sorted(self._by_name.items())
        }
        gevent.joinall(list(asked.values()), timeout_s)
        gevent.killall(list(asked.values()), block=False)
        return {name: greenlet.value for name, greenlet in asked.items()}

    def describe(self, timeout_s: float) -> dict[str, Any]:
        """Return what each worker says of itself, and which do not answer. Blocks up to `timeout_s`."""
        asked = {
            name: gevent.spawn(member.describe, timeout_s) for name, member in sorted(self._by_name.items())
        }
        gevent.joinall(list(asked.values()), timeout_s)
        workers = {name: greenlet.value for name, greenlet in asked.items() if greenlet.value is not None}
        return {"workers": workers, "silent": [name for name in asked if name not in workers]}

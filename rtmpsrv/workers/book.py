"""What the keeper knows of the workers: who serves which channel, and which connections they have. Pure.

Everything is told by set, not by count: a connection or a publication has a number of its own, so that it
does not matter which of two processes tells first that it has moved.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from rtmpsrv.access.gate import Grant
from rtmpsrv.access.limits import ConnectionLimits


@dataclass(slots=True)
class Held:
    """A publication on the air, and the worker that serves it. Changed by the book only."""

    grant: Grant
    worker: str
    travelling: bool = False  # between two workers: the death of the one that had it does not end it


class Book:
    """Who publishes what, and where. One publication for each channel."""

    def __init__(self) -> None:
        self._by_serial: dict[int, Held] = {}
        self._by_channel: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._by_serial)

    def __iter__(self) -> Iterator[Held]:
        return iter(list(self._by_serial.values()))

    def on_air(self, channel: str) -> Held | None:
        """Return a channel's publication; None when nobody publishes."""
        serial = self._by_channel.get(channel)
        return None if serial is None else self._by_serial[serial]

    def find(self, serial: int) -> Held | None:
        """Return a publication."""
        return self._by_serial.get(serial)

    def add(self, grant: Grant, worker: str) -> bool:
        """Note a publication, and who serves it now; False when its channel has another one."""
        if self._by_channel.get(grant.channel, grant.serial) != grant.serial:
            return False
        self._by_serial[grant.serial] = Held(grant, worker)
        self._by_channel[grant.channel] = grant.serial
        return True

    def remove(self, serial: int) -> Held | None:
        """Forget a publication and return it; None when it is not known."""
        held = self._by_serial.pop(serial, None)
        if held is not None:
            del self._by_channel[held.grant.channel]
        return held

    def depart(self, serial: int, worker: str) -> bool:
        """Take note that a publication leaves a worker for another; False when it is not there (any more)."""
        held = self._by_serial.get(serial)
        if held is None or held.worker != worker:
            return False
        held.travelling = True
        return True

    def of(self, worker: str) -> list[Grant]:
        """Return what a worker serves, without what is on its way to another one."""
        return [
            held.grant for held in self._by_serial.values() if held.worker == worker and not held.travelling
        ]

    def directory(self) -> dict[str, str]:
        """Return the worker of each channel on the air."""
        return {held.grant.channel: held.worker for held in self._by_serial.values()}

    def limits(self) -> dict[str, int]:
        """Return how many may play a channel on the air, of those for which a backend has said so."""
        grants = [held.grant for held in self._by_serial.values()]
        return {grant.channel: grant.max_players for grant in grants if grant.max_players}


class SlotBook:
    """The open connections of all workers, against limits that hold for all of them together."""

    def __init__(self, limits: ConnectionLimits) -> None:
        self._limits = limits
        self._slots: dict[int, tuple[str, str]] = {}  # address and worker

    def __len__(self) -> int:
        return len(self._slots)

    def admit(self, number: int, address: str, worker: str) -> str | None:
        """Take a slot for a connection; return why not, None for yes."""
        refusal = self._limits.admit(address)
        if refusal is None:
            self._slots[number] = address, worker
        return refusal

    def take(self, number: int, address: str, worker: str) -> None:
        """Note that a worker has this connection, whoever had it before and whatever the limits are."""
        if number not in self._slots:
            self._limits.take(address)
        self._slots[number] = address, worker

    def pass_on(self, number: int, worker: str | None) -> None:
        """Note that a connection has gone to another worker; None: to one that is gone itself."""
        slot = self._slots.get(number)
        if slot is None:
            return  # it is over there already
        if worker is None:
            self.release(number)
        else:
            self._slots[number] = slot[0], worker

    def release(self, number: int) -> None:
        """Give a slot back. Idempotent."""
        slot = self._slots.pop(number, None)
        if slot is not None:
            self._limits.release(slot[0])

    def claim(self, worker: str, slots: Mapping[int, str]) -> None:
        """Note that a worker has exactly these connections, by number and address."""
        for number in self.of(worker):
            if number not in slots:
                self.release(number)
        for number, address in slots.items():
            self.take(number, address, worker)

    def of(self, worker: str) -> Iterable[int]:
        """Return the numbers of a worker's connections."""
        return [number for number, (_, owner) in self._slots.items() if owner == worker]

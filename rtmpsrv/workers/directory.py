"""Which worker serves which channel, as the keeper tells. A replica for each worker; never blocks."""

from __future__ import annotations

from collections.abc import Callable

from rtmpsrv.workers.link import Link

FORMER_KEPT = 10_000  # channels whose last worker is remembered: names are the clients' choice


class Directory:
    """Knows the channels that other workers have on the air. While the keeper is away it stays as it was."""

    def __init__(self, link: Link) -> None:
        self.on_change: Callable[[str], None] = lambda channel: None  # it is elsewhere now, or is no more
        self._name = link.name
        self._owners: dict[str, str] = {}
        self._limits: dict[str, int] = {}  # of players, where a backend has said one
        self._former: dict[str, str] = {}  # of channels that nobody publishes any more, the latest last
        link.tells |= {"directory": self._replace, "on_air": self._on_air, "off_air": self._off_air}

    def __len__(self) -> int:
        return len(self._owners)

    def elsewhere(self, channel: str) -> str | None:
        """Return the worker that serves a channel; None when that is this one, or when nobody publishes."""
        return self._owners.get(channel)

    def names(self) -> list[str]:
        """Return the channels that other workers have on the air."""
        return list(self._owners)

    def max_players(self, channel: str) -> int:
        """Return how many may play a channel of another worker, as its backend says; 0 for any number."""
        return self._limits.get(channel, 0)

    def last(self, channel: str) -> str | None:
        """Return the worker that serves a channel, or did last; None when that is this one."""
        return self._owners.get(channel) or self._former.get(channel)

    def _replace(self, owners: dict[str, str], limits: dict[str, int]) -> None:
        before = self._owners
        self._owners = {channel: worker for channel, worker in owners.items() if worker != self._name}
        self._limits = {channel: limit for channel, limit in limits.items() if channel in self._owners}
        for channel in before.keys() | self._owners.keys():
            if before.get(channel) != self._owners.get(channel):
                if channel not in owners:
                    self._left(channel, before[channel])
                self.on_change(channel)

    def _on_air(self, channel: str, worker: str, max_players: int) -> None:
        self._limits.pop(channel, None)
        self._former.pop(channel, None)
        before = self._owners.pop(channel, None)
        if worker != self._name:
            self._owners[channel] = worker
            if max_players:
                self._limits[channel] = max_players
        if self._owners.get(channel) != before:
            self.on_change(channel)

    def _off_air(self, channel: str, worker: str) -> None:
        if self._owners.get(channel) == worker:  # else another one has it already
            del self._owners[channel]
            self._limits.pop(channel, None)
            self._left(channel, worker)
            self.on_change(channel)

    def _left(self, channel: str, worker: str) -> None:
        self._former.pop(channel, None)
        while len(self._former) >= FORMER_KEPT:
            del self._former[next(iter(self._former))]
        self._former[channel] = worker

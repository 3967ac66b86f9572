"""A keeper and several workers on one hub, over real sockets; the workers have no clients."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gevent
from gevent.event import Event

from rtmpsrv import log
from rtmpsrv.access.gate import Gate, Grant, PublishRequest, refusal
from rtmpsrv.access.ip_rules import IpRules
from rtmpsrv.access.journal import Journal, JournaledAuthority
from rtmpsrv.access.limits import ConnectionLimits
from rtmpsrv.workers.book import SlotBook
from rtmpsrv.workers.calls import CallLost
from rtmpsrv.workers.directory import Directory
from rtmpsrv.workers.former import Former
from rtmpsrv.workers.keeper import Keeper
from rtmpsrv.workers.link import Link
from rtmpsrv.workers.remote import RemoteGate, RemoteSlots
from tests.doubles.secrets import KEY
from tests.unit.workers.lines import PATIENCE_S, eventually, wires

REQUEST = PublishRequest("news", KEY, "10.0.0.1")


class Desk:
    """An authority that answers when a test lets it, and reports ends when a test says that they went out."""

    key_names_stream = False

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.ended_ids: list[str] = []
        self.go_on = Event()
        self.go_on.set()
        self.denies = False

    def authorise(self, request: PublishRequest) -> str:
        self.asked.append(request.channel)
        self.go_on.wait(PATIENCE_S)
        if self.denies:
            raise refusal("not this one", "A_SETTING")
        return f"id-{len(self.asked)}"

    def ended(self, grant: Grant) -> None:
        self.ended_ids.append(grant.stream_id)

    def wait_idle(self, timeout_s: float) -> bool:
        return True

    def close(self) -> None:
        pass


def limits(per_address: int = 2, total: int = 100) -> ConnectionLimits:
    return ConnectionLimits(per_address, IpRules.parse(""), total)


class Worker:
    """What a worker has of the keeper."""

    def __init__(self, name: str, *, ask_s: float = PATIENCE_S) -> None:
        self.link = Link(name, log.get("WORKER"))
        self.gate = RemoteGate(self.link, ask_s)
        self.slots = RemoteSlots(self.link, limits())
        self.directory = Directory(self.link)
        self.kills: list[str] = []
        self.sounded: list[str] = []
        self.leavers: dict[str, Grant] = {}  # publishers that turn out to be gone when they are sounded
        self.link.calls |= {"is_free": self._is_free, "describe": lambda: {"name": name}}

    def publish(self, request: PublishRequest = REQUEST) -> Grant:
        return self.gate.admit(request, self.kills.append)

    def publish_later(self, request: PublishRequest = REQUEST) -> gevent.Greenlet[..., Grant]:
        return gevent.spawn(self.publish, request)

    def _is_free(self, channel: str) -> bool:
        self.sounded.append(channel)
        if channel in self.leavers:
            self.gate.release(self.leavers.pop(channel))
            return True
        return False


class Cluster:
    """A keeper, and the next one when that has died."""

    def __init__(self, folder: Path, *, per_address: int = 2, remembers: bool = True) -> None:
        self.desk = Desk()
        self.workers: list[Worker] = []
        self.served: list[gevent.Greenlet[..., Any]] = []
        self.reports_later = False
        self._path = str(folder / "journal")
        self._per_address = per_address
        self._remembers = remembers
        self.new_keeper()

    def new_keeper(self, former: Sequence[Former] = ()) -> None:
        self.journal = Journal(self._path, log.get("KEEPER"))
        authority = JournaledAuthority(self.desk, self.journal, reports_later=self.reports_later)
        self.gate = Gate(authority)
        self.keeper = Keeper(
            self.gate,
            SlotBook(limits(self._per_address)),
            self.journal,
            log.get("KEEPER"),
            former,
            remembers=self._remembers,
        )

    def worker(self, name: str = "", **how: Any) -> Worker:
        """Add a worker that is connected."""
        worker = Worker(name or f"w{len(self.workers) + 1}", **how)
        self.workers.append(worker)
        self.connect(worker)
        return worker

    def connect(self, worker: Worker) -> None:
        """Connect a worker to the keeper there is, and wait until both know."""
        near, far = wires()
        self.served.append(gevent.spawn(self.keeper.serve, far._socket))
        self.served.append(gevent.spawn(worker.link.serve, near))
        eventually(lambda: self.is_known(worker), "welcome")

    def is_known(self, worker: Worker) -> bool:
        line = worker.link.line
        try:
            return line is not None and line.call("describe", timeout_s=PATIENCE_S) is not None
        except CallLost:
            return False

    def kill_keeper(self) -> None:
        """Let the keeper die; it reports nothing, and workers know at once."""
        self.keeper.leave()
        eventually(lambda: all(worker.link.line is None for worker in self.workers), "loss")

    def kill(self, worker: Worker) -> None:
        """Let a worker die."""
        self.workers.remove(worker)
        assert worker.link.line is not None
        worker.link.line.close()
        eventually(lambda: worker.link.name not in self.keeper.members, "loss")

    def sync(self, worker: Worker) -> None:
        """Return when the keeper has acted on all that a worker has told, and the worker on the answers."""
        assert worker.link.line is not None
        worker.link.line.call("describe", timeout_s=PATIENCE_S)

    def close(self) -> None:
        self.keeper.leave()
        for worker in self.workers:
            worker.link.close()
        gevent.joinall(self.served, PATIENCE_S)
        assert all(greenlet.dead for greenlet in self.served)

"""What a manager knows of its workers and ports, as text: for the image that takes its place. Pure."""

from __future__ import annotations

import json
from collections.abc import MutableMapping
from dataclasses import asdict, dataclass, field

VARIABLE = "RTMPSRV_MANAGER"


@dataclass(frozen=True, slots=True)
class WorkerState:
    """One worker: its process, and descriptors of ours."""

    pid: int
    age: int
    heartbeat: int
    status: int
    ready: bool
    leaving: bool


@dataclass(frozen=True, slots=True)
class ManagerState:
    """All that a new image needs to go on."""

    lock: int  # descriptor that keeps others out of RUN_DIR
    sockets: list[tuple[int, str]]  # descriptors and names
    notify_address: str
    workers: list[WorkerState] = field(default_factory=list)
    fixed: dict[str, str] = field(default_factory=dict)  # settings that stay as they were at the start

    @property
    def descriptors(self) -> list[int]:
        """All that have to be inherited."""
        own = [one for worker in self.workers for one in (worker.heartbeat, worker.status)]
        return [self.lock, *(descriptor for descriptor, _name in self.sockets), *own]

    def to_text(self) -> str:
        """Return the value of the variable."""
        return json.dumps(asdict(self))


def take_state(environ: MutableMapping[str, str]) -> ManagerState | None:
    """Return what the image before this one left, if there was one; the variable is taken away."""
    text = environ.pop(VARIABLE, "")
    if not text:
        return None
    values = json.loads(text)
    return ManagerState(
        lock=values["lock"],
        sockets=[(descriptor, name) for descriptor, name in values["sockets"]],
        notify_address=values["notify_address"],
        workers=[WorkerState(**one) for one in values["workers"]],
        fixed=values["fixed"],
    )

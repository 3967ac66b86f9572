"""What a worker process is told by whoever started it, as a variable of its environment. Pure."""

from __future__ import annotations

import json
from collections.abc import MutableMapping
from dataclasses import asdict, dataclass, field

VARIABLE = "RTMPSRV_WORKER"
MANAGED_BY = "RTMPSRV_MANAGED_BY"  # for keepers: the number of our manager, which an upgrade leaves as it is


@dataclass(frozen=True, slots=True)
class Role:
    """One worker among several. Descriptors are inherited, and the worker's to close."""

    parent: int  # process that started it; it ends when that is gone
    heartbeat: int  # descriptor of a file whose time of change says that the worker lives
    status: int  # descriptor of a pipe to tell the parent through
    sockets: list[tuple[int, str]] = field(default_factory=list)  # to accept from: descriptors and names
    succeeds: int | None = None  # process whose sessions it takes over
    manager: bool = False  # whether the parent is ours; else it is gunicorn's

    @property
    def descriptors(self) -> list[int]:
        """All that the process has to inherit."""
        return [self.heartbeat, self.status, *(descriptor for descriptor, _name in self.sockets)]

    def to_text(self) -> str:
        """Return the value of the variable."""
        return json.dumps(asdict(self))


def take_role(environ: MutableMapping[str, str]) -> Role | None:
    """Return this process's role, if it has one; the variable is taken away."""
    text = environ.pop(VARIABLE, "")
    if not text:
        return None
    values = json.loads(text)
    return Role(**values | {"sockets": [(descriptor, name) for descriptor, name in values["sockets"]]})

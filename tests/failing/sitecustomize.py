"""Let one process of a succession die or hang at a chosen step. For tests: a folder for PYTHONPATH.

The file named by FAILS_AS says how, once: who fails takes it away. It holds ROLE WHEN KIND HOW [N]:

    successor at start die          before it has done anything
    successor receive slice hang    when it has received a message of that kind
    successor send prepared die     instead of sending one
    predecessor sent commit die     when one was handed to the kernel
    successor receive slice die 2   the second one of that kind
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import importlib.util
import os
import sys
import types
from collections.abc import Sequence
from time import sleep  # that of the whole process: gevent has not patched it yet
from typing import Any

WIRE = "rtmpsrv.workers.wire"
PLAN = os.environ.get("FAILS_AS", "")
ROLE = "successor" if "RTMPSRV_SUCCEEDS" in os.environ else "predecessor"
PATIENCE_S = 5.0  # for what was sent to reach the kernel
HANG_S = 600.0

_seen: dict[tuple[str, str], int] = {}


def fail_if_due(when: str, kind: str, before: Any = None) -> None:
    """Die or hang if this is the moment."""
    try:
        with open(PLAN) as file:
            role, wanted_when, wanted_kind, how, *nth = file.read().split()
    except (OSError, ValueError):
        return
    if (ROLE, when, kind) != (role, wanted_when, wanted_kind):
        return
    count = _seen[when, kind] = _seen.get((when, kind), 0) + 1
    if count != int(nth[0] if nth else 1):
        return
    os.unlink(PLAN)
    if before is not None:
        before()
    if how == "die":
        os._exit(9)
    sleep(HANG_S)


class _Finder(importlib.abc.MetaPathFinder):
    """Finds the module of the wire, and changes its class as soon as it is loaded."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: types.ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname != WIRE:
            return None
        spec = importlib.machinery.PathFinder.find_spec(fullname, path, target)
        if spec is not None and spec.loader is not None:
            loader: Any = spec.loader
            original = loader.exec_module

            def exec_module(module: types.ModuleType) -> None:
                original(module)
                _change(module.__dict__["Wire"])

            loader.exec_module = exec_module
        return spec


def _change(wire: Any) -> None:
    post, receive = wire.post, wire.receive

    def failing_post(self: Any, value: Any, fds: Sequence[int] = ()) -> bool:
        kind = str(value.get("kind")) if isinstance(value, dict) else ""
        fail_if_due("send", kind)
        posted: bool = post(self, value, fds)
        fail_if_due("sent", kind, lambda: self.flush(PATIENCE_S))
        return posted

    def failing_receive(self: Any, timeout_s: float | None = None) -> Any:
        received = receive(self, timeout_s)
        if isinstance(received[0], dict):
            fail_if_due("receive", str(received[0].get("kind")))
        return received

    wire.post, wire.receive = failing_post, failing_receive


if PLAN:
    fail_if_due("at", "start")
    sys.meta_path.insert(0, _Finder())

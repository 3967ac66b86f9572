"""What one process may take over from another: versions of state, and what both must have in common. Pure.

SCHEMA counts the forms of what travels: sessions, channels, notes of the gate. A process reads its own form
and the one before. The two messages that tell it, `hello` and `ready`, never change their form.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

SCHEMA: Final = 3
READS: Final = frozenset({SCHEMA, SCHEMA - 1}) - {0}  # forms that this version takes over from

# Times travel as they are, in monotonic seconds: they mean the same as long as this is the same.
_BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")
_TIME_NAMESPACE: Final = Path("/proc/self/ns/time")


def clock_identity() -> str:
    """Name the clock of this process: the boot of the system, and the namespace of its times.

    Where /proc does not tell, all are one: the other process is on this machine in any case.
    """
    try:
        boot = _BOOT_ID.read_text("ascii").strip()
    except OSError:
        boot = ""
    try:
        namespace = str(_TIME_NAMESPACE.readlink())
    except OSError:
        namespace = ""
    return f"{boot} {namespace}".strip()


def obstacle(theirs: Mapping[str, object], agreed: Mapping[str, object], clock: str) -> str:
    """Say why a process cannot take over from one that said `theirs`; "" when it can.

    `agreed` are this process's settings that must be the same in both, by the name of the variable.
    """
    schema = theirs.get("schema")
    if schema not in READS:
        return f"its state has the form {schema}, this version reads {_listed(READS)}"
    if theirs.get("clock") != clock:
        return "the two processes do not share a clock"
    other = theirs.get("agreed")
    if not isinstance(other, dict):
        return "it does not tell its settings"
    different = [name for name, value in agreed.items() if other.get(name) != value]
    return f"{', '.join(different)} changed" if different else ""


def _listed(schemas: frozenset[int]) -> str:
    return " and ".join(str(one) for one in sorted(schemas))

"""Which other workers there are to give sessions to, as RUN_DIR and the system tell. Nobody is asked."""

from __future__ import annotations

import os
from pathlib import Path

from .role import Role


def others(run_dir: str, role: Role, own_pid: int) -> list[int]:
    """Return the processes of workers that are not about to end too, the youngest first."""
    ending = is_ending(role)
    found = []
    for door in Path(run_dir).glob("*.sock"):
        if not door.stem.isdecimal() or int(door.stem) == own_pid:
            continue
        parent = parent_of(int(door.stem))
        if parent is not None and not (ending and parent == role.parent):
            found.append((_age(door), int(door.stem)))
    return [pid for _age, pid in sorted(found, reverse=True)]


def is_ending(role: Role) -> bool:
    """Tell whether all workers of this parent are to end: it has closed the ports, or is gone.

    A worker is told to end by the same signal as when only it is to go.
    """
    listening = {_inode(f"/proc/self/fd/{descriptor}") for descriptor, _name in role.sockets}
    if os.getppid() != role.parent:
        return True
    try:
        theirs = {_inode(str(one)) for one in Path(f"/proc/{role.parent}/fd").iterdir()}
    except OSError:
        return True  # it cannot be known
    return not listening & theirs


def parent_of(pid: int) -> int | None:
    """Return a process's parent; None when it has ended."""
    try:
        state, parent = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[:2]
    except (OSError, ValueError):
        return None
    return None if state in "ZX" else int(parent)


def _inode(path: str) -> str:
    try:
        return os.readlink(path)
    except OSError:
        return path  # closed meanwhile


def _age(door: Path) -> float:
    try:
        return door.stat().st_mtime
    except OSError:
        return 0.0

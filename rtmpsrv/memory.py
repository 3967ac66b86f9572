"""How much memory this process may use: the machine's, or less inside a container."""

from __future__ import annotations

import os
from pathlib import Path

# The limit of the control group this process runs in, version 2 and version 1.
_CGROUP_LIMITS = ("sys/fs/cgroup/memory.max", "sys/fs/cgroup/memory/memory.limit_in_bytes")


def available_bytes(root: Path = Path("/")) -> int:
    """Give the smaller of the machine's memory and the control group's limit, in bytes.

    Group limits are read where containers mount their own group, so a limit set on a service by systemd
    counts only through the path in /proc/self/cgroup.
    """
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limits = (_read_limit(root / path) for path in (*_CGROUP_LIMITS, *_own_group_limits(root)))
    return min([machine, *(limit for limit in limits if limit)])


def _own_group_limits(root: Path) -> list[str]:
    """List the version 2 limit files from this process's group up to the top."""
    try:
        groups = (root / "proc/self/cgroup").read_text()
    except OSError:
        return []  # no control groups on this system
    for line in groups.splitlines():
        if line.startswith("0::/"):
            parts = [part for part in line[len("0::/") :].split("/") if part and part != ".."]
            return [
                f"sys/fs/cgroup/{'/'.join(parts[:depth])}/memory.max" for depth in range(len(parts), 0, -1)
            ]
    return []


def _read_limit(path: Path) -> int:
    """Give the limit in a file; 0 where there is none ("max", or no such file)."""
    try:
        text = path.read_text().strip()
    except OSError:
        return 0
    return int(text) if text.isdecimal() else 0

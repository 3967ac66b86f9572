"""What the OS says of a process tree: CPU, memory, memory files. Linux only."""

from __future__ import annotations

import os
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")  # per second
BLOCK = 512  # bytes, unit of st_blocks
PROC = Path("/proc")
# a process may end between being listed and being read
GONE = (FileNotFoundError, ProcessLookupError)


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes of a process tree."""

    pss: int
    rss: int
    memfd: int

    @property
    def total(self) -> int:
        """Give what the tree costs: its own share of pages, and files in memory that no process maps."""
        return self.pss + self.memfd


def tree(root: int) -> list[int]:
    """List a process and all that descend from it."""
    children: dict[int, list[int]] = {}
    for entry in PROC.iterdir():
        if entry.name.isdigit():
            with suppress(*GONE):
                children.setdefault(int(_stat(int(entry.name))[1]), []).append(int(entry.name))
    found = [root]
    for pid in found:
        found += children.get(pid, [])
    return found


def cpu_seconds(root: int) -> float:
    """Sum user and system time over the tree, children that ended and were waited for included.

    /proc/PID/stat counts in ticks of 10 ms, which is coarse for a server with three players. The scheduler's
    own sum of each thread is in ns, but those of ended threads are gone. The larger of both is taken.
    """
    seconds = 0.0
    for pid in tree(root):
        with suppress(*GONE):
            user, system, children_user, children_system = map(int, _stat(pid)[11:15])
            own = max((user + system) / TICKS, _run_ns(pid) / 1e9)
            seconds += own + (children_user + children_system) / TICKS
    return seconds


def memory(root: int) -> Memory:
    """Sum the tree's PSS, RSS and the blocks of its memory files, each file once."""
    pss = rss = 0
    files: dict[int, int] = {}
    for pid in tree(root):
        with suppress(*GONE):
            for line in (PROC / str(pid) / "smaps_rollup").read_text().splitlines():
                if line.startswith("Pss:"):
                    pss += int(line.split()[1]) * 1024
                elif line.startswith("Rss:"):
                    rss += int(line.split()[1]) * 1024
        files |= _memory_files(pid)
    return Memory(pss, rss, sum(files.values()))


def busy_seconds(cpus: Collection[int]) -> float:
    """Sum what these CPUs did besides idling, time stolen by a hypervisor included."""
    wanted = {f"cpu{number}" for number in cpus}
    ticks = 0
    for line in (PROC / "stat").read_text().splitlines():
        name, *fields = line.split()
        if name in wanted:
            user, nice, system, _idle, _iowait, irq, softirq, steal = map(int, fields[:8])
            ticks += user + nice + system + irq + softirq + steal
    return ticks / TICKS


def socket_memory() -> int:
    """Give the bytes in all TCP sockets of the machine, the load's own included."""
    page = os.sysconf("SC_PAGE_SIZE")
    for line in (PROC / "net" / "sockstat").read_text().splitlines():
        words = line.split()
        if words[0] == "TCP:":
            return int(words[words.index("mem") + 1]) * page
    return 0


def _run_ns(pid: int) -> int:
    """Sum the ns that the threads of a process have run; 0 where the kernel does not tell."""
    total = 0
    for task in (PROC / str(pid) / "task").iterdir():
        with suppress(*GONE):
            total += int((task / "schedstat").read_text().split()[0])
    return total


def _stat(pid: int) -> list[str]:
    """Give the fields of /proc/PID/stat from the state on; the name before may hold anything."""
    return (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()


def _memory_files(pid: int) -> dict[int, int]:
    files: dict[int, int] = {}
    with suppress(*GONE):
        for name in os.listdir(PROC / str(pid) / "fd"):
            path = PROC / str(pid) / "fd" / name
            with suppress(*GONE):
                if os.readlink(path).startswith("/memfd:"):
                    status = path.stat()
                    files[status.st_ino] = status.st_blocks * BLOCK
    return files

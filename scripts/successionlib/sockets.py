"""What the kernel holds for connections: is a laggard behind in the server, or in its sockets only?"""

from __future__ import annotations

from pathlib import Path

TABLE = Path("/proc/net/tcp")


def behind(port: int, laggards: list[tuple[int, float]], mbit: float) -> int:
    """Count those that lag further than what their sockets hold: the server holds the rest for them."""
    held = queued(port)
    return sum(lag_s * mbit * 1e6 / 8 > held.get(peer, 0) * 1.1 for peer, lag_s in laggards)


def queued(port: int) -> dict[int, int]:
    """Give the bytes in the sockets of both ends of each connection to our port, by the client's port."""
    return parse(TABLE.read_text(), port)


def parse(text: str, port: int) -> dict[int, int]:
    """Read the kernel's table of IPv4 connections."""
    held: dict[int, int] = {}
    for line in text.splitlines()[1:]:
        _, local, remote, _, queues, *_ = line.split()
        ours, theirs = (int(one.rpartition(":")[2], 16) for one in (local, remote))
        sending, receiving = (int(one, 16) for one in queues.split(":"))
        if ours == port:
            held[theirs] = held.get(theirs, 0) + sending
        elif theirs == port:
            held[ours] = held.get(ours, 0) + receiving
    return held

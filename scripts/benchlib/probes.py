"""The process of probe players: they read every message, and note how old and how complete it comes."""

from __future__ import annotations

import select
import time
from array import array
from dataclasses import dataclass
from multiprocessing.connection import Connection

from benchlib.flvclient import FlvClient
from benchlib.rtmpclient import (
    MEDIA,
    TYPE_USER_CONTROL,
    TYPE_VIDEO,
    Client,
    ClientError,
    Target,
    pack_message,
)
from benchlib.stream import STAMPED_HEAD, stamp_of

PING = b"\0\6"  # unanswered, a run of more than a minute would see probes dropped as silent
PONG = b"\0\7"
NS_PER_MS = 1_000_000
BEAT_NS = 10_000_000  # the probe's own clock check: how late does it wake?


@dataclass(slots=True)
class Probe:
    """One measuring player."""

    client: Client | FlvClient
    last: int = -1
    received: int = 0
    gaps: int = 0
    closed: bool = False


class Probes:
    """All probes of a run, on one epoll."""

    def __init__(self, target: Target, flv: bool = False) -> None:
        """Connect nobody yet; `join` commands do, by HTTP-FLV if asked."""
        self._target = target
        self._client = FlvClient if flv else Client
        self._epoll = select.epoll()
        self._probes: dict[int, Probe] = {}
        self._window = (0, 0)
        self._latency_ns = array("q")
        self._delay_ns = array("q")

    def run(self, pipe: Connection) -> None:
        """Read and join as told, until told to stop."""
        self._epoll.register(pipe.fileno(), select.EPOLLIN)
        beat = time.monotonic_ns() + BEAT_NS
        while True:
            now = time.monotonic_ns()
            wait_ms = max(0, -((now - beat) // NS_PER_MS))  # epoll counts in whole ms, rounded up
            due = now + wait_ms * NS_PER_MS if wait_ms else beat
            events = self._epoll.poll(wait_ms / 1000)
            now = time.monotonic_ns()
            if now >= beat:
                if self._window[0] <= now < self._window[1]:
                    self._delay_ns.append(max(0, now - due))
                beat = now + BEAT_NS
            for descriptor, _flags in events:
                if descriptor != pipe.fileno():
                    self._read(self._probes[descriptor])
                elif self._obey(pipe):
                    return

    def _obey(self, pipe: Connection) -> bool:
        command = pipe.recv()
        match command[0]:
            case "window":
                self._window = (command[1], command[2])
                self._latency_ns, self._delay_ns = array("q"), array("q")
                for probe in self._probes.values():
                    probe.received = probe.gaps = 0
            case "join":
                self._join(command[1])
                pipe.send("joined")
            case "report":
                pipe.send(self._report())
            case _:
                for probe in self._probes.values():
                    probe.client.close()
                return True
        return False

    def _join(self, channels: list[int]) -> None:
        clients = [self._client(self._target, channel, STAMPED_HEAD) for channel in channels]
        for client in clients:
            client.command_connect()
        for client in clients:
            client.command_play()
        for client in clients:
            client.go()
            self._probes[client.sock.fileno()] = Probe(client)
            self._epoll.register(client.sock.fileno(), select.EPOLLIN)

    def _read(self, probe: Probe) -> None:
        begin, end = self._window
        while True:
            try:
                messages = probe.client.messages()
            except ClientError:
                probe.closed = True
                self._epoll.unregister(probe.client.sock.fileno())
                return
            now = time.monotonic_ns()
            for type_id, _length, head in messages:
                if type_id == TYPE_USER_CONTROL and head[:2] == PING:
                    probe.client.sock.send(pack_message(2, TYPE_USER_CONTROL, 0, PONG + head[2:6]))
                found = stamp_of(type_id, head) if type_id in MEDIA else None
                if found is None:
                    continue
                sent_ns, sequence = found
                if sequence != probe.last + 1 and begin <= sent_ns < end:
                    probe.gaps += 1
                probe.last = sequence
                if begin <= sent_ns < end:
                    probe.received += 1
                    if type_id == TYPE_VIDEO:
                        self._latency_ns.append(now - sent_ns)
            if not self._has_more(probe):
                return

    def _has_more(self, probe: Probe) -> bool:
        # what TLS has decrypted already raises no event
        pending = getattr(probe.client.sock, "pending", None)
        return bool(pending and pending())

    def _report(self) -> dict[str, object]:
        return {
            "received": [(probe.client.channel, probe.received) for probe in self._probes.values()],
            "gaps": sum(probe.gaps for probe in self._probes.values()),
            "closed": sum(probe.closed for probe in self._probes.values()),
            "latency_ns": self._latency_ns.tolist(),
            "delay_ns": self._delay_ns.tolist(),
        }

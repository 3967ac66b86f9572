"""The process of players that read what comes at once and discard it: the kernel drops it, uncopied.

Of the time that a read takes the kernel has four fifths. The rest is kept short: nothing is looked up for a
read but two lists by descriptor, and acknowledgements are seen to by a sweep.
"""

from __future__ import annotations

import select
import socket
import ssl
import struct
import time
from collections.abc import Callable
from multiprocessing.connection import Connection

from benchlib.flvclient import FlvClient
from benchlib.lateness import Lateness
from benchlib.rtmpclient import RECEIVE_BUFFER, TYPE_ACK, Client, Target, pack_message

BATCH = 25  # connections that join side by side
POLL_S = 0.01  # how long to wait for players at most: commands and the window's ends are looked at between
SWEEP_S = 0.25  # between looks at who has to acknowledge
COMMANDS_S = 0.01  # between looks at the command pipe
READ_BYTES = 4 * 1024 * 1024
ACK_BYTES = 2_500_000  # as FFmpeg: half the window that servers ask for
ACK_S = 20.0  # a slow stream acknowledges by time, which also tells the server that the player lives
STALLED_BUFFER = 65_536  # bytes of SO_RCVBUF: the stalled player's lag must show at the server

Receive = Callable[[bytearray, int, int], int]


class Players:
    """All discarding players of a run; lists of them are by descriptor, with holes."""

    def __init__(self, target: Target, flv: bool = False) -> None:
        """Connect nobody yet; `join` commands do, by HTTP-FLV if asked."""
        self._target = target
        self._client = FlvClient if flv else Client
        self._scratch = bytearray(READ_BYTES)
        # In the order of joining: the socket, and that above TLS. Nothing else of a client is kept: what it
        # has parsed in joining would be gigabytes of thousands.
        self._sockets: dict[int, tuple[socket.socket, socket.socket]] = {}
        self._receive: list[Receive] = []
        self._received: list[int] = []
        self._acked: dict[int, tuple[int, float]] = {}  # bytes, when
        self._marks: dict[int, int] = {}
        self._stalled: set[int] = set()
        self._closed: set[int] = set()
        self._readable = select.epoll()
        self._sweep_at = self._commands_at = 0.0
        self._window = (0.0, 0.0)
        self._at_begin: dict[int, int] = {}
        self._in_window: dict[int, int] = {}
        self._begun = self._ended = False
        self._lateness = Lateness()

    def run(self, pipe: Connection) -> None:
        """Read and join as told, until told to stop."""
        while True:
            now = time.monotonic()
            if now >= self._commands_at:
                self._commands_at = now + COMMANDS_S
                if pipe.poll(0) and self._obey(pipe):
                    return
            self._see_to_window(now)
            if now >= self._sweep_at:
                self._sweep_at = now + SWEEP_S
                self._acknowledge(now)
            self._serve(POLL_S)

    def _obey(self, pipe: Connection) -> bool:
        """Take one command; True when it was to stop."""
        command = pipe.recv()
        match command[0]:
            case "window":
                self._window = (command[1] / 1e9, command[2] / 1e9)
                self._begun = self._ended = False
            case "join":
                self._join(command[1], stalled=command[2])
                pipe.send("joined")
            case "leave":
                self._leave(command[1])
                pipe.send("left")
            case "mark":
                self._marks = {descriptor: self._received[descriptor] for descriptor in self._sockets}
            case "count":
                pipe.send(sum(self._received[descriptor] for descriptor in self._sockets))
            case "report":
                pipe.send(self._report())
            case _:
                self._leave(len(self._sockets))
                return True
        return False

    def _join(self, channels: list[int], stalled: bool) -> None:
        for first in range(0, len(channels), BATCH):
            batch = [
                self._client(
                    self._target, channel, receive_buffer=STALLED_BUFFER if stalled else RECEIVE_BUFFER
                )
                for channel in channels[first : first + BATCH]
            ]
            for client in batch:
                client.command_connect()
            for client in batch:
                client.command_play()
            for client in batch:
                client.go()
            for client in batch:
                self._take_up(client, stalled)
            self._serve(0.0)

    def _take_up(self, client: Client | FlvClient, stalled: bool) -> None:
        descriptor = client.raw.fileno()
        missing = descriptor + 1 - len(self._received)
        if missing > 0:
            self._received += [0] * missing
            self._receive += [_no_socket] * missing
        self._received[descriptor] = 0
        self._receive[descriptor] = client.raw.recv_into
        self._sockets[descriptor] = (client.raw, client.sock)
        if client.acknowledges:
            self._acked[descriptor] = (0, time.monotonic())
        if stalled:
            self._stalled.add(descriptor)
        self._readable.register(descriptor, select.EPOLLIN)

    def _leave(self, count: int) -> None:
        """Close those that joined last."""
        for descriptor in list(self._sockets)[len(self._sockets) - count :]:
            self._closed.discard(descriptor)
            self._stalled.discard(descriptor)
            # which takes it out of the epoll as well
            for sock in self._sockets.pop(descriptor):
                sock.close()
            for by_descriptor in (self._acked, self._marks, self._at_begin, self._in_window):
                by_descriptor.pop(descriptor, None)

    def _serve(self, timeout_s: float) -> None:
        """Read what has come for anybody."""
        ready = self._readable.poll(timeout_s)
        if not ready:
            return
        received, receive, scratch, flags = self._received, self._receive, self._scratch, socket.MSG_TRUNC
        started = time.monotonic_ns()
        for descriptor, _ in ready:
            try:
                size = receive[descriptor](scratch, READ_BYTES, flags)
            except BlockingIOError:
                continue
            except OSError:
                size = 0
            if size:
                received[descriptor] += size
            else:
                self._closed.add(descriptor)
                self._readable.unregister(descriptor)
        if self._begun and not self._ended:
            self._lateness.note(time.monotonic_ns() - started)

    def _see_to_window(self, now: float) -> None:
        begin, end = self._window
        if begin and not self._begun and now >= begin:
            self._begun = True
            self._lateness = Lateness()
            self._at_begin = {descriptor: self._received[descriptor] for descriptor in self._sockets}
            for descriptor in self._stalled - self._closed:
                self._readable.unregister(descriptor)
        if end and not self._ended and now >= end:
            self._ended = True
            self._in_window = {
                descriptor: self._received[descriptor] - before
                for descriptor, before in self._at_begin.items()
            }
            for descriptor in self._stalled - self._closed:
                self._readable.register(descriptor, select.EPOLLIN)

    def _acknowledge(self, now: float) -> None:
        """Tell the server how much has come, where that is due."""
        received = self._received
        for descriptor, (size, when) in self._acked.items():
            count = received[descriptor]
            if count - size < ACK_BYTES and now - when < ACK_S:
                continue
            if self._begun and not self._ended and descriptor in self._stalled:
                continue  # it is to look dead
            # the key is there already: the dictionary may be written to while it is walked
            self._acked[descriptor] = (count, now)
            body = struct.pack(">I", count & 0xFFFFFFFF)
            try:
                self._sockets[descriptor][1].send(pack_message(2, TYPE_ACK, 0, body))
            except (BlockingIOError, ssl.SSLWantWriteError):
                continue  # the server does not read: the next acknowledgement says as much
            except OSError:
                continue  # the next read finds it closed

    def _report(self) -> dict[str, object]:
        good = self._sockets.keys() - self._stalled
        return {
            "bytes": sorted(self._in_window[one] for one in good if one in self._in_window),
            "since_mark": sorted(
                self._received[one] - self._marks[one] for one in good if one in self._marks
            ),
            "closed": len(good & self._closed),
            "stalled_closed": len(self._stalled & self._closed),
            "late_p99_ms": self._lateness.percentile_ms(0.99),
        }


def _no_socket(_buffer: bytearray, _size: int, _flags: int) -> int:
    """Stand where no player has this descriptor; epoll never reports one."""
    raise OSError("no such player")

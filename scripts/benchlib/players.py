"""The process of players that read what comes at once and discard it: the kernel drops it, uncopied."""

from __future__ import annotations

import os
import select
import socket
import ssl
import struct
import time
from dataclasses import dataclass
from multiprocessing.connection import Connection

from benchlib.rtmpclient import RECEIVE_BUFFER, TYPE_ACK, Client, Target, pack_message

BATCH = 25  # connections that join side by side
POLL_S = 0.01  # how long to wait for players at most: commands and the window's ends are looked at between
READ_BYTES = 4 * 1024 * 1024
ACK_BYTES = 2_500_000  # as FFmpeg: half the window that servers ask for
ACK_S = 20.0  # a slow stream acknowledges by time, which also tells the server that the player lives
STALLED_BUFFER = 65_536  # bytes of SO_RCVBUF: the stalled player's lag must show at the server


@dataclass(slots=True)
class Player:
    """One discarding player."""

    client: Client
    stalled: bool = False
    received: int = 0
    acked: int = 0
    acked_at: float = 0.0
    at_begin: int = 0
    in_window: int = 0
    closed: bool = False


class Players:
    """All discarding players of a run."""

    def __init__(self, target: Target) -> None:
        """Connect nobody yet; `join` commands do."""
        # The probes and the publishers on the same core go first. Nice values made them wait up to 8 ms.
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
        self._target = target
        self._scratch = bytearray(READ_BYTES)
        self._players: dict[int, Player] = {}  # by descriptor
        self._readable = select.epoll()
        self._window = (0.0, 0.0)
        self._begun = self._ended = False

    def run(self, pipe: Connection) -> None:
        """Read and join as told, until told to stop."""
        while not (pipe.poll(0) and self._obey(pipe)):
            self._see_to_window()
            self._serve(POLL_S)

    def _obey(self, pipe: Connection) -> bool:
        command = pipe.recv()
        if command[0] == "window":
            self._window = (command[1] / 1e9, command[2] / 1e9)
        elif command[0] == "join":
            self._join(command[1], stalled=command[2])
            pipe.send("joined")
        else:
            pipe.send(self._report())
            for player in self._players.values():
                player.client.close()
            return True
        return False

    def _join(self, channels: list[int], stalled: bool) -> None:
        for first in range(0, len(channels), BATCH):
            batch = [
                Client(self._target, channel, receive_buffer=STALLED_BUFFER if stalled else RECEIVE_BUFFER)
                for channel in channels[first : first + BATCH]
            ]
            for client in batch:
                client.command_connect()
            for client in batch:
                client.command_play()
            for client in batch:
                client.go()
            now = time.monotonic()
            for client in batch:
                self._players[client.raw.fileno()] = Player(client, stalled=stalled, acked_at=now)
                self._readable.register(client.raw.fileno(), select.EPOLLIN)
            self._serve(0.0)

    def _serve(self, timeout_s: float) -> None:
        """Read what has come for anybody."""
        ready = self._readable.poll(timeout_s)
        now = time.monotonic()
        for descriptor, _ in ready:
            self._read(self._players[descriptor], now)

    def _see_to_window(self) -> None:
        now = time.monotonic()
        begin, end = self._window
        if begin and not self._begun and now >= begin:
            self._begun = True
            for descriptor, player in self._players.items():
                player.at_begin = player.received
                if player.stalled:
                    self._readable.unregister(descriptor)
        if end and not self._ended and now >= end:
            self._ended = True
            for descriptor, player in self._players.items():
                player.in_window = player.received - player.at_begin
                if player.stalled:
                    self._readable.register(descriptor, select.EPOLLIN)

    def _read(self, player: Player, now: float) -> None:
        try:
            size = player.client.raw.recv_into(self._scratch, READ_BYTES, socket.MSG_TRUNC)
        except BlockingIOError:
            size = -1
        except OSError:
            size = 0
        if size == 0:
            player.closed = True
            self._readable.unregister(player.client.raw)
            return
        player.received += max(size, 0)
        if player.received - player.acked >= ACK_BYTES or now - player.acked_at >= ACK_S:
            player.acked, player.acked_at = player.received, now
            _acknowledge(player)

    def _report(self) -> dict[str, object]:
        good = [player for player in self._players.values() if not player.stalled]
        return {
            "bytes": sorted(player.in_window for player in good),
            "closed": sum(player.closed for player in good),
            "stalled_closed": sum(player.closed for player in self._players.values() if player.stalled),
        }


def _acknowledge(player: Player) -> None:
    body = struct.pack(">I", player.received & 0xFFFFFFFF)
    try:
        player.client.sock.send(pack_message(2, TYPE_ACK, 0, body))
    except (BlockingIOError, ssl.SSLWantWriteError):
        return  # the server does not read: the next acknowledgement says as much
    except OSError:
        player.closed = True

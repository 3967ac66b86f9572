"""The process of players that read and discard: the kernel throws their bytes away, uncopied, in ticks."""

from __future__ import annotations

import os
import socket
import ssl
import struct
import time
from dataclasses import dataclass
from multiprocessing.connection import Connection

from benchlib.rtmpclient import RECEIVE_BUFFER, TYPE_ACK, Client, Target, pack_message
from benchlib.scenarios import Scenario

BATCH = 25  # connections that join side by side
TICK_S = 0.1  # every player is read once in this time
TICK_BYTES = 65_536  # a fast stream is read more often, so that this much waits in a socket
MIN_TICK_S = 0.02
SLICES = 10  # parts of a tick: a tick of 1000 reads at once would hold the core for milliseconds
READ_BYTES = 4 * 1024 * 1024
ACK_BYTES = 2_500_000  # as FFmpeg: half the window that servers ask for
ACK_S = 20.0  # a slow stream acknowledges by time, which also tells the server that the player lives
NICE = 10  # the probe and the publishers, on the same core, go first
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

    def __init__(self, target: Target, scenario: Scenario) -> None:
        """Connect nobody yet; `join` commands do."""
        os.nice(NICE)
        self._target = target
        self._scratch = bytearray(READ_BYTES)
        self._players: list[Player] = []
        self._slice = 0
        tick = max(MIN_TICK_S, min(TICK_S, TICK_BYTES / scenario.bytes_per_second))
        self._pause_s = tick / SLICES
        self._window = (0.0, 0.0)
        self._begun = self._ended = False

    def run(self, pipe: Connection) -> None:
        """Read and join as told, until told to stop."""
        next_tick = time.monotonic()
        while True:
            if pipe.poll(0) and self._obey(pipe):
                return
            self._tick()
            next_tick = max(next_tick + self._pause_s, time.monotonic())
            time.sleep(max(0.0, next_tick - time.monotonic()))

    def _obey(self, pipe: Connection) -> bool:
        command = pipe.recv()
        if command[0] == "window":
            self._window = (command[1] / 1e9, command[2] / 1e9)
        elif command[0] == "join":
            self._join(command[1], stalled=command[2])
            pipe.send("joined")
        else:
            pipe.send(self._report())
            for player in self._players:
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
            self._players += [Player(client, stalled=stalled, acked_at=now) for client in batch]
            for player in self._players[:-BATCH]:
                self._read(player, now)

    def _tick(self) -> None:
        now = time.monotonic()
        begin, end = self._window
        if begin and not self._begun and now >= begin:
            self._begun = True
            for player in self._players:
                player.at_begin = player.received
        if end and not self._ended and now >= end:
            self._ended = True
            for player in self._players:
                player.in_window = player.received - player.at_begin
        self._slice = (self._slice + 1) % SLICES
        for player in self._players[self._slice :: SLICES]:
            if not (player.stalled and self._begun and not self._ended):
                self._read(player, now)

    def _read(self, player: Player, now: float) -> None:
        if player.closed:
            return
        try:
            size = player.client.raw.recv_into(self._scratch, READ_BYTES, socket.MSG_TRUNC)
        except BlockingIOError:
            size = -1
        except OSError:
            size = 0
        if size == 0:
            player.closed = True
            return
        player.received += max(size, 0)
        if player.received - player.acked >= ACK_BYTES or now - player.acked_at >= ACK_S:
            player.acked, player.acked_at = player.received, now
            _acknowledge(player)

    def _report(self) -> dict[str, object]:
        good = [player for player in self._players if not player.stalled]
        return {
            "bytes": sorted(player.in_window for player in good),
            "closed": sum(player.closed for player in good),
            "stalled_closed": sum(player.closed for player in self._players if player.stalled),
        }


def _acknowledge(player: Player) -> None:
    body = struct.pack(">I", player.received & 0xFFFFFFFF)
    try:
        player.client.sock.send(pack_message(2, TYPE_ACK, 0, body))
    except (BlockingIOError, ssl.SSLWantWriteError):
        return  # the server does not read: the next acknowledgement says as much
    except OSError:
        player.closed = True

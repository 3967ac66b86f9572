"""The process of players: all on one epoll, every message of each looked at as it comes."""

from __future__ import annotations

import random
import select
import threading
import time
from collections import deque
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from typing import Any

from benchlib.rtmpclient import TYPE_AUDIO, TYPE_VIDEO, ClientError, Target

from .kinds import LATER, PROMPT, SHAKES, Kind, Part
from .peer import Peer
from .seen import Seen

POLL_S = 0.01
SWEEP_S = 0.25  # between looks at who has to be acknowledged, and who has slept enough
COMMANDS_S = 0.01
BATCH = 25  # connections that join side by side
SERVES_BETWEEN = 20  # times that the others are read after each batch: laggards take little at a time
NAP_S = (1.5, 4.0)  # of a laggard: its sockets hold less than a second
CAUGHT_UP_S = 0.5  # behind the publisher; then it naps again
LAGGARD_READ = 4096  # bytes
READ = 262_144
SETTLE_S = 20.0  # for everybody to get the rest, and to be answered
NEWCOMER_EVERY_S = 0.2
MUTED = {Kind.PAUSED: frozenset((TYPE_AUDIO, TYPE_VIDEO)), Kind.SILENT: frozenset((TYPE_AUDIO,))}


@dataclass(slots=True)
class Player:
    """One player and what it does; belongs to the loop alone."""

    peer: Peer
    part: Part
    naps_until: float = 0.0
    last_at: float = 0.0
    longest_s: float = 0.0  # between two messages, while a window is open

    def paused_s(self, now: float) -> float:
        """Give the longest pause so far, the present one included."""
        return max(self.longest_s, now - self.last_at)


@dataclass(slots=True)
class Newcomers:
    """Threads that join one player after the other while the loop reads, one thread for each window."""

    target: Target
    channels: int
    joined: deque[Player] = field(default_factory=deque)
    failed: list[str] = field(default_factory=list)
    slowest_s: float = 0.0
    _stop: threading.Event = field(default_factory=threading.Event)
    _threads: list[threading.Thread] = field(default_factory=list)

    def start(self) -> None:
        """Let them come from now on."""
        self._stop = threading.Event()
        self._threads.append(threading.Thread(target=self._run, args=(self._stop,), daemon=True))
        self._threads[-1].start()

    def end(self) -> None:
        """Let no more come; one may still be on its way. Never blocks."""
        self._stop.set()

    def all_here(self) -> bool:
        """Tell whether nobody is on the way any more."""
        return not any(thread.is_alive() for thread in self._threads)

    def _run(self, stop: threading.Event) -> None:
        number = 0
        while not stop.wait(NEWCOMER_EVERY_S):
            part = Part(Kind.NEWCOMER, number % self.channels)
            number += 1
            began = time.monotonic()
            try:
                peer = Peer(self.target, part)
                peer.join()
            except (ClientError, OSError) as exc:
                self.failed.append(f"{type(exc).__name__}: {exc}")
                continue
            self.slowest_s = max(self.slowest_s, time.monotonic() - began)
            self.joined.append(Player(peer, part))


class Players:
    """All players of a run."""

    def __init__(self, target: Target, tls_target: Target | None, channels: int) -> None:
        """Connect nobody yet; `join` commands do."""
        self._targets = {False: target, True: tls_target or target}
        self._players: dict[int, Player] = {}
        self._gone: list[Player] = []
        self._newcomers = Newcomers(target, channels)
        self._epoll = select.epoll()
        self._dice = random.Random(1)
        self._open = False
        self._napping = False
        self._held_up_s = 0.0
        self._sent: dict[int, dict[int, int]] = {}

    def run(self, pipe: Connection) -> None:
        """Read and do as told, until told to stop."""
        commands_at = sweep_at = 0.0
        while True:
            now = time.monotonic()
            if now >= commands_at:
                commands_at = now + COMMANDS_S
                if pipe.poll(0) and self._obey(pipe):
                    return
            if now >= sweep_at:
                sweep_at = now + SWEEP_S
                self._sweep(now)
            self._serve(POLL_S)

    def _obey(self, pipe: Connection) -> bool:
        command = pipe.recv()
        answer: Any = None
        match command[0]:
            case "join":
                self._join(command[1])
            case "settle":
                self._settle_in()
            case "mute":
                self._mute()
            case "open":
                self._open_window()
            case "close":
                answer = self._close_window()
            case "behind":
                answer = self._behind()
            case "later":
                self._later()
            case "finish":
                self._finish(command[1])
            case "ask":
                answer = self._ask()
            case "newcomers":
                answer = (self._newcomers.failed, self._newcomers.slowest_s)
            case "report":
                answer = [self._seen(player) for player in [*self._players.values(), *self._gone]]
            case _:
                for player in self._players.values():
                    player.peer.close()
                return True
        pipe.send(answer)
        return False

    # --- the loop -----------------------------------------------------------------------------------

    def _serve(self, timeout_s: float) -> None:
        ready = self._epoll.poll(timeout_s)
        began = time.monotonic()
        for descriptor, _ in ready:
            player = self._players[descriptor]
            self._read(player, LAGGARD_READ if player.part.kind is Kind.LAGGARD else READ)
        while self._newcomers.joined:
            self._take_up(self._newcomers.joined.popleft())
        if ready and self._open:
            self._held_up_s = max(self._held_up_s, time.monotonic() - began)

    def _read(self, player: Player, size: int) -> None:
        try:
            media = player.peer.read(size)
        except ClientError:
            self._epoll.unregister(player.peer.fileno())
            self._gone.append(self._players.pop(player.peer.fileno()))
            return
        if not media:
            return
        now = time.monotonic()
        if self._open:
            player.longest_s = max(player.longest_s, now - player.last_at)
        player.last_at = now
        if player.part.kind is Kind.LAGGARD and self._napping:
            behind_s = now - player.peer.tally.sent_ns / 1e9
            if behind_s < CAUGHT_UP_S:
                player.naps_until = now + self._dice.uniform(*NAP_S)
                self._epoll.modify(player.peer.fileno(), 0)

    def _sweep(self, now: float) -> None:
        for player in self._players.values():
            if player.naps_until and (now >= player.naps_until or not self._napping):
                player.naps_until = 0.0
                self._epoll.modify(player.peer.fileno(), select.EPOLLIN)
            player.peer.acknowledge(now)

    # --- commands -----------------------------------------------------------------------------------

    def _join(self, parts: list[Part]) -> None:
        for first in range(0, len(parts), BATCH):
            batch = parts[first : first + BATCH]
            players = [Player(Peer(self._targets[part.tls], part), part) for part in batch]
            for step in (Peer.connect, Peer.ask, Peer.arrive):
                for player in players:
                    step(player.peer)
            for player in players:
                self._take_up(player)
            for _ in range(SERVES_BETWEEN):
                self._serve(0.0)

    def _take_up(self, player: Player) -> None:
        player.last_at = time.monotonic()
        self._players[player.peer.fileno()] = player
        if player.part.kind in SHAKES:
            self._epoll.register(player.peer.fileno(), 0)  # errors only: `go_on` reads the handshake
        else:
            self._epoll.register(player.peer.fileno(), select.EPOLLIN)
            self._read(player, READ)  # what came with the answers

    def _settle_in(self) -> None:
        """Let laggards lag and the paused pause."""
        self._napping = True
        for player in self._of(Kind.PAUSED):
            player.peer.pause(True)

    def _mute(self) -> None:
        """Count as unwanted, from now on, what was switched off."""
        for player in self._players.values():
            player.peer.tally.muted = MUTED.get(player.part.kind, frozenset())

    def _open_window(self) -> None:
        """Count pauses from now on."""
        now = time.monotonic()
        for player in self._players.values():
            player.last_at, player.longest_s = now, 0.0
        self._held_up_s = 0.0
        self._open = True
        self._newcomers.start()

    def _close_window(self) -> dict[str, Any]:
        self._open = False
        now = time.monotonic()
        longest: dict[Kind, float] = {}
        for player in self._players.values():
            if player.part.kind in PROMPT:
                kind = player.part.kind
                longest[kind] = max(longest.get(kind, 0.0), player.paused_s(now))
        self._newcomers.end()
        return {"longest_s": longest, "held_up_s": self._held_up_s}

    def _behind(self) -> list[tuple[int, float]]:
        """Give port and lag in seconds of each laggard."""
        now = time.monotonic()
        return [
            (player.peer.port, now - player.peer.tally.sent_ns / 1e9)
            for player in self._of(Kind.LAGGARD)
            if player.peer.tally.sent_ns
        ]

    def _later(self) -> None:
        """Let those play who only now do, and the paused go on."""
        for player in self._of(Kind.PAUSED):
            player.peer.pause(False)
        for player in self._of(*LATER):
            with suppress(ClientError):  # seen as closed by the next read
                player.peer.go_on()
            self._epoll.modify(player.peer.fileno(), select.EPOLLIN)
            self._serve(0.0)

    def _finish(self, sent: dict[int, dict[int, int]]) -> None:
        """Read until everybody has everything, `SETTLE_S` at most."""
        self._napping = False
        self._sent = sent
        self._serve_until(lambda _player: self._newcomers.all_here())
        self._serve_until(lambda player: player.peer.tally.missing(sent[player.part.channel]) <= 0)

    def _ask(self) -> int:
        """Ping the server over every connection; count the answers."""
        for player in self._players.values():
            player.peer.ping()
        self._serve_until(lambda player: player.peer.answered)
        return sum(player.peer.answered for player in self._players.values())

    def _serve_until(self, done: Any) -> None:
        until = time.monotonic() + SETTLE_S
        self._sweep(time.monotonic())
        while not all(done(player) for player in self._players.values()) and time.monotonic() < until:
            for _ in range(10):
                self._serve(POLL_S)
            self._sweep(time.monotonic())

    def _of(self, *kinds: Kind) -> list[Player]:
        return [player for player in self._players.values() if player.part.kind in kinds]

    def _seen(self, player: Player) -> Seen:
        tally = player.peer.tally
        return Seen(
            kind=player.part.kind,
            channel=player.part.channel,
            tls=player.part.tls,
            closed=player in self._gone,
            first=max(tally.first.values(), default=0),
            received=tally.received,
            lost=tally.lost,
            missing=tally.missing(self._sent.get(player.part.channel, {})),
            doubled=tally.doubled,
            reordered=tally.reordered,
            damaged=tally.damaged,
            unwanted=tally.unwanted,
            told_end=player.peer.told_end,
            newest_at=time.time() - time.monotonic() + player.last_at,
        )

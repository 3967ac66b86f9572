"""Publishers that come and go, one thread each, and whether a backend was told of each once."""

from __future__ import annotations

import random
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from benchlib.rtmpclient import Target

from rtmpsrv.client import Client, ClientSettings, connect
from rtmpsrv.errors import ProtocolError, RequestRefused

from .seen import Claim

STAY_S = (0.2, 8.0)
AWAY_S = (0.0, 0.7)
MESSAGE_EVERY_S = 0.2
PICTURE = bytes.fromhex("1701000000") + bytes(400)
SETTINGS = ClientSettings(connect_s=10.0, answer_s=20.0)
RESET = struct.pack("ii", 1, 0)  # close with RST


@dataclass(frozen=True, slots=True)
class Visit:
    """One attempt to publish; its key is its own."""

    key: str
    outcome: str  # how it ended: as it wished, or what befell it
    accepted: bool


@dataclass(slots=True)
class Visitors:
    """All of them, and what became of each attempt."""

    target: Target
    count: int
    visits: list[Visit] = field(default_factory=list)
    _over: threading.Event = field(default_factory=threading.Event)
    _threads: list[threading.Thread] = field(default_factory=list)

    def start(self) -> None:
        """Let them come and go from now on."""
        self._threads = [
            threading.Thread(target=self._come_and_go, args=(number,), daemon=True)
            for number in range(self.count)
        ]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Let all of them leave. Blocks up to the longest that an answer may take."""
        self._over.set()
        for thread in self._threads:
            thread.join()

    def _come_and_go(self, number: int) -> None:
        dice = random.Random(number)
        attempt = 0
        while not self._over.wait(dice.uniform(*AWAY_S)):
            attempt += 1
            self.visits.append(self._visit(f"visitor{number}", f"k{number}-{attempt}", dice))

    def _visit(self, channel: str, key: str, dice: random.Random) -> Visit:
        accepted = False
        try:
            with connect(self.target.host, self.target.port, channel, settings=SETTINGS) as client:
                client.publish(key)
                accepted = True
                return Visit(key, self._stay(client, dice), True)
        except RequestRefused as exc:
            return Visit(key, f"refused: {exc.description.partition(':')[0]}", accepted)
        except (ProtocolError, OSError) as exc:
            return Visit(key, f"lost: {type(exc).__name__}", accepted)

    def _stay(self, client: Client, dice: random.Random) -> str:
        """Publish for a time, then leave in one of several ways."""
        until = time.monotonic() + dice.uniform(*STAY_S)
        number = 0
        while time.monotonic() < until and not self._over.wait(MESSAGE_EVERY_S):
            client.send_video(number * 200, PICTURE)
            number += 1
        how = dice.choice(("closed", "stopped", "reset", "in mid-message"))
        if how == "stopped":
            client.stop_publishing()
        elif how == "reset":
            client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        elif how == "in mid-message":
            client.send_bytes(PICTURE[:3])
        return how


def exactly_once(visits: Iterable[Visit], told: Iterable[tuple[str, str]]) -> list[Claim]:
    """Hold what a backend was told, as (event, key), against what publishers did."""
    counts = Counter(told)
    starts = {key: count for (event, key), count in counts.items() if event == "start"}
    stops = {key: count for (event, key), count in counts.items() if event == "stop"}
    unasked = [visit.key for visit in visits if visit.accepted and visit.key not in starts]
    doubled = [key for key, count in starts.items() if count > 1]
    never = [key for key in starts if key not in stops]
    often = [key for key, count in stops.items() if count > 1]
    unknown = [key for key in stops if key not in starts]
    return [
        (bool(starts), f"{len(starts)} publications were asked about"),
        (not unasked, f"{len(unasked)} publishers were accepted and not asked about {unasked[:5]}"),
        (not doubled, f"{len(doubled)} were asked about more than once {doubled[:5]}"),
        (not never, f"of {len(never)} no end was told {never[:5]}"),
        (not often, f"of {len(often)} more than one end was told {often[:5]}"),
        (not unknown, f"of {len(unknown)} an end was told and no beginning {unknown[:5]}"),
    ]

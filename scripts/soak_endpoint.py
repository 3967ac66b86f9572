#!/usr/bin/env python3
"""Let registrations and clients of an endpoint come and go at random, then look for anything left behind.

    scripts/soak_endpoint.py [--seconds 300] [--registrations 200] [--clients 500] [--seed N]

Every registrant checks the order of its messages: asked, connected, media, exactly one end, nothing after the
closing message. In the end objects, greenlets and descriptors are counted against the time before the start.
"""

from __future__ import annotations

from own_python import use_venv

use_venv()

from gevent import monkey

monkey.patch_all()

import argparse
import gc
import logging
import os
import random
import sys
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from typing import Any

import gevent

from rtmpsrv import (
    ANY,
    Endpoint,
    Exact,
    Limits,
    ListenForPublishers,
    ListenForWatchers,
    NewMediaData,
    NewPublisherConnected,
    Observe,
    PublisherRefused,
    PublisherRequiringApproval,
    PublishingStopped,
    RegistrationClosed,
    RegistrationError,
    SecondPublisher,
    StreamKeyBecameActive,
    StreamKeyBecameInactive,
    VideoData,
    WatcherConnected,
    WatcherDisconnected,
    WatcherRefused,
    WatcherRequiringApproval,
)
from rtmpsrv.endpoint.publisher import EndpointPublication
from rtmpsrv.endpoint.watcher import EndpointPlayback
from rtmpsrv.live.channel import Channel
from rtmpsrv.live.output import RETURN_S
from rtmpsrv.live.player import Player
from rtmpsrv.live.segment import Segment
from rtmpsrv.server.session import Session
from tests.client import Client, Closed, interframe, keyframe

KEYS = ("a", "b", "c")
APPS = 15
LOG_S = 0.02  # what a line of log costs its writer, while others run
PORTS = 3
LIMITS = Limits(
    connections=5000, connections_per_address=5000, approval_s=0.5, stall_s=5.0, cache_bytes=1 << 20
)
MUST_VANISH = (Session, EndpointPublication, EndpointPlayback, Player, Channel, Segment)


class SwitchingHandler(logging.Handler):
    """Lets others run at every line of the log, as the handlers of a program may."""

    def createLock(self) -> None:
        self.lock = None

    def emit(self, record: logging.LogRecord) -> None:
        gevent.sleep(LOG_S)


class Violation(AssertionError):
    """The endpoint broke a promise."""


@dataclass
class Soak:
    """What all actors share."""

    seed: int
    endpoint: Endpoint = field(default_factory=lambda: Endpoint("127.0.0.1", limits=LIMITS))
    ports: list[int] = field(default_factory=list)
    over: bool = False
    counts: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)


class Checker:
    """The promises to one registrant."""

    def __init__(self) -> None:
        self._states: dict[Any, str] = {}
        self._active: set[str] = set()
        self._closed = False

    def take(self, message: Any) -> None:
        """Raise Violation if this message may not come now."""
        if self._closed:
            raise Violation(f"{message!r} after the closing message")
        match message:
            case PublisherRequiringApproval(client=client) | WatcherRequiringApproval(client=client):
                self._move(client.connection_id, {None}, "asked")
            case NewPublisherConnected(client=client) | WatcherConnected(client=client):
                self._move(client.connection_id, {None, "asked"}, "connected")
            case NewMediaData(publisher=publisher):
                self._move(publisher, {"connected"}, "connected")
            case PublishingStopped(connection_id=one) | WatcherDisconnected(connection_id=one):
                self._move(one, {"connected"}, None)
            case PublisherRefused(connection_id=one) | WatcherRefused(connection_id=one):
                self._move(one, {"asked"}, None)
            case StreamKeyBecameActive(stream_key=key):
                if key in self._active:
                    raise Violation("active twice")
                self._active.add(key)
            case StreamKeyBecameInactive(stream_key=key):
                if key not in self._active:
                    raise Violation("inactive without active")
                self._active.remove(key)
            case RegistrationClosed():
                self._closed = True
                if self._states or self._active:
                    raise Violation(f"closed with {self._states} and {self._active}")

    def _move(self, connection_id: Any, allowed: set[str | None], after: str | None) -> None:
        state = self._states.get(connection_id)
        if state not in allowed:
            raise Violation(f"from {state} to {after}")
        if after is None:
            del self._states[connection_id]
        else:
            self._states[connection_id] = after


def register(soak: Soak) -> Any:
    """Make one random registration, or None where it is refused."""
    pick = soak.random
    request: dict[str, Any] = {
        "rtmp_app": f"app{pick.randrange(APPS)}",
        "rtmp_stream_key": ANY if pick.random() < 0.5 else Exact(pick.choice(KEYS)),
        "port": pick.choice(soak.ports),
    }
    kind = pick.choice((ListenForPublishers, ListenForWatchers, Observe))
    if kind is not Observe:
        request["requires_approval"] = pick.random() < 0.3
    if kind is ListenForPublishers:
        request["second_publisher"] = pick.choice(list(SecondPublisher))
    try:
        return soak.endpoint.register(kind(**request))
    except RegistrationError as exc:
        soak.counts[f"refused: {exc.reason.value}"] += 1
        return None


def registrant(soak: Soak) -> None:
    """Register, consume and check, close; again and again."""
    while not soak.over:
        registration = register(soak)
        if registration is None:
            gevent.sleep(soak.random.uniform(0, 0.5))
            continue
        soak.counts["registrations"] += 1
        closer = gevent.spawn_later(soak.random.uniform(0, 4), registration.close)
        feeder = gevent.spawn(feed, soak, registration) if hasattr(registration, "send") else None
        checker = Checker()
        try:
            for message in registration:
                checker.take(message)
                soak.counts[type(message).__name__] += 1
                react(soak, registration, message)
            if list(registration):
                raise Violation("messages after the end")
        except Violation as exc:
            soak.problems.append(str(exc))
        finally:
            gevent.killall([one for one in (closer, feeder) if one is not None])
            registration.close()


def react(soak: Soak, registration: Any, message: Any) -> None:
    chance = soak.random.random()
    if isinstance(message, PublisherRequiringApproval | WatcherRequiringApproval):
        if chance < 0.6:
            message.approve()
        elif chance < 0.75:
            message.reject()
        elif chance < 0.85:
            registration.disconnect(message.client.connection_id)
        elif chance < 0.9:
            message.approve()
            registration.disconnect(message.client.connection_id)
    elif isinstance(message, NewPublisherConnected | WatcherConnected) and chance < 0.1:
        if hasattr(registration, "send") or isinstance(registration.request, ListenForPublishers):
            registration.disconnect(message.client.connection_id)
            registration.update(requires_approval=chance < 0.05)
    elif isinstance(message, NewMediaData) and chance < 0.02:
        gevent.sleep(0.05)


def feed(soak: Soak, registration: Any) -> None:
    wanted = registration.request.rtmp_stream_key
    keys = KEYS if wanted is ANY else (wanted.key,)
    number = 0
    while True:
        for key in keys:
            registration.send(key, VideoData(bytes(2000), number, is_keyframe=number % 10 == 0))
        if soak.random.random() < 0.05:
            registration.end(soak.random.choice(keys))
        number += 1
        gevent.sleep(0.05)


def client(soak: Soak) -> None:
    """Connect, publish or play, leave in some way; again and again."""
    pick = soak.random
    while not soak.over:
        gevent.sleep(pick.uniform(0, 0.5))
        try:
            with Client(pick.choice(soak.ports)) as one:
                soak.counts["clients"] += 1
                use(pick, one, f"app{pick.randrange(APPS)}", pick.choice(KEYS))
        except (OSError, Closed, AssertionError):
            soak.counts["clients refused or dropped"] += 1


def use(pick: random.Random, one: Client, app: str, key: str) -> None:
    if pick.random() < 0.05:
        gevent.sleep(pick.uniform(0, 0.2))
        return  # not even a handshake
    one.connect(app)
    for _ in range(pick.randrange(1, 3)):
        msid = one.create_stream()
        if pick.random() < 0.5:
            one.ask_publish(key, msid)
            if pick.random() < 0.7:
                one.expect_status("NetStream.Publish.Start", 2.0)
                for number in range(pick.randrange(40)):
                    one.video(
                        number, keyframe(bytes(300)) if number % 10 == 0 else interframe(bytes(300)), msid
                    )
                    if pick.random() < 0.2:
                        gevent.sleep(0.02)
        else:
            one.ask_play(key, msid)
            until = monotonic() + pick.uniform(0, 1.5)
            while (left := until - monotonic()) > 0:
                try:
                    one.read(left)
                except TimeoutError:
                    break
        if pick.random() < 0.5:
            return  # gone without a word
        one.command("deleteStream", None, float(msid))


def census() -> tuple[int, int, Counter[str]]:
    """Count descriptors, greenlets and objects that must not be left."""
    for _ in range(3):
        gc.collect()
    objects = gc.get_objects()
    left = Counter(type(one).__name__ for one in objects if isinstance(one, MUST_VANISH))
    greenlets = sum(isinstance(one, gevent.Greenlet) and not one.dead for one in objects)
    return len(os.listdir("/proc/self/fd")), greenlets, left


def tell(when: str, counted: tuple[int, int, Counter[str]]) -> None:
    """Print a census, with all objects there are and the resident memory."""
    descriptors, greenlets, left = counted
    resident = int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / (1 << 20)
    must_vanish = ", ".join(f"{count} {name}" for name, count in sorted(left.items())) or "none"
    print(
        f"{when}: {descriptors} descriptors, {greenlets} greenlets, {len(gc.get_objects())} objects"
        f" (of those that must vanish: {must_vanish}), {resident:.0f} MiB"
    )


def run(seconds: float, registrations: int, clients: int, seed: int) -> list[str]:
    """Run it all; return what is wrong."""
    logger = logging.getLogger("rtmpsrv")
    logger.handlers, logger.propagate = [SwitchingHandler()], False
    logger.setLevel(logging.INFO)
    holders: list[Any] = []
    soak = Soak(seed)
    for _ in range(PORTS):  # keep the ports open, so that clients meet somebody
        handle = soak.endpoint.register(ListenForWatchers(rtmp_app="holder", port=0))
        holders.append(handle)
        soak.ports.append(handle.port)
    before = census()
    tell("before", before)
    actors = [gevent.spawn(registrant, soak) for _ in range(registrations)]
    actors += [gevent.spawn(client, soak) for _ in range(clients)]
    gevent.sleep(seconds)
    tell("in the end, under load", census())
    soak.over = True
    gevent.joinall(actors, timeout=60)
    problems = soak.problems + [f"an actor failed: {one.exception!r}" for one in actors if one.exception]
    if any(not one.dead for one in actors):
        problems.append(f"{sum(not one.dead for one in actors)} actors hang")
    actors.clear()
    gevent.sleep(RETURN_S + 1.0)  # for connections that say goodbye, and players that could come back
    after = census()
    tell("after", after)
    if after[0] > before[0]:
        problems.append(f"{after[0]} descriptors, {before[0]} before")
    if after[1] > before[1]:
        problems.append(f"{after[1]} greenlets, {before[1]} before")
    if after[2] != before[2]:
        problems.append(f"objects left: {after[2] - before[2]}")
    soak.endpoint.close()
    for name, count in sorted(soak.counts.items()):
        print(f"{name}: {count}")
    return problems


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=float, default=300.0)
    parser.add_argument("--registrations", type=int, default=200)
    parser.add_argument("--clients", type=int, default=500)
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 30))
    options = parser.parse_args()
    print(f"seed {options.seed}")
    problems = run(options.seconds, options.registrations, options.clients, options.seed)
    for problem in problems[:20]:
        print(f"PROBLEM: {problem}")
    print("nothing left behind" if not problems else f"{len(problems)} problems")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())

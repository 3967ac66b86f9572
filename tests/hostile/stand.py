"""A server with the good stream on it, and what an attack did to both."""

from __future__ import annotations

import math
import shutil
import tempfile
import threading
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from time import monotonic

from tests.doubles import certificates

from .cases import Case, Surroundings
from .good import FPS, JOIN_GIVE_UP_S
from .server import Server
from .verdict import DESCRIPTORS_LEFT, LEFT_MB, Sample, Seen, Verdict, judge
from .worker import Fact, Worker

SAMPLE_EVERY_S = 0.2
BEGIN_S = 20.0  # for a busy machine to start a process
GRACE_S = 15.0  # for an attacker to notice that its time is up: it may wait for an answer
AFTER_S = 0.5  # watched after every attack
RECOVER_S = 20.0  # at most, to come back: what was sent by who left is taken to its end
LATE_S = 10.0  # what has not arrived by then is lost
FIRST_JOINS = 2  # by RTMP and by RTMPS; one more by HTTP
END_S = 12.0  # for SIGTERM to be obeyed: the server's own deadline is 8 s
SETTINGS = {"CONCURRENT_LIMIT_WHITELIST": "*"}


class GoodStream:
    """The processes of the good stream, and what they tell."""

    def __init__(self, port: int, tls_port: int, http_port: int = 0) -> None:
        """Get on the air; return when the stream arrives and people can join. With a viewer, by HTTP."""
        self.arrived: dict[int, float] = {}
        self.viewed: dict[int, float] = {}
        self.doubled = 0
        self.closed: list[str] = []
        self.joining: list[float] = []
        self.joined: dict[float, float] = {}
        self.failed: dict[float, str] = {}
        self._workers = ExitStack()
        ports = (str(port), str(tls_port), str(http_port))
        try:
            publisher = self._start("publish", ports)
            began = publisher.wait_for("began", BEGIN_S)
            assert began is not None, f"no good stream: {publisher.told} {self.closed}"
            self.began = float(began["began"])
            self._player = self._start("play", ports)
            assert self._player.wait_until(lambda: bool(self.arrived), BEGIN_S), (
                "the good stream does not arrive"
            )
            self._seers = [(self._player, self.arrived)]
            if http_port:
                viewer = self._start("view", ports)
                self._seers.append((viewer, self.viewed))
                assert viewer.wait_until(lambda: bool(self.viewed), BEGIN_S), "a viewer sees nothing"
            self._joiner = self._start("join", ports)
            first = FIRST_JOINS + bool(http_port)
            joined = self._joiner.wait_until(lambda: len(self.joined) >= first, BEGIN_S)
            assert joined, f"nobody can join: {self.failed}"
        except BaseException:
            self.end()
            raise

    def end(self) -> None:
        """End the processes."""
        self._workers.close()

    def delays(self, began: float, ended: float) -> list[float]:
        """Wait for all that was due between two moments; return how late each was, infinite if lost."""
        last = math.floor((ended - self.began) * FPS)
        found: list[float] = []
        for seer, seen in self._seers:
            first = max(math.ceil((began - self.began) * FPS), min(seen) // 2)
            due = {number: self.began + number // 2 / FPS for number in range(2 * first, 2 * last + 2)}
            seer.wait_until(lambda seen=seen: bool(self.closed) or 2 * last + 1 in seen, LATE_S)  # type: ignore[misc]
            arrived = dict(seen)
            found += [arrived.get(number, math.inf) - at for number, at in due.items()]
        return found

    def joins(self, began: float, ended: float) -> tuple[list[float], list[str]]:
        """Wait for the joins that began between two moments; return what they took, and what failed."""
        wanted = [at for at in list(self.joining) if began <= at <= ended]
        self._joiner.wait_until(
            lambda: all(at in self.joined or at in self.failed for at in wanted), 2 * JOIN_GIVE_UP_S
        )
        joined, failed = dict(self.joined), dict(self.failed)
        return (
            [joined[at] for at in wanted if at in joined],
            [failed.get(at, "join: no answer") for at in wanted if at not in joined],
        )

    def _start(self, role: str, ports: tuple[str, str, str]) -> Worker:
        worker = Worker("tests.hostile.good", role, *ports, take=self._take if role != "publish" else None)
        return self._workers.enter_context(worker)

    def _take(self, fact: Fact) -> None:
        if "numbers" in fact:
            self._see(self.arrived, fact["numbers"], fact["at"])
        elif "viewed" in fact:
            self._see(self.viewed, fact["viewed"], fact["at"])
        elif "joining" in fact:
            self.joining.append(fact["joining"])
        elif "joined" in fact:
            self.joined[fact["joined"]] = fact["took_s"]
        elif "failed" in fact:
            self.failed[fact["failed"]] = f"join by {fact['way']}: {fact['reason']}"
        elif "closed" in fact:
            self.closed.append(fact["closed"])

    def _see(self, seen: dict[int, float], numbers: list[int], at: float) -> None:
        self.doubled += sum(number in seen for number in numbers)
        seen |= dict.fromkeys(numbers, at)


class Sampler(threading.Thread):
    """Looks at the server four times a second. Use as a context."""

    def __init__(self, server: Server) -> None:
        super().__init__(daemon=True)
        self.samples: list[Sample] = []
        self._server = server
        self._over = threading.Event()

    def __enter__(self) -> Sampler:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self.join()

    def run(self) -> None:
        while not self._over.wait(SAMPLE_EVERY_S):
            self.samples.append(self._server.sample())

    def wait_until(self, reached: Callable[[Sample], bool], timeout_s: float) -> Sample:
        """Return the first sample that will do, or the last one before the time is up."""
        until = monotonic() + timeout_s
        while True:
            sample = self._server.sample()
            if reached(sample) or monotonic() >= until:
                return sample
            self._over.wait(SAMPLE_EVERY_S / 2)


class Stand:
    """Use as a context; leaving it ends all of it."""

    def __init__(self, around: Surroundings) -> None:
        """Start the trusted peer, if there is one, the server and the good stream."""
        self.around = around
        self.service: Worker | None = None
        self.usable = True
        self._ends = ExitStack()
        self._folder = Path(tempfile.mkdtemp(prefix="rtmpsrv-hostile-"))
        self._ends.callback(shutil.rmtree, self._folder, ignore_errors=True)
        try:
            self.server = self._start_server()
            self._ends.callback(lambda: self.server.stop() if self.usable else self.server.kill())
            self.good = GoodStream(self.server.port, self.server.tls_port, self.server.http_port)
            self._ends.callback(self.good.end)
        except BaseException:
            self.usable = False
            self._ends.close()
            raise

    def __enter__(self) -> Stand:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End everything."""
        self._ends.close()

    def run(self, case: Case, attack_s: float) -> Verdict:
        """Let the attack happen; blocks for its time, and until the server has recovered or failed to."""
        server, good = self.server, self.good
        with ExitStack() as ends:
            attacker = self._attacker(case, attack_s)
            if attacker:
                ends.enter_context(attacker)
                assert attacker.wait_for("ready", BEGIN_S), "the attacker does not start"
            sampler = ends.enter_context(Sampler(server))
            before, doubled, tracebacks = server.sample(), good.doubled, server.tracebacks
            began = monotonic()
            complaints = self._attack(case, attacker, attack_s)
            if attacker:
                attacker.end()
            left = monotonic()
            after = sampler.wait_until(
                lambda one: one.at > left + AFTER_S and _is_back(one, before), AFTER_S + RECOVER_S
            )
            ended = monotonic()
        if case.not_logged:
            complaints += server.matching(case.not_logged)[:1]
        joins, failed = good.joins(began, ended)
        seen = Seen(
            began, ended, before, sampler.samples, after, good.delays(began, ended),
            doubled=good.doubled - doubled, closed=list(good.closed), joins_s=joins, failed_joins=failed,
            tracebacks=server.tracebacks - tracebacks, alive=server.alive, complaints=complaints,
        )  # fmt: skip
        if case.must_end:
            self.usable = False
            if server.ask_to_end(END_S) != 0:
                seen.complaints.append(f"SIGTERM did not end it within {END_S:g} s")
        verdict = judge(seen, case.judged)
        self.usable = self.usable and not verdict.over
        return verdict

    def _attack(self, case: Case, attacker: Worker | None, attack_s: float) -> list[str]:
        """Let everybody begin who takes part; wait until they are done; return what they complain of."""
        complaints: list[str] = []
        taking_part = [one for one in (attacker, self.service if case.mode else None) if one]
        for one in taking_part:
            one.told.clear()
            one.order(f"go {case.mode} {attack_s}")
        if case.pauses:
            self.server.pause()
        if not taking_part:
            threading.Event().wait(attack_s)  # nothing but the pause, or nothing at all: the baseline
        for one in taking_part:
            done = one.wait_for("done", attack_s + GRACE_S)
            complaints += done["complaints"] if done else ["the attacker came to no end"]
        if case.pauses:
            self.server.resume()
        return complaints

    def _attacker(self, case: Case, attack_s: float) -> Worker | None:
        if case.do is None:
            return None
        server = self.server
        ports = map(str, (server.port, server.tls_port, server.api_port, server.http_port))
        return Worker("tests.hostile.attacker", case.name, *ports, str(attack_s))

    def _start_server(self) -> Server:
        around = self.around
        pair = certificates.make(self._folder)
        settings = SETTINGS | {"SSL_CERT": pair.certificate, "SSL_KEY": pair.key} | dict(around.settings)
        if around.service:
            self.service = Worker("tests.hostile.services", around.service)
            self._ends.enter_context(self.service)
            ready = self.service.wait_for("settings", BEGIN_S)
            assert ready is not None, "the trusted peer does not start"
            settings |= ready["settings"]
        return Server(
            settings,
            descriptors=around.descriptors,
            file_bytes=around.file_bytes,
            log_is_read=around.log_is_read,
        )


def _is_back(now: Sample, before: Sample) -> bool:
    return (
        now.memory_mb - before.memory_mb <= LEFT_MB
        and now.descriptors - before.descriptors <= DESCRIPTORS_LEFT
    )

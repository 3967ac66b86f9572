"""The process of FFmpeg's libraries as those who ask see it: started when needed, and again if it died.

What a publisher sends may end it, or keep it busy for ever: a question has a deadline, and one at which it
ended is not asked again for a while.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence
from contextlib import suppress
from hashlib import blake2b
from importlib.util import find_spec
from time import monotonic
from typing import Any, Final, NamedTuple

import gevent
from gevent import socket as gsocket

from rtmpsrv.av.turns import Turns
from rtmpsrv.errors import MediaBusy, MediaLost, MediaRefused
from rtmpsrv.extras import how_to_get
from rtmpsrv.log import Logger
from rtmpsrv.media.mp4_source import Question
from rtmpsrv.monitor.spawning import Spawned, spawn
from rtmpsrv.workers.calls import CallLost, Calls, NoAnswer
from rtmpsrv.workers.wire import Wire

COMMAND: Final = ("-m", "rtmpsrv.av")
START_S: Final = 10.0  # to load the libraries
START_AGAIN_S: Final = 5.0  # after it did not start
DEADLINE_S: Final = 5.0  # for an answer
THERE_S: Final = 2.0  # to say that it is there
IDLE_S: Final = 60.0  # without a question; then it ends
REAP_S: Final = 2.0
USUAL_BYTES: Final = 1 << 20  # of a question; what is larger takes its time
BLAME_S: Final = 10.0  # for how long what ended it is not asked again
MAX_BLAMED: Final = 100
MAX_ANSWER_BYTES: Final = 8 << 20
_AROUND_BYTES: Final = 1 << 10  # an answer, as it is sent
BLOCKED: Final = (
    signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2,
)  # fmt: skip
# All that it is told of the environment: no secret is among these.
_TOLD: Final = ("PATH", "PYTHONPATH", "PYTHONHOME", "LD_LIBRARY_PATH", "LANG", "LC_ALL", "TMPDIR")
MISSING: Final = f"PyAV is not installed on this server ({how_to_get('web')})"


class Line(NamedTuple):
    """Those who wait for answers of one kind."""

    rank: int  # which line comes first
    most: int  # that wait
    most_bytes: int  # of their questions: nobody else counts these


# Somebody waits for a first part to begin at all; and no line fills up for another's sake.
USUAL: Final = Line(0, 100, 32 << 20)
LARGE: Final = Line(1, 100, 32 << 20)
PICTURES: Final = Line(2, 32, 16 << 20)
LINES: Final = (USUAL, LARGE, PICTURES)


class AvProcess:
    """One of them, for all that a process serves. `close` it in the end."""

    def __init__(
        self,
        log: Logger,
        *,
        command: Sequence[str] = COMMAND,
        idle_s: float = IDLE_S,
        deadline_s: float = DEADLINE_S,
    ) -> None:
        """Start nothing yet."""
        self.questions = 0
        self.ended = 0  # how often it died, or was ended since it was late
        self._log = log
        self._command = command
        self._idle_s = idle_s
        self._deadline_s = deadline_s
        self._turns = Turns(len(LINES))
        self._warming: gevent.Greenlet[[], None] | None = None
        self._start_at = 0.0  # not before
        self._waiting: dict[Line, list[int]] = {line: [] for line in LINES}  # the bytes of each
        self._running: _Running | None = None
        self._asked_at = 0.0
        self._resting: gevent.Greenlet[[_Running], None] | None = None
        self._blamed: dict[bytes, float] = {}  # hashes of what it ended at, and until when it is not asked
        self._closed = False

    @property
    def pid(self) -> int | None:
        """Its number; None while there is none."""
        return self._running.pid if self._running is not None else None

    @property
    def waiting(self) -> int:
        """How many wait for an answer."""
        return sum(map(len, self._waiting.values()))

    def warm(self) -> None:
        """Start it, if need be: a question will come soon. Never blocks."""
        if self._warming is None and not self.waiting and not self._closed:
            self._warming = gevent.spawn(self._warm)

    def init(self, question: Question) -> bytes:
        """Return the first part of an MP4. Blocks for seconds. Raises MediaRefused, MediaLost, MediaBusy."""
        return self._ask("init", question, USUAL if _size(question) <= USUAL_BYTES else LARGE)

    def picture(self, question: Question) -> bytes:
        """Return a JPEG of a keyframe. Blocks for seconds. Raises MediaRefused, MediaLost, MediaBusy."""
        return self._ask("picture", question, PICTURES)

    def describe(self) -> dict[str, Any]:
        """Return what an operator may want to know."""
        return {"pid": self.pid, "questions": self.questions, "ended": self.ended, "waiting": self.waiting}

    def close(self) -> None:
        """End it; who waits gets MediaLost. Idempotent. Blocks for seconds at most."""
        self._closed = True
        for one in (self._warming, self._resting):
            if one is not None:
                one.kill()
        self._warming = None
        self._end("the server ends")

    # --- private ----------------------------------------------------------------------------------

    def _ask(self, name: str, question: Question, line: Line) -> bytes:
        size, waiting = _size(question), self._waiting[line]
        if len(waiting) >= line.most or (waiting and sum(waiting) + size > line.most_bytes):
            raise MediaBusy("too many wait for a first part or a picture")
        waiting.append(size)
        try:
            with self._turns.take(line.rank):
                answer = self._answer(name, question)
        finally:
            waiting.remove(size)
        good, found = answer
        if not good:
            raise MediaRefused(str(found))
        assert isinstance(found, bytes)
        return found

    def _answer(self, name: str, question: Question) -> tuple[bool, object]:
        now = monotonic()
        if self._blamed and self._blamed.get(_hash(name, question), 0.0) > now:
            raise MediaLost("what this stream sends has ended FFmpeg's process")
        self.questions += 1
        try:
            answer = self._told(name, question)
        except NoAnswer as exc:
            self._blame(_hash(name, question), now)
            raise MediaLost("FFmpeg's process does not answer what this stream sends") from exc
        except CallLost as lost:
            if name == "picture":  # others wait
                self._blame(_hash(name, question), now)
                raise MediaLost("FFmpeg's process ended at what this stream sends") from lost
            try:  # it may have died of something else, just before
                answer = self._told(name, question)
            except CallLost as exc:
                self._blame(_hash(name, question), now)
                raise MediaLost("FFmpeg's process ended at what this stream sends") from exc
        good, found = answer
        if good is True and isinstance(found, bytes) and len(found) <= MAX_ANSWER_BYTES:
            return True, found
        return False, found if isinstance(found, str) else "FFmpeg's process answers what it should not"

    def _told(self, name: str, question: Question) -> Any:
        """Ask it, and end it where it does not answer. Raises CallLost, MediaLost, MediaRefused."""
        running = self._started()
        try:
            return running.calls.call(name, question, timeout_s=self._deadline_s)
        except CallLost as exc:
            self.ended += 1
            self._end(str(exc))
            self._log.warning("FFmpeg's process has ended: %s", exc)
            raise
        finally:
            self._asked_at = monotonic()

    def _warm(self) -> None:
        """The top of a greenlet."""
        try:
            with suppress(MediaLost, MediaRefused), self._turns.take(USUAL.rank):
                self._started()
                self._asked_at = monotonic()
        finally:
            self._warming = None

    def _started(self) -> _Running:
        """Return it as soon as it is there. Raises MediaLost, MediaRefused."""
        if self._closed:
            raise MediaLost("the server ends")
        if self._running is not None and self._is_there(self._running):
            return self._running
        if find_spec("av") is None:
            raise MediaRefused(MISSING)
        if monotonic() < self._start_at:
            raise MediaLost("FFmpeg's process does not start")
        try:
            running = self._running = _Running(self._command, self._log)
            running.calls.call("ready", timeout_s=START_S)
        except (OSError, CallLost) as exc:
            self.ended += 1
            self._start_at = monotonic() + START_AGAIN_S
            self._end("it did not start")
            self._log.warning("FFmpeg's process does not start: %s", exc)
            raise MediaLost("FFmpeg's process does not start") from exc
        self._asked_at = monotonic()
        self._resting = gevent.spawn(self._rest, running)
        return running

    def _is_there(self, running: _Running) -> bool:
        """Tell whether it answers; end it otherwise: whatever has happened to it, nobody is to blame now."""
        if running.is_alive:
            try:
                running.calls.call("ready", timeout_s=THERE_S)
            except CallLost as exc:
                self._log.warning("FFmpeg's process is started again: %s", exc)
            else:
                return True
        self.ended += 1
        self._end("it was gone")
        return False

    def _rest(self, running: _Running) -> None:
        """End it once nobody has asked for long enough; the top of a greenlet."""
        while self._running is running:
            left_s = self._asked_at + self._idle_s - monotonic()
            if left_s > 0:
                gevent.sleep(left_s)
                continue
            with self._turns.take(PICTURES.rank):
                if self._running is running and monotonic() >= self._asked_at + self._idle_s:
                    self._end("nobody asks")

    def _end(self, reason: str) -> None:
        running, self._running = self._running, None
        if running is not None:
            running.end(reason)

    def _blame(self, one: bytes, now: float) -> None:
        self._blamed = {other: until for other, until in self._blamed.items() if until > now}
        if len(self._blamed) < MAX_BLAMED:
            self._blamed[one] = now + BLAME_S


class _Running:
    """A process that was started."""

    def __init__(self, command: Sequence[str], log: Logger) -> None:
        """Raises OSError. Blocks for a millisecond."""
        ours, theirs = gsocket.socketpair(gsocket.AF_UNIX)
        try:
            environ = {name: os.environ[name] for name in _TOLD if name in os.environ}
            self._process: Spawned = spawn(command, (theirs.fileno(),), environ, BLOCKED)
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
        self._wire = Wire(ours, max_message_bytes=MAX_ANSWER_BYTES + _AROUND_BYTES, is_trusted=False)
        self.calls = Calls(self._wire, log, tells={}, calls={})
        self._reading = gevent.spawn(self.calls.serve)

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def is_alive(self) -> bool:
        return self._wire.lost is None

    def end(self, reason: str) -> None:
        """Blocks until it is gone, for seconds at most."""
        self.calls.close(reason)
        self._process.kill()
        self._process.reap(REAP_S)
        self._reading.kill()


def _size(question: Question) -> int:
    return sum([len(asked.config) + len(asked.frame) for asked in question.tracks])


def _hash(name: str, question: Question) -> bytes:
    """Of a picture its bytes matter; of a first part what is said of tracks: no other frame makes it new."""
    found = blake2b(name.encode(), digest_size=16)
    for asked in question.tracks:
        for piece in (asked.fourcc, asked.config, asked.frame if name == "picture" else b""):
            found.update(len(piece).to_bytes(4, "big") + piece)
    return found.digest()

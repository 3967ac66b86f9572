"""The process of FFmpeg's libraries as those who ask see it: started when needed, and again if it died.

What a publisher sends may end it, or keep it busy for ever: a question has a deadline, and one at which it
ended is not asked again for a while.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence
from importlib.util import find_spec
from time import monotonic
from typing import Any, Final

import gevent
from gevent import socket as gsocket
from gevent.lock import Semaphore

from rtmpsrv.errors import MediaLost, MediaRefused
from rtmpsrv.log import Logger
from rtmpsrv.media.mp4_source import Question
from rtmpsrv.monitor.spawning import Spawned, spawn
from rtmpsrv.workers.calls import CallLost, Calls, NoAnswer
from rtmpsrv.workers.wire import Wire

COMMAND: Final = ("-m", "rtmpsrv.av")
START_S: Final = 10.0  # to load the libraries
DEADLINE_S: Final = 5.0  # for an answer
IDLE_S: Final = 60.0  # without a question; then it ends
REAP_S: Final = 2.0
MAX_WAITING: Final = 100  # that wait for their turn
BLAME_S: Final = 10.0  # for how long what ended it is not asked again
MAX_BLAMED: Final = 100
MAX_ANSWER_BYTES: Final = 8 << 20
BLOCKED: Final = (
    signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2,
)  # fmt: skip
# All that it is told of the environment: no secret is among these.
_TOLD: Final = ("PATH", "PYTHONPATH", "PYTHONHOME", "LD_LIBRARY_PATH", "LANG", "LC_ALL", "TMPDIR")
MISSING: Final = "PyAV is not installed on this server (pip install rtmpsrv[web])"


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
        self._turn = Semaphore(1)
        self._waiting = 0
        self._running: _Running | None = None
        self._asked_at = 0.0
        self._resting: gevent.Greenlet[[_Running], None] | None = None
        self._blamed: dict[Question, float] = {}  # what it ended at, and until when it is not asked
        self._closed = False

    @property
    def pid(self) -> int | None:
        """Its number; None while there is none."""
        return self._running.pid if self._running is not None else None

    def init(self, question: Question) -> bytes:
        """Return the first part of an MP4. Blocks for seconds at most. Raises MediaRefused, MediaLost."""
        return self._ask("init", question)

    def picture(self, question: Question) -> bytes:
        """Return a JPEG of a keyframe. Blocks for seconds at most. Raises MediaRefused, MediaLost."""
        return self._ask("picture", question)

    def describe(self) -> dict[str, Any]:
        """Return what an operator may want to know."""
        return {"pid": self.pid, "questions": self.questions, "ended": self.ended, "waiting": self._waiting}

    def close(self) -> None:
        """End it; who waits gets MediaLost. Idempotent. Blocks for seconds at most."""
        self._closed = True
        if self._resting is not None:
            self._resting.kill()
        self._end("the server ends")

    # --- private ----------------------------------------------------------------------------------

    def _ask(self, name: str, question: Question) -> bytes:
        if self._waiting >= MAX_WAITING:
            raise MediaLost("too many wait for a first part or a picture")
        self._waiting += 1
        try:
            with self._turn:
                answer = self._answer(name, question)
        finally:
            self._waiting -= 1
        good, found = answer
        if not good:
            raise MediaRefused(str(found))
        assert isinstance(found, bytes)
        return found

    def _answer(self, name: str, question: Question) -> tuple[bool, object]:
        now = monotonic()
        if self._blamed.get(question, 0.0) > now:
            raise MediaLost("what this stream sends has ended FFmpeg's process")
        self.questions += 1
        try:
            answer = self._told(name, question)
        except NoAnswer as exc:
            self._blame(question, now)
            raise MediaLost("FFmpeg's process does not answer what this stream sends") from exc
        except CallLost:
            try:  # it may have died of something else, just before
                answer = self._told(name, question)
            except CallLost as exc:
                self._blame(question, now)
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

    def _started(self) -> _Running:
        if self._closed:
            raise MediaLost("the server ends")
        if self._running is not None and not self._running.is_alive:
            self._end("it was gone")
        if self._running is not None:
            return self._running
        if find_spec("av") is None:
            raise MediaRefused(MISSING)
        try:
            running = self._running = _Running(self._command, self._log)
            running.calls.call("ready", timeout_s=START_S)
        except (OSError, CallLost) as exc:
            self.ended += 1
            self._end("it did not start")
            self._log.warning("FFmpeg's process does not start: %s", exc)
            raise MediaLost("FFmpeg's process does not start") from exc
        self._asked_at = monotonic()
        self._resting = gevent.spawn(self._rest, running)
        return running

    def _rest(self, running: _Running) -> None:
        """End it once nobody has asked for long enough; the top of a greenlet."""
        while self._running is running:
            left_s = self._asked_at + self._idle_s - monotonic()
            if left_s > 0:
                gevent.sleep(left_s)
                continue
            with self._turn:
                if self._running is running and monotonic() >= self._asked_at + self._idle_s:
                    self._end("nobody asks")

    def _end(self, reason: str) -> None:
        running, self._running = self._running, None
        if running is not None:
            running.end(reason)

    def _blame(self, question: Question, now: float) -> None:
        self._blamed = {one: until for one, until in self._blamed.items() if until > now}
        if len(self._blamed) < MAX_BLAMED:
            self._blamed[question] = now + BLAME_S


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
        self._wire = Wire(ours)
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

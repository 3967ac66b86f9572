"""A file of the operator that is read again when it changes; what is in it is the business of others.

A bad file is told once per change, and what was taken last stays in use. A change counts when two looks see
the same, so that a file which is just being written is not taken by halves.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import gevent
from gevent.event import Event

from rtmpsrv.errors import ConfigError
from rtmpsrv.files import open_regular
from rtmpsrv.log import Logger

LOOK_S = 0.5
SETTLED_S = 0.2
MAX_BYTES = 1 << 20
MAX_TOLD = 20  # problems of one file, in the log


class WatchedFile:
    """Owner of the greenlet that looks at one file; ended by `close`."""

    def __init__(self, variable: str, path: str, take: Callable[[bytes], None], log: Logger) -> None:
        """Keep what is needed; `take` gets the contents, or raises ConfigError and changes nothing."""
        self._variable = variable
        self._path = path
        self._take = take
        self.log = log
        self._seen: object = None  # digest of contents, or why they cannot be read: dealt with already
        self._problems: list[str] = []  # of what was seen
        self._asked = Event()
        self._greenlet: gevent.Greenlet[[], None] | None = None

    def load(self) -> None:
        """Read the file for the first time. Raises ConfigError."""
        contents, why = self._read()
        if contents is None:
            raise ConfigError([f"{self._variable}: {why}"])
        try:
            self._take(contents)
        except ConfigError as exc:
            raise ConfigError([f"{self._variable}: {one}" for one in exc.problems]) from None
        self._seen = _digest(contents)

    def start(self) -> None:
        """Begin to look, in a greenlet of its own. Never blocks."""
        if self._greenlet is None:
            self._greenlet = gevent.spawn(self._run)

    def ask(self) -> None:
        """Look now, and say what came of it. Never blocks."""
        self._asked.set()

    def close(self) -> None:
        """Look no more."""
        if self._greenlet is not None:
            self._greenlet.kill()

    def look(self, asked: bool = False) -> None:
        """Take the file if it has changed. Blocks for `SETTLED_S` if it has."""
        contents, why = self._read()
        found = why if contents is None else _digest(contents)
        if found == self._seen:
            if asked:
                self._tell("has not changed")
            return
        gevent.sleep(SETTLED_S)
        contents, why = self._read()
        if found != (why if contents is None else _digest(contents)):
            return  # it is being written
        self._seen = found
        self._problems = [why]
        if contents is not None:
            try:
                self._take(contents)
                self._problems = []
            except ConfigError as exc:
                self._problems = exc.problems
        self._tell("read again")

    def _run(self) -> None:
        while True:
            self._asked.wait(LOOK_S)
            asked = self._asked.is_set()
            self._asked.clear()
            try:
                self.look(asked)
            except Exception:
                self.log.exception("internal error, the watch of %s goes on", self._variable)

    def _read(self) -> tuple[bytes | None, str]:
        """Return what the file holds, or why it cannot be used."""
        try:
            with open_regular(self._path) as file:
                contents = file.read(MAX_BYTES + 1)
        except OSError as exc:
            return None, f"{self._path} cannot be read: {exc.strerror or exc}"
        if len(contents) > MAX_BYTES:
            return None, f"{self._path} has more than {MAX_BYTES} bytes"
        return contents, ""

    def _tell(self, what: str) -> None:
        """Say what is wrong with the file, or else what happened to it."""
        for problem in self._problems[:MAX_TOLD]:
            self.log.error("%s: %s", self._variable, problem)
        if self._problems:
            self.log.error("%s: what was read before stays in use", self._variable)
        else:
            self.log.info("%s %s", self._variable, what)


def _digest(contents: bytes) -> bytes:
    return hashlib.sha256(contents).digest()

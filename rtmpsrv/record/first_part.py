"""The first part of an MP4 while another process makes it: asked for in a greenlet, so that nobody waits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import gevent

from rtmpsrv.errors import MediaBusy, MediaLost
from rtmpsrv.media.mp4_source import Question

MAX_ATTEMPTS: Final = 3
AGAIN_S: Final = 2.0
LAST_S: Final = 5.0  # to wait for it in the end

Init = Callable[[Question], bytes]


class FirstPart:
    """That of one file."""

    def __init__(self, init: Init) -> None:
        """`init` may block, and raise MediaRefused or MediaLost."""
        self._init = init
        self._asking: gevent.Greenlet[[], bytes | Exception] | None = None
        self._attempts = 0
        self._again_at = 0.0

    def look(self, question: Callable[[], Question], now: float) -> bytes:
        """Return it if it is there; ask for it if need be. Never blocks.

        Raises MediaRefused, MediaLost after some attempts: that too many ask at one time is none.
        """
        if now < self._again_at:
            return b""
        asking = self._asked(question)
        if not asking.ready():
            return b""
        self._asking = None
        try:
            return _said(asking)
        except MediaLost as exc:
            self._attempts += not isinstance(exc, MediaBusy)
            if self._attempts >= MAX_ATTEMPTS:
                raise
            self._again_at = now + AGAIN_S
            return b""

    def wait(self, question: Callable[[], Question]) -> bytes:
        """Return it. Blocks for some seconds at most. Raises MediaRefused, MediaLost."""
        asking = self._asked(question)
        asking.join(LAST_S)
        if not asking.ready():
            raise MediaBusy("the first part of the file was not made in time")
        return _said(asking)

    def _asked(self, question: Callable[[], Question]) -> gevent.Greenlet[[], bytes | Exception]:
        if self._asking is None:
            asked, init = question(), self._init
            self._asking = gevent.spawn(lambda: _tried(init, asked))
        return self._asking


def _tried(init: Init, question: Question) -> bytes | Exception:
    """The top of a greenlet: what is raised here is raised again where it is waited for."""
    try:
        return init(question)
    except Exception as exc:  # noqa: BLE001
        return exc


def _said(asking: gevent.Greenlet[[], bytes | Exception]) -> bytes:
    found = asking.get()
    if isinstance(found, Exception):
        raise found
    return found

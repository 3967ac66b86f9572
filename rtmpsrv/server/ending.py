"""How a session ends from within: exceptions that leave its read loop. They never leave `Session.run`."""

from __future__ import annotations

import gevent


class Ended(Exception):
    """The connection is over; the text is the reason. Where the peer was `told`, it may read that first.

    One that `comes_again` does so on another connection at once, and this one counts no more.
    """

    def __init__(self, reason: str, told: bool = False, comes_again: bool = False) -> None:
        super().__init__(reason)
        self.told = told
        self.comes_again = comes_again


class Moved(gevent.GreenletExit):
    """The session goes on elsewhere: leave, and do not touch the socket."""


class Dismissed(gevent.GreenletExit):
    """The host wants the peer gone: tell it, and leave. Not an error, which a log handler might swallow."""

"""Who watches by HLS: many requests, one viewer each, who counts and may be sent away like any player.

A viewer is known by the name that it was given with its first playlist, which stands in all URIs of that, by
its address and by what it shows. It has left when it has not asked for a while; soon if it asked once.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Mapping
from hashlib import sha256
from time import monotonic
from typing import Any, Final, Generic, Protocol, TypeVar

from rtmpsrv.errors import AccessDenied, NoRoom

LEFT_S: Final = 15.0  # without a request: half as much again as the longest target duration
LOOKED_S: Final = 4.0  # for who asked once only: players ask on at once
IDLE_S: Final = 3.0  # whoever reloads a page is not to wait until who it was before has left
MAX_VIEWERS: Final = 10_000
MAX_LOOKING: Final = 8  # of one address, that have asked once and hold no slot
AWAY_S: Final = 30.0  # for who was sent away: players ask on as if nothing had been
MAX_AWAY: Final = 1_000
NAME: Final = "s"  # in a query
_NAME: Final = re.compile(r"[0-9a-f]{16}")
_SHOWN: Final = ("key", "token", "user", "pass")  # what a viewer may show


class Viewing(Protocol):
    """A channel that a viewer may watch."""

    @property
    def name(self) -> str:
        """The channel's, which may be another one than was asked for."""

    @property
    def shape(self) -> bytes | None:
        """Of what has to be the publisher's key (`live.lock`); None: nothing has."""

    @property
    def is_kicked(self) -> bool:
        """Whether somebody wants it away."""

    def rest(self) -> None:
        """Hold no slot while it asks for nothing."""

    def wake(self) -> None:
        """Take one again. May block. Raises NoRoom."""

    def sent(self, count: int) -> None:
        """Take note of bytes that the viewer was sent."""

    def state(self) -> dict[str, Any]:
        """Return plain values with which it goes on in another process."""

    def hand_over(self) -> None:
        """Be done without a word: it goes on there."""

    def end(self, reason: str) -> None:
        """Be done. Idempotent, never blocks."""


Granted = TypeVar("Granted", bound=Viewing)
Given = TypeVar("Given")
Who = tuple[str, str, str, bytes]  # channel, address, name, a digest of what it showed
Away = Who | tuple[str, str]  # one viewer; or all of an address, for a channel


class Viewer(Generic[Granted]):
    """One of them."""

    __slots__ = ("asked_at", "plays", "under_way", "viewing")

    def __init__(self, viewing: Granted, now: float, *, plays: bool = False) -> None:
        self.viewing = viewing
        self.asked_at = now  # last, or got its answer
        self.plays = plays  # has asked more than once
        self.under_way = 0  # requests; some wait longer for their answer than anybody stays who asks nothing

    def is_idle(self, now: float) -> bool:
        """Tell whether it has likely left."""
        return not self.under_way and now - self.asked_at >= IDLE_S

    def has_left(self, now: float) -> bool:
        """Tell whether it asks no more."""
        return not self.under_way and now - self.asked_at >= (LEFT_S if self.plays else LOOKED_S)


class Viewers(Generic[Granted]):
    """All of a process."""

    def __init__(self, now: Callable[[], float] = monotonic, counted_as: Callable[[str], str] = str) -> None:
        """`counted_as` says what an address belongs to."""
        self._now = now
        self._counted_as = counted_as
        self._looking: dict[str, dict[Who, None]] = {}  # who has asked once, by addresses
        self._viewers: dict[Who, Viewer[Granted]] = {}  # who asked last is last
        self._away: dict[Away, float] = {}  # who was sent away, and until when; the longest ago first

    def __len__(self) -> int:
        return len(self._viewers)

    def admit(
        self,
        channel: str,
        address: str,
        query: Mapping[str, str],
        ask: Callable[[Callable[[], None]], Granted],
    ) -> Granted:
        """Return what a viewer may watch; asks, if it is not known. Blocks then. Raises AccessDenied.

        `answered` is called when the request is over.
        `ask` gets what ends a viewer that is sent away. What a viewer shows is part of who it is: nobody else
        gets in with its name alone.
        """
        who = _who(channel, address, query)
        known = self._viewers.get(who)
        if known is None:
            known = self._new(who, ask)
        else:
            known.asked_at = self._now()
            self._with_room(who, known.viewing.wake)
            if self._viewers.get(who) is not known:  # meanwhile; another one may be there by now
                raise _gone()
            del self._viewers[who]  # it is last again
            if not known.plays:
                known.plays = True
                self._looks_no_more(who)
        known.asked_at = self._now()
        known.under_way += 1
        self._viewers[who] = known
        return known.viewing

    def _new(self, who: Who, ask: Callable[[Callable[[], None]], Granted]) -> Viewer[Granted]:
        """Return a viewer that was not known."""
        now = self._now()
        if max(self._away.get(who, 0.0), self._away.get(self._address(who), 0.0)) > now:
            raise _gone()
        if len(self._viewers) >= MAX_VIEWERS:
            first = next(iter(self._viewers))
            if not self._viewers[first].is_idle(now):
                raise AccessDenied("NetStream.Play.Failed", "There are too many viewers")
            self._drop(first).viewing.end("others came")
        viewing = self._with_room(who, lambda: ask(lambda: self._send_away(who)))
        other = self._viewers.pop(who, None)  # that asked at the same time
        if other is not None:
            viewing.end("another request of this viewer was first")
            return other
        looking = self._looking.setdefault(self._counted_as(who[1]), {})
        idle = [one for one in looking if not self._viewers[one].under_way]
        if len(looking) >= MAX_LOOKING and idle:
            self._drop(idle[0]).viewing.end("others of its address came")
        self._looking.setdefault(self._counted_as(who[1]), {})[who] = None
        return Viewer(viewing, 0.0)

    def answered(self, channel: str, address: str, query: Mapping[str, str]) -> None:
        """Take note that a request is over, in whatever way. Never blocks."""
        known = self._viewers.get(_who(channel, address, query))
        if known is not None and known.under_way:  # not of one that came meanwhile
            known.under_way -= 1
            known.asked_at = self._now()
            if not known.plays and not known.under_way:  # it has not begun to watch
                known.viewing.rest()

    def see_to(self) -> None:
        """Let those go who have left; who likely has gives its slot to others. Never blocks."""
        now = self._now()
        for who, viewer in list(self._viewers.items()):
            if viewer.has_left(now):
                self._drop(who).viewing.end("the viewer has left")
            elif viewer.is_idle(now):
                viewer.viewing.rest()

    def states_of(self, channel: str) -> list[dict[str, Any]]:
        """Return plain values with which the viewers of a channel go on in another process."""
        return [
            {"who": who, "asked_at": viewer.asked_at, **viewer.viewing.state()}
            for who, viewer in self._viewers.items()
            if viewer.viewing.name == channel
        ]

    def adopt(self, state: dict[str, Any], resume: Callable[[Callable[[], None]], Granted]) -> None:
        """Go on with a viewer of another process; `resume` gets what ends one that is sent away."""
        who: Who = state["who"]
        if who not in self._viewers:
            self._viewers[who] = Viewer(resume(lambda: self._send_away(who)), state["asked_at"], plays=True)

    def hand_over(self, channel: str) -> None:
        """Forget the viewers of a channel without a word: they go on in another process."""
        for who in [who for who, viewer in self._viewers.items() if viewer.viewing.name == channel]:
            self._drop(who).viewing.hand_over()

    def close(self, reason: str) -> None:
        """Let all go. Idempotent, never blocks."""
        while self._viewers:
            self._drop(next(iter(self._viewers))).viewing.end(reason)

    def describe(self) -> dict[str, Any]:
        """Return what an operator may want to know."""
        return {"viewers": len(self._viewers)}

    def _with_room(self, who: Who, act: Callable[[], Given]) -> Given:
        """Act, and once more where another viewer of that address has likely left."""
        try:
            return act()
        except NoRoom:
            now = self._now()
            idle = [
                one
                for one, viewer in self._viewers.items()
                if one[1] == who[1] and one != who and viewer.is_idle(now)
            ]
            if not idle:
                raise
            self.see_to()  # some of these rest then, or have left
            if idle[0] in self._viewers:
                self._drop(idle[0]).viewing.end("another one of its address came")
            return act()

    def _send_away(self, who: Who) -> None:
        if who in self._viewers:
            viewing = self._drop(who).viewing
            away = self._address(who) if viewing.is_kicked else who
            self._away.pop(away, None)
            self._away[away] = self._now() + AWAY_S
            if len(self._away) > MAX_AWAY:
                del self._away[next(iter(self._away))]
            viewing.end("sent away")

    def _address(self, who: Who) -> Away:
        return who[0], self._counted_as(who[1])

    def _drop(self, who: Who) -> Viewer[Granted]:
        self._looks_no_more(who)
        return self._viewers.pop(who)

    def _looks_no_more(self, who: Who) -> None:
        address = self._counted_as(who[1])
        looking = self._looking.get(address, {})
        looking.pop(who, None)
        if not looking:
            self._looking.pop(address, None)


def _gone() -> AccessDenied:
    return AccessDenied("NetStream.Play.Failed", "It was sent away")


def _who(channel: str, address: str, query: Mapping[str, str]) -> Who:
    # A token may be long, and with one wide character all of its characters are; there may be many viewers.
    shown = repr([query.get(name) for name in _SHOWN])
    return channel, address, query.get(NAME, ""), sha256(shown.encode("utf-8", "surrogatepass")).digest()


def new_name() -> str:
    """Return a name for a viewer that has none yet."""
    return secrets.token_hex(8)


def is_name(text: str) -> bool:
    """Tell whether that may be a name that we gave."""
    return _NAME.fullmatch(text) is not None

"""Channels that this process shares with one other: the other's mirrors of ours, and ours of the other's."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from posix import close
from typing import Any, Final

from ..live.mirror import Mirror, OutOfStep
from ..live.tap import MOVED, STOP, Tap
from .conversation import Conversation, Message
from .estate import Estate

REPORT_EVERY: Final = 64  # messages of a tap, to what its flushes cost in the mirror
MOVE_S: Final = 30.0  # within which mirrors go on that move


class Mirroring:
    """Both roles, for any number of channels, over one conversation. Never blocks."""

    def __init__(self, estate: Estate, talk: Conversation, *, to_the_end: bool = False) -> None:
        """Serve the other process from now on.

        With `to_the_end` a mirror is over when its publication is: the next one may be published here.
        """
        self.on_moved: Callable[[str], None] = lambda name: None  # it is another process's channel now
        self._estate = estate
        self._to_the_end = to_the_end
        self._talk = talk
        self._taps: dict[str, Tap] = {}
        self._mirrors: dict[str, Mirror] = {}
        self._fed = 0
        talk.handle("mirror", self._open)
        talk.handle("unmirror", self._close)
        talk.handle("cost", self._take_cost)
        talk.handle("tapped", self._feed)

    def __contains__(self, name: str) -> bool:
        """Tell whether a channel here is a mirror of the other's."""
        return name in self._mirrors

    @property
    def names(self) -> set[str]:
        """The channels that are mirrors of the other's."""
        return set(self._mirrors)

    def begin(self, name: str) -> None:
        """Follow the other's channel; what is here of it goes on from where it is. Idempotent."""
        if name not in self._mirrors:
            mirror = self._mirrors[name] = Mirror(self._estate.registry.open(name))
            self._ask(name, mirror)

    def end(self, name: str) -> None:
        """Follow no more; another process does, or nobody needs it. Idempotent."""
        if self._mirrors.pop(name, None) is not None:
            self._talk.tell({"kind": "unmirror", "channel": name})

    def end_unused(self) -> None:
        """Follow no channel any more that nobody here plays or reads."""
        for name in list(self._mirrors):
            channel = self._estate.registry.find(name)
            if channel is None or not channel.is_wanted:
                self.end(name)
                self._estate.registry.abandon(name)

    def keep(self) -> None:
        """Keep what the other's mirrors have not seen: they move to a third process, and go on there."""
        for name in self._taps:
            channel = self._estate.registry.find(name)
            if channel is not None and channel.output is not None:
                channel.output.hold(1, MOVE_S)

    def lost(self) -> None:
        """Do without the other process: players of its channels are told that the publisher has left."""
        for name in list(self._taps):
            self._close({"channel": name}, [])
        mirrors, self._mirrors = self._mirrors, {}
        for name, mirror in mirrors.items():
            self._estate.tell(mirror.lost())
            self._estate.registry.release(name)

    # --- the owner's side -------------------------------------------------------------------------

    def _open(self, message: Message, _descriptors: list[int]) -> None:
        name = message["channel"]
        self._close(message, [])
        channel = self._estate.registry.open(name)
        if channel.output is not None and channel.output.log.is_mirror:
            self._talk.tell({"kind": "tapped", "channel": name, "message": {"kind": STOP}})
            return
        self._taps[name] = Tap(channel, partial(self._deliver, name), *message["place"])

    def _deliver(self, name: str, message: dict[str, Any], descriptors: Sequence[int]) -> bool:
        return self._talk.tell({"kind": "tapped", "channel": name, "message": message}, descriptors)

    def _close(self, message: Message, _descriptors: list[int]) -> None:
        tap = self._taps.pop(message["channel"], None)
        if tap is not None:
            tap.close()
            self._estate.registry.release(message["channel"])

    def _take_cost(self, message: Message, _descriptors: list[int]) -> None:
        tap = self._taps.get(message["channel"])
        if tap is not None:
            tap.report(message["seconds"])

    # --- the mirror's side ------------------------------------------------------------------------

    def _ask(self, name: str, mirror: Mirror) -> None:
        self._talk.tell({"kind": "mirror", "channel": name, "place": mirror.place})

    def _feed(self, message: Message, descriptors: list[int]) -> None:
        name, told = message["channel"], message["message"]
        mirror = self._mirrors.get(name)
        if mirror is None:  # it was ended, which the other does not know yet
            for descriptor in descriptors:
                close(descriptor)
            return
        try:
            self._estate.tell(mirror.feed(told, descriptors))
        except OutOfStep:
            self._ask(name, mirror)
            return
        if told["kind"] == MOVED:
            self.on_moved(name)
            return
        if self._to_the_end and self._estate.registry.open(name).output is None:
            self.end(name)
            self._estate.registry.release(name)
            return
        self._fed += 1
        if self._fed % REPORT_EVERY == 0:
            self._talk.tell({"kind": "cost", "channel": name, "seconds": mirror.cost_s})

"""Workers that take each other's place, by the steps of a succession, over their doors in RUN_DIR.

A newcomer asks an old worker to be its predecessor; one that is told to leave asks another to take it all.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from posix import close
from typing import Any, Final

from ..errors import CannotMove
from ..live.channel import Channel
from ..log import Logger
from .child import Watched
from .estate import Channels, Estate
from .neighbours import Neighbours
from .succession import Succession
from .successor import Abandoned, Successor
from .wire import Wire, WireLost

SUCCEED: Final = "succeed"  # first words over a door
TAKE_ALL: Final = "take all"
WELCOME: Final = "welcome"  # the answer to the latter
WELCOME_S: Final = 2.0
DEATH_S: Final = 5.0  # for the system to end a process after SIGKILL


class Newcomer:
    """A process that was started to succeed this worker."""

    def __init__(self, pid: int) -> None:
        """Raises OSError when it is gone."""
        self.pid = pid
        self._watched = Watched(pid)

    def kill(self) -> None:
        """End it, and return when it is gone: it shares our sockets. Idempotent."""
        with suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
        self._watched.has_died(DEATH_S)

    def ended_with(self, _timeout_s: float) -> int | None:
        """Return None: it is the manager's child."""
        return None

    def close(self) -> None:
        """Watch it no more."""
        self._watched.close()


class Neighbour:
    """Another worker that takes this one's sessions in."""

    def __init__(self, pid: int, wire: Wire) -> None:
        self.pid = pid
        self._wire = wire

    def kill(self) -> None:
        """Let go of it: what it was not told to run whole and for good it never will."""
        self._wire.close()

    def ended_with(self, _timeout_s: float) -> int | None:
        """Return None: it is the manager's child."""
        return None


class Replacing:
    """One worker's part in that."""

    def __init__(
        self,
        estate: Estate,
        succession: Succession,
        neighbours: Neighbours,
        log: Logger,
        *,
        patience_s: float,
    ) -> None:
        """`patience_s`: how long a predecessor may be silent."""
        self._estate = estate
        self._succession = succession
        self._neighbours = neighbours
        self._log = log
        self._patience_s = patience_s
        self._receiving = False
        self._leaving = False
        neighbours.others |= {SUCCEED: self._be_succeeded, TAKE_ALL: self._take_all}

    @property
    def is_leaving(self) -> bool:
        """Whether this worker hands over, or is about to."""
        return self._leaving or self._succession.begun

    def leave(self, others: Callable[[], list[str]]) -> bool:
        """Let another worker have all that can move; False when none of `others` takes it. Blocks.

        From now on nothing is taken in here.
        """
        self._leaving = True
        for name in others():
            wire = None
            try:
                wire = self._neighbours.connect(name, TAKE_ALL)
                wire.receive(WELCOME_S)
            except WireLost as exc:
                self._log.debug("worker %s does not take this one's sessions: %s", name, exc)
                if wire is not None:
                    wire.close()
            else:
                if self._succession.give(Neighbour(int(name), wire), wire):
                    return True
        return False

    def succeed(self, name: str) -> Successor:
        """Return what takes over from a worker, for a newcomer. Blocks. Raises WireLost when that refuses."""
        wire = self._neighbours.connect(name, SUCCEED)
        taking = Taking(wire, self._log, patience_s=self._patience_s)
        try:
            taking.greet()
        except WireLost:
            taking.close()
            raise
        return taking

    # --- asked by other workers -------------------------------------------------------------------

    def _be_succeeded(self, wire: Wire, word: tuple[Any, ...]) -> None:
        """Hand over to a newcomer. Blocks until nothing is left here."""
        try:
            newcomer = Newcomer(int(word[0]))
        except (OSError, ValueError) as exc:
            self._log.warning("succession: %s is no process: %s", word[0], exc)
            return
        try:
            self._succession.give(newcomer, wire)
        finally:
            newcomer.close()

    def _take_all(self, wire: Wire, word: tuple[Any, ...]) -> None:
        """Take in what another worker has, beside one's own. Blocks until that has ended."""
        if self.is_leaving or self._receiving:
            return  # which closes the wire
        guest = Taking(wire, self._log, patience_s=self._patience_s, has_sessions=True)
        self._receiving = True
        try:
            wire.post(WELCOME)
            guest.greet()
            guest.run(self._estate, lambda: None)
        except (Abandoned, WireLost) as exc:
            self._log.warning("worker %s keeps what it did not hand over: %s", word[0], exc)
            self._estate.kills.release()
            self._estate.parts.hold.open()  # others may publish and play again
        finally:
            self._receiving = False
            guest.close()


class Taking(Successor):
    """A successor among several workers: what it takes over may be here already."""

    def run(self, estate: Estate, serve: Callable[[], None]) -> None:
        """Take over, as any successor. Blocks until the predecessor has left. Raises Abandoned."""
        shared, copied = SharedChannels(estate.registry), estate.copied

        def copied_if_new(name: str) -> None:
            if copied is not None and shared.is_new_and_live(name):
                copied(name)

        super().run(replace(estate, registry=shared, copied=copied_if_new), serve)


class SharedChannels:
    """This process's channels, as one takes them over who finds some of them here: of those it takes none."""

    def __init__(self, registry: Channels) -> None:
        self._registry = registry
        self._taken: set[str] = set()

    def __iter__(self) -> Iterator[Channel]:
        return iter(self._registry)

    def find(self, name: str) -> Channel | None:
        """Return a channel."""
        return self._registry.find(name)

    def open(self, name: str) -> Channel:
        """Return a channel, a new one if need be."""
        return self._registry.open(name)

    def release(self, name: str) -> None:
        """Forget a channel if nobody needs it any more."""
        self._registry.release(name)

    def adopt(self, name: str, value: dict[str, Any], fds: list[int]) -> Channel:
        """Go on with a channel; or with the one that is here, where it has the same publication, or any.

        Raises CannotMove where another one is published here.
        """
        try:
            channel = self._registry.adopt(name, value, fds)
        except CannotMove:
            here = self._registry.find(name)
            if here is None or not here.live:
                raise
            if value["live"] and value["publication"] != here.publication:
                raise
            for fd in fds:
                close(fd)
            return here
        self._taken.add(name)
        return channel

    def abandon(self, name: str) -> None:
        """Forget a channel, if it was taken over."""
        if name in self._taken:
            self._taken.discard(name)
            self._registry.abandon(name)

    def is_new_and_live(self, name: str) -> bool:
        """Tell whether a channel was taken over with a publication."""
        here = self._registry.find(name)
        return name in self._taken and here is not None and here.live

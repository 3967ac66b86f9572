"""What a viewer was granted: a playback or a viewing, and a slot among all connections. One for each session.

Who only asks for pages and pieces has none of them, so that a browser's connections side by side do not count
as so many clients.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from gevent.event import Event

from ...errors import AccessDenied, NoRoom, NotThere
from ..host import Peer, Playback
from ..outlet import Outlet
from ..parts import ServerParts
from .routes import JPG
from .sink import MediaSink
from .site import Site, Viewing
from .state import HttpState

Granted = TypeVar("Granted")


class Holding:
    """Runs in the session's greenlet, but where it says otherwise."""

    __slots__ = (
        "_has_slot", "_outlet", "_parts", "_peer", "_signal", "_site", "_state", "playback", "viewing",
    )  # fmt: skip

    def __init__(
        self,
        peer: Peer,
        state: HttpState,
        outlet: Outlet,
        site: Site,
        parts: ServerParts,
    ) -> None:
        self.playback: Playback | None = None
        self.viewing: Viewing | None = None
        self._peer = peer
        self._state = state
        self._outlet = outlet
        self._site = site
        self._parts = parts
        self._signal: Event | None = None  # ends a wait
        self._has_slot = state.holds_slot

    @property
    def all(self) -> list[Playback | Viewing]:
        """What it was granted, and has not ended."""
        return [one for one in (self.playback, self.viewing) if one is not None]

    def view(self, channel: str, query: str) -> Viewing:
        """Let the viewer watch what a handler makes. Blocks. Raises AccessDenied."""
        host = self._site.host
        self.viewing = viewing = self._admitted(lambda: host.view(self._peer, channel, query))
        if self._peer.client.form != JPG:  # a picture is none that goes on
            self._parts.tally.began("play", self._peer.client, viewing)
        return viewing

    def play(self, channel: str, query: str, sink: MediaSink, *, waits: bool) -> None:
        """Let the viewer play; `start` begins. Blocks. Raises AccessDenied."""
        host = self._site.host
        self.playback = self._admitted(lambda: host.watch(self._peer, channel, query, sink, waits=waits))
        self._parts.tally.began("play", self._peer.client, self.playback)

    def start(self, form: str) -> None:
        """Let media come, of a form that moves. Never blocks."""
        assert self.playback is not None, "something was granted"
        self._state.form = form
        self._state.account.trust()
        self._outlet.feed = self.playback.feed
        self.playback.start(True, True)

    def resume(self, sink: MediaSink) -> None:
        """Take up again what another session froze. Never blocks."""
        frozen, self._state.playback = self._state.playback, None
        if frozen is not None:
            playback = self._site.host.resume_playback(self._peer, frozen, sink)
            self.playback = playback
            self._outlet.feed = playback.feed
            playback.resume()

    def freeze(self) -> None:
        """Put what was granted into the state. From another greenlet; never blocks. Raises CannotMove."""
        if self.playback is not None:
            self._state.playback = self.playback.freeze()
            self.playback = None

    def end(self, reason: str) -> None:
        """End what was granted, if anything was. Idempotent, never blocks; from any greenlet."""
        viewing, self.viewing = self.viewing, None
        if viewing is not None:
            viewing.end(reason)
            if self._peer.client.form != JPG:
                self._tell_end(viewing, reason)
        playback, self.playback = self.playback, None
        if playback is not None:
            playback.end(reason)
            self._outlet.feed = None
            self._tell_end(playback, reason)
        self._state.holds_slot = False
        self.give_slot_back()

    def give_slot_back(self) -> None:
        """Count no more, here: also one that moved, who counts elsewhere. Idempotent, never blocks."""
        if self._has_slot:
            self._has_slot = False
            self._parts.slots.release(self._peer.client.ip)

    def count_traffic(self, received_bytes: int, sent_bytes: int, *, moved: bool) -> None:
        """Count what the connection had here, at its end. Never blocks."""
        stalled, form = self._outlet.stalled and not moved, self._peer.client.form
        self._parts.tally.left(received_bytes, sent_bytes, stalled=stalled, form=form)

    def interrupt(self) -> None:
        """Cut short the delay before a refusal. From any greenlet."""
        if self._signal is not None:
            self._signal.set()

    def _tell_end(self, granted: Playback | Viewing, reason: str) -> None:
        bytes_in, bytes_out = self._state.bytes_in, self._outlet.bytes_out
        self._parts.tally.ended("play", self._peer.client, granted, reason, bytes_in, bytes_out)

    def _admitted(self, ask: Callable[[], Granted]) -> Granted:
        """Take a slot and ask the host. Blocks. Raises AccessDenied."""
        client, tally = self._peer.client, self._parts.tally
        refusal = None if self._has_slot else self._parts.slots.admit(client.ip)
        if refusal is not None:
            tally.rejected(client.ip, client.secure, refusal, client.form)
            raise NoRoom("NetStream.Play.BadName", f"There are too many connections: {refusal}")
        self._has_slot = self._state.holds_slot = True
        try:
            return ask()
        except NotThere:
            raise
        except AccessDenied as denial:
            tally.refused("play", client, denial)
            delay_s = self._site.host.refusal_delay(client.ip)
            if delay_s > 0 and not self._peer.has_left():
                self._signal = signal = Event()
                signal.wait(delay_s)
                self._signal = None
            raise
        except Exception:
            tally.failed("play")
            raise

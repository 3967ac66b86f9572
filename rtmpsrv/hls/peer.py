"""A viewer by HLS as the host sees it: it has no connection of its own, but the same is asked about it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Protocol
from uuid import uuid4

from rtmpsrv.errors import AccessDenied, NoRoom, NotThere
from rtmpsrv.log import Logger
from rtmpsrv.server.host import Client
from rtmpsrv.server.tally import Tally

if TYPE_CHECKING:
    from rtmpsrv.server.host import Peer

FORM = "hls"
NOBODY = Tally()  # counts nothing


class Slots(Protocol):
    """Who may come at all; see `server.parts`."""

    def admit(self, address: str) -> str | None:
        """Take a slot; return why not, None for yes."""

    def release(self, address: str) -> None:
        """Give it back."""


class Ends(Protocol):
    """What the host grants."""

    @property
    def name(self) -> str:
        """The channel's."""

    def end(self, reason: str) -> None:
        """Be done. Idempotent, never blocks."""


class Host(Protocol):
    """Who says who may watch; see `server.http.site`."""

    def view(self, peer: Peer, channel: str, query: str) -> Ends:
        """Let a peer watch a channel, or raise AccessDenied. May block."""


class HlsPeer:
    """A `Peer` that ends when its viewer asks no more, or is sent away: then `leave` is called."""

    is_held = False

    def __init__(self, asker: Client, number: int, log: Logger, leave: Callable[[], None]) -> None:
        """`asker` is the client of the connection that its first request came by."""
        self.client = replace(asker, number=number, form=FORM, id=str(uuid4()))
        self.log = log
        self.sent_bytes = 0  # media and playlists
        self._leave = leave
        self._over = False

    def drop(self, reason: str) -> None:
        """End it. Never blocks."""
        if not self._over:
            self._over = True
            self._leave()

    def dismiss(self, reason: str) -> None:
        """The same; its next request is refused, or asked about anew."""
        self.drop(reason)

    def refuse_play(self, code: str, description: str) -> None:
        """The same."""
        self.drop(description)

    def traffic(self) -> tuple[int, int]:
        """Return what it was sent; that is among the bytes of the connections, too."""
        return 0, self.sent_bytes

    def silence_s(self) -> float:
        """Return 0: who asks no more is let go by `viewers`."""
        return 0.0

    def sound(self) -> bool:
        """Tell that nothing is to be found out."""
        return False

    def has_left(self) -> bool:
        """Tell whether it is over."""
        return self._over

    def is_unwanted(self) -> bool:
        """Tell whether it is over."""
        return self._over


class Held:
    """What a viewer was granted, with the slot that it takes."""

    def __init__(self, viewing: Ends, peer: HlsPeer, slots: Slots, tally: Tally) -> None:
        self._viewing = viewing
        self._peer = peer
        self._slots = slots
        self._tally = tally
        self._over = False
        self.name = viewing.name  # of the channel, which may be another one than was asked for

    def end(self, reason: str) -> None:
        """Be done. Idempotent, never blocks."""
        if not self._over:
            self._over = True
            client, sent_bytes = self._peer.client, self._peer.sent_bytes
            self._slots.release(client.ip)
            self._viewing.end(reason)
            self._tally.watched(sent_bytes)
            self._tally.ended("play", client, self._viewing, reason, 0, sent_bytes)

    def sent(self, size: int) -> None:
        """Count the bytes of an answer. Never blocks."""
        if not self._over:
            self._peer.sent_bytes += size


def admit(host: Host, slots: Slots, peer: HlsPeer, channel: str, query: str, tally: Tally = NOBODY) -> Held:
    """Let a viewer in, as one of all connections. Blocks. Raises AccessDenied."""
    client = peer.client
    refusal = slots.admit(client.ip)
    if refusal is not None:
        tally.rejected(client.ip, client.secure, refusal, client.form)
        raise NoRoom("NetStream.Play.BadName", f"There are too many connections: {refusal}")
    try:
        viewing = host.view(peer, channel, query)
    except BaseException as exc:
        slots.release(client.ip)
        if isinstance(exc, AccessDenied) and not isinstance(exc, NotThere):
            tally.refused("play", client, exc)
        raise
    tally.began("play", client, viewing)
    held = Held(viewing, peer, slots, tally)
    if peer.has_left():  # sent away meanwhile
        held.end("sent away")
        raise AccessDenied("NetStream.Play.Failed", "It was sent away")
    return held

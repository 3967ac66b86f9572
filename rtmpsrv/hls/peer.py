"""A viewer by HLS as the host sees it: it has no connection of its own, but the same is asked about it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Protocol
from uuid import uuid4

from rtmpsrv.errors import AccessDenied, NoRoom, NotThere
from rtmpsrv.live.lock import shape_of
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

    def arrive(self, slot: int, address: str) -> None:
        """Take one for who had one in another process."""

    def release(self, address: str) -> None:
        """Give it back."""


class Ends(Protocol):
    """What the host grants."""

    @property
    def name(self) -> str:
        """The channel's."""

    @property
    def key(self) -> str | None:
        """What it was granted for."""

    def hand_over(self) -> None:
        """Be done without a word: the viewer goes on in another process."""

    def end(self, reason: str) -> None:
        """Be done. Idempotent, never blocks."""


class Host(Protocol):
    """Who says who may watch; see `server.http.site`."""

    def view(self, peer: Peer, channel: str, query: str) -> Ends:
        """Let a peer watch a channel, or raise AccessDenied. May block."""

    def resume_view(self, peer: Peer, key: str | None) -> Ends:
        """Let a peer watch on that did so in another process. Never blocks."""


class HlsPeer:
    """A `Peer` that ends when its viewer asks no more, or is sent away: then `leave` is called."""

    is_held = False

    def __init__(self, asker: Client, number: int, log: Logger, leave: Callable[[], None]) -> None:
        """`asker` is the client of the connection that its first request came by."""
        self.client = replace(asker, number=number, form=FORM, id=str(uuid4()))
        self.log = log
        self.sent_bytes = 0  # media and playlists
        self.is_kicked = False  # it is to stay away for a while, whoever it says it is
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

    def kick(self, reason: str) -> None:
        """End it because somebody wants it. Never blocks."""
        self.is_kicked = True
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
        self._before = peer.sent_bytes  # in other processes
        self._over = self._wakes = False
        self._has_slot = True
        self.name = viewing.name  # of the channel, which may be another one than was asked for
        self.shape = shape_of(viewing.key)  # of what must be the publisher's key; None: any

    def end(self, reason: str) -> None:
        """Be done. Idempotent, never blocks."""
        if not self._over:
            self._over = True
            client, sent_bytes = self._peer.client, self._peer.sent_bytes
            self._give_back()
            self._viewing.end(reason)
            self._tally.watched(sent_bytes - self._before)
            self._tally.ended("play", client, self._viewing, reason, 0, sent_bytes)

    def state(self) -> dict[str, Any]:
        """Return plain values with which `resume` goes on in another process. Never blocks."""
        return {"client": self._peer.client, "sent": self._peer.sent_bytes, "key": self._viewing.key}

    def hand_over(self) -> None:
        """Be done without a word: it goes on there. Never blocks."""
        if not self._over:
            self._over = True
            self._give_back()
            self._viewing.hand_over()
            self._tally.watched(self._peer.sent_bytes - self._before)

    @property
    def is_kicked(self) -> bool:
        """Whether it was ended because somebody wanted that."""
        return self._peer.is_kicked

    def rest(self) -> None:
        """Give the slot to others while it asks for nothing. Never blocks."""
        self._give_back()

    def wake(self) -> None:
        """Take a slot again, if it has none. May block. Raises NoRoom."""
        if self._is_over() or self._has_slot or self._wakes:
            return
        client = self._peer.client
        self._wakes = True  # no other request takes one, too
        try:
            refusal = self._slots.admit(client.ip)
        finally:
            self._wakes = False
        if refusal is not None:
            self._tally.rejected(client.ip, client.secure, refusal, client.form)
            raise no_slot(refusal)
        self._has_slot = True
        if self._is_over():  # meanwhile
            self._give_back()

    def _is_over(self) -> bool:
        return self._over

    def _give_back(self) -> None:
        if self._has_slot:
            self._has_slot = False
            self._slots.release(self._peer.client.ip)

    def sent(self, size: int) -> None:
        """Count the bytes of an answer. Never blocks."""
        if not self._over:
            self._peer.sent_bytes += size


def no_slot(refusal: str) -> NoRoom:
    """Return what one hears for whom there is none."""
    return NoRoom("NetStream.Play.BadName", f"There are too many connections: {refusal}")


def resume(host: Host, slots: Slots, peer: HlsPeer, state: dict[str, Any], tally: Tally = NOBODY) -> Held:
    """Let a viewer go on that watched in another process. Never blocks."""
    peer.client, peer.sent_bytes = state["client"], state["sent"]
    slots.arrive(0, peer.client.ip)
    return Held(host.resume_view(peer, state["key"]), peer, slots, tally)


def admit(host: Host, slots: Slots, peer: HlsPeer, channel: str, query: str, tally: Tally = NOBODY) -> Held:
    """Let a viewer in, as one of all connections. Blocks. Raises AccessDenied."""
    client = peer.client
    refusal = slots.admit(client.ip)
    if refusal is not None:
        tally.rejected(client.ip, client.secure, refusal, client.form)
        raise no_slot(refusal)
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

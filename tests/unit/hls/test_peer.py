"""Viewers by HLS, as the host sees them."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from rtmpsrv import log
from rtmpsrv.errors import AccessDenied, NoRoom
from rtmpsrv.hls.peer import HlsPeer, admit
from rtmpsrv.server.host import Client, Peer


class Viewing:
    name = "other"

    def __init__(self) -> None:
        self.ended = ""

    def end(self, reason: str) -> None:
        self.ended = reason


class Door:
    """Slots and host in one."""

    def __init__(self) -> None:
        self.taken: list[str] = []
        self.full: str | None = None
        self.viewing = Viewing()
        self.meanwhile: Callable[[], None] = lambda: None
        self.asked: list[tuple[str, str]] = []

    def admit(self, address: str) -> str | None:
        if self.full is None:
            self.taken.append(address)
        return self.full

    def release(self, address: str) -> None:
        self.taken.remove(address)

    def view(self, peer: Peer, channel: str, query: str) -> Viewing:
        self.asked.append((channel, query))
        self.meanwhile()
        return self.viewing


def made(leave: Callable[[], None] = lambda: None) -> HlsPeer:
    return HlsPeer(Client(1, "1.1.1.1", 8080, True, form="hls"), 7, log.get("HLS"), leave)


def test_viewer_holds_a_slot_until_its_end() -> None:
    door, peer = Door(), made()
    held = admit(door, door, peer, "a", "key=k")
    assert (door.taken, door.asked, held.name) == (["1.1.1.1"], [("a", "key=k")], "other")
    held.sent(5)
    held.sent(6)
    assert peer.traffic() == (0, 11)
    held.end("it left")
    held.end("again")
    assert (door.taken, door.viewing.ended) == ([], "it left")


def test_full_server_asks_nobody() -> None:
    door = Door()
    door.full = "too many"
    with pytest.raises(NoRoom):
        admit(door, door, made(), "a", "")
    assert door.asked == []


def test_refusal_gives_the_slot_back() -> None:
    door = Door()

    def refuse() -> None:
        raise AccessDenied("NetStream.Play.Failed", "no")

    door.meanwhile = refuse
    with pytest.raises(AccessDenied):
        admit(door, door, made(), "a", "")
    assert door.taken == []


def test_viewer_that_is_sent_away_while_it_asks_is_refused() -> None:
    door, peer = Door(), made()
    door.meanwhile = lambda: peer.dismiss("kicked")
    with pytest.raises(AccessDenied):
        admit(door, door, peer, "a", "")
    assert (door.taken, door.viewing.ended) == ([], "sent away")


@pytest.mark.parametrize("how", ["drop", "dismiss", "refuse_play"])
def test_viewer_is_sent_away_once(how: str) -> None:
    left: list[str] = []
    peer = made(lambda: left.append("left"))
    assert not peer.has_left()
    assert not peer.is_unwanted()
    for _ in range(2):
        if how == "refuse_play":
            peer.refuse_play("code", "why")
        else:
            getattr(peer, how)("why")
    assert left == ["left"]
    assert peer.has_left()
    assert peer.is_unwanted()


def test_viewer_is_a_client_of_its_own() -> None:
    asker = Client(1, "1.1.1.1", 8080, True)
    peer = HlsPeer(asker, 7, log.get("HLS"), lambda: None)
    assert (peer.client.number, peer.client.ip, peer.client.form) == (7, "1.1.1.1", "hls")
    assert peer.client.id != asker.id
    assert (peer.traffic(), peer.silence_s(), peer.sound()) == ((0, 0), 0.0, False)

"""Viewers by HLS, as the host sees them."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from rtmpsrv import log
from rtmpsrv.errors import AccessDenied, NoRoom, NotThere
from rtmpsrv.hls.peer import HlsPeer, admit
from rtmpsrv.live.lock import shape_of
from rtmpsrv.server.host import Client, Peer
from rtmpsrv.server.tally import Tally


class Viewing:
    name = "other"
    key = "key"

    def hand_over(self) -> None:
        self.ended = "goes on"

    def __init__(self) -> None:
        self.ended = ""

    def end(self, reason: str) -> None:
        self.ended = reason


class Door:
    """Slots and host in one."""

    def arrive(self, slot: int, address: str) -> None:
        raise AssertionError("nobody comes from another process")

    def resume_view(self, peer: Peer, key: str | None) -> Viewing:
        raise AssertionError("nobody comes from another process")

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
    assert held.shape == shape_of("key")
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


def test_viewer_that_rests_holds_no_slot() -> None:
    door = Door()
    held = admit(door, door, made(), "a", "")
    held.wake()
    assert door.taken == ["1.1.1.1"]
    held.rest()
    held.rest()
    assert door.taken == []
    door.full = "too many"
    with pytest.raises(NoRoom):
        held.wake()
    door.full = None
    held.wake()
    held.wake()
    assert door.taken == ["1.1.1.1"]
    held.rest()
    held.end("it left")
    held.wake()
    assert door.taken == []


@pytest.mark.parametrize("full", [None, "too many"])
def test_viewer_that_ends_while_it_wakes_leaves_no_slot(
    full: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    door = Door()
    held = admit(door, door, made(), "a", "")
    held.rest()
    slot = door.admit

    def slow(address: str) -> str | None:
        held.wake()  # another request of it
        held.end("it left")
        return slot(address)

    monkeypatch.setattr(door, "admit", slow)
    door.full = full
    if full is None:
        held.wake()
    else:
        with pytest.raises(NoRoom):
            held.wake()
    assert door.taken == []


def test_viewer_that_is_kicked_is_known() -> None:
    door, peer = Door(), made()
    held = admit(door, door, peer, "a", "")
    seen = [held.is_kicked]
    peer.kick("too loud")
    assert [*seen, held.is_kicked, peer.has_left()] == [False, True, True]


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


class Told(Tally):
    """Notes what it is told."""

    __slots__ = ("told",)

    def __init__(self) -> None:
        self.told: list[object] = []

    def rejected(self, address: str, secure: bool, why: str, form: str = "") -> None:
        self.told.append(("rejected", form))

    def refused(self, what: str, client: Client, denial: AccessDenied) -> None:
        self.told.append(("refused", client.form))

    def began(self, what: str, client: Client, granted: object) -> None:
        self.told.append(("began", client.form))

    def ended(
        self, what: str, client: Client, granted: object, reason: str, received_bytes: int, sent_bytes: int
    ) -> None:
        self.told.append(("ended", reason, sent_bytes))

    def watched(self, sent_bytes: int) -> None:
        self.told.append(sent_bytes)


def test_a_viewer_and_its_answers_are_counted() -> None:
    door, peer, told = Door(), made(), Told()
    held = admit(door, door, peer, "a", "", told)
    held.sent(100)
    held.sent(50)
    assert peer.traffic() == (0, 150)
    held.end("it left")
    held.sent(1)
    assert told.told == [("began", "hls"), 150, ("ended", "it left", 150)]


@pytest.mark.parametrize(
    ("denial", "told"), [(AccessDenied("c", "no"), [("refused", "hls")]), (NotThere("c", "nobody"), [])]
)
def test_refusals_are_counted(denial: AccessDenied, told: list[object]) -> None:
    door, tally = Door(), Told()

    def refuse() -> None:
        raise denial

    door.meanwhile = refuse
    with pytest.raises(AccessDenied):
        admit(door, door, made(), "a", "", tally)
    assert tally.told == told
    door.full = "too many"
    with pytest.raises(NoRoom):
        admit(door, door, made(), "a", "", tally)
    assert tally.told == [*told, ("rejected", "hls")]

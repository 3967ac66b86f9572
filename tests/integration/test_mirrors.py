"""Sessions of two relays that play one publication, over a wire as between two processes."""

from __future__ import annotations

import pickle
import socket
from collections.abc import Iterator
from contextlib import suppress

import gevent
import pytest
from gevent import socket as gsocket

from rtmpsrv.live.mirror import Mirror
from rtmpsrv.live.tap import Tap
from rtmpsrv.protocol import messages
from rtmpsrv.workers.wire import Wire, WireLost
from tests.integration.moving import APP, Connection, House, hear_all, house
from tests.unit.server.stage import PATIENCE_S, eventually

BIG = 200_000  # bytes, more than small buffers take


class Link:
    """The mirror in one house of a channel in another, and the wire between them."""

    def __init__(self, owner: House, house: House) -> None:
        self.house = house
        self.mirror = Mirror(house.registry.open(APP))
        self._connect(owner)

    def again(self, owner: House) -> None:
        """Go on with another tap, from where the mirror is."""
        self.cut()
        self._connect(owner)

    def cut(self) -> None:
        """Let both ends see that the other one is gone."""
        self.tap.close()
        self.owner.registry.release(APP)
        self.near.close()
        self.receiver.join(PATIENCE_S)
        self.far.close()

    def close(self) -> None:
        self.cut()
        self.house.relay.tell(self.mirror.lost())
        self.house.registry.release(APP)

    def _connect(self, owner: House) -> None:
        self.owner = owner
        near, far = gsocket.socketpair(socket.AF_UNIX)
        self.near, self.far = Wire(near), Wire(far)
        self.receiver = gevent.spawn(self._receive, self.far)
        self.tap = Tap(owner.registry.open(APP), self.near.post, *self.mirror.place)

    def _receive(self, wire: Wire) -> None:
        with suppress(WireLost):
            while True:
                self.house.relay.tell(self.mirror.feed(*wire.receive()))


@pytest.fixture
def owner() -> Iterator[House]:
    with house() as made:
        yield made


@pytest.fixture
def other(owner: House) -> Iterator[House]:
    with house(owner) as made:
        yield made


@pytest.fixture
def link(owner: House, other: House) -> Iterator[Link]:
    made = Link(owner, other)
    yield made
    made.close()


def behind(player: Connection) -> bool:
    return not player.player.at_boundary


@pytest.mark.parametrize("size", [300, 20_000])
def test_players_of_both_hear_the_same(owner: House, other: House, link: Link, size: int) -> None:
    mine, theirs = [owner.waiting(), owner.waiting()], [other.waiting() for _ in range(6)]
    laggard, publisher = other.waiting(small=True), owner.publisher()
    publisher.start()
    hear_all((*mine, *theirs, laggard), publisher.mark())
    publisher.some(4, size=BIG)
    eventually(lambda: behind(laggard), "being in mid-message")
    publisher.some(10, size=size, opening=True)
    publisher.sync()
    eventually(lambda: link.mirror.place[1] == owner_end(owner), "the mirror to follow")
    late = [owner.waiting(), other.waiting()]
    publisher.some(5, size=size)
    hear_all((*mine, *theirs, *late, laggard), publisher.mark())
    for player in (*mine, *theirs, laggard):
        assert player.frames == publisher.sent
    assert late[0].heard == late[1].heard
    publisher.client.stop_publishing()
    for player in (*mine, *theirs, *late, laggard):
        player.hear_status("NetStream.Play.UnpublishNotify")
    publisher.sync()
    successor = owner.publisher()
    successor.start()
    hear_all((*mine, *theirs), successor.mark())
    for player in theirs:
        assert player.frames == mine[0].frames


def owner_end(house: House) -> int:
    channel = house.registry.find(APP)
    assert channel is not None
    return channel.end_position()


def test_owner_moves_and_the_mirror_follows(owner: House, other: House, link: Link) -> None:
    with house(owner) as successor:
        players, publisher = [other.waiting() for _ in range(5)], owner.publisher()
        laggard = other.waiting(small=True)
        publisher.start()
        hear_all((*players, laggard), publisher.mark())
        for number in range(6):
            publisher.some(3, size=BIG if number == 2 else 300)
            before, after = (owner, successor) if number % 2 == 0 else (successor, owner)
            before.move(after, publisher.some)
            link.again(after)
        hear_all((*players, laggard), publisher.mark())
        for player in (*players, laggard):
            assert player.frames == publisher.sent
        publisher.client.close()
        for player in players:
            player.hear_status("NetStream.Play.UnpublishNotify")


def test_players_move_between_owner_and_mirror(owner: House, other: House, link: Link) -> None:
    player, publisher = owner.waiting(), owner.publisher()
    publisher.start()
    player.hear_to(publisher.mark())
    for number in range(8):
        publisher.some(3, size=20_000 if number % 3 else 300)
        publisher.sync()
        player.go_on(pickle.dumps(player.session.freeze()), other if number % 2 == 0 else owner)
        publisher.some(2)
    player.hear_to(publisher.mark())
    assert player.frames == publisher.sent


def test_players_of_an_owner_that_died_wait_for_the_next(owner: House, other: House, link: Link) -> None:
    player, publisher = other.waiting(), owner.publisher()
    publisher.start()
    player.hear_to(publisher.mark())
    link.cut()
    other.relay.tell(link.mirror.lost())
    player.hear_status("NetStream.Play.UnpublishNotify")
    successor = other.publisher()
    successor.start()
    player.hear_to(successor.mark())
    assert player.frames[-len(successor.sent) + 2 :] == successor.sent[2:]
    assert [one for one in player.frames if one[0] == messages.VIDEO]
    successor.client.close()
    player.hear_status("NetStream.Play.UnpublishNotify")

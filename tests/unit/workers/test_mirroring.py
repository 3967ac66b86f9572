"""One house publishes, players sit in another: over a real wire, in one process."""

from __future__ import annotations

import os
from collections.abc import Iterator
from posix import close

import pytest
from gevent import socket as gsocket

from rtmpsrv.client import Client
from rtmpsrv.protocol import messages
from rtmpsrv.workers import mirroring as module
from rtmpsrv.workers.conversation import Conversation
from rtmpsrv.workers.mirroring import Mirroring
from rtmpsrv.workers.wire import Wire
from tests.client import AVC_HEADER, SETTINGS, keyframe
from tests.unit.server.stage import PATIENCE_S, eventually
from tests.unit.workers.houses import House


class Side:
    def __init__(self, sock: gsocket.socket, *, to_the_end: bool = False) -> None:
        self.house = House()
        self.house.listener.start()
        self.talk = Conversation(Wire(sock))
        self.mirroring = Mirroring(self.house.estate, self.talk, to_the_end=to_the_end)
        self.talk.listen()
        self.clients: list[Client] = []

    def client(self) -> Client:
        sock = gsocket.create_connection(("127.0.0.1", self.house.listener.port), timeout=PATIENCE_S)
        self.clients.append(client := Client(sock, SETTINGS, "rtmp://127.0.0.1"))
        client.shake_hands()
        client.connect("app")
        return client

    def publisher(self) -> Client:
        client = self.client()
        client.publish("key")
        client.send_video(0, AVC_HEADER)
        return client

    def player(self, key: str = "key") -> Client:
        client, before = self.client(), self.players
        client.play(key, msid=1, wait=False)
        eventually(lambda: self.players > before)
        return client

    @property
    def players(self) -> int:
        return sum(session.role == "player" for session in self.house.sessions)

    @property
    def live(self) -> bool:
        channel = self.house.estate.registry.find("app")
        return channel is not None and channel.live

    def close(self) -> None:
        for client in self.clients:
            client.close()
        self.talk.close()
        self.mirroring.lost()
        self.house.close()


class Both:
    def __init__(self, *, to_the_end: bool = False) -> None:
        near, far = gsocket.socketpair(gsocket.AF_UNIX)
        self.owner = Side(near)
        self.mirror = Side(far, to_the_end=to_the_end)

    def close(self) -> None:
        self.mirror.close()
        self.owner.close()


@pytest.fixture
def both() -> Iterator[Both]:
    made = Both()
    yield made
    made.close()


def publish(client: Client, content: bytes) -> None:
    client.send_video(40, keyframe(content))


def hear(client: Client, content: bytes) -> None:
    """Read up to a picture."""
    while (message := client.read()).type_id != messages.VIDEO or content not in message.payload:
        pass


def told_the_end(client: Client) -> bool:
    while b"NetStream.Play.UnpublishNotify" not in client.read().payload:
        pass
    return True


def test_players_of_a_mirror_get_what_is_published_elsewhere(both: Both) -> None:
    waiting, wrong = both.mirror.player(), both.mirror.player("wrong")
    both.mirror.mirroring.begin("app")
    both.mirror.mirroring.begin("app")
    assert "app" in both.mirror.mirroring
    assert both.mirror.mirroring.names == {"app"}
    eventually(lambda: both.owner.house.estate.registry.find("app"))
    publisher = both.owner.publisher()
    publish(publisher, b"one")
    hear(waiting, b"one")
    while b"NetStream.Play.BadName" not in wrong.read().payload:
        pass
    late = both.mirror.player()
    publish(publisher, b"two")
    hear(waiting, b"two")
    hear(late, b"two")
    publisher.close()
    assert told_the_end(waiting)
    assert told_the_end(late)
    second = both.owner.publisher()
    publish(second, b"three")
    hear(waiting, b"three")


def test_a_mirror_that_goes_to_the_end_is_none_after_it() -> None:
    both = Both(to_the_end=True)
    publisher = both.owner.publisher()
    both.mirror.mirroring.begin("app")
    eventually(lambda: both.mirror.live)
    player = both.mirror.player()
    publisher.close()
    assert told_the_end(player)
    assert "app" not in both.mirror.mirroring
    eventually(lambda: both.owner.house.estate.registry.find("app") is None)
    own = both.mirror.publisher()
    publish(own, b"own")
    hear(player, b"own")
    both.close()


def test_nobody_mirrors_a_mirror(both: Both) -> None:
    publisher = both.owner.publisher()
    player = both.mirror.player()
    both.mirror.mirroring.begin("app")
    eventually(lambda: both.mirror.live)
    both.owner.mirroring._mirrors.clear()
    both.owner.talk.tell({"kind": "mirror", "channel": "app", "place": (0, 0)})
    publish(publisher, b"one")
    hear(player, b"one")
    assert both.mirror.mirroring._taps == {}


def test_the_end_of_the_owner_is_told_and_that_of_the_mirror_forgotten(both: Both) -> None:
    both.owner.publisher()
    player = both.mirror.player()
    both.mirror.mirroring.begin("app")
    eventually(lambda: both.mirror.live)
    assert both.owner.mirroring._taps
    both.owner.talk.close()
    both.mirror.mirroring.lost()
    assert told_the_end(player)
    assert not both.mirror.live
    both.owner.mirroring.lost()
    assert both.owner.mirroring._taps == {}
    assert both.owner.live


def test_a_mirror_is_given_up_when_nobody_plays_it(both: Both) -> None:
    both.owner.publisher()
    player = both.mirror.player()
    both.mirror.mirroring.begin("app")
    eventually(lambda: both.mirror.live)
    both.mirror.mirroring.end_unused()
    assert both.mirror.mirroring.names == {"app"}
    player.close()
    eventually(lambda: not both.mirror.players)
    both.mirror.mirroring.end_unused()
    assert both.mirror.mirroring.names == set()
    assert both.mirror.house.estate.registry.find("app") is None
    eventually(lambda: not both.owner.mirroring._taps)
    both.mirror.mirroring.end("app")


def test_what_comes_after_the_end_of_a_mirror_is_thrown_away(both: Both) -> None:
    read, write = os.pipe()
    message = {"kind": "tapped", "channel": "app", "message": {"kind": "stop", "publication": 1}}
    both.owner.talk.tell(message, [write])
    close(write)
    os.set_blocking(read, False)

    def closed() -> bool:
        try:
            return os.read(read, 1) == b""
        except BlockingIOError:
            return False

    eventually(closed)
    close(read)


def test_a_mirror_out_of_step_asks_again_from_its_place(both: Both) -> None:
    publisher = both.owner.publisher()
    player = both.mirror.player()
    both.mirror.mirroring.begin("app")
    publish(publisher, b"one")
    hear(player, b"one")
    both.owner.mirroring._taps["app"].close()
    publish(publisher, b"two")
    channel = both.owner.house.estate.registry.find("app")
    assert channel is not None
    publish(publisher, b"three")
    flush = {"kind": "flush", "publication": 1, "begin": 1 << 30}
    both.owner.talk.tell({"kind": "tapped", "channel": "app", "message": flush})
    hear(player, b"two")
    hear(player, b"three")


def test_a_mirror_says_that_its_channel_has_moved(both: Both) -> None:
    moved: list[str] = []
    both.mirror.mirroring.on_moved = moved.append
    both.owner.publisher()
    both.mirror.player()
    both.mirror.mirroring.begin("app")
    eventually(lambda: both.mirror.live)
    both.owner.house.estate.registry.abandon("app")
    eventually(lambda: moved)
    assert moved == ["app"]


def test_what_a_mirror_that_moves_has_not_seen_is_kept_until_it_goes_on(
    both: Both, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rtmpsrv.live.log.SEGMENT_BYTES", 100)
    publisher = both.owner.publisher()
    both.mirror.player()
    both.mirror.mirroring.begin("app")
    eventually(lambda: both.mirror.live)
    both.owner.mirroring._taps["other"] = both.owner.mirroring._taps["app"]
    both.owner.mirroring.keep()
    channel = both.owner.house.estate.registry.find("app")
    assert channel is not None
    assert channel.output is not None
    log = channel.output.log
    place, begin = (1, log.end), log.begin
    both.mirror.mirroring.end("app")
    for content in (b"one", b"two", b"three"):
        publish(publisher, content * 100)
    eventually(lambda: log.count == 4)
    assert log.begin == begin
    both.mirror.talk.tell({"kind": "mirror", "channel": "app", "place": place})
    eventually(lambda: log.begin > begin)


def test_what_flushes_cost_is_told_from_time_to_time(both: Both, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "REPORT_EVERY", 1)
    publisher = both.owner.publisher()
    player = both.mirror.player()
    both.mirror.mirroring.begin("app")
    publish(publisher, b"one")
    hear(player, b"one")
    eventually(lambda: both.owner.mirroring._taps["app"].cost_s > 0)
    both.mirror.talk.tell({"kind": "cost", "channel": "other", "seconds": 1.0})
    both.mirror.talk.tell({"kind": "unmirror", "channel": "other"})
    publish(publisher, b"two")
    hear(player, b"two")

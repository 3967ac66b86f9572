"""HLS put together, with a channel that is on the air."""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from itertools import count
from types import SimpleNamespace
from typing import Any

import gevent
import pytest
from gevent.event import Event

from rtmpsrv.errors import AccessDenied
from rtmpsrv.hls.handler import HlsHandler
from rtmpsrv.hls.site import hls_handler
from rtmpsrv.live.output import LiveLimits
from rtmpsrv.live.registry import Registry
from rtmpsrv.server.clock import LoopClock
from rtmpsrv.server.host import Client, Peer
from tests.unit.live.stage import sound, video
from tests.unit.media.test_mp4_source import AAC, AVC, INTER, KEY, TONE


class Viewing:
    name = "a"
    key = "key"

    def __init__(self) -> None:
        self.ends: list[str] = []

    def end(self, reason: str) -> None:
        self.ends.append(reason)

    def hand_over(self) -> None:
        self.ends.append("goes on")


class Host:
    def __init__(self) -> None:
        self.peers: list[Peer] = []
        self.resumed: list[Peer] = []
        self.viewings: list[Viewing] = []
        self.taken = 0
        self.refuses = False
        self.refused: list[str] = []

    def view(self, peer: Peer, channel: str, query: str) -> Viewing:
        if self.refuses:
            raise AccessDenied("NetStream.Play.Failed", "no")
        self.peers.append(peer)
        self.viewings.append(Viewing())
        return self.viewings[-1]

    def resume_view(self, peer: Peer, key: str | None) -> Viewing:
        assert key == Viewing.key
        self.resumed.append(peer)
        self.viewings.append(Viewing())
        return self.viewings[-1]

    def refusal_delay(self, address: str) -> float:
        self.refused.append(address)
        return 0.0

    def admit(self, address: str) -> str | None:
        self.taken += 1
        return None

    def arrive(self, slot: int, address: str) -> None:
        self.taken += 1

    def release(self, address: str) -> None:
        self.taken -= 1


class Reply:
    def __init__(self) -> None:
        self.status = 0
        self.body = b""

    def send(
        self,
        status: int,
        body: bytes | Sequence[bytes] = b"",
        type: str = "",
        headers: Sequence[tuple[str, str]] = (),
    ) -> None:
        self.status, self.body = status, body if isinstance(body, bytes) else b"".join(body)

    def wait(self, event: Event, timeout_s: float | None = None) -> bool:
        return event.wait(timeout_s)


def test_channel_on_the_air_is_served_and_viewers_can_be_sent_away() -> None:
    registry: Registry[str] = Registry(LoopClock(), LiveLimits(), 1 << 24, 4096)
    host = Host()
    handler = hls_handler(registry, host, host, count(1), lambda question: b"init", window_ms=8000)
    client = Client(1, "1.1.1.1", 8080, False)

    def get(rest: str, **query: str) -> Reply:
        reply = Reply()
        request: Any = SimpleNamespace(
            route=SimpleNamespace(channel="a", rest=rest),
            query=query,
            client=client,
            head=SimpleNamespace(query=""),
            peer=host,
        )
        handler(request, reply)
        return reply

    assert get("live.m3u8").status == 404
    channel = registry.open("a")
    channel.start()
    channel.append([video(AVC), sound(AAC)])
    maker = handler.makers.open("a")
    gevent.sleep(0)  # it reads from now on
    for number in range(130):
        channel.append([video(INTER if number % 25 else KEY, number * 40), sound(TONE, number * 40 + 5)])
    while not maker.window.segments:
        assert maker.changed.wait(5)
    assert b"#EXTINF:2.000," in get("live.m3u8").body
    assert len(host.peers) == 1
    host.peers[0].dismiss("kicked")
    host.refuses = True
    with pytest.raises(AccessDenied):
        get("live.m3u8")
    assert not host.refused, "it was sent away, and guesses nothing"
    with pytest.raises(AccessDenied):
        get("live.m3u8", key="wrong")
    assert host.refused == ["1.1.1.1"]
    channel.stop()
    handler.close("the test ends")
    assert registry.budget.describe()
    assert len(registry) == 0


def test_viewers_and_what_is_made_for_them_go_on_in_another_process() -> None:
    registry: Registry[str] = Registry(LoopClock(), LiveLimits(), 1 << 24, 4096)
    channel = registry.open("a")
    channel.start()
    host, other = Host(), Host()
    old, new = (
        hls_handler(registry, one, one, count(1), lambda question: b"init", window_ms=8000)
        for one in (host, other)
    )
    client = Client(1, "1.1.1.1", 8080, False)

    def get(handler: HlsHandler, name: str) -> None:
        request = SimpleNamespace(
            route=SimpleNamespace(channel="a", rest="none.m4s"),
            query={"s": name},
            client=client,
            head=SimpleNamespace(query=""),
            peer=host,
        )
        handler(request, Reply())

    old.makers.open("a")
    gevent.sleep(0)
    for name in ("0" * 16, "1" * 16):
        get(old, name)
    value = pickle.loads(pickle.dumps(old.state_of("a", 1 << 20)[0]))
    assert old.state_of("b", 1 << 20) == ({"maker": None, "viewers": []}, 0)
    old.let_go("a")
    new.adopt("a", value)
    new.adopt("b", {"maker": None, "viewers": []})
    assert (host.taken, other.taken) == (0, 2)
    assert [one.ends for one in host.viewings] == [["goes on"], ["goes on"]]
    get(new, "1" * 16)
    assert len(new.viewers) == 2
    assert not other.peers, "nobody is asked again"
    assert {peer.client.id for peer in other.resumed} == {peer.client.id for peer in host.peers}
    assert [peer.traffic()[1] > 0 for peer in other.resumed] == [True, True]
    assert new.makers.find("a") is not None
    new.adopt("a", value)
    assert other.taken == 2, "they are there"
    other.resumed[0].dismiss("a reason")
    assert len(new.viewers) == 1
    for one in (old, new):
        one.close("the test ends")
    assert other.taken == 0
    channel.stop()

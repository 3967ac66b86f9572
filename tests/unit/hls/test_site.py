"""HLS put together, with a channel that is on the air."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count
from types import SimpleNamespace
from typing import Any

import gevent
import pytest
from gevent.event import Event

from rtmpsrv.errors import AccessDenied
from rtmpsrv.hls.site import hls_handler
from rtmpsrv.live.output import LiveLimits
from rtmpsrv.live.registry import Registry
from rtmpsrv.server.clock import LoopClock
from rtmpsrv.server.host import Client, Peer
from tests.unit.live.stage import sound, video
from tests.unit.media.test_mp4_source import AAC, AVC, INTER, KEY, TONE


class Viewing:
    name = "a"

    def end(self, reason: str) -> None:
        """Be done."""


class Host:
    def __init__(self) -> None:
        self.peers: list[Peer] = []
        self.refuses = False

    def view(self, peer: Peer, channel: str, query: str) -> Viewing:
        if self.refuses:
            raise AccessDenied("NetStream.Play.Failed", "no")
        self.peers.append(peer)
        return Viewing()

    def admit(self, address: str) -> str | None:
        return None

    def release(self, address: str) -> None:
        """Nothing is counted."""


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

    def get(rest: str) -> Reply:
        reply = Reply()
        request: Any = SimpleNamespace(
            route=SimpleNamespace(channel="a", rest=rest),
            query={},
            client=client,
            head=SimpleNamespace(query=""),
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
    channel.stop()
    handler.close("the test ends")
    assert registry.budget.describe()
    assert len(registry) == 0

"""The clients of `rtmpsrv.testing`, and what the endpoint's own clients see through them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import gevent
import pytest

from rtmpsrv import (
    AudioCodec,
    AudioData,
    Limits,
    ListenForPublishers,
    ListenForWatchers,
    MediaData,
    NewPublisherConnected,
    Publisher,
    PublisherRegistration,
    RtmpEndpoint,
    ScriptData,
    SecondPublisher,
    StreamMetadata,
    WatcherConnected,
    WatcherRegistration,
    testing,
)
from rtmpsrv.errors import ConnectionClosed, RequestRefused
from rtmpsrv.testing import keyframe, publish, sound, video_header, watch
from tests.endpoint_stage import eventually, expect


class Relay:
    """A relay of the per-client layer, that refuses the key "bad" and tells what it saw."""

    def __init__(self, **fields: Any) -> None:
        self.endpoint = RtmpEndpoint("127.0.0.1", limits=Limits(close_s=3.0))
        self.watchers: WatcherRegistration = self.endpoint.register(
            ListenForWatchers(rtmp_app="live", port=0)
        ).discard_messages()
        self.port = self.watchers.port
        self.publishers: PublisherRegistration = self.endpoint.register(
            ListenForPublishers(rtmp_app="live", port=self.port, **fields)
        )
        self.greenlet = gevent.spawn(self.accept)
        self.ended: list[str] = []

    def accept(self) -> None:
        for publisher in self.publishers.accept():
            if publisher.key == "bad":
                publisher.reject("no cats")
            else:
                publisher.approve("context")
                gevent.spawn(self.relay, publisher)

    def relay(self, publisher: Publisher) -> None:
        for data in publisher:
            self.watchers.send(publisher.key, data)
        self.watchers.end(publisher.key)
        self.ended.append(publisher.key)


@pytest.fixture
def relay() -> Iterator[Relay]:
    made = Relay(requires_approval=True)
    yield made
    made.endpoint.close()
    made.greenlet.get(timeout=5)


def test_what_is_published_is_what_is_watched(relay: Relay) -> None:
    media: list[MediaData] = [
        StreamMetadata({"width": 5.0}),
        video_header(),
        keyframe(10),
        sound(20),
        ScriptData(b"\x02\x00\x04cue1", 30),
        AudioData(b"\x90whatever", 40, AudioCodec.UNKNOWN, is_raw=True),
    ]
    with publish(relay.port, "live", "key") as publisher, watch(relay.port, "live", "key") as watcher:
        publisher.send(*media[:5])
        assert [watcher.read() for _ in range(5)] == media[:5]
        publisher.stop()
        eventually(lambda: relay.ended == ["key"])
        with pytest.raises(TimeoutError):
            watcher.read(0.05)
        watcher.stop()
    with pytest.raises(ValueError, match="neither raw"), publish(relay.port, "live", "two") as publisher:
        publisher.send(AudioData(b"", 0, AudioCodec.OPUS))


def test_a_refused_client_harms_nobody(relay: Relay) -> None:
    with publish(relay.port, "live", "good") as good, watch(relay.port, "live", "good") as watcher:
        with pytest.raises(RequestRefused, match="no cats"):
            publish(relay.port, "live", "bad")
        with pytest.raises(RequestRefused):
            watch(relay.port, "other", "good")
        good.send(video_header(), keyframe(10))
        assert [watcher.read(), watcher.read()] == [video_header(), keyframe(10)]
    eventually(lambda: relay.ended == ["good"])


@pytest.mark.parametrize("way", ["disconnect", "registration", "endpoint", "replaced"])
def test_who_is_sent_away_is_told_by_a_status_first(way: str) -> None:
    relay = Relay(second_publisher=SecondPublisher.REPLACE)
    relay.publishers.close()
    publishers = relay.endpoint.register(
        ListenForPublishers(rtmp_app="live", port=relay.port, second_publisher=SecondPublisher.REPLACE)
    )
    watchers = relay.endpoint.register(ListenForWatchers(rtmp_app="watch", port=relay.port))
    with publish(relay.port, "live", "key") as publisher, watch(relay.port, "watch", "key") as watcher:
        ids = [
            expect(publishers, NewPublisherConnected).client.connection_id,
            expect(watchers, WatcherConnected).client.connection_id,
        ]

        def disconnect() -> None:
            publishers.disconnect(ids[0], "why")
            watchers.disconnect(ids[1], "why")

        def close() -> None:
            publishers.close("why")
            watchers.close("why")

        ways: dict[str, Callable[[], object]] = {
            "disconnect": disconnect,
            "registration": close,
            "endpoint": relay.endpoint.close,
            "replaced": lambda: publish(relay.port, "live", "key").close(),
        }
        acting = gevent.spawn(ways[way])
        told = {"endpoint": "the endpoint is closed", "replaced": "replaced by another publisher"}
        assert publisher.wait_closed() == told.get(way, "why")
        if way != "replaced":
            assert watcher.wait_closed() == told.get(way, "why")
            assert list(watcher) == []
            with pytest.raises(ConnectionClosed):
                watcher.read()
        publisher.close()
        watcher.close()
        acting.get(timeout=5)
    relay.endpoint.close()


def test_a_publisher_that_nobody_reads_is_the_only_one_to_go() -> None:
    endpoint = RtmpEndpoint("127.0.0.1", limits=Limits(queue_messages=5, stall_s=0.2))
    publishers = endpoint.register(ListenForPublishers(rtmp_app="live", port=0))
    accepted = publishers.accept()
    arrived = gevent.spawn(lambda: [next(accepted) for _ in range(2)])
    with publish(publishers.port, "live", "slow") as slow, publish(publishers.port, "live", "good") as good:
        by_key = {one.key: one for one in arrived.get(timeout=5)}
        reading = gevent.spawn(list, by_key["good"])
        slow.send(*[sound(number) for number in range(50)])
        assert slow.wait_closed() == "the registrant stopped consuming"
        good.send(*[sound(number) for number in range(50)])
        good.stop()
        assert len(reading.get(timeout=5)) == 50
        assert publishers.closed is None
    endpoint.close()


def test_the_errors_of_its_clients_can_be_had_beside_them() -> None:
    assert (testing.ConnectionClosed, testing.RequestRefused) == (ConnectionClosed, RequestRefused)


def test_a_client_that_was_closed_says_so(relay: Relay) -> None:
    with watch(relay.port, "live", "key") as watcher, publish(relay.port, "live", "key") as publisher:
        pass
    with pytest.raises(ConnectionClosed, match=r"this client was closed, by close\(\)"):
        watcher.read()
    with pytest.raises(ConnectionClosed, match="this client was closed"):
        publisher.send(keyframe(0))
    assert list(watcher) == []

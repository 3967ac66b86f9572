from __future__ import annotations

from ipaddress import ip_address
from typing import Any

from rtmpsrv.endpoint.registrations import WatcherRegistration
from rtmpsrv.endpoint.types import (
    AudioData,
    Client,
    ConnectionId,
    StreamKeyBecameActive,
    StreamKeyBecameInactive,
    WatcherConnected,
    WatcherDisconnected,
)
from rtmpsrv.endpoint.watcher import EndpointPlayback
from rtmpsrv.live.player import Player
from tests.unit.endpoint.doubles import Peer, Sink, taken, watchers


def watch(registration: WatcherRegistration, number: int = 1) -> tuple[EndpointPlayback, Sink]:
    who = Client(ConnectionId(f"c{number}"), ip_address("127.0.0.1"), "app", "key")
    sink: Any = Sink()
    player = Player(sink, 1)
    channel = registration.open_channel("key")
    playback = EndpointPlayback(Peer(number).client, who, channel, player, registration, "context")
    sink.feed = player
    return playback, sink


def test_a_watcher_comes_and_goes_once() -> None:
    registration = watchers()
    playback, sink = watch(registration)
    playback.start(True, True)
    assert registration.send("key", AudioData(b"sound", 0)) == 1
    assert b"sound" in b"".join(sink.sent)
    playback.end("gone")
    playback.end("again")
    registration.end("key")
    assert taken(registration) == [
        WatcherConnected(playback.watcher, "context"),
        StreamKeyBecameActive("key"),
        WatcherDisconnected(ConnectionId("c1")),
        StreamKeyBecameInactive("key"),
    ]
    assert len(registration._registry) == 0


def test_a_watcher_that_never_started_still_has_its_end() -> None:
    registration = watchers()
    playback, _sink = watch(registration)
    playback.end("gone")
    assert taken(registration) == [WatcherDisconnected(ConnectionId("c1"))]
    assert len(registration._registry) == 0


def test_only_the_first_and_the_last_change_the_key() -> None:
    registration = watchers()
    playbacks = [watch(registration, number)[0] for number in (1, 2)]
    for playback in playbacks:
        playback.start(True, True)
    for playback in playbacks:
        playback.end("gone")
    kinds = [type(message) for message in taken(registration)]
    assert kinds == [
        WatcherConnected, StreamKeyBecameActive, WatcherConnected,
        WatcherDisconnected, WatcherDisconnected, StreamKeyBecameInactive,
    ]  # fmt: skip

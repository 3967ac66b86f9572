from __future__ import annotations

from ipaddress import ip_address
from typing import Any

import pytest

from rtmpsrv.endpoint.limits import Limits
from rtmpsrv.endpoint.registrations import WatcherRegistration
from rtmpsrv.endpoint.types import (
    AudioData,
    Client,
    ConnectionId,
    RegistrationClosed,
    StreamKeyBecameActive,
    StreamKeyBecameInactive,
    WatcherConnected,
    WatcherDisconnected,
    WatcherRefused,
)
from rtmpsrv.endpoint.watcher import EndpointPlayback
from rtmpsrv.live.player import Player, PlayerState
from tests.unit.endpoint.doubles import Peer, Sink, taken, watchers


def watch(registration: WatcherRegistration, number: int = 1) -> tuple[EndpointPlayback, Sink]:
    who = Client(ConnectionId(f"c{number}"), ip_address("127.0.0.1"), "app", "key")
    sink: Any = Sink()
    player = Player(sink, PlayerState())
    channel = registration.open_channel("key")
    playback = EndpointPlayback(Peer(number), who, channel, player, registration, "context")
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
        WatcherDisconnected(playback.watcher),
        StreamKeyBecameInactive("key"),
    ]
    assert len(registration._registry) == 0


def test_a_watcher_that_never_started_still_has_its_end() -> None:
    registration = watchers()
    playback, _sink = watch(registration)
    playback.end("gone")
    assert taken(registration) == [WatcherRefused(playback.watcher)]
    assert len(registration._registry) == 0


def test_an_end_by_the_registrant_is_logged_only_when_the_session_ends(
    caplog: pytest.LogCaptureFixture,
) -> None:
    registration = watchers()
    playback, _sink = watch(registration)
    with caplog.at_level("INFO", "rtmpsrv"):
        playback.start(True, True)
        assert caplog.messages == ["watch accepted app=app"]
        registration.close("why")
        assert len(caplog.messages) == 1  # a program's log handler may switch greenlets, and close may not
        playback.end("connection lost")
        playback.end("connection lost")
    assert caplog.messages[1:] == ["watch ended app=app reason=why skipped=0 messages"]


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


@pytest.mark.parametrize("room", range(9))
def test_whenever_a_registrant_is_given_up_its_messages_are_complete_and_in_order(room: int) -> None:
    registration = watchers(Limits(queue_messages=max(1, room), stall_s=0.0))
    for filler in range(1 if room == 0 else 0):
        registration.inbox.put(filler)
    playbacks = []
    for number in (1, 2, 3):
        if registration.closed is None:
            playback, _sink = watch(registration, number)
            playback.start(True, True)
            playbacks.append(playback)
    for playback in playbacks:
        playback.end("gone")
    registration.close()
    got = [one for one in taken(registration) if not isinstance(one, int)]
    assert got[-1] is StopIteration
    assert isinstance(got[-2], RegistrationClosed)
    assert sum(isinstance(one, RegistrationClosed) for one in got) == 1
    changes = [type(one) for one in got if isinstance(one, StreamKeyBecameActive | StreamKeyBecameInactive)]
    assert changes == [StreamKeyBecameActive, StreamKeyBecameInactive]
    joined = [one.client.connection_id for one in got if isinstance(one, WatcherConnected)]
    left = [one.connection_id for one in got if isinstance(one, WatcherDisconnected)]
    assert sorted(joined) == sorted(left)
    assert len(registration._registry) == 0

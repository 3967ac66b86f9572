from __future__ import annotations

import pytest

from rtmpsrv.live.playback import ChannelPlayback
from rtmpsrv.live.player import Player, PlayerState
from tests.unit.live.fakes import FakeSink
from tests.unit.live.stage import HEADERS, Stage, key, payloads, tone


def playback(stage: Stage) -> tuple[ChannelPlayback, FakeSink]:
    sink = FakeSink(stage.clock)
    sink.player = Player(sink, PlayerState())
    return ChannelPlayback(stage.channel, sink.player), sink


@pytest.mark.parametrize("audio", [True, False])
@pytest.mark.parametrize("video", [True, False])
def test_media_chosen_before_the_start_is_what_comes(audio: bool, video: bool) -> None:
    stage = Stage()
    stage.publish(*HEADERS, key("0"), tone("1"))
    play, sink = playback(stage)
    assert sink.received == b""
    play.start(audio, video)
    expected = [key("0")] * video + [tone("1")] * audio
    assert sink.frames() == payloads(*expected)


def test_choice_may_change() -> None:
    stage = Stage()
    stage.publish(*HEADERS, key("0"))
    play, sink = playback(stage)
    play.start(True, True)
    play.receive(True, False)
    stage.publish(key("1"), tone("1"))
    play.receive(False, True)
    stage.publish(key("2"), tone("2"))
    assert sink.frames() == payloads(key("0"), tone("1"), key("2"))


def test_pause_and_resume() -> None:
    stage = Stage()
    stage.publish(*HEADERS, key("0"))
    play, sink = playback(stage)
    play.start(True, True)
    play.pause(True)
    stage.publish(key("1"))
    play.pause(False)
    stage.publish(key("2"))
    assert sink.frames() == payloads(key("0"), key("2"))


def test_player_that_was_frozen_goes_on() -> None:
    stage = Stage()
    stage.publish(*HEADERS, key("0"))
    play, sink = playback(stage)
    play.start(True, True)
    stage.channel.release(play.feed)
    successor = sink.successor()
    successor.player = Player(successor, play.feed.freeze())
    stage.publish(tone("1"))
    ChannelPlayback(stage.channel, successor.player).resume()
    stage.publish(key("2"))
    assert successor.frames() == payloads(key("0"), tone("1"), key("2"))

"""What players choose is answered, and changes nothing for those who do not play yet."""

from __future__ import annotations

import pytest

from rtmpsrv.live import choices
from rtmpsrv.live.framing import RtmpFraming
from rtmpsrv.live.player import EVERYTHING, Player, PlayerState
from rtmpsrv.live.segment import AUDIO, DATA, VIDEO
from tests.unit.live.fakes import CHUNK_SIZE, FakeClock, FakeSink
from tests.unit.live.stage import AAC, AVC, Stage

FRAMING = RtmpFraming(CHUNK_SIZE)


@pytest.fixture
def sink() -> FakeSink:
    made = FakeSink(FakeClock())
    made.player = Player(made, PlayerState())
    return made


def player_of(sink: FakeSink) -> Player:
    assert sink.player is not None
    return sink.player


def test_a_waiting_player_pauses_and_goes_on_without_headers(sink: FakeSink) -> None:
    player = player_of(sink)
    choices.pause(player, FRAMING)
    choices.pause(player, FRAMING)
    assert (player.state.paused, player.state.mask) == (True, DATA)
    choices.unpause(player, FRAMING, True)
    choices.unpause(player, FRAMING, True)
    assert (player.state.paused, player.state.mask) == (False, EVERYTHING)
    assert not player.state.needs_keyframe
    assert sink.told() == ["StreamEOF", "Pause.Notify", "StreamBegin", "Unpause.Notify"]
    assert sink.media() == []


@pytest.mark.parametrize(
    ("back", "told"), [(AUDIO, [AAC[3]]), (VIDEO, [AVC[3]]), (AUDIO | VIDEO, [AAC[3], AVC[3]]), (DATA, [])]
)
def test_who_takes_media_again_is_told_its_headers(back: int, told: list[bytes]) -> None:
    stage = Stage()
    stage.publish(AAC, AVC)
    sink = stage.join(wants=0)
    sink.clear()
    choices.receive(stage.player(sink), back, FRAMING, True)
    assert [payload for _, _, payload in sink.media()] == told
    assert stage.player(sink).state.needs_keyframe is bool(back & VIDEO)


def test_who_plays_video_already_does_not_wait_for_it() -> None:
    stage = Stage()
    stage.publish(AAC, AVC)
    sink = stage.join()
    sink.clear()
    choices.receive(stage.player(sink), VIDEO, FRAMING, True)
    assert not stage.player(sink).state.needs_keyframe
    assert sink.received == b""

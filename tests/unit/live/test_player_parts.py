"""Players that get only part of the messages: choices, pauses, other message streams."""

from __future__ import annotations

import pytest

from rtmpsrv.live.player import WALK_MESSAGES
from rtmpsrv.live.segment import AUDIO, DATA, VIDEO
from tests.unit.live.stage import (
    AAC,
    AAC_2,
    AVC,
    HEADERS,
    META,
    Stage,
    data,
    inter,
    key,
    payloads,
    playing,
    tone,
)

# --- only part of the messages --------------------------------------------------------------------


@pytest.mark.parametrize("wants", [AUDIO | DATA, VIDEO | DATA, DATA])
def test_player_gets_only_what_it_wants(can_sendfile: bool, wants: int) -> None:
    stage = Stage()
    stage.publish(*HEADERS, key("k"), tone("a"), inter("i"))
    sink = stage.join(can_sendfile=can_sendfile, wants=wants)
    stage.publish(tone("b"), inter("j"), data(b"\2\0\4text"), key("l"), tone("c"))
    expected = [
        (9, VIDEO, key("k")), (8, AUDIO, tone("a")), (9, VIDEO, inter("i")), (8, AUDIO, tone("b")),
        (9, VIDEO, inter("j")), (9, VIDEO, key("l")), (8, AUDIO, tone("c")),
    ]  # fmt: skip
    assert sink.frames() == [message[3] for _, kind, message in expected if kind & wants]
    assert (18, 0, b"\2\0\4text") in sink.media()


def test_video_that_is_switched_on_begins_with_a_keyframe() -> None:
    stage = Stage()
    sink = playing(stage, *HEADERS, key("k"))
    stage.receive(stage.player(sink), AUDIO | DATA)
    stage.publish(inter("0"), tone("0"))
    stage.receive(stage.player(sink), AUDIO | VIDEO | DATA)
    stage.publish(inter("1"), key("2"), inter("3"), tone("4"))
    assert sink.frames() == payloads(tone("0"), key("2"), inter("3"), tone("4"))
    assert stage.follows(sink)


def test_player_without_video_does_not_wait_for_a_keyframe() -> None:
    for cache in ("no", ""):
        stage = Stage(cache_bytes=0)
        stage.publish(*HEADERS, key("k"), inter("i"))
        sink = stage.join(cache=cache, wants=AUDIO | DATA)
        stage.publish(tone("a"), inter("j"), tone("b"))
        assert sink.frames() == payloads(tone("a"), tone("b"))


def test_player_that_switches_video_off_stops_waiting_for_a_keyframe() -> None:
    stage = Stage()
    sink = playing(stage, *HEADERS, key("k"), inter("i"), cache="no")
    stage.publish(tone("before"))
    stage.receive(stage.player(sink), AUDIO | DATA)
    stage.publish(tone("a"), inter("j"), tone("b"))
    assert sink.frames() == payloads(tone("before"), tone("a"), tone("b"))


def test_laggard_inside_a_message_may_change_what_it_wants(can_sendfile: bool) -> None:
    stage = Stage()
    sink = playing(stage, AVC, key("k"), can_sendfile=can_sendfile)
    sink.room = 100
    stage.publish(inter(bytes(300)), inter("1"), tone("2"))
    stage.receive(stage.player(sink), AUDIO | DATA)
    sink.open()
    assert sink.frames()[0] == inter(bytes(300))[3]
    assert sink.frames()[-1] == tone("2")[3]


@pytest.mark.parametrize("msid", [0, 2, 0x01020304])
def test_other_message_stream_gets_copies_with_its_id(can_sendfile: bool, msid: int) -> None:
    stage = Stage()
    stage.publish(*HEADERS, key("k", 0x1000000))
    sink = stage.join(can_sendfile=can_sendfile, msid=msid)
    other = stage.join()
    stage.publish(inter(bytes(200), 0x1000001), tone("a"))
    streams = {m[2] for m in sink.messages() if m[0] in (8, 9, 18, 20)}
    assert streams == {msid, 0}  # the sample access is on 0
    assert sink.frames() == other.frames() == payloads(key("k"), inter(bytes(200)), tone("a"))
    assert [m[1] for m in sink.messages()] == [m[1] for m in other.messages()]


def test_messages_of_the_log_are_not_changed_by_readdressing() -> None:
    stage = Stage()
    stage.publish(AVC, key("k"))
    stage.join(msid=9)
    sink = stage.join()
    assert {m[2] for m in sink.messages() if m[0] == 9} == {1}


def test_much_that_is_not_wanted_is_passed_in_steps(can_sendfile: bool) -> None:
    stage = Stage()
    unwanted = [inter(f"{number}") for number in range(3 * WALK_MESSAGES)]
    stage.publish(*HEADERS, key("k"), *unwanted, tone("last"))
    sink = stage.join(can_sendfile=can_sendfile, wants=AUDIO | DATA)
    assert sink.frames() == payloads(tone("last"))


# --- pause ----------------------------------------------------------------------------------------


def test_paused_player_gets_data_only_and_goes_on_at_a_keyframe() -> None:
    stage = Stage()
    sink = playing(stage, *HEADERS, key("k"))
    player = stage.player(sink)
    stage.pause(player)
    stage.pause(player)
    assert sink.told() == ["StreamEOF", "Pause.Notify"]
    stage.publish(inter("0"), tone("0"), key("1"), META)
    assert [kind for kind, _, _ in sink.media()] == [18]
    sink.clear()
    stage.unpause(player)
    stage.unpause(player)
    assert sink.told() == ["StreamBegin", "Unpause.Notify"]
    assert [payload for _, _, payload in sink.media()] == payloads(AAC, AVC)
    assert [message[0] for message in sink.messages()] == [4, 8, 9, 20]
    sink.clear()
    stage.publish(inter("2"), key("3"), tone("4"))
    assert sink.frames() == payloads(key("3"), tone("4"))
    assert stage.follows(sink)


def test_paused_player_gets_no_header_either() -> None:
    stage = Stage(cache_bytes=0)
    sink = playing(stage, *HEADERS, key("k"), inter("i"))  # waits for a keyframe
    stage.pause(stage.player(sink))
    sink.clear()
    stage.publish(AAC_2, inter("0"))
    assert sink.media() == []


def test_waiting_player_may_pause_and_resume() -> None:
    stage = Stage(live=False)
    sink = stage.join()
    stage.pause(stage.player(sink))
    stage.unpause(stage.player(sink))
    assert sink.told() == ["StreamEOF", "Pause.Notify", "StreamBegin", "Unpause.Notify"]
    assert sink.media() == []
    stage.start()
    stage.publish(AVC, key("k"))
    assert sink.frames() == payloads(key("k"))

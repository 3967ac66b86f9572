"""Where joiners start when keyframes are old, have no flag or do not come; the time of their headers."""

from __future__ import annotations

import pytest

from rtmpsrv.live.channel import CHECK_S
from rtmpsrv.live.joints import (
    AUDIO_JOINT_S,
    ENDLESS_GOP_S,
    FIRST_KEYFRAME_S,
    SOUND_ALONE_S,
    VIDEO_PAUSE_S,
)
from rtmpsrv.live.log import SEGMENT_BYTES
from rtmpsrv.live.segment import AUDIO, DATA, VIDEO
from tests.unit.live.fakes import FakeSink, Message
from tests.unit.live.stage import (
    AAC,
    AAC_2,
    AVC,
    HEADERS,
    META,
    Stage,
    inter,
    joined_frames,
    key,
    payloads,
    playing,
    sound,
    tone,
    video,
)

SILENT_VIDEO_S = VIDEO_PAUSE_S + SOUND_ALONE_S
IDR = b"\0\0\0\2\x65\x88"
HEVC_HEADER = video(b"\x80hvc1config")
HEVC_IDR = video(b"\x81hvc1\0\0\0" + b"\0\0\0\2\x26\1", 80)
HEVC_TRAIL = video(b"\x81hvc1\0\0\0" + b"\0\0\0\2\2\1", 120)


def sing(stage: Stage, seconds: float, content: str = "song") -> list[Message]:
    """Publish audio alone for some time, ten messages a second."""
    sent = []
    for number in range(round(seconds * 10)):
        stage.clock.advance(0.1)
        sent.append(tone(f"{content}{number}"))
        stage.publish(sent[-1])
    return sent


def header_times(sink: FakeSink) -> list[int]:
    """The timestamps of all headers that were sent at the start, each once."""
    return sorted({at for kind, at, payload in sink.media() if kind != 18 and payload[1:2] == b"\0"})


# --- old keyframes --------------------------------------------------------------------------------


def test_joiners_start_at_a_keyframe_of_up_to_20_s() -> None:
    stage = Stage()
    stage.publish(AVC, key("0"))
    stage.clock.advance(ENDLESS_GOP_S)
    stage.publish(inter("1"))
    assert joined_frames(stage) == payloads(key("0"), inter("1"))
    stage.clock.advance(0.1)
    stage.publish(inter("2"))
    late = stage.join()
    assert late.frames() == []
    stage.publish(inter("3"))
    assert late.frames() == payloads(inter("3"))
    stage.publish(key("4"), inter("5"))
    assert joined_frames(stage) == payloads(key("4"), inter("5"))


def test_memory_of_an_endless_gop_is_given_back() -> None:
    stage = Stage()
    stage.publish(AVC, key("0"))
    most = 0
    for _ in range(400):
        stage.clock.advance(0.1)
        stage.publish(inter(bytes(20_000)))
        most = max(most, stage.used_bytes())
    assert most > 200 * 20_000
    stage.publish(*[inter(bytes(20_000))] * 20)
    assert stage.used_bytes() < 3 * SEGMENT_BYTES + 40_000


def test_stream_mode_keeps_an_endless_gop_for_who_clears_the_cache() -> None:
    stage = Stage(keep_stream=True)
    sent = [key("0")]
    stage.publish(AVC, *sent)
    for number in range(60):
        stage.clock.advance(CHECK_S)
        sent.append(inter(f"{number}"))
        stage.publish(sent[-1])
    assert joined_frames(stage) == []
    assert joined_frames(stage, "clear") == payloads(*sent)


# --- a camera that is off -------------------------------------------------------------------------


def test_video_that_pauses_leaves_a_stream_of_audio() -> None:
    stage = Stage()
    stage.publish(*HEADERS, key("0"), inter("1"))
    sung = sing(stage, SILENT_VIDEO_S - 0.1)
    assert joined_frames(stage) == payloads(key("0"), inter("1"), *sung)
    sing(stage, 60)
    sink = stage.join()
    assert len(sink.frames()) <= 10 * (AUDIO_JOINT_S + 0.2)
    assert AVC[3] in [payload for _, _, payload in sink.media()]
    assert stage.follows(sink)


def test_video_that_is_back_is_joined_at_its_keyframe() -> None:
    stage = Stage()
    stage.publish(*HEADERS, key("0"), inter("1"))
    sing(stage, 60)
    stage.publish(key("2"), tone("3"))
    assert joined_frames(stage) == payloads(key("2"), tone("3"))


@pytest.mark.parametrize("seconds", [5, 15, 60])
def test_video_that_is_back_inside_a_gop_waits_for_its_keyframe(seconds: int) -> None:
    stage = Stage()
    stage.publish(*HEADERS, key("0"), inter("1"))
    sing(stage, seconds)
    stage.publish(inter("2"), tone("3"))
    sink = stage.join()
    assert sink.frames()[-1] == tone("3")[3]
    assert inter("2")[3] not in sink.frames()
    stage.publish(inter("4"), key("5"), inter("6"))
    assert sink.frames()[-2:] == payloads(key("5"), inter("6"))
    assert inter("4")[3] not in sink.frames()


def test_joiner_of_a_short_pause_has_video_from_a_keyframe_on() -> None:
    stage = Stage()
    stage.publish(*HEADERS, key("0"), inter("1"))
    sing(stage, 10)
    sink = stage.join()
    sink.clear()
    stage.publish(inter("2"), tone("3"), key("4"), inter("5"))
    assert sink.frames() == payloads(tone("3"), key("4"), inter("5"))


def test_pause_of_video_is_no_place_to_jump_to() -> None:
    stage = Stage(lag_s=4.0)
    sink = playing(stage, *HEADERS, key("0"))
    sink.room = 0
    stage.publish(inter("1"))
    sung = sing(stage, 7)
    sink.open()
    stage.publish(inter("2"))
    assert sink.frames() == payloads(inter("1"), *sung, inter("2"))  # whole: it can be decoded


def test_camera_that_is_off_from_the_start_leaves_a_stream_of_audio() -> None:
    stage = Stage()
    stage.publish(*HEADERS)
    sing(stage, 60)
    sink = stage.join()
    assert 1 <= len(sink.frames()) <= 10 * (AUDIO_JOINT_S + 0.2)


def test_stall_of_everything_is_no_pause_of_video() -> None:
    stage = Stage()
    stage.publish(*HEADERS, key("0"), inter("1"))
    stage.clock.advance(10)
    stage.publish(tone("2"), tone("3"), inter("4"))
    assert joined_frames(stage) == payloads(key("0"), inter("1"), tone("2"), tone("3"), inter("4"))


def test_second_pause_is_counted_from_its_own_begin() -> None:
    stage = Stage()
    stage.publish(*HEADERS, key("0"))
    sing(stage, VIDEO_PAUSE_S + 0.5)
    stage.publish(key("1"))
    sung = sing(stage, SILENT_VIDEO_S - 0.1)
    assert joined_frames(stage) == payloads(key("1"), *sung)


# --- keyframes without a flag ---------------------------------------------------------------------


def test_keyframes_that_no_frame_is_flagged_as_are_looked_for() -> None:
    stage = Stage()
    idr = video(b"\x27\1\0\0\0" + IDR, 80)
    stage.publish(*HEADERS, inter("0"), tone("1"), idr, inter("2"))
    assert joined_frames(stage) == payloads(idr, inter("2"))


def test_flags_count_from_the_first_one_on() -> None:
    stage = Stage()
    stage.publish(*HEADERS, key("0"), video(b"\x27\1\0\0\0" + IDR), inter("1"))
    assert joined_frames(stage)[0] == key("0")[3]


def test_frames_whose_type_says_nothing_are_looked_at() -> None:
    stage = Stage()
    stage.publish(AAC, HEVC_HEADER, HEVC_TRAIL, tone("0"), HEVC_IDR, HEVC_TRAIL)
    sink = stage.join()
    assert sink.frames()[-2:] == payloads(HEVC_IDR, HEVC_TRAIL)
    assert tone("0")[3] not in sink.frames()
    # Also after a frame that has its type.
    stage.publish(video(b"\x91hvc1\0\0\0" + b"\0\0\0\2\x26\1"), HEVC_TRAIL, HEVC_IDR, HEVC_TRAIL)
    assert stage.join().frames()[-2:] == payloads(HEVC_IDR, HEVC_TRAIL)
    assert len(stage.join().frames()) == 3  # and the header, which tests take for a frame


def test_stream_without_any_keyframe_is_joined_anywhere_before_long() -> None:
    stage = Stage()
    stage.publish(*HEADERS, inter("0"))
    stage.clock.advance(FIRST_KEYFRAME_S - 0.1)
    stage.publish(tone("1"))
    patient = stage.join()
    assert patient.frames() == payloads(tone("1"))
    stage.clock.advance(0.1 + CHECK_S)
    stage.publish(inter("2"), inter("3"))
    assert patient.frames() == payloads(tone("1"), inter("3"))
    assert joined_frames(stage) == payloads(inter("0"), tone("1"), inter("2"), inter("3"))


def test_player_that_is_there_before_all_frames_gets_whatever_comes() -> None:
    stage = Stage()
    stage.publish(*HEADERS)
    sink = stage.join()
    stage.publish(inter("0"), tone("1"))
    assert sink.frames() == payloads(inter("0"), tone("1"))


def test_keyframe_ahead_in_what_is_kept_is_worth_waiting_for() -> None:
    stage = Stage(keep_stream=True)
    stage.publish(*HEADERS, inter("0"), tone("1"), key("2"))
    stage.clock.advance(ENDLESS_GOP_S + 1)
    assert joined_frames(stage, "clear") == payloads(tone("1"), key("2"))


# --- the time of headers --------------------------------------------------------------------------


@pytest.mark.parametrize("wants", [AUDIO | DATA, VIDEO | DATA])
def test_headers_have_the_time_of_the_first_frame_that_is_wanted(wants: int) -> None:
    stage = Stage()
    stage.publish(*HEADERS, key("0", 5000), META, tone("1", 5010), inter("2", 5040))
    sink = stage.join(wants=wants)
    assert header_times(sink) == [5010 if wants & AUDIO else 5000]
    assert [at for kind, at, _ in sink.media() if kind == 18] == [0, 0]


def test_headers_have_the_newest_time_where_no_frame_is_there_yet() -> None:
    stage = Stage()
    stage.publish(*HEADERS, key("0", 5000), tone("1", 5010), META)
    assert header_times(stage.join(cache="no")) == [5010]


def test_headers_have_the_time_of_audio_while_video_waits() -> None:
    stage = Stage(keep_stream=True)
    stage.publish(*HEADERS, inter("0", 5000), tone("1", 5010), key("2", 5040))
    assert header_times(stage.join(cache="clear")) == [5010]
    assert header_times(stage.join(cache="clear", wants=VIDEO | DATA)) == [5040]


def test_time_of_headers_may_need_32_bits() -> None:
    stage = Stage()
    stage.publish(*HEADERS, key("0", 0xFFFFFFF0))
    assert header_times(stage.join()) == [0xFFFFFFF0]


def test_headers_after_a_pause_have_the_time_of_the_media() -> None:
    stage = Stage()
    sink = playing(stage, *HEADERS, key("0", 5000), tone("1", 5010))
    player = stage.player(sink)
    stage.pause(player)
    stage.publish(inter("2", 6000), tone("3", 6010))
    sink.clear()
    stage.unpause(player)
    assert header_times(sink) == [6010]


def test_headers_of_what_is_switched_on_have_the_time_of_the_media() -> None:
    stage = Stage()
    sink = playing(stage, *HEADERS, key("0", 5000), tone("1", 5010), wants=VIDEO | DATA)
    stage.publish(inter("2", 6000))
    sink.clear()
    stage.receive(stage.player(sink), AUDIO | VIDEO | DATA)
    assert header_times(sink) == [6000]


def test_laggard_that_switches_on_is_told_the_time_at_its_place() -> None:
    stage = Stage()
    sink = playing(stage, *HEADERS, key("0", 5000), wants=VIDEO | DATA)
    sink.room = 10
    stage.publish(inter("1", 6000), tone("2", 6010), inter("3", 7000), tone("4", 7010))
    stage.receive(stage.player(sink), AUDIO | VIDEO | DATA)
    sink.open()
    assert header_times(sink) == [6010]


# --- configurations -------------------------------------------------------------------------------


def test_joiners_get_no_header_of_a_track_that_is_no_more() -> None:
    stage = Stage()
    second = sound(b"\x95\0mp4a\1second")
    stage.publish(AVC, AAC, second, key("0"), tone("1"))
    assert second[3] in [payload for _, _, payload in stage.join().media()]
    stage.publish(AAC_2, key("2"), tone("3"))
    assert [p for _, _, p in stage.join().media()] == payloads(AAC_2, AVC, key("2"), tone("3"))

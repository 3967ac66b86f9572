from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtmpsrv.live.contents import Message
from rtmpsrv.live.vitals import MAX_GOPS, MAX_RECENT
from rtmpsrv.protocol import amf0
from tests.unit.live.course import (
    AAC,
    AVC,
    FRAME_BYTES,
    KEYFRAME_BYTES,
    TONE_BYTES,
    Course,
    picture,
    tone,
    tracks_of,
)
from tests.unit.live.mirrored import Mirrored
from tests.unit.live.stage import Stage, data, inter, many, sound, video

# Of one second: pictures, half a keyframe, tones.
VIDEO_BITS = 8 * (25 * FRAME_BYTES + (KEYFRAME_BYTES - FRAME_BYTES) // 2)
AUDIO_BITS = 8 * 50 * TONE_BYTES


def test_a_good_stream() -> None:
    vitals = Course().run(70).vitals()
    assert vitals["age_s"] == pytest.approx(70)
    assert vitals["bitrate_10s"] == pytest.approx(
        VIDEO_BITS + AUDIO_BITS, rel=0.12
    )  # 9 s, of which 4 keyframes
    assert vitals["bitrate_60s"] == pytest.approx(VIDEO_BITS + AUDIO_BITS, rel=0.02)
    even, odd = VIDEO_BITS + AUDIO_BITS + 4 * 1500, VIDEO_BITS + AUDIO_BITS - 4 * 1500
    assert vitals["bitrates"] == [even, odd] * 30
    assert vitals["keyframes"] == 35
    assert vitals["gops_s"] == [2.0] * MAX_GOPS
    assert vitals["keyframe_age_s"] == pytest.approx(2.0)
    assert vitals["silence_s"] == pytest.approx(0.02)
    assert vitals["media_rate"] == pytest.approx(1.0)
    assert vitals["av_offset_s"] == 0.0
    assert vitals["jitter_s"] == pytest.approx(0.0, abs=0.001)
    for name in ("jumps", "jumps_10min", "uneven_audio", "stalls", "stalls_10min", "odd_headers"):
        assert vitals[name] == 0
    assert vitals["last_jump_s"] is None
    assert vitals["metadata"] == {}


def test_tracks_of_a_good_stream() -> None:
    tracks = Course().run(70).vitals()["tracks"]
    assert tracks == [
        {
            "kind": "video", "track": 0, "codec": "H264", "profile": "High", "level": "3.2", "width": 1280,
            "height": 720, "declared_fps": 59.94, "sample_rate": None, "channels": None, "configured": True,
            "fps": 25.0, "frames": 70 * 25, "received_bytes": 70 * VIDEO_BITS // 8,
            "bitrate_10s": tracks[0]["bitrate_10s"], "bitrate_60s": tracks[0]["bitrate_60s"],
        },
        {
            "kind": "audio", "track": 0, "codec": "MPEG-4 Audio", "profile": "LC", "level": "", "width": None,
            "height": None, "declared_fps": None, "sample_rate": 48000, "channels": 2, "configured": True,
            "fps": None, "frames": 70 * 50, "received_bytes": 70 * AUDIO_BITS // 8, "bitrate_10s": AUDIO_BITS,
            "bitrate_60s": AUDIO_BITS,
        },
    ]  # fmt: skip
    assert tracks[0]["bitrate_60s"] == pytest.approx(VIDEO_BITS, rel=0.02)


def test_a_publication_that_has_just_begun() -> None:
    course = Course()
    vitals = course.vitals()
    assert vitals["bitrates"] == [0] * 60
    for name in ("keyframe_age_s", "silence_s", "media_rate", "av_offset_s", "jitter_s"):
        assert vitals[name] is None
    assert [one["configured"] for one in vitals["tracks"]] == [True, True]
    vitals = course.run(0.5).vitals()
    assert vitals["bitrate_10s"] > 50_000
    assert vitals["tracks"][0]["fps"] is None


def test_nothing_is_told_while_nobody_publishes_or_by_a_mirror() -> None:
    assert Stage(live=False).channel.vitals() is None
    course = Course()
    mirrored = Mirrored(course.stage)
    course.run(1)
    assert mirrored.stage.channel.live
    assert mirrored.stage.channel.vitals() is None


def test_bitrates_fall_to_nothing_after_media() -> None:
    course = Course().run(20)
    course.pause(1)
    vitals = course.vitals()
    assert vitals["bitrates"][-1] == 0
    assert vitals["bitrate_10s"] > 0
    assert vitals["silence_s"] == pytest.approx(1.02)
    course.pause(60)
    vitals = course.vitals()
    assert (vitals["bitrate_10s"], vitals["bitrate_60s"], vitals["bitrates"]) == (0, 0, [0] * 60)
    assert [one["bitrate_10s"] for one in vitals["tracks"]] == [0, 0]
    assert vitals["tracks"][0]["fps"] == 0.0
    assert vitals["media_rate"] < 0.2
    assert vitals["av_offset_s"] is None


def test_a_slow_upload_shows_in_the_rate_and_the_jitter() -> None:
    vitals = Course().run(30, speed=0.8).vitals()
    assert vitals["media_rate"] == pytest.approx(0.8, abs=0.01)
    assert vitals["jitter_s"] == pytest.approx(2.0, abs=0.3)
    assert vitals["tracks"][0]["fps"] == pytest.approx(20.0, abs=0.3)
    assert (vitals["jumps"], vitals["stalls"]) == (0, 0)


def test_keyframes_far_apart() -> None:
    course = Course()
    course.gop_ms = 12_000
    vitals = course.run(30).vitals()
    assert vitals["gops_s"] == [12.0, 12.0]
    assert vitals["keyframe_age_s"] == pytest.approx(6.0)


def test_a_stream_of_keyframes() -> None:
    course = Course()
    course.gop_ms = 40
    vitals = course.run(2).vitals()
    assert vitals["keyframes"] == 50
    assert vitals["gops_s"] == [0.04] * MAX_GOPS


def test_jumps_of_both_kinds_are_one() -> None:
    course = Course().run(10)
    course.shift_ms += 12_000
    course.run(3)
    vitals = course.vitals()
    assert (vitals["jumps"], vitals["jumps_10min"], vitals["last_jump_s"]) == (
        1,
        1,
        pytest.approx(12, abs=0.05),
    )
    assert vitals["media_rate"] in (None, pytest.approx(1.0))
    assert vitals["gops_s"] == [2.0] * 4  # none over the jump
    assert vitals["av_offset_s"] == 0.0
    course.shift_ms -= 5000
    vitals = course.run(12).vitals()
    assert (vitals["jumps"], vitals["jumps_10min"]) == (2, 2)
    assert vitals["last_jump_s"] == pytest.approx(-5, abs=0.05)
    assert vitals["media_rate"] == pytest.approx(1.0)
    assert vitals["gops_s"][-2:] == [2.0, 2.0]
    course.run(600)
    assert (course.vitals()["jumps"], course.vitals()["jumps_10min"]) == (2, 0)


def test_an_encoder_whose_clock_jumps_all_the_time() -> None:
    course = Course()
    for number in range(200):
        course.stage.clock.advance(0.1)
        course.stage.publish(tone(number % 2 * 50_000), picture(number % 2 * 50_000))
    vitals = course.vitals()
    assert vitals["jumps"] == 199
    assert vitals["jumps_10min"] == MAX_RECENT


def test_a_jump_of_the_other_kind_later_is_another() -> None:
    course = Course().run(4)
    course.stage.publish(tone(50_000))
    course.stage.clock.advance(0.9)
    course.stage.publish(picture(60_000, True))
    assert course.vitals()["jumps"] == 1
    course.stage.clock.advance(3)
    course.stage.publish(tone(0))
    assert course.vitals()["jumps"] == 2


def test_time_that_begins_again_at_0_is_no_jump() -> None:
    vitals = Course(shift_ms=(1 << 32) - 5000).run(12).vitals()
    assert (vitals["jumps"], vitals["uneven_audio"]) == (0, 0)
    assert vitals["media_rate"] == pytest.approx(1.0)
    assert vitals["gops_s"] == [2.0] * 5


def test_pauses_of_over_a_second_are_stalls() -> None:
    course = Course().run(3)
    course.pause(0.9)  # and 0.02
    course.run(1)
    assert course.vitals()["stalls"] == 0
    course.pause(5)
    course.run(1)
    vitals = course.vitals()
    assert (vitals["stalls"], vitals["stalls_10min"], vitals["jumps"]) == (1, 1, 0)
    course.run(600)
    assert (course.vitals()["stalls"], course.vitals()["stalls_10min"]) == (1, 0)


def test_data_is_no_media() -> None:
    course = Course().run(3)
    for _ in range(5):
        course.stage.clock.advance(1)
        course.stage.publish(data(amf0.encode("onTextData", {"text": "x" * 1000})))
    assert course.vitals()["silence_s"] == pytest.approx(5.02)
    assert course.vitals()["bitrates"][-1] > 8000
    course.time_ms += 5000
    course.run(1)
    assert course.vitals()["stalls"] == 1


@pytest.mark.parametrize("lead_ms", [400, -300])
def test_sound_ahead_of_the_picture_or_behind(lead_ms: int) -> None:
    course = Course(shift_ms=1000)
    course.audio_lead_ms = lead_ms
    assert course.run(10).vitals()["av_offset_s"] == pytest.approx(lead_ms / 1000)


def test_sound_that_jumps_alone_is_an_offset_at_once() -> None:
    course = Course().run(10)
    course.audio_lead_ms = 5000
    vitals = course.run(2).vitals()
    assert vitals["jumps"] == 1
    assert vitals["av_offset_s"] == pytest.approx(5.0)


def test_few_pictures_a_second_are_no_offset() -> None:
    course = Course()
    course.with_video = False
    for second in range(10):
        course.stage.publish(picture(second * 1000, True))
        course.run(1)
    vitals = course.vitals()
    assert abs(vitals["av_offset_s"]) <= 0.02
    assert vitals["jumps"] == vitals["stalls"] == 0
    assert vitals["gops_s"] == [1.0] * MAX_GOPS


def test_sound_that_ceased_is_no_offset() -> None:
    course = Course().run(10)
    course.with_audio = False
    course.run(15)
    vitals = course.vitals()
    assert vitals["av_offset_s"] is None
    assert vitals["media_rate"] == pytest.approx(1.0)


def test_sound_alone() -> None:
    course = Course(headers=(AAC,))
    course.with_video = False
    vitals = course.run(10).vitals()
    assert [one["kind"] for one in vitals["tracks"]] == ["audio"]
    assert vitals["media_rate"] == pytest.approx(1.0)
    assert vitals["jitter_s"] == pytest.approx(0.0, abs=0.001)
    assert vitals["keyframe_age_s"] is None


def test_uneven_sound() -> None:
    course = Course().run(2)
    course.with_audio = False
    course.run(0.1)
    course.with_audio = True
    course.run(3)
    assert course.vitals()["uneven_audio"] == 1
    assert course.run(61).vitals()["uneven_audio"] == 0


def test_headers_that_are_not_understood_are_counted_once_each() -> None:
    course = Course(headers=(AAC, video(b"\x17\0\0\0\0nothing"))).run(2)
    vitals = course.vitals()
    assert vitals["odd_headers"] == 1
    assert tracks_of(vitals)["video", 0]["configured"] is False
    course.stage.publish(video(b"\x17\0\0\0\0nothing"))
    assert course.run(2).vitals()["odd_headers"] == 1
    course.stage.publish(sound(b"\xaf\0"))
    course.run(2)
    assert course.vitals()["odd_headers"] == 2
    course.stage.publish(AVC)
    assert course.run(2).vitals()["odd_headers"] == 2
    assert tracks_of(course.vitals())["video", 0]["profile"] == "High"


def test_metadata_is_shown() -> None:
    course = Course()
    assert course.vitals()["metadata"] == {}
    course.stage.publish(data(amf0.encode("onMetaData", {"framerate": 60.0, "secret": "x"})))
    shown = course.vitals()["metadata"]
    assert shown == {"framerate": 60.0}
    shown.clear()
    assert course.vitals()["metadata"] == {"framerate": 60.0}
    course.stage.publish(data(amf0.encode("@clearDataFrame", "onMetaData")))
    assert course.vitals()["metadata"] == {}


def test_what_is_let_go_of_was_counted_before() -> None:
    course = Course()
    course.stage.clock.advance(0.1)
    course.stage.batch(many(500, 3000))  # fills segments within one second
    course.stage.publish(picture(600, True))
    course.stage.batch(many(500, 3000))
    course.stage.publish(picture(1200, True))
    output = course.stage.output()
    assert output.log.begin > 0
    vitals = course.vitals()
    assert tracks_of(vitals)["video", 0]["frames"] == 1002
    assert tracks_of(vitals)["video", 0]["received_bytes"] > 3_000_000


def test_what_was_let_go_of_uncounted_is_left_out() -> None:
    course = Course()
    vitals = course.stage.channel.contents.vitals
    course.stage.batch(many(500, 3000))
    course.stage.publish(picture(600, True))
    vitals.adopt({**vitals.snapshot(), "position": 0})
    vitals.take(course.stage.output().log)
    assert course.vitals()["keyframes"] >= 1


def test_what_is_read_late_counts_for_the_seconds_in_which_it_came() -> None:
    course, late = Course(), Course()
    late.stage.channel.contents.vitals.due_at = 1e9
    assert late.run(5).vitals() == course.run(5).vitals()


MESSAGES = st.one_of(
    st.builds(lambda body, time: video(body, time), st.binary(max_size=40), st.integers(0, (1 << 32) - 1)),
    st.builds(lambda body, time: sound(body, time), st.binary(max_size=40), st.integers(0, (1 << 32) - 1)),
    st.builds(lambda body: data(body), st.binary(max_size=40)),
    st.just(inter("x", 5)),
)


@given(st.lists(st.tuples(st.lists(MESSAGES, max_size=6), st.integers(0, 3000)), max_size=20))
def test_any_messages_are_taken(batches: list[tuple[list[Message], int]]) -> None:
    stage = Stage(chunk_size=1 << 16)
    for batch, passed_ms in batches:
        stage.batch(batch)
        stage.clock.advance(passed_ms / 1000)
        vitals = stage.channel.vitals()
        assert vitals is not None
        assert len(vitals["tracks"]) <= 16
    assert stage.hand_over().channel.vitals() is not None

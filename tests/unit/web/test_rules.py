"""What may be wrong with a stream: each rule at both sides of each of its bounds."""

from __future__ import annotations

import pytest

from rtmpsrv.monitor.values import ChannelValue
from rtmpsrv.web import rules
from rtmpsrv.web.rules import Finding, Rule, subject
from tests.doubles.monitor_values import audio, on_air, video, vitals

OBS_INTERVAL = 'Set "Keyframe Interval" to 2 s in the encoder (OBS: Settings, Output, Streaming).'


def apply(rule: Rule, channel: ChannelValue) -> Finding | None:
    assert channel["vitals"] is not None
    return rule(subject(channel, channel["vitals"]))


def finding(rule: Rule, **changes: object) -> Finding | None:
    return apply(rule, on_air("c", vitals=vitals(**changes)))


def severity(rule: Rule, **changes: object) -> str | None:
    found = finding(rule, **changes)
    if found is None:
        return None
    assert found.rule == rule.__name__
    assert found.sentence.endswith(".")
    return found.severity


def sentence(rule: Rule, **changes: object) -> str:
    found = finding(rule, **changes)
    assert found is not None
    return found.sentence


@pytest.mark.parametrize(
    ("gops", "expected"),
    [
        ([], None), ([4.0], None), ([4.01], "warning"), ([10.0], "warning"), ([10.01], "bad"),
        ([12.0, 2.0, 2.0, 2.0], None), ([12.0, 2.0, 2.0], "bad"),
    ],
)  # fmt: skip
def test_gops_are_long_by_the_longest_of_the_last_three(gops: list[float], expected: str | None) -> None:
    assert severity(rules.gop_long, gops_s=gops) == expected


def test_a_long_gop_is_said_with_what_to_do() -> None:
    assert sentence(rules.gop_long, gops_s=[8.333] * 3) == (
        f"Keyframes come every 8.3 s: viewers wait up to 8.3 s to join. {OBS_INTERVAL}"
    )


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"keyframe_age_s": 10.0}, None),
        ({"keyframe_age_s": 10.01}, "bad"),
        ({"keyframe_age_s": 16.6, "gops_s": [8.3] * 3}, None),  # twice the usual one
        ({"keyframe_age_s": 16.7, "gops_s": [8.3] * 3}, "bad"),
        ({"keyframe_age_s": 10.01, "gops_s": []}, "bad"),
        ({"keyframe_age_s": None, "gops_s": [], "age_s": 10.0}, None),
        ({"keyframe_age_s": None, "gops_s": [], "age_s": 10.01}, "bad"),
        ({"keyframe_age_s": None, "tracks": [audio()]}, None),  # radio
        ({"keyframe_age_s": None, "tracks": [video(frames=0)]}, None),
    ],
)
def test_keyframes_are_missed(changes: dict[str, object], expected: str | None) -> None:
    assert severity(rules.keyframes_missing, **changes) == expected


def test_missing_keyframes_are_told_by_what_has_come() -> None:
    assert "for 25 s: who joins now sees no picture. Set" in sentence(
        rules.keyframes_missing, keyframe_age_s=25.0
    )
    never = sentence(rules.keyframes_missing, keyframe_age_s=None, gops_s=[])
    assert never == f"No keyframe has come since the stream began: nobody sees a picture. {OBS_INTERVAL}"
    over = sentence(rules.keyframes_missing, keyframe_age_s=25.0, tracks=[video(bitrate_10s=0), audio()])
    assert over.startswith("The picture has stopped")


@pytest.mark.parametrize(
    ("gops", "expected"),
    [
        ([0.4] * 2, None),
        ([0.49] * 3, "warning"),
        ([0.5] * 3, None),
        ([0.1, 0.1, 2.0], None),
        ([0.0] * 3, "warning"),
    ],
)
def test_gops_are_short_if_the_last_three_are(gops: list[float], expected: str | None) -> None:
    assert severity(rules.gop_short, gops_s=gops) == expected


def test_short_gops_are_said_as_keyframes_a_second() -> None:
    said = sentence(rules.gop_short, gops_s=[0.2] * 3)
    assert said == f"Keyframes come 5 times a second: they eat the bitrate. {OBS_INTERVAL}"


@pytest.mark.parametrize(
    ("gops", "expected"),
    [
        ([1.5, 3.0, 2.0], None), ([1.5, 3.01, 2.0], "warning"), ([1.0, 3.0, 2.0], None),
        ([1.01, 3.0, 2.0], "warning"),
        ([1.5, 4.0], None),
    ],
)  # fmt: skip
def test_gops_are_uneven_if_one_is_twice_another(gops: list[float], expected: str | None) -> None:
    assert severity(rules.gop_uneven, gops_s=gops) == expected


def test_uneven_gops_are_said_with_both_lengths() -> None:
    assert "distances, 1.5 to 4 s: switch off" in sentence(rules.gop_uneven, gops_s=[1.5, 4.0, 2.0])


@pytest.mark.parametrize(
    ("width", "height", "fps", "megabits", "expected"),
    [
        (640, 360, 30.0, 4.0, None), (640, 360, 30.0, 4.1, "warning"),
        (854, 480, 30.0, 4.1, "warning"), (960, 544, 30.0, 4.1, None),
        (1280, 720, 60.0, 8.0, None), (1280, 720, 60.0, 8.1, "warning"),
        (1920, 1080, 30.0, 8.0, None), (1920, 1080, 30.0, 8.1, "warning"), (1080, 1920, 35.0, 8.1, "warning"),
        (1920, 1080, 36.0, 12.0, None), (1920, 1080, 60.0, 12.1, "warning"),
        (2560, 1440, 30.0, 25.0, None), (2560, 1440, 30.0, 25.1, "warning"),
        (2560, 1440, 60.0, 30.1, "warning"),
        (3840, 2160, 30.0, 35.1, "warning"), (3840, 2160, 60.0, 40.0, None),
        (3840, 2160, 60.0, 40.1, "warning"),
        (None, None, 30.0, 90.0, None), (1920, 1080, None, 8.1, "warning"),
        (7680, 4320, 60.0, 41.0, "warning"),
    ],
)  # fmt: skip
def test_bitrates_are_high_for_a_size(
    width: int | None, height: int | None, fps: float | None, megabits: float, expected: str | None
) -> None:
    rate = int(megabits * 1e6)
    track = video(width=width, height=height, fps=fps, declared_fps=None, bitrate_10s=rate, bitrate_60s=rate)
    assert severity(rules.bitrate_high, tracks=[track, audio()]) == expected


def test_a_burst_of_ten_seconds_is_no_high_bitrate_but_a_new_stream_is_judged_by_it() -> None:
    assert severity(rules.bitrate_high, tracks=[video(bitrate_10s=14_000_000)]) is None
    assert severity(rules.bitrate_high, tracks=[video(bitrate_10s=14_000_000, bitrate_60s=0)]) == "warning"


def test_a_high_bitrate_is_said_with_what_is_usual() -> None:
    track = video(bitrate_10s=14_200_000, bitrate_60s=14_000_000)
    assert sentence(rules.bitrate_high, tracks=[track]) == (
        "14 Mb/s at 1080p30: many viewers' lines cannot follow; 3-8 Mb/s is usual. "
        "Lower the bitrate in the encoder (OBS: Settings, Output)."
    )


def test_more_than_the_channel_may_have_is_bad() -> None:
    at_it = on_air("c", max_bitrate=4_500_000)
    assert apply(rules.bitrate_high, at_it) is None
    over = apply(rules.bitrate_high, on_air("c", max_bitrate=4_000_000))
    assert over is not None
    assert over.severity == "bad"
    assert over.sentence.startswith("The stream has 4.5 Mb/s, more than this channel's limit of 4 Mb/s.")
    assert (
        apply(rules.bitrate_high, on_air("c", max_bitrate=9_000_000, vitals=vitals(tracks=[audio()]))) is None
    )


@pytest.mark.parametrize(
    ("changes", "no_audio", "announced"),
    [
        ({}, None, None),
        ({"tracks": [video()], "age_s": 5.0}, None, None),
        ({"tracks": [video()], "age_s": 5.01}, "warning", None),
        ({"tracks": [video()], "metadata": {"audiocodecid": 0.0}}, "warning", None),
        ({"tracks": [video()], "metadata": {"audiocodecid": 10.0}}, None, "bad"),
        ({"tracks": [video()], "metadata": {"audiocodecid": "mp4a"}, "age_s": 5.0}, None, None),
        ({"tracks": [video(), audio(frames=0)]}, None, "bad"),
        ({"tracks": [video(), audio(frames=0)], "age_s": 5.0}, None, None),
        ({"tracks": [video(), audio(bitrate_10s=0)]}, "warning", None),  # it ended
        ({"tracks": [video(bitrate_10s=0), audio(bitrate_10s=0)]}, None, None),  # that is silence
        ({"tracks": [audio(bitrate_10s=0)]}, None, None),
        ({"tracks": [], "metadata": {}}, "warning", None),
    ],
)
def test_sound_is_missed(changes: dict[str, object], no_audio: str | None, announced: str | None) -> None:
    assert severity(rules.no_audio, **changes) == no_audio
    assert severity(rules.audio_announced, **changes) == announced


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, None),
        ({"tracks": [audio()], "age_s": 5.0}, None),
        ({"tracks": [audio()], "age_s": 5.01}, "warning"),
        ({"tracks": [audio(), video(frames=0)]}, "warning"),
        ({"tracks": [video(bitrate_10s=0), audio()]}, None),  # it ended: keyframes are missing
        ({"tracks": [audio(frames=0)]}, None),
        ({"tracks": []}, None),
    ],
)
def test_a_picture_is_missed(changes: dict[str, object], expected: str | None) -> None:
    assert severity(rules.no_video, **changes) == expected


def test_a_picture_that_was_announced_is_told_from_none() -> None:
    never = sentence(rules.no_video, tracks=[audio()], metadata={"videocodecid": 0.0})
    assert never.startswith("There is no picture, only sound.")
    announced = sentence(rules.no_video, tracks=[audio()], metadata={"videocodecid": 7.0})
    assert announced.startswith("The encoder announces a picture and sends none")


def test_sound_that_ended_is_told_from_sound_that_never_was() -> None:
    assert sentence(rules.no_audio, tracks=[video()]) == "There is no sound. Check the encoder's audio track."
    ended = sentence(rules.no_audio, tracks=[video(), audio(bitrate_10s=0)])
    assert ended.startswith("The sound has stopped, only the picture arrives.")
    silent = sentence(rules.audio_announced, tracks=[video(), audio(frames=0)])
    assert silent.startswith("The encoder announces sound and sends none: browsers wait for it.")


@pytest.mark.parametrize(
    ("hertz", "profile", "expected"),
    [
        (48_000, "LC", None), (44_100, "LC", None), (22_050, "LC", "warning"), (96_000, "LC", "warning"),
        (None, "LC", None),
        (22_050, "HE-AAC", None), (24_000, "HE-AACv2", None), (16_000, "HE-AAC", "warning"),
    ],
)  # fmt: skip
def test_sound_has_usual_rates(hertz: int | None, profile: str, expected: str | None) -> None:
    tracks = [video(), audio(sample_rate=hertz, profile=profile)]
    assert severity(rules.sample_rate, tracks=tracks) == expected


def test_an_unusual_rate_is_said_exactly() -> None:
    said = sentence(rules.sample_rate, tracks=[audio(sample_rate=22_050)])
    assert said.startswith("22.05 kHz sound: some players refuse it; 48 kHz is usual")
    assert severity(rules.sample_rate, tracks=[video()]) is None


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"odd_headers": 1}, "warning"),
        ({"tracks": [video(configured=False), audio()]}, "bad"),
        ({"tracks": [video(), audio(configured=False)]}, "bad"),
        ({"tracks": [video(), audio(configured=False, frames=0)]}, None),
        ({"tracks": [video(), audio(configured=False, codec="MPEG-1/2 Audio")]}, None),
        ({"tracks": []}, None),
    ],
)
def test_headers_are_odd_or_missing(changes: dict[str, object], expected: str | None) -> None:
    assert severity(rules.odd_headers, **changes) == expected


def test_odd_headers_are_said_by_what_they_are_of() -> None:
    assert "described its picture or sound twice in a way" in sentence(rules.odd_headers, odd_headers=2)
    assert "sends its picture without" in sentence(rules.odd_headers, tracks=[video(configured=False)])
    assert "sends its sound without" in sentence(rules.odd_headers, tracks=[audio(configured=False)])


@pytest.mark.parametrize(
    ("changes", "begins"),
    [
        ({"tracks": [video(codec="H265"), audio()]}, "HEVC: Safari and some Chromes only."),
        ({"tracks": [video(), audio(codec="Opus")]}, "Opus sound: not in every player."),
    ],
)
def test_codecs_that_not_everybody_plays_are_told(changes: dict[str, object], begins: str) -> None:
    assert severity(rules.codec, **changes) == "info"
    assert sentence(rules.codec, **changes).startswith(begins)


@pytest.mark.parametrize(
    "tracks", [[], [video(), audio()], [video(codec="H265", frames=0)], [video(codec="")]]
)
def test_other_codecs_are_not_told(tracks: list[object]) -> None:
    assert severity(rules.codec, tracks=tracks) is None


def test_of_several_tracks_the_first_of_a_kind_is_judged() -> None:
    second = audio(track=1, sample_rate=16_000)
    assert severity(rules.sample_rate, tracks=[second, video(), audio()]) is None

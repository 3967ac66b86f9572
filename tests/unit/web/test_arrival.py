"""How a stream arrives: each rule at both sides of each of its bounds."""

from __future__ import annotations

import pytest

from rtmpsrv.web import arrival
from tests.doubles.monitor_values import audio, video

from .test_rules import sentence, severity


@pytest.mark.parametrize(
    ("share", "expected"),
    [
        (None, None),
        (1.2, None),
        (0.97, None),
        (0.969, "warning"),
        (0.85, "warning"),
        (0.849, "bad"),
        (0.0, "bad"),
    ],
)
def test_a_stream_is_starved(share: float | None, expected: str | None) -> None:
    assert severity(arrival.starved, media_rate=share) == expected


@pytest.mark.parametrize(("silence_s", "expected"), [(None, "bad"), (0.5, "bad"), (0.51, None)])
def test_a_pause_is_not_taken_for_something_else(silence_s: float | None, expected: str | None) -> None:
    assert severity(arrival.starved, media_rate=0.5, silence_s=silence_s) == expected
    assert severity(arrival.fps_low, tracks=[video(fps=10.0)], silence_s=silence_s) == expected


def test_a_starved_stream_is_told_its_share() -> None:
    assert sentence(arrival.starved, media_rate=0.86).startswith(
        "The stream arrives slower than it plays (86%): "
    )


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"silence_s": 2.0}, None), ({"silence_s": 2.01}, "warning"), ({"silence_s": 5.0}, "warning"),
        ({"silence_s": 5.01}, "bad"), ({"silence_s": None, "age_s": 2.0}, None),
        ({"silence_s": None, "age_s": 6.0}, "bad"),
    ],
)  # fmt: skip
def test_silence_is_judged_by_its_length(changes: dict[str, object], expected: str | None) -> None:
    assert severity(arrival.silence, **changes) == expected


def test_silence_is_said_in_seconds() -> None:
    said = "Nothing has arrived for 6 s: the encoder hangs or lost its network."
    assert sentence(arrival.silence, silence_s=6.02) == said


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"fps": 57.0, "declared_fps": 60.0}, None), ({"fps": 56.9, "declared_fps": 60.0}, "warning"),
        ({"fps": 48.0, "declared_fps": 60.0}, "warning"), ({"fps": 47.9, "declared_fps": 60.0}, "bad"),
        ({"fps": 41.0, "declared_fps": 30.0}, None), ({"fps": None}, None),
        ({"fps": 1.0, "bitrate_10s": 0}, None),
        ({"fps": 28.5, "declared_fps": None, "frames": 18_000}, None),  # 30 on the average of 600 s
        ({"fps": 28.4, "declared_fps": None, "frames": 18_000}, "warning"),
        ({"fps": 23.9, "declared_fps": 0.0, "frames": 18_000}, "bad"),
    ],
)  # fmt: skip
def test_pictures_are_too_few(changes: dict[str, object], expected: str | None) -> None:
    assert severity(arrival.fps_low, tracks=[video(**changes), audio()], metadata={}) == expected


@pytest.mark.parametrize(
    ("header", "metadata", "expected"),
    [
        (None, 60.0, "bad"), (60.0, None, "bad"), (90000.0, 30.0, None), (30.0, 60.0, None),
        (60.0, "30", "bad"), (0.0, 0.0, None), (None, -30.0, None),
    ],
)  # fmt: skip
def test_of_two_rates_that_are_announced_the_smaller_one_counts(
    header: float | None, metadata: object, expected: str | None
) -> None:
    said = {} if metadata is None else {"framerate": metadata}
    tracks = [video(fps=30.0, declared_fps=header, frames=18_000)]
    assert severity(arrival.fps_low, tracks=tracks, metadata=said) == expected


def test_the_average_counts_only_when_it_is_one() -> None:
    track = video(fps=20.0, declared_fps=None, frames=900)
    assert severity(arrival.fps_low, tracks=[track], metadata={}, age_s=29.9) is None
    assert severity(arrival.fps_low, tracks=[track], metadata={}, age_s=30.0) == "bad"
    assert severity(arrival.fps_low, tracks=[audio()]) is None


def test_pictures_are_counted_in_the_sentence() -> None:
    said = sentence(arrival.fps_low, tracks=[video(fps=41.3, declared_fps=60.0)], metadata={})
    assert said.startswith("The encoder sends 41 of 60 pictures a second: it is overloaded.")
    assert "4.6 of 5.0" in sentence(arrival.fps_low, tracks=[video(fps=4.6, declared_fps=5.0)], metadata={})


@pytest.mark.parametrize(
    ("now", "expected"),
    [
        (1_600_000, None), (1_610_000, "warning"), (2_500_000, "warning"), (2_510_000, "bad"),
        (600_000, None), (590_000, "warning"), (300_000, "warning"), (290_000, "bad"), (0, None),
    ],
)  # fmt: skip
def test_bitrates_are_steady_around_what_is_usual(now: int, expected: str | None) -> None:
    assert severity(arrival.bitrate_unsteady, bitrates=[1_000_000] * 60, bitrate_10s=now) == expected


def test_a_bitrate_is_unsteady_only_after_some_time_and_only_if_it_is_one() -> None:
    assert severity(arrival.bitrate_unsteady, bitrates=[1_000_000] * 19, bitrate_10s=9_000_000) is None
    assert severity(arrival.bitrate_unsteady, bitrates=[1_000_000] * 20, bitrate_10s=9_000_000) == "bad"
    assert severity(arrival.bitrate_unsteady, bitrates=[9_000] * 60, bitrate_10s=99_999) is None
    assert severity(arrival.bitrate_unsteady, bitrates=[9_000] * 60, bitrate_10s=100_000) == "bad"
    assert severity(arrival.bitrate_unsteady, bitrates=[0] * 60, bitrate_10s=1_000_000) == "bad"


@pytest.mark.parametrize(("age_s", "expected"), [(20.9, None), (21.0, "warning"), (30.9, "warning")])
def test_what_was_before_the_stream_began_is_not_part_of_it(age_s: float, expected: str | None) -> None:
    seconds = [0] * 40 + [1_000_000] * 20
    assert (
        severity(arrival.bitrate_unsteady, bitrates=seconds, bitrate_10s=2_000_000, age_s=age_s) == expected
    )
    assert severity(arrival.bitrate_unsteady, bitrates=seconds, bitrate_10s=1_000_000, age_s=age_s) is None


def test_a_still_picture_with_rare_keyframes_is_steady() -> None:
    seconds = ([4_000_000] + [50_000] * 4) * 12
    assert severity(arrival.bitrate_unsteady, bitrates=seconds, bitrate_10s=sum(seconds[-10:]) // 10) is None


def test_an_unsteady_bitrate_is_said_with_both_ends() -> None:
    seconds = [7_000_000] * 40 + [900_000] * 20
    said = sentence(arrival.bitrate_unsteady, bitrates=seconds, bitrate_10s=900_000)
    assert said == "The bitrate swings between 0.9 and 7 Mb/s: use CBR (OBS: Settings, Output, Rate Control)."


@pytest.mark.parametrize(
    ("offset", "expected"),
    [
        (None, None), (0.2, None), (0.21, "warning"), (-0.2, None), (-0.21, "warning"), (1.0, "warning"),
        (1.01, "bad"),
        (-1.01, "bad"),
    ],
)  # fmt: skip
def test_sound_and_picture_are_apart(offset: float | None, expected: str | None) -> None:
    assert severity(arrival.av_offset, av_offset_s=offset) == expected


def test_which_of_the_two_is_ahead_is_said() -> None:
    assert sentence(arrival.av_offset, av_offset_s=0.4).startswith(
        "Sound is 0.4 s ahead of the picture. Check"
    )
    assert sentence(arrival.av_offset, av_offset_s=-1.2).startswith(
        "Sound is 1.2 s behind the picture. Check"
    )


@pytest.mark.parametrize(("count", "expected"), [(0, None), (1, "warning"), (3, "warning"), (4, "bad")])
def test_jumps_are_counted(count: int, expected: str | None) -> None:
    assert severity(arrival.time_jumps, jumps_10min=count, last_jump_s=12.0) == expected


@pytest.mark.parametrize(
    ("count", "last", "begins"),
    [
        (1, 12.0, "The encoder's clock jumped by 12 s: players may stall."),
        (1, -3.5, "The encoder's clock jumped back by 3.5 s: "),
        (4, -600.0, "The encoder's clock jumped 4 times in 10 minutes, at last back by 10 min: "),
        (1, None, "The encoder's clock jumped by 0 s: "),
    ],
)
def test_a_jump_is_said_with_how_far(count: int, last: float | None, begins: str) -> None:
    assert sentence(arrival.time_jumps, jumps_10min=count, last_jump_s=last).startswith(begins)


@pytest.mark.parametrize(("count", "expected"), [(2, None), (3, "warning"), (1000, "warning")])
def test_times_of_the_sound_are_uneven(count: int, expected: str | None) -> None:
    assert severity(arrival.audio_uneven, uneven_audio=count) == expected


@pytest.mark.parametrize(
    ("seconds", "expected"), [(None, None), (0.5, None), (0.51, "warning"), (2.0, "warning"), (2.01, "bad")]
)
def test_media_comes_in_bursts(seconds: float | None, expected: str | None) -> None:
    assert severity(arrival.jitter, jitter_s=seconds) == expected


@pytest.mark.parametrize(("count", "expected"), [(1, None), (2, "warning"), (5, "warning"), (6, "bad")])
def test_pauses_are_counted(count: int, expected: str | None) -> None:
    assert severity(arrival.stalls, stalls_10min=count, stalls=99) == expected


def test_bursts_and_pauses_are_said_with_their_numbers() -> None:
    assert "in bursts, 0.8 s off its time: " in sentence(arrival.jitter, jitter_s=0.8)
    assert "paused 3 times in 10 minutes, over a second each" in sentence(arrival.stalls, stalls_10min=3)

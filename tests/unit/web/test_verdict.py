"""The verdict on a stream: the order of what is found, what follows from what, and how long it holds."""

from __future__ import annotations

from typing import Any

import pytest

from rtmpsrv.monitor.values import ChannelValue
from rtmpsrv.web import verdict
from rtmpsrv.web.verdict import RULES, Verdicts, findings
from tests.doubles.monitor_values import audio, on_air, video, vitals, waited_for

LONG: dict[str, Any] = {"gops_s": [8.3] * 3}
LONGER: dict[str, Any] = {"gops_s": [12.0] * 3}
HEVC: dict[str, Any] = {"tracks": [video(codec="H265"), audio()]}


def channel(name: str = "c", publication: int = 7, **changes: object) -> ChannelValue:
    return on_air(name, publication=publication, vitals=vitals(**changes))


def found(**changes: Any) -> list[str]:
    return [finding.rule for finding in findings(channel(**changes))]


def test_nothing_is_wrong_with_a_stream_that_is_well() -> None:
    assert findings(channel()) == []


def test_each_rule_reports_under_its_own_name() -> None:
    assert len(set(RULES)) == len(RULES) == 20
    assert all(name == rule.__name__ for name, rule in verdict._RULES.items())


def test_the_worst_comes_first_and_then_the_order_of_the_table() -> None:
    everything = {**LONG, "media_rate": 0.5, "odd_headers": 1, "uneven_audio": 9, **HEVC}
    assert found(**everything) == ["starved", "gop_long", "audio_uneven", "odd_headers", "codec"]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"silence_s": 12.0, "keyframe_age_s": 12.0, "jitter_s": 9.0}, ["silence"]),
        ({"silence_s": 6.0, "stalls_10min": 9, "gops_s": [12.0]}, ["gop_long", "silence"]),
        ({"silence_s": 3.0, "stalls_10min": 9}, ["stalls", "silence"]),  # what is worse is told
        ({"media_rate": 0.8, "tracks": [video(fps=10.0), audio()], "stalls_10min": 9}, ["starved"]),
        ({"jitter_s": 0.6, "tracks": [video(fps=28.0), audio()]}, ["jitter"]),
        ({"jitter_s": 0.6, "tracks": [video(fps=10.0), audio()]}, ["fps_low", "jitter"]),
        ({"jumps_10min": 1, "last_jump_s": 9.0, "uneven_audio": 3}, ["time_jumps"]),
        ({**HEVC, "av_offset_s": 0.5}, ["av_offset", "codec"]),
    ],
)
def test_what_follows_from_something_else_is_not_told(changes: dict[str, Any], expected: list[str]) -> None:
    assert found(**changes) == expected


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        (waited_for("c"), "Nobody publishes here."),
        (on_air("c", vitals=None), "Nobody publishes here."),
        (on_air("c", suspended=True), "The publisher is gone: the viewers wait for it to come back."),
    ],
)
def test_a_channel_without_a_publisher_is_offline(value: ChannelValue, sentence: str) -> None:
    assert findings(value) == []
    assert Verdicts().judge(value, 0.0) == ("offline", "", sentence, ())


def test_a_stream_that_is_well_is_good() -> None:
    assert Verdicts().judge(channel(), 0.0) == ("good", "", "Picture and sound arrive as they should.", ())


def test_what_is_only_worth_knowing_leaves_it_good() -> None:
    said = Verdicts().judge(channel(**HEVC), 0.0)
    assert (said.state, said.rule) == ("good", "")
    assert [finding.severity for finding in said.findings] == ["info"]


def test_a_stream_is_starting_for_ten_seconds_whatever_is_found() -> None:
    verdicts = Verdicts()
    said = verdicts.judge(channel(age_s=9.9, silence_s=6.0), 0.0)
    assert (said.state, said.rule, said.findings[0].rule) == ("starting", "", "silence")
    assert verdicts.judge(channel(age_s=10.0, silence_s=6.1), 0.1).state == "bad"


def test_a_picture_is_good_after_two_gops_and_sound_alone_is_not() -> None:
    assert Verdicts().judge(channel(age_s=20.0, gops_s=[2.0]), 0.0).state == "starting"
    assert Verdicts().judge(channel(age_s=20.0, gops_s=[2.0, 2.0]), 0.0).state == "good"
    assert Verdicts().judge(channel(age_s=10.0, gops_s=[], tracks=[audio()]), 0.0).rule == "no_video"


def test_it_gets_worse_at_once_and_better_after_ten_seconds() -> None:
    verdicts = Verdicts()
    states = [
        (0.0, channel(), "good"),
        (1.0, channel(**LONG), "warning"),
        (2.0, channel(**LONGER), "bad"),
        (3.0, channel(), "bad"),
        (11.5, channel(**LONG), "bad"),
        (12.0, channel(), "warning"),
        (21.4, channel(), "warning"),
        (21.5, channel(), "good"),
    ]
    assert [verdicts.judge(value, now).state for now, value, _ in states] == [state for _, _, state in states]


def test_what_is_held_is_told_first_and_only_once() -> None:
    verdicts = Verdicts()
    verdicts.judge(channel(**LONGER), 0.0)
    said = verdicts.judge(channel(**LONG, uneven_audio=9), 5.0)
    assert (said.state, said.rule) == ("bad", "gop_long")
    assert said.sentence.startswith("Keyframes come every 12 s")
    assert [(finding.rule, finding.severity) for finding in said.findings] == [
        ("gop_long", "bad"), ("audio_uneven", "warning"),
    ]  # fmt: skip


def test_of_two_that_are_equally_bad_the_first_of_the_table_is_told() -> None:
    said = Verdicts().judge(channel(**LONG, uneven_audio=9), 0.0)
    assert (said.rule, len(said.findings)) == ("gop_long", 2)


@pytest.mark.parametrize(
    "between", [waited_for("c"), channel(publication=8), channel(age_s=1.0), on_air("c", suspended=True)]
)
def test_another_publication_begins_anew(between: ChannelValue) -> None:
    verdicts = Verdicts()
    assert verdicts.judge(channel(**LONGER), 0.0).state == "bad"
    verdicts.judge(between, 1.0)
    assert verdicts.judge(channel(publication=8), 2.0).state == "good"
    assert verdicts.describe() == {"held": 0}


def test_channels_are_held_apart() -> None:
    verdicts = Verdicts()
    verdicts.judge(channel("a", **LONGER), 0.0)
    assert verdicts.judge(channel("b"), 1.0).state == "good"
    assert verdicts.judge(channel("a"), 1.0).state == "bad"


def test_only_so_many_are_held_and_the_one_asked_for_least_recently_goes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(verdict, "MAX_CHANNELS", 2)
    verdicts = Verdicts()
    for name in ("a", "b", "a", "c"):
        verdicts.judge(channel(name, **LONGER), 0.0)
    assert verdicts.describe() == {"held": 2}
    assert [verdicts.judge(channel(name), 1.0).state for name in "abc"] == ["bad", "good", "bad"]


def test_what_is_well_holds_nothing() -> None:
    verdicts = Verdicts()
    verdicts.judge(channel(), 0.0)
    assert verdicts.describe() == {"held": 0}

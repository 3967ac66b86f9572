"""Whether the page about verdicts is true: its rules, their order, and their bounds."""

from __future__ import annotations

import pytest

from rtmpsrv.web import arrival, rules, verdict
from tests.pages import page, rows


def table() -> dict[str, tuple[str, str]]:
    found = rows(page("verdicts.md"), 4)
    return {rule.strip("`"): (warning, bad) for rule, warning, bad, _ in found if rule.startswith("`")}


def test_all_rules_are_there_in_their_order() -> None:
    assert tuple(table()) == verdict.RULES


@pytest.mark.parametrize(
    ("rule", "warning", "bad"),
    [
        ("gop_long", f"> {rules.GOP_WARNING_S:g} s", f"> {rules.GOP_BAD_S:g} s"),
        ("keyframes_missing", "", f"> {rules.KEYFRAME_MISSING_S:g} s, or twice the usual distance"),
        ("gop_short", f"< {rules.GOP_SHORT_S:g} s", ""),
        ("gop_uneven", f"> {rules.UNEVEN_FACTOR:g} times the shortest", ""),
        ("starved", f"< {arrival.RATE_WARNING:.0%}", f"< {arrival.RATE_BAD:.0%}"),
        ("silence", f"> {arrival.SILENCE_WARNING_S:g} s", f"> {arrival.SILENCE_BAD_S:g} s"),
        ("fps_low", f"< {arrival.FPS_WARNING:.0%}", f"< {arrival.FPS_BAD:.0%}"),
        (
            "bitrate_unsteady",
            "outside {} - {}".format(*arrival.STEADY_WARNING),
            "outside {} - {}".format(*arrival.STEADY_BAD),
        ),
        ("no_audio", f"after {rules.AUDIO_MISSING_S:g} s", ""),
        ("audio_announced", "", f"after {rules.AUDIO_MISSING_S:g} s"),
        ("no_video", f"after {rules.VIDEO_MISSING_S:g} s", ""),
        ("av_offset", f"> {arrival.OFFSET_WARNING_S:g} s", f"> {arrival.OFFSET_BAD_S:g} s"),
        ("time_jumps", "any in 10 minutes", f"> {arrival.JUMPS_BAD} in 10 minutes"),
        ("audio_uneven", f"> {arrival.UNEVEN_FRAMES} in 60 s", ""),
        ("jitter", f"> {arrival.JITTER_WARNING_S:g} s", f"> {arrival.JITTER_BAD_S:g} s"),
        ("stalls", f"> {arrival.STALLS_WARNING} in 10 minutes", f"> {arrival.STALLS_BAD} in 10 minutes"),
    ],
)
def test_the_bounds_are_those_of_the_rules(rule: str, warning: str, bad: str) -> None:
    assert table()[rule] == (warning, bad)


def test_times_before_and_after_are_those_of_the_verdict() -> None:
    text = page("verdicts.md")
    assert f"for the first {verdict.STARTING_S:g} s" in text
    assert f"seen for {verdict.HELD_S:g} s" in text
    assert (verdict.STARTING_GOPS, arrival.JUMPS_WARNING) == (2, 0)

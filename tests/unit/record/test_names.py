"""Whatever channels are called, files stay in the folder and apart."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtmpsrv.record.names import is_below, path_of, safe
from rtmpsrv.record_settings import DEFAULT_PATTERN

AT = 1_700_000_000.5


@pytest.mark.parametrize(
    ("channel", "path"),
    [
        ("live", "live"),
        ("app/name", "app/name"),
        ("..", "%2E."),
        ("../../etc/passwd", "%2E./%2E./etc/passwd"),
        ("", "%"),
        ("a//b", "a/%/b"),
        ("/a", "%/a"),
        (".hidden", "%2Ehidden"),
        ("a b%\0\n", "a%20b%25%00%0A"),
        ("ü", "%C3%BC"),
        ("index.jsonl", "index%2Ejsonl"),
        ("x.part", "x%2Epart"),
        ("a/b/c/d/e/f/g/h/i/j", "a/b/c/d/e/f/g/h%2Fi%2Fj"),
    ],
)
def test_channel_becomes_a_path_below(channel: str, path: str) -> None:
    assert safe(channel) == path
    assert is_below(path)


def test_long_names_are_cut_and_stay_apart() -> None:
    first, second = safe("a" * 300), safe("a" * 301)
    assert first != second
    assert len(first) == len(second) == 120
    assert len(path_of("%path%path%path", "a" * 300, "", AT)) == 230


def test_pattern_is_filled() -> None:
    assert path_of(DEFAULT_PATTERN, "a/b", "", AT) == "a/b/2023-11-14_22-13-20Z"
    assert path_of("x%%-%path-%id-%f", "a", "../i", AT) == "x%25-a-%2E.%2Fi-500000"


@given(st.lists(st.text(), min_size=2, max_size=2, unique=True))
def test_no_two_channels_share_a_path(channels: list[str]) -> None:
    first, second = [path_of(DEFAULT_PATTERN, one, "", AT) for one in channels]
    assert first != second
    assert is_below(first)
    assert ".." not in first.split("/")


@pytest.mark.parametrize("path", ["", "/a", "a//b", "../a", "a/..", "a/./b", ".a", "a\0"])
def test_what_leads_elsewhere_is_not_below(path: str) -> None:
    assert not is_below(path)

"""Patterns of names that would let channels share files, or leave the folder, are refused."""

from __future__ import annotations

import pytest

from rtmpsrv.config import Config
from rtmpsrv.errors import ConfigError
from rtmpsrv.record_settings import DEFAULT_PATTERN, problem_of


@pytest.mark.parametrize("pattern", [DEFAULT_PATTERN, "%path", "a/%path.%id", "%%%path", "x-%path/%Y/%m/%f"])
def test_pattern_is_right(pattern: str) -> None:
    assert problem_of(pattern) == ""


@pytest.mark.parametrize(
    ("pattern", "problem"),
    [
        ("%Y", "%path is missing"),
        ("%path%x", "after % stands"),
        ("%path%", "after % stands"),
        ("/%path", "no part of it may be empty or begin with a dot"),
        ("../%path", "no part of it may"),
        ("%path//a", "no part of it may"),
        ("%path/", "no part of it may"),
        ("%path/.a", "no part of it may"),
        ("%path\n", "control characters"),
        ("%path" + "x" * 200, "more than 200 characters"),
    ],
)
def test_pattern_is_wrong(pattern: str, problem: str) -> None:
    assert problem_of(pattern).startswith(problem) or problem in problem_of(pattern)


def test_wrong_pattern_stops_the_start() -> None:
    with pytest.raises(ConfigError, match="RECORD_NAME: %path is missing"):
        Config.load({"RECORD_NAME": "%Y"}, memory_bytes=1 << 30)

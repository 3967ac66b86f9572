"""Patterns of names that would let channels share files, or leave the folder, are refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from rtmpsrv.config import Config
from rtmpsrv.errors import ConfigError
from rtmpsrv.record_settings import DEFAULT_PATTERN, lacking, problem_of
from rtmpsrv.workers import accepted


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


MISSING = "RECORD_FORMAT: mp4 needs the extra `web`: pip install '.[web]' in the folder of the sources"


def test_format_has_to_be_there_where_everything_is_recorded_in_it(monkeypatch: pytest.MonkeyPatch) -> None:
    assert lacking(Config(record=True, record_format="mp4")) == []
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert lacking(Config(record=True, record_format="mp4")) == [MISSING]
    assert lacking(Config(record=True)) == []
    assert lacking(Config(record_format="mp4")) == []


def test_manager_accepts_no_format_that_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # no `.env` of the developer
    monkeypatch.setenv("RECORD", "YES")
    monkeypatch.setenv("RECORD_FORMAT", "mp4")
    assert accepted.read(again=False).config.record_format == "mp4"
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ConfigError) as caught:
        accepted.read(again=False)
    assert caught.value.problems == [MISSING]

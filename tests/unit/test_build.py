"""Which build is under test."""

from __future__ import annotations

import os
import pkgutil
import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest

from rtmpsrv import live, media, protocol
from rtmpsrv.build import compiled
from rtmpsrv.server import intake

sys.path.append(str(Path(__file__).resolve().parents[2] / "scripts"))
measure_compiled = import_module("measure_compiled")

EXPECTED = os.environ.get("RTMPSRV_EXPECT_COMPILED") == "1"  # set by scripts/check_compiled
INTERPRETED = {  # as setup.py has them
    "rtmpsrv.live.audience",
    "rtmpsrv.live.lane",
    "rtmpsrv.live.playback",
    "rtmpsrv.protocol.amf_values",
}


def test_the_build_under_test_is_the_one_that_was_asked_for() -> None:
    assert compiled() is EXPECTED


@pytest.mark.parametrize("package", [protocol, media, live], ids=lambda package: package.__name__)
def test_a_package_is_compiled_as_a_whole_or_not_at_all(package: ModuleType) -> None:
    names = {info.name for info in pkgutil.iter_modules(package.__path__, f"{package.__name__}.")}
    files = [import_module(name).__file__ or "" for name in names - INTERPRETED]
    assert {not file.endswith(".py") for file in files} == {EXPECTED}


def test_what_the_hub_does_for_each_read_is_compiled_with_them() -> None:
    assert (not (intake.__file__ or "").endswith(".py")) is EXPECTED


def test_the_measuring_of_a_build_works(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("REPEATS", "PAIRS", "CALLS"):
        monkeypatch.setattr(measure_compiled, name, 1)
    figures = measure_compiled.measure()
    assert len(figures) == 9
    assert min(figures.values()) > 0

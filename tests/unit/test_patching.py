from __future__ import annotations

from importlib import metadata
from typing import Any

import pytest
from gevent import monkey

from rtmpsrv.patching import patch_all

GROUPS = ("gevent.plugins.monkey.will_patch_all", "console_scripts", "gevent.plugins.monkey.will_patch_all")


def test_what_is_installed_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """However often gevent asks; and each answer is what it would have been."""
    true = metadata.entry_points
    read: list[dict[str, str]] = []
    answers: list[list[metadata.EntryPoint]] = []

    def counted(**wanted: str) -> Any:
        read.append(wanted)
        return true(**wanted)

    def ask() -> None:
        answers.extend(list(metadata.entry_points(group=group)) for group in GROUPS)

    monkeypatch.setattr(metadata, "entry_points", counted)
    monkeypatch.setattr(monkey, "patch_all", ask)
    patch_all()
    assert len(read) == 1
    assert answers == [list(true(group=group)) for group in GROUPS]
    assert answers[1], "what is installed here has commands"
    assert metadata.entry_points is counted


def test_a_failure_leaves_nothing_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    true = metadata.entry_points

    def fail() -> None:
        raise RuntimeError

    monkeypatch.setattr(monkey, "patch_all", fail)
    with pytest.raises(RuntimeError):
        patch_all()
    assert metadata.entry_points is true

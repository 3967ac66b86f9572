"""What is there, and the advice for what is not."""

from __future__ import annotations

import sys

import pytest

from rtmpsrv.extras import how_to_get, installed


def test_all_have_to_be_there_and_none_is_loaded() -> None:
    loaded = set(sys.modules)
    assert installed()
    assert installed("this", "json")
    assert not installed("json", "no_such_module")
    assert "this" not in set(sys.modules) - loaded


@pytest.mark.parametrize("extra", ["web", "workers"])
def test_advice_is_for_a_folder(extra: str) -> None:
    assert how_to_get(extra) == f"pip install '.[{extra}]' in the folder of the sources"

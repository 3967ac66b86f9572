"""What is there, and the advice for what is not."""

from __future__ import annotations

import sys

import pytest

from rtmpsrv import api_settings, http_settings
from rtmpsrv.av import process
from rtmpsrv.extras import how_to_get, installed


def test_all_have_to_be_there_and_none_is_loaded() -> None:
    loaded = set(sys.modules)
    assert installed()
    assert installed("this", "json")
    assert not installed("json", "no_such_module")
    assert "this" not in set(sys.modules) - loaded


def test_advice_is_for_a_folder() -> None:
    assert how_to_get("web") == "pip install '.[web]' in the folder of the sources"


@pytest.mark.parametrize("sentence", [api_settings.MISSING, http_settings.MISSING, process.MISSING])
def test_advice_is_the_same_everywhere(sentence: str) -> None:
    assert how_to_get("web") in sentence

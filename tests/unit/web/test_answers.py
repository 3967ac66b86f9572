"""Answers are JSON, whatever is in them, and say who is missing."""

from __future__ import annotations

import json

import pytest

from rtmpsrv.web.answers import answer, not_found, of_somebody, refusal, refused
from rtmpsrv.web.asked import Refused
from rtmpsrv.web.source import Gathered


def test_an_answer_is_compact_json_without_a_word_on_workers() -> None:
    response = answer({"name": "ü<b>", "items": [1, None]})
    assert response.status_code == 200
    assert response.mimetype == "application/json"
    assert response.get_data() == b'{"name":"\\u00fc<b>","items":[1,null]}'
    assert "X-Missing-Workers" not in response.headers


def test_workers_that_are_missing_are_named() -> None:
    assert answer({}, ["w1", "w3"]).headers["X-Missing-Workers"] == "w1, w3"


def test_numbers_that_are_none_are_left_out() -> None:
    value = {"a": float("nan"), "b": [float("inf"), 1.5, {"c": -float("inf")}], "d": ("x", 1)}
    assert json.loads(answer(value).get_data()) == {"a": None, "b": [None, 1.5, {"c": None}], "d": ["x", 1]}


def test_a_refusal_has_the_form_of_mediamtx() -> None:
    for response in (refusal(404, "path not found"), refused(Refused(404, "path not found"))):
        assert response.status_code == 404
        assert response.mimetype == "application/json"
        assert json.loads(response.get_data()) == {"status": "error", "error": "path not found"}


def test_nobody_is_no_empty_list() -> None:
    of_somebody(Gathered([]))
    of_somebody(Gathered([], ["w1"], ["w2"]))
    with pytest.raises(Refused, match=r"^No process answered in time\.$") as caught:
        of_somebody(Gathered([], [""], []))
    assert caught.value.status == 503


@pytest.mark.parametrize(
    ("told", "status", "sentence"),
    [
        (Gathered[int]([]), 404, "path not found"),
        (Gathered[int]([], ["w1", "w2"], ["w3"]), 503, "path not found; w1, w2 did not answer in time"),
        (Gathered[int]([], [""], []), 503, "No process answered in time."),
    ],
)
def test_what_may_be_where_nobody_answered_is_not_said_to_be_nowhere(
    told: Gathered[int], status: int, sentence: str
) -> None:
    exc = not_found(told, "path not found")
    assert (exc.status, exc.sentence) == (status, sentence)

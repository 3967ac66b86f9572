from __future__ import annotations

from typing import Any

import pytest

from rtmpsrv.access import json_answer
from rtmpsrv.access.facts import Answer, Decision

YES = Decision(True)


@pytest.mark.parametrize(
    ("content_type", "counts"),
    [
        ("application/json", True),
        ("Application/JSON; charset=utf-8", True),
        ("text/html", False),
        ("application/jsonp", False),
        ("", False),
    ],
)
def test_a_body_counts_by_its_type(content_type: str, counts: bool) -> None:
    assert json_answer.is_json(Answer(200, {"content-type": content_type})) == counts
    assert not json_answer.is_json(Answer(200, {}))


@pytest.mark.parametrize("body", [b"", b"{", b"[1]", b"5", b"\xff\xfe\x00", b"[" * 100_000, b"9" * 5000])
def test_what_is_no_object_says_nothing(body: bytes) -> None:
    assert json_answer.read(body) == {}


def test_an_object_is_read() -> None:
    assert json_answer.read(b' {"a": 1}\n') == {"a": 1}


REFINED: list[tuple[dict[str, Any], Decision]] = [
    ({}, YES),
    ({"allow": False, "reason": "no plan"}, Decision(False, "no plan")),
    ({"allow": True, "stream_id": "s1"}, Decision(True, "", "s1")),
    ({"allow": "no"}, YES),
    ({"lifetime": 1500}, Decision(True, lifetime_s=1.5)),
    ({"lifetime": 0}, YES),
    ({"lifetime": -5}, YES),
    ({"lifetime": True}, YES),
    ({"lifetime": "60"}, YES),
    ({"lifetime": float("nan")}, YES),
    ({"lifetime": 10**400}, YES),
    ({"lifetime": 1e300}, Decision(True, lifetime_s=json_answer.LONGEST_S)),
    ({"limits": {"max_seconds": 7}}, Decision(True, lifetime_s=7.0)),
    ({"limits": {"max_seconds": 7}, "lifetime": 5000}, Decision(True, lifetime_s=5.0)),
    (
        {"limits": {"max_bitrate": 8_000_000, "max_players": 2}},
        Decision(True, max_bitrate=8_000_000, max_players=2),
    ),
    (
        {"limits": {"max_bitrate": 8e6, "max_players": 0.5}},
        Decision(True, max_bitrate=8_000_000, max_players=1),
    ),
    ({"limits": {"max_bitrate": 1e300}}, Decision(True, max_bitrate=json_answer.MOST)),
    ({"limits": {"max_bitrate": 0, "max_players": None, "max_seconds": 0.0}}, YES),
    ({"limits": None}, YES),
    ({"limits": [1]}, Decision(True, not_limits=("limits",))),
    ({"limits": {"max_players": True}}, Decision(True, not_limits=("max_players",))),
    ({"limits": {"max_players": False}}, Decision(True, not_limits=("max_players",))),
    ({"limits": {"max_bitrate": "8M"}}, Decision(True, not_limits=("max_bitrate",))),
    ({"limits": {"max_seconds": -1}}, Decision(True, not_limits=("max_seconds",))),
    ({"limits": {"max_bitrate": 10**400}}, Decision(True, not_limits=("max_bitrate",))),
    ({"limits": {"b\n" + "x" * 99: 1, "a": 1}}, Decision(True, not_limits=("a", "b" + "x" * 39))),
    ({"limits": dict.fromkeys("fedcba", 1)}, Decision(True, not_limits=("a", "b", "c", "d"))),
    ({"channel": "/other/"}, Decision(True, channel="other")),
    ({"channel": 5, "reason": 5, "stream_id": 5}, YES),
    ({"stream_id": "tëxt"}, YES),
    ({"stream_id": "s" * 257}, YES),
    ({"reason": "a\nb\x1b" + "c" * 300}, Decision(True, "a b " + "c" * 196)),
]


@pytest.mark.parametrize(("said", "decision"), REFINED, ids=lambda value: str(value)[:40])
def test_what_an_object_says_is_added(said: dict[str, Any], decision: Decision) -> None:
    assert json_answer.refined(YES, said) == decision


def test_a_no_stays_a_no_and_what_is_not_said_stays() -> None:
    before = Decision(False, "why", "id", "channel", 3.0, 4, 5, ("x",))
    assert json_answer.refined(before, {"allow": True}) == before

from __future__ import annotations

import pickle

import pytest

from rtmpsrv.access.facts import Approval, Facts
from rtmpsrv.access.grants import Grant, PublishRequest, granted
from tests.doubles.secrets import KEY

FACTS = Facts(name="alice")
REQUEST = PublishRequest("live", KEY, "192.0.2.1", FACTS)


@pytest.mark.parametrize(
    ("answer", "grant"),
    [
        ("s1", Grant("live", KEY, "192.0.2.1", "s1", 7, FACTS)),
        (Approval("s1"), Grant("live", KEY, "192.0.2.1", "s1", 7, FACTS)),
        (Approval("s1", "live", 5.0), Grant("live", KEY, "192.0.2.1", "s1", 7, FACTS, "", 5.0)),
        (Approval("s1", "", 0.0, 8, 9), Grant("live", KEY, "192.0.2.1", "s1", 7, FACTS, "", 0.0, 8, 9)),
        (Approval("s1", "other"), Grant("other", KEY, "192.0.2.1", "s1", 7, FACTS, "live")),
    ],
)
def test_an_answer_permits_what_was_asked_for_or_something_else(answer: str | Approval, grant: Grant) -> None:
    assert granted(REQUEST, answer, 7) == grant


def test_grants_move_and_show_no_secrets() -> None:
    grant = granted(REQUEST, "s1", 1)
    assert pickle.loads(pickle.dumps(grant)) == grant
    assert KEY not in repr(grant) + repr(REQUEST)

"""What a recorder is told, in plain values."""

from __future__ import annotations

from rtmpsrv.record.job import Job, Plan
from tests.unit.record.stage import GRANT


def test_plans_are_compared_by_what_they_say() -> None:
    plan = Plan("flv", "%path", 1000, 0)
    assert Job(GRANT, plan) == Job(GRANT, Plan("flv", "%path", 1000, 0), None)
    assert Job(GRANT, plan) != Job(GRANT, Plan("mp4", "%path", 1000, 0))

"""Whose readiness is that of the server."""

from __future__ import annotations

from typing import Any, cast

from rtmpsrv.monitor.values import ProcessValue
from rtmpsrv.web.counting import KEEPER, those_that_count
from tests.doubles.monitor_values import process

LEFT = process("w1", ready=False, not_ready=["it hands over to another process"], succeeded=True)
LAME = process("w2", ready=False, not_ready=["it drains"])


def counted(*processes: ProcessValue) -> list[str]:
    return [one["worker"] for one in those_that_count(processes)]


def test_all_count_where_nobody_has_handed_over() -> None:
    assert counted(process(KEEPER), LAME, process("w3")) == [KEEPER, "w2", "w3"]
    assert counted() == []


def test_who_has_handed_over_does_not_where_another_one_is_ready() -> None:
    assert counted(process(KEEPER), LEFT, process("w3")) == [KEEPER, "w3"]
    assert counted(process(KEEPER), LEFT, LAME, process("w3")) == [KEEPER, "w2", "w3"]


def test_it_does_where_none_is() -> None:
    assert counted(LEFT) == ["w1"]
    assert counted(process(KEEPER), LEFT, LAME) == [KEEPER, "w1", "w2"]


def test_who_does_not_say_so_counts() -> None:
    older = cast("dict[str, Any]", LEFT.copy())
    del older["succeeded"]
    assert counted(cast("ProcessValue", older), process("w3")) == ["w1", "w3"]

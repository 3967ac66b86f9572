from __future__ import annotations

from rtmpsrv.few_lines import AT_ONCE, EACH_S, FewLines


def test_some_lines_come_out_at_once_then_one_for_each_interval() -> None:
    told: list[str] = []
    now = [100.0]
    lines = FewLines(told.append, lambda: now[0])
    for number in range(AT_ONCE + 3):
        lines.add(f"{number}")
    assert told == [f"{number}" for number in range(AT_ONCE)]
    told.clear()
    now[0] += EACH_S
    for text in ("one", "two"):
        lines.add(text)
    assert told == ["one (3 like it before were not logged)"]
    now[0] += EACH_S
    lines.add("three")
    assert told[1:] == ["three (1 like it before were not logged)"]
    told.clear()
    now[0] += 1000 * EACH_S
    for number in range(2 * AT_ONCE):
        lines.add(f"{number}")
    assert told == [f"{number}" for number in range(AT_ONCE)]

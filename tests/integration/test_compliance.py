"""Whether every statement that docs/compliance.md lists has its tests."""

from __future__ import annotations

import re

from tests.server_process import PROJECT

STATEMENTS = set(range(1, 119))


def numbered_tests() -> set[tuple[int, str]]:
    """Return each statement number with the tests that bear it."""
    found: set[tuple[int, str]] = set()
    for path in (PROJECT / "tests").rglob("test_*.py"):
        for name, numbers in re.findall(r"^def (test((?:_s\d+)+)_\w+)", path.read_text(), re.MULTILINE):
            place = f"{path.relative_to(PROJECT / 'tests')}::{name}"
            found |= {(int(number), place) for number in re.findall(r"\d+", numbers)}
    return found


def test_every_statement_has_a_test() -> None:
    assert STATEMENTS - {number for number, _ in numbered_tests()} == set()


def test_the_table_names_existing_tests_for_every_statement() -> None:
    rows = re.findall(r"^\| (\d+) \|(.*)\|$", (PROJECT / "docs/compliance.md").read_text(), re.MULTILINE)
    listed = {
        (int(number), place) for number, row in rows for place in re.findall(r"`([\w/]+\.py::\w+)`", row)
    }
    existing = {(number, place) for number, place in numbered_tests() if number in STATEMENTS}
    assert {int(number) for number, _ in rows} == STATEMENTS
    assert {number for number, _ in listed} == STATEMENTS
    assert listed <= existing

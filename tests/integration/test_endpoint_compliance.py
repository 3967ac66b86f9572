"""Whether every statement about the endpoint has its tests, and the table that lists them is true."""

from __future__ import annotations

import re

from tests.server_process import PROJECT

STATEMENTS = {
    *(f"e{number:02}" for number in range(1, 47)),
    *(f"es{number}" for number in range(1, 5)),
    *(f"k{number:02}" for number in range(1, 30)),
    *(f"c{number:02}" for number in range(1, 21)),
}
TABLE = "docs/endpoint-compliance.md"


def numbered_tests() -> set[tuple[str, str]]:
    """Return each statement with the tests that bear it."""
    found: set[tuple[str, str]] = set()
    for path in (PROJECT / "tests").rglob("test_endpoint_*.py"):
        for name, numbers in re.findall(
            r"^ *def (test((?:_(?:e\d\d|es\d|k\d\d|c\d\d))+)_\w+)", path.read_text(), re.MULTILINE
        ):
            place = f"{path.relative_to(PROJECT / 'tests')}::{name}"
            found |= {(number, place) for number in numbers.strip("_").split("_")}
    return found


def test_every_statement_has_a_test_with_real_sockets() -> None:
    assert {number for number, _ in numbered_tests()} == STATEMENTS


def test_the_table_lists_every_statement_once_with_all_its_tests() -> None:
    rows = re.findall(r"^\| (\w+) \|(.*)\|$", (PROJECT / TABLE).read_text(), re.MULTILINE)
    rows = [(number.lower(), row) for number, row in rows]
    assert sorted(number for number, _ in rows) == sorted(STATEMENTS)
    listed = {(number, place) for number, row in rows for place in re.findall(r"`([\w/]+\.py::\w+)`", row)}
    assert listed == numbered_tests()

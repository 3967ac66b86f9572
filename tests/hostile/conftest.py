"""Servers for the attacks, one at a time in each process that runs tests, and the figures in the end."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from .run import Runner

FIGURES = "figures"  # of a test's properties, which come from other processes as well


@pytest.fixture(scope="session")
def lines() -> list[str]:
    """What was said and not yet reported."""
    return []


@pytest.fixture(scope="session")
def runner(lines: list[str]) -> Iterator[Runner]:
    with Runner(lines.append) as running:
        yield running


@pytest.fixture
def stands(
    runner: Runner, lines: list[str], record_property: Callable[[str, object], None]
) -> Iterator[Runner]:
    lines.clear()
    yield runner
    for line in lines:
        record_property(FIGURES, line)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print a line for each attack, of the good ones as well."""
    reports = [one for some in terminalreporter.stats.values() for one in some]
    found = [
        value
        for report in reports
        if getattr(report, "when", "") == "teardown"
        for name, value in report.user_properties
        if name == FIGURES
    ]
    if found:
        terminalreporter.section("attacks")
        for line in found:
            terminalreporter.line(line)

"""Servers for the attacks, one at a time, and the figures in the end."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from .run import Runner

_FIGURES: pytest.StashKey[list[str]] = pytest.StashKey()


@pytest.fixture(scope="session")
def stands(request: pytest.FixtureRequest) -> Iterator[Runner]:
    lines = request.config.stash.setdefault(_FIGURES, [])
    with Runner(lines.append) as runner:
        yield runner


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Print a line for each attack, of the good ones as well."""
    if lines := config.stash.get(_FIGURES, []):
        terminalreporter.section("attacks")
        for line in lines:
            terminalreporter.line(line)

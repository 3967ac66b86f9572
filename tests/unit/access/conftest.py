"""The log of a test, all levels of it, and the check that it holds no secret."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator

import gevent
import pytest

from tests.doubles import certificates, secrets


class LogLines(logging.Handler):
    """What was logged, one `LEVEL text` each, tracebacks with it."""

    def __init__(self) -> None:
        super().__init__(level=0)
        self.lines: list[str] = []
        self.setFormatter(logging.Formatter("%(prefix)s%(levelname)s %(message)s", defaults={"prefix": ""}))

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(self.format(record))

    def count(self, text: str) -> int:
        """How many lines hold this text."""
        return sum(text in line for line in self.lines)


def longest_turn_s(for_s: float) -> float:
    """Sleep for a while, in short naps; return the most CPU time that went by until one of them was over.

    CPU time: on a busy machine others take the time between.
    """
    longest_s, last = 0.0, time.process_time()
    until = time.monotonic() + for_s
    while time.monotonic() < until:
        gevent.sleep(0.001)
        now = time.process_time()
        longest_s, last = max(longest_s, now - last), now
    return longest_s


@pytest.fixture(autouse=True)
def log_lines() -> Iterator[LogLines]:
    handler = LogLines()
    root = logging.getLogger()
    loggers = [root, logging.getLogger("rtmpsrv")]  # the libraries' loggers reach the root
    before = [(logger.level, logger.propagate) for logger in loggers]
    root.setLevel(1)
    root.addHandler(handler)
    loggers[1].setLevel(1)
    loggers[1].propagate = True
    yield handler
    root.removeHandler(handler)
    for logger, (level, propagate) in zip(loggers, before, strict=True):
        logger.setLevel(level)
        logger.propagate = propagate
    leaks = [line for line in handler.lines for secret in secrets.ALL if secret in line]
    assert not leaks


@pytest.fixture(scope="session")
def certs(tmp_path_factory: pytest.TempPathFactory) -> certificates.Certificates:
    return certificates.make(tmp_path_factory.mktemp("certificates"))

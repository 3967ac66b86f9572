"""What is logged in the web process."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from tests.unit.web.stage import Lines


@pytest.fixture
def lines() -> Iterator[Lines]:
    found = Lines()
    logger = logging.getLogger("rtmpsrv")
    before = logger.level
    logger.setLevel(1)
    logger.addHandler(found)
    yield found
    logger.removeHandler(found)
    logger.setLevel(before)

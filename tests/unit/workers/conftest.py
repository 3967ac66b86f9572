"""What is logged can be seen, whatever a test before has set up."""

from __future__ import annotations

import logging

import pytest


@pytest.fixture(autouse=True)
def _logged(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(logging.getLogger("rtmpsrv"), "propagate", True)
    caplog.set_level(logging.DEBUG, "rtmpsrv")

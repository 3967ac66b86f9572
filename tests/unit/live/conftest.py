"""Lets tests say how the channel sends to its followers, whatever the measured thresholds are."""

from __future__ import annotations

import pytest

from rtmpsrv.live import fanout
from tests.unit.live.stage import fake_sendfile, fake_write

NEVER = 1 << 30


@pytest.fixture(autouse=True)
def _file_lane(monkeypatch: pytest.MonkeyPatch) -> None:
    """Send from the log file even to one follower of one small message."""
    monkeypatch.setattr(fanout, "SENDFILE_FROM", 1)
    monkeypatch.setattr(fanout, "SENDFILE_BYTES", 0)
    monkeypatch.setattr(fanout, "sendfile", fake_sendfile)
    monkeypatch.setattr(fanout, "write", fake_write)


@pytest.fixture(params=["sendfile", "joined", "tls"])
def can_sendfile(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Run a test on each lane; the value is what the sink says of itself."""
    if request.param == "joined":
        monkeypatch.setattr(fanout, "SENDFILE_FROM", NEVER)
    return bool(request.param != "tls")

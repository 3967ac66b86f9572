"""Lets tests say how the channel sends to its followers, whatever the measured thresholds are."""

from __future__ import annotations

import pytest

from rtmpsrv.live import lane, log
from tests.unit.live.fakes import fake_sendfile, fake_write

NEVER = 1 << 30


@pytest.fixture(autouse=True)
def _file_lane(monkeypatch: pytest.MonkeyPatch) -> None:
    """Send from the log file even to one follower of one small message."""
    monkeypatch.setattr(lane, "SENDFILE_FROM", 1)
    monkeypatch.setattr(lane, "SENDFILE_BYTES", 0)
    monkeypatch.setattr(lane, "sendfile", fake_sendfile)
    monkeypatch.setattr(lane, "write", fake_write)


@pytest.fixture(params=["sendfile", "joined", "tls"])
def can_sendfile(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Run a test on each lane; the value is what the sink says of itself."""
    if request.param == "joined":
        monkeypatch.setattr(lane, "SENDFILE_FROM", NEVER)
    return bool(request.param != "tls")


@pytest.fixture
def small_segments(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a log begin new segments as soon as it may, and count each byte, so that few bytes show much."""
    monkeypatch.setattr(log, "SEGMENT_BYTES", 100)
    monkeypatch.setattr(log, "COUNTED_FROM_BYTES", 0)

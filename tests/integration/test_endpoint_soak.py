"""A short version of scripts/soak_endpoint.py, in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

SOAK = Path(__file__).resolve().parents[2] / "scripts" / "soak_endpoint.py"


def test_registrations_and_clients_at_random_leave_nothing_behind() -> None:
    arguments = ["--seconds", "10", "--registrations", "40", "--clients", "60", "--seed", "1"]
    done = subprocess.run(
        [sys.executable, str(SOAK), *arguments], capture_output=True, text=True, timeout=200, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    assert "NewMediaData" in done.stdout

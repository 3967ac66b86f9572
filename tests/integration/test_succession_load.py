"""A short run of scripts/succession: many clients of all kinds, of which none notices that processes change.

Times are not judged here, where other tests run beside it: the script judges them when it runs by itself.
"""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.server_process import PROJECT

pytestmark = pytest.mark.half  # hundreds of clients

PATIENT = ("--patience", "0", "--pause-ms", "15000", "--freeze-ms", "15000")
SMALL = ("--publishers", "12", "--players", "126", *PATIENT)


def succession(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the script. Blocks for half a minute."""
    command = [sys.executable, str(PROJECT / "scripts" / "succession"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=150, check=False)


def test_the_script_finds_nothing_lost_where_nothing_happens() -> None:
    done = succession("--successions", "0", "--tls-every", "9", *SMALL)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    assert "all claims kept" in done.stdout


def test_the_script_sees_what_a_killed_server_loses() -> None:
    done = succession("--successions", "1", "--signal", "KILL", *SMALL)
    assert done.returncode == 1, done.stdout + done.stderr
    broken = [line for line in done.stdout.splitlines() if line.startswith("FAIL")]
    assert any("126 of 126 players lost their connection" in line for line in broken), done.stdout
    assert any("12 of 12 publishers lost their connection" in line for line in broken)
    assert any("newcomers failed" in line for line in broken)
    assert any("messages missing" in line for line in broken)


def test_three_successions_in_a_row_lose_nothing() -> None:
    done = succession("--successions", "3", *SMALL)
    assert done.returncode == 0, done.stdout + done.stderr


def test_three_successions_lose_nothing_of_players_on_rtmps() -> None:
    # Who has not asked to play before is sent away by the old process, and has to come again.
    done = succession("--successions", "3", "--tls-every", "4", "--no-tls-later", *SMALL)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("how", ["successor sent ready die", "successor receive slice hang"])
def test_successions_that_fail_lose_nothing(how: str) -> None:
    done = succession("--successions", "2", "--fail", how, *SMALL)
    assert done.returncode == 0, done.stdout + done.stderr

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from rtmpsrv.workers import parent

PATIENCE_S = 20.0
PROGRAM = """
import gevent.monkey
gevent.monkey.patch_all()
import signal, subprocess, sys
from rtmpsrv.workers import parent
parent.adopt_orphans()
# The shell ends at once, and leaves an orphan behind that the first process adopts.
script = "(trap 'exit 7' USR1; echo ready; while :; do sleep 0.05; done) & exit 0"
subprocess.Popen(["sh", "-c", script])
waitpid = parent.waitpid

def waiting(*arguments):
    print("waits", flush=True)
    return waitpid(*arguments)

parent.waitpid = waiting
sys.exit(parent.stay([signal.SIGUSR1]))
"""


def test_it_waits_for_orphans_passes_signals_on_and_ends_as_they_do() -> None:
    environment = {**os.environ, "PYTHONPATH": str(Path(parent.__file__).parents[2])}
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM], env=environment, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        lines = {process.stdout.readline()}
        while lines != {"ready\n", "waits\n"}:
            lines.add(process.stdout.readline())
        assert process.poll() is None
        process.send_signal(signal.SIGUSR1)
        assert process.wait(PATIENCE_S) == 7


@pytest.mark.parametrize(
    ("statuses", "code"),
    [([], 0), ([0, 0], 0), ([0, 3 << 8, 4 << 8], 3), ([signal.SIGKILL, 3 << 8], 128 + signal.SIGKILL)],
)
def test_it_ends_as_the_first_that_failed(statuses: list[int], code: int) -> None:
    ended = iter(statuses)

    def wait() -> tuple[int, int]:
        for status in ended:
            return 4711, status
        raise ChildProcessError

    assert parent.first_failure(wait) == code
    assert list(ended) == [], "it did not wait for all"


def test_signals_go_to_all_that_are_still_there(monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[tuple[int, int]] = []

    def kill(pid: int, number: int) -> None:
        if pid == 11:
            raise ProcessLookupError
        sent.append((pid, number))

    monkeypatch.setattr(parent, "descendants", lambda pid: {10: {11, 12, 13}}[pid])
    monkeypatch.setattr(os, "getpid", lambda: 10)
    monkeypatch.setattr(os, "kill", kill)
    parent.pass_on(signal.SIGHUP)
    assert sorted(sent) == [(12, signal.SIGHUP), (13, signal.SIGHUP)]


def test_the_variable_is_for_the_first_process_only(monkeypatch: pytest.MonkeyPatch) -> None:
    environ = {parent.VARIABLE: "yes"}
    assert parent.must_stay(environ)
    assert environ == {}
    assert not parent.must_stay(environ)
    monkeypatch.setattr(os, "getpid", lambda: 1)
    assert parent.must_stay(environ)


def test_descendants_are_children_and_theirs(tmp_path: Path) -> None:
    for pid, above in ((1, 0), (10, 1), (11, 10), (12, 11), (20, 1)):
        (tmp_path / str(pid)).mkdir()
        (tmp_path / str(pid) / "stat").write_text(f"{pid} (a ) b) S {above} 1 1")
    (tmp_path / "30").mkdir()
    (tmp_path / "self").mkdir()
    assert parent.descendants(10, tmp_path) == {11, 12}
    assert parent.descendants(12, tmp_path) == set()

"""Who is the keeper, by its lock."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from rtmpsrv.workers import keeper_lock
from rtmpsrv.workers.keeper_lock import Lock, end, holder


def test_the_holder_is_known_until_it_lets_go(tmp_path: Path) -> None:
    folder, path = str(tmp_path), str(tmp_path / keeper_lock.LOCK)
    assert holder(folder) is None
    one, other = Lock(path), Lock(path)
    assert holder(folder) is None
    assert one.take(0.0)
    assert not other.take(0.0)
    assert holder(folder) == os.getpid()
    (tmp_path / keeper_lock.LOCK).write_bytes(b"")
    assert holder(folder) is None, "it has not said its number yet"
    one.release()
    one.release()
    assert other.take(0.0)
    assert holder(folder) == os.getpid()
    other.release()
    assert holder(folder) is None


def test_only_the_holder_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    killed: list[tuple[int, int]] = []
    monkeypatch.setattr(os, "kill", lambda pid, number: killed.append((pid, number)))
    lock = Lock(str(tmp_path / keeper_lock.LOCK))
    assert lock.take(0.0)
    assert not end(str(tmp_path), os.getpid() + 1)
    assert end(str(tmp_path), os.getpid())
    lock.release()
    assert not end(str(tmp_path), os.getpid())
    assert killed == [(os.getpid(), signal.SIGKILL)]

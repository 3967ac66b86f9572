"""LOG_FORMAT=json: whatever process of a server writes it, each line is one object."""

from __future__ import annotations

import json
import os
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.client import keyframe, stage
from tests.server_process import START_S, ServerProcess, run

KEY = "key-of-a-test"
FIELDS = {"event", "address", "channel", "seconds", "received_bytes", "sent_bytes", "reason"}


@pytest.fixture
def directory() -> Iterator[Path]:
    """Give a directory whose name is short: addresses of sockets in it have 80 bytes at most."""
    with tempfile.TemporaryDirectory() as short:
        yield Path(short)


def objects(server: ServerProcess) -> list[dict[str, Any]]:
    lines = server.everything()
    assert lines
    found = [json.loads(line) for line in lines]
    assert all({"time", "level", "message"} <= set(one) for one in found)
    assert KEY not in "\n".join(lines)
    return found


def visit(server: ServerProcess) -> None:
    """Publish and play, and leave."""
    with stage(server.port) as on:
        publisher, player = on.publisher("news", KEY), on.player("news", KEY)
        publisher.video(40, keyframe(b"picture"))
        on.passed(publisher, player)
    server.wait_for_line("closed: ", count=2)


def test_what_ends_has_its_figures_as_fields() -> None:
    with ServerProcess(LOG_FORMAT="json") as server:
        visit(server)
        assert server.stop() == 0
        ends = {one["event"]: one for one in objects(server) if "event" in one}
    assert set(ends) == {"publish", "play", "closed"}
    for one in ends.values():
        assert set(one) >= FIELDS | {"session"}
        assert (one["address"], one["channel"], one["logger"]) == ("127.0.0.1", "news", "SERVER:TCP")
        assert one["seconds"] >= 0
        assert one["received_bytes"] > 0
        assert one["reason"]


def test_a_successor_writes_the_same(directory: Path) -> None:
    pid_file = directory / "pid"
    with ServerProcess(LOG_FORMAT="json", PID_FILE=str(pid_file)) as server:
        first = server.process.pid
        os.kill(first, signal.SIGUSR2)
        server.wait_for_line(r"succession: process \d+ serves", timeout_s=START_S)
        visit(server)
        os.kill(int(pid_file.read_text()), signal.SIGTERM)
        server.wait_for_line('"message": "Stopped', timeout_s=START_S)
        assert server.wait() == 0
        assert len(objects(server)) > 10


def test_manager_keeper_and_workers_write_the_same(directory: Path) -> None:
    with ServerProcess(LOG_FORMAT="json", WORKERS="2", RUN_DIR=str(directory / "run")) as server:
        server.wait_for_line("2 workers serve", timeout_s=START_S)
        visit(server)
        assert server.stop() == 0
        found = objects(server)
    names = {one.get("process", "")[:1] for one in found}
    assert {"W", "K"} <= names
    assert any(one.get("logger") == "MANAGER" for one in found)


def test_wrong_settings_are_told_in_the_same_form() -> None:
    ended = run(LOG_FORMAT="json", RTMP_PORT="70000")
    assert ended.returncode == 1
    said = [json.loads(line) for line in ended.stdout.splitlines()]
    assert any(one["level"] == "ERROR" and "RTMP_PORT" in one["message"] for one in said)

"""LOG_FORMAT=json: whatever process of a server writes it, each line is one object."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest

from tests.access_run import Encoder
from tests.client import keyframe, stage
from tests.doubles.secrets import KEY as ENCODERS_KEY
from tests.http_viewers import FORMS, wait_until_shown
from tests.server_process import START_S, ServerProcess, free_port, run
from tests.succession_process import Family

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


def visit(server: ServerProcess | Family) -> None:
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
        told = {one["event"]: one for one in objects(server) if "event" in one}
    own = {name: told.pop(name) for name in ("started", "listening", "stopped")}
    assert own["started"]["version"]
    assert own["listening"]["port"] > 0
    ends = told
    assert set(ends) == {"unpublish", "stop", "closed"}
    for one in ends.values():
        assert set(one) >= FIELDS | {"session"}
        assert (one["address"], one["channel"], one["logger"]) == ("127.0.0.1", "news", "SERVER:TCP")
        assert one["seconds"] >= 0
        assert one["received_bytes"] > 0
        assert one["reason"]


def test_who_was_taken_over_from_has_not_stopped() -> None:
    with Family(LOG_FORMAT="json", BIND_ADDRESS="127.0.0.1") as on:
        on.succeed()
        on.first.process.wait(START_S)
        on.stop()
        told = [one["event"] for one in objects(on.first) if one.get("event") in ("succeeded", "stopped")]
    assert told == ["succeeded", "stopped"]


def test_plays_by_http_end_with_stop_whatever_their_form() -> None:
    port = free_port()
    with ServerProcess(LOG_FORMAT="json", HTTP_PORT=str(port)) as server, Encoder(server.port, "news"):
        wait_until_shown(port, "news", f"key={ENCODERS_KEY}")
        assert server.stop() == 0  # which ends those of HLS
        found = objects(server)
    begun = [one for one in found if one["message"].startswith("PLAY (")]
    assert {one["message"].split("(")[1].split(",")[0] for one in begun} == set(FORMS)
    assert not any("event" in one for one in begun)
    ends = [one for one in found if one["message"].startswith("PLAY STOP: ")]
    assert len(ends) == len(begun)
    assert all(one["event"] == "stop" and set(one) >= FIELDS and one["channel"] == "news" for one in ends)
    assert not any(one.get("channel") == "" for one in found)


def test_a_successor_writes_the_same() -> None:
    with Family(LOG_FORMAT="json", BIND_ADDRESS="127.0.0.1") as on:
        first = on.pid
        assert on.succeed() != first
        visit(on)
        on.stop()
        found = objects(on.first)
    assert any(f"succession: process {first} has left" in one["message"] for one in found)
    assert found[-1]["message"] == "Stopped"


def test_the_web_process_writes_the_same() -> None:
    port = free_port()
    with ServerProcess(LOG_FORMAT="json", LOG_DEBUG="YES", LOG_TRACE="NO", API_PORT=str(port)) as server:
        with urlopen(f"http://127.0.0.1:{port}/healthz?token={KEY}", timeout=START_S) as answer:
            assert answer.status == 200
        server.wait_for_line('"process": "WEB"')
        assert server.stop() == 0
        assert any("/healthz" in one["message"] for one in objects(server) if one.get("process") == "WEB")


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

"""Whether docs/endpoint.md is true: names, fields, limits, and its programs, which are run as they stand."""

from __future__ import annotations

import dataclasses
import re
import subprocess
import sys

import pytest

import rtmpsrv
from rtmpsrv import Limits, ListenForPublishers, ListenForWatchers, Observe, RegistrationFailure, queue_face
from tests.client import Client, keyframe
from tests.endpoint_stage import eventually
from tests.server_process import PROJECT, free_port

PAGE = (PROJECT / "docs" / "endpoint.md").read_text()
PROGRAMS = re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
RELAY, TLS, QUEUES = PROGRAMS
UNITS = {"KiB": 1 << 10, "MiB": 1 << 20}


def first_cells(title: str) -> dict[str, list[str]]:
    """Return the rows of the tables under a heading by their first cell."""
    found = re.search(rf"^## {title}\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL)
    assert found, title
    lines = (line.strip("|").split("|") for line in found[1].splitlines() if line.startswith("| `"))
    return {cells[0].strip(" `"): [cell.strip() for cell in cells[1:]] for cells in lines}


def number(text: str) -> float:
    """Read a default as the page writes it: `10`, `8 MiB`, `16 MiB - 1`."""
    amount, unit, minus = re.fullmatch(r"(\d+)(?: (\w+))?(?: - (\d+))?", text).groups()  # type: ignore[union-attr]
    return int(amount) * UNITS.get(unit, 1) - int(minus or 0)


def test_every_public_name_is_explained() -> None:
    names = {*rtmpsrv.__all__, *queue_face.__all__} - {
        "__version__",
        "StreamKeyRegistration",
        "IpRestriction",
    }
    aliases = {"Address", "Network", "Request", "flv", "queue_face", "MediaData"}
    assert {name for name in names - aliases if not re.search(rf"\b{name}\b", PAGE)} == set()


def test_the_limits_are_those_of_the_code() -> None:
    listed = {name: number(cells[0]) for name, cells in first_cells("Limits").items()}
    assert listed == dataclasses.asdict(Limits())


def test_the_fields_of_requests_are_those_of_the_code() -> None:
    fields = {
        field.name
        for kind in (ListenForPublishers, ListenForWatchers, Observe)
        for field in dataclasses.fields(kind)
    }
    assert fields <= set(first_cells("Requests"))


def test_every_failure_is_listed() -> None:
    assert {failure.name for failure in RegistrationFailure} <= set(first_cells("Requests"))


def test_every_method_of_handles_is_listed() -> None:
    listed = {re.match(r"\w+", name)[0] for name in first_cells("Handles")}  # type: ignore[index]
    internal = {"announce", "retire", "put", "put_media", "end_if_stalled", "stopped"}
    internal |= {"open_channel", "watcher_joined", "watcher_left"}
    for kind in (rtmpsrv.PublisherRegistration, rtmpsrv.WatcherRegistration, rtmpsrv.ObserverRegistration):
        assert {name for name in dir(kind) if not name.startswith("_")} - internal <= listed


def test_the_examples_exist_and_are_all_listed() -> None:
    listed = set(first_cells("Examples"))
    of_endpoint = {
        f"examples/{path.name}"
        for path in (PROJECT / "examples").glob("*.py")
        if "Endpoint" in path.read_text()
    }
    assert listed == of_endpoint


def start(program: str, port: int) -> subprocess.Popen[str]:
    """Run a program of the page; its port is all that is changed."""
    placed = re.sub(r'rtmp_app=(app|"live")', rf"rtmp_app=\1, port={port}", program)
    return subprocess.Popen(
        [sys.executable, "-c", placed],
        cwd=PROJECT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def connects(port: int) -> bool:
    try:
        Client(port).close()
    except OSError:
        return False
    return True


def test_the_relay_relays() -> None:
    port = free_port()
    process = start(RELAY, port)
    try:
        eventually(lambda: connects(port), 20.0)
        with Client(port) as watcher, Client(port) as publisher:
            watcher.play("live", "key")
            publisher.publish("live", "key")
            publisher.video(3, keyframe(b"picture"))
            watcher.read_until(lambda one: one.payload.endswith(b"picture"))
        assert process.poll() is None
    finally:
        process.kill()
        assert process.communicate()[1] == ""


def test_the_program_with_queues_ends_by_itself() -> None:
    process = start(QUEUES, free_port())
    try:
        assert process.communicate(timeout=30) == ("", "")
        assert process.returncode == 0
    finally:
        if process.poll() is None:
            process.kill()
            process.communicate()


@pytest.mark.parametrize("program", PROGRAMS, ids=["relay", "tls", "queues"])
def test_programs_import_what_there_is(program: str) -> None:
    compile(program, "docs/endpoint.md", "exec")
    imports = re.findall(r"^from [\w.]+ import (?:\(.*?\)|.*?$)", program, re.MULTILINE | re.DOTALL)
    for statement in imports:
        exec(statement, {})

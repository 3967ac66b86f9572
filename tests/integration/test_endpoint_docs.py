"""Whether docs/endpoint.md is true: names, fields, limits, and its programs, which are run as they stand."""

from __future__ import annotations

import dataclasses
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

import rtmpsrv
from rtmpsrv import (
    Limits,
    ListenForPublishers,
    ListenForWatchers,
    Observe,
    RegistrationFailure,
    queue_face,
    testing,
)
from rtmpsrv.errors import RequestRefused
from tests.endpoint_stage import eventually
from tests.server_process import PROJECT, free_port

PAGE = (PROJECT / "docs" / "endpoint.md").read_text()
PROGRAMS = re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
NAMES = ["relay", "approving", "threads", "asyncio", "messages", "tls", "queues", "tests"]
PROGRAM = dict(zip(NAMES, PROGRAMS, strict=True))
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
    listed |= {re.match(r"\w+", name)[0] for name in first_cells("Requests")}  # type: ignore[index]
    internal = {"announce", "approved", "admit", "retire", "put", "put_media", "has_room", "end_client"}
    internal |= {"end_if_stalled", "stopped", "refused", "open_channel", "watcher_joined", "watcher_left"}
    for kind in (rtmpsrv.PublisherRegistration, rtmpsrv.WatcherRegistration, rtmpsrv.ObserverRegistration):
        assert {name for name in dir(kind) if not name.startswith("_")} - internal <= listed


def test_every_method_of_clients_is_listed() -> None:
    listed = {re.match(r"\w+", name)[0] for name in first_cells("Clients one by one")}  # type: ignore[index]
    for kind in (rtmpsrv.Publisher, rtmpsrv.Watcher):
        assert {name for name in dir(kind) if not name.startswith("_")} - {
            "connected",
            "ended",
            "key",
        } <= listed


def test_every_method_of_a_portal_is_listed() -> None:
    listed = set(re.findall(r"\w+", " ".join(first_cells("Threads, asyncio, signals"))))
    assert {name for name in dir(rtmpsrv.Portal) if not name.startswith("_")} <= listed


def test_the_first_program_has_less_than_15_lines() -> None:
    assert len([line for line in PROGRAM["relay"].splitlines() if line]) < 15


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
    placed = re.sub(r'rtmp_app="live"(, port=0)?', f'rtmp_app="live", port={port}', program)
    return subprocess.Popen(
        [sys.executable, "-c", placed],
        cwd=PROJECT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def is_up(port: int) -> bool:
    """Whether a program takes publishers by now."""
    try:
        testing.publish(port, "live", "probe?token=let-me-in").close()
    except (OSError, RequestRefused):
        return False
    return True


@contextmanager
def running(name: str) -> Iterator[tuple[int, subprocess.Popen[str]]]:
    """Give the port and the process of a program of the page, which has nothing to complain about."""
    port = free_port()
    process = start(PROGRAM[name], port)
    try:
        eventually(lambda: is_up(port), timeout_s=20.0)
        yield port, process
        assert process.poll() is None
    finally:
        process.kill()
        assert process.communicate()[1] == ""


def test_the_relay_relays() -> None:
    with (
        running("relay") as (port, _process),
        testing.publish(port, "live", "key") as publisher,
        testing.watch(port, "live", "key") as watcher,
    ):
        publisher.send(testing.video_header(), testing.keyframe(0), testing.sound(1))
        assert [watcher.read() for _ in range(3)][-1] == testing.sound(1)


@pytest.mark.parametrize("name", ["approving", "threads", "asyncio"])
def test_a_refused_client_harms_nobody_whatever_the_program_waits_with(name: str) -> None:
    with running(name) as (port, _process):
        good = testing.publish(port, "live", "key?token=let-me-in")
        with good as publisher, testing.watch(port, "live", "key") as watcher:
            for _ in range(2):
                with pytest.raises(RequestRefused, match="not with this token"):
                    testing.publish(port, "live", "other?token=guessed")
            publisher.send(testing.video_header(), testing.keyframe(0), testing.sound(1))
            assert [watcher.read() for _ in range(3)][-1] == testing.sound(1)
            publisher.stop()
            with testing.publish(port, "live", "key?token=let-me-in") as successor:
                successor.send(testing.video_header(), testing.keyframe(5))
                while watcher.read() != testing.keyframe(5):
                    pass


def test_the_program_of_asyncio_ends_by_a_signal() -> None:
    port = free_port()
    process = start(PROGRAM["asyncio"], port)
    try:
        eventually(lambda: is_up(port), timeout_s=20.0)
        with testing.publish(port, "live", "key?token=let-me-in") as publisher:
            process.terminate()
            assert publisher.wait_closed() == "the endpoint is closed"
        assert process.communicate(timeout=20) == ("", "")
        assert process.returncode == 0
    finally:
        if process.poll() is None:
            process.kill()
            process.communicate()


@pytest.mark.parametrize("name", ["queues", "tests"])
def test_the_programs_that_end_by_themselves_do(name: str) -> None:
    process = start(PROGRAM[name], free_port())
    try:
        assert process.communicate(timeout=30) == ("", "")
        assert process.returncode == 0
    finally:
        if process.poll() is None:
            process.kill()
            process.communicate()


@pytest.mark.parametrize("program", PROGRAMS, ids=NAMES)
def test_programs_import_what_there_is(program: str) -> None:
    compile(program, "docs/endpoint.md", "exec")
    imports = re.findall(r"^from [\w.]+ import (?:\(.*?\)|.*?$)", program, re.MULTILINE | re.DOTALL)
    for statement in imports:
        exec(statement, {})

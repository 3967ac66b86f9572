"""The API of several workers: it answers for all of them, and says who is silent."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from itertools import count
from typing import Any

import pytest
import requests

from tests.client import Stage, stage
from tests.doubles.secrets import KEY
from tests.server_process import free_port
from tests.worker_crew import WorkerCrew

SEEN_S = 15.0
NAMES = ["w1", "w2"]

_numbers = count(1)


class Crew:
    """Two workers, and their API."""

    def __init__(self, crew: WorkerCrew, port: int) -> None:
        self.crew = crew
        self.port = port
        self.missing = ""

    def ask(self, path: str, status: int = 200, method: str = "GET") -> Any:
        answer = requests.request(method, f"http://127.0.0.1:{self.port}{path}", timeout=SEEN_S)
        self.missing = answer.headers.get("X-Missing-Workers", "")
        assert answer.status_code == status, (path, answer.status_code, answer.text)
        return answer.json()

    def until(self, question: Callable[[], Any], true: Callable[[Any], bool]) -> Any:
        """Return the first answer that is as wanted."""
        give_up_at = time.monotonic() + SEEN_S
        while not true(answer := question()):
            assert time.monotonic() < give_up_at, answer
            time.sleep(0.05)
        return answer

    def connections(self) -> dict[str, str]:
        """Return the worker of each connection, by id."""
        items = self.ask("/v3/rtmpconns/list?itemsPerPage=1000")["items"]
        return {one["id"]: one["rtmpsrv"]["worker"] for one in items}

    def wait_for_end(self, connection: str) -> None:
        self.until(self.connections, lambda left: connection not in left)

    def signal(self, name: str, number: signal.Signals) -> None:
        self.crew.workers[name].send_signal(number)


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Crew]:
    port = free_port()
    folder = str(tmp_path_factory.mktemp("recordings"))
    with WorkerCrew(2, API_PORT=str(port), CONCURRENT_LIMIT_WHITELIST="*", RECORD_DIR=folder) as crew:
        yield Crew(crew, port)


@pytest.fixture
def on(api: Crew) -> Iterator[Stage]:
    with stage(api.crew.port) as opened:
        yield opened


@pytest.fixture
def channel() -> str:
    return f"channel{next(_numbers)}"


@pytest.fixture
def idle(api: Crew, on: Stage) -> dict[str, str]:
    """Have connections in both workers; return the worker of each."""
    for _ in range(40):
        on.client().connect("idle")
        if set(api.connections().values()) == set(NAMES):
            break
    found = api.connections()
    assert set(found.values()) == set(NAMES)
    return found


def id_in(connections: dict[str, str], worker: str) -> str:
    return next(one for one, its in connections.items() if its == worker)


def test_processes_are_told_by_name(api: Crew) -> None:
    told = api.ask("/v3/processes")
    assert [one["worker"] for one in told["items"]] == ["keeper", *NAMES]
    assert {one["pid"] for one in told["items"]} > {one.pid for one in api.crew.workers.values()}


def test_a_channel_is_one_whoever_serves_its_players(api: Crew, on: Stage, channel: str) -> None:
    on.publisher(channel, KEY)
    for _ in range(6):
        on.player(channel, KEY)

    # They move to the worker that has the publisher: one that is on its way is in none of two answers.
    def listed() -> list[int]:
        items = api.ask("/v3/paths/list")["items"]
        return [len(one["readers"]) for one in items if one["name"] == channel]

    def page() -> tuple[int, int, int]:
        told = api.ask(f"/v3/channels/{channel}/players?itemsPerPage=4")
        return told["itemCount"], told["pageCount"], len(told["items"])

    path = api.until(lambda: api.ask(f"/v3/paths/get/{channel}"), lambda one: len(one["readers"]) == 6)
    assert path["rtmpsrv"]["players"] == 6
    api.until(listed, lambda found: found == [6])
    api.until(page, lambda found: found == (6, 2, 4))


def test_a_connection_is_found_and_kicked_in_either_worker(api: Crew, idle: dict[str, str]) -> None:
    for name in NAMES:
        one = id_in(idle, name)
        assert api.ask(f"/v3/rtmpconns/get/{one}")["rtmpsrv"]["worker"] == name
        assert api.ask(f"/v3/rtmpconns/kick/{one}", method="POST") == {"status": "ok"}
        api.wait_for_end(one)


def test_a_channel_that_is_closed_is_closed_in_all(api: Crew, on: Stage, channel: str) -> None:
    on.publisher(channel, KEY)
    stopped = api.ask(f"/v3/channels/{channel}/stop?block=600", method="POST")
    assert stopped == {"status": "ok", "ended": True}
    for _ in range(6):
        again = on.client().connect(channel)
        again.ask_publish(KEY, again.create_stream())
        assert again.expect_command("onStatus")[2]["level"] == "error"


def test_a_recording_is_begun_and_ended_wherever_the_channel_is(api: Crew, on: Stage, channel: str) -> None:
    on.publisher(channel, KEY)

    def runs() -> bool:
        recording = api.ask(f"/v3/paths/get/{channel}")["rtmpsrv"]["recording"]
        return recording is not None and bool(recording["running"])

    record = f"/v3/channels/{channel}/record"
    api.ask(f"{record}/start", method="POST")
    api.until(runs, lambda found: found)
    api.ask(f"{record}/stop", method="POST")
    api.until(runs, lambda found: not found)
    api.ask(f"{record}/stop", 404, "POST")


def test_who_is_silent_is_named_and_the_others_answer(api: Crew, idle: dict[str, str]) -> None:
    of_first = id_in(idle, "w1")
    api.signal("w1", signal.SIGSTOP)
    try:
        told = api.ask("/v3/rtmpconns/list")
        assert (told["rtmpsrv"]["missing"], api.missing) == (["w1"], "w1")
        assert {one["rtmpsrv"]["worker"] for one in told["items"]} == {"w2"}
        assert "w1 did not answer" in api.ask(f"/v3/rtmpconns/get/{of_first}", 503)["error"]
        api.signal("w2", signal.SIGSTOP)
        assert api.ask("/v3/paths/list", 503)["error"] == "No process answered in time."
    finally:
        for name in NAMES:
            api.signal(name, signal.SIGCONT)
    whole = api.until(lambda: api.ask("/v3/rtmpconns/list"), lambda one: not one["rtmpsrv"]["missing"])
    assert {one["rtmpsrv"]["worker"] for one in whole["items"]} == set(NAMES)
    api.ask(f"/v3/rtmpconns/get/{of_first}")

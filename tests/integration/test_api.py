"""The API of a real server: what it tells of real clients, how it ends them, and what it tells nobody."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import pytest
import requests
import schemathesis
from schemathesis.config import SchemathesisConfig

from tests.api_judged import judged
from tests.client import AVC_HEADER, Stage, keyframe, stage
from tests.doubles.monitor_values import id_of
from tests.server_process import PROJECT, ServerProcess, free_port

TOKEN = "4711-token-of-the-api"
KEY = "s3cret-key-of-a-stream"
QUERY = "token=s3cret-query"
SEEN_S = 10.0  # a busy machine starts the web process within this
DESCRIBED: dict[str, Any] = json.loads((PROJECT / "rtmpsrv/web/openapi.json").read_text())["paths"]
EXAMPLES = 5  # of each operation: the rest is asked of the routes alone, in test_api_schema.py

_numbers = count(1)


@dataclass
class Api:
    """Asks a server with the token, and keeps all that it was told."""

    server: ServerProcess
    port: int
    told: list[str] = field(default_factory=list)

    def ask(self, path: str, status: int = 200, method: str = "GET", token: str = TOKEN) -> Any:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        answer = requests.request(
            method, f"http://127.0.0.1:{self.port}{path}", headers=headers, timeout=SEEN_S
        )
        self.told += [answer.text, str(answer.headers)]
        assert answer.status_code == status, (path, answer.status_code, answer.text)
        return answer.json()

    def post(self, path: str, status: int = 200) -> Any:
        return self.ask(path, status, "POST")

    def path(self, name: str) -> Any:
        return self.ask(f"/v3/paths/get/{name}")

    def ids(self) -> set[str]:
        return {one["id"] for one in self.ask("/v3/rtmpconns/list?itemsPerPage=1000")["items"]}

    def until(self, question: Callable[[], Any], true: Callable[[Any], bool]) -> Any:
        """Return the first answer that is as wanted."""
        give_up_at = time.monotonic() + SEEN_S
        while not true(answer := question()):
            assert time.monotonic() < give_up_at, answer
            time.sleep(0.05)
        return answer


@pytest.fixture(scope="module")
def api() -> Iterator[Api]:
    port = free_port()
    with ServerProcess(API_PORT=str(port), API_TOKEN=TOKEN, CONCURRENT_LIMIT_WHITELIST="*") as server:
        asked = Api(server, port)
        yield asked
        everything = "\n".join([*asked.told, *server.everything()])
        for secret in (TOKEN, KEY, QUERY):
            assert secret not in everything
        server.check_log()


@pytest.fixture
def on(api: Api) -> Iterator[Stage]:
    with stage(api.server.port) as opened:
        yield opened


@pytest.fixture
def channel() -> str:
    return f"channel{next(_numbers)}"


def test_a_channel_its_publisher_and_its_players_are_told(api: Api, on: Stage, channel: str) -> None:
    publisher = on.publisher(channel, f"{KEY}?{QUERY}")
    for _ in range(2):
        on.player(channel, KEY)
    publisher.video(40, keyframe(b"picture" * 100))
    publisher.fence()
    path = api.until(lambda: api.path(channel), lambda one: len(one["readers"]) == 2)
    assert (path["name"], path["ready"], path["tracks"][0]) == (channel, True, "H264")
    assert path["rtmpsrv"]["players"] == 2
    assert re.fullmatch(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", path["readyTime"])
    listed = api.ask("/v3/paths/list?itemsPerPage=1000")["items"]
    assert [one["source"] for one in listed if one["name"] == channel] == [path["source"]]
    source = api.ask(f"/v3/rtmpconns/get/{path['source']['id']}")
    assert (source["state"], source["path"], source["query"]) == ("publish", channel, "")
    assert source["remoteAddr"] == "127.0.0.1"
    told = api.ask(f"/v3/channels/{channel}/players")
    assert {one["id"] for one in told["items"]} == {one["id"] for one in path["readers"]}
    assert [one["state"] for one in told["items"]] == ["read"] * 2
    assert {one["id"] for one in told["items"]} < api.ids()


def test_bytes_are_counted_as_they_come(api: Api, on: Stage, channel: str) -> None:
    publisher = on.publisher(channel)
    before = api.path(channel)["bytesReceived"]
    publisher.video(40, keyframe(b"x" * 5000))
    publisher.fence()
    assert api.path(channel)["bytesReceived"] >= before + 5000


def test_a_publisher_that_is_kicked_is_refused_while_it_is_blocked(api: Api, on: Stage, channel: str) -> None:
    publisher = on.publisher(channel, KEY)
    other = on.publisher(f"{channel}-other", KEY)
    source = api.path(channel)["source"]["id"]
    assert api.post(f"/v3/rtmpconns/kick/{source}?block=600&reason=too%20loud") == {"status": "ok"}
    publisher.expect_closed()
    again = on.client().connect(channel)
    again.ask_publish(KEY, again.create_stream())
    assert "NetStream.Publish" in again.expect_command("onStatus")[2]["code"]
    again.expect_closed()
    api.ask(f"/v3/paths/get/{channel}", 404)
    other.fence()
    api.until(api.ids, lambda ids: source not in ids)
    api.ask(f"/v3/rtmpconns/get/{source}", 404)
    ends = api.ask(f"/v3/events?channel={channel}")["items"]
    assert any("too loud" in one["reason"] for one in ends), ends


def test_a_player_that_is_kicked_leaves_the_others(api: Api, on: Stage, channel: str) -> None:
    publisher = on.publisher(channel)
    first, second = on.player(channel), on.player(channel)
    readers = api.until(lambda: api.path(channel)["readers"], lambda one: len(one) == 2)
    api.post(f"/v3/rtmpconns/kick/{readers[0]['id']}")
    publisher.video(40, AVC_HEADER)
    left = api.until(lambda: api.path(channel)["readers"], lambda one: len(one) == 1)
    assert left == readers[1:]
    first.expect_closed()
    second.fence()


def test_a_channel_is_stopped_and_closed_for_a_while(api: Api, on: Stage, channel: str) -> None:
    publisher = on.publisher(channel)
    assert api.post(f"/v3/channels/{channel}/stop?block=600") == {"status": "ok", "ended": True}
    publisher.expect_closed()
    assert api.post(f"/v3/channels/{channel}/stop", 404)["error"] == "nobody publishes this channel"
    assert api.post(f"/v3/channels/{channel}/stop?block=600") == {"status": "ok", "ended": False}


def test_a_channel_nobody_publishes_can_be_closed(api: Api, on: Stage, channel: str) -> None:
    assert api.post(f"/v3/channels/{channel}/stop?block=600") == {"status": "ok", "ended": False}
    refused = on.client().connect(channel)
    refused.ask_publish(KEY, refused.create_stream())
    assert refused.expect_command("onStatus")[2]["level"] == "error"


def test_what_happened_is_told_once(api: Api, on: Stage, channel: str) -> None:
    after = api.ask("/v3/events")["after"]
    on.publisher(channel, KEY).close()

    def ends() -> Any:
        return [one for one in api.ask(f"/v3/events?after={after}")["items"] if one["channel"] == channel]

    told = api.until(ends, lambda one: "unpublish" in [each["what"] for each in one])
    assert [one["what"] for one in told] == ["publish", "unpublish"]
    after = api.ask("/v3/events")["after"]
    assert ends() == []


def test_the_process_tells_of_itself(api: Api) -> None:
    (process,) = api.ask("/v3/processes")["items"]
    assert process["pid"] == api.server.process.pid
    assert process["ready"]
    assert process["counters"]["connections_accepted"] > 0
    assert api.ask("/v3/info")["started"] == process["started_at"]


@pytest.mark.parametrize(
    ("method", "path"), [(method.upper(), path) for path, methods in DESCRIBED.items() for method in methods]
)
def test_nothing_is_told_without_the_token(api: Api, method: str, path: str) -> None:
    placed = path.replace("{name}", "x").replace("{id}", id_of("x"))
    for token in ("", TOKEN[:-1], TOKEN + "x"):
        refusal = api.ask(placed, 401, method, token)
        assert refusal["status"] == "error"


def test_nothing_disagrees_with_the_description(api: Api, on: Stage, channel: str) -> None:
    on.publisher(channel, KEY)
    on.player(channel, KEY)
    headers = {"Authorization": f"Bearer {TOKEN}"}
    schema = schemathesis.openapi.from_url(
        f"http://127.0.0.1:{api.port}/v3/openapi.json",
        config=SchemathesisConfig(seed=1),
        headers=headers,
    )
    schema.config.update(headers=headers)
    found = judged(schema, EXAMPLES)
    assert found.failures == []
    assert sum(found.answers.values()) > 100

"""Who is ended over the API of a real server: in one process, in several, and over a restart."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import quote

import pytest

from tests.client import Stage, stage
from tests.integration.test_admin import Admin, eventually
from tests.integration.test_workers import Workers
from tests.server_process import ServerProcess
from tests.succession_process import Family

KEY = "Stream-Key_Zq7"
ATTEMPTS = 6  # of several workers each gets some of so many connections


class Served:
    """A server, its API, and clients."""

    def __init__(self, server: ServerProcess, admin: Admin, on: Stage) -> None:
        self.server = server
        self.admin = admin
        self.on = on

    def get(self, path: str) -> Any:
        status, body = self.admin.ask(path)
        assert status == 200, body
        return json.loads(body)

    def post(self, path: str) -> int:
        return self.admin.ask(path, "POST")[0]

    def connection(self, state: str, channel: str) -> str:
        """Return the id of the one connection of a channel that is in a state."""
        found: list[str] = []

        def is_there() -> bool:
            items = self.get("/v3/rtmpconns/list?itemsPerPage=1000")["items"]
            found[:] = [one["id"] for one in items if (one["state"], one["path"]) == (state, channel)]
            return len(found) == 1

        eventually(is_there, f"one that does {state} on {channel}")
        return found[0]

    def is_refused(
        self, ask: Callable[[Any, str, int], None], code: str, channel: str, source: str | None = None
    ) -> str:
        """Ask as several clients, all of which are to be refused; return what the last one was told."""
        told = ""
        for _ in range(ATTEMPTS):
            client = self.on.client(source=source).connect(channel)
            ask(client, KEY, client.create_stream())
            told = client.expect_status(code)["description"]
            client.expect_closed()
        return told


@pytest.fixture(params=[1, 2], ids=["one process", "two workers"])
def served(request: pytest.FixtureRequest) -> Iterator[Served]:
    admin = Admin()
    settings = admin.settings | {"CONCURRENT_LIMIT_WHITELIST": "*"}
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(dir="/tmp")))  # a socket's path has to be short
        server = stack.enter_context(
            ServerProcess(**settings) if request.param == 1 else Workers(folder, **settings)
        )
        yield Served(server, admin, stack.enter_context(stage(server.port, strangers=True)))
        server.check_log()


def publish(client: Any, key: str, msid: int) -> None:
    client.ask_publish(key, msid)


def play(client: Any, key: str, msid: int) -> None:
    client.ask_play(key, msid)


def test_a_publisher_is_told_why_and_stays_out_of_every_worker(served: Served) -> None:
    publisher = served.on.publisher("news", KEY)
    one = served.connection("publish", "news")
    assert served.post(f"/v3/rtmpconns/kick/{one}?block=60&reason={quote('too loud')}") == 200
    status = publisher.expect_status("NetStream.Unpublish.Success")
    assert status["description"] == "ended by the API: too loud"
    publisher.expect_closed()
    assert "The channel is closed for" in served.is_refused(publish, "NetStream.Publish.BadName", "news")
    served.on.publisher("sport", KEY)
    assert served.post(f"/v3/rtmpconns/kick/{one}") == 404
    assert served.server.matching(r"kicked: channel=news ended by the API: too loud blocked=60 s")


def test_an_address_stays_out_of_a_channel_in_every_worker(served: Served) -> None:
    player = served.on.client(source="127.0.0.1").play("news", KEY)
    one = served.connection("read", "news")
    assert served.post(f"/v3/rtmpconns/kick/{one}?block=60") == 200
    player.expect_closed()
    told = served.is_refused(play, "NetStream.Play.BadName", "news", "127.0.0.1")
    assert told.startswith("You may not play this channel")
    served.on.client(source="127.0.0.1").play("sport", KEY)
    served.on.client(source="127.0.0.9").play("news", KEY)


def test_a_channel_is_stopped_for_all(served: Served) -> None:
    publisher = served.on.publisher("news", KEY)
    served.connection("publish", "news")
    assert served.post("/v3/channels/news/stop?block=60&reason=over") == 200
    assert publisher.expect_status("NetStream.Unpublish.Success")["description"] == "ended by the API: over"
    served.is_refused(publish, "NetStream.Publish.BadName", "news")


def test_a_connection_keeps_its_id_and_a_channel_its_block_over_a_restart() -> None:
    admin = Admin()
    with (
        Family(**admin.settings, CONCURRENT_LIMIT_WHITELIST="*") as family,
        stage(family.port, strangers=True) as on,
    ):
        served = Served(family.first, admin, on)
        on.publisher("stays", KEY)
        kicked = on.publisher("news", KEY)
        one = served.connection("publish", "stays")
        assert served.post(f"/v3/rtmpconns/kick/{served.connection('publish', 'news')}?block=60") == 200
        kicked.expect_closed()
        player = on.client(source="127.0.0.1").play("stays", KEY)
        assert served.post(f"/v3/rtmpconns/kick/{served.connection('read', 'stays')}?block=60") == 200
        player.expect_closed()
        family.succeed()
        assert served.connection("publish", "stays") == one
        served.is_refused(publish, "NetStream.Publish.BadName", "news")
        served.is_refused(play, "NetStream.Play.BadName", "stays", "127.0.0.1")

"""The routes of the API: what they answer, and what they refuse."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any, Final
from urllib.parse import quote

import pytest
from flask import Flask
from werkzeug.test import TestResponse

from rtmpsrv.web import v3
from rtmpsrv.web.asked import MAX_BLOCK_S
from tests.doubles.monitor_source import HTML_NAME, MANY_NAMES, FakeSource, crowd
from tests.doubles.monitor_values import NOW, connection, id_of, process
from tests.doubles.verdicts import Opinion, Opinions

NOBODY: Final = {"status": "error", "error": "No process answered in time."}
QUESTIONS: Final = [
    *("/v3/info", "/v3/processes", "/v3/events", "/v3/paths/list", "/v3/paths/get/live/good"),
    *("/v3/rtmpconns/list", f"/v3/rtmpconns/get/{id_of('idle')}", "/v3/channels/live/good/players"),
]


class Api:
    """The routes over a source, and a client of them."""

    def __init__(self, source: FakeSource, opinions: Opinions | None = None) -> None:
        self.source = source
        self.opinions = opinions or Opinions()
        site = Flask("test", static_folder=None)
        site.register_blueprint(v3.blueprint(source, self.opinions, lambda: 1234.5))
        self.client = site.test_client()

    def get(self, path: str, status: int = 200) -> Any:
        return self._read(self.client.get(path), status)

    def post(self, path: str, status: int = 200) -> Any:
        return self._read(self.client.post(path), status)

    def _read(self, response: TestResponse, status: int) -> Any:
        assert response.status_code == status, response.get_data()
        assert response.mimetype == "application/json"
        self.missing = response.headers.get("X-Missing-Workers")
        return json.loads(response.get_data())


@pytest.fixture
def api() -> Api:
    return Api(FakeSource())


def two_workers() -> FakeSource:
    return crowd(4, 2, ["w1", "w2"])


# --- facts --------------------------------------------------------------------------------------------------


def test_info_is_of_the_oldest_process() -> None:
    source = crowd(0, 0, ["w1", "w2"])
    source.values_of_processes[0]["started_at"] = NOW
    assert Api(source).get("/v3/info") == {
        "version": "1.0.0",
        "started": "2025-10-09T07:53:20.000Z",
        "rtmpsrv": {"missing": []},
    }


def test_processes_have_moments_as_text(api: Api) -> None:
    told = api.get("/v3/processes")
    assert [one["started_at"] for one in told["items"]] == ["2025-10-09T07:53:20.000Z"]
    assert told["items"][0]["counters"] == process()["counters"]


def test_events_go_on_where_the_last_answer_ended(api: Api) -> None:
    told = api.get("/v3/events")
    assert [one["serial"] for one in told["items"]] == [1, 2, 3, 4, 5, 6]
    assert told["items"][0]["at"] == "2025-10-09T08:43:21.000Z"
    assert told["after"] == "6"
    assert api.get("/v3/events?after=6") == {"items": [], "after": "6", "rtmpsrv": {"missing": []}}
    assert [one["serial"] for one in api.get("/v3/events?after=4")["items"]] == [5, 6]


def test_who_is_silent_goes_on_from_its_place() -> None:
    source = two_workers()
    source.missing = ["w2"]
    api = Api(source)
    assert api.get("/v3/events?after=w1:3,w2:7")["after"] == "w1:0,w2:7"
    assert api.missing == "w2"


def test_events_of_one_channel_are_its_ends(api: Api) -> None:
    told = api.get(f"/v3/events?channel={quote(HTML_NAME)}")
    assert [one["what"] for one in told["items"]] == ["kicked"]


def test_the_description_is_served(api: Api) -> None:
    assert api.get("/v3/openapi.json")["info"]["title"] == "rtmpsrv"


# --- paths --------------------------------------------------------------------------------------------------


def test_paths_are_by_name_and_in_pages() -> None:
    api = Api(crowd(250, 1))
    told = api.get("/v3/paths/list?page=2")
    assert (told["itemCount"], told["pageCount"], len(told["items"])) == (250, 3, 50)
    assert [one["name"] for one in told["items"][:2]] == ["live/channel-0200", "live/channel-0201"]
    assert api.source.asked == ["names", "channels"]
    assert len(api.opinions.judged) == 50  # nobody thinks about what is not shown
    assert api.opinions.judged[0] == ("live/channel-0200", 1234.5)


def test_no_paths_are_no_pages() -> None:
    api = Api(crowd(0, 0))
    assert api.get("/v3/paths/list") == {
        **{"itemCount": 0, "pageCount": 0, "items": []},
        "rtmpsrv": {"missing": []},
    }
    assert api.source.asked == ["names"]


def test_a_channel_that_ends_meanwhile_is_not_on_the_page() -> None:
    class Ending(FakeSource):
        def names(self) -> Any:
            names = super().names()
            self.values_of_channels = [one for one in self.values_of_channels if one["name"] != "a/b"]
            return names

    told = Api(Ending()).get("/v3/paths/list")
    assert told["itemCount"] == len(MANY_NAMES)
    assert [one["name"] for one in told["items"]] == sorted(set(MANY_NAMES) - {"a/b"})


@pytest.mark.parametrize("name", MANY_NAMES)
def test_a_path_is_found_by_any_name(api: Api, name: str) -> None:
    path = api.get(f"/v3/paths/get/{quote(name, safe='/')}")
    assert path["name"] == name
    assert path == api.get(f"/v3/paths/get/{quote(name, safe='')}")


@pytest.mark.parametrize(
    "name", ["a//b", "a/", "/a", "//", "a/stop", "..", "a/../b", "%", " ", "a\nb", "\r\n", "\0", "a?b"]
)
def test_names_are_taken_as_they_stand(name: str) -> None:
    source = FakeSource()
    source.values_of_channels[0]["name"] = name
    source.values_of_channels[0]["readers"] = []
    api = Api(source)
    assert api.get(f"/v3/paths/get/{quote(name)}")["name"] == name
    assert api.get(f"/v3/channels/{quote(name)}/players")["items"] == []
    api.post(f"/v3/channels/{quote(name)}/stop")
    assert source.done == [("stop", name, None, "")]


def test_a_path_in_depth_has_a_verdict_and_its_ends() -> None:
    api = Api(FakeSource(), Opinions({HTML_NAME: Opinion("bad", "silence", "Nothing has arrived for 6 s.")}))
    path = api.get(f"/v3/paths/get/{quote(HTML_NAME)}")
    assert path["rtmpsrv"]["health"]["sentence"] == "Nothing has arrived for 6 s."
    assert [one["reason"] for one in path["rtmpsrv"]["events"]] == ["by the API: <b>enough</b>"]


def test_there_is_no_path_without_anybody(api: Api) -> None:
    refused = {"status": "error", "error": "path not found"}
    assert api.get("/v3/paths/get/nowhere", 404) == refused
    assert api.get("/v3/channels/nowhere/players", 404) == refused


def test_players_are_in_pages_and_of_both_kinds(api: Api) -> None:
    told = api.get("/v3/channels/live/good/players?itemsPerPage=2&page=1")
    assert (told["itemCount"], told["pageCount"]) == (5, 3)
    assert [one["type"] for one in told["items"]] == ["rtmpConn", "rtmpsConn"]
    assert told["items"][0]["rtmpsrv"]["player"]["lag_s"] == 0.0


def test_a_channel_without_players_asks_for_none(api: Api) -> None:
    told = api.get("/v3/channels/live/starting/players")
    assert (told["itemCount"], told["pageCount"], told["items"]) == (0, 0, [])
    assert api.source.asked == ["channels"]


# --- connections --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "kind"), list(v3.KINDS.items()))
def test_connections_are_listed_by_kind(api: Api, name: str, kind: str) -> None:
    told = api.get(f"/v3/{name}/list")
    wanted = [one["id"] for one in api.source.connections().values if one["kind"] == kind]
    assert [one["id"] for one in told["items"]] == wanted
    assert told["itemCount"] == len(wanted) > 1
    assert api.get(f"/v3/{name}/list?itemsPerPage=1&page=1")["items"] == told["items"][1:2]


def test_only_the_connections_of_the_page_are_asked_about() -> None:
    api = Api(crowd(10, 30))
    told = api.get("/v3/rtmpsconns/list?itemsPerPage=20&page=1")
    assert (told["itemCount"], told["pageCount"], len(told["items"])) == (70, 4, 20)
    assert api.source.asked == ["ids", "connections"]
    beyond = api.get("/v3/rtmpsconns/list?page=1")
    assert (beyond["itemCount"], beyond["items"]) == (70, [])
    assert api.source.asked[2:] == ["ids"]


@pytest.mark.parametrize(
    ("name", "other", "what"),
    [("rtmpconns", "rtmpsconns", "idle"), ("rtmpsconns", "rtmpconns", "idle over TLS")],
)
def test_a_connection_is_found_under_its_kind_only(api: Api, name: str, other: str, what: str) -> None:
    assert api.get(f"/v3/{name}/get/{id_of(what).upper()}")["id"] == id_of(what)
    refused = {"status": "error", "error": "connection not found"}
    assert api.get(f"/v3/{other}/get/{id_of(what)}", 404) == refused
    assert api.post(f"/v3/{other}/kick/{id_of(what)}", 404) == refused
    assert api.source.done == []


def test_a_kick_passes_on_for_how_long_and_why(api: Api) -> None:
    path = f"/v3/rtmpconns/kick/{id_of('idle')}"
    assert api.post(f"{path}?block=60&reason=too%20loud") == {"status": "ok"}
    assert api.source.done == [("kick", id_of("idle"), 60.0, "too loud")]
    assert api.post(path, 404)["error"] == "connection not found"


def test_who_left_before_the_kick_is_not_found() -> None:
    class Gone(FakeSource):
        def kick(self, connection: str, block_s: float, reason: str) -> Any:
            return super().kick("another", block_s, reason)

    assert Api(Gone()).post(f"/v3/rtmpconns/kick/{id_of('idle')}", 404)["error"] == "connection not found"


# --- stop ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["live/good", "live/suspended"])
def test_a_stop_ends_a_publication_or_the_wait_for_it(api: Api, name: str) -> None:
    assert api.post(f"/v3/channels/{name}/stop?reason=x") == {"status": "ok", "ended": True}
    assert api.source.done == [("stop", name, None, "x")]


def test_a_stop_where_nobody_publishes_is_not_found_unless_it_blocks(api: Api) -> None:
    refused = {"status": "error", "error": "nobody publishes this channel"}
    assert api.post("/v3/channels/nowhere/stop", 404) == refused
    assert api.post("/v3/channels/nowhere/stop?block=5") == {"status": "ok", "ended": False}
    assert api.source.done[-1] == ("stop", "nowhere", 5.0, "")


# --- refusals -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "error"),
    [
        ("/v3/paths/list?page=x", "invalid page"),
        ("/v3/paths/list?itemsPerPage=0", "invalid itemsPerPage"),
        ("/v3/channels/live/good/players?page=-1", "invalid page"),
        ("/v3/rtmpconns/list?page=1&page=2", "page is given more than once"),
        ("/v3/rtmpsconns/get/7", "invalid UUID"),
        ("/v3/events?after=x", "invalid after"),
        ("/v3/events?channel=a&channel=b", "channel is given more than once"),
    ],
)
def test_what_cannot_be_read_is_refused(api: Api, path: str, error: str) -> None:
    assert api.get(path, 400) == {"status": "error", "error": error}


def test_a_block_that_would_push_out_another_is_refused() -> None:
    class Full(FakeSource):
        def _did(self, here: bool) -> Any:
            return replace(super()._did(here), values=[False, None])

    api = Api(Full())
    for path in (f"/v3/rtmpconns/kick/{id_of('idle')}?block=5", "/v3/channels/nowhere/stop?block=5"):
        assert api.post(path, 429)["error"].endswith("channels are blocked: lift a block first")


@pytest.mark.parametrize("path", ["/v3/channels/live/good/stop", f"/v3/rtmpconns/kick/{id_of('idle')}"])
@pytest.mark.parametrize("query", ["block=x", f"block={MAX_BLOCK_S + 1}", "reason=" + "x" * 201])
def test_nothing_is_done_on_what_cannot_be_read(api: Api, path: str, query: str) -> None:
    assert api.post(f"{path}?{query}", 400)["error"].startswith("invalid ")
    assert api.source.done == []


@pytest.mark.parametrize("path", QUESTIONS)
def test_who_does_not_answer_is_named(path: str) -> None:
    source = FakeSource()
    source.values_of_processes.append(process("w2"))
    source.missing = ["w2"]
    api = Api(source)
    told = api.get(path)
    assert api.missing == "w2"
    if "/get/" not in path:
        assert told["rtmpsrv"]["missing"] == ["w2"]


@pytest.mark.parametrize("path", QUESTIONS)
def test_nobody_there_is_an_error(path: str) -> None:
    source = FakeSource()
    source.missing = [""]
    assert Api(source).get(path, 503) == NOBODY


@pytest.mark.parametrize(
    "path", ["/v3/channels/x/stop", "/v3/channels/x/stop?block=5", f"/v3/rtmpconns/kick/{id_of('x')}"]
)
def test_what_may_be_in_a_silent_worker_is_not_said_to_be_nowhere(path: str) -> None:
    source = two_workers()
    source.missing = ["w2"]
    api = Api(source)
    assert api.post(path, 503)["error"].endswith("w2 did not answer in time")
    source.missing = ["w1", "w2"]
    assert api.post(path, 503) == NOBODY


def test_a_kick_that_was_done_says_who_was_not_asked() -> None:
    source = two_workers()
    source.values_of_connections.append(connection("idle", worker="w1"))
    source.missing = ["w2"]
    api = Api(source)
    assert api.post(f"/v3/rtmpconns/kick/{id_of('idle')}") == {"status": "ok"}
    assert api.missing == "w2"

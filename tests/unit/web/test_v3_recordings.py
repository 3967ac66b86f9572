"""The part of the API about recordings."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

import pytest
from flask import Flask

from rtmpsrv.web import v3, v3_recordings
from tests.doubles.monitor_source import HTML_NAME, SEVERAL_TRACKS, FakeSource, crowd
from tests.doubles.monitor_values import file_of, on_air, recording
from tests.doubles.verdicts import Opinions

STARTED = "2025-10-08T08:53:20.000Z"


class Api:
    def __init__(self, source: FakeSource) -> None:
        self.source = source
        site = Flask("test", static_folder=None)
        site.register_blueprint(v3.blueprint(source, Opinions(), lambda: 0.0))
        self.client = site.test_client()

    def ask(self, path: str, status: int = 200, method: str = "GET") -> Any:
        response = self.client.open(path, method=method)
        assert response.status_code == status, response.get_data()
        return json.loads(response.get_data())


@pytest.fixture
def api() -> Api:
    return Api(FakeSource())


def test_files_are_listed_by_channel_in_pages(api: Api) -> None:
    api.source.values_of_files.append(file_of(SEVERAL_TRACKS, file="x.mp4", whole=False, ended_at=None))
    told = api.ask("/v3/recordings/list")
    assert (told["itemCount"], told["pageCount"]) == (2, 1)
    assert [one["name"] for one in told["items"]] == [HTML_NAME, SEVERAL_TRACKS]
    several = told["items"][1]
    assert [one["start"] for one in several["segments"]] == [STARTED, STARTED]
    assert several["segments"][0]["rtmpsrv"]["began_at"] == STARTED
    assert several["segments"][1]["rtmpsrv"]["ended_at"] is None
    assert several["rtmpsrv"] == {"files": 2, "size_bytes": 2_025_000_000, "recording": None}
    assert api.ask("/v3/recordings/list?itemsPerPage=1&page=1")["items"] == told["items"][1:]
    assert api.ask("/v3/recordings/list?itemsPerPage=0", 400)["status"] == "error"


def test_why_files_cannot_be_read_is_told(api: Api) -> None:
    api.source.trouble_of_files = "the files of recordings cannot be read: Permission denied"
    assert api.ask("/v3/recordings/list", 503)["error"] == api.source.trouble_of_files
    api.source.values_of_files = []
    assert api.ask("/v3/recordings/get/a", 503)["error"] == api.source.trouble_of_files


def test_one_channel_has_its_files_and_what_is_written_now() -> None:
    api = Api(FakeSource([on_air("a/b", recording=recording())], [], []))
    api.source.values_of_files = [file_of("a/b"), file_of("c")]
    told = api.ask("/v3/recordings/get/a%2Fb")
    assert (told["name"], len(told["segments"])) == ("a/b", 1)
    assert told["rtmpsrv"]["recording"]["since_at"] == "2025-10-09T08:43:20.000Z"
    assert api.ask("/v3/recordings/get/c")["rtmpsrv"]["recording"] is None
    assert api.ask("/v3/recordings/get/d", 404)["error"] == "recording not found"
    api.source.values_of_files = []
    assert api.ask("/v3/recordings/get/a/b")["segments"] == []


def test_of_many_files_the_newest_are_shown(monkeypatch: pytest.MonkeyPatch, api: Api) -> None:
    monkeypatch.setattr(v3_recordings, "MAX_SEGMENTS", 2)
    api.source.values_of_files = [file_of("a", file=str(number)) for number in range(5)]
    (told,) = api.ask("/v3/recordings/list")["items"]
    assert [one["rtmpsrv"]["file"] for one in told["segments"]] == ["3", "4"]
    assert told["rtmpsrv"]["files"] == 5


def test_a_channel_is_recorded_and_then_no_more(api: Api) -> None:
    name = quote(HTML_NAME, safe="")
    assert api.ask(f"/v3/channels/{name}/record/start?format=flv", method="POST") == {"status": "ok"}
    assert api.ask(f"/v3/paths/get/{name}")["rtmpsrv"]["recording"]["running"] is True
    assert api.ask(f"/v3/channels/{name}/record/stop", method="POST") == {"status": "ok"}
    assert api.source.done == [
        ("record", HTML_NAME, None, "flv"), ("record no more", HTML_NAME, None, ""),
    ]  # fmt: skip
    assert api.ask(f"/v3/channels/{name}/record/stop", 404, "POST")["error"] == "this channel is not recorded"


def test_what_cannot_be_recorded(api: Api) -> None:
    start = "/v3/channels/live%2Fwaited-for/record/start"
    assert api.ask(start, 404, "POST")["error"] == "nobody publishes this channel"
    assert api.ask(f"{start}?format=avi", 400, "POST")["error"] == "invalid format: flv or mp4"
    assert api.client.get(start).status_code == 405


def test_who_is_silent_may_be_the_one() -> None:
    api = Api(crowd(2, 0, ["w1", "w2"]))
    api.source.missing = ["w2"]
    assert "w2 did not answer" in api.ask("/v3/channels/x/record/start", 503, "POST")["error"]
    api.source.missing = ["w1", "w2"]
    assert api.ask("/v3/recordings/list", 503)["status"] == "error"

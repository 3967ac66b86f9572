"""Viewers by HTTP and recordings at a real server: what API, metrics and statistics tell, and their ends."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, suppress
from http.client import HTTPConnection, HTTPResponse, IncompleteRead
from pathlib import Path
from time import monotonic
from typing import Any
from xml.etree import ElementTree

import gevent
import pytest
import requests
from prometheus_client.parser import text_string_to_metric_families as families
from websocket import ABNF, WebSocket, WebSocketConnectionClosedException, create_connection

from tests.media_files import SAMPLES, current_ffmpeg
from tests.server_process import ServerProcess, free_port

SEEN_S = 20.0  # on a busy machine
KEY = "s3cret-key"
FORMS = ("flv", "ws-flv", "mp4", "ws-mp4", "hls")
ROUTES = {"httpConn": "httpconns", "hlsSession": "hlssessions"}


class House:
    """A server, ffmpeg that publishes to it for a minute, and one viewer of each kind."""

    def __init__(self, clip: Path, recordings: Path) -> None:
        self.recordings = recordings
        self.http, self.api = free_port(), free_port()
        self.server = ServerProcess(
            HTTP_PORT=str(self.http), API_PORT=str(self.api), MAX_IP_CONCURRENT_CONNECTIONS="30",
            RECORD_DIR=str(recordings),
        )  # fmt: skip
        self._clip = clip
        self.ends = ExitStack()
        self.name = ""  # of the viewer by HLS

    def publish(self) -> None:
        command = [current_ffmpeg(), "-v", "error", "-nostdin", "-re", "-stream_loop", "9"]
        url = f"rtmp://127.0.0.1:{self.server.port}/channel/{KEY}"
        ffmpeg = subprocess.Popen([*command, "-i", str(self._clip), "-c", "copy", "-f", "flv", url])
        self.ends.callback(ffmpeg.wait)
        self.ends.callback(ffmpeg.kill)
        self.until(lambda: self.path()["ready"])

    def watch(self) -> dict[str, Any]:
        """Return the ends of viewers, each of which gets media."""
        viewers: dict[str, Any] = {
            "flv": self.get("/channel.flv"), "ws-flv": self.websocket("/channel.flv"),
            "mp4": self.get("/channel.mp4"), "ws-mp4": self.websocket("/channel.mp4"),
        }  # fmt: skip
        for one in viewers.values():
            assert one.recv() if isinstance(one, WebSocket) else one.read(100)
        self.hls()
        return viewers

    def get(self, path: str) -> HTTPResponse:
        connection = self.ends.enter_context(closing(HTTPConnection("127.0.0.1", self.http, timeout=SEEN_S)))
        connection.request("GET", f"{path}?key={KEY}")
        answer = self.ends.enter_context(connection.getresponse())
        assert answer.status == 200
        return answer

    def websocket(self, path: str) -> WebSocket:
        url = f"ws://127.0.0.1:{self.http}{path}?key={KEY}"
        viewer = create_connection(url, timeout=SEEN_S)
        assert viewer.sock is not None
        self.ends.callback(viewer.sock.close)  # its own forgets it where the other end is gone
        return viewer

    def hls(self) -> int:
        """Ask as a player by HLS does; return the status of the last answer."""
        page = f"http://127.0.0.1:{self.http}/channel"
        if not self.name:
            index = requests.get(f"{page}/index.m3u8?key={KEY}", timeout=SEEN_S)
            assert index.status_code == 200
            self.name = next(line for line in index.text.splitlines() if line and line[0] != "#")
        return requests.get(f"{page}/{self.name}", timeout=SEEN_S).status_code

    def status(self, path: str, address: str) -> int:
        """Ask as somebody at an address; return the status."""
        with closing(
            HTTPConnection("127.0.0.1", self.http, timeout=SEEN_S, source_address=(address, 0))
        ) as one:
            one.request("GET", path)
            return one.getresponse().status

    def ask(self, path: str, status: int = 200, method: str = "GET") -> Any:
        answer = requests.request(method, f"http://127.0.0.1:{self.api}{path}", timeout=SEEN_S)
        assert answer.status_code == status, (path, answer.text)
        assert KEY not in answer.text
        return answer.json() if path.startswith("/v3") else answer.text

    def path(self) -> Any:
        return self.ask("/v3/paths/list")["items"][0] if self.ask("/v3/paths/list")["items"] else {"ready": 0}

    def until(self, is_so: Callable[[], object]) -> None:
        until = monotonic() + SEEN_S
        while not is_so():
            assert monotonic() < until
            gevent.sleep(0.1)

    def metrics(self) -> dict[tuple[str, tuple[str, ...]], float]:
        return {
            (one.name.removeprefix("rtmpsrv_"), tuple(one.labels.values())): one.value
            for family in families(self.ask("/metrics"))
            for one in family.samples
        }


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    folder = tmp_path_factory.mktemp("viewers")
    clip = folder / "clip.flv"
    command = [current_ffmpeg(), "-v", "error", "-nostdin", *SAMPLES["h264_aac"].split(), str(clip)]
    subprocess.run(command, check=True, timeout=60)
    made = House(clip, folder / "recordings")
    with made.server, made.ends:
        made.publish()
        yield made


def test_all_kinds_of_viewers_are_told_of_and_can_be_ended(house: House) -> None:
    viewers = house.watch()
    told_everywhere(house)
    ended_one_by_one(house, viewers)


def told_everywhere(house: House) -> None:
    path = house.path()
    assert path["rtmpsrv"]["forms"] == dict.fromkeys(FORMS, 1)
    assert path["rtmpsrv"]["players"] == len(FORMS)
    players = house.ask("/v3/channels/channel/players")["items"]
    assert {one["rtmpsrv"]["form"] for one in players} == set(FORMS)
    assert {one["id"] for one in players} == {one["id"] for one in path["readers"]}
    assert sorted(one["type"] for one in path["readers"]) == ["hlsSession", *["httpConn"] * 4]
    assert all(one["outboundBytes"] > 0 and one["state"] == "read" for one in players)
    for kind, route in ROUTES.items():
        listed = house.ask(f"/v3/{route}/list")["items"]
        reading = {one["id"] for one in listed if one["path"] == "channel"}
        assert reading == {one["id"] for one in path["readers"] if one["type"] == kind}
    assert house.ask("/v3/httpsconns/list")["items"] == []
    metrics = house.metrics()
    assert [metrics["players", (form,)] for form in FORMS] == [1] * len(FORMS)
    assert all(metrics["form_sent_bytes_total", (form,)] > 0 for form in FORMS)
    assert metrics["connections", ("http", "player")] == 4
    assert metrics["viewer_requests_total", ("flv", "101")] == 1
    assert metrics["viewer_requests_total", ("mp4", "200")] == 1
    assert (metrics["hls_makers", ()], metrics["mp4_makers", ()]) == (1, 1)
    (stream,) = ElementTree.fromstring(house.ask("/stat")).iter("stream")
    assert stream.findtext("nclients") == str(1 + len(FORMS))
    assert len(stream.findall("client")) == 1 + len(FORMS)
    assert re.search(
        r'paths_readers\{[^}]*readerType="hlsSession"[^}]*\} 1', house.ask("/metrics?format=mediamtx")
    )


def ended_one_by_one(house: House, viewers: dict[str, Any]) -> None:
    players = {one["rtmpsrv"]["form"]: one for one in house.ask("/v3/channels/channel/players")["items"]}
    for form, player in players.items():
        wrong = "rtmpconns" if form != "hls" else "httpconns"
        house.ask(f"/v3/{wrong}/kick/{player['id']}", 404, "POST")
        house.ask(f"/v3/{ROUTES[player['type']]}/kick/{player['id']}?reason=enough", method="POST")
    for form in ("flv", "mp4"):
        with suppress(IncompleteRead):  # which tells that a stream was cut
            while viewers[form].read(65536):
                pass  # to the end, which comes
    for form in ("ws-flv", "ws-mp4"):
        with suppress(WebSocketConnectionClosedException):
            while viewers[form].recv_data()[0] != ABNF.OPCODE_CLOSE:
                pass  # to the end, which comes
    assert house.hls() == 403
    house.until(lambda: house.path()["rtmpsrv"]["players"] == 0)
    events = house.ask("/v3/events")["items"]
    kicked = {one["connection"]: one for one in events if one["what"] == "kicked"}
    assert {one["id"] for one in players.values()} == set(kicked)
    assert all("enough" in one["reason"] for one in kicked.values())
    assert {one["connection"] for one in events if one["what"] == "stop"} == set(kicked)
    index = f"/channel/index.m3u8?key={KEY}"
    assert house.status(index, "127.0.0.1") == 403  # it stays away for a while, also if it opens it anew
    assert house.status(index, "127.0.0.9") == 200
    (viewer,) = house.ask("/v3/hlssessions/list")["items"]
    house.ask(f"/v3/hlssessions/kick/{viewer['id']}?block=60", method="POST")
    assert house.status(f"/channel.flv?key={KEY}", "127.0.0.9") == 403


def test_a_recording_is_started_seen_and_stopped(house: House) -> None:
    assert house.ask("/v3/recordings/list")["items"] == []
    assert not house.recordings.exists()
    start, stop = (f"/v3/channels/channel/record/{what}" for what in ("start", "stop"))
    house.ask(stop, 404, "POST")
    house.ask("/v3/channels/other/record/start", 404, "POST")
    house.ask(f"{start}?format=flv", method="POST")
    house.until(lambda: (house.path()["rtmpsrv"]["recording"] or {}).get("written_bytes"))
    recording = house.path()["rtmpsrv"]["recording"]
    assert (recording["running"], recording["format"], recording["error"]) == (True, "flv", "")
    assert house.metrics()["recordings", ()] == 1
    (told,) = house.ask("/v3/recordings/list")["items"]
    assert [one["rtmpsrv"]["whole"] for one in told["segments"]] == [False]
    house.ask(stop, method="POST")
    house.until(lambda: house.path()["rtmpsrv"]["recording"] is None)
    (segment,) = house.ask("/v3/recordings/get/channel")["segments"]
    file = segment["rtmpsrv"]
    assert (file["file"], file["whole"]) == (recording["file"], True)
    assert (house.recordings / file["file"]).stat().st_size == file["size_bytes"]
    metrics = house.metrics()
    assert metrics["recorded_files_total", ()] == 1
    assert metrics["recorded_bytes_total", ()] == file["size_bytes"]
    (event,) = [one for one in house.ask("/v3/events")["items"] if one["what"] == "recorded"]
    assert (event["channel"], event["received_bytes"]) == ("channel", file["size_bytes"])
    assert file["file"] in event["reason"]
    house.ask("/control/record/start?app=live&name=channel", method="POST")
    house.until(lambda: (house.path()["rtmpsrv"]["recording"] or {}).get("file"))
    assert house.ask("/control/record/stop?app=live&name=channel", method="POST").startswith("channel")
    assert house.ask("/control/record/stop?app=live&name=other", 204, "POST") == ""

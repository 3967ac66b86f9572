"""Live MP4 and stills of a real server, by HTTP and by WebSocket, while ffmpeg publishes."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import closing
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path
from time import monotonic

import av
import pytest
from websocket import create_connection

from tests.media_files import current_ffmpeg, make_samples
from tests.server_process import ServerProcess, free_port

TYPE = 'video/mp4; codecs="avc1.64000c,mp4a.40.2"'
PATIENCE_S = 20.0


class Published:
    """A server, and ffmpeg that publishes to it in real time for six seconds."""

    def __init__(self, clip: Path) -> None:
        self.http = free_port()
        self.server = ServerProcess(HTTP_PORT=str(self.http))
        self.clip = clip
        self.connections: list[HTTPConnection] = []

    def publish(self) -> subprocess.Popen[bytes]:
        url = f"rtmp://127.0.0.1:{self.server.port}/channel/key"
        command = [current_ffmpeg(), "-v", "error", "-nostdin", "-re", "-i", str(self.clip), "-c", "copy"]
        return subprocess.Popen([*command, "-f", "flv", url])

    def get(self, path: str) -> HTTPResponse:
        connection = HTTPConnection("127.0.0.1", self.http, timeout=PATIENCE_S)
        self.connections.append(connection)
        connection.request("GET", path)
        return connection.getresponse()

    def leave(self) -> None:
        for connection in self.connections:
            connection.close()
        self.connections.clear()


@pytest.fixture(scope="module")
def serving(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Published]:
    stage = Published(make_samples(tmp_path_factory.mktemp("samples"))["h264_aac"])
    with stage.server:
        yield stage


@pytest.fixture
def published(serving: Published) -> Iterator[Published]:
    yield serving
    serving.leave()


def frames_in(data: bytes) -> dict[str, int]:
    with av.open(io.BytesIO(data), "r") as file:
        kinds = [packet.stream.type for packet in file.demux() if packet.size]
    return {kind: kinds.count(kind) for kind in ("video", "audio")}


def test_a_response_ends_with_the_publication(published: Published) -> None:
    publisher = published.publish()
    answer = published.get("/channel.mp4?key=key")
    assert (answer.status, answer.getheader("Content-Type")) == (200, TYPE)
    data = answer.read()
    publisher.wait(PATIENCE_S)

    frames = frames_in(data)
    assert frames["video"] > 100
    assert frames["audio"] > 150


def test_a_websocket_is_told_the_type_first(published: Published) -> None:
    url = f"ws://127.0.0.1:{published.http}/channel.mp4?key=key"
    with closing(create_connection(url, timeout=PATIENCE_S)) as viewer:
        publisher = published.publish()
        assert json.loads(viewer.recv()) == {"type": TYPE}
        data = b""
        until = monotonic() + PATIENCE_S
        while data.count(b"moof") < 20:
            assert monotonic() < until
            piece = viewer.recv()
            assert isinstance(piece, bytes)
            data += piece
        assert data[4:8] == b"ftyp"
        publisher.wait(PATIENCE_S)


def test_a_still_survives_the_death_of_what_makes_it(published: Published) -> None:
    publisher = published.publish()
    stream = published.get("/channel.mp4?key=key")
    stream.read(1000)
    helper = published.server.media_process()
    assert helper is not None
    os.kill(helper, signal.SIGKILL)

    still = published.get("/channel.jpg?key=key")

    assert (still.status, still.getheader("Content-Type")) == (200, "image/jpeg")
    assert still.read().startswith(b"\xff\xd8\xff")
    assert published.server.media_process() not in (None, helper)
    assert stream.read(1000)
    published.leave()
    publisher.wait(PATIENCE_S)


def test_what_nobody_can_have_is_said(published: Published) -> None:
    assert published.get("/channel.mp4?key=key&audio=no&video=no").status == 400
    assert published.get("/other.jpg?key=key").status == 404

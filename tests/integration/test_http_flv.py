"""Viewers by HTTP and WebSocket, with clients of others."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise

import pytest
from websocket import ABNF, WebSocket, create_connection

from rtmpsrv.media.flv import Tag, TagReader
from tests.integration.lineage import Lineage
from tests.server_process import ServerProcess, free_port

LONG_S = 20.0
VIDEO = 9
KEY = "Kleinod-7261"


@contextmanager
def publishing(server: ServerProcess, seconds: float = LONG_S) -> Iterator[None]:
    """A test picture with sound."""
    process = subprocess.Popen(
        [
            "ffmpeg", "-loglevel", "error", "-re", "-f", "lavfi", "-i", "testsrc=s=160x90:r=15",
            "-f", "lavfi", "-i", "sine", "-c:v", "libx264", "-preset", "ultrafast", "-g", "15", "-c:a", "aac",
            "-t", str(seconds), "-f", "flv", f"rtmp://127.0.0.1:{server.port}/live/{KEY}",
        ],
    )  # fmt: skip
    try:
        server.wait_for_line("publish accepted", timeout_s=LONG_S)
        yield
    finally:
        process.kill()
        process.wait()


@pytest.fixture
def port() -> int:
    return free_port()


@pytest.fixture
def server(port: int) -> Iterator[ServerProcess]:
    with ServerProcess(HTTP_PORT=str(port), CONCURRENT_LIMIT_WHITELIST="*") as server:
        yield server


def run(*command: str) -> str:
    """Run a client to its end; return what it says."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=LONG_S, check=False)
    return done.stdout + done.stderr


def url(port: int, scheme: str = "http", key: str = KEY) -> str:
    return f"{scheme}://127.0.0.1:{port}/live.flv?key={key}"


@contextmanager
def connect(url: str) -> Iterator[WebSocket]:
    """Open a WebSocket."""
    made = create_connection(url, timeout=LONG_S)
    try:
        yield made
    finally:
        assert made.sock is not None
        made.sock.close()  # `close` leaves the socket open where the server has said goodbye


def received(viewer: WebSocket) -> tuple[int, bytes]:
    """Return the next message: its opcode, and what it holds."""
    found: tuple[int, bytes] = viewer.recv_data()
    return found


def test_clients_of_others(server: ServerProcess, port: int) -> None:
    with publishing(server):
        shown = run("ffprobe", "-show_streams", url(port))
        assert "codec_name=h264" in shown
        assert "codec_name=aac" in shown
        copied = run("ffmpeg", "-v", "error", "-t", "1", "-i", url(port), "-c", "copy", "-f", "framemd5", "-")
        assert copied.count("\n0,") > 10
        answer = run("curl", "-sSi", "-m", "1", "-o", "/dev/null", "-D", "-", url(port))
        assert "HTTP/1.1 200 OK" in answer
        assert "video/x-flv" in answer
        assert "403" in run("curl", "-sS", "-o", "/dev/null", "-w", "%{http_code}", url(port, key="wrong"))
    assert KEY not in "\n".join(server.everything())


def test_a_viewer_by_websocket(server: ServerProcess, port: int) -> None:
    reader = TagReader()
    with publishing(server), connect(url(port, "ws")) as viewer:
        tags: list[Tag] = []
        while len(tags) < 20:
            opcode, data = received(viewer)
            assert opcode == ABNF.OPCODE_BINARY
            tags += reader.feed(data)
        assert reader.has_video
        assert reader.has_audio
    with publishing(server), connect(url(port, "ws", "wrong")) as viewer:
        opcode, data = received(viewer)
        assert (opcode, int.from_bytes(data[:2])) == (ABNF.OPCODE_CLOSE, 1008)


def test_viewers_go_on_in_the_next_process(port: int) -> None:
    with (
        Lineage(HTTP_PORT=str(port)) as server,
        publishing(server),
        connect(url(port, "ws")) as other,
        socket.create_connection(("127.0.0.1", port), timeout=LONG_S) as viewer,
    ):
        viewer.sendall(f"GET /live.flv?key={KEY} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        data = b""
        while not data.partition(b"\r\n\r\n")[2]:
            data += viewer.recv(1024)
        by_http, by_ws = Heard(), Heard()
        by_http.take(data.partition(b"\r\n\r\n")[2])

        def go_on(count: int) -> None:
            wanted = [len(one.tags) + count for one in (by_http, by_ws)]
            while len(by_http.tags) < wanted[0]:
                by_http.take(viewer.recv(65536))
            while len(by_ws.tags) < wanted[1]:
                by_ws.take(received(other)[1])

        go_on(40)
        since = server.succeed()
        server.wait_for_line(r"succession: .* done after", since, timeout_s=LONG_S)
        go_on(100)
        for one in (by_http, by_ws):
            times = [tag.timestamp for tag in one.tags if tag.type_id == VIDEO]
            assert times == sorted(times)
            assert max(after - before for before, after in pairwise(times)) < 200, "nothing is missing"
        assert "404" in run(
            "curl", "-sS", "-o", "/dev/null", "-w", "%{http_code}", f"http://127.0.0.1:{port}/x/y"
        )
        assert len(server.matching(r"PLAY \(.*flv, 127.0.0.1\)")) == 2, "nobody came again"


class Heard:
    """What a viewer got: an error where it is not whole tags one behind the other."""

    def __init__(self) -> None:
        self.tags: list[Tag] = []
        self._reader = TagReader()

    def take(self, data: bytes) -> None:
        assert data, "it was left behind"
        self.tags += self._reader.feed(data)

"""A real nginx in front, with the file of config/: HTTPS, HTTP/2, nothing held back, addresses known."""

from __future__ import annotations

import os
import re
import socket
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from select import select
from time import monotonic

import pytest
from websocket import create_connection

from rtmpsrv.media.flv import Tag, TagReader
from tests.client import AVC_HEADER, Stage, stage
from tests.doubles.pairs import issue
from tests.hls_rules import parse
from tests.media_files import current_ffmpeg, system_tool
from tests.server_process import PROJECT, ServerProcess, free_port

PATIENCE_S = 60.0
VIEWER, OTHER = "127.0.0.21", "127.0.0.22"  # may play; may not
KEY = "key-behind-nginx"
PICTURE = b"\x17\x01\0\0\0" + b"\0\0\0\x04\x65abc"  # a keyframe
NEXT = b"\x27\x01\0\0\0" + b"\0\0\0\x04\x41abc"


class Front:
    """The server, and nginx before it with our file, but for ports and names of files."""

    def __init__(self, folder: Path) -> None:
        self.https, http = free_port(), free_port()
        self.server = ServerProcess(
            HTTP_PORT=str(http),
            HTTP_TRUSTED_PROXIES="127.0.0.1",
            RTMP_PLAY_WHITELIST=VIEWER,
            CONCURRENT_LIMIT_WHITELIST="*",
        )
        self.log = folder / "access.log"
        config = folder / "nginx.conf"
        config.write_text(self._config(folder, http))
        command = [
            system_tool("nginx"),
            "-p",
            str(folder),
            "-c",
            str(config),
            "-e",
            str(folder / "error.log"),
        ]
        self.proxy = subprocess.Popen(command)
        until = monotonic() + PATIENCE_S
        while self.get("/")[0] != 200:
            assert self.proxy.poll() is None, (folder / "error.log").read_text()
            assert monotonic() < until, "nginx does not answer"

    def _config(self, folder: Path, http: int) -> str:
        issued = issue()
        (folder / "chain.pem").write_bytes(issued.chain)
        (folder / "key.pem").write_bytes(issued.key)
        text = (PROJECT / "config/nginx-https.conf").read_text()
        for theirs, placed in (
            ("listen 443 ", f"listen 127.0.0.1:{self.https} "),
            ("    listen [::]:443 ssl http2;\n", ""),
            ("server 127.0.0.1:8080;", f"server 127.0.0.1:{http};"),
            ("/etc/letsencrypt/live/live.example.org/fullchain.pem", f"{folder}/chain.pem"),
            ("/etc/letsencrypt/live/live.example.org/privkey.pem", f"{folder}/key.pem"),
            ("/var/log/nginx/rtmpsrv.log", str(self.log)),
        ):
            assert theirs in text
            text = text.replace(theirs, placed)
        temporary = "".join(
            f"{name}_temp_path {folder}/{name};\n"
            for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        head = f"daemon off;\nworker_processes 1;\npid {folder}/nginx.pid;\nerror_log {folder}/error.log;\n"
        return f"{head}events {{ worker_connections 64; }}\nhttp {{\n{temporary}{text}}}\n"

    def close(self) -> None:
        self.proxy.terminate()
        self.proxy.wait(PATIENCE_S)
        self.server.__exit__(None, None, None)

    def curl(self, path: str, *options: str, source: str = VIEWER) -> list[str]:
        """Return a command that asks by HTTP/2 from an address."""
        url = f"https://127.0.0.1:{self.https}{path}"
        return ["curl", "-sNk", "--http2", "-m", str(PATIENCE_S), "--interface", source, *options, url]

    def get(self, path: str, *options: str, source: str = VIEWER) -> tuple[int, str, str]:
        """Return status, version of HTTP and body."""
        command = self.curl(path, "-w", "\n%{http_code} %{http_version}", *options, source=source)
        body, _, told = (
            subprocess.run(command, capture_output=True).stdout.decode("utf-8", "replace").rpartition("\n")
        )
        status, version = told.split()
        return int(status), version, body


@pytest.fixture(scope="module")
def front(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Front]:
    made = Front(tmp_path_factory.mktemp("front"))
    yield made
    made.close()


@pytest.fixture
def clients(front: Front) -> Iterator[Stage]:
    with stage(front.server.port) as opened:
        yield opened


@contextmanager
def publishing(front: Front, channel: str) -> Iterator[None]:
    """A test picture, for as long as the context lasts."""
    source = "-f lavfi -i testsrc2=s=160x90:r=15 -c:v libx264 -preset ultrafast -tune zerolatency -g 15"
    url = f"rtmp://127.0.0.1:{front.server.port}/{channel}/{KEY}"
    command = [current_ffmpeg(), "-v", "error", "-nostdin", "-re", *source.split(), "-f", "flv", url]
    process = subprocess.Popen(command)
    try:
        front.server.wait_for_line(f"publish accepted channel={channel}", timeout_s=PATIENCE_S)
        yield
    finally:
        process.kill()
        process.wait()


def test_the_page_comes_by_http_2(front: Front) -> None:
    status, version, body = front.get("/live")
    assert (status, version) == (200, "2")
    assert "/static/main.js" in body


def test_each_message_of_flv_goes_on_at_once(front: Front, clients: Stage) -> None:
    publisher = clients.publisher("one", KEY, headers=False)
    publisher.video(0, AVC_HEADER)
    publisher.video(0, PICTURE)
    viewer = subprocess.Popen(front.curl(f"/one.flv?key={KEY}"), stdout=subprocess.PIPE)
    reader = TagReader()
    try:
        wait_for(viewer, reader, PICTURE)  # nothing comes after it that could push it on
        publisher.video(40, NEXT)
        wait_for(viewer, reader, NEXT)
    finally:
        viewer.kill()
        viewer.communicate()


def wait_for(viewer: subprocess.Popen[bytes], reader: TagReader, payload: bytes) -> None:
    """Read until a tag with this payload has come."""
    assert viewer.stdout is not None
    tags: list[Tag] = []
    while not any(bytes(tag.payload) == payload for tag in tags):
        assert select([viewer.stdout], [], [], PATIENCE_S)[0], "it is held back"
        data = os.read(viewer.stdout.fileno(), 65536)
        assert data, "it ended"
        tags += reader.feed(data)


def test_websockets_and_blocking_reloads_pass(front: Front) -> None:
    trusting = ssl.create_default_context()
    trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE
    with publishing(front, "two"):
        plain = socket.create_connection(("127.0.0.1", front.https), PATIENCE_S, (VIEWER, 0))
        url = f"wss://127.0.0.1:{front.https}/two.flv?key={KEY}"
        viewer = create_connection(url, socket=trusting.wrap_socket(plain))
        reader, tags = TagReader(), 0
        while tags < 10:
            data = viewer.recv()
            assert isinstance(data, bytes)
            tags += len(reader.feed(data))
        viewer.close()
        playlist = live(front)
        for _ in range(3):
            status, version, body = front.get(f"/two/{playlist}")
            assert (status, version) == (200, "2")
            last = parse(body)
            number = last.tail.number if last.tail is not None else last.segments[-1].number + 1
            part = len(last.tail.parts) if last.tail is not None else 0
            status, _, body = front.get(f"/two/{playlist}&_HLS_msn={number}&_HLS_part={part}")
            assert status == 200
            newest = parse(body)
            assert newest.segments[-1].number >= number or (
                newest.tail is not None and newest.tail.number == number and len(newest.tail.parts) > part
            )


def live(front: Front) -> str:
    """Return the name of the media playlist; waits until there is one."""
    for _ in range(20):
        status, _, body = front.get(f"/two/index.m3u8?key={KEY}")
        if status == 200:
            link = re.search(r"^live\.m3u8\?\S+$", body, re.M)
            assert link is not None
            return link[0]
        assert status in (404, 503)
    raise AssertionError("nobody publishes")


def test_who_watches_is_known_by_address_and_cannot_choose_it(front: Front, clients: Stage) -> None:
    publisher = clients.publisher("three", KEY, headers=False)
    publisher.video(0, AVC_HEADER)
    publisher.video(0, PICTURE)
    path = f"/three.flv?key={KEY}"
    assert front.get(path, source=OTHER)[0] == 403
    forged = ("-H", f"X-Forwarded-For: {VIEWER}")
    assert front.get(path, *forged, source=OTHER)[0] == 403
    viewer = subprocess.Popen(front.curl(path), stdout=subprocess.PIPE)
    try:
        wait_for(viewer, TagReader(), PICTURE)
    finally:
        viewer.kill()
        viewer.communicate()
    assert KEY not in front.log.read_text()

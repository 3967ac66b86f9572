"""Viewers by HTTP of all kinds while processes succeed one another: nobody notices."""

from __future__ import annotations

import re
from contextlib import ExitStack
from pathlib import Path

import pytest
import requests

from tests.doubles.pairs import issue
from tests.integration.lineage import Lineage
from tests.server_process import free_port
from tests.viewers import (
    FlvViewer,
    HlsViewer,
    Mp4Viewer,
    Reloading,
    Watching,
    WsFlvViewer,
    WsMp4Viewer,
    check_goes_on,
    make_clip,
    payloads_of,
    publishing,
)

HOST = "127.0.0.1"
KEY = "Kleinod-7261"
CHANNEL = "live"
SUCCESSIONS = 3
PATIENCE_S = 60.0
SOME = 30  # pictures


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_clip(tmp_path_factory.mktemp("samples"))


def test_viewers_of_all_kinds_go_on_in_three_successions_in_a_row(clip: Path) -> None:
    source, port, api_port = payloads_of(clip), free_port(), free_port()
    address = (HOST, port)
    ports = {"HTTP_PORT": str(port), "API_PORT": str(api_port)}
    with Lineage(LINGER_SECONDS="170", **ports) as server, ExitStack() as stack:
        stack.enter_context(publishing(clip, f"rtmp://{HOST}:{server.port}/{CHANNEL}/{KEY}"))
        server.wait_for_line("publish accepted", timeout_s=PATIENCE_S)
        viewers: list[FlvViewer | Mp4Viewer] = [
            FlvViewer(address, f"/{CHANNEL}.flv?key={KEY}", source),
            WsFlvViewer(address, f"/{CHANNEL}.flv?key={KEY}", source),
            Mp4Viewer(address, f"/{CHANNEL}.mp4?key={KEY}"),
            WsMp4Viewer(address, f"/{CHANNEL}.mp4?key={KEY}"),
        ]
        watching = [Watching(viewer) for viewer in viewers]
        hls = Reloading(HlsViewer(address, CHANNEL, KEY))
        for _ in range(SUCCESSIONS):
            since = server.succeed()
            server.wait_for_line(r"succession: .* done after", since, timeout_s=PATIENCE_S)
            for one in watching:
                one.see(SOME)
        counted = requests.get(f"http://{HOST}:{api_port}/metrics", timeout=PATIENCE_S).text
        assert 'rtmpsrv_connections{protocol="rtmp",role="idle"} 0.0' in counted, (
            "a viewer is no client of RTMP"
        )
        for loop in (*watching, hls):
            loop.stop()
        for line in server.matching(r"PLAY \((ws-)?flv\b"):
            found = re.search(r"\[SERVER:HTTP\] \[#\d+\]", line)
            assert found is not None, line
            server.wait_for_line(re.escape(found[0]) + r".* closed: ", timeout_s=PATIENCE_S)
        check_goes_on(hls.viewer.lists)
        assert len(server.matching(r"PLAY \((ws-)?flv\b")) == 2, "nobody came again"
        assert len(server.matching(r"PLAY \((ws-)?mp4\b")) == 2
        assert len(server.matching(r"PLAY \(hls\b")) == 1
    assert not [line for line in server.everything() if "Traceback" in line or "[ERROR]" in line]
    assert KEY not in "\n".join(server.everything())


def test_viewers_on_tls_stay_and_miss_nothing(clip: Path, tmp_path: Path) -> None:
    source, port = payloads_of(clip), free_port()
    address = (HOST, port)
    chain, secret = issue().write(tmp_path)
    settings = {
        "HTTP_TLS": "YES",
        "SSL_CERT": str(chain),
        "SSL_KEY": str(secret),
        "SSL_PORT": str(free_port()),
    }
    with Lineage(HTTP_PORT=str(port), LINGER_SECONDS="170", **settings) as server, ExitStack() as stack:
        stack.enter_context(publishing(clip, f"rtmp://{HOST}:{server.port}/{CHANNEL}/{KEY}"))
        server.wait_for_line("publish accepted", timeout_s=PATIENCE_S)
        viewers: list[FlvViewer | Mp4Viewer] = [
            FlvViewer(address, f"/{CHANNEL}.flv?key={KEY}", source, tls=True),
            WsFlvViewer(address, f"/{CHANNEL}.flv?key={KEY}", source, tls=True),
            Mp4Viewer(address, f"/{CHANNEL}.mp4?key={KEY}", tls=True),
            WsMp4Viewer(address, f"/{CHANNEL}.mp4?key={KEY}", tls=True),
        ]
        watching = [Watching(viewer) for viewer in viewers]
        # One comes anew for each request, the other keeps a connection, as long as it may.
        restless, faithful = (HlsViewer(address, CHANNEL, KEY, tls=True, keeps=k) for k in (False, True))
        loops = [Reloading(restless), Reloading(faithful)]
        for _ in range(2):
            for one in watching:
                one.see(SOME)
            server.succeed()
        for one in watching:
            one.see(SOME)
        for loop in (*watching, *loops):
            loop.stop()
        for hls in (restless, faithful):
            check_goes_on(hls.lists)
        assert faithful.connections < faithful.requests
        assert server.process.wait(PATIENCE_S) == 0, "it leaves when its viewers have"
    assert not [line for line in server.everything() if "Traceback" in line or "[ERROR]" in line]

"""Viewers by HTTP of all kinds, with several workers: whichever accepts them, they see the same."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from time import monotonic, sleep

import pytest
import requests

from tests.server_process import free_port
from tests.succession_process import Family
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
EACH = 3  # viewers of a kind: the system spreads them over the workers
SOME = 20  # pictures
FORMS = {"flv": EACH, "ws-flv": EACH, "mp4": EACH, "ws-mp4": EACH, "hls": 1}


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_clip(tmp_path_factory.mktemp("samples"))


@contextmanager
def serving(**settings: str) -> Iterator[tuple[Family, tuple[str, int], int]]:
    """Give a server of two workers, and its ports for viewers and of the API."""
    port, api_port = free_port(), free_port()
    with Family(
        WORKERS="2",
        HTTP_PORT=str(port),
        API_PORT=str(api_port),
        CONCURRENT_LIMIT_WHITELIST="*",
        LINGER_SECONDS="170",
        **settings,
    ) as family:
        yield family, (HOST, port), api_port
        assert family.faults() == []
        assert KEY not in "\n".join(family.first.everything())


def forms_told(api_port: int) -> dict[str, int]:
    """Return how many watch in which form, as the API has it."""
    path = requests.get(f"http://{HOST}:{api_port}/v3/paths/get/{CHANNEL}", timeout=20.0)
    forms: dict[str, int] = path.json()["rtmpsrv"]["forms"]
    return forms


def until(is_so: Callable[[], bool]) -> None:
    give_up_at = monotonic() + 20.0
    while not is_so():
        assert monotonic() < give_up_at
        sleep(0.1)


def test_viewers_of_all_kinds_see_everything_whichever_worker_accepts_them(clip: Path) -> None:
    source = payloads_of(clip)
    with serving() as (family, address, api_port), ExitStack() as stack:
        stack.enter_context(publishing(clip, f"rtmp://{HOST}:{family.port}/{CHANNEL}/{KEY}"))
        family.wait_for_line("publish accepted", timeout_s=60.0)
        viewers: list[FlvViewer | Mp4Viewer] = []
        for _ in range(EACH):
            viewers.append(FlvViewer(address, f"/{CHANNEL}.flv?key={KEY}", source))
            viewers.append(WsFlvViewer(address, f"/{CHANNEL}.flv?key={KEY}", source))
            viewers.append(Mp4Viewer(address, f"/{CHANNEL}.mp4?key={KEY}"))
            viewers.append(WsMp4Viewer(address, f"/{CHANNEL}.mp4?key={KEY}"))
        watching = [Watching(viewer) for viewer in viewers]
        hls = HlsViewer(address, CHANNEL, KEY)
        reloading = Reloading(hls)
        for one in watching:
            one.see(SOME)
        for _ in range(EACH):
            status, picture = hls.get(f"/{CHANNEL}.jpg?key={KEY}")
            assert (status, picture[:2]) == (200, b"\xff\xd8")
        makers = len(family.first.matching(r"PLAY \(hls\b"))
        assert makers == 1, "it is one viewer of one worker, whoever accepts its connections"
        until(lambda: forms_told(api_port) == FORMS)
        family.reload()
        for one in watching:
            one.see(SOME)
        for loop in (*watching, reloading):
            loop.stop()
        check_goes_on(hls.lists)
        assert len(family.first.matching(r"PLAY \(hls\b")) == 1, "nor in a reload"

"""HLS as ffmpeg plays it: every picture and sound that was published, by hashes of what is decoded."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qsl

import gevent
import pytest
from gevent import subprocess as gsubprocess
from gevent.event import Event
from gevent.pywsgi import WSGIServer

from rtmpsrv import log
from rtmpsrv.av.process import AvProcess
from rtmpsrv.hls.handler import HlsHandler
from rtmpsrv.hls.maker import Maker
from rtmpsrv.hls.makers import Makers
from rtmpsrv.hls.viewers import Viewers
from rtmpsrv.live.output import LiveLimits
from rtmpsrv.live.registry import Registry
from rtmpsrv.media.flv import TagReader
from rtmpsrv.media.hls_numbers import Numbering
from rtmpsrv.server.clock import LoopClock
from tests.media_files import DURATION_S, FRAME_RATE, current_ffmpeg, make_samples

TIMEOUT_S = 30
PICTURES = DURATION_S * FRAME_RATE
SOUNDS = DURATION_S * 1000 // 22
AHEAD = 25  # frames that an ffmpeg keeps back while a stream goes on
_CSIDS = {8: 4, 9: 6, 18: 4}


class Viewing:
    name = "a"
    shape: bytes | None = None
    is_kicked = False

    def rest(self) -> None:
        """There are slots enough."""

    def wake(self) -> None:
        """There are slots enough."""

    def state(self) -> dict[str, Any]:
        return {}

    def hand_over(self) -> None:
        """Nobody takes over."""

    def sent(self, count: int) -> None:
        """Nobody counts."""

    def end(self, reason: str) -> None:
        """Be done."""


class Reply:
    """An answer by WSGI."""

    def __init__(self, start: Callable[..., object]) -> None:
        self._start = start
        self.body = b""

    def send(
        self,
        status: int,
        body: bytes | Iterable[bytes] = b"",
        type: str = "",
        headers: Iterable[tuple[str, str]] = (),
    ) -> None:
        body = body if isinstance(body, bytes) else b"".join(body)
        self._start(f"{status} Said", [("Content-Type", type), ("Content-Length", str(len(body))), *headers])
        self.body = body

    def wait(self, event: Event, timeout_s: float | None = None) -> bool:
        return event.wait(timeout_s)


class House:
    """A channel, its HLS, and a port for players."""

    def __init__(self, first_part: Callable[..., bytes]) -> None:
        self.registry: Registry[str] = Registry(LoopClock(), LiveLimits(), 64 << 20, 4096)
        self.channel = self.registry.open("a")
        self.makers = Makers(self.make)
        self._first_part = first_part
        self.handler = HlsHandler(
            self.makers, Viewers(), lambda request, end: Viewing(), lambda channel: True, log.get("HLS")
        )
        self.server = WSGIServer(("127.0.0.1", 0), self._answer, log=None)
        self.server.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_port}/a/index.m3u8"

    def make(self, channel: str, numbering: Numbering) -> Maker:
        return Maker(
            self.channel.subscribe, self._first_part, numbering, 30_000, self.registry.budget, log.get("HLS")
        )

    def publish(self, path: Path) -> None:
        """Send a file as fast as it goes, while the maker reads."""
        reader = TagReader()
        for tag in reader.feed(path.read_bytes()):
            self.channel.append([(tag.type_id, tag.timestamp, 1, tag.payload, _CSIDS[tag.type_id])])
            gevent.sleep(0)

    def _answer(self, environ: dict[str, Any], start: Callable[..., object]) -> list[bytes]:
        _, channel, rest = environ["PATH_INFO"].split("/")
        reply = Reply(start)
        request = SimpleNamespace(
            route=SimpleNamespace(channel=channel, rest=rest),
            query=dict(parse_qsl(environ["QUERY_STRING"])),
            client=SimpleNamespace(ip="127.0.0.1"),
            head=SimpleNamespace(query=environ["QUERY_STRING"]),
            peer=None,  # nobody is so slow
        )
        self.handler(request, reply)
        return [reply.body]


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return make_samples(tmp_path_factory.mktemp("samples"))


@pytest.fixture(scope="module")
def first_part() -> Iterator[Callable[..., bytes]]:
    process = AvProcess(log.get("AV"))
    yield process.init
    process.close()


@contextmanager
def opened(first_part: Callable[..., bytes]) -> Iterator[House]:
    house = House(first_part)
    try:
        yield house
    finally:
        house.server.stop()
        house.handler.close("the test ends")


def hashes(url: str, kind: str, most: int, *options: str) -> list[str]:
    """The pictures that an ffmpeg decodes, or the pieces of sound that it gets; so many at most."""
    command = [current_ffmpeg(), "-v", "error", *options, "-i", url, "-map", f"0:{kind}", "-c:a", "copy"]
    done = gsubprocess.run(
        [*command, "-fps_mode", "passthrough", f"-frames:{kind}", str(most), "-f", "framemd5", "-"],
        stdout=subprocess.PIPE, timeout=TIMEOUT_S, check=True,
    )  # fmt: skip
    lines = done.stdout.decode().splitlines()
    return [line.split(",")[-1].strip() for line in lines if not line.startswith("#")]


@pytest.mark.parametrize("name", ["h264_aac", "hevc_opus", "av1_aac", "video_only"])
def test_ffmpeg_plays_all_that_was_published(
    name: str, first_part: Callable[..., bytes], samples: dict[str, Path], tmp_path: Path
) -> None:
    with opened(first_part) as house:
        maker = house.makers.open("a")
        gevent.sleep(0)
        house.channel.start()
        house.publish(samples[name])
        # A file of 6 s takes less time than it takes to see which tracks there are.
        await_that(maker, lambda: bool(maker.window.segments))
        house.channel.stop()
        await_that(maker, lambda: not maker.on_air)
        whole = tmp_path / "whole.mp4"
        made_of = [
            maker.window.inits[1],
            *[part.data for segment in maker.window.segments for part in segment.parts],
        ]
        whole.write_bytes(b"".join(made_of))
        assert_equal(str(whole), str(samples[name]), 0, name != "video_only")
        assert_equal(house.url, str(samples[name]), AHEAD, name != "video_only", "-live_start_index", "0")


def await_that(maker: Maker, is_so: Callable[[], bool]) -> None:
    while not is_so():
        assert maker.changed.wait(TIMEOUT_S)


def assert_equal(played: str, source: str, less: int, has_sound: bool, *options: str) -> None:
    expected = hashes(source, "v", PICTURES)
    assert len(expected) == PICTURES
    assert hashes(played, "v", PICTURES - less, *options) == expected[: PICTURES - less]
    if has_sound:
        # The first ones, before the first keyframe, are left out.
        known = set(hashes(source, "a", SOUNDS))
        found = hashes(played, "a", SOUNDS - 20 - less, *options)
        assert len(found) == SOUNDS - 20 - less
        assert set(found) <= known

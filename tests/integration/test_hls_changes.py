"""One playlist over publishers that come and go: other codecs, longer GOPs, sound alone, and after a crash.

Every version that was seen keeps the rules of `tests.hls_rules`, and all of them together.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path

import pytest

from tests.hls_rules import Playlist, check_series, parse
from tests.media_files import current_ffmpeg, make_samples
from tests.server_process import ServerProcess, free_port

PATIENCE_S = 20.0
LONG_GOP = (
    "-f lavfi -i testsrc2=size=320x180:rate=25:duration=6"
    " -c:v libx264 -preset veryfast -bf 2 -pix_fmt yuv420p -sc_threshold 0 -g 1000"
)


class Stage:
    """A server, publishers of one channel, and a player that reloads."""

    def __init__(self) -> None:
        self.http = free_port()
        settings = {"MAX_IP_CONCURRENT_CONNECTIONS": "50", "HLS_WINDOW_SECONDS": "60"}
        self.server = ServerProcess(HTTP_PORT=str(self.http), **settings)
        self.link = ""
        self.lists: list[Playlist] = []
        self.plain: list[Playlist] = []

    def publish(self, clip: Path, *options: str) -> subprocess.Popen[bytes]:
        """Send a clip, as fast as it goes."""
        command = [current_ffmpeg(), "-v", "error", "-nostdin", *options, "-i", str(clip), "-c", "copy"]
        url = f"rtmp://127.0.0.1:{self.server.port}/channel/key"
        return subprocess.Popen([*command, "-f", "flv", url])

    def publish_all(self, clip: Path) -> None:
        """Send all of a clip; not so fast that some of it is left out."""
        assert self.publish(clip, "-readrate", "4").wait(PATIENCE_S) == 0

    def get(self, path: str) -> tuple[int, str]:
        connection = HTTPConnection("127.0.0.1", self.http, timeout=PATIENCE_S)
        try:
            connection.request("GET", f"/channel/{path}")
            answer = connection.getresponse()
            return answer.status, answer.read().decode("latin-1")
        finally:
            connection.close()

    def begin(self) -> str:
        """Open the channel; return what names its playlist."""
        while True:
            status, index = self.get("index.m3u8?key=key")
            if status == 200:
                self.link = index.splitlines()[-1]
                return index
            assert status in (404, 503), index

    def look(self) -> Playlist:
        """Take both playlists as they are now."""
        for lists, path in ((self.lists, self.link), (self.plain, f"{self.link}&ll=no")):
            status, text = self.get(path)
            assert status == 200, text
            lists.append(parse(text))
        return self.lists[-1]

    def follow(self, discontinuities: int) -> Playlist:
        """Reload until so many streams are there, and the last one is over."""
        while True:
            last = self.look()
            tail = last.tail or last.segments[-1]
            # An answer as soon as there is more; 503 while nobody publishes.
            status, _ = self.get(f"{self.link}&_HLS_msn={tail.number}&_HLS_part={len(tail.parts)}")
            found = [one for one in last.segments if one.discontinuity]
            if status == 503 and len(found) >= discontinuities:
                return self.look()

    def check(self) -> None:
        check_series(self.lists)
        check_series(self.plain)


@pytest.fixture
def stage() -> Iterator[Stage]:
    made = Stage()
    with made.server:
        yield made


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    directory = tmp_path_factory.mktemp("samples")
    clips = dict(make_samples(directory))
    clips["long_gop"] = directory / "long_gop.flv"
    command = [current_ffmpeg(), "-v", "error", "-nostdin", "-y", *LONG_GOP.split(), str(clips["long_gop"])]
    subprocess.run(command, check=True, timeout=60, stderr=subprocess.DEVNULL)
    return clips


def test_numbers_targets_and_names_hold_whoever_publishes(stage: Stage, clips: dict[str, Path]) -> None:
    first = stage.publish(clips["h264_aac"], "-re")  # the one that is on the air when a player comes
    index = stage.begin()
    assert re.search(r"RESOLUTION=320x180,FRAME-RATE=25\.000$", index, re.M), index
    stage.look()
    first.kill()
    first.wait(PATIENCE_S)
    stage.follow(1)

    for place, name in enumerate(["hevc_opus", "long_gop", "audio_only"], 2):
        stage.publish_all(clips[name])
        stage.follow(place)
    last = stage.lists[-1]
    stage.check()

    begins = [place for place, one in enumerate(last.segments) if one.discontinuity]
    streams = [last.segments[begin:end] for begin, end in zip(begins, [*begins[1:], None], strict=True)]
    hevc, long_gop, sound = streams[-3:]
    assert len({one.map_uri for one in last.segments}) == len(streams)
    assert last.target == 2  # as the first publisher's keyframes were apart
    assert [part.independent for part in sound[-1].parts] == [True] * len(sound[-1].parts)
    # A GOP of 6 s: cut where it must be, without keyframes, which is said of no part.
    assert [one.duration for one in long_gop] == pytest.approx([2.4, 2.4, 1.2], abs=0.01)
    parts = {one.number: one.parts for found in stage.lists for one in found.segments if one.parts}
    assert not any(part.independent for one in long_gop[1:] for part in parts[one.number])
    for stream in (hevc, sound):
        assert sum(one.duration for one in stream) == pytest.approx(6, abs=0.2)

    stage.server.process.kill()  # a crash
    stage.server.process.wait(PATIENCE_S)
    after = Stage()
    with after.server:
        publisher = after.publish(clips["h264_aac"], "-re")
        after.begin()
        found = after.look()
        assert found.first > last.segments[-1].number
        sequence = "EXT-X-DISCONTINUITY-SEQUENCE"
        assert int(found.once[sequence]) > int(last.once[sequence]) + len(begins)
        assert not {one.uri.split("-")[0] for one in found.segments} & {last.segments[-1].uri.split("-")[0]}
        publisher.kill()
        publisher.wait(PATIENCE_S)

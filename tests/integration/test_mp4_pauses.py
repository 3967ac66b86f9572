"""Live MP4 of a publisher that pauses, as Chromium takes it with Media Source Extensions: without a hole."""

from __future__ import annotations

import base64
import subprocess
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from rtmpsrv.av.first_part import first_part
from rtmpsrv.media.flv import Tag, TagReader
from rtmpsrv.media.mp4_live import LiveFragments
from rtmpsrv.media.mp4_source import EVERYTHING, Mp4Source, Selection
from rtmpsrv.protocol.messages import AUDIO, VIDEO
from tests.browser import Browser
from tests.media_files import current_ffmpeg

_CLIP = (
    "-f lavfi -i testsrc2=size=160x90:rate=30:duration=6 -f lavfi -i sine=sample_rate=44100:duration=6"
    " -c:v libx264 -preset ultrafast -bf 0 -g 90 -keyint_min 90 -sc_threshold 0 -c:a aac"
)
SOON_S, LATE_S = 0.1, 5.9  # what is buffered begins before and ends after
# Appends fragments one by one; returns the ranges that are buffered then, each with its start and end.
_APPEND = """
const [type, pieces] = [arguments[0], arguments[1]];
const done = arguments[arguments.length - 1];
const video = document.createElement("video");
const source = new MediaSource();
video.src = URL.createObjectURL(source);
source.addEventListener("sourceopen", async () => {
  try {
    const buffer = source.addSourceBuffer(type);
    for (const piece of pieces) {
      const appended = new Promise((resolve) => { buffer.onupdateend = resolve; });
      buffer.appendBuffer(Uint8Array.from(atob(piece), (one) => one.charCodeAt(0)));
      await appended;
    }
    const ranges = video.buffered;
    done([...Array(ranges.length).keys()].map((one) => [ranges.start(one), ranges.end(one)]));
  } catch (error) {
    done(String(error));
  }
}, { once: true });
"""


class _Empty(BaseHTTPRequestHandler):
    """A page with nothing on it."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> list[Tag]:
    path: Path = tmp_path_factory.mktemp("clip") / "clip.flv"
    command = [current_ffmpeg(), "-v", "error", "-nostdin", *_CLIP.split(), str(path)]
    subprocess.run(command, check=True, timeout=100, stderr=subprocess.DEVNULL)
    return [tag for tag in TagReader().feed(path.read_bytes()) if tag.type_id in (AUDIO, VIDEO)]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Empty) as server, Browser() as browser:
        serving = Thread(target=server.serve_forever, daemon=True)
        serving.start()
        browser.driver.get(f"http://127.0.0.1:{server.server_port}/")
        yield browser
        server.shutdown()
        serving.join()


def fragments(tags: list[Tag], selection: Selection) -> tuple[str, list[str]]:
    """The type, the first part, and a fragment for each frame."""
    source = Mp4Source((), selection)
    live: LiveFragments | None = None
    found: list[bytes] = []
    for tag in tags:
        arrival = tag.timestamp / 1000
        assert source.take(tag.type_id, tag.timestamp, tag.payload, arrival)
        if source.ready(arrival):
            if live is None:
                found.append(first_part(source.question))
                live = LiveFragments(source.tracks)
            found += [cut.data for cut in live.cut(source.samples())]
    return source.content_type, [base64.b64encode(one).decode() for one in found]


def left_out(kind: int, begin: int, end: int) -> Callable[[Tag], bool]:
    return lambda tag: tag.type_id == kind and begin <= tag.timestamp < end


@pytest.mark.parametrize(
    ("pause", "selection"),
    [
        (left_out(VIDEO, 3300, 3400), EVERYTHING),
        (left_out(VIDEO, 3300, 3900), Selection(True, 0)),
        (left_out(AUDIO, 3300, 3400), EVERYTHING),
        (left_out(AUDIO, 3300, 5000), EVERYTHING),
    ],
    ids=["pictures", "pictures without sound", "sound", "sound for long"],
)
def test_a_pause_is_no_hole(
    clip: list[Tag], browser: Browser, pause: Callable[[Tag], bool], selection: Selection
) -> None:
    kept = [tag for tag in clip if not pause(tag)]
    assert len(kept) < len(clip)

    ranges = browser.driver.execute_async_script(_APPEND, *fragments(kept, selection))

    assert len(ranges) == 1, ranges
    ((start, end),) = ranges
    assert start <= SOON_S
    assert end >= LATE_S

"""HLS of a real server, while ffmpeg publishes: access, playlists, blocking reloads, ffmpeg as a player."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path

import pytest

from tests.hls_rules import Playlist, check_series, parse
from tests.media_files import current_ffmpeg, make_samples
from tests.server_process import ServerProcess, free_port

PATIENCE_S = 20.0


class Published:
    """A server, and ffmpeg that publishes to it in real time for as long as is wanted."""

    def __init__(self, clip: Path) -> None:
        self.http = free_port()
        self.server = ServerProcess(HTTP_PORT=str(self.http), MAX_IP_CONCURRENT_CONNECTIONS="80")
        self.clip = clip
        self.publisher: subprocess.Popen[bytes] | None = None

    def publish(self) -> None:
        url = f"rtmp://127.0.0.1:{self.server.port}/channel/key"
        command = [current_ffmpeg(), "-v", "error", "-nostdin", "-re", "-stream_loop", "-1"]
        self.publisher = subprocess.Popen([*command, "-i", str(self.clip), "-c", "copy", "-f", "flv", url])

    @contextmanager
    def publishing(self, channels: list[str], clip: Path) -> Iterator[Iterator[float]]:
        """Publish a clip to other channels, all at once; yield how many seconds were sent, now and then."""
        command = [current_ffmpeg(), "-v", "error", "-nostdin", "-progress", "pipe:1", "-stats_period", "0.3"]
        command += ["-re", "-stream_loop", "-1", "-i", str(clip)]
        for channel in channels:
            command += ["-c", "copy", "-f", "flv", f"rtmp://127.0.0.1:{self.server.port}/{channel}/key"]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as publisher:
            assert publisher.stdout is not None
            said = (re.match(rb"out_time_us=(\d+)", line) for line in publisher.stdout)
            try:
                yield (int(found[1]) / 1e6 for found in said if found is not None)
            finally:
                publisher.kill()

    def stop(self) -> None:
        if self.publisher is not None:
            self.publisher.kill()
            self.publisher.wait(PATIENCE_S)

    def get(self, path: str) -> tuple[int, bytes]:
        connection = HTTPConnection("127.0.0.1", self.http, timeout=PATIENCE_S)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Published]:
    stage = Published(make_samples(tmp_path_factory.mktemp("samples"))["h264_aac"])
    with stage.server:
        stage.publish()
        yield stage
        stage.stop()


def index(published: Published) -> str:
    """The playlist's path; waits for ffmpeg to publish."""
    for _ in range(20):
        status, body = published.get("/channel/index.m3u8?key=key")
        if status == 200:
            link = re.search(rb"^live\.m3u8\?\S+$", body, re.M)
            assert link is not None
            assert b'CODECS="avc1.64000c,mp4a.40.2"' in body
            return "/channel/" + link[0].decode()
        assert status in (404, 503)
    raise AssertionError("nobody publishes")


def test_reloads_wait_and_keep_the_rules(published: Published) -> None:
    path = index(published)
    lists: list[Playlist] = []
    status, body = published.get(path)
    for _ in range(12):
        assert status == 200
        lists.append(parse(body.decode()))
        last = lists[-1]
        tail = last.tail
        number = tail.number if tail is not None else last.segments[-1].number + 1
        part = len(tail.parts) if tail is not None else 0
        hint = "/channel/" + last.hint
        status, body = published.get(f"{path}&_HLS_msn={number}&_HLS_part={part}")
        piece_status, piece = published.get(hint)
        assert piece_status == 200
        assert piece[4:8] == b"moof"
    check_series(lists)
    assert published.get(f"{path}&_HLS_msn={number + 50}")[0] == 400


def test_key_is_needed_for_all_of_it(published: Published) -> None:
    path = index(published)
    _, body = published.get(path)
    piece = parse(body.decode()).segments[-1].uri
    assert published.get(f"/channel/{piece}")[0] == 200
    wrong = piece.replace("key=key", "key=wrong")
    assert published.get(f"/channel/{wrong}")[0] in (401, 403)
    assert published.get("/channel/index.m3u8?key=wrong")[0] in (401, 403)


def test_whatever_the_moment_of_the_first_request_there_is_sound(
    published: Published, tmp_path: Path
) -> None:
    channels = [f"cold{number}" for number in range(8)]
    with (
        published.publishing(channels, usual_clip(tmp_path / "usual.flv")) as sent,
        ThreadPoolExecutor(len(channels)) as pool,
    ):
        assert any(seconds > 3 for seconds in sent)
        # Each a little later behind a keyframe; a request waits for the first segment.
        asked = [
            pool.submit(first_of, published, channel) for channel, _ in zip(channels, sent, strict=False)
        ]
        for answer in asked:
            index, playlist, init = answer.result(PATIENCE_S)
            assert b"mp4a.40.2" in index
            rate = re.search(rb"FRAME-RATE=([\d.]+)", index)
            assert rate is not None
            assert 23 < float(rate[1]) < 27
            assert init.count(b"trak") == 2
            assert "-init1.m4s" in playlist.segments[0].map_uri  # no other beginning was made before
            assert len({one.map_uri for one in playlist.segments}) == 1


def usual_clip(path: Path) -> Path:
    """Write what many encoders send: a keyframe every two seconds, and many bytes of it."""
    command = [current_ffmpeg(), "-v", "error", "-nostdin", "-t", "16", "-f", "lavfi"]
    command += ["-i", "testsrc2=size=640x360:rate=25", "-f", "lavfi", "-i", "sine=440", "-shortest"]
    command += ["-c:v", "libx264", "-preset", "ultrafast", "-tune", "zerolatency", "-g", "50"]
    command += ["-pix_fmt", "yuv420p", "-c:a", "aac", "-f", "flv", str(path)]
    subprocess.run(command, timeout=3 * PATIENCE_S, check=True)
    return path


def first_of(published: Published, channel: str) -> tuple[bytes, Playlist, bytes]:
    """Return what the first viewer of a channel gets: both playlists, and how it begins."""
    status, index = published.get(f"/{channel}/index.m3u8?key=key")
    assert status == 200
    link = re.search(rb"^live\.m3u8\?\S+$", index, re.M)
    assert link is not None
    playlist = parse(published.get(f"/{channel}/{link[0].decode()}")[1].decode())
    return index, playlist, published.get(f"/{channel}/{playlist.segments[0].map_uri}")[1]


def test_ffmpeg_plays(published: Published) -> None:
    index(published)
    url = f"http://127.0.0.1:{published.http}/channel/index.m3u8?key=key"
    command = [current_ffmpeg(), "-v", "error", "-nostdin", "-i", url, "-map", "0:v", "-frames:v", "50"]
    command += ["-f", "framemd5", "-"]
    done = subprocess.run(command, stdout=subprocess.PIPE, timeout=PATIENCE_S, check=False)
    assert len([line for line in done.stdout.splitlines() if not line.startswith(b"#")]) == 50

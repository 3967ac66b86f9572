"""Publishers that send what no encoder sends, to what is made of it for browsers.

One server: who watches another channel, in any way, gets each picture; the process of FFmpeg's libraries may
die and is back; and the stream that is meant goes on where it can.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from http.client import HTTPException
from itertools import cycle
from pathlib import Path
from threading import Event, Thread
from time import monotonic, sleep

import pytest

from rtmpsrv.media.flv import Tag, TagReader
from rtmpsrv.protocol import messages
from tests.client import Client, Closed
from tests.media_files import current_ffmpeg
from tests.media_watchers import ByFlv, ByHls, ByMp4, ByRtmp, Watcher, Web, picture_of
from tests.server_process import ServerProcess, free_port
from tests.unit.media.bit_writer import BitWriter
from tests.unit.media.test_tracks import many

FRAMES = 60  # of a bad publisher, at 25 a second if it did not hurry
SHOWN_BYTES = 1000
MEMORY_KIB = 400 << 10
PATIENCE_S = 30.0
AGAIN_S = 0.2
_CLIP = (
    "-f lavfi -i testsrc2=size=160x90:rate=25:duration=4 -f lavfi -i sine=sample_rate=48000:duration=4"
    " -c:v libx264 -preset ultrafast -bf 0 -g 25 -keyint_min 25 -sc_threshold 0 -c:a aac"
)
_CSIDS = {messages.AUDIO: 4, messages.VIDEO: 6}

Message = tuple[int, int, bytes]  # kind, time, payload
Bad = Callable[[list[Tag]], Iterator[Message]]


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> list[Tag]:
    path: Path = tmp_path_factory.mktemp("clip") / "clip.flv"
    command = [current_ffmpeg(), "-v", "error", "-nostdin", *_CLIP.split(), str(path)]
    subprocess.run(command, check=True, timeout=100, stderr=subprocess.DEVNULL)
    return [tag for tag in TagReader().feed(path.read_bytes()) if tag.type_id in _CSIDS]


# --- bad publishers -----------------------------------------------------------------------------------


def jumps(clip: list[Tag]) -> Iterator[Message]:
    """Forth and back by 4e9 ms."""
    for number, tag in enumerate(clip):
        yield (
            tag.type_id,
            (tag.timestamp + (4_000_000_000 if number % 40 >= 20 else 0)) % (1 << 32),
            tag.payload,
        )


def stutters(clip: list[Tag]) -> Iterator[Message]:
    """All times repeat, and every tenth goes back."""
    for number, tag in enumerate(clip):
        yield tag.type_id, max(0, tag.timestamp // 200 * 200 - (900 if number % 10 == 0 else 0)), tag.payload


def empty(clip: list[Tag]) -> Iterator[Message]:
    """Headers and frames with nothing in them."""
    for tag in clip:
        yield tag.type_id, tag.timestamp, tag.payload[: (2 if tag.type_id == messages.AUDIO else 5)]
        yield tag.type_id, tag.timestamp, b""


def random_headers(clip: list[Tag]) -> Iterator[Message]:
    chance = random.Random(15)
    for number, tag in enumerate(clip):
        if number % 10 == 0:
            yield messages.VIDEO, tag.timestamp, b"\x17\0\0\0\0" + chance.randbytes(chance.randrange(200))
            yield messages.AUDIO, tag.timestamp, b"\xaf\0" + chance.randbytes(chance.randrange(20))
        yield tag.type_id, tag.timestamp, tag.payload


def changing_headers(clip: list[Tag]) -> Iterator[Message]:
    """Another configuration before each picture, each of which could begin a stream."""
    header, key = [tag.payload for tag in clip if tag.type_id == messages.VIDEO][:2]
    yield messages.AUDIO, 0, b"\xaf\0\x11\x90"
    for number, tag in enumerate(clip):
        level = bytes([10 + number % 40])
        yield messages.VIDEO, tag.timestamp, header[:8] + level + header[9:]
        yield messages.VIDEO, tag.timestamp, key
        yield messages.AUDIO, tag.timestamp, b"\xaf\1tone"


def many_tracks(clip: list[Tag]) -> Iterator[Message]:
    for number, tag in enumerate(clip):
        some = [(one % 256, b"mp4a", b"\x11\x90") for one in range(number, number + 6)]
        yield messages.AUDIO, tag.timestamp, many(0x95, 0, *some)
        yield messages.AUDIO, tag.timestamp, many(0x95, 1, *some)
        yield tag.type_id, tag.timestamp, tag.payload


def immense(clip: list[Tag]) -> Iterator[Message]:
    """A header that tells of 16384x16384."""
    size = 16384 // 16 - 1
    unit = (
        b"\x67"
        + BitWriter()
        .bits(8, 66, 0, 62)
        .golomb(0, 0, 0, 0, 1)
        .bits(1, 0)
        .golomb(size, size)
        .bits(1, 1, 1, 0, 0, 1)
        .data
    )
    small = b"\x68\xce\x0f\xc8"
    record = b"\1\x42\0\x3e\xff\xe1" + len(unit).to_bytes(2, "big") + unit + b"\1\0\4" + small
    yield messages.VIDEO, 0, b"\x17\0\0\0\0" + record
    for tag in clip:
        if tag.type_id == messages.AUDIO or tag.payload[1]:
            yield tag.type_id, tag.timestamp, tag.payload


def broken_pictures(clip: list[Tag]) -> Iterator[Message]:
    """True headers, and noise for pictures; one of them has two megabytes."""
    chance = random.Random(16)
    for number, tag in enumerate(clip):
        size = (2 << 20) if number == 30 else 400
        noise = b"\x17\1\0\0\0" + (size + 1).to_bytes(4, "big") + b"\x65" + chance.randbytes(size)
        is_picture = tag.type_id == messages.VIDEO and tag.payload[1]
        yield tag.type_id, tag.timestamp, noise if is_picture else tag.payload


BAD: dict[str, Bad] = {
    one.__name__: one
    for one in (
        jumps, stutters, empty, random_headers, changing_headers, many_tracks, immense, broken_pictures,
    )
}  # fmt: skip


SHOWN = ("jumps", "stutters", "changing_headers", "many_tracks")  # those that can be


# --- the stage ----------------------------------------------------------------------------------------


class Good(Thread):
    """Publishes in real time until it is told to end; the clip again and again."""

    def __init__(self, port: int, clip: list[Tag]) -> None:
        super().__init__(daemon=True)
        self.sent: list[bytes] = []
        self.on_air = Event()
        self._client = Client(port)
        self._clip = clip
        self._ends = Event()

    def run(self) -> None:
        client = self._client.publish("good", "k")
        self.on_air.set()
        began = monotonic()
        try:
            for number, tag in enumerate(cycle(self._clip)):
                turn = number // len(self._clip)
                is_header = tag.payload[1] == 0
                if is_header and turn:
                    continue
                time = tag.timestamp + 4000 * turn
                if self._ends.wait(max(0.0, began + time / 1000 - monotonic())):
                    break
                client.message(tag.type_id, tag.payload, time, 1, _CSIDS[tag.type_id])
                if tag.type_id == messages.VIDEO and not is_header:
                    self.sent += picture_of(tag.payload)
        finally:
            client.close()

    def end(self) -> None:
        self._ends.set()
        self.join(PATIENCE_S)


class Stage:
    """A server of its own, and those who use it."""

    def __init__(self, clip: list[Tag]) -> None:
        self.clip = clip
        http = free_port()
        self.server = ServerProcess(HTTP_PORT=str(http), CONCURRENT_LIMIT_WHITELIST="127.0.0.1")
        self.web = Web(http)

    def __enter__(self) -> Stage:
        return self

    def __exit__(self, *_: object) -> None:
        self.server.__exit__(None, None, None)
        self.web.close()

    def publish(self, channel: str, what: Iterator[Message], stays: Callable[[], bool]) -> None:
        """Publish so many messages, as far as the server takes them, and stay on the air for so long."""
        with Client(self.server.port) as client:
            client.publish(channel, "k")
            try:
                for number, (kind, time, payload) in enumerate(what):
                    if number >= FRAMES * 3:
                        break
                    client.message(kind, payload, time, 1, _CSIDS[kind])
                    sleep(0.004)
                client.fence()
                until = monotonic() + PATIENCE_S
                while stays() and monotonic() < until:
                    sleep(0.02)
            except (Closed, ConnectionError):
                return

    def kill_and_stop(self) -> None:
        """Kill the process of FFmpeg's libraries, and another time stop it: it is back for who asks then."""
        for number in (signal.SIGKILL, signal.SIGSTOP):
            channel = f"after{number}"
            assert self.web.get("/good.jpg?key=k")[0] == 200
            helper = self.server.media_process()
            assert helper is not None
            os.kill(helper, number)
            viewer = ByMp4(self.web, channel, "k")
            with Client(self.server.port) as client:
                client.publish(channel, "k")
                for kind, time, payload in usual(self.clip):
                    client.message(kind, payload, time, 1, _CSIDS[kind])
                viewer.wait_begun()
            assert viewer.seen()
            assert self.server.media_process() not in (None, helper)

    def watch(self, channel: str) -> list[Raw]:
        """Ask for a channel in each way that FFmpeg's libraries have to do with, but stills."""
        paths = (".mp4", ".mp4?audio=2", ".mp4?video=no", "/index.m3u8")
        return [Raw(self.web, f"/{channel}{path}{'&' if '?' in path else '?'}key=k") for path in paths]


class Raw(Thread):
    """Asks for something again and again, and counts what comes."""

    def __init__(self, web: Web, path: str) -> None:
        super().__init__(daemon=True)
        self.size = 0
        self.said: dict[int, bytes] = {}  # by status: how the last answer begins
        self._web, self._path = web, path
        self.over = Event()
        self.start()

    def run(self) -> None:
        while not self.over.wait(AGAIN_S):
            with suppress(OSError, HTTPException):
                answer = self._web.open(self._path)
                self.said[answer.status] = b""
                while data := answer.read1(1 << 16):
                    self.said[answer.status] = self.said[answer.status] or data[:100]
                    self.size += len(data)


def usual(clip: list[Tag]) -> Iterator[Message]:
    for tag in clip:
        yield tag.type_id, tag.timestamp, tag.payload


def is_waited_for(name: str, viewer: Raw) -> bool:
    """Tell whether something can be shown, and has not been: what has a flood of tracks takes a second."""
    return name in SHOWN and viewer.size < SHOWN_BYTES


def is_part(got: list[bytes], sent: list[bytes]) -> bool:
    """Tell whether these were sent, all of them, one after the other."""
    places = [place for place, one in enumerate(sent) if one == got[0]]
    return any(sent[place : place + len(got)] == got for place in places)


def test_nobody_else_notices(clip: list[Tag]) -> None:
    with Stage(clip) as stage:
        good = Good(stage.server.port, clip)
        good.start()
        assert good.on_air.wait(PATIENCE_S)
        by_hls = ByHls(stage.web, "good", "k")
        others: list[Watcher] = [
            ByRtmp(stage.server.port, "good", "k"),
            ByFlv(stage.web, "good", "k"),
            ByMp4(stage.web, "good", "k"),
            by_hls,
        ]
        for one in others:
            one.wait_begun()
        since = len(good.sent)

        seen: dict[str, list[Raw]] = {}
        for name, bad in BAD.items():
            seen[name] = stage.watch(name)
            stage.publish(name, bad(clip), partial(is_waited_for, name, seen[name][0]))
            for raw in seen[name]:
                raw.over.set()
            assert stage.web.get(f"/{name}.jpg?key=k")[0] in (200, 404, 415, 503)
        stage.kill_and_stop()

        until = len(good.sent)
        good.end()
        by_hls.is_over.set()
        for one in others:
            got = one.seen()
            assert is_part(got, good.sent), type(one).__name__
            # From before the first bad one until after the last; the newest segment of HLS may be missing.
            assert len(got) >= until - since - (75 if one is by_hls else 0), type(one).__name__
        for name in SHOWN:
            assert seen[name][0].size >= SHOWN_BYTES, (name, seen[name][0].said)
        assert seen["immense"][0].said.keys() == {415}
        assert stage.server.memory_kib() < MEMORY_KIB
    stage.server.check_log()

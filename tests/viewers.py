"""Viewers by HTTP of a real server, of all kinds, and what each must see: everything once, and in order."""

from __future__ import annotations

import json
import socket
import ssl
import struct
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection, HTTPSConnection
from itertools import pairwise
from pathlib import Path
from threading import Thread
from time import monotonic, sleep
from typing import Any, Protocol

from websocket import create_connection

from rtmpsrv.media.flv import TagReader
from tests.hls_rules import Playlist, check_series, parse
from tests.media_files import current_ffmpeg

PATIENCE_S = 60.0
CLIP_S = 180
AUDIO, VIDEO = 8, 9
NO_CHECK = {"cert_reqs": ssl.CERT_NONE}


def make_clip(directory: Path) -> Path:
    """Some time of a test picture with a tone: 20 pictures a second, of which each 20th is a keyframe."""
    clip = directory / "clip.flv"
    command = [current_ffmpeg(), "-v", "error", "-f", "lavfi", "-i", f"testsrc=s=128x72:r=20:d={CLIP_S}"]
    command += ["-f", "lavfi", "-i", f"sine=d={CLIP_S}", "-c:v", "libx264", "-preset", "ultrafast"]
    command += ["-pix_fmt", "yuv420p", "-g", "20", "-c:a", "aac", "-f", "flv", str(clip)]
    subprocess.run(command, timeout=PATIENCE_S, check=True)
    return clip


def payloads_of(clip: Path) -> list[bytes]:
    """The video messages of a clip, without headers, as ffmpeg publishes them."""
    command = [current_ffmpeg(), "-v", "error", "-i", str(clip), "-c", "copy", "-f", "flv", "-"]
    done = subprocess.run(command, stdout=subprocess.PIPE, timeout=PATIENCE_S, check=True)
    return [tag.payload for tag in TagReader().feed(done.stdout) if is_picture(tag.type_id, tag.payload)]


def is_picture(type_id: int, payload: bytes) -> bool:
    return type_id == VIDEO and payload[1] == 1


@contextmanager
def publishing(clip: Path, url: str) -> Iterator[subprocess.Popen[bytes]]:
    """A clip that is published in real time."""
    command = [current_ffmpeg(), "-v", "error", "-nostdin", "-re", "-i", str(clip)]
    process = subprocess.Popen([*command, "-c", "copy", "-f", "flv", url])
    try:
        yield process
    finally:
        process.kill()
        process.wait(PATIENCE_S)


class Viewer(Protocol):
    """One of those below."""

    def close(self) -> None: ...


class FlvViewer:
    """Sees each picture of the clip behind the one before."""

    def __init__(self, address: tuple[str, int], path: str, source: list[bytes], tls: bool = False) -> None:
        self._source = source
        self._next: int | None = None  # place of the picture that comes
        self._reader = TagReader()
        self.pictures = 0
        self._raw: socket.socket = socket.create_connection(address, timeout=PATIENCE_S)
        if tls:
            self._raw = _insecure().wrap_socket(self._raw)
        self._raw.sendall(f"GET {path} HTTP/1.0\r\nHost: x\r\n\r\n".encode())
        head = b""
        while b"\r\n\r\n" not in head:
            head += self._receive()
        assert head.startswith(b"HTTP/1.1 200"), head
        self._take(head.partition(b"\r\n\r\n")[2])

    def see(self, count: int) -> None:
        """Return when so many pictures more have come."""
        until = self.pictures + count
        while self.pictures < until:
            self._take(self._receive())

    def close(self) -> None:
        self._raw.close()

    def _receive(self) -> bytes:
        data = self._raw.recv(65536)
        assert data, "it was left behind"
        return data

    def _take(self, data: bytes) -> None:
        for tag in self._reader.feed(data):
            if not is_picture(tag.type_id, tag.payload):
                continue
            if self._next is None:
                self._next = self._source.index(tag.payload)
            assert tag.payload == self._source[self._next], f"not picture {self._next}"
            self._next += 1
            self.pictures += 1


class WsFlvViewer(FlvViewer):
    """The same over a WebSocket."""

    def __init__(self, address: tuple[str, int], path: str, source: list[bytes], tls: bool = False) -> None:
        self._source, self._next, self._reader, self.pictures = source, None, TagReader(), 0
        scheme = "wss" if tls else "ws"
        url = f"{scheme}://{address[0]}:{address[1]}{path}"
        self._ws: Any = create_connection(url, timeout=PATIENCE_S, sslopt=NO_CHECK)

    def close(self) -> None:
        self._ws.close()

    def _receive(self) -> bytes:
        data = self._ws.recv()
        assert isinstance(data, bytes)
        assert data, "it was left behind"
        return data


class Mp4Viewer:
    """Sees one picture begin where the one before ends."""

    def __init__(self, address: tuple[str, int], path: str, tls: bool = False) -> None:
        host, port = address
        self._http: HTTPConnection = (
            HTTPSConnection(host, port, timeout=PATIENCE_S, context=_insecure())
            if tls
            else HTTPConnection(host, port, timeout=PATIENCE_S)
        )
        self._http.request("GET", path)
        self._answer = self._http.getresponse()
        assert self._answer.status == 200
        self.boxes = Boxes()

    @property
    def pictures(self) -> int:
        return self.boxes.pictures

    def see(self, count: int) -> None:
        """Return when so many pictures more have come."""
        until = self.pictures + count
        while self.pictures < until:
            self.boxes.feed(self._receive())

    def close(self) -> None:
        self._answer.close()
        self._http.close()

    def _receive(self) -> bytes:
        data = self._answer.read1(65536)
        assert data, "it was left behind"
        return data


class WsMp4Viewer(Mp4Viewer):
    """The same over a WebSocket."""

    def __init__(self, address: tuple[str, int], path: str, tls: bool = False) -> None:
        self.boxes = Boxes()
        scheme = "wss" if tls else "ws"
        url = f"{scheme}://{address[0]}:{address[1]}{path}"
        self._ws: Any = create_connection(url, timeout=PATIENCE_S, sslopt=NO_CHECK)
        assert "avc1" in json.loads(self._ws.recv())["type"]

    def close(self) -> None:
        self._ws.close()

    def _receive(self) -> bytes:
        data = self._ws.recv()
        assert isinstance(data, bytes), data
        assert data, "it was left behind"
        return data


class Boxes:
    """Fragmented MP4 as it comes: decoding times of its first track, without a hole."""

    def __init__(self) -> None:
        self.pictures = 0
        self._data = b""
        self._end: int | None = None

    def feed(self, data: bytes) -> None:
        self._data += data
        while len(self._data) >= 8:
            size = int.from_bytes(self._data[:4])
            if len(self._data) < size:
                return
            box, self._data = self._data[:size], self._data[size:]
            if box[4:8] == b"moof":
                self._take(box)

    def _take(self, moof: bytes) -> None:
        for kind, traf in inside(moof[8:]):
            found = dict(inside(traf)) if kind == b"traf" else {}
            if not found or struct.unpack(">I", found[b"tfhd"][4:8])[0] != 1:
                continue
            begin = struct.unpack(">Q", found[b"tfdt"][4:12])[0]
            assert self._end in (None, begin), f"a hole of {begin - (self._end or 0)} ms"
            durations = durations_of(found[b"trun"])
            self._end = begin + sum(durations)
            self.pictures += len(durations)


def inside(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield the boxes in a box."""
    while data:
        size = int.from_bytes(data[:4])
        yield data[4:8], data[8:size]
        data = data[size:]


def durations_of(trun: bytes) -> list[int]:
    """Return how long each frame of a run is."""
    flags, count = int.from_bytes(trun[1:4]), int.from_bytes(trun[4:8])
    at = 8 + 4 * bool(flags & 1) + 4 * bool(flags & 4)
    words = sum(bool(flags & bit) for bit in (0x100, 0x200, 0x400, 0x800))
    assert flags & 0x100
    return [int.from_bytes(trun[at + 4 * words * n :][:4]) for n in range(count)]


class HlsViewer:
    """Reloads as a player of low latency does, each time over another connection or not."""

    def __init__(
        self, address: tuple[str, int], channel: str, key: str, *, tls: bool = False, keeps: bool = False
    ) -> None:
        self._address, self._channel, self._tls, self._keeps = address, channel, tls, keeps
        self._kept: HTTPConnection | None = None
        self.connections = self.requests = 0
        self.lists: list[Playlist] = []
        self.segments: set[str] = set()  # that were got
        status, body = self.get(f"/{channel}/index.m3u8?key={key}")
        while status == 503:
            status, body = self.get(f"/{channel}/index.m3u8?key={key}")
        assert status == 200, (status, body)
        self._media = next(line for line in body.decode().splitlines() if line.startswith("live.m3u8"))

    def get(self, path: str) -> tuple[int, bytes]:
        connection = self._kept or self._connect()
        self.requests += 1
        self._kept = None
        keeps = False
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            found = answer.status, answer.read()
            keeps = self._keeps and not answer.will_close
        finally:
            if keeps:
                self._kept = connection
            else:
                connection.close()
        return found

    def close(self) -> None:
        if self._kept is not None:
            self._kept.close()

    def _connect(self) -> HTTPConnection:
        host, port = self._address
        kind = HTTPSConnection if self._tls else HTTPConnection
        more: dict[str, Any] = {"context": _insecure()} if self._tls else {}
        self.connections += 1
        return kind(host, port, timeout=PATIENCE_S, **more)

    def reload(self) -> Playlist:
        """Wait for the next part, and get what is new of whole segments; return the playlist."""
        path = f"/{self._channel}/{self._media}"
        if self.lists:
            last = self.lists[-1]
            tail = last.tail
            number = tail.number if tail is not None else last.segments[-1].number + 1
            path += f"&_HLS_msn={number}&_HLS_part={len(tail.parts) if tail is not None else 0}"
        status, body = self.get(path)
        assert status == 200, (status, body, path)
        self.lists.append(parse(body.decode()))
        for segment in self.lists[-1].segments:
            if segment.uri not in self.segments:
                self.segments.add(segment.uri)
                status, data = self.get(f"/{self._channel}/{segment.uri}")
                assert (status, data[4:8]) == (200, b"moof"), (status, segment.uri)
        return self.lists[-1]


class Loop(Thread):
    """Does something over and over until `stop`, which raises what went wrong."""

    def __init__(self, viewer: Viewer) -> None:
        super().__init__(daemon=True)
        self.viewer = viewer
        self._over = False
        self._failure: BaseException | None = None
        self.start()

    def step(self) -> None:
        raise NotImplementedError

    def run(self) -> None:
        try:
            while not self._over:
                self.step()
        except BaseException as exc:  # noqa: BLE001 - it is raised again
            self._failure = exc

    def check(self) -> None:
        if self._failure is not None:
            raise self._failure

    def stop(self) -> None:
        """End with what is under way, and close the viewer."""
        self._over = True
        self.join(PATIENCE_S)
        self.viewer.close()
        self.check()
        assert not self.is_alive()


class Watching(Loop):
    """Somebody who watches all the time, so that a test that is slow leaves nobody behind."""

    viewer: FlvViewer | Mp4Viewer

    def step(self) -> None:
        self.viewer.see(1)

    def see(self, count: int) -> None:
        """Return when so many pictures more have come."""
        wanted, until = self.viewer.pictures + count, monotonic() + PATIENCE_S
        while self.viewer.pictures < wanted:
            self.check()
            assert monotonic() < until, "no more pictures come"
            sleep(0.02)


class Reloading(Loop):
    """A viewer of HLS that reloads all the time."""

    viewer: HlsViewer

    def step(self) -> None:
        self.viewer.reload()


def check_goes_on(lists: list[Playlist]) -> None:
    """Numbers only rise, none is missing, and nothing is discontinuous; by the rules for a series, too."""
    check_series(lists)
    for before, after in pairwise(lists):
        assert before.first <= after.first <= before.segments[-1].number + 1
    assert sum(segment.discontinuity for one in lists for segment in one.segments[1:]) == 0


def _insecure() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context

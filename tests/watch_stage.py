"""The watch page over a stream that a test starts and stops, served in this process; not a test.

The stream comes from `tests/clock_publisher.py` as fragmented MP4 and is handed to viewers as the server does
it: the head of an answer once there is a stream, a joiner from the newest keyframe on, the end with the
publisher's.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import IO, Any
from urllib.parse import parse_qsl

import gevent
from gevent.event import Event
from gevent.pool import Pool
from gevent.pywsgi import WSGIHandler, WSGIServer
from gevent.queue import Queue
from gevent.socket import IPPROTO_TCP, TCP_NODELAY

from rtmpsrv.watch.pages import FILES, Pages
from tests.server_process import free_port

ICON = FILES / "icon.svg"
VIDEO_TRACK = 1
DURATIONS = {1: 512, 2: 1024}  # of a picture in 1/15360 s, of a piece of sound in 1/48000 s
INDEPENDENT = b"\x02\x00\x00\x00"  # sample flags: depends on no other
STRINGS = {
    "hevc": "hvc1.1.6.L60.90",
    "av1": "av01.0.00M.08",
    "vp9": "vp09.00.10.08",
    "aac": "mp4a.40.2",
    "opus": "opus",
    "mp3": "mp3",
}
HLS = "application/vnd.apple.mpegurl"
Start = Callable[[str, list[tuple[str, str]]], Any]


class Publishing:
    """One publisher, from its start to `stop`."""

    def __init__(self, codec: str, audio: str, target: str) -> None:
        self.init = b""
        self.gop: list[bytes] = []
        self._times: Counter[int] = Counter()
        self.viewers: set[Queue[bytes | None]] = set()
        self.ready = Event()
        self._codecs = (codec, audio)
        command = [sys.executable, "-m", "tests.clock_publisher", target, "--codec", codec, "--audio", audio]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self._reader = gevent.spawn(self._read)

    def join(self) -> Queue[bytes | None]:
        """Return a queue of pieces; None is the end."""
        queue: Queue[bytes | None] = Queue()
        queue.put(self.init + b"".join(self.gop))
        self.viewers.add(queue)
        return queue

    def stop(self) -> None:
        """End it. Its encoder ends with the pipe it reads from."""
        assert self._process.stdin is not None
        self._process.stdin.close()  # it reads that only to see when to end
        self._process.wait(10)
        self._reader.join(10)
        assert self._process.stdout is not None
        self._process.stdout.close()

    def _read(self) -> None:
        assert self._process.stdout is not None
        with suppress(EOFError):
            while True:
                self._take(*_box(self._process.stdout))
        for queue in self.viewers:
            queue.put(None)

    def _take(self, kind: bytes, box: bytes) -> None:
        if kind in (b"ftyp", b"moov"):
            self.init += box
        elif kind == b"moof":
            self._moof = self._timed(box)
        elif kind == b"mdat":
            piece = self._moof + box
            if _is_keyframe(self._moof):
                self.gop.clear()
                self.ready.set()
            self.gop.append(piece)
            for queue in self.viewers:
                queue.put(piece)

    def _timed(self, moof: bytes) -> bytes:
        """Return a fragment with times by count: without a next packet ffmpeg's are wrong."""
        head, time, run = moof.find(b"tfhd"), moof.find(b"tfdt"), moof.find(b"trun")
        track = moof[head + 11]
        duration = DURATIONS[track]
        at = self._times[track]
        self._times[track] += duration * int.from_bytes(moof[run + 8 : run + 12])
        moof = moof[: head + 12] + duration.to_bytes(4) + moof[head + 16 :]
        return moof[: time + 8] + at.to_bytes(8) + moof[time + 16 :]

    @property
    def type(self) -> str:
        """The Content-Type with the codecs."""
        at = self.init.find(b"avcC")
        strings = STRINGS | {"h264": f"avc1.{self.init[at + 5 : at + 8].hex()}"}
        return f'video/mp4; codecs="{",".join(strings[one] for one in self._codecs if one != "none")}"'


class WatchStage:
    """The site on a free port. Use as a context. `publish` puts the channel on the air."""

    def __init__(self, key: str = "", listed: list[str] | None = None) -> None:
        self.key = key
        self.listed = listed
        self.now: Publishing | None = None
        self.silent: Publishing | None = None  # the same without sound, for those who want that
        self.refusal: tuple[str, str] | None = None  # status and sentence, in place of a stream
        self.canned: dict[str, tuple[str, bytes]] = {}  # by path: type and body in place of all else
        self.asked: Counter[str] = Counter()
        self.queries: list[str] = []
        self._changed = Event()
        self._pages = Pages(lambda: self.listed)
        self._directory = tempfile.TemporaryDirectory()
        self.port = free_port()
        self.back()

    def __enter__(self) -> WatchStage:
        return self

    def __exit__(self, *_: object) -> None:
        self.unpublish()
        self.away()
        self._directory.cleanup()

    def url(self, channel: str = "live", query: str = "") -> str:
        """Return the address of a channel's page."""
        return f"http://127.0.0.1:{self.port}/{channel}{query}"

    def back(self) -> None:
        """Listen."""
        listener = gevent.socket.create_server(("127.0.0.1", self.port), reuse_port=False)
        self._server = WSGIServer(listener, self._answer, log=None, handler_class=_Handler, spawn=Pool())
        self._server.start()

    def away(self) -> None:
        """End all connections, and listen no more."""
        self._server.stop(timeout=0.1)
        self._server.close()

    def publish(
        self, codec: str = "h264", audio: str = "aac", *, hls: bool = False, silent: bool = False
    ) -> None:
        """Begin to publish; returns when there is something to play."""
        self.unpublish()
        target = f"{self._directory.name}/index.m3u8" if hls else "-"
        publishing = Publishing(codec, audio, target)
        if not hls:
            assert publishing.ready.wait(20)
        if silent:
            self.silent = Publishing(codec, "none", target)
            assert self.silent.ready.wait(20)
        self.now = publishing
        self._changed.set()

    def unpublish(self) -> None:
        """Publish no more."""
        ending = [one for one in (self.now, self.silent) if one is not None]
        self.now = self.silent = None
        self._changed.clear()
        for one in ending:
            one.stop()

    def _answer(self, environ: dict[str, Any], start: Start) -> Iterator[bytes] | list[bytes]:
        path, query = environ["PATH_INFO"], dict(parse_qsl(environ["QUERY_STRING"], keep_blank_values=True))
        self.asked[path] += 1
        self.queries.append(environ["QUERY_STRING"])
        if path.endswith((".mp4", ".jpg", ".m3u8", ".ts")) and self.key not in ("", query.get("key")):
            start("401 Unauthorized", [("Content-Type", "text/plain; charset=utf-8")])
            return [b"The stream key is needed.\n"]
        if path in self.canned:
            kind, body = self.canned[path]
            start("200 OK", [("Content-Type", kind), ("Cache-Control", "no-store")])
            return [body]
        if path.endswith(".mp4") and self.refusal is not None:
            status, sentence = self.refusal
            start(status, [("Content-Type", "text/plain; charset=utf-8")])
            return [sentence.encode()]
        if path.endswith(".mp4"):
            return self._stream(query, start)
        if path.endswith((".m3u8", ".ts")):
            return self._hls(Path(self._directory.name) / path.rsplit("/", 1)[1], start)
        if path.endswith(".jpg"):
            start("200 OK", [("Content-Type", "image/svg+xml")])
            return [ICON.read_bytes()]
        return self._page(path, query, environ, start)

    def _page(self, path: str, query: dict[str, str], environ: dict[str, Any], start: Start) -> list[bytes]:
        handler, rest = self._pages.page, ""
        if path == "/":
            handler = self._pages.list
        elif path.startswith("/static/") or path == "/favicon.ico":
            handler, rest = self._pages.static, path.rsplit("/", 1)[1]
        headers = {"if-none-match": environ.get("HTTP_IF_NONE_MATCH", "")}
        answer: list[bytes] = []

        def send(status: int, body: bytes = b"", type: str = "", headers: Any = ()) -> None:
            start(f"{status} so", [("Content-Type", type), *headers])
            answer.append(body)

        request = SimpleNamespace(route=SimpleNamespace(rest=rest), query=query, headers=headers)
        handler(request, SimpleNamespace(send=send))
        return answer

    def _stream(self, query: dict[str, str], start: Start) -> Iterator[bytes]:
        while self.now is None:
            self._changed.wait(1)
        publishing = self.silent if self.silent is not None and query.get("audio") == "no" else self.now
        queue = publishing.join()
        start("200 OK", [("Content-Type", publishing.type), ("Cache-Control", "no-store")])
        try:
            while (piece := queue.get()) is not None:
                yield piece
        finally:
            publishing.viewers.discard(queue)

    def _hls(self, file: Path, start: Start) -> list[bytes]:
        if not file.exists():
            start("404 Not Found", [])
            return [b""]
        kind = HLS if file.suffix == ".m3u8" else "video/mp2t"
        start("200 OK", [("Content-Type", kind), ("Cache-Control", "no-store")])
        return [file.read_bytes()]


class _Handler(WSGIHandler):
    def __init__(self, sock: Any, *rest: Any) -> None:
        sock.setsockopt(IPPROTO_TCP, TCP_NODELAY, 1)  # else each small piece waits for an acknowledgement
        super().__init__(sock, *rest)


def _box(stream: IO[bytes]) -> tuple[bytes, bytes]:
    head = _exactly(stream, 8)
    return head[4:], head + _exactly(stream, int.from_bytes(head[:4]) - 8)


def _exactly(stream: IO[bytes], size: int) -> bytes:
    data = b""
    while len(data) < size:
        piece = stream.read(size - len(data))
        if not piece:
            raise EOFError
        data += piece
    return data


def _is_keyframe(moof: bytes) -> bool:
    """Tell by the flags of the first sample, which are those of the fragment or those of the track."""
    head, run = moof.find(b"tfhd"), moof.find(b"trun")
    if int.from_bytes(moof[head + 8 : head + 12]) != VIDEO_TRACK:
        return False
    has_own = moof[run + 7] & 0x04
    return (moof[run + 16 : run + 20] if has_own else moof[head + 20 : head + 24]) == INDEPENDENT

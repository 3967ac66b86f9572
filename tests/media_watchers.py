"""Who watches one channel of a server in each of its ways, and tells which pictures came; not a test."""

from __future__ import annotations

import io
from http.client import HTTPConnection, HTTPResponse
from threading import Event, Thread

import av

from rtmpsrv.media.flv import TagReader
from rtmpsrv.protocol import messages
from tests.client import Client, Closed
from tests.hls_rules import parse

PATIENCE_S = 30.0
POLL_S = 0.2
_PICTURE = 1  # packet type of coded pictures


def pictures_in(data: bytes) -> list[bytes]:
    """The coded pictures of a file, as they are."""
    with av.open(io.BytesIO(data), "r") as file:
        return [bytes(packet) for packet in file.demux(file.streams.video[0]) if packet.size]


def picture_of(payload: bytes) -> list[bytes]:
    """The coded picture of a message of H.264; none in a header."""
    return [payload[5:]] if payload[1] == _PICTURE else []


class Web:
    """The side for viewers of a server. Each request has a connection of its own."""

    def __init__(self, port: int) -> None:
        self.port = port
        self._connections: list[HTTPConnection] = []

    def open(self, path: str) -> HTTPResponse:
        """Ask for something that goes on. Blocks until it begins."""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE_S)
        self._connections.append(connection)
        connection.request("GET", path)
        return connection.getresponse()

    def get(self, path: str) -> tuple[int, bytes]:
        """Ask for something whole."""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE_S)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def close(self) -> None:
        for connection in self._connections:
            connection.close()
        self._connections.clear()


class Watcher(Thread):
    """Watches until the publication is over; `begun` is set once something has come."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.begun = Event()
        self.pictures: list[bytes] = []
        self.failure: Exception | None = None
        self.start()

    def run(self) -> None:
        try:
            self.watch()
        except Exception as exc:  # noqa: BLE001 (whoever waits for it is told)
            self.failure = exc
            self.begun.set()

    def watch(self) -> None:
        """Fill `pictures`."""
        raise NotImplementedError

    def wait_begun(self) -> None:
        """Wait until something has come."""
        assert self.begun.wait(PATIENCE_S), f"{type(self).__name__} gets nothing"
        if self.failure is not None:
            raise self.failure

    def seen(self) -> list[bytes]:
        """Return all pictures, when it is over."""
        self.join(PATIENCE_S)
        assert not self.is_alive(), f"{type(self).__name__} does not end"
        if self.failure is not None:
            raise self.failure
        return self.pictures


class ByRtmp(Watcher):
    def __init__(self, port: int, channel: str, key: str) -> None:
        self._client = Client(port)
        self._asked = channel, key
        super().__init__()

    def watch(self) -> None:
        client = self._client.play(*self._asked)
        try:
            while True:
                message = client.read(PATIENCE_S)
                if message.type_id == messages.VIDEO:
                    self.begun.set()
                    self.pictures += picture_of(message.payload)
                elif message.type_id == messages.USER_CONTROL and message.payload[:2] == b"\0\1":
                    return  # the end of the stream
        except Closed:
            return
        finally:
            client.close()


class _ByHttp(Watcher):
    kind = ""

    def __init__(self, web: Web, channel: str, key: str) -> None:
        self._web = web
        self._path = f"/{channel}{self.kind}?key={key}"
        super().__init__()


class ByFlv(_ByHttp):
    kind = ".flv"

    def watch(self) -> None:
        reader = TagReader()
        answer = self._web.open(self._path)
        assert answer.status == 200, answer.status
        while data := answer.read1(1 << 16):
            self.begun.set()
            for tag in reader.feed(data):
                if tag.type_id == messages.VIDEO:
                    self.pictures += picture_of(tag.payload)


class ByMp4(_ByHttp):
    kind = ".mp4"

    def watch(self) -> None:
        answer = self._web.open(self._path)
        assert answer.status == 200, answer.status
        pieces = []
        while data := answer.read1(1 << 16):
            self.begun.set()
            pieces.append(data)
        self.pictures = pictures_in(b"".join(pieces))


class ByHls(_ByHttp):
    """Without parts. What is not yet in a whole segment when the publication ends may be missing."""

    kind = "/index.m3u8"

    def __init__(self, web: Web, channel: str, key: str) -> None:
        self.is_over = Event()  # to be set by whoever ends the publication
        super().__init__(web, channel, key)

    def watch(self) -> None:
        folder, _, rest = self._path[1:].partition("/")
        status, body = 0, b""
        while status != 200:
            status, body = self._web.get(f"/{folder}/{rest}")
        link = next(line for line in body.decode().splitlines() if line.startswith("live.m3u8"))
        pieces: dict[str, bytes] = {}
        left = 3  # looks after the end
        while left:
            left -= self.is_over.wait(POLL_S)
            status, body = self._web.get(f"/{folder}/{link}&ll=no")
            if status == 200:
                self._fetch(folder, body.decode(), pieces)
            elif self.is_over.is_set():
                break
        self.pictures = pictures_in(b"".join(pieces.values()))

    def _fetch(self, folder: str, text: str, pieces: dict[str, bytes]) -> None:
        for segment in parse(text).segments:
            for uri in (segment.map_uri, segment.uri):
                if uri and uri not in pieces:
                    status, pieces[uri] = self._web.get(f"/{folder}/{uri}")
                    assert status == 200, (uri, status)
                    self.begun.set()

"""The process of publishers: marked streams in real time, some of them written in halves."""

from __future__ import annotations

import heapq
import time
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection

from benchlib.rtmpclient import (
    TYPE_AUDIO,
    TYPE_COMMAND,
    TYPE_DATA,
    TYPE_USER_CONTROL,
    TYPE_VIDEO,
    Client,
    ClientError,
    Target,
    amf_encode,
    pack_message,
)
from benchlib.stream import AAC_HEADER, AUDIO_CSID, AVC_HEADER, VIDEO_CSID

from rtmpsrv.errors import RemoteProtocolError

from .marks import Shape, Source

CSID = {TYPE_VIDEO: VIDEO_CSID, TYPE_AUDIO: AUDIO_CSID}
CHUNK_SIZES = (4096, 128, 65536)  # of the publishers in turn
HALVING = 3  # every such publisher writes its messages in two halves
HALF_S = 0.03  # between them: the server is in the middle of a message most of the time
COMMANDS_S = 0.01  # between looks at the command pipe
READ_S = 0.5  # between reads of what the server says
PING, PONG = b"\0\6", b"\0\7"
REST = 0  # beside the types of media: when the second half is due

Due = tuple[float, int, int]  # monotonic s, index, type id or REST


@dataclass(slots=True)
class Stream:
    """One publisher; belongs to this process alone."""

    client: Client
    source: Source
    chunk_size: int
    began: float
    halves: bool
    waiting: bytearray = field(default_factory=bytearray)  # not written yet
    closed: bool = False


class Publishers:
    """All publishers of a run, from one heap of times."""

    def __init__(self, target: Target, shape: Shape) -> None:
        """Connect nobody yet; `start` commands do."""
        self._target = target
        self._shape = shape
        self._streams: list[Stream] = []
        self._heap: list[Due] = []
        self._late_s = 0.0

    def run(self, pipe: Connection) -> None:
        """Publish as told, until told to stop."""
        commands_at = read_at = 0.0
        while True:
            now = time.monotonic()
            if now >= commands_at:
                commands_at = now + COMMANDS_S
                if pipe.poll(0) and self._obey(pipe):
                    return
            if now >= read_at:
                read_at = now + READ_S
                for stream in self._streams:
                    self._read(stream)
            wake = min(commands_at, self._heap[0][0]) if self._heap else commands_at
            if wake > now:
                time.sleep(wake - now)
            elif self._heap and self._heap[0][0] <= now:
                self._do(heapq.heappop(self._heap), now)

    def _obey(self, pipe: Connection) -> bool:
        command = pipe.recv()
        match command[0]:
            case "start":
                pipe.send(self._start(command[1]))
            case "on time":  # from now on
                self._late_s = 0.0
                pipe.send(None)
            case "leave":
                self._leave()
                pipe.send({stream.source.channel: dict(stream.source.counts) for stream in self._streams})
            case "report":
                closed = [stream.source.channel for stream in self._streams if stream.closed]
                pipe.send({"closed": closed, "late_s": self._late_s})
            case _:
                for stream in self._streams:
                    stream.client.close()
                return True
        return False

    def _start(self, channels: list[int]) -> str:
        """Let so many publish; gives why they do not, if so."""
        try:
            self._join(channels)
        except (ClientError, OSError) as exc:
            return f"{type(exc).__name__}: {exc}"
        return ""

    def _join(self, channels: list[int]) -> None:
        clients = [Client(self._target, channel) for channel in channels]
        sizes = [CHUNK_SIZES[channel % len(CHUNK_SIZES)] for channel in channels]
        for client, size in zip(clients, sizes, strict=True):
            client.command_connect(size)
        for client in clients:
            client.command_publish()
        metadata = amf_encode("@setDataFrame", "onMetaData", {"width": 1280, "framerate": self._shape.fps})
        for number, (client, size) in enumerate(zip(clients, sizes, strict=True)):
            client.go()
            # spread over a frame's time, so that they are not all due at once
            began = time.monotonic() + number / len(clients) / self._shape.fps
            channel = client.channel
            stream = Stream(client, Source(channel, self._shape), size, began, channel % HALVING == 0)
            self._streams.append(stream)
            headers = ((4, TYPE_DATA, metadata), (6, TYPE_VIDEO, AVC_HEADER), (4, TYPE_AUDIO, AAC_HEADER))
            for csid, type_id, body in headers:
                stream.waiting += pack_message(csid, type_id, 1, body, size)
            self._write(stream, len(stream.waiting))
            for type_id in (TYPE_VIDEO, TYPE_AUDIO):
                heapq.heappush(self._heap, (began, len(self._streams) - 1, type_id))

    def _do(self, due: Due, now: float) -> None:
        """Send what is due and say when the next is."""
        at, index, type_id = due
        stream = self._streams[index]
        if stream.closed:
            return
        if type_id == REST:
            self._write(stream, len(stream.waiting))
            return
        self._late_s = max(self._late_s, now - at)
        timestamp, body = stream.source.next(type_id, time.monotonic_ns())
        message = _pack(CSID[type_id], timestamp, type_id, body, stream.chunk_size)
        stream.waiting += message
        half = len(message) // 2 if stream.halves and type_id == TYPE_VIDEO else 0
        self._write(stream, len(stream.waiting) - half)
        if stream.waiting:
            heapq.heappush(self._heap, (now + HALF_S, index, REST))
        heapq.heappush(self._heap, (stream.began + stream.source.due(type_id), index, type_id))

    def _write(self, stream: Stream, size: int) -> None:
        try:
            del stream.waiting[: stream.client.sock.send(stream.waiting[:size])]
        except BlockingIOError:
            return
        except OSError:
            stream.closed = True

    def _read(self, stream: Stream) -> None:
        """Throw away what the server says, and answer its pings."""
        if stream.closed:
            return
        try:
            for type_id, _, body in stream.client.messages():
                if type_id == TYPE_USER_CONTROL and body[:2] == PING:
                    # between two messages, or it would be inside one
                    stream.waiting += pack_message(2, TYPE_USER_CONTROL, 0, PONG + body[2:6])
        except (ClientError, RemoteProtocolError):
            stream.closed = True

    def _leave(self) -> None:
        """End every stream right behind its last message."""
        self._heap.clear()
        for stream in self._streams:
            while stream.waiting and not stream.closed:
                self._write(stream, len(stream.waiting))
            with suppress(OSError):
                body = amf_encode("FCUnpublish", 9, None, stream.client.stream_name)
                stream.client.sock.send(pack_message(3, TYPE_COMMAND, 0, body, stream.chunk_size))


def _pack(csid: int, timestamp: int, type_id: int, body: bytes, chunk_size: int) -> bytes:
    message = bytearray(pack_message(csid, type_id, 1, body, chunk_size))
    message[1:4] = timestamp.to_bytes(3, "big")
    return bytes(message)

"""The process that publishes: all streams of a run from one timer heap, paced in real time."""

from __future__ import annotations

import heapq
import random
import socket
import ssl
import time
from array import array
from dataclasses import dataclass, field
from multiprocessing.connection import Connection

from benchlib.rtmpclient import (
    TYPE_AUDIO,
    TYPE_DATA,
    TYPE_VIDEO,
    Amf,
    Client,
    ClientError,
    Target,
    amf_encode,
    pack_message,
)
from benchlib.scenarios import AUDIO_FRAME, AUDIO_RATE, Scenario
from benchlib.stream import (
    AAC_HEADER,
    AUDIO_CSID,
    AVC_HEADER,
    VIDEO_CSID,
    stamp,
    templates,
)

HOUSEKEEPING_NS = 20_000_000  # between looks at the command pipe and at refused sends
DRAIN_EVERY = 50  # housekeepings: acknowledgements of the server are thrown away once a second
DRAIN_BYTES = 65_536
BATCH = 25  # connections that join side by side
MAX_BACKLOG = 64 * 1024 * 1024  # bytes that one stream may wait for a server that does not read

Due = tuple[int, int, int]  # monotonic ns, stream index, type id


@dataclass(slots=True)
class Stream:
    """One publisher's state; belongs to this process alone."""

    client: Client
    start_ns: int
    video_frames: int = 0
    gop_from: int = 0  # video frame that began the current row of GOPs
    audio_frames: int = 0
    sequence: int = 0
    sent_in_window: int = 0
    backlog: bytearray = field(default_factory=bytearray)


class Publishers:
    """Streams, and what is known of them for the report."""

    def __init__(self, target: Target, scenario: Scenario) -> None:
        """Connect all publishers. Blocks; raises `ClientError` when one is refused."""
        self._scenario = scenario
        self._templates = templates(scenario)
        self._gop = max(1, round(scenario.fps * scenario.gop_s))
        self._scratch = bytearray(DRAIN_BYTES)
        self._window = (0, 0)
        self._late_ns = array("q")
        self._backlog_bytes = 0
        self._paused_ns = 0  # since when nothing is published; 0 while it is
        self._heap: list[Due] = []
        self._streams: list[Stream] = []
        clients: list[Client] = []
        for first in range(0, scenario.publishers, BATCH):
            batch = [Client(target, i) for i in range(first, min(first + BATCH, scenario.publishers))]
            for client in batch:
                client.command_connect(scenario.chunk_size)
            for client in batch:
                client.command_publish()
            for client in batch:
                client.go()
            clients += batch
        self._start(clients)

    def run(self, pipe: Connection) -> None:
        """Publish until told to stop, then report through the pipe."""
        housekeeping_ns = rounds = 0
        while True:
            now = time.monotonic_ns()
            if now >= housekeeping_ns:
                housekeeping_ns = now + HOUSEKEEPING_NS
                rounds += 1
                if self._obey(pipe):
                    return
                self._flush_backlogs(drain=rounds % DRAIN_EVERY == 0)
            due, index, type_id = self._heap[0]
            wake = housekeeping_ns if self._paused_ns else min(due, housekeeping_ns)
            if wake > now:
                time.sleep((wake - now) / 1e9)
                continue
            heapq.heapreplace(self._heap, (self._send_frame(index, type_id, due), index, type_id))

    def _start(self, clients: list[Client]) -> None:
        """Send metadata and sequence headers; spread the streams over a GOP so that keyframes do not meet."""
        jitter = random.Random(len(clients))
        now = time.monotonic_ns()
        spread_ns = int(self._scenario.gop_s * 1e9)
        size = self._scenario.chunk_size
        metadata: dict[str, Amf] = {
            "width": 1280,
            "height": 720,
            "framerate": self._scenario.fps,
        }
        headers = pack_message(4, TYPE_DATA, 1, amf_encode("@setDataFrame", "onMetaData", metadata), size)
        headers += pack_message(VIDEO_CSID, TYPE_VIDEO, 1, AVC_HEADER, size)
        if self._scenario.audio:
            headers += pack_message(AUDIO_CSID, TYPE_AUDIO, 1, AAC_HEADER, size)
        for index, client in enumerate(clients):
            client.sock.send(headers)
            offset = int(spread_ns * (index + jitter.random()) / len(clients))
            self._streams.append(Stream(client, now + offset))
            self._heap.append((now + offset, index, TYPE_VIDEO))
            if self._scenario.audio:
                self._heap.append((now + offset, index, TYPE_AUDIO))
        heapq.heapify(self._heap)

    def _send_frame(self, index: int, type_id: int, due: int) -> int:
        """Stamp and send one message; gives when the next of its kind is due."""
        stream = self._streams[index]
        if type_id == TYPE_VIDEO:
            count = stream.video_frames
            message = (
                self._templates.inter if (count - stream.gop_from) % self._gop else self._templates.keyframe
            )
            seconds = count / self._scenario.fps
            stream.video_frames = count + 1
            next_ns = stream.start_ns + int((count + 1) * 1e9 / self._scenario.fps)
        else:
            count = stream.audio_frames
            message = self._templates.audio
            seconds = count * AUDIO_FRAME / AUDIO_RATE
            stream.audio_frames = count + 1
            next_ns = stream.start_ns + (count + 1) * AUDIO_FRAME * 1_000_000_000 // AUDIO_RATE
        now = time.monotonic_ns()
        stamp(message, type_id, int(seconds * 1000), now, stream.sequence)
        stream.sequence += 1
        begin, end = self._window
        if begin <= now < end:
            stream.sent_in_window += 1
            self._late_ns.append(now - due)
        if stream.backlog:
            stream.backlog += message
            return next_ns
        sent = _send(stream.client.sock, message)
        if sent < len(message):
            stream.backlog += message[sent:]
        return next_ns

    def _flush_backlogs(self, drain: bool) -> None:
        for stream in self._streams:
            if drain:
                _drain(stream.client.raw, self._scratch)
            if stream.backlog:
                self._backlog_bytes = max(self._backlog_bytes, len(stream.backlog))
                if len(stream.backlog) > MAX_BACKLOG:
                    raise ClientError(f"the server leaves {len(stream.backlog)} bytes of a publisher unread")
                del stream.backlog[: _send(stream.client.sock, stream.backlog)]

    def _obey(self, pipe: Connection) -> bool:
        """Take a command if there is one; True when it was to stop."""
        if not pipe.poll(0):
            return False
        command = pipe.recv()
        match command[0]:
            case "window":
                self._window = (command[1], command[2])
                self._late_ns = array("q")
                self._backlog_bytes = 0
                for stream in self._streams:
                    stream.sent_in_window = 0
            case "pause":
                self._paused_ns = time.monotonic_ns()
                pipe.send("paused")
            case "resume":
                self._resume(time.monotonic_ns() - self._paused_ns)
            case "report":
                pipe.send(
                    {
                        "sent": [stream.sent_in_window for stream in self._streams],
                        "late_ns": self._late_ns.tolist(),
                        "backlog": self._backlog_bytes,
                    }
                )
            case _:
                for stream in self._streams:
                    stream.client.close()
                return True
        return False

    def _resume(self, shift_ns: int) -> None:
        """Go on with a keyframe, as if no time had passed: the timestamps know nothing of the pause.

        Servers may keep from players what comes before their first keyframe.
        """
        self._paused_ns = 0
        for stream in self._streams:
            stream.start_ns += shift_ns
            stream.gop_from = stream.video_frames
        # all by the same amount: it stays a heap
        self._heap = [(due + shift_ns, index, type_id) for due, index, type_id in self._heap]


def _send(sock: socket.socket, data: bytearray) -> int:
    try:
        return sock.send(data)
    except (BlockingIOError, ssl.SSLWantWriteError):
        return 0
    except OSError as exc:
        raise ClientError(f"a publisher lost its connection: {exc}") from exc


def _drain(sock: socket.socket, scratch: bytearray) -> None:
    try:
        sock.recv_into(scratch, DRAIN_BYTES, socket.MSG_TRUNC)
    except BlockingIOError:
        return

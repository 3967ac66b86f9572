"""The good stream: a publisher, a player that parses and checks, and somebody who joins twice a second.

Each is a process of its own: `python -m tests.hostile.good ROLE PORT TLS_PORT HTTP_PORT`; where HTTP_PORT is
not 0 there is a viewer of HTTP-FLV, too. The publisher keeps to a
timetable that begins at a moment it tells: tick K is due K / FPS seconds later and consists of message 2K
(video) and 2K + 1 (audio). Delays are counted from when a message was due, so that a publisher who is held up
counts as well.
"""

from __future__ import annotations

import os
import struct
import sys
from collections.abc import Callable
from time import monotonic, sleep

from rtmpsrv.protocol import amf0, messages
from rtmpsrv.protocol.chunks import pack

from .wire import ANSWER_S, CHUNK_SIZE, GOOD_ADDRESS, READ_SIZE, Closed, Connection, Received
from .worker import Orders, tell

APP = "good"
KEY = "k"
FPS = 30
BITRATE = 1_500_000  # bits per second, audio included
GOP = 2 * FPS  # frames
KEYFRAME_WEIGHT = 6  # a keyframe is so many times an inter frame
AUDIO_BYTES = 300
JOIN_EVERY_S = 0.5
JOIN_GIVE_UP_S = 5.0
ACKNOWLEDGE_EVERY_S = 0.5
FLV_HEADER_BYTES = 13
TAG_BYTES = 11  # before what a tag holds

AVC_HEADER = bytes.fromhex("1700000000 0142c01effe100196742c01eda0280bfe5c044000003000400000300f03c58ba80"
                           "01000468ce0fc8")  # fmt: skip
AAC_HEADER = bytes.fromhex("af001210")
VIDEO_HEADS = {True: bytes.fromhex("1701000000"), False: bytes.fromhex("2701000000")}
AUDIO_HEAD = bytes.fromhex("af01")
MAGIC = b"GoodStream"
STAMP = struct.Struct(">10sQ")  # magic, number
NAL_HEADERS = {True: 0x65, False: 0x41}


def sizes() -> dict[bool, int]:
    """Return the bytes of a keyframe and of an inter frame that make up the bitrate."""
    gop_bytes = GOP * (BITRATE / 8 / FPS - AUDIO_BYTES)
    inter = gop_bytes / (GOP - 1 + KEYFRAME_WEIGHT)
    return {True: int(KEYFRAME_WEIGHT * inter), False: int(inter)}


def video(tick: int, size: int) -> bytes:
    """Return one coded frame that carries its number."""
    is_keyframe = tick % GOP == 0
    nal = bytes((NAL_HEADERS[is_keyframe],)) + STAMP.pack(MAGIC, 2 * tick)
    nal += b"v" * (size - len(nal) - 9)
    return VIDEO_HEADS[is_keyframe] + struct.pack(">I", len(nal)) + nal


def audio(tick: int) -> bytes:
    """Return one audio message that carries its number."""
    return (AUDIO_HEAD + STAMP.pack(MAGIC, 2 * tick + 1)).ljust(AUDIO_BYTES, b"a")


def number_of(message: Received) -> int | None:
    """Return the number of a message of the good stream, None of anything else."""
    at = {messages.VIDEO: 10, messages.AUDIO: 2}.get(message.type_id)
    if at is None or message.payload[at : at + len(MAGIC)] != MAGIC:
        return None
    return int(STAMP.unpack_from(message.payload, at)[1])


def publish(port: int) -> None:
    """Keep to the timetable for ever."""
    size = sizes()
    connection = Connection(port, GOOD_ADDRESS).publish(APP, KEY, CHUNK_SIZE)
    metadata = amf0.encode("@setDataFrame", "onMetaData", {"width": 640.0, "height": 360.0})
    connection.send(pack(4, 0, messages.DATA_AMF0, 1, metadata, CHUNK_SIZE))
    connection.send(pack(6, 0, messages.VIDEO, 1, AVC_HEADER) + pack(4, 0, messages.AUDIO, 1, AAC_HEADER))
    began = monotonic()
    tell(began=began)
    tick = 0
    while True:
        while (wait := began + tick / FPS - monotonic()) > 0:
            sleep(wait)  # the timetable
        stamp = tick * 1000 // FPS
        data = pack(6, stamp, messages.VIDEO, 1, video(tick, size[tick % GOP == 0]), CHUNK_SIZE)
        data += pack(4, stamp, messages.AUDIO, 1, audio(tick), CHUNK_SIZE)
        connection.send(data)
        connection.discard()
        tick += 1


def play(port: int) -> None:
    """Tell the numbers that arrive, and when."""
    connection = Connection(port, GOOD_ADDRESS).play(APP, KEY)
    acknowledged = monotonic()
    received = 0
    while True:
        if monotonic() - acknowledged > ACKNOWLEDGE_EVERY_S:
            acknowledged = monotonic()
            connection.send(messages.acknowledgement(received))
        if not connection.is_readable(ACKNOWLEDGE_EVERY_S):
            continue
        try:
            got = connection.receive()
        except TimeoutError:
            continue  # part of a message: the rest is late, which its latency will say
        at = monotonic()
        received += sum(len(one.payload) for one in got)
        numbers = [number for one in got if (number := number_of(one)) is not None]
        if numbers:
            tell(numbers=numbers, at=at)
        if any(one.type_id == messages.COMMAND_AMF0 and b"UnpublishNotify" in one.payload for one in got):
            raise Closed("UnpublishNotify")


def view(port: int) -> None:
    """Tell the numbers that arrive by HTTP-FLV, and when."""
    viewer = Viewer(port)
    while True:
        numbers = viewer.numbers(ANSWER_S)
        if numbers:
            tell(viewed=numbers, at=monotonic())


class Viewer:
    """Somebody who watches by HTTP-FLV; with a reader of its own, as `wire` has one for RTMP."""

    def __init__(self, port: int) -> None:
        """Ask."""
        self.connection = Connection(port, GOOD_ADDRESS)
        self.connection.send(f"GET /{APP}.flv?key={KEY} HTTP/1.1\r\nHost: good\r\n\r\n".encode())
        self._waiting = b""
        self._at_head = True

    def numbers(self, timeout_s: float) -> list[int]:
        """Return the numbers of what came, perhaps none. Raises Closed, TimeoutError."""
        self.connection.socket.settimeout(timeout_s)
        data = self.connection.socket.recv(READ_SIZE)
        if not data:
            raise Closed("end of stream")
        self._waiting += data
        if self._at_head:
            head, end, rest = self._waiting.partition(b"\r\n\r\n")
            if not end or len(rest) < FLV_HEADER_BYTES:
                return []
            if not head.startswith(b"HTTP/1.1 200 "):
                raise Closed(f"{head[:40]!r}")
            self._at_head, self._waiting = False, rest[FLV_HEADER_BYTES:]
        found = []
        while len(self._waiting) >= TAG_BYTES:
            end_of_tag = TAG_BYTES + int.from_bytes(self._waiting[1:4])
            if len(self._waiting) < end_of_tag + 4:
                break
            message = Received(self._waiting[0], self._waiting[TAG_BYTES:end_of_tag])
            assert int.from_bytes(self._waiting[end_of_tag : end_of_tag + 4]) == end_of_tag, "no whole tag"
            self._waiting = self._waiting[end_of_tag + 4 :]
            number = number_of(message)
            found += [number] if number is not None else []
        return found


def join(ports: tuple[int, int, int]) -> None:
    """Join by RTMP, RTMPS and HTTP in turns, until the first video has come; tell how long it took."""
    ways: list[tuple[str, Callable[[], None]]] = [
        ("RTMP", lambda: _join(ports[0], False)),
        ("RTMPS", lambda: _join(ports[1], True)),
    ]
    if ports[2]:
        ways.append(("HTTP", lambda: _join_by_http(ports[2])))
    turn = 0
    while True:
        began = monotonic()
        way, work = ways[turn % len(ways)]
        tell(joining=began)
        try:
            work()
        except (Closed, OSError, AssertionError) as exc:
            tell(failed=began, reason=repr(exc), way=way)
        else:
            tell(joined=began, took_s=monotonic() - began)
        turn += 1
        while (wait := began + JOIN_EVERY_S - monotonic()) > 0:
            sleep(wait)  # the timetable


def _join(port: int, secure: bool) -> None:
    connection = Connection(port, GOOD_ADDRESS, secure=secure)
    try:
        connection.play(APP, KEY)
        connection.wait_for(
            lambda one: one.type_id == messages.VIDEO and number_of(one) is not None, JOIN_GIVE_UP_S
        )
    finally:
        connection.close()


def _join_by_http(port: int) -> None:
    viewer = Viewer(port)
    try:
        until = monotonic() + JOIN_GIVE_UP_S
        while not any(number % 2 == 0 for number in viewer.numbers(max(0.01, until - monotonic()))):
            pass
    finally:
        viewer.connection.close()


def main() -> None:
    """Take the role that the arguments name, until the starter goes."""
    role = sys.argv[1]
    port, tls_port, http_port = map(int, sys.argv[2:5])
    Orders()
    try:
        if role == "publish":
            publish(port)
        elif role == "play":
            play(port)
        elif role == "view":
            view(http_port)
        else:
            join((port, tls_port, http_port))
    except (Closed, OSError) as exc:
        tell(closed=f"{role}: {exc or type(exc).__name__}")
        os._exit(1)


assert ANSWER_S > JOIN_GIVE_UP_S

if __name__ == "__main__":
    main()

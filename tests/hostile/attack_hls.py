"""Attacks on what makes HLS: streams that somebody asks for, and that are made to be too much for it."""

from __future__ import annotations

import os
import random
import threading
from contextlib import suppress
from time import monotonic, sleep

from rtmpsrv.protocol import messages
from rtmpsrv.protocol.chunks import pack

from .attacker import Attack
from .cases import Surroundings, attack
from .good import AAC_HEADER, AVC_HEADER
from .viewing import asking, everything, source
from .wire import NO_CHUNKS, Closed, Connection, whole

# Of which windows may have half.
LITTLE_MEMORY = Surroundings((("HTTP_PORT", "free"), ("GOP_CACHE_TOTAL_MB", "32")))
ANY_MEMORY = Surroundings((("HTTP_PORT", "free"),))
CHANNELS = 8
READERS = 300
LARGE = 60_000  # bytes of a frame: 3 MB of a segment
FRAME_MS = 40
SHOWN_MS = 3000  # more than a segment
DROP, DROP_EVERY_S = 1000, 0.05  # bytes that a slow reader takes, and how often
KEYFRAME, INTER = b"\x17\1\0\0\0", b"\x27\1\0\0\0"
FRAME = 100_000  # bytes
SMALL_RATE = 2e6  # bytes a second, of small ones
EACH_S = 0.002  # between two changes of a stream
HOST = b" HTTP/1.1\r\nHost: localhost\r\n\r\n"
OTHER_WIDTH = 9  # byte of the header that says another profile each time


def video(at: int, payload: bytes) -> bytes:
    """Return a message of a time."""
    return pack(4, at % (1 << 32), messages.VIDEO, 1, payload, NO_CHUNKS)


def large(at: int) -> bytes:
    """Return a frame of a time that FFmpeg takes for one, with a tone; each second a keyframe."""
    head, nal = (KEYFRAME, b"\x65\x88\x84") if at % 1000 == 0 else (INTER, b"\x41\x9a\x21")
    picture = head + LARGE.to_bytes(4) + nal + b"\xaa" * (LARGE - len(nal))
    return video(at, picture) + pack(4, at, messages.AUDIO, 1, b"\xaf\1tone", NO_CHUNKS)


def ask(this: Attack, app: str) -> None:
    """Ask for the HLS of a channel, as somebody who waits for it would, and do not wait."""
    for name in ("index.m3u8", "live.m3u8"):
        with this.may_be_cut():
            this.open_http(f"GET /{app}/{name}?key=k&s={os.urandom(8).hex()}".encode() + HOST)


def watched(this: Attack, frames: bytes, rate: float = 0) -> None:
    """Publish some channels that are asked for, and send these frames to each, over and over."""
    made: list[Connection] = []
    for _ in range(CHANNELS):
        app = this.app()
        with this.may_be_cut():
            made.append(this.publisher(app))
            made[-1].send(whole(messages.VIDEO, AVC_HEADER) + whole(messages.AUDIO, AAC_HEADER))
            ask(this, app)
    this.flood(made, frames, rate=rate)


@attack(LITTLE_MEMORY)
def hls_of_floods(this: Attack) -> None:
    """Publish channels whose HLS is asked for: only keyframes, large, all at one time, as fast as can be."""
    watched(this, video(0, KEYFRAME + bytes(FRAME)) + whole(messages.AUDIO, b"\xaf\1tone"))


@attack(LITTLE_MEMORY)
def hls_of_small_frames(this: Attack) -> None:
    """Publish channels whose HLS is asked for: thousands of small keyframes a second, 1 ms apart."""
    watched(this, b"".join([video(at, KEYFRAME + bytes(60)) for at in range(500)]), SMALL_RATE)


@attack(LITTLE_MEMORY)
def hls_without_keyframes(this: Attack) -> None:
    """Publish channels whose HLS is asked for: pictures that all refer to a keyframe that never comes."""
    watched(this, video(0, INTER + bytes(FRAME)))


@attack(LITTLE_MEMORY)
def hls_of_streams_that_break_off(this: Attack) -> None:
    """Publish channels whose HLS is asked for: times that jump, headers that change with each picture."""
    noise = random.Random(3)

    def once() -> None:
        app = this.app()
        publisher = this.publisher(app)
        ask(this, app)
        at = 0
        with suppress(Closed, OSError):
            while not this.over:
                at += noise.choice((3000, 9000, 1 << 30, -5000))
                header = bytearray(AVC_HEADER)
                header[OTHER_WIDTH] = noise.randrange(256)
                publisher.send(video(at, bytes(header)) + video(at, KEYFRAME + bytes(1000)))
                publisher.discard()
                sleep(EACH_S)

    threads = [threading.Thread(target=once, daemon=True) for _ in range(CHANNELS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(this.attack_s)


@attack(ANY_MEMORY)
def hls_of_large_segments_read_slowly(this: Attack) -> None:
    """Ask for large segments, one behind the other, on three hundred connections, and read drop by drop."""
    app = this.app()
    publisher = this.publisher(app)
    publisher.send(whole(messages.VIDEO, AVC_HEADER) + whole(messages.AUDIO, AAC_HEADER))
    waiting = this.open_http(asking(f"/{app}/live.m3u8?key=k&ll=no", "Connection: close"))
    publisher.send(b"".join(large(at) for at in range(0, SHOWN_MS + 1, FRAME_MS)))
    playlist = everything(waiting)
    names = [
        line.decode() for line in playlist.splitlines() if b".m4s?" in line and not line.startswith(b"#")
    ]
    if not names:
        this.complain(f"there is no segment: {playlist!r}")
        return
    this.until = monotonic() + this.attack_s
    asks = asking(f"/{app}/{names[-1]}") * 4
    held = [this.open_http(asks, source=source(number), receive_buffer=4096) for number in range(READERS)]
    for one in held:
        one.socket.settimeout(0)
    while not this.over:
        for one in held:
            with suppress(OSError):
                one.socket.recv(DROP)
        sleep(DROP_EVERY_S)

"""Attacks by publishers on what is made of their streams for browsers, each with viewers of its own."""

from __future__ import annotations

import random
from collections.abc import Iterator

from rtmpsrv.protocol import messages

from .attack_viewers import LITTLE, VIEWERS
from .attacker import Attack
from .cases import attack
from .good import AAC_HEADER, AUDIO_HEAD, AVC_HEADER, NAL_HEADERS, VIDEO_HEADS
from .viewing import asking, source, upgrade
from .wire import Connection, whole

KINDS = (
    ".mp4?key=k", ".mp4?audio=2&key=k", ".mp4?audio=no&key=k", ".mp4?video=no&key=k", ".jpg?key=k",
    "/index.m3u8?key=k",
)  # fmt: skip
UNREAD = 60  # viewers that read nothing
RATE = 6_000_000  # bytes a second
LEVEL_AT = 8  # of a header: a byte of the configuration that may have any value


def viewers(this: Attack, app: str, *, receive_buffer: int = 0) -> list[Connection]:
    """Watch a channel in each way for which something is made, and by WebSocket."""
    asks = [asking(f"/{app}{kind}") for kind in KINDS] + [upgrade(f"/{app}.mp4?key=k")]
    return [
        this.open_http(one, source=source(number), receive_buffer=receive_buffer)
        for number, one in enumerate(asks)
    ]


def picture(size: int, *, is_keyframe: bool = True) -> bytes:
    """Return a coded picture."""
    unit = bytes((NAL_HEADERS[is_keyframe],)) + b"p" * size
    return whole(messages.VIDEO, VIDEO_HEADS[is_keyframe] + len(unit).to_bytes(4) + unit)


def sound() -> bytes:
    return whole(messages.AUDIO, AUDIO_HEAD + b"sound")


def headers(level: int = AVC_HEADER[LEVEL_AT]) -> bytes:
    """Return those of both tracks; each level is another configuration."""
    video = AVC_HEADER[:LEVEL_AT] + bytes((level,)) + AVC_HEADER[LEVEL_AT + 1 :]
    return whole(messages.VIDEO, video) + whole(messages.AUDIO, AAC_HEADER)


def changing() -> Iterator[bytes]:
    for level in range(256):
        yield headers(level) + picture(500) + sound()


@attack(VIEWERS)
def viewers_of_headers_that_change(this: Attack) -> None:
    """Publish another configuration before each picture, watched in each way."""
    app = this.app()
    publisher = this.publisher(app)
    with this.may_be_cut():
        this.flood([publisher], b"".join(changing()), readers=viewers(this, app), rate=RATE / 4)


@attack(VIEWERS)
def viewers_of_noise(this: Attack) -> None:
    """Publish headers, pictures and sound of noise, at any time, on any track, watched in each way."""
    noise = random.Random(11)
    kinds = (
        b"\x17\0\0\0\0", b"\x17\1\0\0\0", b"\x27\1\0\0\0", b"\xaf\0", b"\xaf\1", b"\x90hvc1", b"\x91hvc1",
        b"\x90av01", b"\x91av01", b"\x96\1vp09\1", b"\x95\1Opus\2", b"\x94fLaC", b"\x95\x11.mp3\3",
    )  # fmt: skip
    data = b""
    for _ in range(3000):
        head = noise.choice(kinds)
        is_sound = head[:1] in (b"\xaf", b"\x95") or head[1:] == b"fLaC"
        kind = messages.AUDIO if is_sound else messages.VIDEO
        data += whole(kind, head + noise.randbytes(noise.randrange(300)))
    app = this.app()
    publisher = this.publisher(app)
    with this.may_be_cut():
        this.flood([publisher], data, readers=viewers(this, app), rate=RATE)


@attack(VIEWERS)
def viewers_of_too_much(this: Attack) -> None:
    """Publish as much as can be in long groups of pictures, for sixty viewers who read none of it."""
    app = this.app()
    publisher = this.publisher(app)
    publisher.send(headers() + picture(200_000) + sound())
    held: list[Connection] = []
    while len(held) < UNREAD and not this.over:
        held += viewers(this, app, receive_buffer=LITTLE)
    data = (picture(50_000, is_keyframe=False) + sound()) * 20
    with this.may_be_cut():
        this.flood([publisher], data + picture(200_000), rate=RATE)

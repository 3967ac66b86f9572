"""Attacks of few bytes that are much work: messages and tags of nothing, or next to nothing."""

from __future__ import annotations

import threading
from contextlib import suppress

from rtmpsrv.protocol import messages

from .attacker import Attack
from .cases import attack
from .wire import Closed, Connection, again, head, whole

MILLION = 1_000_000
AGGREGATE_BYTES = 0xFFFFF0
SMALL_KEYFRAME = b"\x12"  # frame type 1, a codec that is not looked into
AVC_KEYFRAME = b"\x17\x01" + bytes(6)
PLAYERS = 3
TRACKS = 256
SLOW_BYTES_PER_S = 60_000
LOOKED_AT = 6  # publishers
LONG_HEADER_BYTES = 65400
CHANGE_S = 0.2


def tag(type_id: int, payload: bytes) -> bytes:
    """Return one message of an aggregate, at time 0."""
    return bytes((type_id,)) + len(payload).to_bytes(3, "big") + bytes(7) + payload + bytes(4)


def flood_of(this: Attack, begin: bytes, each: bytes, players: int = 0, rate: float = 0) -> None:
    """Publish the same message over and over; a publisher may be slowed, but is not to be cut for that."""
    app = this.app()
    publisher = this.publisher(app)
    watching = [this.player(app) for _ in range(players)]
    publisher.send(begin)
    if this.flood([publisher], each, readers=watching, rate=rate):
        this.complain("the publisher was cut")


def one_aggregate(this: Attack, piece: bytes, players: int) -> None:
    """Publish one aggregate of the greatest length, and stay."""
    app = this.app()
    publisher = this.publisher(app)
    watching = [this.player(app) for _ in range(players)]
    body = piece * (AGGREGATE_BYTES // len(piece))
    publisher.send(whole(messages.AGGREGATE, body))
    this.watch([publisher, *watching])


@attack()
def aggregate_of_keyframes_watched(this: Attack) -> None:
    """Send one aggregate of 16 MiB of 1-byte keyframes to three players that read."""
    one_aggregate(this, tag(messages.VIDEO, SMALL_KEYFRAME), PLAYERS)


@attack()
def aggregate_of_keyframes(this: Attack) -> None:
    """Send one aggregate of 16 MiB of 1-byte keyframes to nobody."""
    one_aggregate(this, tag(messages.VIDEO, SMALL_KEYFRAME), 0)


@attack()
def aggregate_of_empty_audio(this: Attack) -> None:
    """Send one aggregate of 16 MiB of empty audio."""
    one_aggregate(this, tag(messages.AUDIO, b""), 0)


@attack()
def aggregate_of_empty_data(this: Attack) -> None:
    """Send one aggregate of 16 MiB of empty data messages."""
    one_aggregate(this, tag(messages.DATA_AMF0, b""), 0)


@attack()
def aggregate_of_aggregates(this: Attack) -> None:
    """Send one aggregate of 16 MiB of empty aggregates, which carry nothing."""
    one_aggregate(this, tag(messages.AGGREGATE, b""), 0)


@attack()
def aggregates_of_nothing(this: Attack) -> None:
    """Send empty aggregates, one byte each."""
    flood_of(this, head(messages.AGGREGATE, 0), again())


@attack()
def empty_audio(this: Attack) -> None:
    """Send empty audio, one byte each."""
    flood_of(this, head(messages.AUDIO, 0), again())


@attack()
def empty_video(this: Attack) -> None:
    """Send empty video, one byte each, to three players."""
    flood_of(this, head(messages.VIDEO, 0), again(), PLAYERS)


@attack()
def empty_data(this: Attack) -> None:
    """Send empty data messages, one byte each."""
    flood_of(this, head(messages.DATA_AMF0, 0), again())


@attack()
def tiny_keyframes_watched(this: Attack) -> None:
    """Send keyframes of one byte, two bytes each, to three players that read."""
    flood_of(this, head(messages.VIDEO, 1) + SMALL_KEYFRAME, again() + SMALL_KEYFRAME, PLAYERS)


@attack()
def tiny_keyframes_slowly(this: Attack) -> None:
    """Send keyframes of one byte at half a megabit a second to three players that read."""
    begin, each = head(messages.VIDEO, 1) + SMALL_KEYFRAME, again() + SMALL_KEYFRAME
    flood_of(this, begin, each, PLAYERS, SLOW_BYTES_PER_S)


@attack()
def tiny_keyframes_on_message_stream_2(this: Attack) -> None:
    """Send keyframes of one byte to thirty players on message stream 2, to which no bytes can be shared."""
    app = this.app()
    publisher = this.publisher(app)
    watching = [this.player(app, msid=2) for _ in range(30)]
    publisher.send(head(messages.VIDEO, 1) + SMALL_KEYFRAME)
    this.flood([publisher], (again() + SMALL_KEYFRAME), readers=watching)


@attack()
def many_publishers_of_small_keyframes(this: Attack) -> None:
    """Publish small keyframes on sixteen connections, as fast as they are taken."""
    publishers = [this.publisher() for _ in range(16)]
    this.flood(publishers, whole(messages.VIDEO, AVC_KEYFRAME) * 64)


@attack()
def floods_then_comes_back(this: Attack) -> None:
    """Send a million empty messages and vanish; who comes to the same channel then is not to be refused."""
    app = this.app()
    publisher = this.publisher(app)
    publisher.send(head(messages.AUDIO, 0))
    publisher.socket.settimeout(0)
    with suppress(BlockingIOError):
        while publisher.socket.send(again() * MILLION):
            pass
    publisher.close()
    try:
        this.publisher(app)
    except Closed as exc:
        this.complain(f"the next publisher was refused: {exc}")


@attack()
def commands_before_connect(this: Attack) -> None:
    """Send empty commands on four connections before connect, again and again."""
    this.together(4, lambda: _nothing_but(this, this.open().shake(), head(messages.COMMAND_AMF0, 0), again()))


@attack()
def everything_empty_before_connect(this: Attack) -> None:
    """Send empty messages of all types before connect, on connections that come back."""
    this.together(4, lambda: _nothing_but(this, this.open().shake(), *_all_types()))


@attack()
def everything_empty_connected(this: Attack) -> None:
    """Send empty messages of all types after connect, on connections that come back."""
    this.together(4, lambda: _nothing_but(this, this.open().connect(this.app()), *_all_types()))


@attack()
def everything_empty_publishing(this: Attack) -> None:
    """Send empty messages of all types while publishing."""
    this.together(2, lambda: _nothing_but(this, this.publisher(), *_all_types()))


@attack()
def everything_empty_playing(this: Attack) -> None:
    """Send empty messages of all types while playing the good stream."""
    this.together(4, lambda: _nothing_but(this, this.player("good"), *_all_types()))


@attack()
def headers_of_256_tracks(this: Attack) -> None:
    """Send sequence headers of 256 tracks that change each time."""
    pieces = []
    for value in range(24):
        each = b"".join(bytes((track, 0, 0, 1, value)) for track in range(TRACKS))
        pieces.append(whole(messages.VIDEO, b"\x96\x10hvc1" + each))
        pieces.append(whole(messages.AUDIO, b"\x95\x10Opus" + each))
    flood_of(this, b"", b"".join(pieces))


@attack()
def headers_that_change_each_frame(this: Attack) -> None:
    """Send another sequence header before each keyframe, to three players."""
    pieces = []
    for value in range(16):
        pieces.append(whole(messages.VIDEO, b"\x17\x00\x00\x00\x00" + bytes((1, value)) * 20))
        pieces.append(whole(messages.AUDIO, b"\xaf\x00" + bytes((value, value))))
        pieces.append(whole(messages.VIDEO, b"\x17\x01\x00\x00\x00k"))
    app = this.app()
    publisher = this.publisher(app)
    watching = [this.player(app) for _ in range(PLAYERS)]
    if this.flood([publisher], b"".join(pieces), readers=watching):
        this.complain("the publisher was cut")


@attack()
def long_headers_beside_one_that_changes(this: Attack) -> None:
    """Hold three HEVC headers of 64 KB, of empty arrays, in each of six publications; change a fourth."""
    publishers = [this.publisher(this.app()) for _ in range(LOOKED_AT)]
    record = b"\1" * 23
    for publisher in publishers:
        for track in b"\1\2\3":
            header = b"\x96\0hvc1" + bytes([track]) + record + bytes(LONG_HEADER_BYTES)
            publisher.send(whole(messages.VIDEO, header))
    number = 0
    while not this.over:
        number += 1
        changing = b"\x96\0hvc1\x09" + record + number.to_bytes(4, "big")
        for publisher in publishers:
            publisher.send(whole(messages.VIDEO, changing) + whole(messages.VIDEO, b"\xa1hvc1" + bytes(20)))
            publisher.discard()
        threading.Event().wait(CHANGE_S)


@attack()
def frames_of_32_tracks(this: Attack) -> None:
    """Send frames of 32 tracks, from several publishers, as fast as the server takes them."""
    tracks = b"".join(bytes([track]) + b"\0\0\4\0\0\0x" for track in range(32))
    frame = whole(messages.VIDEO, b"\xa6\x11avc1" + tracks)
    publishers = [this.publisher(this.app()) for _ in range(LOOKED_AT)]
    for publisher in publishers:
        publisher.send(whole(messages.VIDEO, b"\x96\0avc1\1x"))
    this.flood(publishers, frame * 200)


def _nothing_but(this: Attack, connection: Connection, begin: bytes, each: bytes) -> None:
    try:
        connection.send(begin)
        this.flood([connection], each)
    except Closed:
        pass  # the next one comes at once
    finally:
        connection.close()


def _all_types() -> tuple[bytes, bytes]:
    """Return a chunk stream opened for each type that may be empty, and then one more of each."""
    types = (messages.AUDIO, messages.VIDEO, messages.DATA_AMF3, messages.SHARED_OBJECT_AMF3,
             messages.COMMAND_AMF3, messages.DATA_AMF0, messages.SHARED_OBJECT_AMF0, messages.COMMAND_AMF0,
             messages.AGGREGATE, 0, 7, 21)  # fmt: skip
    begin = b"".join(head(type_id, 0, csid=10 + place) for place, type_id in enumerate(types))
    return begin, b"".join(again(10 + place) for place in range(len(types)))

"""Media that tell what they are: marked messages, and a tally of what is lost, doubled or changed. Pure."""

from __future__ import annotations

import random
import struct
from dataclasses import dataclass, field
from zlib import crc32

from benchlib.rtmpclient import TYPE_AUDIO, TYPE_VIDEO

# channel, number in it, number among those of the type there, timestamp, monotonic ns, checksum
MARK = struct.Struct(">IIIIQI")
CHECKSUM_BYTES = 4  # the last of the mark
HEADS = {
    (TYPE_VIDEO, True): bytes.fromhex("1701000000"),
    (TYPE_VIDEO, False): bytes.fromhex("2701000000"),
    (TYPE_AUDIO, False): bytes.fromhex("af01"),
}
NAL_BYTES = 5  # length and header of the one unit of a video message
MARK_AT = {TYPE_VIDEO: 5 + NAL_BYTES, TYPE_AUDIO: 2}
FILLER_BYTES = 1 << 18
FILLER_STEP = 7919  # bytes, prime: neighbours hold different bytes
CODED = 1  # second byte of a message that is no sequence header
KEYFRAME_WEIGHT = 4  # a keyframe is this many times an inter frame


@dataclass(frozen=True, slots=True)
class Shape:
    """What a stream is like."""

    bitrate_mbit: float = 0.5
    fps: float = 12.5
    sounds: float = 10.0  # audio messages a second
    gop_frames: int = 25
    audio_bytes: int = 200

    def video_bytes(self, keyframe: bool) -> int:
        """Give the body of a frame that makes up the bitrate, audio deducted."""
        second = self.bitrate_mbit * 1e6 / 8 - self.sounds * self.audio_bytes
        inter = second / self.fps * self.gop_frames / (self.gop_frames - 1 + KEYFRAME_WEIGHT)
        return max(64, int(inter * (KEYFRAME_WEIGHT if keyframe else 1)))


class Source:
    """The messages of one channel in their order."""

    def __init__(self, channel: int, shape: Shape) -> None:
        self.channel = channel
        self.counts = {TYPE_VIDEO: 0, TYPE_AUDIO: 0}
        self._shape = shape
        # no zero bytes, so that nothing in it looks like a start code
        self._filler = bytes(random.Random(channel).choices(range(1, 256), k=FILLER_BYTES))

    def due(self, type_id: int) -> float:
        """Give when the next of a type is due, in seconds of its stream."""
        return self.counts[type_id] / (self._shape.fps if type_id == TYPE_VIDEO else self._shape.sounds)

    def next(self, type_id: int, now_ns: int) -> tuple[int, bytes]:
        """Give timestamp and body of the next message of a type."""
        count = self.counts[type_id]
        timestamp = int(self.due(type_id) * 1000)
        number = sum(self.counts.values())
        self.counts[type_id] += 1
        keyframe = type_id == TYPE_VIDEO and count % self._shape.gop_frames == 0
        size = self._shape.video_bytes(keyframe) if type_id == TYPE_VIDEO else self._shape.audio_bytes
        at = number * FILLER_STEP % (FILLER_BYTES - size)
        head = HEADS[type_id, keyframe]
        rest = self._filler[at : at + size - MARK_AT[type_id] - MARK.size]
        if type_id == TYPE_VIDEO:
            head += struct.pack(">IB", len(rest) + MARK.size + 1, 0x65 if keyframe else 0x41)
        mark = MARK.pack(self.channel, number, count, timestamp, now_ns, 0)[:-CHECKSUM_BYTES]
        checksum = crc32(rest, crc32(mark, crc32(head)))
        return timestamp, b"".join((head, mark, checksum.to_bytes(CHECKSUM_BYTES, "big"), rest))


@dataclass(slots=True)
class Tally:
    """What one player has got of its channel."""

    channel: int
    first: dict[int, int] = field(default_factory=dict)  # by type: number among those of the type
    last: dict[int, int] = field(default_factory=dict)
    received: int = 0
    lost: int = 0
    doubled: int = 0
    reordered: int = 0
    damaged: int = 0  # bytes, timestamp or channel are not those that were sent
    unwanted: int = 0  # of a type that was switched off
    sent_ns: int = 0  # of the newest
    muted: frozenset[int] = frozenset()
    _newest: int = -1
    _loose: set[int] = field(default_factory=set)

    def loosen(self) -> None:
        """Allow a jump forward once for each type: the player was away by its own wish."""
        self._loose = {TYPE_VIDEO, TYPE_AUDIO}

    def take(self, type_id: int, timestamp: int, body: bytes) -> bool:
        """Judge a message; False when it holds no marked media, as a header."""
        at = MARK_AT[type_id]
        if len(body) < at + MARK.size or body[1] != CODED:
            return False
        channel, number, count, stamp, sent_ns, checksum = MARK.unpack_from(body, at)
        end = at + MARK.size
        whole = crc32(body[end:], crc32(body[: end - CHECKSUM_BYTES])) == checksum
        if not whole or channel != self.channel or stamp != timestamp:
            self.damaged += 1
            return True
        self.received += 1
        self.unwanted += type_id in self.muted
        before = self.last.get(type_id)
        if before is None:
            self.first[type_id] = count
        elif count <= before:
            self.doubled += 1
            return True
        elif type_id not in self._loose:
            self.lost += count - before - 1
        self._loose.discard(type_id)
        self.last[type_id] = count
        self.reordered += number < self._newest
        self._newest = max(number, self._newest)
        self.sent_ns = sent_ns
        return True

    def missing(self, sent: dict[int, int]) -> int:
        """Count what is still to come, given how many of each type were sent; muted types left out."""
        wanted = {type_id: count for type_id, count in sent.items() if type_id not in self.muted}
        return sum(count - 1 - self.last.get(type_id, -1) for type_id, count in wanted.items())

    @property
    def wrong(self) -> int:
        """Count everything but losses."""
        return self.doubled + self.reordered + self.damaged + self.unwanted

"""Synthetic H.264 and AAC messages, cut into chunks once and stamped in place; they decode to nothing."""

from __future__ import annotations

import random
import struct
from dataclasses import dataclass

from benchlib.rtmpclient import TYPE_AUDIO, TYPE_VIDEO, pack_message
from benchlib.scenarios import AUDIO_BITRATE, AUDIO_FRAME, AUDIO_RATE, Scenario

KEYFRAME_WEIGHT = 8  # a keyframe is this many times an inter frame
CHUNK_HEADER = 12  # bytes, basic header and type 0 message header
STAMP = struct.Struct(">QQ")  # monotonic ns, sequence number
STAMP_OFFSET = {TYPE_VIDEO: 10, TYPE_AUDIO: 2}  # bytes into the body
STAMPED_HEAD = 32  # bytes of a body that hold every stamp
MIN_BODY = 40  # bytes
MIN_CHUNK_SIZE = 64  # the stamp must be in the first chunk

VIDEO_CSID = 6
AUDIO_CSID = 4

SPS = bytes.fromhex("6764001facd9405005bb0110000003001000000303c0f1831960")
PPS = bytes.fromhex("68ebe3cb22c0")
AVC_HEADER = (
    bytes.fromhex("1700000000")
    + b"\x01"
    + SPS[1:4]
    + b"\xff\xe1"
    + struct.pack(">H", len(SPS))
    + SPS
    + b"\x01"
    + struct.pack(">H", len(PPS))
    + PPS
)
AAC_HEADER = bytes.fromhex("af001210")


@dataclass(frozen=True, slots=True)
class Templates:
    """Serialised messages of one load; a publisher stamps them in place and sends them, one at a time."""

    keyframe: bytearray
    inter: bytearray
    audio: bytearray


def frame_sizes(scenario: Scenario) -> tuple[int, int]:
    """Give the body bytes of a keyframe and of an inter frame that make up the bitrate."""
    frames = max(1, round(scenario.fps * scenario.gop_s))
    gop_bytes = scenario.bitrate_mbit * 1e6 / 8 * frames / scenario.fps
    inter = gop_bytes / (frames - 1 + KEYFRAME_WEIGHT)
    return max(MIN_BODY, int(inter * KEYFRAME_WEIGHT)), max(MIN_BODY, int(inter))


def templates(scenario: Scenario) -> Templates:
    """Serialise one message of each kind at the publisher's chunk size."""
    key_bytes, inter_bytes = frame_sizes(scenario)
    audio_bytes = int(AUDIO_BITRATE / 8 * AUDIO_FRAME / AUDIO_RATE)
    return Templates(
        keyframe=_message(TYPE_VIDEO, _video_body(b"\x17", 0x65, key_bytes), scenario.chunk_size),
        inter=_message(TYPE_VIDEO, _video_body(b"\x27", 0x41, inter_bytes), scenario.chunk_size),
        audio=_message(TYPE_AUDIO, b"\xaf\x01" + _filler(audio_bytes - 2), scenario.chunk_size),
    )


def stamp(message: bytearray, type_id: int, timestamp: int, now_ns: int, sequence: int) -> None:
    """Write timestamp (ms), clock and sequence number into a serialised message."""
    message[1:4] = timestamp.to_bytes(3, "big")
    STAMP.pack_into(message, CHUNK_HEADER + STAMP_OFFSET[type_id], now_ns, sequence)


def stamp_of(type_id: int, head: bytes) -> tuple[int, int] | None:
    """Read clock and sequence number back; None for a header or a message without a stamp."""
    offset = STAMP_OFFSET[type_id]
    if len(head) < offset + STAMP.size or head[1] != 1:
        return None
    now_ns, sequence = STAMP.unpack_from(head, offset)
    return now_ns, sequence


def _message(type_id: int, body: bytes, chunk_size: int) -> bytearray:
    csid = VIDEO_CSID if type_id == TYPE_VIDEO else AUDIO_CSID
    return bytearray(pack_message(csid, type_id, 1, body, chunk_size))


def _video_body(tag: bytes, nal_header: int, size: int) -> bytes:
    nal = bytes((nal_header,)) + _filler(size - 10)
    return tag + b"\x01\x00\x00\x00" + struct.pack(">I", len(nal)) + nal


def _filler(size: int) -> bytes:
    # no zero bytes, so that nothing in it looks like a start code; the seed makes runs alike
    return bytes(random.Random(size).choices(range(1, 256), k=size))

"""How messages become bytes that depend on nothing sent before, so that all players of a kind share them.

Pure. One object for a kind of output; what a player is told before media is built here, too.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final, Protocol

from ..media import flv
from ..media.metadata import live_metadata
from ..protocol import messages
from ..protocol.chunks import EXTENDED, pack
from ..protocol.commands import on_status, sample_access
from .header_history import Headers

SHARED_MSID: Final = 1  # the message stream that logs are framed for: the first that createStream hands out

_CSID: Final = {
    messages.AUDIO: messages.AUDIO_CSID,
    messages.VIDEO: messages.VIDEO_CSID,
    messages.DATA_AMF0: messages.DATA_CSID,
}


# What stands before the payload: a chunk header of type 0, or of type 3; and a time that needs more room.
_HEADER_BYTES: Final = 12
_JOINT_BYTES: Final = 1
_EXTENDED_BYTES: Final = 4


class Framing(Protocol):
    """One way to write messages."""

    def frame(self, type_id: int, timestamp: int, payload: bytes) -> bytes:
        """Return one message, complete in itself."""

    def payload(self, data: bytes) -> bytes:
        """Return the payload of one message that `frame` made."""

    def readdressed(self, data: bytes, msid: int) -> bytes:
        """Copy a framed message for another message stream."""

    def headers(self, headers: Headers, timestamp: int, msid: int) -> bytes:
        """Return sequence headers, at the time of the frame that follows."""


class RtmpFraming:
    """Chunks of type 0 with continuations of type 3, on message stream 1."""

    __slots__ = ("chunk_size",)

    def __init__(self, chunk_size: int) -> None:
        self.chunk_size = chunk_size

    def frame(self, type_id: int, timestamp: int, payload: bytes) -> bytes:
        """Return one message, complete in itself."""
        return pack(_CSID[type_id], timestamp, type_id, SHARED_MSID, payload, self.chunk_size)

    def payload(self, data: bytes) -> bytes:
        """Return the payload of one message that `frame` made: that needs no reader, and is not checked."""
        extended = _EXTENDED_BYTES if int.from_bytes(data[1:4], "big") == EXTENDED else 0
        begin, size = _HEADER_BYTES + extended, self.chunk_size
        if len(data) <= begin + size:
            return data[begin:]
        step = size + _JOINT_BYTES + extended
        return b"".join([data[at : at + size] for at in range(begin, len(data), step)])

    def readdressed(self, data: bytes, msid: int) -> bytes:
        """Copy a framed message for another message stream; its id stands in bytes 8 to 11 of the header."""
        return data if msid == SHARED_MSID else data[:8] + msid.to_bytes(4, "little") + data[12:]

    def headers(self, headers: Headers, timestamp: int, msid: int) -> bytes:
        """Return sequence headers, at the time of the frame that follows.

        At 0 MediaMTX, which looks for tracks until a second has passed, would find the first one only.
        """
        size = self.chunk_size
        return b"".join(
            [pack(_CSID[kind], timestamp, kind, msid, payload, size) for kind, payload in headers]
        )

    def start(self, metadata: tuple[bytes, ...], headers: Headers, timestamp: int, msid: int) -> bytes:
        """Return all that comes before media: statuses, metadata, headers; these at the time of the media.

        Metadata is at timestamp 0: at any other time FFmpeg invents a subtitle stream.
        """
        size = self.chunk_size
        parts = [pack(messages.DATA_CSID, 0, messages.DATA_AMF0, msid, one, size) for one in metadata]
        return b"".join([_started(msid, size), *parts, self.headers(headers, timestamp, msid)])

    def unpublished(self, msid: int) -> bytes:
        """UnpublishNotify ends FFmpeg, VLC and rtmpdump, StreamEOF ends GStreamer."""
        return _unpublished(msid, self.chunk_size)

    def paused(self, msid: int) -> bytes:
        """Return what answers `pause`."""
        notice = on_status(msid, "status", "NetStream.Pause.Notify", "Paused live", self.chunk_size)
        return messages.user_control(messages.STREAM_EOF, msid) + notice

    def resumed(self, headers: Headers, timestamp: int, msid: int) -> bytes:
        """Return what answers the end of a pause, headers included."""
        notice = on_status(msid, "status", "NetStream.Unpause.Notify", "Unpaused live", self.chunk_size)
        begin = messages.user_control(messages.STREAM_BEGIN, msid)
        return begin + self.headers(headers, timestamp, msid) + notice


class FlvFraming:
    """Tags of an FLV stream."""

    __slots__ = ()

    def frame(self, type_id: int, timestamp: int, payload: bytes) -> bytes:
        """Return one tag, its back pointer included."""
        return flv.tag(type_id, timestamp, payload)

    def payload(self, data: bytes) -> bytes:
        """Return the payload of one tag."""
        return data[flv.TAG_HEADER_SIZE : -flv.BACK_POINTER_SIZE]

    def readdressed(self, data: bytes, msid: int) -> bytes:
        """Return a tag as it is: its stream is always 0."""
        return data

    def headers(self, headers: Headers, timestamp: int, msid: int) -> bytes:
        """Return sequence headers, at the time of the frame that follows: from 0 players would see a jump."""
        return b"".join([flv.tag(type_id, timestamp, payload) for type_id, payload in headers])

    def start(
        self, metadata: tuple[bytes, ...], headers: Headers, timestamp: int, has_audio: bool, has_video: bool
    ) -> bytes:
        """Return the file header and the tags that come before media, metadata at 0 as for RTMP."""
        known = [live_metadata(one, has_audio, has_video) for one in metadata]
        tags = [flv.tag(messages.DATA_AMF0, 0, one) for one in known]
        return b"".join(
            [flv.header(has_audio, has_video), *tags, self.headers(headers, timestamp, SHARED_MSID)]
        )


# Few pairs of message stream and chunk size exist at one time, but peers choose the former.
@lru_cache(maxsize=64)
def _started(msid: int, chunk_size: int) -> bytes:
    """StreamBegin, Play.Reset, Play.Start, sample access: docs/protocol.md, "Start of a player"."""
    return (
        messages.user_control(messages.STREAM_BEGIN, msid)
        + on_status(msid, "status", "NetStream.Play.Reset", "Playing and resetting stream.", chunk_size)
        + on_status(msid, "status", "NetStream.Play.Start", "Started playing stream.", chunk_size)
        + sample_access(chunk_size)
    )


@lru_cache(maxsize=64)
def _unpublished(msid: int, chunk_size: int) -> bytes:
    return on_status(
        msid, "status", "NetStream.Play.UnpublishNotify", "stream is now unpublished.", chunk_size
    ) + messages.user_control(messages.STREAM_EOF, msid)

"""The fixed messages that a channel sends its players, framed for one message stream and chunk size."""

from __future__ import annotations

from functools import lru_cache

from ..protocol import messages
from ..protocol.chunks import pack
from ..protocol.commands import on_status, sample_access
from .segment import Headers

_CSID = {messages.AUDIO: messages.AUDIO_CSID, messages.VIDEO: messages.VIDEO_CSID}


@lru_cache(maxsize=64)
def started(msid: int, chunk_size: int) -> bytes:
    """StreamBegin, Play.Reset, Play.Start, sample access: what precedes metadata, spec section 4.4."""
    return (
        messages.user_control(messages.STREAM_BEGIN, msid)
        + on_status(msid, "status", "NetStream.Play.Reset", "Playing and resetting stream.", chunk_size)
        + on_status(msid, "status", "NetStream.Play.Start", "Started playing stream.", chunk_size)
        + sample_access(chunk_size)
    )


@lru_cache(maxsize=64)
def unpublished(msid: int, chunk_size: int) -> bytes:
    """UnpublishNotify ends FFmpeg, VLC and rtmpdump, StreamEOF ends GStreamer."""
    return on_status(
        msid, "status", "NetStream.Play.UnpublishNotify", "stream is now unpublished.", chunk_size
    ) + messages.user_control(messages.STREAM_EOF, msid)


@lru_cache(maxsize=64)
def paused(msid: int, chunk_size: int) -> bytes:
    return messages.user_control(messages.STREAM_EOF, msid) + on_status(
        msid, "status", "NetStream.Pause.Notify", "Paused live", chunk_size
    )


@lru_cache(maxsize=64)
def unpausing(msid: int) -> bytes:
    return messages.user_control(messages.STREAM_BEGIN, msid)


@lru_cache(maxsize=64)
def unpaused(msid: int, chunk_size: int) -> bytes:
    return on_status(msid, "status", "NetStream.Unpause.Notify", "Unpaused live", chunk_size)


def metadata(payloads: tuple[bytes, ...], msid: int, chunk_size: int) -> bytes:
    """Data messages at timestamp 0: at any other time FFmpeg invents a subtitle stream."""
    return b"".join(
        pack(messages.DATA_CSID, 0, messages.DATA_AMF0, msid, payload, chunk_size) for payload in payloads
    )


def headers(headers: Headers, msid: int, chunk_size: int) -> bytes:
    """Sequence headers at timestamp 0."""
    return b"".join(
        pack(_CSID[type_id], 0, type_id, msid, payload, chunk_size) for type_id, payload in headers
    )

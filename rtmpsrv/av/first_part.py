"""The first part of an MP4, and pictures, by PyAV. Runs in a process of its own: hostile bytes may end it."""

from __future__ import annotations

import io
from contextlib import ExitStack
from fractions import Fraction
from typing import Any, Final

import av

from rtmpsrv.errors import LocalProtocolError, MediaRefused, RemoteProtocolError
from rtmpsrv.media.flv import header, tag
from rtmpsrv.media.mp4_init import pick_init
from rtmpsrv.media.mp4_source import Asked, Question
from rtmpsrv.media.sounds import aac_sound
from rtmpsrv.protocol.messages import AUDIO, VIDEO

# E-RTMP 2, the first byte of a message: enhanced, a keyframe, packet type 0 or 1; of audio: sound format 9.
_SEQUENCE_START: Final = b"\x90"
_CODED_FRAMES: Final = b"\x91"
_WITH_COMPOSITION_TIME: Final = frozenset({b"avc1", b"hvc1"})
_MOVFLAGS: Final = "empty_moov+default_base_moof+delay_moov+frag_custom+skip_trailer"
# What AC-3 needs before its first part can be written; one for all codecs.
_FRAMES: Final = 3
_FRAME_MS: Final = 40
_MS: Final = Fraction(1, 1000)
_BUFFER_BYTES: Final = 1 << 20
MAX_PICTURE_WIDTH: Final = 1280  # pixels, of a still; larger ones are made smaller
MAX_PIXELS: Final = 8192 * 4608  # of what is decoded: 8K, with some room
_JPEG_QUALITY: Final = 4  # FFmpeg's scale, from 1 (best) to 31
_BROKEN: Final = (
    av.FFmpegError,
    ValueError,
    TypeError,
    AttributeError,
    RemoteProtocolError,
    LocalProtocolError,
)


class _Written:
    """A file that cannot seek."""

    def __init__(self) -> None:
        self.parts: list[bytes] = []

    def write(self, data: Any) -> int:
        """Keep what the muxer writes."""
        self.parts.append(bytes(data))
        return len(data)


def first_part(question: Question) -> bytes:
    """Return `ftyp` and `moov` for these tracks, in this order. Blocks. Raises MediaRefused."""
    try:
        return pick_init(_muxed(question))
    except _BROKEN as exc:
        raise MediaRefused(f"this stream cannot be had as MP4: {_reason(exc)}") from exc


def picture(question: Question) -> bytes:
    """Return the frame of the first video track as JPEG. Raises MediaRefused with a sentence. Blocks."""
    try:
        return _jpeg(question)
    except _BROKEN as exc:
        raise MediaRefused(f"there is no picture of this stream: {_reason(exc)}") from exc


def _muxed(question: Question) -> bytes:
    written = _Written()
    options = {"movflags": _MOVFLAGS, "use_editlist": "0", "video_track_timescale": "1000"}
    with ExitStack() as sources:
        target = av.open(written, "w", format="mp4", options=options, buffer_size=_BUFFER_BYTES)
        with target:
            streams: list[Any] = []
            for asked in question.tracks:  # each from a file of its own: several may be of one kind
                source = sources.enter_context(av.open(io.BytesIO(_flv([asked])), format="flv"))
                template = _stream_of(source, asked.kind)
                stream: Any = target.add_stream_from_template(template, opaque=True)
                if asked.fourcc == b"hvc1":
                    stream.codec_context.codec_tag = "hvc1"  # Safari takes no hev1
                elif asked.fourcc == b"mp4a":
                    # The library believes FLV's bits where it cannot decode the first frame.
                    stream.codec_context.sample_rate = aac_sound(asked.config).sample_rate
                streams.append(stream)
            for number in range(_FRAMES):
                for asked, stream in zip(question.tracks, streams, strict=True):
                    packet = av.Packet(asked.frame)
                    packet.dts = packet.pts = number * _FRAME_MS
                    packet.duration = _FRAME_MS
                    packet.time_base = _MS
                    packet.is_keyframe = True
                    packet.stream = stream
                    target.mux_one(packet)
    return b"".join(written.parts)


def _jpeg(question: Question) -> bytes:
    tracks = [asked for asked in question.tracks if asked.kind == VIDEO]
    with av.open(io.BytesIO(_flv(tracks)), "r", format="flv") as source:
        stream: Any = _stream_of(source, VIDEO)
        stream.codec_context.thread_count = 1
        stream.codec_context.options = {"max_pixels": str(MAX_PIXELS)}
        for packet in source.demux(stream):
            for frame in stream.decode(packet):
                return _encoded(frame)
    raise ValueError("no decoder shows one")


def _encoded(frame: Any) -> bytes:
    width = min(frame.width, MAX_PICTURE_WIDTH) // 2 * 2
    height = max(2, frame.height * width // frame.width // 2 * 2)
    encoder: Any = av.CodecContext.create("mjpeg", "w")
    encoder.width, encoder.height = width, height
    encoder.pix_fmt = "yuvj420p"
    encoder.time_base = Fraction(1, 25)
    encoder.thread_count = 1
    encoder.qmin = encoder.qmax = _JPEG_QUALITY
    still = frame.reformat(width, height, "yuvj420p")
    still.pts, still.time_base = 0, encoder.time_base
    return b"".join([bytes(packet) for packet in (*encoder.encode(still), *encoder.encode(None))])


def _stream_of(source: Any, kind: int) -> Any:
    streams = source.streams.video if kind == VIDEO else source.streams.audio
    if not streams or streams[0].codec_context is None:
        raise ValueError(f"its {'video' if kind == VIDEO else 'audio'} is not understood")
    return streams[0]


def _flv(tracks: list[Asked] | tuple[Asked, ...]) -> bytes:
    """Return an FLV file of one configuration and one frame for each track."""
    kinds = {asked.kind for asked in tracks}
    tags = [
        tag(asked.kind, 0, _SEQUENCE_START + asked.fourcc + asked.config) for asked in tracks if asked.config
    ]
    for asked in tracks:
        time = bytes(3) if asked.fourcc in _WITH_COMPOSITION_TIME else b""
        tags.append(tag(asked.kind, 0, _CODED_FRAMES + asked.fourcc + time + asked.frame))
    return header(AUDIO in kinds, VIDEO in kinds) + b"".join(tags)


def _reason(exc: Exception) -> str:
    if isinstance(exc, av.FFmpegError):  # "Invalid argument" tells nobody anything
        return "FFmpeg makes nothing of its headers and first frames"
    return str(exc) or type(exc).__name__

"""What browsers call a codec (RFC 6381), and configurations in the form that MP4 wants. Pure."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from rtmpsrv.errors import RemoteProtocolError

_FLAC_INFO_SIZE: Final = 34  # bytes of STREAMINFO
_FLAC_MAGIC: Final = b"fLaC"
_FLAC_BLOCK_HEADER_SIZE: Final = 4
_VP9_RECORD_SIZE: Final = 8  # bytes; FFmpeg puts the version and flags of an MP4 box before it
_VP9_BOX_HEADER: Final = b"\1\0\0\0"
# Stereo of 48 kHz: E-RTMP allows an empty header of Opus. RFC 7845, 5.1.
_OPUS_HEAD: Final = b"OpusHead\1\2\x38\1\x80\xbb\0\0\0\0\0"
_DEPTHS: Final = ("08", "10", "10", "12")  # by the bits high_bitdepth and twelve_bit of an AV1 configuration


def normal_config(fourcc: bytes, body: bytes) -> bytes:
    """Return a configuration in the one of its forms that FFmpeg writes."""
    if fourcc == b"fLaC":
        if body.startswith(_FLAC_MAGIC):
            body = body[len(_FLAC_MAGIC) :]
        return body[_FLAC_BLOCK_HEADER_SIZE:] if len(body) > _FLAC_INFO_SIZE else body
    if fourcc == b"vp09" and len(body) == _VP9_RECORD_SIZE:
        return _VP9_BOX_HEADER + body
    return body or _OPUS_HEAD if fourcc == b"Opus" else body


def can_be_in_mp4(fourcc: bytes) -> bool:
    """Tell whether we put a codec into MP4."""
    return fourcc in _STRINGS


def codec_string(fourcc: bytes, config: bytes) -> str:
    """Return the string of a track, by its `normal_config`.

    Raises RemoteProtocolError where the configuration is too short for it.
    """
    read = _STRINGS[fourcc]
    try:
        return read if isinstance(read, str) else read(config)
    except IndexError:
        raise RemoteProtocolError(f"a configuration of {len(config)} bytes") from None


def _avc(body: bytes) -> str:
    return f"avc1.{body[1]:02x}{body[2]:02x}{body[3]:02x}"


def _hevc(body: bytes) -> str:
    """ISO 14496-15, E.3."""
    space = ("", "A", "B", "C")[body[1] >> 6]
    flags = int(f"{int.from_bytes(body[2:6], 'big'):032b}"[::-1], 2)
    tier = "H" if body[1] & 0x20 else "L"
    level = body[12]
    constraints = "".join([f".{one:X}" for one in body[6:12].rstrip(b"\0")])
    return f"hvc1.{space}{body[1] & 0x1F}.{flags:X}.{tier}{level}{constraints}"


def _av1(body: bytes) -> str:
    tier = "H" if body[2] & 0x80 else "M"
    return f"av01.{body[1] >> 5}.{body[1] & 0x1F:02d}{tier}.{_DEPTHS[body[2] >> 5 & 3]}"


def _vp9(body: bytes) -> str:
    return f"vp09.{body[4]:02d}.{body[5]:02d}.{body[6] >> 4:02d}"


def _aac(body: bytes) -> str:
    kind = body[0] >> 3
    if kind == 31:
        kind = 32 + ((body[0] & 7) << 3 | body[1] >> 5)
    return f"mp4a.40.{kind}"


_STRINGS: Final[dict[bytes, str | Callable[[bytes], str]]] = {
    b"avc1": _avc,
    b"hvc1": _hevc,
    b"av01": _av1,
    b"vp09": _vp9,
    b"mp4a": _aac,
    b"Opus": "opus",
    b"fLaC": "flac",
    b".mp3": "mp3",
    b"ac-3": "ac-3",
    b"ec-3": "ec-3",
}

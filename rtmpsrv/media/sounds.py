"""What configurations of audio, or the first frame where a codec has none, say of the samples. Pure."""

from __future__ import annotations

from typing import Final

from rtmpsrv.errors import RemoteProtocolError
from rtmpsrv.media.bits import BitReader
from rtmpsrv.media.description import Sound

_AAC_RATES: Final = (
    96000, 88200, 64000, 48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000, 7350
)  # fmt: skip
_EXPLICIT_RATE: Final = 15
_ESCAPED_TYPE: Final = 31
_SBR, _PS = 5, 29  # AAC with spectral band replication, and with parametric stereo on top
_AAC_PROFILES: Final = {
    1: "Main", 2: "LC", 3: "SSR", 4: "LTP", _SBR: "HE-AAC", 17: "LC", 23: "LD", _PS: "HE-AACv2", 39: "ELD",
    42: "xHE-AAC",
}  # fmt: skip
_GENERAL_AUDIO: Final = frozenset({1, 2, 3, 4, 17})  # whose specific configuration is read here
_AAC_CHANNELS: Final = {**{count: count for count in range(1, 7)}, 7: 8, 11: 7, 12: 8, 14: 8}
_SYNC_EXTENSION: Final = 0x2B7  # ISO 14496-3, 1.6.5: what older decoders do not see
_PS_EXTENSION: Final = 0x548
_OPUS_MAGIC: Final = b"OpusHead"
_OPUS_RATE: Final = 48000  # it plays at this, whatever was put in
_OPUS_FRAME_MS: Final = 20.0
_FLAC_MAGIC: Final = b"fLaC"
_FLAC_INFO_SIZE: Final = 34
_MPEG_RATES: Final = (44100, 48000, 32000)  # of version 1; the others have a half and a quarter
_AC3_RATES: Final = (48000, 44100, 32000)
_AC3_CHANNELS: Final = (2, 1, 2, 3, 3, 4, 4, 5)  # by audio coding mode, without low frequencies
_AC3_SYNC: Final = b"\x0b\x77"
_AC3_SAMPLES, _AC3_BLOCK_SAMPLES = 1536, 256
_EAC3_BLOCKS: Final = (1, 2, 3, 6)


def aac_sound(body: bytes) -> Sound:
    """Read an AudioSpecificConfig, ISO 14496-3, 1.6.2.1. The rate is what is played.

    Raises RemoteProtocolError for what it cannot understand, as all here do.
    """
    reader = BitReader(body)
    kind = _aac_type(reader)
    core_rate = played = _aac_rate(reader)
    layout = reader.bits(4)
    profile = kind
    if kind in (_SBR, _PS):
        played = _aac_rate(reader)
        kind = _aac_type(reader)
    short = False
    if kind in _GENERAL_AUDIO:
        short = reader.flag()
        if reader.flag():
            reader.bits(14)
        reader.bits(1)
        if profile == kind and layout and reader.left >= 17 and reader.bits(11) == _SYNC_EXTENSION:
            profile, played = _hidden_extension(reader, profile, played)
    if not (0 < core_rate <= _AAC_RATES[0] and 0 < played <= _AAC_RATES[0]) or profile not in _AAC_PROFILES:
        raise RemoteProtocolError(f"AAC of type {profile} with {core_rate} Hz")
    channels = 2 if profile == _PS else _AAC_CHANNELS.get(layout)
    return Sound(_AAC_PROFILES[profile], played, channels, (960 if short else 1024) * 1000 / core_rate)


def opus_sound(body: bytes) -> Sound:
    """Read an identification header, RFC 7845, 5.1."""
    if len(body) < 10 or not body.startswith(_OPUS_MAGIC) or not body[9]:
        raise RemoteProtocolError("no Opus header")
    return Sound("", _OPUS_RATE, body[9], _OPUS_FRAME_MS)


def flac_sound(body: bytes) -> Sound:
    """Read STREAMINFO, RFC 9639, 8.2, with the marker and the block's header or without."""
    if body.startswith(_FLAC_MAGIC):
        body = body[len(_FLAC_MAGIC) :]
    if len(body) > _FLAC_INFO_SIZE:
        body = body[4:]
    reader = BitReader(body[:_FLAC_INFO_SIZE])
    reader.bits(16)
    block = reader.bits(16)
    reader.bits(48)
    rate = reader.bits(20)
    if not rate:
        raise RemoteProtocolError("FLAC of 0 Hz")
    return Sound("", rate, reader.bits(3) + 1, block * 1000 / rate)


def mpeg_sound(frame: bytes) -> Sound:
    """Read the header of a frame of MPEG-1 or 2 audio, ISO 11172-3, 2.4.1.3."""
    reader = BitReader(frame[:4])
    sync, version, layer = reader.bits(11), reader.bits(2), reader.bits(2)
    reader.bits(5)
    number = reader.bits(2)
    if sync != 0x7FF or version == 1 or not layer or number == 3:
        raise RemoteProtocolError("no header of MPEG audio")
    reader.bits(2)
    rate = _MPEG_RATES[number] >> (0 if version == 3 else 1 if version == 2 else 2)
    samples = 384 if layer == 3 else 576 if layer == 1 and version != 3 else 1152
    return Sound(f"Layer {4 - layer}", rate, 1 if reader.bits(2) == 3 else 2, samples * 1000 / rate)


def ac3_sound(frame: bytes) -> Sound:
    """Read the header of a frame of AC-3, ETSI TS 102 366, 4.3."""
    reader = _synchronised(frame)
    reader.bits(16)
    number = reader.bits(2)
    reader.bits(6 + 5 + 3)
    mode = reader.bits(3)
    if mode & 1 and mode != 1:
        reader.bits(2)
    if mode & 4:
        reader.bits(2)
    if mode == 2:
        reader.bits(2)
    channels = _AC3_CHANNELS[mode] + reader.bits(1)
    return _ac3(number, channels, _AC3_SAMPLES)


def eac3_sound(frame: bytes) -> Sound:
    """Read the header of a frame of Enhanced AC-3, ETSI TS 102 366, E.1.2.2."""
    reader = _synchronised(frame)
    reader.bits(2 + 3 + 11)
    number, blocks = reader.bits(2), reader.bits(2)
    mode = reader.bits(3)
    return _ac3(number, _AC3_CHANNELS[mode] + reader.bits(1), _EAC3_BLOCKS[blocks] * _AC3_BLOCK_SAMPLES)


def _synchronised(frame: bytes) -> BitReader:
    if not frame.startswith(_AC3_SYNC):
        raise RemoteProtocolError("no header of AC-3")
    return BitReader(frame[2:16])


def _ac3(number: int, channels: int, samples: int) -> Sound:
    if number == len(_AC3_RATES):
        raise RemoteProtocolError("AC-3 of a reserved rate")
    return Sound("", _AC3_RATES[number], channels, samples * 1000 / _AC3_RATES[number])


def _aac_type(reader: BitReader) -> int:
    kind = reader.bits(5)
    return 32 + reader.bits(6) if kind == _ESCAPED_TYPE else kind


def _aac_rate(reader: BitReader) -> int:
    number = reader.bits(4)
    if number == _EXPLICIT_RATE:
        return reader.bits(24)
    if number >= len(_AAC_RATES):
        raise RemoteProtocolError(f"AAC with rate number {number}")
    return _AAC_RATES[number]


def _hidden_extension(reader: BitReader, profile: int, played: int) -> tuple[int, int]:
    """Return type and rate by what follows the mark of an extension."""
    if _aac_type(reader) != _SBR or not reader.flag():
        return profile, played
    played = _aac_rate(reader)
    if reader.left >= 12 and reader.bits(11) == _PS_EXTENSION and reader.flag():
        return _PS, played
    return _SBR, played

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtmpsrv.errors import RemoteProtocolError
from rtmpsrv.media.description import Sound
from rtmpsrv.media.sounds import aac_sound, ac3_sound, eac3_sound, flac_sound, mpeg_sound, opus_sound
from tests.unit.media.bit_writer import BitWriter

OPUS = bytes.fromhex("4f707573486561640102380180bb0000000000")
FLAC = bytes.fromhex("664c614300000022200020000001c9000897177002f0000025805a298810d269390f9bf1832c20c083b6")


@pytest.mark.parametrize(
    ("config", "sound"),
    [
        ("119056e500", Sound("LC", 48000, 2, 64 / 3)),  # by FFmpeg, with a mark that there is no SBR
        ("138856e500", Sound("LC", 22050, 1, 1024000 / 22050)),
        ("11b056e500", Sound("LC", 48000, 6, 64 / 3)),
        ("1210", Sound("LC", 44100, 2, 1024000 / 44100)),
        ("11b8", Sound("LC", 48000, 8, 64 / 3)),
        ("131056e598", Sound("HE-AAC", 48000, 2, 1024 / 24)),  # 24 kHz, SBR to 48 kHz
        ("13100000", Sound("LC", 24000, 2, 1024 / 24)),
        ("130856e59d4880", Sound("HE-AACv2", 48000, 2, 1024 / 24)),  # by fdk-aac: mono, parametric stereo
        ("130856e59d4800", Sound("HE-AAC", 48000, 1, 1024 / 24)),
        ("130856e598000000", Sound("HE-AAC", 48000, 1, 1024 / 24)),
        ("2b118800", Sound("HE-AAC", 48000, 2, 1024 / 24)),  # told at once
        ("eb098800", Sound("HE-AACv2", 48000, 2, 1024 / 24)),
        ("1214", Sound("LC", 44100, 2, 960000 / 44100)),  # frames of 960 samples
        ("f8e85000", Sound("ELD", 44100, 2, 1024000 / 44100)),
    ],
)
def test_aac(config: str, sound: Sound) -> None:
    assert aac_sound(bytes.fromhex(config)) == sound


def test_aac_of_a_rate_of_its_own_with_channels_of_its_own_behind_a_core_coder() -> None:
    writer = (
        BitWriter().bits(5, 2).bits(4, 15).bits(24, 47999).bits(4, 0).bits(1, 0, 1).bits(14, 0).bits(1, 0)
    )
    assert aac_sound(writer.data) == Sound("LC", 47999, None, 1024000 / 47999)


@pytest.mark.parametrize("config", ["", "12", "1690", "f8000000", "f9fe50", "17ffffff9000", "17800000001000"])
def test_what_is_no_aac_is_refused(config: str) -> None:
    with pytest.raises(RemoteProtocolError):
        aac_sound(bytes.fromhex(config))


def test_opus() -> None:
    assert opus_sound(OPUS) == Sound("", 48000, 2, 20.0)
    for body in (b"", OPUS[:9], b"x" + OPUS[1:], OPUS[:9] + b"\0"):
        with pytest.raises(RemoteProtocolError):
            opus_sound(body)


def test_flac_with_its_marker_and_without() -> None:
    sound = Sound("", 96000, 2, 8192 / 96)
    assert flac_sound(FLAC) == flac_sound(FLAC[4:]) == flac_sound(FLAC[8:]) == sound
    for body in (b"", FLAC[8:20], bytes(34)):
        with pytest.raises(RemoteProtocolError):
            flac_sound(body)


@pytest.mark.parametrize(
    ("frame", "sound"),
    [
        ("fffb906400", Sound("Layer 3", 44100, 2, 1152000 / 44100)),  # by LAME
        ("fff340c400", Sound("Layer 3", 22050, 1, 576000 / 22050)),
        ("fffde0c4ec", Sound("Layer 2", 44100, 1, 1152000 / 44100)),  # by FFmpeg
        ("ffff4400", Sound("Layer 1", 48000, 2, 8.0)),
        ("ffe34400", Sound("Layer 3", 12000, 2, 48.0)),
    ],
)
def test_mpeg_audio(frame: str, sound: Sound) -> None:
    assert mpeg_sound(bytes.fromhex(frame)) == sound


@pytest.mark.parametrize("frame", ["", "fffb90", "7ffb9064", "ffeb9064", "fff99064", "fffb9c64"])
def test_what_is_no_mpeg_audio_is_refused(frame: str) -> None:
    with pytest.raises(RemoteProtocolError):
        mpeg_sound(bytes.fromhex(frame))


def ac3(rate: int, mode: int, low: int) -> bytes:
    writer = BitWriter().bits(16, 0x0B77, 0).bits(2, rate).bits(14, 0).bits(3, mode)
    if mode in (3, 5, 7):
        writer.bits(2, 0)
    if mode & 4:
        writer.bits(2, 0)
    if mode == 2:
        writer.bits(2, 0)
    return writer.bits(1, low).data


def test_ac3() -> None:
    assert ac3_sound(bytes.fromhex("0b77b50b1e40ebf8403eff99")) == Sound("", 48000, 6, 32.0)  # by FFmpeg
    assert ac3_sound(bytes.fromhex("0b77c2ea544043e106f575f0")) == Sound("", 44100, 2, 1536000 / 44100)
    found = [ac3_sound(ac3(2, mode, mode & 1)).channels for mode in range(8)]
    assert found == [2, 2, 2, 4, 3, 5, 4, 6]


def test_eac3() -> None:
    assert eac3_sound(bytes.fromhex("0b77017f3487c00020842108")) == Sound("", 48000, 2, 32.0)
    short = BitWriter().bits(16, 0x0B77, 0).bits(2, 1, 1).bits(3, 7).bits(1, 1).data
    assert eac3_sound(short) == Sound("", 44100, 6, 512000 / 44100)


def test_what_is_no_ac3_is_refused() -> None:
    for body in (b"", b"\x0b\x77", b"\x0b\x78" + bytes(20), ac3(3, 2, 0)):
        with pytest.raises(RemoteProtocolError):
            ac3_sound(body)
        with pytest.raises(RemoteProtocolError):
            eac3_sound(body[:-2])


@pytest.mark.parametrize("read", [aac_sound, opus_sound, flac_sound, mpeg_sound, ac3_sound, eac3_sound])
@given(noise=st.binary(max_size=60))
def test_any_bytes_are_a_sound_or_refused(read: Callable[[bytes], Sound], noise: bytes) -> None:
    for hostile in (noise, OPUS[:9] + noise, b"\x0b\x77" + noise, b"\xff" + noise, FLAC[:10] + noise):
        try:
            sound = read(hostile)
        except RemoteProtocolError:
            continue
        assert sound.sample_rate
        assert sound.frame_ms >= 0

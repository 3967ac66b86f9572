"""What a publication's tracks are: by the headers that configure them, or by a frame where none do.

Pure. Nothing here raises, whatever the bytes: what is not understood is described as such.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from rtmpsrv.errors import RemoteProtocolError
from rtmpsrv.media import enhanced
from rtmpsrv.media.avc import avc_picture
from rtmpsrv.media.classify import (
    ENHANCED_SOUND_FORMAT,
    PACKETIZED_SOUND_FORMATS,
    PACKETIZED_VIDEO_CODECS,
    PACKETIZED_VIDEO_HEADER_SIZE,
)
from rtmpsrv.media.description import Description, Picture, Sound
from rtmpsrv.media.enhanced import Enhanced
from rtmpsrv.media.hevc import hevc_picture
from rtmpsrv.media.open_video import av1_picture, vpx_picture
from rtmpsrv.media.sounds import (
    aac_sound,
    ac3_sound,
    eac3_sound,
    flac_sound,
    mpeg_sound,
    opus_sound,
)
from rtmpsrv.protocol.messages import AUDIO, VIDEO

MAX_TRACKS: Final = 8  # described of each kind; real streams have up to 6
MAX_HEADER_BYTES: Final = 4096  # of one that is looked at; real ones are below 300, of several tracks too

# As MediaMTX names them, by FourCC, and by the ids of FLV for what has none.
_NAMES: Final = {
    b"avc1": "H264", b"hvc1": "H265", b"vvc1": "H266", b"av01": "AV1", b"vp08": "VP8", b"vp09": "VP9",
    b"mp4a": "MPEG-4 Audio", b"Opus": "Opus", b"fLaC": "FLAC", b".mp3": "MPEG-1/2 Audio", b"ac-3": "AC-3",
    b"ec-3": "E-AC-3",
}  # fmt: skip
_OLD_VIDEO: Final = {
    2: "H263", 3: "Screen video", 4: "VP6", 5: "VP6", 6: "Screen video 2", 8: "H263", 9: "MPEG-4 Video",
}  # fmt: skip
_OLD_SOUND: Final = {
    0: "LPCM", 1: "ADPCM", 2: "MPEG-1/2 Audio", 3: "LPCM", 4: "Nellymoser", 5: "Nellymoser", 6: "Nellymoser",
    7: "G711", 8: "G711", 10: "MPEG-4 Audio", 11: "Speex", 13: "Opus", 14: "MPEG-1/2 Audio",
}  # fmt: skip
_SOUND_FOURCCS: Final = {10: b"mp4a", 13: b"Opus"}
_MPEG_FORMATS: Final = frozenset({2, 14})
_OLD_RATES: Final = (5512, 11025, 22050, 44100)  # FLV, AUDIODATA
_FIXED_RATES: Final = {4: 16000, 5: 8000, 7: 8000, 8: 8000, 11: 16000}  # whatever the bits say; mono

_PICTURES: Final[dict[bytes, Callable[[bytes], Picture]]] = {
    b"avc1": avc_picture,
    b"hvc1": hevc_picture,
    b"av01": av1_picture,
    b"vp08": vpx_picture,
    b"vp09": vpx_picture,
}
_SOUNDS: Final[dict[bytes, Callable[[bytes], Sound]]] = {
    b"mp4a": aac_sound,
    b"Opus": opus_sound,
    b"fLaC": flac_sound,
}
# Of codecs without configuration: each frame says all.
_FRAMES: Final[dict[bytes, Callable[[bytes], Sound]]] = {
    b".mp3": mpeg_sound,
    b"ac-3": ac3_sound,
    b"ec-3": eac3_sound,
}


def configured_tracks(type_id: int, payload: bytes) -> list[Description]:
    """Return the tracks that a sequence header configures; none for any other message.

    What is longer than real ones are is not understood, and costs no more than to name its tracks.
    """
    if not payload:
        return []
    if type_id == VIDEO:
        if payload[0] < 0x80:
            fourcc = PACKETIZED_VIDEO_CODECS.get(payload[0] & 0x0F, b"")
            return [_video(0, fourcc, _body(payload, PACKETIZED_VIDEO_HEADER_SIZE))] if fourcc else []
        headers, describe = _walked(enhanced.walk_video, payload, MAX_TRACKS), _video
    elif payload[0] >> 4 != ENHANCED_SOUND_FORMAT:
        fourcc = _SOUND_FOURCCS.get(payload[0] >> 4, b"")
        return [_audio(0, fourcc, _body(payload, 2))] if fourcc else []
    else:
        headers, describe = _walked(enhanced.walk_audio, payload, MAX_TRACKS), _audio
    if headers is None or headers.packet_type not in _CONFIGURES[type_id]:
        return []
    return [
        describe(track.track_id, track.fourcc, _body(payload, track.start, track.end))
        for track in headers.tracks
    ]


def frame_tracks(type_id: int, payload: bytes) -> list[Description]:
    """Return the tracks of a frame by what it says itself: the codec, and for some more than that."""
    if not payload:
        return []
    first = payload[0]
    if type_id == VIDEO:
        if first < 0x80:
            fourcc = PACKETIZED_VIDEO_CODECS.get(first & 0x0F, b"")
            name = _NAMES.get(fourcc) or _OLD_VIDEO.get(first & 0x0F, "")
            return [Description("video", 0, name, understood=not fourcc)]
        headers = _walked(enhanced.walk_video, payload, MAX_TRACKS)
    elif first >> 4 != ENHANCED_SOUND_FORMAT:
        return [_old_sound(payload)]
    else:
        headers = _walked(enhanced.walk_audio, payload, MAX_TRACKS)
    if headers is None:
        return []
    found: list[Description] = []
    for track_id, fourcc, start, end in headers.tracks:
        if type_id == VIDEO:
            found.append(Description("video", track_id, _name(fourcc), understood=False))
        elif fourcc in _FRAMES:
            found.append(_sounding(track_id, fourcc, _FRAMES[fourcc], payload[start:end]))
        else:
            found.append(Description("audio", track_id, _name(fourcc), understood=False))
    return found


def frame_sizes(type_id: int, payload: bytes) -> list[tuple[int, int]]:
    """Return the first tracks that an enhanced message has frames of, and how many bytes; none for others."""
    headers = _walked(enhanced.walk_video if type_id == VIDEO else enhanced.walk_audio, payload, MAX_TRACKS)
    if headers is None or headers.packet_type not in _CODED[type_id]:
        return []
    return [(track.track_id, track.end - track.start) for track in headers.tracks]


def has_tracks(type_id: int, payload: bytes) -> bool:
    """Tell whether a message of at least one byte names tracks, or may after modifiers; by its first byte."""
    first, packet_type = payload[0], payload[0] & 0x0F
    if type_id == VIDEO:
        return first >= 0x80 and packet_type in (enhanced.VIDEO_MULTITRACK, enhanced.MOD_EX)
    if first >> 4 != ENHANCED_SOUND_FORMAT:
        return False
    return packet_type in (enhanced.AUDIO_MULTITRACK, enhanced.MOD_EX)


def _video(track_id: int, fourcc: bytes, body: bytes) -> Description:
    name = _name(fourcc)
    read = _PICTURES.get(fourcc)
    if read is None:
        return Description("video", track_id, name, understood=fourcc in _NAMES)
    try:
        picture = read(body)
    except RemoteProtocolError:
        return Description("video", track_id, name, understood=False)
    return Description(
        "video", track_id, name, picture.profile, picture.level, picture.width, picture.height, picture.fps
    )


def _audio(track_id: int, fourcc: bytes, body: bytes) -> Description:
    read = _SOUNDS.get(fourcc)
    if read is None:
        return Description("audio", track_id, _name(fourcc), understood=fourcc in _NAMES)
    return _sounding(track_id, fourcc, read, body)


def _sounding(track_id: int, fourcc: bytes, read: Callable[[bytes], Sound], body: bytes) -> Description:
    try:
        sound = read(body)
    except RemoteProtocolError:
        return Description("audio", track_id, _name(fourcc), understood=False)
    return Description(
        "audio",
        track_id,
        _name(fourcc),
        sound.profile,
        sample_rate=sound.sample_rate,
        channels=sound.channels,
        frame_ms=sound.frame_ms,
    )


def _old_sound(payload: bytes) -> Description:
    """Describe a track without enhanced headers by the bits that FLV has for it."""
    first = payload[0]
    sound_format = first >> 4
    name = _OLD_SOUND.get(sound_format, "")
    if sound_format in PACKETIZED_SOUND_FORMATS:
        return Description("audio", 0, name, understood=False)
    if sound_format in _MPEG_FORMATS:
        described = _sounding(0, b".mp3", mpeg_sound, payload[1:])
        if described.understood:
            return described
    rate = _FIXED_RATES.get(sound_format)
    if rate is not None:
        return Description("audio", 0, name, sample_rate=rate, channels=1)
    return Description("audio", 0, name, sample_rate=_OLD_RATES[first >> 2 & 3], channels=(first & 1) + 1)


def _body(payload: bytes, start: int, end: int | None = None) -> bytes:
    """Return a configuration; nothing, which nobody understands, of a header that is too long."""
    return payload[start:end] if len(payload) <= MAX_HEADER_BYTES else b""


def _walked(walk: Callable[[bytes, int], Enhanced], payload: bytes, most: int) -> Enhanced | None:
    try:
        return walk(payload, most)
    except RemoteProtocolError:
        return None


def _name(fourcc: bytes) -> str:
    """Return the name of a codec; of an unknown one its FourCC, where that is a word."""
    name = _NAMES.get(fourcc)
    if name is None:
        text = str(fourcc, "latin-1")
        return text if text.isascii() and text.isprintable() else ""
    return name


_CONFIGURES: Final = {
    VIDEO: frozenset({enhanced.SEQUENCE_START, enhanced.VIDEO_MPEG2TS_SEQUENCE_START}),
    AUDIO: frozenset({enhanced.SEQUENCE_START}),
}
_CODED: Final = {
    VIDEO: frozenset({enhanced.CODED_FRAMES, enhanced.VIDEO_CODED_FRAMES_X}),
    AUDIO: frozenset({enhanced.CODED_FRAMES}),
}

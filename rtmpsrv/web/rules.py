"""What may be wrong with a stream: a rule each, with its bounds, and a sentence that a streamer understands.

Pure: a rule looks at one answer of a process and knows nothing of earlier ones. The bounds are those of the
platforms (YouTube, Twitch, Facebook: keyframes every 2 s, at most 4 s; 44.1 or 48 kHz; bitrates by size) and
of what players bear. How a stream arrives is judged in `arrival`; what several rules make together, and for
how long, in `verdict`.
"""

from __future__ import annotations

from collections.abc import Callable
from statistics import median
from typing import Literal, NamedTuple

from rtmpsrv.monitor.values import ChannelValue, TrackValue, VitalsValue

from . import quantities as q

Severity = Literal["info", "warning", "bad"]

GOP_WARNING_S, GOP_BAD_S = 4.0, 10.0
GOP_SHORT_S = 0.5
GOPS_JUDGED = 3  # the last ones: what a joiner meets now
UNEVEN_FACTOR, UNEVEN_OVER_S = 2.0, 1.0
KEYFRAME_MISSING_S, KEYFRAME_MISSING_USUAL = 10.0, 2.0  # whichever is more: so long, or so many usual GOPs
AUDIO_MISSING_S = VIDEO_MISSING_S = 5.0  # of age: encoders may send one a little after the other
USUAL_SAMPLE_RATES = (44_100, 48_000)
ODD_HEADERS_NEEDED = frozenset({"H264", "H265", "MPEG-4 Audio"})  # players show nothing without a description
INTERVAL_HINT = 'Set "Keyframe Interval" to 2 s in the encoder (OBS: Settings, Output, Streaming).'

# The shorter side in pixels up to which a row holds; for up to 35 and for more pictures a second: the usual
# rates in Mb/s from, to, and above which viewers' lines do not follow. YouTube's; below 720p Facebook's, with
# room above: what is more than such a picture needs is wasted, but does no harm.
_USUAL_BITRATES = (
    (400, (0.4, 1, 4), (0.4, 1, 4)),
    (540, (0.6, 2, 4), (0.6, 2, 4)),
    (800, (3, 8, 8), (3, 8, 8)),
    (1200, (3, 8, 8), (4, 12, 12)),
    (1600, (5, 25, 25), (6, 30, 30)),
    (1 << 30, (8, 35, 35), (10, 40, 40)),
)
_MANY_FPS = 35

# Who plays it, by codec (the names of `media.tracks`); what is not here everybody plays.
_CODECS = {
    "H265": "HEVC: Safari and some Chromes only. H.264 plays everywhere.",
    "AV1": "AV1: newer browsers and devices only. H.264 plays everywhere.",
    "VP9": "VP9: not in every player. H.264 plays everywhere.",
    "H266": "VVC: hardly any player takes it. H.264 plays everywhere.",
    "H263": "H.263: no browser plays it. H.264 plays everywhere.",
    "VP6": "VP6: no browser plays it. H.264 plays everywhere.",
    "MPEG-4 Video": "MPEG-4 Part 2: hardly any browser plays it. H.264 plays everywhere.",
    "Screen video": "Screen video: no browser plays it. H.264 plays everywhere.",
    "Screen video 2": "Screen video: no browser plays it. H.264 plays everywhere.",
    "VP8": "VP8: hardly any player takes it over RTMP. H.264 plays everywhere.",
    "AC-3": "AC-3 sound: Safari and some devices only. AAC plays everywhere.",
    "E-AC-3": "E-AC-3 sound: Safari and some devices only. AAC plays everywhere.",
    "Opus": "Opus sound: not in every player. AAC plays everywhere.",
    "FLAC": "FLAC sound: not in every player. AAC plays everywhere.",
    "Speex": "Speex sound: no browser plays it. AAC plays everywhere.",
    "Nellymoser": "Nellymoser sound: no browser plays it. AAC plays everywhere.",
    "G711": "G.711 sound: hardly any browser plays it. AAC plays everywhere.",
    "ADPCM": "ADPCM sound: no browser plays it. AAC plays everywhere.",
    "LPCM": "Uncompressed sound: no browser plays it. AAC plays everywhere.",
}


class Finding(NamedTuple):
    """One thing that is to be said about a stream."""

    rule: str  # its stable id
    severity: Severity
    sentence: str


class Subject(NamedTuple):
    """A stream, as the rules look at it."""

    channel: ChannelValue
    vitals: VitalsValue
    video: TrackValue | None  # the first one of the kind
    audio: TrackValue | None


Rule = Callable[[Subject], "Finding | None"]


def subject(channel: ChannelValue, vitals: VitalsValue) -> Subject:
    """Give a stream to the rules."""
    tracks = sorted(vitals["tracks"], key=lambda track: track["track"])
    first = {track["kind"]: track for track in reversed(tracks)}
    return Subject(channel, vitals, first.get("video"), first.get("audio"))


def above(value: float, warning: float, bad: float) -> Severity | None:
    """Say how bad it is that something is so much."""
    return "bad" if value > bad else "warning" if value > warning else None


def below(value: float, warning: float, bad: float) -> Severity | None:
    """Say how bad it is that something is so little."""
    return "bad" if value < bad else "warning" if value < warning else None


def gop_long(stream: Subject) -> Finding | None:
    """Keyframes are so rare that who joins waits."""
    longest = max(stream.vitals["gops_s"][-GOPS_JUDGED:], default=0.0)
    severity = above(longest, GOP_WARNING_S, GOP_BAD_S)
    if severity is None:
        return None
    wait = q.span(longest)
    text = f"Keyframes come every {wait}: viewers wait up to {wait} to join. {INTERVAL_HINT}"
    return Finding("gop_long", severity, text)


def keyframes_missing(stream: Subject) -> Finding | None:
    """No keyframe comes any more, or none ever did."""
    vitals, video = stream.vitals, stream.video
    if video is None or not video["frames"]:
        return None
    age = vitals["keyframe_age_s"]
    since = vitals["age_s"] if age is None else age
    if since <= KEYFRAME_MISSING_S:
        return None
    usual = median(vitals["gops_s"]) if vitals["gops_s"] else 0.0
    if since <= KEYFRAME_MISSING_USUAL * usual:
        return None
    if not video["bitrate_10s"]:
        text = "The picture has stopped, only sound arrives. Check the encoder's video source."
    elif age is None:
        text = f"No keyframe has come since the stream began: nobody sees a picture. {INTERVAL_HINT}"
    else:
        text = f"No keyframe has come for {q.span(since)}: who joins now sees no picture. {INTERVAL_HINT}"
    return Finding("keyframes_missing", "bad", text)


def gop_short(stream: Subject) -> Finding | None:
    """Keyframes are so many that they cost quality."""
    gops = stream.vitals["gops_s"][-GOPS_JUDGED:]
    if len(gops) < GOPS_JUDGED or max(gops) >= GOP_SHORT_S:
        return None
    often = q.number(len(gops) / max(sum(gops), 0.001))
    text = f"Keyframes come {often} times a second: they eat the bitrate. {INTERVAL_HINT}"
    return Finding("gop_short", "warning", text)


def gop_uneven(stream: Subject) -> Finding | None:
    """Keyframes come as scenes change."""
    gops = stream.vitals["gops_s"]
    if len(gops) < GOPS_JUDGED or min(gops) <= UNEVEN_OVER_S or max(gops) <= UNEVEN_FACTOR * min(gops):
        return None
    text = (
        f"Keyframes come at uneven distances, {q.number(min(gops))} to {q.span(max(gops))}: "
        "switch off scene-cut keyframes (OBS: x264 option scenecut=0)."
    )
    return Finding("gop_uneven", "warning", text)


def bitrate_high(stream: Subject) -> Finding | None:
    """There is more than the channel may have, or than is usual for the size of the picture."""
    limit, total = stream.channel["max_bitrate"], stream.vitals["bitrate_10s"]
    if limit is not None and total > limit:
        text = (
            f"The stream has {q.rate(total)}, more than this channel's limit of {q.rate(limit)}. "
            "Lower the bitrate in the encoder (OBS: Settings, Output)."
        )
        return Finding("bitrate_high", "bad", text)
    video = stream.video
    if video is None or not video["width"] or not video["height"]:
        return None
    fps = video["fps"] or video["declared_fps"]
    side = min(video["width"], video["height"])
    few, many = next(row[1:] for row in _USUAL_BITRATES if side <= row[0])
    low, high, most = many if (fps or 0) > _MANY_FPS else few
    bitrate = min(video["bitrate_10s"], video["bitrate_60s"] or video["bitrate_10s"])  # a burst is no habit
    if bitrate <= most * 1e6:
        return None
    text = (
        f"{q.rate(bitrate)} at {q.picture(side, fps)}: many viewers' lines cannot follow; "
        f"{low:g}-{high:g} Mb/s is usual. Lower the bitrate in the encoder (OBS: Settings, Output)."
    )
    return Finding("bitrate_high", "warning", text)


def no_audio(stream: Subject) -> Finding | None:
    """There is no sound, and none was announced; or it ended while the picture goes on."""
    audio = stream.audio
    if stream.vitals["age_s"] <= AUDIO_MISSING_S:
        return None
    if audio is not None and audio["frames"]:
        video = stream.video
        if audio["bitrate_10s"] or video is None or not video["bitrate_10s"]:
            return None
        text = "The sound has stopped, only the picture arrives. Check the encoder's audio track."
    elif _is_audio_announced(stream):
        return None
    else:
        text = "There is no sound. Check the encoder's audio track."
    return Finding("no_audio", "warning", text)


def no_video(stream: Subject) -> Finding | None:
    """There is sound and no picture; one that has stopped is found by `keyframes_missing`."""
    video = stream.video
    if stream.vitals["age_s"] <= VIDEO_MISSING_S or stream.audio is None or not stream.audio["frames"]:
        return None
    if video is not None and video["frames"]:
        return None
    if video is not None or stream.vitals["metadata"].get("videocodecid"):
        text = "The encoder announces a picture and sends none, only sound. Check its video source."
    else:
        text = "There is no picture, only sound. If there should be one, check the encoder's video source."
    return Finding("no_video", "warning", text)


def audio_announced(stream: Subject) -> Finding | None:
    """Sound was announced and does not come."""
    audio = stream.audio
    has_come = audio is not None and audio["frames"] > 0
    if has_come or stream.vitals["age_s"] <= AUDIO_MISSING_S or not _is_audio_announced(stream):
        return None
    text = (
        "The encoder announces sound and sends none: browsers wait for it. "
        "Switch the audio track off or send silence."
    )
    return Finding("audio_announced", "bad", text)


def sample_rate(stream: Subject) -> Finding | None:
    """The sound has a rate that is not usual."""
    audio = stream.audio
    hertz = audio["sample_rate"] if audio else None
    if not audio or not hertz or hertz in USUAL_SAMPLE_RATES:
        return None
    if "HE-AAC" in audio["profile"] and 2 * hertz in USUAL_SAMPLE_RATES:
        return None  # half of it is in the configuration, players play the whole
    text = f"{q.kilohertz(hertz)} sound: some players refuse it; 48 kHz is usual (OBS: Settings, Audio)."
    return Finding("sample_rate", "warning", text)


def odd_headers(stream: Subject) -> Finding | None:
    """The encoder's descriptions of what it sends are missing or make no sense."""
    count = stream.vitals["odd_headers"]
    if count:
        text = (
            f"The encoder described its picture or sound {q.times(count)} in a way that makes no sense: "
            "some players show nothing. Update the encoder, or choose H.264 and AAC."
        )
        return Finding("odd_headers", "warning", text)
    for track in (stream.video, stream.audio):
        if track and track["frames"] and not track["configured"] and track["codec"] in ODD_HEADERS_NEEDED:
            what = "picture" if track["kind"] == "video" else "sound"
            text = (
                f"The encoder sends its {what} without the description that players need "
                "(sequence header): they show nothing. Restart the encoder, or update it."
            )
            return Finding("odd_headers", "bad", text)
    return None


def codec(stream: Subject) -> Finding | None:
    """Not everybody plays this."""
    for track in (stream.video, stream.audio):
        if track and track["frames"] and track["codec"] in _CODECS:
            return Finding("codec", "info", _CODECS[track["codec"]])
    return None


def _is_audio_announced(stream: Subject) -> bool:
    """Tell whether players expect sound: its header came, or metadata names a codec (0: mostly "none")."""
    return stream.audio is not None or bool(stream.vitals["metadata"].get("audiocodecid"))

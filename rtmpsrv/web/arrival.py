"""Rules for how a stream arrives: too slowly, unevenly, with times that jump. Pure, as `rules` is."""

from __future__ import annotations

from itertools import accumulate
from operator import sub
from statistics import median

from . import quantities as q
from .rules import Finding, Subject, above, below

RATE_WARNING, RATE_BAD = 0.97, 0.85  # media time over wall time
SILENCE_WARNING_S, SILENCE_BAD_S = 2.0, 5.0
PAUSE_S = 0.5  # from then on it is a pause, and what is counted up to now falls by that alone
FPS_WARNING, FPS_BAD = 0.95, 0.80  # of what is announced
FPS_AVERAGE_AGE_S = 30.0  # from then on, the average so far stands for what was not announced
STEADY_WARNING, STEADY_BAD = (0.6, 1.6), (0.3, 2.5)  # 10 s over what is usual in 60 s
STEADY_WINDOW_S = 10
STEADY_SECONDS = 20  # fewer are too few to call one usual
STEADY_FROM = 100_000  # bits per second: below, everything swings and nobody is harmed
OFFSET_WARNING_S, OFFSET_BAD_S = 0.2, 1.0
JUMPS_WARNING, JUMPS_BAD = 0, 3  # in 10 minutes
UNEVEN_FRAMES = 2  # in 60 s: a single jump makes one or two
JITTER_WARNING_S, JITTER_BAD_S = 0.5, 2.0
STALLS_WARNING, STALLS_BAD = 1, 5  # in 10 minutes
LINE_HINT = "Lower the bitrate or use a cable."


def starved(stream: Subject) -> Finding | None:
    """Less time arrives than passes."""
    share = stream.vitals["media_rate"]
    severity = None if share is None or _pauses(stream) else below(share, RATE_WARNING, RATE_BAD)
    if share is None or severity is None:
        return None
    text = (
        f"The stream arrives slower than it plays ({q.percent(share)}): "
        f"the sender's upload or computer is too slow. {LINE_HINT}"
    )
    return Finding("starved", severity, text)


def silence(stream: Subject) -> Finding | None:
    """Nothing arrives just now."""
    seconds = stream.vitals["silence_s"]
    if seconds is None:
        seconds = stream.vitals["age_s"]  # nothing has ever come
    severity = above(seconds, SILENCE_WARNING_S, SILENCE_BAD_S)
    if severity is None:
        return None
    text = f"Nothing has arrived for {q.span(seconds)}: the encoder hangs or lost its network."
    return Finding("silence", severity, text)


def fps_low(stream: Subject) -> Finding | None:
    """Fewer pictures arrive than were announced, or than usual."""
    video = stream.video
    if video is None or not video["fps"] or not video["bitrate_10s"] or _pauses(stream):
        return None
    announced = (video["declared_fps"], stream.vitals["metadata"].get("framerate"))
    age = stream.vitals["age_s"]
    average = video["frames"] / age if age >= FPS_AVERAGE_AGE_S else 0.0
    # Where header and metadata differ one of them is wrong: many encoders count fields, or ticks of a clock.
    usual = min((float(fps) for fps in announced if isinstance(fps, float) and fps > 0), default=average)
    severity = below(video["fps"], usual * FPS_WARNING, usual * FPS_BAD)
    if severity is None:
        return None
    some, all_of_them = q.pair(video["fps"], usual)
    text = (
        f"The encoder sends {some} of {all_of_them} pictures a second: it is overloaded. "
        "Choose a faster preset or fewer pictures (OBS: Settings, Output and Video)."
    )
    return Finding("fps_low", severity, text)


def bitrate_unsteady(stream: Subject) -> Finding | None:
    """The bitrate of 10 s is far from what is usual within 60 s.

    Usual is the median of ten seconds each, not of single ones: with a still picture nearly all bytes are in
    the seconds that hold a keyframe.
    """
    whole_seconds = max(int(stream.vitals["age_s"]) - 1, 0)  # what was before it began is 0
    seconds = stream.vitals["bitrates"]
    seconds = seconds[max(len(seconds) - whole_seconds, 0) :]
    if len(seconds) < STEADY_SECONDS:
        return None
    so_far = [0, *accumulate(seconds)]
    windows = list(map(sub, so_far[STEADY_WINDOW_S:], so_far))  # the sums of ten seconds each
    low, high = min(windows) / STEADY_WINDOW_S, max(windows) / STEADY_WINDOW_S
    usual, now = median(windows) / STEADY_WINDOW_S, stream.vitals["bitrate_10s"]
    if max(high, now) < STEADY_FROM or not now:  # nothing at all is silence
        return None
    share = now / usual if usual else float("inf")
    severity = above(share, STEADY_WARNING[1], STEADY_BAD[1]) or below(
        share, STEADY_WARNING[0], STEADY_BAD[0]
    )
    if severity is None:
        return None
    text = f"The bitrate swings between {q.rates(min(low, now), max(high, now))}: use CBR"
    return Finding("bitrate_unsteady", severity, f"{text} (OBS: Settings, Output, Rate Control).")


def av_offset(stream: Subject) -> Finding | None:
    """Sound and picture are sent apart."""
    offset = stream.vitals["av_offset_s"]
    severity = None if offset is None else above(abs(offset), OFFSET_WARNING_S, OFFSET_BAD_S)
    if offset is None or severity is None:
        return None
    where = "ahead of" if offset > 0 else "behind"
    text = (
        f"Sound is {q.span(abs(offset))} {where} the picture. "
        'Check "Sync Offset" in the encoder (OBS: Advanced Audio Properties).'
    )
    return Finding("av_offset", severity, text)


def time_jumps(stream: Subject) -> Finding | None:
    """The times of the media jump."""
    count, last = stream.vitals["jumps_10min"], stream.vitals["last_jump_s"] or 0.0
    severity = above(count, JUMPS_WARNING, JUMPS_BAD)
    if severity is None:
        return None
    way = "back " if last < 0 else ""
    text = f"The encoder's clock jumped {way}by {q.span(abs(last))}"
    if count > 1:
        text = (
            f"The encoder's clock jumped {q.times(count)} in 10 minutes, at last {way}by {q.span(abs(last))}"
        )
    return Finding("time_jumps", severity, f"{text}: players may stall. Restart the encoder if it goes on.")


def audio_uneven(stream: Subject) -> Finding | None:
    """The times of the sound are not as long as its frames."""
    count = stream.vitals["uneven_audio"]
    if count <= UNEVEN_FRAMES:
        return None
    text = (
        f"Sound has uneven times, {q.times(count)} in the last minute: clicks in browsers. "
        "Give sound device and encoder the same sample rate (OBS: Settings, Audio)."
    )
    return Finding("audio_uneven", "warning", text)


def jitter(stream: Subject) -> Finding | None:
    """Media comes in bursts."""
    seconds = stream.vitals["jitter_s"]
    severity = None if seconds is None else above(seconds, JITTER_WARNING_S, JITTER_BAD_S)
    if seconds is None or severity is None:
        return None
    text = f"The stream arrives in bursts, {q.span(seconds)} off its time: players with little delay stall. "
    return Finding("jitter", severity, text + LINE_HINT)


def stalls(stream: Subject) -> Finding | None:
    """The stream paused, again and again."""
    count = stream.vitals["stalls_10min"]
    severity = above(count, STALLS_WARNING, STALLS_BAD)
    if severity is None:
        return None
    text = f"The stream paused {q.times(count)} in 10 minutes, over a second each: viewers see it stop. "
    return Finding("stalls", severity, text + LINE_HINT)


def _pauses(stream: Subject) -> bool:
    silence_s = stream.vitals["silence_s"]
    return silence_s is not None and silence_s > PAUSE_S

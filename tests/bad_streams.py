"""Streams with one thing wrong each, made by ffmpeg as files, and how they are published; not a test.

Files hold what is wrong with the coding; what is wrong with times and arrival is added while they are
published, in real time, without coding anything once more.
"""

from __future__ import annotations

import subprocess
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from rtmpsrv.web.verdict import Severity
from tests.media_files import current_ffmpeg

DURATION_S = 90  # a third of it is enough where the machine keeps up
FPS = 25
LOUD_FROM_S = 20  # when the picture of `swinging` becomes costly

_PICTURE = f"-f lavfi -i testsrc2=size=256x144:rate={FPS}:duration={DURATION_S}"
_NOISE = f"noise=alls=60:allf=t:enable='gt(t,{LOUD_FROM_S})'"
_SOUND = f"-f lavfi -i sine=frequency=440:sample_rate=48000:duration={DURATION_S}"
_AAC = "-c:a aac -b:a 64k"


def _h264(gop_s: float, more: str = "") -> str:
    frames = round(gop_s * FPS)
    return (
        "-c:v libx264 -preset ultrafast -threads 1 -pix_fmt yuv420p -sc_threshold 0"
        f" -g {frames} -keyint_min {frames} {more}"
    )


_HEVC = (
    "-c:v libx265 -preset ultrafast -x265-params"
    f" keyint={2 * FPS}:min-keyint={2 * FPS}:scenecut=0:open-gop=0:bframes=0:pools=1:log-level=error"
)

# name -> options of the file
_FILES = {
    "well": f"{_PICTURE} {_SOUND} {_h264(2)} {_AAC}",
    "gop_of_6_s": f"{_PICTURE} {_SOUND} {_h264(6)} {_AAC}",
    "gop_of_200_ms": f"{_PICTURE} {_SOUND} {_h264(0.2)} {_AAC}",
    "scene_cuts": (
        # 1.5 and 3.5 s apart, as scenes change
        f"{_PICTURE} {_SOUND} {_h264(1000)} -force_key_frames expr:eq(mod(n,125),0)+eq(mod(n,125),37) {_AAC}"
    ),
    "one_keyframe": f"{_PICTURE} {_SOUND} {_h264(1000)} {_AAC}",
    "swinging": f"{_PICTURE} {_SOUND} -vf {_NOISE} {_h264(2)} {_AAC}",
    "mute": f"{_PICTURE} {_h264(2)}",
    "rate_of_22_khz": f"{_PICTURE} {_SOUND} {_h264(2)} {_AAC} -ar 22050",
    "hevc": f"{_PICTURE} {_SOUND} {_HEVC} {_AAC}",
}


@dataclass(frozen=True, slots=True)
class BadStream:
    """What is published, how, and what is to be found wrong with it."""

    name: str
    rule: str
    severity: Severity
    file: str = "well"
    publish: str = ""  # options of the output
    read: str = "-readrate 1"


_TWO_THIRDS = "noise=drop=not(key)*not(mod(n\\,3))"
_JUMP_8_S = "setts=ts=TS+8000*gt(TS\\,12000)"
_FOUR_AT_ONCE = "setts=ts=TS-21*mod(N\\,4)"

BAD_STREAMS = (
    BadStream("long", "gop_long", "warning", file="gop_of_6_s"),
    BadStream("refreshed", "keyframes_missing", "bad", file="one_keyframe"),
    BadStream("short", "gop_short", "warning", file="gop_of_200_ms"),
    BadStream("uneven", "gop_uneven", "warning", file="scene_cuts"),
    BadStream("slow", "starved", "bad", read="-readrate 0.8"),
    BadStream("overloaded", "fps_low", "bad", publish=f"-bsf:v {_TWO_THIRDS}"),
    BadStream("swinging", "bitrate_unsteady", "bad", file="swinging"),
    BadStream("mute", "no_audio", "warning", file="mute"),
    BadStream("blind", "no_video", "warning", publish="-vn"),
    BadStream("announced", "audio_announced", "bad", publish="-bsf:a noise=drop=1"),
    BadStream("jumping", "time_jumps", "warning", publish=f"-bsf:v {_JUMP_8_S} -bsf:a {_JUMP_8_S}"),
    BadStream("deep", "sample_rate", "warning", file="rate_of_22_khz"),
    BadStream("clicking", "audio_uneven", "warning", publish=f"-bsf:a {_FOUR_AT_ONCE}"),
    BadStream("modern", "codec", "info", file="hevc"),
)
GOOD_STREAM = BadStream("well", "", "info")


def make_files(directory: Path) -> dict[str, Path]:
    """Make all files in `directory`; return their paths by name. Blocks for some ten seconds."""
    paths = {name: directory / f"{name}.flv" for name in _FILES}

    def make(name: str) -> None:
        command = [current_ffmpeg(), "-v", "error", "-nostdin", "-y", *_FILES[name].split(), str(paths[name])]
        subprocess.run(command, check=True, timeout=120, stderr=subprocess.DEVNULL)

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(make, _FILES))
    return paths


def publish(stream: BadStream, files: dict[str, Path], url: str) -> subprocess.Popen[bytes]:
    """Start a publisher, which ends by itself; whoever starts it ends it by its own id before."""
    command = [
        *(current_ffmpeg(), "-v", "error", "-nostdin", *stream.read.split(), "-i", str(files[stream.file])),
        *("-map", "0", "-c", "copy", *stream.publish.split(), "-f", "flv", url),
    ]
    return subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

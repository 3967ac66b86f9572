"""Sample streams from ffmpeg's test sources, as FLV files that are published packet by packet; not a test.

Each is 6 s of 25 pictures a second, the first of each second a keyframe: tests know where keyframes are.
"""

from __future__ import annotations

import functools
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import imageio_ffmpeg

DURATION_S = 6
FRAME_RATE = 25
GOP_FRAMES = 25

_VIDEO = f"-f lavfi -i testsrc2=size=320x180:rate={FRAME_RATE}:duration={DURATION_S}"
_AUDIO = "-f lavfi -i sine=frequency={hertz}:sample_rate=48000:duration=" + str(DURATION_S)
_H264 = (
    "-c:v libx264 -preset veryfast -bf 2 -pix_fmt yuv420p -sc_threshold 0"
    f" -g {GOP_FRAMES} -keyint_min {GOP_FRAMES}"
)
_HEVC = (
    "-c:v libx265 -preset ultrafast -x265-params"
    f" keyint={GOP_FRAMES}:min-keyint={GOP_FRAMES}:scenecut=0:open-gop=0:bframes=2:log-level=error"
)
_AV1 = f"-c:v libsvtav1 -preset 11 -g {GOP_FRAMES} -svtav1-params log=0:scd=0"

# name -> input and output options of the current ffmpeg
SAMPLES = {
    "h264_aac": f"{_VIDEO} {_AUDIO.format(hertz=440)} {_H264} -c:a aac",
    "hevc_opus": f"{_VIDEO} {_AUDIO.format(hertz=440)} {_HEVC} -c:a libopus",
    "av1_aac": f"{_VIDEO} {_AUDIO.format(hertz=440)} {_AV1} -c:a aac",
    "two_audio_tracks": (
        f"{_VIDEO} {_AUDIO.format(hertz=440)} {_AUDIO.format(hertz=660)}"
        f" -map 0:v -map 1:a -map 2:a {_H264} -c:a aac"
    ),
    "audio_only": f"{_AUDIO.format(hertz=440)} -c:a aac",
    "video_only": f"{_VIDEO} {_H264}",
}


@functools.cache
def current_ffmpeg() -> str:
    """Return the path of the newest ffmpeg there is, that of the package imageio-ffmpeg."""
    return str(imageio_ffmpeg.get_ffmpeg_exe())


@functools.cache
def system_tool(name: str) -> str:
    """Return the path of a program of the distribution."""
    path = shutil.which(name)
    assert path, f"{name} is not installed; scripts/test installs it"
    return path


def make_samples(directory: Path) -> dict[str, Path]:
    """Make every sample in `directory`; returns their paths by name. Blocks for some seconds."""
    paths = {}
    for name, options in SAMPLES.items():
        paths[name] = directory / f"{name}.flv"
        command = [current_ffmpeg(), "-v", "error", "-nostdin", "-y", *options.split(), str(paths[name])]
        subprocess.run(command, check=True, timeout=60, stderr=subprocess.DEVNULL)
    return paths


@dataclass(frozen=True, slots=True)
class Packet:
    """A coded picture or piece of sound, as ffmpeg's framehash muxer describes it."""

    dts: int  # ms, counted from the reader's zero
    pts: int
    hash: str


HASH_OPTIONS = (
    # Everything as it came: also what precedes a keyframe, which a copy leaves out otherwise.
    *("-map", "0", "-c", "copy", "-copyinkf", "-copypriorss", "1", "-f", "framehash"),
)


def packets_of(path: Path) -> dict[str, list[Packet]]:
    """Return the packets of a media file by stream: `video0`, `audio0`, `audio1`. Blocks."""
    command = [current_ffmpeg(), "-v", "error", "-nostdin", "-i", str(path), *HASH_OPTIONS, "-"]
    done = subprocess.run(command, check=True, timeout=60, capture_output=True, text=True)
    return parse_hashes(done.stdout)


def parse_hashes(text: str) -> dict[str, list[Packet]]:
    """Read what the framehash muxer wrote; streams are named by their kind and order within it."""
    names: dict[str, str] = {}
    streams: dict[str, list[Packet]] = {}
    for line in text.splitlines():
        if line.startswith("#media_type"):
            number, kind = line.removeprefix("#media_type").split(":")
            name = f"{kind.strip()}{sum(other.startswith(kind.strip()) for other in streams)}"
            names[number.strip()] = name
            streams[name] = []
        elif line and not line.startswith("#"):
            number, dts, pts, _duration, _size, digest = [field.strip() for field in line.split(",")][:6]
            streams[names[number]].append(Packet(int(dts), int(pts), digest))
    return streams

"""What a player sees: ffprobe counts the packets of some seconds."""

from __future__ import annotations

import json
import subprocess
from contextlib import suppress

LOOK_S = 3
WAIT_S = 15.0


def packets(url: str) -> dict[str, int]:
    """Play a URL for `LOOK_S`; return how many packets came of each codec, none if there is no stream."""
    options = ["-v", "error", "-read_intervals", f"%+{LOOK_S}", "-count_packets", "-of", "json"]
    entries = ["-show_entries", "stream=codec_name,nb_read_packets"]
    with suppress(subprocess.TimeoutExpired):
        done = subprocess.run(
            ["ffprobe", *options, *entries, url], capture_output=True, text=True, timeout=WAIT_S, check=False
        )
        streams = json.loads(done.stdout or "{}").get("streams", [])
        return {one["codec_name"]: int(one["nb_read_packets"]) for one in streams}
    return {}


def is_whole(found: dict[str, int], fps: int) -> bool:
    """Tell whether picture and sound came about as fast as they were made."""
    return found.get("h264", 0) >= LOOK_S * fps * 0.7 and found.get("aac", 0) >= LOOK_S * 30


def film(url: str) -> subprocess.Popen[bytes]:
    """Publish a test picture and a tone in real time, without end."""
    source = (
        "-re -f lavfi -i testsrc2=size=320x180:rate=25 -re -f lavfi -i sine=frequency=440:sample_rate=48000"
    )
    coding = "-c:v libx264 -preset ultrafast -tune zerolatency -g 25 -pix_fmt yuv420p -c:a aac -f flv"
    return subprocess.Popen(["ffmpeg", "-v", "error", "-nostdin", *source.split(), *coding.split(), url])

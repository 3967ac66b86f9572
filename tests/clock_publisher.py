"""Publishes a stream whose pictures carry the time of day, to be read back where they are shown; not a test.

`python -m tests.clock_publisher TARGET [--codec h264] [--audio aac] [--seconds 600]`. TARGET is an RTMP URL,
`-` for fragmented MP4 on standard output, or the path of an HLS playlist. The first rows of a picture are 40
blocks, black or white: the lowest bits of the clock's milliseconds, which `tests/watched_clock.py` reads.
It ends with its standard input.
"""

from __future__ import annotations

import argparse
import os
import select
import subprocess
import sys
from contextlib import suppress
from time import sleep, time

from tests.media_files import current_ffmpeg

WIDTH, HEIGHT, RATE = 320, 180, 30
BITS = 40
BLOCK = WIDTH // BITS
ROWS = 16  # of the clock
LATE_S = 1.0  # a machine that was busy for longer: no burst of pictures afterwards

VIDEO = {
    "h264": "libx264 -preset ultrafast -tune zerolatency -g 30",
    "hevc": "libx265 -preset ultrafast -tune zerolatency -x265-params log-level=none:keyint=30 -tag:v hvc1",
    "av1": "libsvtav1 -preset 12 -svtav1-params log=0:pred-struct=1:lp=1 -g 30",
    "vp9": "libvpx-vp9 -deadline realtime -cpu-used 8 -lag-in-frames 0 -g 30",
}
AUDIO = {"aac": "aac", "opus": "libopus", "mp3": "libmp3lame", "ac3": "ac3", "flac": "flac"}


def command(target: str, codec: str, audio: str) -> list[str]:
    """Return how to run ffmpeg; it reads pictures from its standard input."""
    sound = "" if audio == "none" else "-f lavfi -re -i sine=frequency=440:sample_rate=48000"
    coded = "" if audio == "none" else f"-c:a {AUDIO[audio]}"
    if target == "-":
        out = "-f mp4 -movflags frag_every_frame+empty_moov+default_base_moof"
    elif target.endswith(".m3u8"):
        out = "-f hls -hls_time 1 -hls_list_size 6 -hls_flags delete_segments+temp_file"
    else:
        out = "-f flv"
    video = "-c:v " + VIDEO[codec].replace(" -tag:v hvc1", "" if out == "-f flv" else " -tag:v hvc1")
    return [
        current_ffmpeg(), "-v", "error", "-fflags", "nobuffer", "-probesize", "32", "-analyzeduration", "0",
        "-f", "rawvideo", "-pix_fmt", "yuv420p", "-s", f"{WIDTH}x{HEIGHT}", "-r", str(RATE), "-i", "pipe:0",
        *sound.split(), *video.split(), "-pix_fmt", "yuv420p", *coded.split(),
        "-flush_packets", "1", *out.split(), target.replace("-", "pipe:1") if target == "-" else target,
    ]  # fmt: skip


def picture(milliseconds: int, number: int) -> bytes:
    """Return a picture that carries a time, and whose ground changes from picture to picture."""
    blocks = (b"\xeb" if milliseconds >> (BITS - 1 - i) & 1 else b"\x10" for i in range(BITS))
    row = b"".join(block * BLOCK for block in blocks)
    ground = bytes([16 + number * 3 % 200]) * WIDTH
    return row * ROWS + ground * (HEIGHT - ROWS) + b"\x80" * (WIDTH * HEIGHT // 2)


def is_over() -> bool:
    """Tell whether whoever started this has closed its standard input; a terminal stays open."""
    return bool(select.select([sys.stdin], [], [], 0)[0]) and not os.read(sys.stdin.fileno(), 1)


def publish(target: str, codec: str, audio: str, seconds: float) -> None:
    """Publish in real time, until the time is over or nobody takes it. Blocks."""
    with subprocess.Popen(command(target, codec, audio), stdin=subprocess.PIPE) as encoder:
        assert encoder.stdin is not None
        began = due = time()
        number = 0
        with suppress(BrokenPipeError):
            while time() - began < seconds and not is_over():
                sleep(max(0.0, due - time()))
                encoder.stdin.write(picture(int(time() * 1000), number))
                encoder.stdin.flush()
                number += 1
                due = max(due + 1 / RATE, time() - LATE_S)
        encoder.terminate()  # its sound has no end; it writes down what it has
        with suppress(BrokenPipeError):
            encoder.stdin.close()


if __name__ == "__main__":
    options = argparse.ArgumentParser()
    options.add_argument("target")
    options.add_argument("--codec", choices=sorted(VIDEO), default="h264")
    options.add_argument("--audio", choices=[*sorted(AUDIO), "none"], default="aac")
    options.add_argument("--seconds", type=float, default=600.0)
    given = options.parse_args(sys.argv[1:])
    publish(given.target, given.codec, given.audio, given.seconds)

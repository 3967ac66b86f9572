"""ffmpeg of this machine as encoder and player inside a network of containers."""

from __future__ import annotations

import subprocess
from pathlib import Path

from .container import Network

SECONDS = 4
WAIT_S = 30.0
# Everything as it came, a line of digits for each packet.
HASHES = ["-map", "0", "-c", "copy", "-copyinkf", "-f", "framehash"]
QUIET = ["ffmpeg", "-v", "error", "-nostdin", "-y"]


def make_film(path: Path) -> Path:
    """Make a short film, a keyframe each second."""
    source = f"-f lavfi -i testsrc2=size=320x180:rate=25:duration={SECONDS}"
    sound = f"-f lavfi -i sine=frequency=440:duration={SECONDS}"
    coding = "-c:v libx264 -preset ultrafast -g 25 -pix_fmt yuv420p -c:a aac"
    subprocess.run([*QUIET, *f"{source} {sound} {coding}".split(), str(path)], check=True, timeout=WAIT_S)
    return path


def packets(path: str) -> list[str]:
    """Return the digests of all packets of a file, sorted: their order is that of two streams."""
    done = subprocess.run(
        [*QUIET, "-i", path, *HASHES, "-"], capture_output=True, text=True, check=True, timeout=WAIT_S
    )
    return digests(done.stdout)


def digests(text: str) -> list[str]:
    return sorted(line.rsplit(",", 1)[1].strip() for line in text.splitlines() if line and line[0] != "#")


def player(network: Network, url: str) -> subprocess.Popen[str]:
    """Start a player that prints the digests of what it gets; it ends when the stream does."""
    command = network.inside([*QUIET, "-i", url, *HASHES, "-"])
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)


def encoder(network: Network, film: Path, url: str, *, loop: bool = False) -> subprocess.Popen[str]:
    """Start to publish the film in real time."""
    again = ["-stream_loop", "-1"] if loop else []
    tls = ["-tls_verify", "0"] if url.startswith("rtmps") else []
    command = [*QUIET, *again, "-re", "-i", str(film), "-c", "copy", "-f", "flv", *tls, url]
    return subprocess.Popen(network.inside(command), stderr=subprocess.DEVNULL, text=True)

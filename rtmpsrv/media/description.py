"""What is known of a track by its configuration: a plain value, and how a picture's size may be. Pure."""

from __future__ import annotations

from typing import Final, Literal, NamedTuple

from rtmpsrv.errors import RemoteProtocolError

MAX_PIXELS: Final = 16384  # of width and height: no level of any codec here has more than 16384
MAX_FPS: Final = 1000.0


class Description(NamedTuple):
    """One track. None, "" and 0 are what its configuration does not say."""

    kind: Literal["video", "audio"]
    track: int
    codec: str  # as MediaMTX names them
    profile: str = ""
    level: str = ""
    width: int | None = None
    height: int | None = None
    fps: float | None = None
    sample_rate: int | None = None
    channels: int | None = None
    frame_ms: float = 0.0  # that one message of audio lasts
    understood: bool = True


class Picture(NamedTuple):
    """What a video configuration says of its pictures."""

    profile: str
    level: str
    width: int | None = None
    height: int | None = None
    fps: float | None = None


class Sound(NamedTuple):
    """What an audio configuration says of its samples."""

    profile: str
    sample_rate: int | None
    channels: int | None
    frame_ms: float = 0.0


def checked_size(width: int, height: int) -> tuple[int, int]:
    """Return a size; raise RemoteProtocolError for one that no picture has."""
    if not (0 < width <= MAX_PIXELS and 0 < height <= MAX_PIXELS):
        raise RemoteProtocolError(f"a picture of {width}x{height}, limit {MAX_PIXELS}")
    return width, height


def rate(time_scale: int, ticks: int) -> float | None:
    """Return pictures per second; None for what cannot be one."""
    return round(time_scale / ticks, 3) if 0 < time_scale <= MAX_FPS * ticks else None

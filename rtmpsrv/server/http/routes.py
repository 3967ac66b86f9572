"""What the path of a request means: which channel, and in what form. Pure.

    /                            the list of channels
    /static/NAME, /favicon.ico   files of the pages
    /CHANNEL.flv  .mp4  .jpg     a stream, or a picture of it
    /CHANNEL/NAME.m3u8  .m4s     HLS
    /CHANNEL                     the page of a channel

CHANNEL has one part, or two and more where the layout of URLs is APP/NAME. Parts are decoded one by one when
the path has been divided: an encoded slash divides nothing. Whether a channel may be called so is not asked.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Final
from urllib.parse import unquote_to_bytes

FLV, MP4, JPG, HLS = "flv", "mp4", "jpg", "hls"
PAGE, LIST, STATIC = "page", "list", "static"
ANY: Final = "http"  # the form of a client that watches nothing by its connection

_STATIC: Final = "static"
_ICON: Final = "favicon.ico"
_STREAMS: Final = {".flv": FLV, ".mp4": MP4, ".jpg": JPG}
_HLS: Final = (".m3u8", ".m4s")
_NEVER: Final = frozenset(("", ".", ".."))
MAX_PARTS: Final = 16
MAX_KNOWN: Final = 512  # paths, half a megabyte at most
MAX_KNOWN_LENGTH: Final = 256  # of each, which make it 1 KB with what it means


@dataclass(frozen=True, slots=True)
class Route:
    """What is asked for."""

    kind: str
    channel: str = ""
    rest: str = ""  # the file of the pages, or of HLS


def find(path: str, *, has_paths: bool) -> Route | None:
    """Return what a path means, as it was sent and without its query; None for nothing that there could be.

    `has_paths`: channels are called APP/NAME.
    """
    return _known(path, has_paths) if len(path) <= MAX_KNOWN_LENGTH else _find(path, has_paths)


def _find(path: str, has_paths: bool) -> Route | None:
    if not path.startswith("/"):
        return None  # of a proxy, or `*`
    if path == "/":
        return Route(LIST)
    sent = path[1:].split("/")
    if len(sent) > MAX_PARTS:
        return None
    parts = [_decoded(part) for part in sent]
    if any(part is None or part in _NEVER or not part.isprintable() for part in parts):
        return None
    return _meant([part for part in parts if part is not None], has_paths)


_known = lru_cache(maxsize=MAX_KNOWN)(_find)  # who watch together ask for the same


def _meant(parts: list[str], has_paths: bool) -> Route | None:
    last = parts[-1]
    if parts == [_ICON] or (parts[0] == _STATIC and len(parts) == 2):
        return Route(STATIC, rest=last)
    if last.endswith(_HLS):
        return _of(HLS, parts[:-1], has_paths, last)
    for ending, kind in _STREAMS.items():
        if last.endswith(ending):
            return _of(kind, [*parts[:-1], last.removesuffix(ending)], has_paths)
    return _of(PAGE, parts, has_paths)


def _of(kind: str, parts: list[str], has_paths: bool, rest: str = "") -> Route | None:
    if has_paths and (len(parts) < 2 or any("/" in part for part in parts)):
        return None
    if not has_paths and len(parts) != 1:
        return None
    return Route(kind, "/".join(parts), rest) if parts[-1] else None


def _decoded(part: str) -> str | None:
    """Return a part as the text that it stands for; None for what is none."""
    try:
        return unquote_to_bytes(part).decode()
    except UnicodeDecodeError:
        return None

"""What is answered to a request for a playlist, a segment or a part. Knows no sockets; may block."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from time import monotonic
from typing import Final, NamedTuple, Protocol
from urllib.parse import quote

from gevent.event import Event

from rtmpsrv.live import lock
from rtmpsrv.media.hls_playlist import MEDIA, QUERY
from rtmpsrv.media.hls_reload import BAD, NOW, WAIT_TARGETS, decide, read

from .maker import Maker

INDEX: Final = "index.m3u8"
PLAYLIST_TYPE: Final = "application/vnd.apple.mpegurl"
MEDIA_TYPE: Final = "video/mp4"
SOUND_TYPE: Final = "audio/mp4"
TEXT: Final = "text/plain; charset=utf-8"
UNSUITABLE: Final = 415
START_S: Final = 12.0  # for the first segment; the longest target and what it takes
GO_ALONG: Final = ("key", "token", "user", "pass", "s")  # of a query, into the URIs of a playlist
MAX_WHOLE_BYTES: Final = 65536  # of a playlist that is written out before it is sent

NO_CACHE: Final = ("Cache-Control", "no-cache")
PRIVATE: Final = ("Cache-Control", "private, max-age=3600")


class Answer(NamedTuple):
    """A whole answer."""

    status: int
    body: bytes | Sequence[bytes]  # in pieces
    type: str = TEXT
    headers: tuple[tuple[str, str], ...] = (NO_CACHE,)


class Waits(Protocol):
    """Somebody who waits for us, and may leave meanwhile."""

    def wait(self, event: Event, timeout_s: float | None = None) -> bool:
        """Wait for an event; False when it did not come in time. Raises PeerLost."""


NOT_THERE: Final = Answer(404, b"There is no such stream, segment or part.\n")
OFF_AIR: Final = Answer(503, b"Nobody publishes now.\n", headers=(NO_CACHE, ("Retry-After", "1")))
NOT_YET: Final = Answer(503, b"There is nothing yet.\n", headers=(NO_CACHE, ("Retry-After", "1")))
LATE: Final = Answer(
    503, b"What was asked for did not come in time.\n", headers=(NO_CACHE, ("Retry-After", "1"))
)
TOO_LONG: Final = Answer(414, b"What the URL shows is too long.\n")
WRONG: Final = Answer(400, b"These directives make no sense for this playlist.\n")


def answer(
    maker: Maker,
    name: str,
    query: Mapping[str, str],
    shape: bytes | None,
    viewer: Waits,
    now: Callable[[], float] = monotonic,
) -> Answer:
    """Answer a request for what is called `name`. Blocks for seconds at most. Raises PeerLost.

    `shape` is that of the viewer's key, where it has to be the publisher's: of others it gets nothing.
    """
    if name == INDEX:
        early = _started(maker, shape, viewer, now)
        return early or Answer(200, _with(maker.multivariant(), query), PLAYLIST_TYPE)
    if name == MEDIA:
        return _started(maker, shape, viewer, now) or _playlist(maker, query, shape, viewer, now)
    return _media(maker, name, shape, viewer, now)


def opens(maker: Maker, shape: bytes | None) -> bool:
    """Tell whether what is in the window is for who came with a key of that shape."""
    return shape is None or any(lock.opens(shape, one) for one in maker.window.locks)


def _started(maker: Maker, shape: bytes | None, viewer: Waits, now: Callable[[], float]) -> Answer | None:
    """Wait for the first segment of what the viewer may have; return what is wrong if none comes."""
    until = now() + START_S
    while not (maker.window.segments and opens(maker, shape)):
        if maker.refusal:  # of what is sent, or of ours
            return Answer(503 if maker.given_up else UNSUITABLE, f"{maker.refusal}\n".encode())
        if not maker.is_running:
            return OFF_AIR
        if not _wait(maker, viewer, until, now):
            return NOT_YET
    return None


def _playlist(
    maker: Maker, query: Mapping[str, str], shape: bytes | None, viewer: Waits, now: Callable[[], float]
) -> Answer:
    asked = read(query)
    if asked is None:
        return WRONG
    window = maker.window
    until = now() + WAIT_TARGETS * window.numbering.target_s
    while (decision := decide(window, asked)) != NOW:
        if decision == BAD:
            return WRONG
        if not maker.on_air:
            return OFF_AIR  # never the old playlist: Safari ends there
        if not _wait(maker, viewer, until, now):
            return LATE
        if not opens(maker, shape):  # any more
            return OFF_AIR
    return Answer(200, _with(maker.playlist(_is_fast(query), asked.skip), query), PLAYLIST_TYPE)


def _media(maker: Maker, name: str, shape: bytes | None, viewer: Waits, now: Callable[[], float]) -> Answer:
    window = maker.window
    until = now() + WAIT_TARGETS * max(window.numbering.target_s, 1)
    data = window.find(name)
    # The part that was hinted at: all at once when it is complete.
    while data is None and name == window.next_name and maker.on_air:
        if not _wait(maker, viewer, until, now):
            return LATE
        data = window.find(name)
    if data is None or not opens(maker, shape):
        return NOT_THERE
    # Also where nothing is shown: an address or a backend may have decided who may watch.
    return Answer(200, data, SOUND_TYPE if maker.is_sound else MEDIA_TYPE, (PRIVATE,))


def _wait(maker: Maker, viewer: Waits, until: float, now: Callable[[], float]) -> bool:
    """Wait for more; False when it is too late for that."""
    left_s = until - now()
    return left_s > 0 and viewer.wait(maker.changed, left_s)


def shown(query: Mapping[str, str]) -> str:
    """Return what stands in all URIs that a player gets: it sends nothing else along."""
    pairs = [f"{name}={quote(query[name], safe='')}" for name in GO_ALONG if name in query]
    return "&".join(pairs if _is_fast(query) else [*pairs, "ll=no"])


def _is_fast(query: Mapping[str, str]) -> bool:
    """Tell whether a player wants low latency."""
    return query.get("ll") != "no"


def _with(playlist: bytes, query: Mapping[str, str]) -> bytes | list[bytes]:
    """Write what a player has to show into all URIs; in pieces, of which most are the same, if that is much.

    Those cost nothing while a player takes its time.
    """
    text = shown(query)
    mark, given = QUERY.encode(), f"?{text}".encode() if text else b""
    if len(playlist) + len(given) * playlist.count(mark) <= MAX_WHOLE_BYTES:
        return playlist.replace(mark, given)
    first, *others = playlist.split(mark)
    return [first, *chain.from_iterable([(given, other) for other in others])]

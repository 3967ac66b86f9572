"""`/CHANNEL.mp4`: live MP4 by HTTP and by WebSocket, for browsers' Media Source Extensions.

By HTTP one response is one publication in one configuration, and its type names the codecs. By WebSocket a
text comes before each, `{"type": "video/mp4; codecs=..."}`, and the bytes in binary messages. Who asks while
nobody publishes waits.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from time import monotonic
from typing import Any, Final

from rtmpsrv.av.live_mp4 import FirstParts, LiveMp4
from rtmpsrv.av.mp4_viewer import Viewer
from rtmpsrv.av.viewing import Channel, Reply, Request
from rtmpsrv.live.making import Memory
from rtmpsrv.log import Logger
from rtmpsrv.media.mp4_source import EVERYTHING, MAX_TRACKS, Selection

WAIT_S: Final = 50.0  # for a publisher; proxies end a request without an answer after a minute
MAX_SELECTIONS: Final = 6  # of one channel that are made at the same time, beside the usual one
UNSUITABLE: Final = 415  # Unsupported Media Type
OF_WEBSOCKETS: Final = 4000  # the close code is this and the status
_TEXT: Final = "text/plain; charset=utf-8"
_NO: Final = frozenset({"no", "0", "false", "off"})
_YES: Final = frozenset({"", "yes", "1", "true", "on"})
_AGAIN: Final = (("Retry-After", "1"),)
_TOO_MANY: Final = "Too many ask for different tracks of this channel."


class Mp4Site:
    """The handler, and the makers that it asks. `close` it in the end."""

    def __init__(
        self,
        channel: Callable[[str], Channel],
        first_parts: FirstParts,
        memory: Memory,
        log: Logger,
        rest_s: Callable[[float], float] = lambda worked_s: worked_s,
    ) -> None:
        """`channel` returns that of a name, as it is now: one that has moved or was forgotten is another.

        `rest_s` says how long a maker rests that has worked for so long.
        """
        self._channel = channel
        self._first_parts = first_parts
        self._memory = memory
        self._log = log
        self._rest_s = rest_s
        self._makers: dict[str, dict[Selection, LiveMp4]] = {}

    def handle(self, request: Request, reply: Reply) -> None:
        """Answer one viewer. Blocks to the end. Raises AccessDenied, PeerLost."""
        selection = selected(request.query)
        if selection is None:
            reply.send(400, b"audio is a number or no, video is yes or no, and not both are no.\n", _TEXT)
            return
        channel = request.admit().name
        if request.is_websocket:
            reply.accept()  # before there is a maker: this may fail, and one that nobody joins never ends
        maker = self._maker(channel, selection)
        if maker is None and request.is_websocket:
            reply.close(OF_WEBSOCKETS + 503, _TOO_MANY)
        elif maker is None:
            reply.send(503, f"{_TOO_MANY}\n".encode(), _TEXT, _AGAIN)
        elif request.is_websocket:
            self._converse(maker, request, reply)
        else:
            self._stream(maker, request, reply)

    @property
    def makers(self) -> int:
        """How many there are."""
        return sum([len(by_selection) for by_selection in self._makers.values()])

    def describe(self) -> dict[str, Any]:
        """Return what an operator may want to know."""
        makers = [maker for by_selection in self._makers.values() for maker in by_selection.values()]
        return {"makers": self.makers, "viewers": sum(len(maker.viewers) for maker in makers)}

    def close(self) -> None:
        """End all makers, and with them what viewers see. Idempotent. Blocks for a moment."""
        for by_selection in list(self._makers.values()):
            for maker in list(by_selection.values()):
                maker.close()

    # --- private ----------------------------------------------------------------------------------

    def _maker(self, channel: str, selection: Selection) -> LiveMp4 | None:
        """Return one, which is to be joined at once: it leaves by its end. None: there are too many."""
        by_selection = self._makers.get(channel, {})
        maker = by_selection.get(selection)
        if maker is None:
            others = len(by_selection.keys() - {EVERYTHING})
            if others >= MAX_SELECTIONS and selection != EVERYTHING:
                return None
            maker = self._makers.setdefault(channel, by_selection)[selection] = LiveMp4(
                lambda notify, place: self._channel(channel).subscribe(notify, place),
                selection,
                self._first_parts,
                self._memory,
                self._log,
                ended=lambda: self._forget(channel, selection),
                rest_s=self._rest_s,
            )
        return maker

    def _forget(self, channel: str, selection: Selection) -> None:
        by_selection = self._makers.get(channel, {})
        by_selection.pop(selection, None)
        if not by_selection:
            self._makers.pop(channel, None)

    def _stream(self, maker: LiveMp4, request: Request, reply: Reply) -> None:
        viewer = maker.join(request.peer.drop)
        try:
            until = monotonic() + WAIT_S
            while viewer.movie is None and not viewer.is_over:
                viewer.news.clear()
                if not reply.wait(viewer.news, max(0.0, until - monotonic())):
                    break
            movie = viewer.movie
            if movie is not None:
                reply.begin(200, movie.content_type, (("Cache-Control", "no-store"),))
                reply.write(movie.init)
                _send(viewer, reply)
            elif viewer.refusal:
                reply.send(UNSUITABLE, f"{viewer.refusal}\n".encode(), _TEXT)
            else:
                reply.send(503, b"Nobody publishes this channel.\n", _TEXT, _AGAIN)
        finally:
            maker.leave(viewer)

    def _converse(self, maker: LiveMp4, request: Request, reply: Reply) -> None:
        while True:
            viewer = maker.join(request.peer.drop)
            try:
                while viewer.movie is None and not viewer.is_over:
                    viewer.news.clear()
                    reply.wait(viewer.news)
                movie = viewer.movie
                if movie is None:
                    reply.close(OF_WEBSOCKETS + (UNSUITABLE if viewer.refusal else 503), viewer.refusal)
                    return
                reply.write_text(json.dumps({"type": movie.content_type}))
                reply.write(movie.init)
                _send(viewer, reply)
            finally:
                maker.leave(viewer)
            if not maker.is_running:  # the channel is another process's now, or the server ends
                reply.close(OF_WEBSOCKETS + 503, "come again")
                return


def selected(query: Mapping[str, str]) -> Selection | None:
    """Return which tracks a viewer wants; None for what is nothing."""
    video, audio = query.get("video", ""), query.get("audio", "")
    number = (
        1
        if audio in _YES
        else 0
        if audio in _NO
        else int(audio)
        if audio.isdecimal() and len(audio) < 3
        else -1
    )
    if video not in _YES | _NO or not 0 <= number <= MAX_TRACKS:
        return None
    found = Selection(video in _YES, number)
    return found if found.video or found.audio else None


def _send(viewer: Viewer, reply: Reply) -> None:
    """Send what comes, to the end of the movie."""
    while True:
        data = viewer.take()
        if data:
            reply.write(data)
        elif viewer.is_over:
            return
        else:
            reply.wait(viewer.news)

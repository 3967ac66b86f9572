"""What joiners must get before any media: the headers and metadata of one publication, ready to be sent.

The bytes are made once and shared by all joiners of a kind. Changed by the channel only; never blocks.
"""

from __future__ import annotations

from typing import Any

from ..media.headers import Change, HeaderCache
from ..media.metadata import METADATA_NAME, DataKind, DataMessage, MetadataStore, shown_metadata
from .budget import HEADERS, Budget
from .framing import RtmpFraming
from .header_history import Headers

MAX_STARTS = 4  # kinds of joiners, by message stream and time of the media, whose start is kept ready


class Preamble:
    """Headers and metadata in force, and the bytes that say so."""

    __slots__ = (
        "_budget",
        "_counted_bytes",
        "_framing",
        "_headers",
        "_metadata",
        "_shown",
        "_starts",
        "changes",
    )

    def __init__(self, framing: RtmpFraming, budget: Budget, changes: int = 0) -> None:
        """Begin with nothing, after so many changes of one that this replaces."""
        self._framing = framing
        self._budget = budget
        self._headers = HeaderCache()
        self._metadata = MetadataStore()
        self.changes = changes  # counts them
        self._starts: dict[tuple[int, int], bytes] = {}  # by message stream and timestamp, the oldest first
        self._counted_bytes = 0
        self._shown: tuple[bytes | None, dict[str, Any]] = None, {}  # of which metadata, what

    @property
    def headers(self) -> Headers:
        """All headers, in the order in which they are sent."""
        return self._headers.snapshot()

    @property
    def default_video_track(self) -> int:
        """The track whose keyframes start a group of pictures."""
        return self._headers.default_video_track

    def update(self, type_id: int, payload: bytes, flags: int) -> Change:
        """Take in a header or an end of sequence."""
        change = self._headers.update(type_id, payload, flags)
        if change is not Change.UNCHANGED:
            self._forget_starts()
        return change

    def note_frames(self) -> None:
        """Take note that media came since the last header."""
        self._headers.note_frames()

    def take_data(self, item: DataMessage) -> None:
        """Take in what a data message sets or clears."""
        if item.kind is DataKind.CLEAR:
            self._metadata.clear(item.name)
        else:
            self._metadata.store(item.name, item.payload)
        self._forget_starts()

    def start(self, headers: Headers, timestamp: int, msid: int) -> bytes:
        """Return what a joiner is told before media, with headers that may be older than those in force."""
        if headers != self.headers:
            return self._framing.start(self._metadata.snapshot(), headers, timestamp, msid)
        start = self._starts.get((msid, timestamp))
        if start is None:
            start = self._framing.start(self._metadata.snapshot(), headers, timestamp, msid)
            if len(self._starts) == MAX_STARTS:
                del self._starts[next(iter(self._starts))]  # the media has gone on
            self._starts[msid, timestamp] = start
            self._count()
        return start

    def metadata(self) -> dict[str, float | str | bool]:
        """Return what an operator wants to know of the metadata."""
        payload = self._metadata.find(METADATA_NAME)
        if payload is not self._shown[0]:
            self._shown = payload, shown_metadata(payload) if payload is not None else {}
        return dict(self._shown[1])

    def stored(self) -> tuple[bytes, ...]:
        """Return the data messages that joiners must get."""
        return self._metadata.snapshot()

    def close(self) -> None:
        """Hold nothing any more."""
        self._shown = None, {}
        self._headers = HeaderCache()
        self._metadata = MetadataStore()
        self._forget_starts()

    def snapshot(self) -> dict[str, Any]:
        """Return what another process needs to tell its joiners the same."""
        return {"headers": self._headers.to_value(), "metadata": self._metadata.to_value()}

    def adopt(self, value: dict[str, Any]) -> None:
        """Tell what joiners are told in another process."""
        self._headers = HeaderCache.from_value(value["headers"])
        self._metadata = MetadataStore.from_value(value["metadata"])
        self._forget_starts()

    def _forget_starts(self) -> None:
        self.changes += 1
        self._starts.clear()
        self._count()

    def _count(self) -> None:
        """Tell the budget what is held here; the log counts the headers in its own history."""
        starts = self._starts.values()
        held_bytes = self._metadata.held_bytes + sum([len(start) for start in starts])
        self._budget.change(HEADERS, held_bytes - self._counted_bytes)
        self._counted_bytes = held_bytes

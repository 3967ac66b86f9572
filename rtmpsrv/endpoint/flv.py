"""Media to and from FLV files, for recorders and file sources. Plain file reads block for a moment."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from os import PathLike
from time import monotonic

import gevent

from ..media import flv
from .media_in import decode
from .media_out import encode
from .types import (
    MediaData,
    StreamMetadata,
)

HEADER = flv.header(has_audio=True, has_video=True)
READ_BYTES = 65536
MAX_LATE_S = 1.0  # further behind, a source was paused: it goes on in real time, it does not race


def tag(data: MediaData) -> bytes:
    """Return one FLV tag; empty for what cannot be wrapped."""
    message = encode(data)
    return b"" if message is None else flv.tag(message[0], message[1], message[3])


def read(chunks: Iterable[bytes]) -> Iterator[MediaData]:
    """Yield the media of an FLV stream that comes in pieces cut anywhere. Raises RemoteProtocolError."""
    reader = flv.TagReader()
    for chunk in chunks:
        for item in reader.feed(chunk):
            data = decode(item.type_id, item.timestamp, item.payload)
            if data is not None:
                yield data


def read_file(path: str | PathLike[str]) -> Iterator[MediaData]:
    """Yield the media of an FLV file as fast as it is asked for."""
    with open(path, "rb") as file:
        yield from read(iter(lambda: file.read(READ_BYTES), b""))


def read_in_real_time(path: str | PathLike[str]) -> Iterator[MediaData]:
    """Yield the media of an FLV file at the pace of its timestamps. Blocks the calling greenlet only.

    Time that the caller takes between two items counts; whoever pauses longer starts again where it was.
    """
    began: float | None = None
    for data in read_file(path):
        if not isinstance(data, StreamMetadata):
            now = monotonic()
            due = data.timestamp / 1000
            if began is None or now - began - due > MAX_LATE_S:
                began = now - due
            gevent.sleep(max(0.0, began + due - now))
        yield data

"""One file while it is written: what waits for the disk, what another process needs to go on with it.

The functions block and run in threads; all else is the recorder's greenlet's.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final, NamedTuple, Protocol, Self

from .disk import Folder, OpenFile
from .flv_file import Headers
from .index import DELETED, DONE, MOVED, RECORDING, Entry, line_of
from .timeline import Timeline

MAX_FILE_MS: Final = 20 * 24 * 3600 * 1000  # times of FLV have 31 bits
BY_TIME, BY_SIZE, BY_HEADERS, BY_JUMP = "time", "size", "other headers", "a jump of time"
BEGINNING: Final = 1 << 18  # bytes of a file that is taken over, which hold its first part


class Container(Protocol):
    """How messages become the bytes of a file; `FlvFile` has the words."""

    suffix: str

    @property
    def lost_frames(self) -> int: ...
    def begin(self, headers: Headers, metadata: tuple[bytes, ...]) -> bytes: ...
    def frame(self, type_id: int, time_ms: int, payload: bytes) -> bytes | None: ...
    def end(self) -> bytes: ...
    def goes_on(self, headers: Headers) -> bool: ...
    def patches(self, end_ms: int, size: int) -> list[tuple[int, bytes]]: ...
    def leave(self) -> tuple[bytes, dict[str, Any] | None]: ...

    @property
    def held(self) -> int: ...


class Form(NamedTuple):
    """A kind of file: how one is begun, and how one is gone on with that another process wrote."""

    new: Callable[[Headers], Container]
    resumed: Callable[[dict[str, Any], Headers, bytes], Container]


Forms = dict[str, Form]


class Carried(NamedTuple):
    """What another process noted of a file when it let go of it."""

    entry: Entry
    place: tuple[int, int]  # in the channel, up to where the file has everything
    size: int
    times: dict[str, Any]
    has_keyframe: bool
    wanted: str
    container: dict[str, Any]

    @classmethod
    def read(cls, entry: Entry) -> Self:
        """Return what an entry carries. Raises KeyError, TypeError, ValueError where that is nothing."""
        said = entry.carried or {}
        publication, position = [int(one) for one in said["place"]]
        container = said["container"]
        if not isinstance(container, dict) or not isinstance(said["times"], dict):
            raise TypeError("no tables")
        wanted, has_keyframe = str(said["wanted"]), bool(said["keyframe"])
        place, size = (publication, position), int(said["size"])
        return cls(entry, place, size, said["times"], has_keyframe, wanted, container)


class Take:
    """One file. `size` is all of it, what waits included."""

    __slots__ = ("container", "entry", "file", "has_keyframe", "size", "times", "waiting", "wanted")

    def __init__(self, file: OpenFile, container: Container, entry: Entry) -> None:
        self.file = file
        self.container = container
        self.entry = entry
        self.times = Timeline()
        self.waiting: list[bytes] = []  # not written yet
        self.size = file.size
        self.has_keyframe = False
        self.wanted = ""  # why another file is to follow

    @property
    def held(self) -> int:
        """How many bytes are not written yet."""
        return self.size - self.file.size + self.container.held

    def add(self, data: bytes) -> None:
        """Have bytes written, later."""
        if data:
            self.waiting.append(data)
            self.size += len(data)

    def want_next(self, why: str) -> None:
        """Let another file follow, as soon as one may begin."""
        self.wanted = self.wanted or why

    def ends(self, segment_ms: int, segment_bytes: int, kind: int, timestamp: int) -> str:
        """Say why it ends before a frame with which another may begin; "" where it does not. 0: no bound.

        By time where that frame's own would be beyond: what comes before it lasts until then. Not while
        nothing of the file is there yet: it waits for its first part.
        """
        if self.wanted or not self.size:
            return self.wanted
        at_ms, _jumped = self.times.would_be(kind, timestamp)
        if max(self.times.end_ms, at_ms) >= min(segment_ms or MAX_FILE_MS, MAX_FILE_MS):
            return BY_TIME
        return BY_SIZE if segment_bytes and self.size >= segment_bytes else ""

    @property
    def lost(self) -> str:
        """What the log says of frames that are not in it."""
        count = self.container.lost_frames
        return f" ({count} frames that came before its first part was made are lost)" if count else ""

    def done(self, reason: str, now: float) -> Entry:
        """Return its entry once it is whole."""
        seconds, size = self.times.end_ms / 1000, self.file.size
        return replace(self.entry, state=DONE, end=now, seconds=seconds, bytes=size, reason=reason)

    def left(self, place: tuple[int, int], now: float, container: dict[str, Any]) -> Entry:
        """Return its entry for another process, which goes on at a place of the channel."""
        carried = {
            "place": list(place),
            "size": self.file.size,
            "times": self.times.snapshot(),
            "keyframe": self.has_keyframe,
            "wanted": self.wanted,
            "container": container,
        }
        return replace(self.entry, state=MOVED, end=now, carried=carried)


def create(folder: Folder, name: str, suffix: str, entry: Entry) -> OpenFile:
    """Make a file and note it."""
    file = folder.create(name, suffix)
    folder.note([line_of(replace(entry, file=file.name))])
    return file


def finish(folder: Folder, file: OpenFile, patches: list[tuple[int, bytes]], entry: Entry) -> None:
    """Finish a file and note that."""
    folder.finish(file, patches)
    folder.note([line_of(entry)])


def drop(folder: Folder, file: OpenFile, entry: Entry) -> None:
    """Remove a file that holds nothing, and note that."""
    folder.drop(file)
    folder.note([line_of(replace(entry, state=DELETED))])


def leave(folder: Folder, file: OpenFile, entry: Entry) -> None:
    """Let go of a file, and note that another process may go on with it."""
    file.close()
    folder.note([line_of(entry)])


def take_up(folder: Folder, carried: Carried, form: Form, headers: Headers) -> Take | None:
    """Go on with a file, and note that; None where it cannot be gone on with. Raises OSError."""
    entry = replace(carried.entry, state=RECORDING, end=0.0, carried=None)
    try:
        file = folder.take(entry.file)
    except FileNotFoundError:
        return None
    if file is None:
        return None
    try:
        if file.size < carried.size:
            raise ValueError("it is shorter than it was")
        file.size = carried.size
        container = form.resumed(carried.container, headers, folder.beginning(file, BEGINNING))
        take = Take(file, container, entry)
        take.times = Timeline.resumed(carried.times)
        take.has_keyframe, take.wanted = carried.has_keyframe, carried.wanted
        folder.note([line_of(entry)])
    except (KeyError, TypeError, ValueError, AttributeError):
        file.close()
        return None
    except OSError:
        file.close()
        raise
    return take

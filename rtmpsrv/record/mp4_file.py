"""An MP4 file while it is written, in fragments; and one that was left unfinished. Touches no file.

A fragment can be played as soon as it is written. How long the file is, and where its keyframes are, is
written when it is whole.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from time import monotonic
from typing import Any, Final, Self

from rtmpsrv.errors import MediaLost, MediaRefused, RemoteProtocolError
from rtmpsrv.media import mp4
from rtmpsrv.media.mp4_init import MAX_INIT_BYTES, is_init, set_duration
from rtmpsrv.media.mp4_source import ALL, Mp4Source, Question, Selection, Timed
from rtmpsrv.protocol.messages import AUDIO, VIDEO

from .first_part import FirstPart, Init
from .flv_file import Headers, Patch

SUFFIX: Final = ".mp4"
FRAGMENT_MS: Final = 1000  # or half of it, before a keyframe
FRAGMENT_BYTES: Final = 4 << 20  # what is held of any stream, whatever times its frames have, but one frame
USUAL_MS: Final = 40  # a frame's duration where nothing follows
HEAD_SIZE: Final = 8
MAX_BOX: Final = 1 << 31  # what we write is far below
MAX_PLACES: Final = 4096  # of keyframes; then every other one is left out

_TRACKS: Final = Selection(video=True, audio=ALL)


@dataclass(slots=True)
class _Track:
    """What waits for its fragment; the last frame for the time of the next one."""

    waiting: list[Timed] = field(default_factory=list)
    usual_ms: int = USUAL_MS


class Mp4File:
    """One file. Changed by its writer."""

    suffix = SUFFIX

    def __init__(self, headers: Headers, init: Init, clock: Callable[[], float] = monotonic) -> None:
        """`init` makes the first part; it may block, and raise MediaRefused or MediaLost."""
        self._source = Mp4Source(headers, _TRACKS)
        self._first_part = FirstPart(init)
        self._clock = clock
        self._init = b""
        self._tracks: dict[int, _Track] = {}
        self._pictures = 0  # the number of the track of video; 0 for none
        self._sequence = 0
        self._size = 0  # of all that was returned
        self._end_ms = 0
        self._places: list[tuple[int, int]] = []
        self._held = 0  # bytes of frames that wait for their fragment

    def begin(self, headers: Headers, metadata: tuple[bytes, ...]) -> bytes:
        """Return nothing: the first part is made when all tracks have a frame."""
        return b""

    def frame(self, type_id: int, time_ms: int, payload: bytes) -> bytes | None:
        """Take a message in; return what is to be written. None: it begins another file.

        Never blocks: until the first part is there frames are kept; of more than 32 MiB the newest, from a
        keyframe on. Raises MediaRefused, MediaLost.
        """
        if type_id not in (AUDIO, VIDEO):
            return b""
        # By the stream's time: a writer that was held up has not waited for a track.
        if not self._source.take(type_id, time_ms, payload, time_ms / 1000):
            return None
        if not self._source.ready():
            return b""
        begun = b"" if self._init else self._begin(self._first_part.look(self._question, self._clock()))
        self._collect()
        is_much = self._held >= FRAGMENT_BYTES
        if not is_much and not any(self._is_due(number, one.waiting) for number, one in self._tracks.items()):
            return begun
        return begun + self._fragment()

    def goes_on(self, headers: Headers) -> bool:
        """Tell nothing by headers: `frame` does, by the messages themselves."""
        return True

    def end(self) -> bytes:
        """Return the last fragment, and where the keyframes are.

        Blocks for seconds where the first part is not there yet. Raises MediaRefused, MediaLost.
        """
        if not self._source.ready(float("inf")):
            return b""
        begun = b"" if self._init else self._begin(self._first_part.wait(self._question))
        self._collect()
        last = self._fragment(is_last=True)
        number = self._source.tracks[0].number
        return begun + last + mp4.random_access(number, self._places)

    def patches(self, end_ms: int, size: int) -> list[Patch]:
        """Return the first part again, with the duration."""
        return [(0, set_duration(self._init, self._end_ms))] if self._init else []

    @property
    def lost_frames(self) -> int:
        """How many nobody could keep until there was a first part."""
        return self._source.lost_frames

    @property
    def held(self) -> int:
        """How many bytes were taken in and not returned."""
        return self._source.waiting_bytes + self._held

    def leave(self) -> tuple[bytes, dict[str, Any] | None]:
        """Return what is still to be written, and plain values with which `resumed` goes on behind it.

        None: nobody can, and `end` follows. Blocks as `end` does.
        """
        begun = b""
        if not self._init and self._source.ready(self._clock()):
            with suppress(MediaRefused, MediaLost):
                begun = self._begin(self._first_part.wait(self._question))
        self._collect()
        source = self._source.snapshot() if self._init else None
        if source is None:
            return begun, None
        last = begun + self._fragment(is_last=True)
        usual = [[number, track.usual_ms] for number, track in self._tracks.items()]
        return last, {
            "source": source,
            "init": len(self._init),
            "size": self._size,
            "sequence": self._sequence,
            "end": self._end_ms,
            "usual": usual,
            "places": [list(one) for one in self._places],
        }

    @classmethod
    def resumed(
        cls,
        value: dict[str, Any],
        headers: Headers,
        beginning: bytes,
        init: Init,
        clock: Callable[[], float] = monotonic,
    ) -> Self:
        """Return one that goes on; `beginning` is that of the file.

        Raises KeyError, TypeError, ValueError for what is none.
        """
        found = cls(headers, init, clock)
        found._source = Mp4Source.resumed(value["source"], headers, _TRACKS)
        found._init = beginning[: int(value["init"])]
        if not is_init(found._init):
            raise ValueError("it does not begin as it should")
        found._size, found._sequence = int(value["size"]), int(value["sequence"])
        found._end_ms = int(value["end"])
        found._know_tracks()
        for number, usual_ms in value["usual"]:
            found._tracks[int(number)].usual_ms = int(usual_ms)
        found._places = [(int(time), int(at)) for time, at in value["places"]]
        return found

    def _is_due(self, number: int, waiting: list[Timed]) -> bool:
        """Tell whether a track has enough for a fragment.

        Where there are pictures they decide, so that fragments begin with keyframes; unless none come.
        """
        if len(waiting) < 2:
            return False
        least = FRAGMENT_MS
        if self._pictures:
            if number != self._pictures:
                least *= 2
            elif waiting[-1].is_keyframe:
                least //= 2
        return waiting[-1].time - waiting[0].time >= least

    def _question(self) -> Question:
        return self._source.question

    def _begin(self, first_part: bytes) -> bytes:
        """Take it, if it is there; return it."""
        if first_part:
            self._init = first_part
            self._source.has_begun()
            self._know_tracks()
            self._size = len(first_part)
        return first_part

    def _know_tracks(self) -> None:
        tracks = self._source.tracks
        self._tracks = {one.number: _Track() for one in tracks}
        self._pictures = next((one.number for one in tracks if one.kind == VIDEO), 0)

    def _collect(self) -> None:
        if self._init:
            for timed in self._source.samples():
                self._tracks[timed.number].waiting.append(timed)
                self._held += len(timed.data)

    def _fragment(self, *, is_last: bool = False) -> bytes:
        runs = []
        for number, track in self._tracks.items():
            ready = track.waiting if is_last else track.waiting[:-1]
            if not ready:
                continue
            nexts = [one.time for one in track.waiting[1:]]
            if is_last:
                nexts.append(ready[-1].time + track.usual_ms)
            parts = [
                mp4.Part(after - one.time, one.offset, one.is_keyframe, one.data)
                for one, after in zip(ready, nexts, strict=True)
            ]
            runs.append(mp4.Run(number, ready[0].time, parts))
            track.usual_ms = parts[-1].duration
            track.waiting = track.waiting[len(ready) :]
            self._held -= sum([len(one.data) for one in ready])
            self._end_ms = max(self._end_ms, nexts[-1])
        if not runs:
            return b""
        self._sequence += 1
        if runs[0].number == 1 and runs[0].parts[0].is_keyframe:
            self._places.append((runs[0].time, self._size))
            if len(self._places) > MAX_PLACES:
                del self._places[1::2]
        data = mp4.fragment(self._sequence, runs)
        self._size += len(data)
        return data


class Scan:
    """Reads a file that was left unfinished, box by box; `flv_file.Scan` has the words."""

    head_bytes = HEAD_SIZE

    def __init__(self) -> None:
        self.size = 0
        self.whole = 0  # behind the last fragment with all that belongs to it
        self.end_ms = 0
        self._init = b""
        self._has_fragment = False
        self._pending_ms = 0

    def read(self, head: bytes) -> int:
        """Take the head of a box, return its size; 0: nothing behind this can be read."""
        size, kind = int.from_bytes(head[:4], "big"), head[4:8]
        is_expected = kind in _EXPECTED and (kind == b"ftyp") == (self.size == 0)
        return size if is_expected and HEAD_SIZE <= size < MAX_BOX else 0

    def taken(self, head: bytes, beginning: bytes, size: int) -> None:
        """Count a box that is there whole; `beginning` is that of its contents."""
        kind = head[4:8]
        self.size += size
        if kind in (b"ftyp", b"moov"):
            self._init += head + beginning
            self.whole = self.size
        elif kind == b"moof":
            self._pending_ms = _end_of(beginning)
        elif kind == b"mdat":
            self.whole = self.size
            self.end_ms = max(self.end_ms, self._pending_ms)
            self._has_fragment = True

    def patches(self) -> list[Patch]:
        """Return what is to be written over the beginning."""
        try:
            return [(0, set_duration(self._init, self.end_ms))] if len(self._init) <= MAX_INIT_BYTES else []
        except RemoteProtocolError:
            return []

    @property
    def holds_media(self) -> bool:
        """Whether there is a fragment."""
        return self._has_fragment


_EXPECTED: Final = frozenset({b"ftyp", b"moov", b"moof", b"mdat"})


def _end_of(moof: bytes) -> int:
    """Return when the last frame of a fragment is over, in ms; as we wrote it."""
    end = 0
    for kind, traf in _boxes(moof):
        if kind != b"traf":
            continue
        inner = dict(_boxes(traf))
        time, run = inner.get(b"tfdt", b""), inner.get(b"trun", b"")
        count = int.from_bytes(run[4:8], "big")
        durations = [
            int.from_bytes(run[12 + 16 * at : 16 + 16 * at], "big") for at in range(min(count, len(run)))
        ]
        end = max(end, int.from_bytes(time[4:12], "big") + sum(durations))
    return end


def _boxes(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    at = 0
    while at + HEAD_SIZE <= len(data):
        size = int.from_bytes(data[at : at + 4], "big")
        if size < HEAD_SIZE:
            return
        yield data[at + 4 : at + 8], data[at + HEAD_SIZE : at + size]
        at += size

"""How the messages of one publisher go on where those of another stopped, in the same log.

Their times go on without a step back, headers that players have are not sent again, and video waits for a
keyframe. Arithmetic and a few marks; what to do with a message is the caller's affair. Never blocks.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256
from typing import Any, Final

from ..protocol.timestamps import add, signed_difference
from .header_history import Headers
from .joints import FIRST_KEYFRAME_S
from .log import Log
from .segment import AUDIO, KEYFRAME, VIDEO

LEAD_MS: Final = 20  # between the last frame of one publisher and the first of the next, at least
# Audio and video of an encoder that begins may be this far apart: whatever would go back follows the last
# frame so long. Later a step back is the publisher's own, and stays.
SETTLING_S: Final = 5.0

_KINDS: Final = ((AUDIO,), (VIDEO, VIDEO | KEYFRAME))

Time = tuple[int, float]  # timestamp of a frame, and when it arrived


def newest(log: Log) -> Time | None:
    """Return the time of the newest frame, audio or video; None where nothing is left of either."""
    found: Time | None = None
    tail = log.tail
    for segment in [tail] if tail.base <= log.begin else [log.segment_at(tail.base - 1), tail]:
        for kinds in _KINDS:
            number = segment.find_last(kinds)
            if number is not None:
                timestamp, arrival = segment.timestamps[number], segment.arrivals[number]
                if found is None or signed_difference(timestamp, found[0]) > 0:
                    found = timestamp, arrival
    return found


class Splice:
    """What is known at the joint of two publishers. Changed by the contents of their channel only."""

    __slots__ = ("_known", "_latest", "_latest_at", "_offset", "_settled_at", "_video_since", "is_open")

    def __init__(self, last: Time | None, known: Sequence[bytes]) -> None:
        """Go on after a frame, if there ever was one, with headers that players have: their digests."""
        self.is_open = False  # a keyframe came: video need not wait any more
        self._known = dict.fromkeys(known)
        self._latest: int | None = None  # timestamp of the last frame that players were sent
        self._latest_at = 0.0
        if last is not None:
            self._latest, self._latest_at = last
        self._offset: int | None = None  # of the publisher's times; None before its first frame
        self._settled_at = 0.0  # when the publisher's times are taken as they are
        self._video_since: float | None = None  # the first video that was held back

    def known(self, headers: Headers) -> list[bytes]:
        """Return digests of all headers that players have, those of the present publisher included."""
        return list(dict.fromkeys([*self._known, *digests(headers)]))

    def is_settling(self, now: float) -> bool:
        """Tell whether messages have to be looked at one by one."""
        return not self.is_open and (self._offset is None or now < self._settled_at)

    def repeats(self, type_id: int, payload: bytes) -> bool:
        """Tell whether a header is one that players have; after a new one of its kind the others are none."""
        digest = _digest(type_id, payload)
        if digest in self._known:
            return True
        for one in [one for one in self._known if one[0] == type_id]:
            del self._known[one]
        return False

    def holds_back(self, is_keyframe: bool, now: float) -> bool:
        """Tell whether a frame of video has to be left out: there was no keyframe yet, but may be soon."""
        if is_keyframe:
            self.is_open = True
        elif not self.is_open:
            if self._video_since is None:
                self._video_since = now
            return now - self._video_since < FIRST_KEYFRAME_S
        return False

    def begin(self, timestamp: int, now: float) -> None:
        """Take the first frame of the new publisher: as much time has passed as since the last one."""
        passed_ms = max(LEAD_MS, round((now - self._latest_at) * 1000))
        self._offset = 0 if self._latest is None else add(self._latest, passed_ms - timestamp)
        self._settled_at = now + SETTLING_S

    def time(self, timestamp: int, now: float) -> int:
        """Return the channel's time for a publisher's."""
        latest = self._latest
        if latest is None:
            return timestamp
        if self._offset is None:  # headers and data before the first frame
            return add(latest, 1)
        mapped = add(timestamp, self._offset)
        if now < self._settled_at and signed_difference(mapped, latest) <= 0:
            self._latest = mapped = add(latest, 1)
        return mapped

    def snapshot(self) -> dict[str, Any]:
        """Return all of it, as `adopted` takes it."""
        return {
            "known": list(self._known),
            "latest": self._latest,
            "latest_at": self._latest_at,
            "offset": self._offset,
            "settled_at": self._settled_at,
            "video_since": self._video_since,
            "is_open": self.is_open,
        }

    @staticmethod
    def adopted(value: dict[str, Any]) -> Splice:
        """Make the one that another process had."""
        splice = Splice(None, value["known"])
        splice._latest, splice._latest_at = value["latest"], value["latest_at"]
        splice._offset, splice._settled_at = value["offset"], value["settled_at"]
        splice._video_since, splice.is_open = value["video_since"], value["is_open"]
        return splice


def digests(headers: Headers) -> list[bytes]:
    """Return what stands for headers, without holding them."""
    return [_digest(type_id, payload) for type_id, payload in headers]


def _digest(type_id: int, payload: bytes) -> bytes:
    return bytes([type_id]) + sha256(payload).digest()

"""The headers of a live stream that a joining player must get before any frame.

Keeps the publisher's own bytes. Metadata of data messages (onMetaData) is kept elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import IntEnum
from typing import Any

from rtmpsrv.media.classify import END, ENHANCED_SOUND_FORMAT, HEADER, Slot, ends_slots, header_slots
from rtmpsrv.protocol.messages import VIDEO

# Real headers are below 4 KiB, and real streams have up to 6 tracks; a peer may invent others.
MAX_HEADER_BYTES = 1 << 16  # of one message
MAX_CACHE_BYTES = 1 << 18  # per stream
MAX_STREAM_TRACKS = 32  # audio and video together


class Change(IntEnum):
    """What a message did to the stored headers; false when nothing."""

    UNCHANGED = 0
    CHANGED = 1
    RESTART = 2  # the default video track is coded otherwise from here on: its GOP starts anew


class HeaderCache:
    """Latest headers of one stream by track. Changed by the stream's publisher only; never blocks."""

    def __init__(self, limit_bytes: int = MAX_CACHE_BYTES) -> None:
        self._limit_bytes = limit_bytes
        # Each slot holds the number of its message, which counts arrivals; one message may fill several.
        self._slots: dict[Slot, int] = {}
        self._messages: dict[int, bytes] = {}
        self._uses: dict[int, int] = {}  # slots that a message fills
        self._held_bytes = 0
        self._arrivals = 0
        self._default_video_track = 0
        self._last_video_config: bytes | None = None
        self._after_frames = False
        self._sent_together: set[Slot] = set()  # filled or repeated since the last frames
        self._snapshot: tuple[tuple[int, bytes], ...] | None = ()

    @property
    def default_video_track(self) -> int:
        """The track whose keyframes start a GOP: 0, or the lowest id when the stream has no track 0."""
        return self._default_video_track

    @property
    def held_bytes(self) -> int:
        """The payload of all headers that are kept."""
        return self._held_bytes

    def note_frames(self) -> None:
        """Take note that media came: headers from here on may be those of a new configuration."""
        self._after_frames = True

    def update(self, type_id: int, payload: bytes, flags: int) -> Change:
        """Take in a message with its flags from `classify`; identical repeats change nothing.

        A header that is too long, or one too many in bytes or tracks, is not kept. When the first track of
        audio or video is configured anew, the headers of the other tracks of its kind go, but for those that
        were sent together with it.
        """
        if not flags & HEADER:
            return self.remove(type_id, payload) if flags & END else Change.UNCHANGED
        if len(payload) > MAX_HEADER_BYTES:
            return Change.UNCHANGED
        slots = dict.fromkeys(header_slots(type_id, payload))
        if self._after_frames:
            self._after_frames = False
            self._sent_together.clear()
        self._sent_together.update(slots)
        replaced: dict[int, int] = {}  # slots that each older message loses
        for slot in slots:
            number = self._slots.get(slot, 0)
            replaced[number] = replaced.get(number, 0) + 1
        if not slots or (len(replaced) == 1 and self._messages.get(next(iter(replaced))) == payload):
            return Change.UNCHANGED  # RootEncoder and cameras repeat their headers
        gone = sum(
            len(self._messages[number])
            for number, count in replaced.items()
            if self._uses.get(number) == count
        )
        if self._held_bytes - gone + len(payload) > self._limit_bytes or (
            0 in replaced and self._tracks_with(slots) > MAX_STREAM_TRACKS
        ):
            return Change.UNCHANGED
        if self._first_config(type_id) in slots:
            self._forget_former(type_id)
        for number, count in replaced.items():
            self._release(number, count)
        self._arrivals += 1
        self._messages[self._arrivals] = payload
        self._uses[self._arrivals] = len(slots)
        self._held_bytes += len(payload)
        self._slots.update(dict.fromkeys(slots, self._arrivals))
        if 0 in replaced:
            self._find_default_track()
        self._snapshot = None
        first = next(iter(slots))
        is_video_config = first.type_id == VIDEO and first.name == "config"
        return self._video_config_change() if is_video_config else Change.CHANGED

    def remove(self, type_id: int, payload: bytes) -> Change:
        """Empty the slots of the tracks that an END message ends."""
        change = Change.UNCHANGED
        for slot in ends_slots(type_id, payload):
            number = self._slots.pop(slot, 0)
            if number:
                self._release(number, 1)
                change = Change.CHANGED
        if change:
            self._find_default_track()
            self._snapshot = None
        return change

    def to_value(self) -> dict[str, Any]:
        """Return all of it in plain types, for a process whose version or build may be another."""
        return {
            "slots": [(*slot, number) for slot, number in self._slots.items()],
            "messages": dict(self._messages),
            "arrivals": self._arrivals,
            "default_video_track": self._default_video_track,
            "last_video_config": self._last_video_config,
            "after_frames": self._after_frames,
            "sent_together": [tuple(slot) for slot in sorted(self._sent_together)],
        }

    @staticmethod
    def from_value(value: dict[str, Any]) -> HeaderCache:
        """Make one again that goes on as the other would have."""
        cache = HeaderCache()
        cache._slots = {Slot(kind, track, name): number for kind, track, name, number in value["slots"]}
        cache._messages = dict(value["messages"])
        for number in cache._slots.values():
            cache._uses[number] = cache._uses.get(number, 0) + 1
        cache._held_bytes = sum([len(payload) for payload in cache._messages.values()])
        cache._arrivals = value["arrivals"]
        cache._default_video_track = value["default_video_track"]
        cache._last_video_config = value["last_video_config"]
        cache._after_frames = value["after_frames"]
        cache._sent_together = {Slot(*slot) for slot in value["sent_together"]}
        cache._snapshot = None
        return cache

    def _first_config(self, type_id: int) -> Slot | None:
        configs = [slot for slot in self._slots if slot.type_id == type_id and slot.name == "config"]
        return min(configs, default=None)

    def _forget_former(self, type_id: int) -> None:
        """Empty the slots of a kind that belong to the configuration before this one."""
        for slot in [slot for slot in self._slots if slot.type_id == type_id]:
            if slot not in self._sent_together:
                self._release(self._slots.pop(slot), 1)

    def _tracks_with(self, slots: Iterable[Slot]) -> int:
        tracks = {(slot.type_id, slot.track_id) for slot in self._slots}
        tracks.update((slot.type_id, slot.track_id) for slot in slots)
        return len(tracks)

    def _release(self, number: int, count: int) -> None:
        """Let go of a message when no slot holds it any more; 0 is none."""
        if not number:
            return
        self._uses[number] -= count
        if not self._uses[number]:
            del self._uses[number]
            self._held_bytes -= len(self._messages.pop(number))

    def _find_default_track(self) -> None:
        ids = [slot.track_id for slot in self._slots if slot.type_id == VIDEO and slot.name == "config"]
        self._default_video_track = min(ids, default=0)

    def snapshot(self) -> tuple[tuple[int, bytes], ...]:
        """Return each stored message once, as (type id, payload), in the order in which to send them.

        Audio before video, as the reference does; but video first if any header is an enhanced one: FFmpeg 9
        makes empty packets of some that come before all video. Configs before metadata; older before newer,
        so that a message that renewed one track of several comes after the one it corrects.
        """
        if self._snapshot is None:
            messages = {
                (slot.type_id, slot.name, number): self._messages[number]
                for slot, number in self._slots.items()
            }
            ordered = sorted(messages)
            if any(_is_enhanced(key[0], payload) for key, payload in messages.items()):
                ordered.sort(key=lambda key: key[0] != VIDEO)
            self._snapshot = tuple((key[0], messages[key]) for key in ordered)
        return self._snapshot

    def _video_config_change(self) -> Change:
        """Compare the default track's config with its last one, which may have ended since."""
        before = self._last_video_config
        now = self._messages[self._slots[Slot(VIDEO, self._default_video_track, "config")]]
        self._last_video_config = now
        return Change.CHANGED if before is None or now == before else Change.RESTART


def _is_enhanced(type_id: int, payload: bytes) -> bool:
    first = payload[0]
    return first >= 0x80 if type_id == VIDEO else first >> 4 == ENHANCED_SOUND_FORMAT

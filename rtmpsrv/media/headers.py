"""The headers of a live stream that a joining player must get before any frame.

Keeps the publisher's own bytes. Metadata of data messages (onMetaData) is kept elsewhere.
"""

from __future__ import annotations

from enum import IntEnum

from rtmpsrv.media.classify import END, ENHANCED_SOUND_FORMAT, HEADER, Slot, ends_slots, header_slots
from rtmpsrv.protocol.messages import VIDEO

MAX_HEADER_BYTES = 1 << 20  # per stream; real ones are below 4 KiB, but a peer may invent 512 tracks


class Change(IntEnum):
    """What a message did to the stored headers; false when nothing."""

    UNCHANGED = 0
    CHANGED = 1
    RESTART = 2  # the default video track is coded otherwise from here on: its GOP starts anew


class HeaderCache:
    """Latest headers of one stream by track. Changed by the stream's publisher only; never blocks."""

    def __init__(self, limit_bytes: int = MAX_HEADER_BYTES) -> None:
        self._limit_bytes = limit_bytes
        # Each slot holds (number of arrival, payload); slots that one message filled share it.
        self._slots: dict[Slot, tuple[int, bytes]] = {}
        self._arrivals = 0
        self._last_video_config: bytes | None = None
        self._snapshot: tuple[tuple[int, bytes], ...] | None = ()

    @property
    def default_video_track(self) -> int:
        """The track whose keyframes start a GOP: 0, or the lowest id when the stream has no track 0."""
        return min((s.track_id for s in self._slots if s.type_id == VIDEO and s.name == "config"), default=0)

    def update(self, type_id: int, payload: bytes, flags: int) -> Change:
        """Take in a message with its flags from `classify`; identical repeats change nothing.

        A header that would bring the cache over its limit is not kept.
        """
        if not flags & HEADER:
            return self.remove(type_id, payload) if flags & END else Change.UNCHANGED
        slots = header_slots(type_id, payload)
        if all(slot in self._slots and self._slots[slot][1] == payload for slot in slots):
            return Change.UNCHANGED  # RootEncoder and cameras repeat their headers
        kept = {number: len(stored) for slot, (number, stored) in self._slots.items() if slot not in slots}
        if sum(kept.values()) + len(payload) > self._limit_bytes:
            return Change.UNCHANGED
        self._arrivals += 1
        for slot in slots:
            self._slots[slot] = self._arrivals, payload
        self._snapshot = None
        is_video_config = slots[0].type_id == VIDEO and slots[0].name == "config"
        return self._video_config_change() if is_video_config else Change.CHANGED

    def remove(self, type_id: int, payload: bytes) -> Change:
        """Empty the slots of the tracks that an END message ends."""
        removed = [slot for slot in ends_slots(type_id, payload) if self._slots.pop(slot, None) is not None]
        if not removed:
            return Change.UNCHANGED
        self._snapshot = None
        return Change.CHANGED

    def snapshot(self) -> tuple[tuple[int, bytes], ...]:
        """Return each stored message once, as (type id, payload), in the order in which to send them.

        Audio before video, as the reference does; but video first if any header is an enhanced one: FFmpeg 9
        makes empty packets of some that come before all video. Configs before metadata; older before newer,
        so that a message that renewed one track of several comes after the one it corrects.
        """
        if self._snapshot is None:
            messages = {
                (slot.type_id, slot.name, number): payload for slot, (number, payload) in self._slots.items()
            }
            ordered = sorted(messages)
            if any(_is_enhanced(key[0], payload) for key, payload in messages.items()):
                ordered.sort(key=lambda key: key[0] != VIDEO)
            self._snapshot = tuple((key[0], messages[key]) for key in ordered)
        return self._snapshot

    def _video_config_change(self) -> Change:
        """Compare the default track's config with its last one, which may have ended since."""
        before = self._last_video_config
        _, now = self._slots[Slot(VIDEO, self.default_video_track, "config")]
        self._last_video_config = now
        return Change.CHANGED if before is None or now == before else Change.RESTART


def _is_enhanced(type_id: int, payload: bytes) -> bool:
    first = payload[0]
    return first >= 0x80 if type_id == VIDEO else first >> 4 == ENHANCED_SOUND_FORMAT

"""What the messages of one publication mean: headers, metadata, keyframes; and so what its joiners are told.

Puts what is no plain frame into the log of an output; who reads that is the channel's affair. Never blocks.
"""

from __future__ import annotations

from typing import Any, Final

from ..media import classify
from ..media.enhanced import KEYFRAME_TYPES
from ..media.headers import Change
from ..media.metadata import DataKind, metadata_from
from ..protocol import messages
from .budget import Budget
from .framing import RtmpFraming
from .joints import Joints
from .output import Output
from .player import Player
from .preamble import Preamble
from .segment import DATA, HEADER, KEYFRAME, frame_kinds

# Flags of messages that are more than a frame.
SPECIAL: Final = classify.KEYFRAME | classify.HEADER | classify.END | classify.TRACK_KEYFRAME


class Contents:
    """What is known of one publication beside its log. Changed by its channel only."""

    __slots__ = ("_framing", "_headers_end", "has_frames", "is_flagged", "joints", "preamble")

    def __init__(self, framing: RtmpFraming, budget: Budget, now: float, keep_stream: bool) -> None:
        self.preamble = Preamble(framing, budget)
        self.joints = Joints(now, keep_stream)
        self.has_frames = False  # media since the last new configuration
        self.is_flagged = False  # its encoder says which frames are keyframes
        self._framing = framing
        self._headers_end = 0  # count of messages after the last header

    def frames_come(self) -> None:
        """Take note of media: it need not be told again before the next special message."""
        self.has_frames = True

    def add_special(
        self, output: Output, type_id: int, timestamp: int, payload: bytes, flags: int, kind: int, now: float
    ) -> None:
        """Add a header, a keyframe or an end of sequence."""
        log, preamble = output.log, self.preamble
        data = self._framing.frame(type_id, timestamp, payload)
        if flags & classify.KEYFRAME or (
            flags & classify.TRACK_KEYFRAME and classify.track_id(payload) == preamble.default_video_track
        ):
            output.flush_before_keyframe()
            self.joints.keyframe(log, now)
            self.is_flagged = self.is_flagged or payload[0] >> 4 & 7 in KEYFRAME_TYPES
            self.has_frames = True
            log.append(data, kind | KEYFRAME, timestamp, now, len(payload))
            output.trim()
        elif flags & (classify.HEADER | classify.END):
            if log.count != self._headers_end:
                preamble.note_frames()
            change = preamble.update(type_id, payload, flags)
            if change is Change.RESTART:
                self.has_frames = False  # what was cached is coded otherwise
            log.append(data, kind | HEADER, timestamp, now, None)
            self._headers_end = log.count
            if change is not Change.UNCHANGED:
                log.headers.note(log.end, preamble.headers)
            if not self.has_frames:
                self.joints.beginning(log, now)  # joiners are told of it before media
        else:  # a keyframe of another track than the default one
            self.has_frames = True
            log.append(data, kind, timestamp, now, len(payload))

    def add_data(self, output: Output, type_id: int, timestamp: int, payload: bytes, now: float) -> None:
        """Add a data message, which may be metadata."""
        item = metadata_from(payload, type_id == messages.DATA_AMF3)
        if item.kind is not DataKind.RELAY:
            self.preamble.take_data(item)
        if item.kind is DataKind.CLEAR:
            return
        is_start = item.kind is DataKind.STORE and not self.has_frames
        if item.kind is DataKind.STORE:
            timestamp = 0  # at any other time FFmpeg takes metadata for a subtitle stream
        data = self._framing.frame(messages.DATA_AMF0, timestamp, item.payload)
        output.log.append(data, DATA, timestamp, now, None if is_start else len(payload))
        if is_start:
            self.joints.beginning(output.log, now)

    def welcome(self, output: Output, player: Player, now: float) -> None:
        """Tell a player what comes before media, and start it."""
        log, state = output.log, player.state
        place = self.joints.place(log, state, now)
        player.await_keyframe(self.joints.waits(log, place, self.has_frames, now))
        time = log.time_from(place, frame_kinds(state.mask, state.needs_keyframe))
        player.sink.reply(self.preamble.start(log.headers.at(place), time, state.msid))
        output.start(player, place)
        if state.cache == "clear":
            log.keep_from_joint()
        player.sink.kick()

    # --- to another process -----------------------------------------------------------------------

    def marks(self) -> dict[str, Any]:
        """Return what a flush may change: numbers only."""
        return {
            "joints": self.joints.snapshot(),
            "has_frames": self.has_frames,
            "is_flagged": self.is_flagged,
            "headers_end": self._headers_end,
        }

    def follow(self, marks: dict[str, Any]) -> None:
        """Know what another process knows by its marks, and its preamble if that comes with them."""
        self.joints.adopt(marks["joints"])
        self.has_frames = marks["has_frames"]
        self.is_flagged = marks["is_flagged"]
        self._headers_end = marks["headers_end"]
        preamble = marks.get("preamble")
        if preamble is not None:
            self.preamble.adopt(preamble)

    def snapshot(self) -> dict[str, Any]:
        """Return all of it, as `follow` takes it."""
        return {**self.marks(), "preamble": self.preamble.snapshot()}

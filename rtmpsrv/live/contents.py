"""What the messages of one publication mean: headers, metadata, keyframes; and so what its joiners are told.

Puts what is no plain frame into the log of an output; who reads that is the channel's affair. Never blocks.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Iterable, Iterator
from math import inf
from typing import TYPE_CHECKING, Any, Final

from ..media import classify
from ..media.enhanced import KEYFRAME_TYPES
from ..media.headers import Change
from ..media.metadata import DataKind, metadata_from
from ..protocol import messages
from .budget import Budget
from .framing import RtmpFraming
from .joints import AUDIO_JOINT_S, ENDLESS_GOP_S, VIDEO_PAUSE_S, Joints
from .log import Log
from .output import Output
from .player import FLV, Player
from .preamble import Preamble
from .segment import AUDIO, DATA, HEADER, KEYFRAME, VIDEO, frame_kinds
from .splice import Splice, Time, digests, newest
from .vitals import Vitals

if TYPE_CHECKING:
    from .beside import Beside

# Flags of messages that are more than a frame.
SPECIAL: Final = classify.KEYFRAME | classify.HEADER | classify.END | classify.TRACK_KEYFRAME

Message = tuple[int, int, int, bytes, int]  # as the chunk reader delivers it


class Contents:
    """What is known of one publication beside its log. Changed by its channel only."""

    __slots__ = (
        "_budget", "_framing", "_headers_end", "_keep_stream", "_kinds", "_kinds_from", "_last", "_splice",
        "_video_at", "has_frames", "is_flagged", "joints", "key", "origin", "preamble", "publisher_at",
        "spliced_at", "vitals", "waits",
    )  # fmt: skip

    def __init__(
        self, framing: RtmpFraming, budget: Budget, now: float, keep_stream: bool, key: str | None = None
    ) -> None:
        self.waits = False  # those who join do, since one publisher is gone and nothing came from the next
        self._splice: Splice | None = None  # where one publisher went on for another
        self.preamble = Preamble(framing, budget)
        self.vitals = Vitals(now)
        self.joints = Joints(now, keep_stream)
        self.has_frames = False  # media since the last new configuration
        self.is_flagged = False  # its encoder says which frames are keyframes
        self.origin: int | None = None  # timestamp of the first frame of all
        self.publisher_at = now  # when the present publisher came
        self.spliced_at: int | None = None  # where the log goes on with what is the last publisher's
        self.key = _encoded(key)  # what players must have; None: nothing
        self._budget = budget
        self._framing = framing
        self._keep_stream = keep_stream
        self._headers_end = 0  # count of messages after the last header
        self._kinds = 0  # of frames of the present publisher, as far as the log forgets them
        self._kinds_from = 0  # position at which that one began
        self._video_at = -inf  # the last video
        self._last: Time | None = None  # some of the last frames, for when the log has forgotten them

    def accepts_key(self, key: str) -> bool:
        """Tell whether a player may come with a key; compares in constant time."""
        return self.key is None or hmac.compare_digest(key.encode("utf-8", "surrogateescape"), self.key)

    def close(self) -> None:
        """Hold nothing any more."""
        self.key = None
        self.preamble.close()

    def append(self, output: Output, batch: Iterable[Message], now: float) -> None:
        """Add messages of the publisher to the log, and know what they mean."""
        log, framing, vitals = output.log, self._framing, self.vitals
        if now >= vitals.due_at:
            vitals.tracks.read(self.preamble.headers)
            vitals.take(log)
        looks = vitals.tracks.looks
        if self._splice is not None:
            batch = self._spliced(log, batch, now)
        kind, has_video, is_flagged, has_frames = 0, False, self.is_flagged, self.has_frames
        last = -1  # time of a frame
        for type_id, timestamp, _msid, payload, _csid in batch:
            if type_id == messages.VIDEO:
                flags, kind = classify.classify_video(payload), VIDEO
                has_video = True
                if not is_flagged and flags == classify.FRAME:
                    flags |= classify.keyframe_inside(payload)
            elif type_id == messages.AUDIO:
                flags, kind = classify.classify_audio(payload), AUDIO
            else:
                self._add_data(output, type_id, timestamp, payload, now)
                continue
            if kind & looks:
                looks = vitals.tracks.look(kind, payload, flags, now)
            if flags & SPECIAL:
                self._add_special(output, type_id, timestamp, payload, flags, kind, now)
                has_frames, looks = self.has_frames, vitals.tracks.looks
            else:
                if not has_frames:
                    has_frames = self.has_frames = True
                    self._note_origin(timestamp)
                log.append(framing.frame(type_id, timestamp, payload), kind, timestamp, now, len(payload))
                last = timestamp
        if last >= 0:
            self._last = last, now
        if has_video:
            if now - self._video_at > ENDLESS_GOP_S:
                self.joints.video_begins(now)
            self._video_at = now
        elif kind and now - self._video_at > VIDEO_PAUSE_S and now - self.joints.joint_at > AUDIO_JOINT_S:
            self.joints.sound_alone(log, self._video_at, now)

    def _add_special(
        self, output: Output, type_id: int, timestamp: int, payload: bytes, flags: int, kind: int, now: float
    ) -> None:
        """Add a header, a keyframe or an end of sequence."""
        log, preamble = output.log, self.preamble
        data = self._framing.frame(type_id, timestamp, payload)
        if self._starts_gop(payload, flags):
            output.flush_before_keyframe()
            self.joints.keyframe(log, now)
            self.is_flagged = self.is_flagged or payload[0] >> 4 & 7 in KEYFRAME_TYPES
            self.has_frames = True
            self._note_origin(timestamp)
            log.append(data, kind | KEYFRAME, timestamp, now, len(payload))
            output.trim()
        elif flags & (classify.HEADER | classify.END):
            if log.count != self._headers_end:
                preamble.note_frames()
            change = preamble.update(type_id, payload, flags)
            if change is not Change.UNCHANGED:
                self.vitals.tracks.configure(type_id, payload)
            if change is Change.RESTART:
                self.has_frames = False  # what was cached is coded otherwise
            log.append(data, kind | HEADER, timestamp, now, None)
            self._headers_end = log.count
            if change is not Change.UNCHANGED and not self.waits:
                log.headers.note(log.end, preamble.headers)
            if not self.has_frames:
                self.joints.beginning(log, now)  # joiners are told of it before media
        else:  # a keyframe of another track than the default one
            self.has_frames = True
            log.append(data, kind, timestamp, now, len(payload))

    def _add_data(self, output: Output, type_id: int, timestamp: int, payload: bytes, now: float) -> None:
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

    def welcome(self, output: Output, player: Player, now: float, beside: Callable[[Output], Beside]) -> bool:
        """Tell a player what comes before media, and start it; not while all wait.

        False: its key is not the publisher's.
        """
        log, state = output.log, player.state
        if self.waits:
            return True
        if state.key is not None and not self.accepts_key(state.key):
            return False
        if state.form == FLV:
            beside(output).welcome(output, player)
            return True
        place = self.joints.place(log, state, now)
        player.await_keyframe(self.joints.waits(log, place, self.has_frames, now))
        time = log.time_from(place, frame_kinds(state.mask, state.needs_keyframe))
        player.sink.reply(self.preamble.start(log.headers.at(place), time, state.msid))
        output.start(player, place)
        if state.cache == "clear":
            log.keep_from_joint()
        player.sink.kick()
        return True

    def _note_origin(self, timestamp: int) -> None:
        if self.origin is None:
            self.origin = timestamp

    def before_trim(self, log: Log) -> None:
        """Learn from the log what it is about to forget."""
        if not log.closed:
            if self.vitals.lacks(log.segment_at(log.first).base):
                self.vitals.take(log)
            self._kinds = self.frame_kinds_of(log)

    def frame_kinds_of(self, log: Log) -> int:
        """Return of which kinds of media the present publisher has sent frames: a sum of AUDIO and VIDEO."""
        begin = max(log.begin, self._kinds_from)
        kinds = self._kinds
        for kind in (AUDIO, VIDEO):
            if not kinds & kind and log.find(begin, frame_kinds(kind, False)) is not None:
                kinds |= kind
        return kinds

    # --- from one publisher to the next -----------------------------------------------------------

    def suspend(self, log: Log, now: float) -> None:
        """Take note that the publisher is gone and another may go on, to which nothing fits that is kept."""
        headers, changes = self.preamble.headers, self.preamble.changes
        known = self._splice.known(headers) if self._splice is not None and self.waits else digests(headers)
        self._splice = Splice(newest(log) or self._last, known)
        self.vitals.tracks.read(headers)
        self.vitals.break_off(log)
        self.preamble.close()
        self.preamble = Preamble(self._framing, self._budget, changes + 1)
        self.joints = Joints(now, self._keep_stream)
        self._video_at = -inf
        self.has_frames = self.is_flagged = False
        self._headers_end = log.count
        self.waits = True
        self._kinds, self._kinds_from = 0, log.end
        log.forget()

    def go_on(self, now: float, key: str | None) -> None:
        """Take note of the next publisher."""
        self.key = _encoded(key)
        self.joints = Joints(now, self._keep_stream)
        self.publisher_at = now

    def _spliced(self, log: Log, batch: Iterable[Message], now: float) -> Iterator[Message]:
        """Yield what players are to get of a publisher that goes on for another, at the channel's time.

        One by one: the caller adds each message before it asks for the next.
        """
        splice = self._splice
        assert splice is not None, "somebody published before"
        for type_id, timestamp, msid, payload, csid in batch:
            if splice.is_settling(now) and type_id in _CLASSIFY:
                flags = _CLASSIFY[type_id](payload)
                if flags & (classify.HEADER | classify.END):
                    if splice.repeats(type_id, payload):
                        self._take_header(log, type_id, payload, flags, now)
                        continue
                elif flags & classify.FRAME:
                    if type_id == messages.VIDEO and splice.holds_back(self._starts_gop(payload, flags), now):
                        continue
                    if self.waits:
                        self._begin(splice, log, timestamp, now)
            yield type_id, splice.time(timestamp, now), msid, payload, csid

    def _take_header(self, log: Log, type_id: int, payload: bytes, flags: int, now: float) -> None:
        """Know a header for joiners; all others have it."""
        if log.count != self._headers_end:
            self.preamble.note_frames()
            self._headers_end = log.count
        change = self.preamble.update(type_id, payload, flags)
        if change is not Change.UNCHANGED:
            self.vitals.tracks.configure(type_id, payload)
            if not self.waits:
                log.headers.note(log.end, self.preamble.headers)

    def _begin(self, splice: Splice, log: Log, timestamp: int, now: float) -> None:
        """Take note that the first frame comes: from here on players can join."""
        splice.begin(timestamp, now)
        self.waits = False
        self.spliced_at = log.end
        log.headers.note(log.end, self.preamble.headers)
        self.joints.beginning(log, now)

    def _starts_gop(self, payload: bytes, flags: int) -> bool:
        """Tell whether a message is a keyframe of the default track."""
        if flags & classify.TRACK_KEYFRAME:
            return classify.track_id(payload) == self.preamble.default_video_track
        return bool(flags & classify.KEYFRAME)

    # --- to another process -----------------------------------------------------------------------

    def marks(self) -> dict[str, Any]:
        """Return what a flush may change: numbers, and the key."""
        return {
            "key": self.key,
            "waits": self.waits,
            "joints": self.joints.snapshot(),
            "video_at": self._video_at,
            "has_frames": self.has_frames,
            "is_flagged": self.is_flagged,
            "headers_end": self._headers_end,
            "origin": self.origin,
            "publisher_at": self.publisher_at,
            "spliced_at": self.spliced_at,
            "kinds": (self._kinds, self._kinds_from),
        }

    def follow(self, marks: dict[str, Any]) -> None:
        """Know what another process knows by its marks, and its preamble if that comes with them."""
        self.key, self.waits = marks["key"], marks["waits"]
        self.joints.adopt(marks["joints"])
        self._video_at = marks["video_at"]
        self.has_frames = marks["has_frames"]
        self.is_flagged = marks["is_flagged"]
        self._headers_end = marks["headers_end"]
        self.origin = marks.get("origin")  # older versions tell none of these
        self.publisher_at = marks.get("publisher_at", self.publisher_at)
        self.spliced_at = marks.get("spliced_at")
        self._kinds, self._kinds_from = marks.get("kinds", (0, 0))
        preamble = marks.get("preamble")
        if preamble is not None:
            self.preamble.adopt(preamble)

    def snapshot(self) -> dict[str, Any]:
        """Return all of it, as `adopt` takes it, and `follow`."""
        splice = self._splice.snapshot() if self._splice is not None else None
        return {
            **self.marks(),
            "preamble": self.preamble.snapshot(),
            "splice": splice,
            "last": self._last,
            "vitals": self.vitals.snapshot(),
        }

    def adopt(self, value: dict[str, Any]) -> None:
        """Know what another process knows."""
        self.follow(value)
        self._last = value["last"]
        self.vitals.adopt(value.get("vitals"))  # older versions send none
        self._splice = Splice.adopted(value["splice"]) if value["splice"] is not None else None


def _encoded(key: str | None) -> bytes | None:
    return key.encode("utf-8", "surrogateescape") if key is not None else None


def _video_flags(payload: bytes) -> int:
    """Return the flags of a video message, also of an encoder that flags no keyframes."""
    flags = classify.classify_video(payload)
    return flags | classify.keyframe_inside(payload) if flags == classify.FRAME else flags


_CLASSIFY: Final[dict[int, Callable[[bytes], int]]] = {
    messages.VIDEO: _video_flags,
    messages.AUDIO: classify.classify_audio,
}

"""A channel: one name, its publication, and who plays it. Never blocks, so it needs no locks.

What was published goes into the log of an output, which sends it. The channel knows what the messages mean:
which of them is a header or a keyframe, and what players are told at the beginning and the end.
"""

from __future__ import annotations

import hmac
from collections.abc import Iterable
from math import inf
from typing import Any, Final

from ..media import classify
from ..media.enhanced import KEYFRAME_TYPES
from ..media.headers import Change
from ..media.metadata import DataKind, metadata_from
from ..protocol import messages
from .budget import Budget
from .framing import RtmpFraming
from .joints import AUDIO_JOINT_S, ENDLESS_GOP_S, VIDEO_PAUSE_S, Joints
from .news import News, NewsOf
from .output import Clock, LiveLimits, Output
from .player import Player
from .preamble import Preamble
from .segment import AUDIO, DATA, HEADER, KEYFRAME, VIDEO, frame_kinds

CHECK_S: Final = 0.5  # how often laggards whose sockets stay full are looked at

_SPECIAL: Final = classify.KEYFRAME | classify.HEADER | classify.END | classify.TRACK_KEYFRAME
_KINDS: Final = {messages.AUDIO: AUDIO, messages.VIDEO: VIDEO}
_NOTHING: list[NewsOf] = []  # never changed


class Channel:
    """One name on the air, or waiting for its publisher. All state changes in methods that never block."""

    def __init__(self, name: str, clock: Clock, budget: Budget, limits: LiveLimits, chunk_size: int) -> None:
        self.name = name
        self.players: set[Player] = set()
        self.output: Output | None = None  # None while nobody publishes
        self.publication = 0  # counts publishers
        self._limits = limits
        self._framing = RtmpFraming(chunk_size)
        self._clock = clock
        self._now = clock.now
        self._budget = budget
        self._ended: dict[int, Output] = {}  # by publication; players still read them
        self._news: list[NewsOf] = []
        self._next_check = 0.0
        self._key: bytes | None = None
        self._reset()

    def _reset(self) -> None:
        self._preamble = Preamble(self._framing, self._budget)
        self._joints = Joints(self._now(), self._limits.keep_stream)
        self._video_at = -inf
        self._has_frames = False  # media since the last new configuration
        self._headers_end = 0  # count of messages after the last header
        self._is_flagged = False  # its encoder says which frames are keyframes

    @property
    def live(self) -> bool:
        """Whether somebody publishes."""
        return self.output is not None

    # --- the publisher ----------------------------------------------------------------------------

    def start(self, key: str | None = None) -> list[NewsOf]:
        """Go on the air: waiting players whose key is the publisher's are started, others are refused."""
        assert self.output is None, "one publisher at a time; the host asks before"
        self._reset()
        self._key = key.encode("utf-8", "surrogateescape") if key is not None else None
        self.publication += 1
        self.output = Output(self.publication, self._framing, self._clock, self._budget, self._limits, self)
        for player in [player for player in self.players if player.state.waiting]:
            self._welcome(player)
        return self.take_news()

    def append(self, batch: Iterable[tuple[int, int, int, bytes, int]]) -> list[NewsOf]:
        """Add messages of the publisher, as the chunk reader delivers them, and flush if that is due."""
        output = self.output
        if output is None:
            return _NOTHING
        now = self._now()
        log, framing = output.log, self._framing
        base = log.tail.base  # not the segment, which a reference would keep
        kind, has_video, is_flagged = 0, False, self._is_flagged
        for type_id, timestamp, _msid, payload, _csid in batch:
            if type_id == messages.VIDEO:
                flags, kind = classify.classify_video(payload), VIDEO
                has_video = True
                if not is_flagged and flags == classify.FRAME:
                    flags |= classify.keyframe_inside(payload)
            elif type_id == messages.AUDIO:
                flags, kind = classify.classify_audio(payload), AUDIO
            else:
                self._append_data(output, type_id, timestamp, payload, now)
                continue
            if flags & _SPECIAL:
                self._append_special(output, type_id, timestamp, payload, flags, kind, now)
            else:
                self._has_frames = True
                log.append(framing.frame(type_id, timestamp, payload), kind, timestamp, now, len(payload))
        if has_video:
            if now - self._video_at > ENDLESS_GOP_S:
                self._joints.video_begins(now)
            self._video_at = now
        elif kind and now - self._video_at > VIDEO_PAUSE_S and now - self._joints.joint_at > AUDIO_JOINT_S:
            self._joints.sound_alone(log, self._video_at, now)
        output.flush_if_due()
        if log.tail.base != base:
            output.trim()
        if now >= self._next_check:
            self._check(output, now)
        if self._budget.used_bytes > self._budget.limit_bytes:
            self._budget.relieve()
        return self.take_news() if self._news else _NOTHING

    def stop(self) -> None:
        """Go off the air: players get the rest of the log, then are told, then wait."""
        output = self.output
        if output is None:
            return
        output.end()
        self.output = None
        self._key = None
        self._preamble.close()
        for player in list(output.audience):
            if not player.has_cursor:
                output.leave(player)
                self._tell_end(player)
        if len(output.audience):
            self._ended[output.publication] = output

    def take_news(self) -> list[NewsOf]:
        """Return what happened to players since the last call, for the host to tell of."""
        news, self._news = self._news, []
        return news

    # --- players ----------------------------------------------------------------------------------

    def accepts_key(self, key: str) -> bool:
        """Tell whether `key` is the live publisher's; compares in constant time."""
        return self._key is None or hmac.compare_digest(key.encode("utf-8", "surrogateescape"), self._key)

    def join(self, player: Player) -> None:
        """Add a player; it is started now if the channel is live, otherwise by the next publisher."""
        self.players.add(player)
        if self.output is not None:
            self._welcome(player)

    def leave(self, player: Player) -> None:
        """Remove a player. Idempotent."""
        self.release(player)
        player.finish()
        self._drop_ended()

    def release(self, player: Player) -> None:
        """Let go of a player, whose state then says where it was, so that `resume` can take it in again."""
        self.players.discard(player)
        if player.output is not None:
            player.output.leave(player)

    def resume(self, player: Player) -> None:
        """Take in a player that was released, perhaps by another process."""
        self.players.add(player)
        state, live = player.state, self.output
        output = live if state.publication == self.publication else None
        output = output or self._ended.get(state.publication)
        if not state.waiting and output is not None and output.log.begin <= state.position:
            output.resume(player)
            player.sink.kick()
        elif not state.waiting and (output is None or output is not live):
            self._tell_end(player)
        elif live is not None:
            player.finish()  # nobody kept what it was about to read
            self._welcome(player)

    def pause(self, player: Player) -> None:
        """Send no more audio and video; a repeated pause does nothing."""
        state = player.state
        if not state.paused:
            player.sink.reply(self._framing.paused(state.msid))
            self._filter(player, state.wants, paused=True)

    def unpause(self, player: Player) -> None:
        """Go on at the next keyframe, headers first; does nothing for a player that is not paused."""
        state = player.state
        if state.paused:
            headers = () if state.waiting else self._preamble.headers
            time = player.next_time(state.wants, self.keyframe_to_come())
            player.sink.reply(self._framing.resumed(headers, time, state.msid))
            self._filter(player, state.wants, paused=False)

    def receive(self, player: Player, wants: int) -> None:
        """Change which kinds of messages a player gets: a sum of AUDIO, VIDEO and DATA."""
        state = player.state
        back = wants & ~state.wants
        if back and not state.waiting and not state.paused:
            # They may have changed while the player did not get them.
            missed = tuple(header for header in self._preamble.headers if _KINDS[header[0]] & back)
            if missed:
                time = player.next_time(back, self.keyframe_to_come())
                player.sink.reply(self._framing.headers(missed, time, state.msid))
        self._filter(player, wants, state.paused)

    def _filter(self, player: Player, wants: int, paused: bool) -> None:
        had_video = player.state.mask & VIDEO
        player.fall_behind()
        player.filter(wants, paused)
        if not player.state.waiting and not had_video:
            player.await_keyframe(self.keyframe_to_come())
        player.sink.kick()

    # --- called by outputs ------------------------------------------------------------------------

    def finished(self, output: Output, player: Player) -> None:
        """Tell a player that its publisher left; start it again if the next one is there already."""
        self._tell_end(player)
        self._drop_ended()

    def jumped(self, player: Player) -> None:
        """Take note that a player left something out."""
        self._news.append((News.JUMPED, player))

    def keyframe_to_come(self) -> bool:
        """Tell whether it is worth waiting for a keyframe before sending video."""
        return self._joints.keyframe_to_come(self._now())

    # --- what the process keeps -------------------------------------------------------------------

    def oldest_kept_s(self) -> float | None:
        """Return when the oldest message that this channel keeps arrived; None when it keeps none."""
        return self.output.log.oldest_kept_s() if self.output is not None else None

    def shed(self) -> None:
        """Give back the oldest part of the cache, because the process holds too much."""
        if self.output is not None:
            self.output.log.shed()
            self.output.flush()  # lets go of what was flushed last
            self.output.trim()

    def skip_laggards(self) -> None:
        """Let laggards leave out all they can, because the process holds too much."""
        self._drop_ended()
        for output in [*self._ended.values(), *([self.output] if self.output is not None else [])]:
            output.skip_laggards()

    def end_position(self) -> int:
        """Return how many bytes the log of this publication has had so far."""
        return self.output.log.end if self.output is not None else 0

    def describe(self) -> dict[str, Any]:
        """Return what an operator wants to know."""
        about: dict[str, Any] = {
            "name": self.name,
            "live": self.live,
            "publication": self.publication,
            "players": len(self.players),
            "waiting": sum([player.state.waiting for player in self.players]),
            "ended_outputs": len(self._ended),
        }
        return about | (self.output.describe() if self.output is not None else {})

    # --- private ----------------------------------------------------------------------------------

    def _append_special(
        self, output: Output, type_id: int, timestamp: int, payload: bytes, flags: int, kind: int, now: float
    ) -> None:
        """Add a header, a keyframe or an end of sequence."""
        log = output.log
        data = self._framing.frame(type_id, timestamp, payload)
        if flags & classify.KEYFRAME or (
            flags & classify.TRACK_KEYFRAME
            and classify.track_id(payload) == self._preamble.default_video_track
        ):
            output.flush_before_keyframe()
            self._joints.keyframe(log, now)
            self._is_flagged = self._is_flagged or payload[0] >> 4 & 7 in KEYFRAME_TYPES
            self._has_frames = True
            log.append(data, kind | KEYFRAME, timestamp, now, len(payload))
            output.trim()
        elif flags & (classify.HEADER | classify.END):
            if log.count != self._headers_end:
                self._preamble.note_frames()
            change = self._preamble.update(type_id, payload, flags)
            if change is Change.RESTART:
                self._has_frames = False  # what was cached is coded otherwise
            log.append(data, kind | HEADER, timestamp, now, None)
            self._headers_end = log.count
            if change is not Change.UNCHANGED:
                log.note_headers(self._preamble.headers)
            if not self._has_frames:
                self._joints.beginning(log, now)  # joiners are told of it before media
        else:  # a keyframe of another track than the default one
            self._has_frames = True
            log.append(data, kind, timestamp, now, len(payload))

    def _append_data(self, output: Output, type_id: int, timestamp: int, payload: bytes, now: float) -> None:
        item = metadata_from(payload, type_id == messages.DATA_AMF3)
        if item.kind is not DataKind.RELAY:
            self._preamble.take_data(item)
        if item.kind is DataKind.CLEAR:
            return
        is_start = item.kind is DataKind.STORE and not self._has_frames
        if item.kind is DataKind.STORE:
            timestamp = 0  # at any other time FFmpeg takes metadata for a subtitle stream
        data = self._framing.frame(messages.DATA_AMF0, timestamp, item.payload)
        output.log.append(data, DATA, timestamp, now, None if is_start else len(payload))
        if is_start:
            self._joints.beginning(output.log, now)

    def _check(self, output: Output, now: float) -> None:
        self._next_check = now + CHECK_S
        self._drop_ended()
        self._joints.check(output.log, now)
        output.see_to_laggards(self._joints.waits_in_vain(now))
        output.trim()

    def _tell_end(self, player: Player) -> None:
        player.finish()
        player.sink.reply(self._framing.unpublished(player.state.msid))
        if self.output is not None:
            self._welcome(player)

    def _drop_ended(self) -> None:
        for output in [output for output in self._ended.values() if not len(output.audience)]:
            del self._ended[output.publication]

    def _welcome(self, player: Player) -> None:
        """Start a player, or refuse it if its key is not the publisher's."""
        state, output = player.state, self.output
        assert output is not None, "players start while somebody publishes"
        if state.key is not None and not self.accepts_key(state.key):
            self.players.discard(player)
            self._news.append((News.REFUSED, player))
            return
        log, joints, now = output.log, self._joints, self._now()
        place = joints.place(log, state, now)
        player.await_keyframe(joints.waits(log, place, self._has_frames, now))
        time = log.time_from(place, frame_kinds(state.mask, state.needs_keyframe))
        player.sink.reply(self._preamble.start(log.headers_at(place), time, state.msid))
        output.start(player, place)
        if state.cache == "clear":
            log.keep_from_joint()
        player.sink.kick()

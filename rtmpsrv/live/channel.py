"""A channel: one publisher's log, and the players that read it. Never blocks, so needs no locks.

`append` adds what the publisher sent, `flush` sends it to all followers at once. How long messages may
wait to be sent together is decided here too (see `_due`): a channel with few players adds no delay, one
with many spends latency where it buys CPU.
"""

from __future__ import annotations

import hmac
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

from ..media import classify
from ..media.headers import Change, HeaderCache
from ..media.metadata import DataKind, metadata_from
from ..protocol import messages
from ..protocol.chunks import pack
from . import notices
from .fanout import FanOut, Range
from .player import EVERYTHING, SHARED_MSID, Player
from .segment import AUDIO, DATA, HEADER, KEYFRAME, VIDEO, Budget, Segment

# A flush that took t makes the next one wait 20 t, so that fan-out of one channel stays near 5% of a core.
# When MSG_BUFFER_SIZE messages wait, or a keyframe, it comes sooner, but never before 2 t: a channel with
# more players than a core can serve message by message merges all the same, instead of starving the rest.
REST_FACTOR = 20
FULL_REST_FACTOR = 2
# It never waits longer than this, which is less than a frame at 30 fps: then each frame goes at once.
MAX_REST_S = 0.027
# Where a flush is dear latency buys CPU: the oldest message waits until the third frame goes with it, 30 fps
# given. docs/performance.md has what that saves.
DEAR_FLUSH_S = 0.006
MAX_WAIT_S = 0.065
LEEWAY_S = 0.003  # of the timer behind that: the frame that is about to arrive brings its flush about itself
LAG_CHECK_S = 0.5  # how often laggards whose sockets stay full are looked at
MESSAGE_OVERHEAD = 65  # bytes counted for each cached message, as the reference does
AUDIO_SEGMENT_S = 2.0  # audio has no keyframes: joiners start at most this far back
# A stream without a keyframe for so long has an endless GOP (intra refresh): joiners start anywhere.
ENDLESS_GOP_S = 20.0
MAX_STORED_DATA = 16  # data messages kept for joiners, by name; real streams have one or two
UNCACHED_SEGMENT_BYTES = 1 << 20  # without a cache old bytes are given back in pieces of this size


_SPECIAL = classify.KEYFRAME | classify.HEADER | classify.END | classify.TRACK_KEYFRAME


class Timer(Protocol):
    """A call to come."""

    def stop(self) -> None:
        """Do not call, if that has not happened yet."""


class Clock(Protocol):
    """Time and timers of the process; tests bring their own."""

    def now(self) -> float:
        """Return monotonic seconds."""

    def call_later(self, delay_s: float, callback: Callable[[], None]) -> Timer:
        """Call `callback`, which must not block, once after `delay_s`; keep the result until then."""


@dataclass(frozen=True, slots=True)
class LiveLimits:
    """Bounds of one channel; bytes and seconds."""

    cache_bytes: int = 256 << 20
    keep_stream: bool = False  # keep everything since the stream began, not just the current GOP
    merge_messages: int = 8
    lag_bytes: int = 8 << 20
    lag_s: float = 10.0


Position = tuple[Segment, int]


class Channel:
    """One name on the air, or waiting for its publisher. All state changes in methods that never block."""

    def __init__(self, name: str, clock: Clock, budget: Budget, limits: LiveLimits, chunk_size: int) -> None:
        self.name = name
        self.limits = limits
        self.chunk_size = chunk_size
        self.players: set[Player] = set()
        self.live = False
        self.publication = 0  # counts publishers
        self.flushed_segment: Segment
        self.flushed_offset = 0
        self._clock = clock
        self._budget = budget
        self._key: bytes | None = None
        self._followers = FanOut()
        self._walkers: set[Player] = set()  # up to date, but off the fast lane
        self._timer: Timer | None = None
        self._timer_at = 0.0
        self._flushed_at = 0.0
        self._flushes_took = 0.0, 0.0  # seconds: the last but one, the last
        self._next_lag_check = 0.0
        self._reset()

    def _reset(self) -> None:
        self._headers = HeaderCache()
        self._metadata: dict[str, bytes] = {}
        self._has_video = False
        self._has_frames = False  # media since the last new configuration
        self._clearing = False  # ?cache=clear was served: keep no more than the current GOP
        self._cached_bytes = 0  # payload and overhead of frames since the joint
        self._unsent: list[bytes] = []
        self._oldest_unsent = 0.0
        self._hurry = False  # a keyframe is among them
        self._newest_keyframe: Segment | None = None
        self._keyframe_at = self._clock.now()  # or the stream's begin
        self._tail = Segment(0, 0, (), self._budget)
        self._segments = deque((self._tail,))  # what the channel itself keeps, for joiners
        self._joint: Position | None = (self._tail, 0) if self.limits.cache_bytes else None
        self.flushed_segment, self.flushed_offset = self._tail, 0

    # --- the publisher ----------------------------------------------------------------------------

    def start(self, key: str | None = None) -> None:
        """Go on the air; waiting players whose key is the publisher's are started, others are refused."""
        assert not self.live, "one publisher at a time; the host asks before"
        self._reset()
        self._key = key.encode("utf-8", "surrogateescape") if key is not None else None
        self.live = True
        self.publication += 1
        for player in list(self.players):
            if player.waiting:
                self._welcome(player)

    def append(self, batch: Iterable[tuple[int, int, int, bytes, int]]) -> None:
        """Add messages of the publisher, as the chunk reader delivers them, and flush if that is due."""
        if not self.live:
            return
        now = self._clock.now()
        chunk_size = self.chunk_size
        if not self._unsent:
            self._oldest_unsent = now
        for type_id, timestamp, _msid, payload, _csid in batch:
            if type_id == messages.VIDEO:
                flags = classify.classify_video(payload)
                kind, csid = VIDEO, messages.VIDEO_CSID
                self._has_video = True
            elif type_id == messages.AUDIO:
                flags = classify.classify_audio(payload)
                kind, csid = AUDIO, messages.AUDIO_CSID
            else:
                self._append_data(type_id, timestamp, payload, now)
                continue
            data = pack(csid, timestamp, type_id, SHARED_MSID, payload, chunk_size)
            if flags & _SPECIAL:
                kind = self._turn(type_id, payload, flags, kind)
            self._tail.append(data, kind, now)
            self._unsent.append(data)
            if kind & HEADER:
                if not self._has_frames:
                    self._restart_cache()
            else:
                self._has_frames = True
                self._cached_bytes += len(payload) + MESSAGE_OVERHEAD
        self._trim(now)
        self._flush_if_due()
        if now >= self._next_lag_check:
            self._next_lag_check = now + LAG_CHECK_S
            self._see_to_players()
        if self._budget.used_bytes > self._budget.limit_bytes:
            self._budget.relieve()

    def stop(self) -> None:
        """Go off the air: players get the rest of the log, then are told, then wait."""
        if not self.live:
            return
        self.forget_cache()
        self.flush()  # lets go of what was flushed last, for players that stay to wait
        self.live = False
        self._key = None
        self._segments.clear()
        self._joint = None
        self._newest_keyframe = None
        for player in [*self._followers.players(), *self._walkers]:
            self._drop_from_lanes(player)
            self.player_finished(player)

    # --- players ----------------------------------------------------------------------------------

    def accepts_key(self, key: str) -> bool:
        """Tell whether `key` is the live publisher's; compares in constant time."""
        return self._key is None or hmac.compare_digest(key.encode("utf-8", "surrogateescape"), self._key)

    def join(self, player: Player) -> None:
        """Add a player; it is started now if the channel is live, otherwise by the next publisher."""
        player.channel = self
        self.players.add(player)
        if self.live:
            self._welcome(player)

    def leave(self, player: Player) -> None:
        """Remove a player. Idempotent."""
        self.players.discard(player)
        self._drop_from_lanes(player)
        player.finish()

    def pause(self, player: Player) -> None:
        """Send no more audio and video; a repeated pause does nothing (spec section 4.7)."""
        if not player.paused:
            player.paused = True
            player.sink.reply(notices.paused(player.msid, self.chunk_size))
            self._filter(player)

    def resume(self, player: Player) -> None:
        """Go on at the next keyframe, headers first; does nothing for a player that is not paused."""
        if not player.paused:
            return
        player.paused = False
        player.sink.reply(notices.unpausing(player.msid))
        if not player.waiting:
            player.sink.reply(notices.headers(self._headers.snapshot(), player.msid, self.chunk_size))
        player.sink.reply(notices.unpaused(player.msid, self.chunk_size))
        self._filter(player)

    def receive(self, player: Player, wants: int) -> None:
        """Change which kinds of messages a player gets: a sum of AUDIO, VIDEO and DATA."""
        back = wants & ~player.wants
        player.wants = wants
        if back and not player.waiting and not player.paused:
            # They may have changed while the player did not get them.
            kinds = {messages.AUDIO: AUDIO, messages.VIDEO: VIDEO}
            missed = tuple(header for header in self._headers.snapshot() if kinds[header[0]] & back)
            player.sink.reply(notices.headers(missed, player.msid, self.chunk_size))
        self._filter(player)

    def _filter(self, player: Player) -> None:
        had_video = player.mask & VIDEO
        player.mask = DATA if player.paused else player.wants
        if not player.mask & VIDEO:
            player.needs_keyframe = False
        if not player.waiting:
            if player.segment is None:
                self._drop_from_lanes(player)
                player.segment, player.offset = self.flushed_segment, self.flushed_offset
            if player.mask & VIDEO and not had_video:
                player.needs_keyframe = self._keyframe_to_come()
        player.sink.kick()

    def player_arrived(self, player: Player) -> None:
        """Take over a player that was sent everything flushed: the channel holds its place from now on."""
        if not self.live:
            self.player_finished(player)
            return
        player.segment = None
        if player.mask != EVERYTHING or player.needs_keyframe or player.msid != SHARED_MSID:
            self._walkers.add(player)
            return
        self._followers.add(player, self._flushed_position())

    def player_finished(self, player: Player) -> None:
        """Tell a player that its publisher left; start it again if the next one is there already."""
        player.finish()
        player.sink.reply(notices.unpublished(player.msid, self.chunk_size))
        if self.live:
            self._welcome(player)

    def skip_if_behind(self, player: Player, allowance_bytes: int, allowance_s: float) -> bool:
        """Move a player that is further behind than it may be to the newest keyframe ahead of it.

        Where there is none it goes on, up to twice the allowance; then it waits for the next one.
        """
        segment = player.segment
        if segment is None or segment is self._tail or player.publication != self.publication:
            return False
        behind = self.end_position() - player.position()
        number = segment.message_at(player.offset)
        late = self._clock.now() - segment.arrivals[number] if number < len(segment.arrivals) else 0.0
        if behind <= allowance_bytes and late <= allowance_s:
            return False
        return self.skip(player, behind > 2 * allowance_bytes or late > 2 * allowance_s)

    def skip(self, player: Player, to_the_end: bool) -> bool:
        """Move a player to the newest keyframe, or else to the end of the log; False if it stays."""
        segment = player.segment
        target = self._newest_keyframe
        if segment is None or player.publication != self.publication:
            return False
        if target is not None and target.base > player.position():
            place: Position = (target, 0)
        elif not to_the_end or segment is self.flushed_segment:
            return False
        else:
            place = (self.flushed_segment, self.flushed_offset)
            player.needs_keyframe = self._keyframe_to_come() and bool(player.mask & VIDEO)
        if place[0] is not self.flushed_segment and place[0].base >= self._flushed_position():
            self.flush()
        known = segment.headers
        if any(flags & HEADER for flags in segment.flags[: segment.message_at(player.offset) + 1]):
            known = ()  # it may have been sent others since
        player.skip_to(*place)
        needed = self._headers.snapshot() if place[1] else place[0].headers
        changed = tuple(header for header in needed if header not in known)
        if changed:
            player.sink.offer(notices.headers(changed, player.msid, self.chunk_size))
        return True

    def end_position(self) -> int:
        """Return how many bytes the log of this publication has had so far."""
        return self._tail.base + self._tail.size

    def _keyframe_to_come(self) -> bool:
        """Tell whether it is worth waiting for a keyframe before sending video."""
        return self._has_video and self._clock.now() - self._keyframe_at < ENDLESS_GOP_S

    def _see_to_players(self) -> None:
        """See to those whose sockets stay full, since what they hold of the log is bounded, too.

        And to those who wait for a keyframe that does not come.
        """
        waiting_is_over = self._has_video and not self._keyframe_to_come()
        for player in self.players:
            if player.segment is not None:
                player.skip_if_behind()
            if waiting_is_over:
                player.needs_keyframe = False

    # --- fan-out ----------------------------------------------------------------------------------

    def flush(self) -> None:
        """Send everything appended since the last flush to every follower; never waits for one."""
        if self._timer is not None:
            self._timer.stop()
            self._timer = None
        unsent = self._unsent
        if not unsent:
            self.flushed_segment, self.flushed_offset = self._tail, self._tail.size
            return
        began = self._clock.now()
        segment, offset = self.flushed_segment, self.flushed_offset
        self._unsent = []
        self._oldest_unsent = began
        self._hurry = False
        ranges: list[Range] = []
        while True:
            count = segment.size - offset
            if count:
                ranges.append((segment, offset, count))
            if segment.next is None:
                break
            segment, offset = segment.next, 0
        self.flushed_segment, self.flushed_offset = segment, segment.size
        late = self._followers.send(ranges, unsent)
        for player, sent in late:
            self._fall_behind(player, *_place(ranges, sent))
        # Not before all have their places: a kick may end one player, and with it others of its session.
        for player, _ in late:
            player.sink.kick()
        if self._walkers:
            walkers, self._walkers = self._walkers, set()
            for player in walkers:
                player.segment, player.offset = ranges[0][0], ranges[0][1]
                player.sink.kick()
        self._flushed_at = self._clock.now()
        self._flushes_took = self._flushes_took[1], self._flushed_at - began

    def player_is_full(self, player: Player) -> None:
        """Take a follower off the fast lane: its sink has something else to write first."""
        if player.following:
            self._fall_behind(player, self.flushed_segment, self.flushed_offset)

    def _fall_behind(self, player: Player, segment: Segment, offset: int) -> None:
        self._followers.remove(player, segment.base + offset)
        player.segment, player.offset = segment, offset

    def _flush_if_due(self) -> None:
        """Flush now, or see to it that it happens in time."""
        if not self._unsent:
            return
        now = self._clock.now()
        took_s = min(self._flushes_took)  # of two: a hiccup of the machine says nothing about the next
        rest_s = took_s * REST_FACTOR
        leeway_s = 0.0
        if took_s < DEAR_FLUSH_S:
            due_at = self._flushed_at + min(rest_s, MAX_REST_S)
        else:
            due_at = min(self._flushed_at + rest_s, self._oldest_unsent + MAX_WAIT_S)
            leeway_s = LEEWAY_S
        if self._hurry or len(self._unsent) >= self.limits.merge_messages:
            full_at = self._flushed_at + took_s * FULL_REST_FACTOR
            if full_at <= due_at:
                due_at, leeway_s = full_at, 0.0
        if now >= due_at:
            self.flush()
        elif self._timer is None or due_at < self._timer_at:
            if self._timer is not None:
                self._timer.stop()
            self._timer_at = due_at
            self._timer = self._clock.call_later(due_at + leeway_s - now, self.flush)

    def _flushed_position(self) -> int:
        return self.flushed_segment.base + self.flushed_offset

    # --- the log ----------------------------------------------------------------------------------

    def _turn(self, type_id: int, payload: bytes, flags: int, kind: int) -> int:
        """Note a header, keyframe or end of sequence; return the index flags of its message."""
        if flags & classify.KEYFRAME or (
            flags & classify.TRACK_KEYFRAME
            and classify.track_id(payload) == self._headers.default_video_track
        ):
            self.flush()  # what waits does not wait for the sending of something so large, too
            self._hurry = True
            self._open_segment()
            self._newest_keyframe = self._tail
            self._keyframe_at = self._clock.now()
            self._joint = (self._tail, 0) if self.limits.cache_bytes else None
            self._cached_bytes = 0
            if not self.limits.keep_stream or self._clearing:
                self._keep_from(self._tail)
            return kind | KEYFRAME
        if flags & (classify.HEADER | classify.END):
            if self._headers.update(type_id, payload, flags) is Change.RESTART:
                self._has_frames = False  # what was cached is coded otherwise
            return kind | HEADER
        return kind

    def _append_data(self, type_id: int, timestamp: int, payload: bytes, now: float) -> None:
        item = metadata_from(payload, type_id == messages.DATA_AMF3)
        if item.kind is DataKind.CLEAR:
            self._metadata.pop(item.name, None)
            return
        if item.kind is DataKind.STORE:
            # At any other time than 0 FFmpeg takes metadata for a subtitle stream.
            timestamp = 0
            if item.name in self._metadata or len(self._metadata) < MAX_STORED_DATA:
                self._metadata[item.name] = item.payload
        data = pack(
            messages.DATA_CSID, timestamp, messages.DATA_AMF0, SHARED_MSID, item.payload, self.chunk_size
        )
        self._tail.append(data, DATA, now)
        self._unsent.append(data)
        if item.kind is DataKind.STORE and not self._has_frames:
            self._restart_cache()
        else:
            self._cached_bytes += len(payload) + MESSAGE_OVERHEAD

    def _open_segment(self) -> None:
        last = self._tail
        number = last.first_number + len(last.offsets)
        tail = Segment(self.end_position(), number, self._headers.snapshot(), self._budget)
        last.next = tail
        self._tail = tail
        self._segments.append(tail)

    def _restart_cache(self) -> None:
        """Let joiners start after what was appended last: a new configuration, or nothing to show yet."""
        self._open_segment()
        self._joint = (self._tail, 0) if self.limits.cache_bytes else None
        self._cached_bytes = 0
        self._keep_from(self._tail)

    def _keep_from(self, segment: Segment) -> None:
        """Give back older segments; players that are still there keep their own references."""
        while self._segments[0] is not segment:
            self._segments.popleft()

    def _trim(self, now: float) -> None:
        """Keep the cache within its bounds after an append."""
        tail = self._tail
        limit = self.limits.cache_bytes
        if self._cached_bytes > limit and (self._joint is not None or tail.size > UNCACHED_SEGMENT_BYTES):
            self.forget_cache()
        elif len(self._segments) > 1:
            while len(self._segments) > 1 and self._kept_bytes() > limit:
                self._segments.popleft()
        if not self._has_video and tail.arrivals and now - tail.arrivals[0] > AUDIO_SEGMENT_S:
            self._open_segment()
            self._newest_keyframe = self._tail  # audio can be joined anywhere
            self._joint = (self._tail, 0) if limit else None
            self._cached_bytes = 0
            if not self.limits.keep_stream or self._clearing:
                self._keep_from(self._tail)

    def _kept_bytes(self) -> int:
        """Return what the channel keeps, counted no lower than the reference counts its cache."""
        first, tail = self._segments[0], self._tail
        count = tail.first_number + len(tail.offsets) - first.first_number
        return self.end_position() - first.base + count * MESSAGE_OVERHEAD

    def forget_cache(self) -> None:
        """Give back everything; joiners start at the next keyframe."""
        if self._tail.size:
            self._open_segment()
        self._joint = None
        self._newest_keyframe = None
        self._cached_bytes = 0
        self._keep_from(self._tail)

    def oldest_kept_s(self) -> float | None:
        """Return when the oldest message that this channel keeps arrived; None when it keeps none."""
        for segment in self._segments:
            if segment.arrivals:
                return segment.arrivals[0]
        return None

    def shed(self) -> None:
        """Give back the oldest part of the cache, because the process holds too much."""
        if self._joint is not None and self._segments[0] is not self._joint[0]:
            self._segments.popleft()
        else:
            self.forget_cache()
            self.flush()  # lets go of what was flushed last

    # --- starting players -------------------------------------------------------------------------

    def _welcome(self, player: Player) -> None:
        if player.key is not None and not self.accepts_key(player.key):
            self.players.discard(player)
            player.sink.refuse("NetStream.Play.BadName", "Invalid stream key provided")
            return
        place = self._joint if player.cache != "no" else None
        player.needs_keyframe = False
        if place is None:
            player.needs_keyframe = (
                self._keyframe_to_come() and self._has_frames and bool(player.mask & VIDEO)
            )
            place = (self.flushed_segment, self.flushed_offset)
            known = self._headers.snapshot()
        else:
            if player.cache == "clear":
                place = (self._segments[0], 0)
                self._clearing = True
            if place[0] is not self.flushed_segment and place[0].base >= self._flushed_position():
                self.flush()
            known = place[0].headers
            flags = place[0].flags
            if VIDEO in flags and not flags[0] & KEYFRAME:  # the publisher began inside a GOP
                player.needs_keyframe = bool(player.mask & VIDEO)
        size = self.chunk_size
        player.sink.reply(
            notices.started(player.msid, size)
            + notices.metadata(tuple(self._metadata.values()), player.msid, size)
            + notices.headers(known, player.msid, size)
        )
        player.start(self.publication, place[0], place[1], self._clock.now())
        if player.cache == "clear" and self._joint is not None:
            self._keep_from(self._joint[0])
        player.sink.kick()

    def _drop_from_lanes(self, player: Player) -> None:
        self._followers.remove(player, self._flushed_position())
        self._walkers.discard(player)


def _place(ranges: list[Range], position: int) -> Position:
    """Return the place so many bytes into ranges of the log."""
    for segment, offset, count in ranges:
        if position < count:
            return segment, offset + position
        position -= count
    return ranges[-1][0], ranges[-1][0].size

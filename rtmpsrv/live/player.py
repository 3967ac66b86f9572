"""A player: a cursor in the log of a channel. Moves bytes from the log to its sink, never blocks.

A player that has been sent everything is a *follower*: the channel's flush sends to it directly and its
cursor is the channel's. One whose socket was full, or that just joined, *catches up* from its own cursor
in the greenlet of its sink, by `sendfile` where the sink can. One that wants only part of the messages
(paused, audio or video off, waiting for a keyframe, another message stream than 1) *walks* the index.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from .segment import AUDIO, DATA, HEADER, KEYFRAME, VIDEO, Segment

if TYPE_CHECKING:
    from .channel import Channel

SHARED_MSID = 1  # the message stream that the log is framed for: the first that createStream hands out
STEP_BYTES = 256 * 1024  # most that one step moves, so that one player's catching up stays short
COPY_BYTES = 64 * 1024  # most that a step copies, where it cannot send from the file

EVERYTHING = AUDIO | VIDEO | DATA


class Sink(Protocol):
    """Where a player's bytes go: the one writer of its socket. Declared here, built by the session."""

    sent_bytes: int  # by whomever
    socket: int | None  # to which the channel's fast lane may write by itself; None: only the sink can (TLS)

    def sendfile(self, fd: int, offset: int, count: int) -> int:
        """Send what the socket takes now; 0 when it is full or dead."""

    def offer(self, data: bytes) -> bool:
        """Take all of `data`, keep what the socket refuses; False when something was kept."""

    def reply(self, data: bytes) -> None:
        """Send `data` at the next message boundary."""

    def kick(self) -> None:
        """Go on writing: now as far as the socket takes it, the rest in the sink's own greenlet."""

    def coalesce(self) -> None:
        """Let the kernel hold small writes back until earlier ones are acknowledged. Idempotent."""

    def refuse(self, code: str, description: str) -> None:
        """Tell the peer that it may not play after all, and close."""


class Player:
    """One player of one channel. Changed by the channel and by its own sink; both never block in here."""

    __slots__ = (
        "_lag_allowance_bytes", "_lag_allowance_s", "cache", "channel", "followed_from", "following", "key",
        "mask", "msid", "needs_keyframe", "offset", "on_skip", "paused", "publication", "segment", "sink",
        "skipped_messages", "waiting", "wants",
    )  # fmt: skip

    def __init__(self, sink: Sink, msid: int, key: str | None = None, cache: str = "") -> None:
        self.sink = sink
        self.msid = msid
        self.key = key
        self.cache = cache  # "", "no" or "clear": the query of the play command
        self.channel: Channel | None = None
        self.publication = 0  # which publication of the channel its cursor is in
        self.waiting = True  # no publisher, or not started yet
        self.following = False  # the channel's flush sends to it
        self.followed_from = 0  # position of the log; what it was sent from there on is not counted yet
        self.segment: Segment | None = None  # None while the channel holds its place
        self.offset = 0
        self.wants = EVERYTHING  # what it asked to receive
        self.paused = False
        self.mask = EVERYTHING  # what it is sent
        self.needs_keyframe = False
        self.on_skip: Callable[[], None] | None = None  # told of each jump; never blocks
        self.skipped_messages = 0
        self._lag_allowance_bytes = 0
        self._lag_allowance_s = 0.0

    # --- called by the channel --------------------------------------------------------------------

    def start(self, publication: int, segment: Segment, offset: int, now: float) -> None:
        """Place the cursor; lag is measured against what lay before it at that moment."""
        channel = self._channel()
        self.waiting = False
        self.publication = publication
        self.segment, self.offset = segment, offset
        number = segment.message_at(offset)
        age = now - segment.arrivals[number] if number < len(segment.arrivals) else 0.0
        self._lag_allowance_bytes = channel.limits.lag_bytes + channel.end_position() - self.position()
        self._lag_allowance_s = channel.limits.lag_s + age

    def finish(self) -> None:
        """Take note that the publisher left and the last message was handed over."""
        self.segment = None
        self.waiting = True

    def skip_to(self, segment: Segment, offset: int) -> None:
        """Leave out what lies between the cursor and a place ahead; a begun message is completed."""
        current = self.segment
        assert current is not None, "only a player with a cursor of its own can skip"
        rest = current.next_boundary(self.offset) - self.offset
        if rest:
            self.sink.offer(current.read(self.offset, rest))
        start = current.first_number + current.message_at(current.next_boundary(self.offset))
        self.skipped_messages += segment.first_number + segment.message_at(offset) - start
        self.segment, self.offset = segment, offset
        self._reset_lag()
        if self.on_skip is not None:
            self.on_skip()

    # --- called by the sink -----------------------------------------------------------------------

    @property
    def at_boundary(self) -> bool:
        """Whether other messages may be written now."""
        return self.segment is None or self.segment.is_boundary(self.offset)

    def step(self, to_boundary: bool) -> bool | None:
        """Send some of the log; no further than the next message boundary if so asked.

        True: moved, there may be more. False: the socket is full. None: nothing left to send now.
        """
        segment = self.segment
        if segment is None:
            return None
        channel = self._channel()
        if self.skip_if_behind():
            return True
        is_last = segment is channel.flushed_segment
        limit = channel.flushed_offset if is_last else segment.size
        if self.offset >= limit:
            if is_last:
                self._reset_lag()
                channel.player_arrived(self)
                return True if self.segment is not None else None
            if segment.next is None:  # the log of a publication that ended
                channel.player_finished(self)
                return True
            self.segment, self.offset = segment.next, 0
            return True
        if to_boundary or not segment.is_boundary(self.offset):
            limit = segment.next_boundary(self.offset)
        if self.mask != EVERYTHING or self.needs_keyframe or self.msid != SHARED_MSID:
            if segment.is_boundary(self.offset):
                return self._walk(segment, limit)
        elif not to_boundary:
            limit = channel.flushed_offset if is_last else segment.size
        return self._send(segment, limit)

    def fall_behind(self) -> None:
        """Take media from a cursor of its own from now on: the sink has something to write first."""
        if self.following:
            self._channel().player_is_full(self)

    def skip_if_behind(self) -> bool:
        """Jump if the cursor is further behind than it may be; its socket may be full for long."""
        return self._channel().skip_if_behind(self, self._lag_allowance_bytes, self._lag_allowance_s)

    def position(self) -> int:
        """Return the cursor as bytes since the stream began."""
        return self.segment.base + self.offset if self.segment is not None else 0

    # --- private ----------------------------------------------------------------------------------

    def _channel(self) -> Channel:
        assert self.channel is not None, "a player steps only while it belongs to a channel"
        return self.channel

    def _reset_lag(self) -> None:
        limits = self._channel().limits
        self._lag_allowance_bytes, self._lag_allowance_s = limits.lag_bytes, limits.lag_s

    def _send(self, segment: Segment, limit: int) -> bool:
        count = min(limit - self.offset, STEP_BYTES)
        if self.sink.socket is not None and (fd := segment.file()) >= 0:
            sent = self.sink.sendfile(fd, self.offset, count)
            self.offset += sent
            return sent == count
        data = segment.read(self.offset, min(count, COPY_BYTES))
        self.offset += len(data)
        return self.sink.offer(data)

    def _walk(self, segment: Segment, limit: int) -> bool:
        """Send the wanted messages from a boundary on; ends early where the fast lane can take over."""
        number = segment.message_at(self.offset)
        parts: list[bytes] = []
        collected = 0
        while self.offset < limit and collected < COPY_BYTES:
            flags = segment.flags[number]
            number += 1
            end = segment.offsets[number] if number < len(segment.offsets) else segment.size
            if self.needs_keyframe and flags & KEYFRAME and self.mask & VIDEO:
                self.needs_keyframe = False
                if self.mask == EVERYTHING and self.msid == SHARED_MSID:
                    break
            wanted = flags & self.mask
            if self.needs_keyframe:
                wanted = flags & (DATA | HEADER)
            if wanted:
                data = segment.read(self.offset, end - self.offset)
                if self.msid != SHARED_MSID:
                    data = _readdressed(data, self.msid)
                parts.append(data)
                collected += len(data)
            self.offset = end
        return not parts or self.sink.offer(b"".join(parts))


def _readdressed(data: bytes, msid: int) -> bytes:
    """Copy a framed message for another message stream; its id stands in bytes 8 to 11 of the header."""
    return data[:8] + msid.to_bytes(4, "little") + data[12:]

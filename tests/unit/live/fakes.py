"""What surrounds a channel in its tests: time, timers, and sockets that take what a test says."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable
from itertools import count
from weakref import WeakValueDictionary

from rtmpsrv.live.player import Player
from rtmpsrv.protocol import amf0
from rtmpsrv.protocol.chunks import ChunkReader

CHUNK_SIZE = 64  # bytes; small, so that messages have several chunks
MAX_STEPS = 100_000  # of one pump; more is an endless loop

Message = tuple[int, int, int, bytes, int]  # as the chunk reader delivers it


class FakeClock:
    """Time that passes when a test says so."""

    def __init__(self) -> None:
        self.time_s = 1000.0
        self.pressure = 0.0
        self.timers: list[FakeTimer] = []

    def now(self) -> float:
        return self.time_s

    def call_later(self, delay_s: float, callback: Callable[[], None]) -> FakeTimer:
        assert delay_s >= 0
        timer = FakeTimer(self, self.time_s + delay_s, callback)
        self.timers.append(timer)
        return timer

    def advance(self, seconds: float) -> None:
        """Let time pass, and fire what falls due, in order."""
        end = self.time_s + seconds
        while due := sorted((timer for timer in self.timers if timer.at_s <= end), key=lambda t: t.at_s):
            due[0].stop()
            self.time_s = max(self.time_s, due[0].at_s)
            due[0].callback()
        self.time_s = max(self.time_s, end)


class FakeTimer:
    """One call to come."""

    def __init__(self, clock: FakeClock, at_s: float, callback: Callable[[], None]) -> None:
        self.at_s = at_s
        self.callback = callback
        self._clock = clock

    def stop(self) -> None:
        if self in self._clock.timers:
            self._clock.timers.remove(self)


_descriptors = count(1_000_000)
_by_socket: WeakValueDictionary[int, FakeSink] = WeakValueDictionary()


def fake_sendfile(socket: int, fd: int, offset: int, count: int) -> int:
    """In place of `os.sendfile`, to the socket of a `FakeSink`."""
    return _by_socket[socket].raw_sendfile(fd, offset, count)


def fake_write(socket: int, data: bytes) -> int:
    """In place of `os.write`, to the socket of a `FakeSink`."""
    return _by_socket[socket].raw_write(data)


class FakeSink:
    """A player's socket and its writer: takes `room` bytes, None for any number."""

    def __init__(self, clock: FakeClock, can_sendfile: bool = True, room: int | None = None) -> None:
        self.socket = next(_descriptors) if can_sendfile else None
        if self.socket is not None:
            _by_socket[self.socket] = self
        self.sent_bytes = 0
        self.coalescing = False
        self.room = room
        self.cost_s = 0.0  # of each send
        self.hiccups = 0  # sends that take half although there is room, as the kernel may
        self.writes = True  # not while its greenlet waits for its turn
        self.received = bytearray()
        self.sends = 0
        self.sendfiles = 0
        self.player: Player | None = None
        self._ended = False
        self._clock = clock
        self._pending: deque[bytes] = deque()
        self._replies: deque[bytes] = deque()

    @property
    def bytes_out(self) -> int:
        return self.sent_bytes

    def _take(self, count: int) -> int:
        self._clock.time_s += self.cost_s
        self.sends += 1
        if self.hiccups and count > 1:
            self.hiccups -= 1
            count //= 2
        if self.room is not None:
            count = min(count, self.room)
            self.room -= count
        return count

    def raw_sendfile(self, fd: int, offset: int, count: int) -> int:
        assert count > 0
        assert not self._pending, "nothing may overtake what the sink has to write first"
        data = os.pread(fd, count, offset)
        assert len(data) == count, "the channel sends what is in the file"
        taken = self._take(count)
        self.sendfiles += 1
        self.received += data[:taken]
        if not taken:
            raise BlockingIOError
        return taken

    def raw_write(self, data: bytes) -> int:
        assert not self._pending, "nothing may overtake what the sink has to write first"
        taken = self._take(len(data))
        self.received += data[:taken]
        if not taken:
            raise BlockingIOError
        return taken

    def sendfile(self, fd: int, offset: int, count: int) -> int:
        if self._pending:
            return 0
        try:
            taken = self.raw_sendfile(fd, offset, count)
        except BlockingIOError:
            return 0
        self.sent_bytes += taken
        return taken

    def offer(self, data: bytes) -> bool:
        if self._pending:
            self._pending.append(data)
            return False
        taken = self._write(data)
        if taken < len(data):
            self._pending.append(data[taken:])
        return taken == len(data)

    def reply(self, data: bytes) -> None:
        if data:
            self._replies.append(data)
            self.kick()

    def kick(self) -> None:
        if not self.writes:
            return
        for _ in range(MAX_STEPS):
            if self._pending:
                data = self._pending.popleft()
                taken = self._write(data)
                if taken < len(data):
                    self._pending.appendleft(data[taken:])
                    if self.room == 0:
                        if self.player is not None:
                            self.player.fall_behind()
                        return
                continue
            player = self.player
            if self._replies and (player is None or player.at_boundary):
                self._pending.append(self._replies.popleft())
                continue
            if player is None:
                return
            moved = player.step(bool(self._replies))
            if moved is False and self.room == 0:
                return
            if moved is None and not self._replies and not self._pending:
                return
        raise AssertionError("a player went round in circles")

    def _write(self, data: bytes) -> int:
        taken = self._take(len(data))
        self.received += data[:taken]
        self.sent_bytes += taken
        return taken

    def coalesce(self) -> None:
        self.coalescing = True

    def end_when_empty(self) -> None:
        self._ended = True
        self.kick()

    @property
    def ended(self) -> bool:
        """Whether the connection is to end."""
        return self._ended

    def credit(self, count: int) -> None:
        self.sent_bytes += count

    def successor(self) -> FakeSink:
        """The same socket in another session, which has what this one had to write yet."""
        sink = FakeSink(self._clock, self.socket is not None, self.room)
        sink.received, sink.sent_bytes = self.received, self.sent_bytes
        sink._pending, sink._replies = self._pending, self._replies
        self.player = None
        return sink

    # --- for tests --------------------------------------------------------------------------------

    def open(self, count: int | None = None) -> None:
        """Let the peer read `count` bytes more, None for everything from now on."""
        self.room = None if count is None else (self.room or 0) + count
        self.kick()

    def clear(self) -> None:
        self.received.clear()

    def messages(self) -> list[Message]:
        """What arrived since `clear`: whole messages only, or the test fails."""
        reader = ChunkReader(CHUNK_SIZE)
        found = reader.feed(bytes(self.received))
        assert reader.current is None
        assert not reader.tail
        assert reader.partial_bytes == 0
        return found

    def media(self) -> list[tuple[int, int, bytes]]:
        """Audio, video and data as (type, timestamp, payload); not the sample access."""
        return [(m[0], m[1], m[3]) for m in self.messages() if m[0] in (8, 9, 18) and m[2]]

    def frames(self) -> list[bytes]:
        """The contents of audio and video frames, without headers."""
        return [m[3] for m in self.messages() if m[0] in (8, 9) and not is_header(m[3])]

    def told(self) -> list[str]:
        """The codes of statuses, and the names of stream events, in order."""
        names = {0: "StreamBegin", 1: "StreamEOF"}
        found = []
        for kind, _, _, payload, _ in self.messages():
            if kind == 4:
                found.append(names[int.from_bytes(payload[:2], "big")])
            elif kind == 20:
                found.append(amf0.decode(payload)[3]["code"].removeprefix("NetStream."))
        return found


def is_header(payload: bytes) -> bool:
    return payload[:2] in (b"\x17\0", b"\xaf\0")

"""A channel with everything around it under the test's control: time, timers, and what each socket takes."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable
from itertools import count
from typing import Any
from weakref import WeakValueDictionary

from rtmpsrv.live.channel import Channel, LiveLimits
from rtmpsrv.live.player import Player
from rtmpsrv.live.registry import Registry
from rtmpsrv.protocol import amf0
from rtmpsrv.protocol.chunks import ChunkReader, pack
from tests.client import AAC_HEADER, AVC_HEADER, METADATA, audio, interframe, keyframe

CHUNK_SIZE = 64  # bytes; small, so that messages have several chunks
MAX_STEPS = 100_000  # of one pump; more is an endless loop

Message = tuple[int, int, int, bytes, int]  # as the chunk reader delivers it


class FakeClock:
    """Time that passes when a test says so."""

    def __init__(self) -> None:
        self.time_s = 1000.0
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
        self.time_s = end


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
        self.received = bytearray()
        self.refusals: list[tuple[str, str]] = []
        self.sends = 0
        self.sendfiles = 0
        self.player: Player | None = None
        self._clock = clock
        self._pending: deque[bytes] = deque()
        self._replies: deque[bytes] = deque()

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

    def refuse(self, code: str, description: str) -> None:
        self.refusals.append((code, description))

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


def video(payload: bytes, timestamp: int = 0) -> Message:
    return 9, timestamp, 1, payload, 6


def sound(payload: bytes, timestamp: int = 0) -> Message:
    return 8, timestamp, 1, payload, 4


def data(payload: bytes, timestamp: int = 0) -> Message:
    return 18, timestamp, 1, payload, 4


def key(content: bytes | str, timestamp: int = 0) -> Message:
    return video(keyframe(_bytes(content)), timestamp)


def inter(content: bytes | str, timestamp: int = 0) -> Message:
    return video(interframe(_bytes(content)), timestamp)


def tone(content: bytes | str, timestamp: int = 0) -> Message:
    return sound(audio(_bytes(content)), timestamp)


def _bytes(content: bytes | str) -> bytes:
    return content if isinstance(content, bytes) else content.encode().ljust(8, b".")


AVC = video(AVC_HEADER)
AVC_2 = video(AVC_HEADER + b"another")
AAC = sound(AAC_HEADER)
AAC_2 = sound(AAC_HEADER + b"another")
META = data(METADATA)
HEADERS = (META, AAC, AVC)

_CSIDS = {8: 4, 9: 5, 18: 6}


def framed(*messages: Message, msid: int = 1) -> bytes:
    """The bytes of audio and video messages in the log."""
    return b"".join(pack(_CSIDS[m[0]], m[1], m[0], msid, m[3], CHUNK_SIZE) for m in messages)


def payloads(*messages: Message) -> list[bytes]:
    return [message[3] for message in messages]


class Stage:
    """A registry with one channel of interest, on the air unless told otherwise."""

    def __init__(self, *, total_bytes: int = 1 << 30, live: bool = True, **limits: Any) -> None:
        limits.setdefault("merge_messages", 1)
        self.clock = FakeClock()
        self.registry: Registry[str] = Registry(self.clock, LiveLimits(**limits), total_bytes, CHUNK_SIZE)
        self.channel: Channel = self.registry.open("channel")
        if live:
            self.channel.start("key")

    def publish(self, *messages: Message) -> None:
        """Append each message by itself."""
        for message in messages:
            self.channel.append([message])

    def batch(self, messages: Iterable[Message]) -> None:
        """Append messages together, as one read brings them."""
        self.channel.append(list(messages))

    def join(
        self,
        *,
        can_sendfile: bool = True,
        room: int | None = None,
        msid: int = 1,
        key: str | None = None,
        cache: str = "",
        wants: int | None = None,
    ) -> FakeSink:
        sink = FakeSink(self.clock, can_sendfile, room)
        player = sink.player = Player(sink, msid, key, cache)
        if wants is not None:
            player.wants = player.mask = wants
        self.channel.join(player)
        return sink

    def followers(self, count: int, **options: Any) -> list[FakeSink]:
        return [self.join(**options) for _ in range(count)]

    def player(self, sink: FakeSink) -> Player:
        assert sink.player is not None
        return sink.player

"""A channel with everything around it under the test's control, and the messages of its publisher."""

from __future__ import annotations

import os
import pickle
from collections.abc import Iterable
from typing import Any

from rtmpsrv.live import choices
from rtmpsrv.live.channel import Channel
from rtmpsrv.live.news import News, NewsOf
from rtmpsrv.live.output import LiveLimits, Output
from rtmpsrv.live.player import EVERYTHING, Player, PlayerState
from rtmpsrv.live.registry import Registry
from rtmpsrv.protocol.chunks import pack
from tests.client import AAC_HEADER, AVC_HEADER, METADATA, audio, interframe, keyframe
from tests.unit.live.fakes import CHUNK_SIZE, FakeClock, FakeSink, Message

STARTED = ["StreamBegin", "Play.Reset", "Play.Start"]
UNPUBLISHED = ["Play.UnpublishNotify", "StreamEOF"]


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

    def __init__(
        self,
        *,
        total_bytes: int = 1 << 30,
        live: bool = True,
        clock: FakeClock | None = None,
        chunk_size: int = CHUNK_SIZE,
        **limits: Any,
    ) -> None:
        limits.setdefault("merge_messages", 1)
        self.clock = clock or FakeClock()
        self._options: dict[str, Any] = {
            "total_bytes": total_bytes, "clock": self.clock, "chunk_size": chunk_size, **limits
        }  # fmt: skip
        self.registry: Registry[str] = Registry(self.clock, LiveLimits(**limits), total_bytes, chunk_size)
        self.channel: Channel = self.registry.open("channel")
        self.heard: list[NewsOf] = []
        self._sinks: dict[Player, FakeSink] = {}
        if live:
            self.start("key")

    def publish(self, *messages: Message) -> None:
        """Append each message by itself."""
        for message in messages:
            self.batch([message])

    def batch(self, messages: Iterable[Message]) -> None:
        """Append messages together, as one read brings them."""
        self.heard += self.channel.append(list(messages))

    def join(
        self,
        *,
        can_sendfile: bool = True,
        room: int | None = None,
        msid: int = 1,
        key: str | None = None,
        cache: str = "",
        wants: int = EVERYTHING,
    ) -> FakeSink:
        return self.seat(FakeSink(self.clock, can_sendfile, room), PlayerState(msid, key, cache), wants)

    def seat(self, sink: FakeSink, state: PlayerState | None = None, wants: int = EVERYTHING) -> FakeSink:
        """Let a player join that writes to a sink of the test's making."""
        player = sink.player = Player(sink, state or PlayerState())
        player.filter(wants, paused=False)
        self._sinks[player] = sink
        self.channel.join(player)
        return sink

    def freeze(self, sink: FakeSink) -> bytes:
        """Take a player out of the channel, as bytes."""
        player = self.player(sink)
        self.channel.release(player)
        return pickle.dumps(player.freeze())

    def resume(self, sink: FakeSink, frozen: bytes, writes: bool = True) -> FakeSink:
        """Let a frozen player go on with another sink of the same socket."""
        successor = sink.successor()
        successor.writes = writes
        player = successor.player = Player(successor, pickle.loads(frozen))
        self._sinks[player] = successor
        self.channel.resume(player)
        return successor

    def move(self, sink: FakeSink) -> FakeSink:
        return self.resume(sink, self.freeze(sink))

    def beside(self) -> Stage:
        """The same in another process, with nobody in it."""
        return Stage(live=False, **self._options)

    def hand_over(self, other: Stage | None = None) -> Stage:
        """Go on in another process: with copies of the values, and descriptors of its own.

        Sinks stay the same objects for the test.
        """
        other = other or self.beside()
        fds: list[int] = []
        value = pickle.loads(pickle.dumps(self.channel.snapshot(fds)))
        copies = [os.dup(fd) for fd in fds]
        frozen = [(sink, self.freeze(sink)) for sink in self.seated()]
        self.registry.abandon("channel")
        assert self.registry.budget.describe()["used_bytes"] == 0
        assert self.registry.budget.describe()["descriptors"] == 0
        other.channel = other.registry.adopt("channel", value, copies)
        for sink, state in frozen:
            other.take_in(sink, state)
        return other

    def seated(self) -> list[FakeSink]:
        """The sinks of all players of the channel, in the order in which they came."""
        return [sink for player, sink in self._sinks.items() if player in self.channel.players]

    def take_in(self, sink: FakeSink, frozen: bytes) -> None:
        """Let a player that was frozen elsewhere go on with its sink."""
        player = sink.player = Player(sink, pickle.loads(frozen))
        self._sinks[player] = sink
        self.channel.resume(player)

    def followers(self, count: int, **options: Any) -> list[FakeSink]:
        return [self.join(**options) for _ in range(count)]

    def shed(self) -> None:
        """Give back what is there for viewers by HTTP; if nothing is, the oldest part of the cache."""
        output = self.channel.output
        if output is not None and spare_bytes(output):
            output.shed_aside()
        elif output is not None:
            output.shed()

    def pause(self, player: Player) -> None:
        choices.pause(player, self.channel.framing)

    def unpause(self, player: Player) -> None:
        choices.unpause(player, self.channel.framing, self.channel.keyframe_to_come())

    def receive(self, player: Player, wants: int) -> None:
        choices.receive(player, wants, self.channel.framing, self.channel.keyframe_to_come())

    def player(self, sink: FakeSink) -> Player:
        assert sink.player is not None
        return sink.player

    def output(self) -> Output:
        assert self.channel.output is not None
        return self.channel.output

    def follows(self, sink: FakeSink) -> bool:
        """Whether the fast lane sends to a player."""
        return self.output().audience.follows(self.player(sink))

    def start(self, key: str | None = None) -> None:
        """Let a publisher go on the air."""
        self.heard += self.channel.start(key)

    def news(self) -> list[tuple[News, FakeSink]]:
        """What happened to players since the last call."""
        heard, self.heard = self.heard + self.channel.take_news(), []
        return [(what, self._sinks[player]) for what, player in heard]

    def used_bytes(self) -> int:
        return self.registry.budget.used_bytes


def spare_bytes(output: Output) -> int:
    """What is there for viewers by HTTP."""
    beside = output.beside
    return beside.spare_bytes(output.log, output.lowest()) if beside is not None else 0


def many(count: int, size: int = 1000) -> list[Message]:
    return [inter(b"%05d" % number + bytes(size), number) for number in range(count)]


def playing(stage: Stage, *first: Message, **options: Any) -> FakeSink:
    """A player that has been sent `first` and forgot about it."""
    stage.publish(*first)
    sink = stage.join(**options)
    sink.clear()
    return sink


def joined_frames(stage: Stage, cache: str = "") -> list[bytes]:
    """What a player that joins now gets at once."""
    sink = stage.join(cache=cache)
    frames = sink.frames()
    stage.channel.leave(stage.player(sink))
    return frames

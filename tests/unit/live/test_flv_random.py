"""Viewers of FLV, and a reading, under random load: they get what was published, whole and in order."""

from __future__ import annotations

from random import Random

import pytest

from rtmpsrv.live.reading import Batch
from tests.unit.live.fakes import FakeSink
from tests.unit.live.flv_viewers import ended, read, view
from tests.unit.live.mirrored import Mirrored
from tests.unit.live.stage import AAC, AVC, META, Stage, inter, key, tone

STEPS = 250


class Viewer:
    def __init__(self, sink: FakeSink, stage: Stage) -> None:
        self.sink = sink
        self.stage = stage
        self.moves = 0


class World:
    """One channel, its viewers, and a mirror of it where some of them are."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.stage = Stage(lag_bytes=4000, merge_messages=3)
        self.mirrored = Mirrored(self.stage)
        self.viewers: list[Viewer] = []
        self.number = 0
        self.reading = self.stage.channel.subscribe(lambda: None)
        self.reading.allow(4000, 10.0)
        self.read_number = 0  # the last frame that was read
        self.may_miss = True  # some before the next one
        self.publish_headers()

    def publish_headers(self) -> None:
        self.stage.publish(META, AAC, AVC)
        self.frame(True)
        self.frame(False)
        self.stage.publish(tone(self.content(), self.number))
        self.stage.clock.advance(3)

    def content(self) -> bytes:
        self.number += 1
        return b"%06d" % self.number + bytes(self.random.choice((1, 50, 500)))

    def frame(self, is_key: bool) -> None:
        content = self.content()
        self.stage.publish((key if is_key else inter)(content, self.number * 20))

    def step(self) -> None:
        self.random.choice((
            self.some_frames, self.some_frames, self.some_frames, self.come, self.give_room, self.give_room,
            self.move, self.hand_over, self.go, self.wait, self.skip, self.suspend, self.read,
        ))()  # fmt: skip

    def some_frames(self) -> None:
        for _ in range(self.random.randrange(6)):
            kind = self.random.randrange(8)
            if kind < 3:
                content = self.content()
                self.stage.publish(tone(content, self.number * 20))
            else:
                self.frame(kind == 7)

    def come(self) -> None:
        if len(self.viewers) < 8:
            stage = self.random.choice((self.stage, self.mirrored.stage))
            sink = view(stage, room=self.random.choice((None, 0, 200)))
            self.viewers.append(Viewer(sink, stage))

    def go(self) -> None:
        if self.viewers and self.random.random() < 0.3:
            viewer = self.viewers.pop(self.random.randrange(len(self.viewers)))
            viewer.stage.channel.leave(viewer.stage.player(viewer.sink))
            check(viewer.sink, self.number)

    def give_room(self) -> None:
        for viewer in self.viewers:
            if viewer.sink.room is not None:
                viewer.sink.open(self.random.choice((1, 9, 300, 3000)))

    def move(self) -> None:
        for viewer in self.random.sample(self.viewers, len(self.viewers) // 2):
            if not ended(viewer.sink):
                frozen = viewer.stage.freeze(viewer.sink)
                viewer.stage = self.random.choice((self.stage, self.mirrored.stage))
                viewer.stage.take_in(viewer.sink, frozen)
                viewer.moves += 1

    def hand_over(self) -> None:
        if self.random.random() < 0.3:
            for viewer in self.viewers:
                if viewer.stage is not self.stage and not ended(viewer.sink):
                    self.stage.take_in(viewer.sink, viewer.stage.freeze(viewer.sink))
                    viewer.stage = self.stage
            other = self.stage.hand_over()
            assert self.reading.is_closed
            while self.reading.read() is not None:
                self.may_miss = True
            self.reading = other.channel.subscribe(lambda: None, self.reading.place)
            self.reading.allow(4000, 10.0)
            self.stage = other
            self.mirrored = Mirrored(other)
            for viewer in self.viewers:
                viewer.stage = other

    def read(self) -> None:
        for _ in range(self.random.choice((1, 5, 100))):
            item = self.reading.read(self.random.choice((1, 3, 100)))
            if isinstance(item, Batch):
                for _, _, _, payload, _ in item.messages:
                    self.take(payload)
            elif item is not None:
                self.may_miss = True

    def take(self, payload: bytes) -> None:
        if is_frame(payload):
            number = int(payload[5 if payload[0] != 0xAF else 2 :][:6])
            assert number == self.read_number + 1 or (self.may_miss and number > self.read_number)
            self.read_number, self.may_miss = number, False

    def wait(self) -> None:
        self.stage.clock.advance(self.random.choice((0.1, 1, 7)))
        self.frame(True)  # after long without one viewers would start anywhere

    def skip(self) -> None:
        self.random.choice((self.stage.shed, self.stage.channel.skip_laggards))()

    def suspend(self) -> None:
        if self.random.random() < 0.2:
            self.stage.channel.suspend(10)
            self.stage.clock.advance(1)
            self.stage.channel.go_on("key")
            self.publish_headers()

    def finish(self) -> None:
        self.frame(True)
        self.stage.channel.stop()
        while self.reading.read() is not None:
            pass
        self.reading.close()
        for viewer in self.viewers:
            viewer.sink.open()
            check(viewer.sink, self.number)
            assert ended(viewer.sink) or not viewer.sink.received
            viewer.stage.channel.leave(viewer.stage.player(viewer.sink))
        self.stage.clock.advance(20)
        for stage in (self.stage, self.mirrored.stage):
            stage.channel.drop_ended()
            assert stage.used_bytes() == 0


def check(sink: FakeSink, newest: int) -> None:
    """Whole tags, each frame once and in order, video from a keyframe on."""
    if not sink.received:
        return
    if not ended(sink) or sink.room is not None:
        sink.open()
    reader, found = read(sink)
    assert reader.has_audio
    assert reader.has_video
    frames = [one for one in found if is_frame(one.payload)]
    numbers = [int(one.payload[5 if one.type_id == 9 else 2 :][:6]) for one in frames]
    assert numbers == sorted(set(numbers))
    assert not numbers or numbers[-1] <= newest
    pictures = [one.payload for one in frames if one.type_id == 9]
    assert not pictures or pictures[0][0] == 0x17


def is_frame(payload: bytes) -> bool:
    return payload[:2] in (b"\x17\x01", b"\x27\x01", b"\xaf\x01")


@pytest.mark.parametrize("seed", range(60))
def test_viewers_receive_whole_tags_in_order(seed: int, request: pytest.FixtureRequest) -> None:
    if seed % 2:
        request.getfixturevalue("small_segments")
    world = World(seed)
    for _ in range(STEPS):
        world.step()
    world.finish()

"""Whatever sockets take and whoever joins, leaves or pauses: what players receive makes sense."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from rtmpsrv.live.output import RETURN_S
from rtmpsrv.live.player import EVERYTHING, Player
from rtmpsrv.live.segment import AUDIO, DATA, VIDEO
from rtmpsrv.protocol import amf0, messages
from rtmpsrv.protocol.chunks import ChunkReader
from tests.unit.live.fakes import CHUNK_SIZE, FakeSink, Message, is_header
from tests.unit.live.mirrored import Mirrored
from tests.unit.live.stage import AAC, AAC_2, AVC, AVC_2, META, Stage, inter, key, tone

MAX_FRAME = 900  # bytes
TOTAL = 60_000  # bytes, of the budget
MAX_BATCH = 6
OPERATIONS = 120
PING = messages.user_control(messages.PING_REQUEST, 7)


class Seat:
    """A player and what it should have received."""

    def __init__(self, sink: FakeSink, filtered: bool, stage: Stage) -> None:
        assert sink.player is not None
        self.stage = stage  # where it plays
        self.sink = sink
        self.player: Player = sink.player
        self.filtered = filtered  # it paused, or chose, at some time
        self.pings = 0


class World:
    """Random operations on one channel; `check` looks at everything that players received."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        chance = self.random
        self.stage = Stage(
            total_bytes=TOTAL,
            cache_bytes=chance.choice((0, 3000, 1 << 20)),
            keep_stream=chance.random() < 0.3,
            merge_messages=chance.choice((1, 3, 8)),
            lag_bytes=chance.choice((2000, 8000, 1 << 20)),
            lag_s=chance.choice((0.5, 5.0)),
        )
        self.owner = self.stage  # where it is published; here unless the stage is a mirror
        self.next_id = 0
        self.sent: dict[int, Message] = {}
        self.mapped: set[int] = set()  # those whose times are mapped onto the channel's
        self.goes_on = False  # the publisher does for another one
        self.first = 1  # of this publication
        self.first_of: dict[int, int] = {}
        self.seats: list[Seat] = []
        self.frozen: list[tuple[Seat, bytes]] = []
        self.operations: list[tuple[int, Callable[[], None]]] = [
            (40, self.append), (6, self.join), (2, self.leave), (25, self.give_room), (6, self.wait),
            (2, self.pause), (2, self.unpause), (2, self.receive), (4, self.ping), (1, self.stop),
            (3, self.start), (2, self.hiccup), (1, self.be_slow), (4, self.freeze), (6, self.thaw),
            (1, self.relieve), (2, self.hand_over), (1, self.suspend), (2, self.go_on),
        ]  # fmt: skip

    def run(self) -> None:
        weights = [weight for weight, _ in self.operations]
        for _ in range(OPERATIONS):
            self.random.choices(self.operations, weights)[0][1]()
            self.check_counts()
        while self.frozen:
            self.thaw()
        self.settle()
        for seat in self.seats:
            seat.sink.open()
        self.stage.clock.advance(1)
        for seat in self.seats:
            self.check(seat)
            seat.stage.channel.leave(seat.player)
        self.owner.channel.stop()
        self.stage.clock.advance(RETURN_S)  # nobody else comes
        budget = self.stage.registry.budget.describe()
        assert (budget["used_bytes"], budget["descriptors"]) == (0, 0)

    # --- operations -------------------------------------------------------------------------------

    def frame(self) -> Message:
        chance = self.random
        kind = chance.random()
        if kind < 0.08:
            return chance.choice((AVC, AVC, AVC_2, AAC, AAC_2, META))
        self.next_id += 1
        content = b"%08d" % self.next_id + bytes(chance.choice((0, 50, 51, 100, MAX_FRAME)))
        make = key if kind < 0.2 else tone if kind < 0.5 else inter
        time = chance.choice((self.next_id, 0xFFFFFF + self.next_id))
        return self.note(make(content, time))

    def note(self, message: Message) -> Message:
        """Expect what has the newest number."""
        self.sent[self.next_id] = message
        self.first_of[self.next_id] = self.first
        if self.goes_on:
            self.mapped.add(self.next_id)
        return message

    def append(self) -> None:
        if self.owner.channel.live:
            self.owner.batch(self.frame() for _ in range(self.random.randint(1, MAX_BATCH)))
            assert self.stage.used_bytes() <= TOTAL

    def join(self) -> None:
        chance = self.random
        wants = chance.choice((EVERYTHING, EVERYTHING, EVERYTHING, AUDIO | DATA, VIDEO | DATA))
        sink = self.stage.join(
            can_sendfile=chance.random() < 0.7,
            room=chance.choice((None, 0, 10, 1000, 5000)),
            msid=chance.choice((1, 1, 1, 2)),
            cache=chance.choice(("", "", "no", "clear")),
            wants=wants,
        )
        self.seats.append(Seat(sink, wants != EVERYTHING, self.stage))

    def leave(self) -> None:
        if self.seats:
            seat = self.seats.pop(self.random.randrange(len(self.seats)))
            seat.stage.channel.leave(seat.player)
            seat.sink.player = None
            seat.sink.open()
            self.check(seat)

    def freeze(self) -> None:
        if self.seats:
            seat = self.seats.pop(self.random.randrange(len(self.seats)))
            self.frozen.append((seat, seat.stage.freeze(seat.sink)))

    def thaw(self) -> None:
        if self.frozen:
            seat, frozen = self.frozen.pop(self.random.randrange(len(self.frozen)))
            seat.stage = self.place()
            seat.sink = seat.stage.resume(seat.sink, frozen)
            seat.player = seat.stage.player(seat.sink)
            self.seats.append(seat)

    def hand_over(self) -> None:
        """Let another process go on with all of it."""
        self.owner = self.stage = self.moved(self.stage)

    def moved(self, stage: Stage) -> Stage:
        """Let another process go on with a stage and its players."""
        successor = stage.hand_over()
        for seat in self.seats:
            if seat.stage is stage:
                seat.stage, seat.player = successor, successor.player(seat.sink)
        return successor

    def settle(self) -> None:
        """Let everything arrive."""

    def place(self) -> Stage:
        """Where a player goes on that has moved."""
        return self.stage

    def relieve(self) -> None:
        self.random.choice((self.stage.shed, self.stage.channel.skip_laggards))()

    def some_seat(self) -> Seat | None:
        return self.random.choice(self.seats) if self.seats else None

    def give_room(self) -> None:
        for seat in self.random.sample(self.seats, min(3, len(self.seats))):
            if seat.sink.room is not None:
                seat.sink.open(self.random.choice((1, 7, 100, 500, 3000)))

    def wait(self) -> None:
        self.stage.clock.advance(self.random.choice((0.001, 0.02, 0.2, 1.0)))

    def pause(self) -> None:
        if seat := self.some_seat():
            seat.filtered = True
            seat.stage.pause(seat.player)

    def unpause(self) -> None:
        if seat := self.some_seat():
            seat.stage.unpause(seat.player)

    def receive(self) -> None:
        if seat := self.some_seat():
            seat.filtered = True
            wants = self.random.choice((EVERYTHING, AUDIO | DATA, VIDEO | DATA, DATA))
            seat.stage.receive(seat.player, wants)

    def ping(self) -> None:
        if seat := self.some_seat():
            seat.pings += 1
            seat.sink.reply(PING)

    def hiccup(self) -> None:
        if seat := self.some_seat():
            seat.sink.hiccups += 2

    def be_slow(self) -> None:
        if seat := self.some_seat():
            seat.sink.cost_s = self.random.choice((0.0, 0.001, 0.05))

    def stop(self) -> None:
        self.owner.channel.stop()

    def start(self) -> None:
        if self.owner.channel.output is None:
            self.owner.start()
            self.goes_on = False
            self.first = self.next_id + 1

    def suspend(self) -> None:
        if self.owner.channel.live:
            self.owner.channel.suspend(1000.0)  # the registry would forget the channel in the end

    def go_on(self) -> None:
        """Let another publisher go on: nobody gets its frames before the first keyframe."""
        channel = self.owner.channel
        if channel.live:
            self.suspend()
        if channel.suspended:
            channel.go_on()
            self.goes_on = True
            self.owner.batch([self.random.choice((META, AAC, AAC_2, AVC_2)), inter("00000000", 5), AVC])
            self.next_id += 1
            self.first = self.next_id
            self.owner.batch([self.note(key(b"%08d" % self.next_id, 0))])

    # --- what must hold ---------------------------------------------------------------------------

    def check_counts(self) -> None:
        """Look at what must be true at any moment."""
        for seat in self.seats:
            assert seat.sink.sent_bytes + seat.player.uncounted_bytes == len(seat.sink.received)
        for output in {self.stage.channel.output, self.owner.channel.output}:
            if output is None:
                continue
            assert all(output.log.is_boundary(player.position) for player in output.audience.walkers)
            assert len(output.audience) == len([seat for seat in self.seats if seat.player.output is output])

    def check(self, seat: Seat) -> None:
        reader = ChunkReader(CHUNK_SIZE)
        received = reader.feed(bytes(seat.sink.received))
        pings = sum(message[3].hex() == "000600000007" for message in received)
        assert reader.current is None
        assert not reader.tail
        assert not reader.partial_bytes
        assert pings == seat.pings
        assert all(message[2] in (0, seat.player.state.msid) for message in received)
        sections: list[list[Message]] = [[]]
        for message in received:
            if message[0] == 20 and amf0.decode(message[3])[3]["code"] == "NetStream.Play.Start":
                sections.append([])
            elif message[0] in (8, 9):
                sections[-1].append(message)
        assert sections[0] == []
        gaps = 0
        newest = 0
        for section in sections[1:]:
            gaps += self.check_section(section, newest, seat)
            ids = [self.number(message) for message in section if not is_header(message[3])]
            newest = max(ids, default=newest)
        if not seat.filtered:
            assert gaps <= seat.player.state.jumps

    def number(self, message: Message) -> int:
        return int(message[3][5 if message[0] == 9 else 2 :][:8])

    def check_section(self, section: list[Message], newest: int, seat: Seat) -> int:
        """One start of a player: as sent, in order, nothing twice, video from keyframes on; how many gaps."""
        gaps = 0
        last = 0
        missed_video = flowing = False  # video since the start, or since the last gap
        for message in section:
            if is_header(message[3]):
                continue
            number = self.number(message)
            sent = self.sent[number]
            assert (message[0], message[3]) == (sent[0], sent[3])
            assert message[1] == sent[1] or number in self.mapped
            assert number > last
            if not last:
                # The cache of a new joiner may repeat nothing of an earlier publication.
                assert number > newest
            missing = [self.sent[between][0] for between in range(last + 1, number)] if last else []
            if 8 in missing or (missing and flowing):
                gaps += 1
                flowing = False
            missed_video = missed_video or 9 in missing
            if message[0] == 9:
                if missed_video and not seat.filtered:
                    assert sent[3][0] == 0x17 or self.has_no_keyframe(number), "a jump lands on a keyframe"
                missed_video, flowing = False, True
            last = number
        return gaps

    def has_no_keyframe(self, number: int) -> bool:
        """Whether no keyframe came in this publication before; then one is awaited for a while only."""
        return not any(self.sent[one][3][0] == 0x17 for one in range(self.first_of[number], number))


class MirroredWorld(World):
    """Players of a mirror. Its owner moves, and the mirror follows, or moves itself."""

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        self.mirrored = Mirrored(self.owner)
        self.stage = self.mirrored.stage
        self.operations += [(10, self.be_late), (10, self.arrive)]

    def be_late(self) -> None:
        self.mirrored.arrives = False

    def arrive(self) -> None:
        self.mirrored.arrive(self.random.randint(1, 5))
        if self.random.random() < 0.3:
            self.settle()

    def settle(self) -> None:
        self.mirrored.arrive()
        self.mirrored.arrives = True

    def place(self) -> Stage:
        return self.random.choice((self.owner, self.stage))

    def hand_over(self) -> None:
        if self.random.random() < 0.5:
            self.owner = self.moved(self.owner)
            self.mirrored.tap_again(self.owner)
        else:
            self.stage = self.moved(self.stage)
            self.mirrored.tap.close()
            self.mirrored = Mirrored(self.owner, stage=self.stage)

    def run(self) -> None:
        super().run()
        budget = self.owner.registry.budget.describe()
        assert (budget["used_bytes"], budget["descriptors"]) == (0, 0)


@pytest.mark.parametrize("world", [World, MirroredWorld])
@pytest.mark.parametrize("lane", ["file", "copies"])
@pytest.mark.parametrize("seed", range(80))
def test_players_receive_whole_messages_in_order(
    seed: int, lane: str, world: type[World], monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    if lane == "copies":
        monkeypatch.setattr("rtmpsrv.live.lane.SENDFILE_FROM", 1 << 30)
    if seed % 2:
        request.getfixturevalue("small_segments")
    if seed % 3:
        monkeypatch.setattr("rtmpsrv.live.audience.LANE_PLAYERS", seed % 3)
    world(seed).run()

"""What whoever reads a channel message by message gets."""

from __future__ import annotations

import os

from rtmpsrv.live.lock import NOBODYS, lock_of
from rtmpsrv.live.reading import MAX_BATCH_BYTES, Batch, Began, Lost, Over, Reading, Spliced
from rtmpsrv.live.segment import AUDIO, DATA, HEADER, KEYFRAME, VIDEO
from tests.unit.live.fakes import Message
from tests.unit.live.mirrored import Mirrored
from tests.unit.live.stage import AAC, AVC, AVC_2, HEADERS, META, Stage, inter, key, tone

IN_FORCE = ((8, AAC[3]), (9, AVC[3]))


class Reader:
    """Reads all there is, and counts how often it was told to."""

    def __init__(self, stage: Stage, place: tuple[int, int] = (0, 0)) -> None:
        self.told = 0
        self.reading: Reading = stage.channel.subscribe(self._notify, place)

    def _notify(self) -> None:
        self.told += 1

    def items(self, most: int = 256) -> list[object]:
        found: list[object] = []
        while (item := self.reading.read(most)) is not None:
            found.append(item)
        return found

    def payloads(self) -> list[bytes]:
        """The payloads of all messages, whatever else came."""
        batches = [item for item in self.items() if isinstance(item, Batch)]
        return [payload for batch in batches for _, _, _, payload, _ in batch.messages]


def sent(*messages: Message) -> list[bytes]:
    return [message[3] for message in messages]


def bare_metadata(stage: Stage) -> bytes:
    return stage.channel.contents.preamble.stored()[0]


def test_reading_from_the_beginning_gets_everything() -> None:
    stage = Stage(live=False)
    reader = Reader(stage)
    assert reader.items() == []
    stage.start()
    assert reader.told == 1
    stage.publish(*HEADERS, key("0"), tone("a", 5))
    assert reader.told == 6
    began, *items = reader.items()
    assert began == Began(1, (), ())
    messages = [message for item in items if isinstance(item, Batch) for message in item.messages]
    assert [message[:4] for message in messages] == [
        (18, DATA, 0, bare_metadata(stage)), (8, AUDIO | HEADER, 0, AAC[3]), (9, VIDEO | HEADER, 0, AVC[3]),
        (9, VIDEO | KEYFRAME, 0, key("0")[3]), (8, AUDIO, 5, tone("a")[3]),
    ]  # fmt: skip
    assert {message[4] for message in messages} == {stage.clock.time_s}
    assert reader.reading.headers == IN_FORCE
    assert reader.reading.metadata == (bare_metadata(stage),)


def test_late_reading_begins_at_the_newest_keyframe() -> None:
    stage = Stage()
    stage.publish(*HEADERS, key("0"), inter("1"), key("2", 80), inter("3", 120))
    reader = Reader(stage)
    assert reader.items()[0] == Began(1, IN_FORCE, (bare_metadata(stage),))
    stage.publish(inter("4", 160))
    assert reader.payloads() == sent(inter("4"))
    assert Reader(stage).payloads() == sent(key("2"), inter("3"), inter("4"))


def test_batch_ends_where_headers_change_and_where_it_is_full() -> None:
    stage = Stage(merge_messages=100)
    stage.publish(*HEADERS, key("0"))
    reader = Reader(stage)
    reader.items()
    stage.batch([inter("1"), AVC_2, inter("2"), inter("3"), inter("4")])
    first = reader.reading.read()
    assert isinstance(first, Batch)
    assert [message[3] for message in first.messages] == sent(inter("1"), AVC_2)
    assert reader.reading.headers == ((8, AAC[3]), (9, AVC_2[3]))
    assert [len(item.messages) for item in reader.items(2) if isinstance(item, Batch)] == [2, 1]


def test_batch_is_bounded_in_bytes() -> None:
    stage = Stage()
    stage.publish(*HEADERS)
    reader = Reader(stage)
    frames = [key(bytes(1000)), inter(bytes(MAX_BATCH_BYTES)), inter("1"), inter("2")]
    reader.reading.allow(1 << 30, 1e9)
    stage.publish(*frames)
    sizes = [len(item.messages) for item in reader.items() if isinstance(item, Batch)]
    assert sizes[-2:] == [1, 3] or sizes[-3:] == [1, 1, 2]


def test_messages_of_several_segments_are_read(small_segments: None) -> None:
    stage = Stage()
    reader = Reader(stage)
    messages = [key(bytes([number]) * 90, number) for number in range(5)]
    stage.publish(AVC, *messages)
    assert stage.output().log.begin == 0
    assert reader.payloads() == sent(AVC, *messages)
    stage.publish(key("last", 100))
    assert stage.output().log.begin > 0


def test_reading_that_is_too_far_behind_goes_on_at_a_keyframe() -> None:
    stage = Stage()
    stage.publish(*HEADERS, key("0"))
    reader = Reader(stage)
    reader.items()
    reader.reading.allow(1000, 1e9)
    stage.publish(inter(bytes(600), 40), inter(bytes(600), 80), key("3", 120), inter("4", 160))
    lost, batch = reader.items()
    assert isinstance(lost, Lost)
    assert lost.messages == 2
    assert lost.size > 1200
    assert isinstance(batch, Batch)
    assert [message[3] for message in batch.messages] == sent(key("3"), inter("4"))


def test_reading_that_is_far_behind_goes_to_the_end_where_there_is_no_keyframe() -> None:
    stage = Stage()
    stage.publish(*HEADERS, key("0"))
    reader = Reader(stage)
    reader.items()
    reader.reading.allow(1 << 20, 2.0)
    stage.publish(inter("1", 40))
    stage.clock.advance(3)
    stage.publish(inter("2", 80))
    assert reader.payloads() == sent(inter("1"), inter("2")), "a little late is let go"
    stage.publish(inter("3", 120))
    stage.clock.advance(5)
    stage.publish(inter("4", 160))
    (lost,) = reader.items()
    assert isinstance(lost, Lost)
    assert lost.messages == 2


def test_reading_that_never_reads_holds_no_more_than_it_may(small_segments: None) -> None:
    stage = Stage()
    reader = Reader(stage)
    reader.reading.allow(2000, 1e9)
    stage.publish(*HEADERS)
    for number in range(40):
        stage.clock.advance(0.5)
        stage.publish(key(bytes(200), number))
    log = stage.output().log
    assert log.end - log.begin < 3000
    items = reader.items()
    assert items[0] == Began(1, (), ())
    assert isinstance(items[1], Lost)
    assert items[1].messages > 20
    assert len([item for item in items if isinstance(item, Lost)]) == 1


def test_process_that_holds_too_much_lets_readings_skip() -> None:
    stage = Stage()
    stage.publish(*HEADERS, key("0"))
    reader = Reader(stage)
    stage.publish(inter("1"))
    stage.channel.skip_laggards()
    stage.channel.skip_laggards()
    assert [type(item) for item in reader.items()] == [Began, Lost]
    stage.shed()


def test_end_is_told_behind_all_and_the_next_publication_follows() -> None:
    stage = Stage()
    reader = Reader(stage)
    stage.publish(*HEADERS, key("0"))
    stage.channel.stop()
    stage.start()
    stage.publish(AVC, key("1"))
    kinds = [type(item) for item in reader.items()]
    assert kinds[0] is Began
    assert kinds[-3:] == [Over, Began, Batch]
    stage.channel.stop()
    assert reader.items()[-1] == Over(2)
    assert reader.reading.place == (0, 0)
    assert reader.reading.headers == ()
    reader.reading.close()
    assert stage.used_bytes() == 0


def test_another_publisher_that_goes_on_is_told() -> None:
    stage = Stage()
    stage.publish(*HEADERS, key("0"))
    reader = Reader(stage)
    stage.channel.suspend(10)
    stage.channel.go_on("key")
    stage.publish(META, AAC, AVC, key("1", 7), inter("2", 47))
    items = reader.items()
    kinds = [type(item) for item in items]
    assert kinds.count(Spliced) == 1
    spliced = items[kinds.index(Spliced)]
    assert spliced == Spliced(IN_FORCE)
    after = [item for item in items[kinds.index(Spliced) :] if isinstance(item, Batch)]
    assert [message[3] for item in after for message in item.messages] == sent(key("1"), inter("2"))
    assert [type(item) for item in Reader(stage).items()] == [Began, Batch]


def test_suspension_lets_readings_look() -> None:
    stage = Stage()
    reader = Reader(stage)
    told = reader.told
    stage.channel.suspend(10)
    assert reader.told == told + 1
    bare = Stage()
    bare.channel.suspend(10)
    assert bare.output().beside is None


def test_reading_goes_on_at_its_place_in_another_process() -> None:
    stage = Stage()
    stage.publish(*HEADERS, key("0"), inter("1"))
    reader = Reader(stage)
    reader.items()
    told, place = reader.told + 2, reader.reading.place
    stage.publish(inter("2"))
    other = stage.hand_over()
    assert reader.reading.is_closed
    assert reader.reading.place == place
    assert reader.told == told
    assert reader.items() == []
    reader.reading.close()
    follower = Reader(other, place)
    other.publish(inter("3"))
    assert follower.payloads() == sent(inter("2"), inter("3"))
    stranger = Reader(other, (place[0], place[1] + 1))
    assert isinstance(stranger.items()[0], Began)


def test_reading_of_an_ended_publication_goes_on_in_another_process() -> None:
    stage = Stage()
    stage.publish(*HEADERS, key("0"))
    slow = stage.join(room=0)
    reader = Reader(stage)
    place = reader.reading.place
    reader.items()
    stage.channel.stop()
    other = stage.hand_over()
    follower = Reader(other, place)
    assert follower.payloads() == sent(key("0"))
    other.channel.leave(other.player(slow))


def test_mirror_is_read_as_the_owner_is() -> None:
    stage = Stage()
    mirrored = Mirrored(stage)
    reader = Reader(mirrored.stage)
    stage.publish(*HEADERS, key("0"))
    stage.channel.suspend(10)
    stage.channel.go_on("key")
    stage.publish(key("1", 7))
    items = reader.items()
    assert [type(item) for item in items].count(Spliced) == 1
    mirrored.mirror.lost()
    assert reader.items() == [Over(1)]


def test_channel_stays_while_it_is_read() -> None:
    stage = Stage(live=False)
    reader = Reader(stage)
    stage.registry.release("channel")
    assert stage.channel.is_wanted
    assert stage.registry.find("channel") is stage.channel
    reader.reading.close()
    reader.reading.close()
    assert stage.registry.find("channel") is None


def test_closed_reading_holds_nothing() -> None:
    stage = Stage()
    stage.publish(*HEADERS, key("0"))
    reader = Reader(stage)
    reader.reading.close()
    told = reader.told
    stage.publish(inter("1"))
    assert reader.told == told
    assert stage.registry.find("channel") is stage.channel
    stage.clock.advance(1)
    stage.publish(inter("2"))
    assert stage.output().beside is None


def test_splice_that_was_not_read_yet_is_told_in_another_process() -> None:
    stage = Stage()
    stage.publish(*HEADERS, key("0"))
    reader = Reader(stage)
    place = reader.reading.place
    stage.channel.suspend(10)
    stage.channel.go_on("key")
    stage.publish(key("1", 7), inter("2", 47))
    other = stage.hand_over()
    kinds = [type(item) for item in Reader(other, place).items()]
    assert kinds == [Batch, Spliced, Batch]


def test_what_was_left_out_is_told_also_when_the_channel_has_moved() -> None:
    stage = Stage()
    stage.publish(*HEADERS, key("0"))
    reader = Reader(stage)
    reader.items()
    reader.reading.allow(1000, 1e9)
    stage.publish(inter(bytes(2000), 40), key("1", 80))
    stage.clock.advance(1)
    stage.publish(inter("2", 120))
    stage.hand_over()
    (lost,) = reader.items()
    assert isinstance(lost, Lost)
    assert lost.messages == 1


def test_splice_is_told_also_when_the_publication_is_over() -> None:
    stage = Stage()
    stage.publish(*HEADERS, key("0"))
    reader = Reader(stage)
    reader.items()
    stage.channel.suspend(10)
    stage.channel.go_on("key")
    stage.publish(META, AAC, AVC, key("1", 7))
    metadata = reader.reading.metadata
    stage.channel.stop()
    stage.start()
    assert reader.reading.metadata == metadata != ()
    kinds = [type(item) for item in reader.items()]
    assert kinds.count(Spliced) == 1
    assert kinds.index(Spliced) < kinds.index(Over)
    assert reader.reading.metadata == ()


class Visitor:
    """A guest that counts publications."""

    def __init__(self) -> None:
        self.count = 0

    def began(self) -> None:
        self.count += 1


def test_guests_are_told_of_publications_and_keep_the_channel() -> None:
    stage = Stage(live=False)
    guest = Visitor()
    readings = stage.channel.readings
    readings.welcome(guest)
    assert stage.channel.is_wanted
    assert not readings.are_open
    stage.start()
    assert guest.count == 1
    stage.channel.stop()
    stage.start()
    assert guest.count == 2
    stage.channel.stop()
    readings.dismiss(guest)
    readings.dismiss(guest)
    assert stage.registry.find("channel") is None


def test_guests_of_a_channel_that_has_moved_are_told_nothing_more() -> None:
    stage = Stage()
    guest = Visitor()
    stage.channel.readings.welcome(guest)
    readings = stage.channel.readings
    stage.hand_over()
    assert not readings


def test_place_that_was_given_before_anything_was_there_is_honoured() -> None:
    stage = Stage()
    stage.publish(*HEADERS, key("0"), inter("1"))
    reader = Reader(stage)
    reader.items()
    stage.publish(inter("2"))
    stage.channel.readings.hand_over()
    assert reader.reading.is_closed
    assert not stage.output().is_needed
    other = Stage(live=False)
    early = Reader(other, reader.reading.place)
    fds: list[int] = []
    value = stage.channel.snapshot(fds)
    other.channel.adopt(value, [os.dup(fd) for fd in fds])
    assert early.payloads() == sent(inter("2"))
    other.channel.stop()
    other.start()
    assert [type(item) for item in early.items()] == [Over, Began]


def test_reading_that_has_nothing_to_read_moves_with_its_channel() -> None:
    stage = Stage(live=False)
    reader = Reader(stage)
    stage.channel.readings.hand_over()
    assert reader.reading.is_closed
    assert reader.reading.place == (0, 0)
    assert not stage.channel.is_wanted


def test_lock_is_that_of_whose_messages_are_read() -> None:
    stage = Stage(live=False)
    reader = Reader(stage)
    assert reader.reading.lock == NOBODYS
    stage.channel.start("first")
    stage.publish(*HEADERS, key("0"))
    reader.items()
    assert reader.reading.lock == lock_of(b"first")
    stage.channel.suspend(10)
    stage.channel.go_on("second")
    stage.publish(META, AAC, AVC, key("1", 7))
    assert reader.reading.lock == lock_of(b"first"), "it has read no further"
    reader.items()
    assert reader.reading.lock == lock_of(b"second")
    stage.channel.stop()
    stage.channel.start("third")
    reader.items()
    assert reader.reading.lock == lock_of(b"third")


def test_lock_is_known_though_the_publication_is_over() -> None:
    stage = Stage(live=False)
    reader = Reader(stage)
    stage.channel.start("first")
    stage.publish(*HEADERS, key("0"))
    reader.items()
    stage.channel.suspend(10)
    stage.channel.go_on("second")
    stage.publish(META, AAC, AVC, key("1", 7))
    stage.channel.stop()
    while not isinstance(reader.reading.read(), Spliced):
        pass
    assert reader.reading.lock == lock_of(b"second")


def test_nobody_has_the_key_of_a_publication_that_ended_elsewhere() -> None:
    stage = Stage()
    stage.publish(*HEADERS, key("0"))
    slow = stage.join(room=0)
    place = Reader(stage).reading.place
    stage.channel.stop()
    other = stage.hand_over()
    assert Reader(other, place).reading.lock == NOBODYS
    other.channel.leave(other.player(slow))

"""What is made of a channel while somebody asks."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, cast

import pytest

from rtmpsrv.errors import MediaLost, MediaRefused
from rtmpsrv.hls import maker as module
from rtmpsrv.hls.maker import AGAIN_S, CLOSE_S, FAILED, LONGEST_AGAIN_S, REFUSED_S, SAVED_S, TOO_LARGE
from rtmpsrv.hls.pace import SLICE_S
from rtmpsrv.live.budget import WINDOWS, Budget, Holder
from rtmpsrv.live.reading import Batch, Began, Item, Lost, Over, Spliced
from rtmpsrv.media.hls_numbers import restore
from rtmpsrv.media.mp4_source import FRAME_BYTES, Question
from rtmpsrv.protocol.messages import AUDIO, VIDEO
from tests.hls_rules import parse
from tests.unit.hls.stage import WALL_S, Stage
from tests.unit.media.test_mp4_init import FTYP, WIDE_PICTURE, movie
from tests.unit.media.test_mp4_source import AAC, AVC, HEADERS, INTER, KEY, TONE

MORE = ((VIDEO, INTER), (AUDIO, TONE))


@pytest.fixture
def stage() -> Iterator[Stage]:
    made = Stage()
    made.let_run()
    yield made
    made.close()


def numbers(stage: Stage) -> list[tuple[int, bool, str]]:
    found = parse(stage.maker.playlist(True, False).decode())
    return [(one.number - WALL_S, one.discontinuity, one.map_uri) for one in found.segments]


def test_segments_are_made_of_what_is_published(stage: Stage) -> None:
    stage.begin()
    assert stage.is_on_air()
    stage.play(7)
    first, second, third = numbers(stage)
    assert first == (0, True, "ab1-init1.m4s\0")
    assert (second[:2], third[:2]) == ((1, False), (2, False))
    assert stage.maker.window.find("ab1-init1.m4s") == (b"init1",)
    assert len(stage.asked) == 1
    assert stage.maker.codecs.startswith("avc1.")
    assert not stage.maker.is_sound
    index = stage.maker.multivariant()
    assert b"BANDWIDTH=20000," in index
    assert b"FRAME-RATE=25.000\n" in index
    assert b"RESOLUTION" not in index  # the first part tells none
    assert stage.maker.multivariant() is index
    assert stage.maker.describe()["on_air"] is True


def test_size_of_the_picture_is_told(stage: Stage) -> None:
    stage.first = FTYP + movie(WIDE_PICTURE)
    stage.begin()
    stage.play(5)
    assert b"RESOLUTION=1920x1080," in stage.maker.multivariant()


def test_who_waits_is_woken_once_for_each_change(stage: Stage) -> None:
    stage.begin()
    stage.play(3)
    before = stage.maker.changed
    ready = stage.maker.playlist(True, False)
    assert stage.maker.playlist(True, False) is ready
    stage.play(0.2)
    assert not before.is_set()
    stage.play(0.5)
    assert before.is_set()
    assert not stage.maker.changed.is_set()
    assert stage.maker.playlist(True, False) != ready


def test_end_of_a_publication_is_told_and_the_next_is_a_discontinuity(stage: Stage) -> None:
    stage.begin()
    stage.play(3)
    changed = stage.maker.changed
    stage.send(Over(1))
    assert changed.is_set()
    assert not stage.is_on_air()
    stage.begin()
    assert stage.is_on_air()
    stage.play(3)
    assert [one[1] for one in numbers(stage)] == [True, False, True]
    assert numbers(stage)[2][2] == "ab1-init2.m4s\0"


def test_stream_of_one_track_that_is_over_at_once_is_made(stage: Stage) -> None:
    stage.source.headers = ((9, AVC),)
    stage.begin()
    stage.send(*[Batch([(VIDEO, 0, 40 * place, KEY, stage.now)]) for place in range(60)])
    assert stage.asked == []  # there may be sound, too
    stage.send(Over(1))
    assert len(numbers(stage)) == 2


def test_tail_whose_first_batch_is_a_keyframe_alone_has_sound(stage: Stage) -> None:
    came = stage.now - 1.8  # the tail is older than what anything is waited for
    stage.source.items += [Began(1, HEADERS, ()), Batch([(VIDEO, 0, 0, KEY, came)])]
    later = [(kind, 0, 40 * n, data, came + 0.04 * n) for n in range(1, 45) for kind, data in MORE]
    stage.send(Batch(later))
    stage.media_ms = 1800
    stage.play(4)
    assert [one.kind for one in stage.asked[0].tracks] == [VIDEO, AUDIO]
    assert len(stage.asked) == 1
    assert stage.maker.codecs == "avc1.640020,mp4a.40.2"
    assert [one[1] for one in numbers(stage)][:2] == [True, False]


def test_tail_without_sound_is_made_when_enough_was_seen(stage: Stage) -> None:
    came = stage.now - 3
    stage.source.items += [Began(1, HEADERS, ()), Batch([(VIDEO, 0, 0, KEY, came)])]
    stage.send(Batch([(VIDEO, 0, 40 * n, INTER if n % 25 else KEY, came + 0.04 * n) for n in range(1, 75)]))
    assert [one.kind for one in stage.asked[0].tracks] == [VIDEO]


def test_other_configuration_is_a_discontinuity(stage: Stage) -> None:
    stage.begin()
    stage.play(3)
    other = AVC + b"another"
    stage.source.headers = ((9, other), (8, AAC))
    stage.send(Batch([(VIDEO, 0, stage.media_ms, other, stage.now)]))
    stage.play(3)
    assert [one[1] for one in numbers(stage)] == [True, False, True]
    assert len(stage.asked) == 2


@pytest.mark.parametrize("item", [Lost(5, 500), Spliced(())])
def test_loss_and_splice_keep_the_first_part(stage: Stage, item: Lost | Spliced) -> None:
    stage.begin()
    stage.send(item)  # before anything is known
    stage.play(3)
    stage.send(item)
    stage.media_ms += 20_000
    stage.play(3)
    assert [one[1] for one in numbers(stage)] == [True, False, True]
    assert len(stage.asked) == 1


def test_splice_to_another_configuration(stage: Stage) -> None:
    stage.begin()
    stage.play(3)
    stage.source.headers = ((9, AVC + b"another"), (8, AAC))
    stage.send(Spliced(stage.source.headers))
    stage.play(3)
    assert len(stage.asked) == 2


def test_message_before_any_beginning_is_taken(stage: Stage) -> None:
    stage.send(Batch([(VIDEO, 0, 0, KEY, 0.0)]))
    stage.play(3)
    assert len(numbers(stage)) == 1


def test_what_cannot_be_shown_is_said(stage: Stage) -> None:
    stage.failure = MediaRefused("no such thing")
    stage.begin()
    changed = stage.maker.changed
    stage.play(1)
    assert stage.maker.refusal == "no such thing"
    assert changed.is_set()
    assert len(stage.asked) == 1
    stage.failure = None
    stage.begin()
    stage.play(3)
    assert stage.maker.refusal == ""
    assert len(numbers(stage)) == 1


def test_what_could_not_be_shown_is_tried_again_for_who_asks_later(stage: Stage) -> None:
    stage.failure = MediaRefused("noise")
    stage.begin()
    stage.play(1)
    stage.maker.asked()
    stage.play(REFUSED_S)
    assert len(stage.asked) == 1  # nobody has asked since then
    assert stage.memory.used_bytes < 10 * (FRAME_BYTES + len(KEY))
    stage.failure = None
    stage.maker.asked()
    stage.play(3)
    assert len(stage.asked) == 2
    assert stage.maker.refusal == ""
    assert len(numbers(stage)) >= 1


def test_lost_process_is_asked_again_after_longer_and_longer(stage: Stage) -> None:
    stage.failure = MediaLost("gone")
    stage.begin()
    stage.play(0.5)
    asked = 1
    assert len(stage.asked) == asked
    for pause_s in (1, 2, 4, 8, 16, 32, LONGEST_AGAIN_S, LONGEST_AGAIN_S):
        stage.maker.asked()
        stage.now += pause_s - 0.6
        stage.play(0.04)
        assert len(stage.asked) == asked
        stage.maker.asked()
        stage.now += 0.6
        stage.play(0.04)
        asked += 1
        assert len(stage.asked) == asked
    stage.failure = None
    for _ in range(2):
        stage.maker.asked()
        stage.now += LONGEST_AGAIN_S / 2
    stage.play(3)
    assert len(stage.asked) == asked + 1
    assert len(numbers(stage)) >= 1


def test_first_parts_are_asked_for_once_a_second_in_the_long_run(stage: Stage) -> None:
    stage.begin()
    for number in range(40):
        stage.source.headers = ((9, AVC + b"%d" % number), (8, AAC))
        stage.send(Batch([(VIDEO, 0, stage.media_ms, AVC + b"%d" % number, stage.now)]))
        stage.play(AGAIN_S / 4)
    assert 10 <= len(stage.asked) <= 10 + SAVED_S + 1


def test_ends_after_the_last_request_and_numbers_go_on(stage: Stage) -> None:
    stage.begin()
    stage.play(3)
    last = stage.maker.window.last
    stage.now += CLOSE_S - 5
    stage.maker.asked()
    stage.now += CLOSE_S - 1
    stage.send()
    assert stage.is_running()
    changed = stage.maker.changed
    stage.now += 1
    stage.send()
    assert not stage.is_running()
    assert changed.is_set()
    assert stage.source.is_closed
    assert stage.memory.used_bytes == 0
    again = Stage(restore(stage.numbering.snapshot()))
    again.let_run()
    again.begin()
    again.play(3)
    assert again.maker.window.segments[0].number > last
    assert again.maker.window.segments[0].discontinuity
    again.close()


def test_ends_some_time_after_the_publisher(stage: Stage) -> None:
    stage.begin()
    stage.play(3)
    stage.send(Over(1))
    stage.now += CLOSE_S + 1
    stage.maker.asked()
    stage.send()
    assert not stage.is_running()


def test_goes_on_beside_what_has_moved(stage: Stage) -> None:
    stage.begin()
    stage.source.place = (1, 77)
    stage.source.is_closed = True
    stage.send()
    assert stage.is_running()
    assert stage.is_on_air(), "who waits here goes on waiting"
    assert (len(stage.source.places), stage.source.place) == (2, (1, 77))


@pytest.mark.parametrize("played_s", [0.0, 0.5, 3.0, 7.3])
def test_replica_makes_the_same_of_the_same(stage: Stage, played_s: float) -> None:
    stage.begin()
    stage.play(played_s)
    stage.source.place = (1, 77)
    value = pickle.loads(pickle.dumps(stage.maker.snapshot()))
    replica = Stage(moved=value)
    replica.now, replica.media_ms, replica.asked = stage.now, stage.media_ms, list(stage.asked)
    assert replica.source.place == (1, 77)
    assert replica.is_on_air()
    assert replica.memory.used_bytes == stage.memory.used_bytes
    for one in (stage, replica):
        one.play(9)
        one.let_run()
    lists = [one.maker.playlist(True, False) for one in (stage, replica)]
    assert lists[0] == lists[1]
    assert lists[0].count(b"EXT-X-DISCONTINUITY\n") <= 1
    parsed = parse(lists[0].decode())
    for segment in parsed.segments:
        name = segment.uri.rstrip("\0")
        assert stage.maker.window.find(name) == replica.maker.window.find(name) is not None
    assert stage.maker.multivariant() == replica.maker.multivariant()
    replica.close()
    assert replica.memory.used_bytes == 0


def test_what_makes_nothing_has_no_state(stage: Stage) -> None:
    assert Stage().maker.snapshot() is None, "it has not begun"
    stage.begin()
    stage.play(1)
    stage.maker.drop("too much")
    assert stage.maker.snapshot() is None


def test_bug_ends_what_is_made_and_that_is_said_for_a_while(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    stage.begin()
    stage.play(3)
    changed = stage.maker.changed
    stage.source.failure = RuntimeError("a bug")
    stage.send()
    assert "HLS failed" in caplog.text
    assert changed.is_set()
    assert (stage.maker.refusal, stage.maker.on_air, stage.maker.window.segments) == (FAILED, False, [])
    assert stage.source.is_closed
    assert stage.memory.used_bytes == 0
    assert stage.is_running()  # nobody begins it all again at once
    stage.close()
    assert not stage.is_running()


def test_channel_that_cannot_be_read_is_tried_again_later(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "REST_S", 0.0)
    stage = Stage(fails=True)
    stage.let_run()
    assert not stage.is_running()
    assert "HLS failed" in caplog.text


def held(memory: Budget) -> int:
    count: int = memory.describe()[f"{WINDOWS}_bytes"]
    return count


def test_all_that_is_held_is_counted(stage: Stage) -> None:
    stage.failure = MediaLost("gone")
    stage.begin()
    stage.play(0.5)
    waits = held(stage.memory)
    assert waits > 10 * (FRAME_BYTES + len(TONE))  # until it is known how it begins
    stage.failure = None
    stage.now += AGAIN_S
    stage.play(0.5)
    assert held(stage.memory) > waits  # until it is known how to cut it
    stage.play(20)
    window = stage.maker.window.size
    assert window <= held(stage.memory) < window + 50 * (FRAME_BYTES + len(KEY))  # and the part that comes


def test_as_little_as_may_be_is_held_where_there_is_little(stage: Stage) -> None:
    stage.begin()
    stage.play(20)
    assert stage.maker.window.describe()["left"] > 0
    stage.memory.limit_bytes = 0
    stage.play(3)
    assert stage.maker.window.describe()["left"] == 0
    assert len(numbers(stage)) == 3


def test_too_large_stream_is_given_up_and_that_is_said(caplog: pytest.LogCaptureFixture) -> None:
    stage = Stage(memory=Budget(40_000))
    stage.let_run()
    stage.begin()
    stage.play(3)
    changed = stage.maker.changed
    stage.send(Batch([(VIDEO, 0, stage.media_ms, KEY + bytes(21_000), stage.now)]))
    assert changed.is_set()
    assert (stage.maker.refusal, stage.maker.window.segments) == (TOO_LARGE, [])
    assert stage.source.is_closed
    assert stage.memory.used_bytes == 0
    assert caplog.text.count("HLS given up") == 1
    stage.maker.drop("again")
    assert caplog.text.count("HLS given up") == 1
    stage.close()
    assert stage.numbering.next_segment > WALL_S


def test_stream_that_is_given_up_while_its_first_part_is_made(stage: Stage) -> None:
    make = stage.first_part

    def first_part(question: Question) -> bytes:
        stage.maker.drop("others need it")
        return make(question)

    stage.maker._first_part = first_part
    stage.begin()
    stage.play(0.5)
    assert stage.maker.refusal == TOO_LARGE
    assert stage.maker.window.inits == {}


def test_stream_that_is_given_up_at_a_change(stage: Stage) -> None:
    stage.begin()
    stage.play(3)
    memory = stage.memory
    memory.limit_bytes = 0

    def hold(kind: str, holder: Holder, count: int) -> None:
        holder.drop("it is the largest")

    stage.maker._memory = cast(Any, SimpleNamespace(is_pressed=memory.is_pressed, hold=hold))
    stage.send(
        Batch([(VIDEO, 0, stage.media_ms, KEY, stage.now), (VIDEO, 0, stage.media_ms, AVC + b"x", stage.now)])
    )
    assert stage.maker.refusal == TOO_LARGE


def test_maker_rests_when_it_has_worked_for_a_while(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    rests: list[float] = []
    real = stage.source.read

    def read(most: int = 256) -> Item | None:
        stage.work_s += SLICE_S / 4
        return real(most)

    def sleep(seconds: float) -> None:
        rests.append(seconds)
        stage.work_s += seconds

    monkeypatch.setattr(stage.source, "read", read)
    monkeypatch.setattr(module, "gevent", SimpleNamespace(sleep=sleep))
    stage.begin()
    stage.send(*[Batch([(VIDEO, 0, 40 * place, KEY, 0.0)]) for place in range(100)])
    assert stage.source.items == []
    assert len(rests) == 25
    assert rests == pytest.approx([9 * SLICE_S] * 25)


def test_time_that_others_take_for_the_first_part_is_no_work(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    make = stage.first_part

    def first_part(question: Question) -> bytes:
        stage.work_s += 3.0
        return make(question)

    stage.maker._first_part = first_part
    monkeypatch.setattr(module, "gevent", None)  # nothing sleeps
    stage.begin()
    stage.play(3)
    assert len(numbers(stage)) == 1

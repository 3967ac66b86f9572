"""What is made of a channel while somebody asks."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from rtmpsrv.errors import MediaLost, MediaRefused
from rtmpsrv.hls.maker import AGAIN_S, CLOSE_S
from rtmpsrv.live.reading import Batch, Lost, Over, Spliced
from rtmpsrv.media.hls_numbers import restore
from rtmpsrv.protocol.messages import VIDEO
from tests.hls_rules import parse
from tests.unit.hls.stage import WALL_S, Stage
from tests.unit.media.test_mp4_source import AAC, AVC, KEY


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
    assert stage.maker.window.find("ab1-init1.m4s") == b"init1"
    assert len(stage.asked) == 1
    assert stage.maker.codecs.startswith("avc1.")
    assert not stage.maker.is_sound
    assert b"BANDWIDTH=100000," in stage.maker.multivariant()
    assert stage.maker.describe()["on_air"] is True


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


def test_lost_process_is_asked_again_after_a_while(stage: Stage) -> None:
    stage.failure = MediaLost("gone")
    stage.begin()
    stage.play(0.5)
    assert len(stage.asked) == 1
    stage.now += AGAIN_S
    stage.failure = None
    stage.play(3)
    assert len(stage.asked) == 2
    assert len(numbers(stage)) >= 1


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


def test_ends_with_the_reading(stage: Stage) -> None:
    stage.begin()
    stage.source.is_closed = True
    stage.send()
    assert not stage.is_running()


def test_bug_ends_the_maker_only(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    stage.source.failure = RuntimeError("a bug")
    stage.send()
    assert not stage.is_running()
    assert "HLS failed" in caplog.text


def test_channel_that_cannot_be_read_ends_the_maker(caplog: pytest.LogCaptureFixture) -> None:
    stage = Stage(fails=True)
    stage.let_run()
    assert not stage.is_running()
    assert "HLS failed" in caplog.text


def test_memory_is_counted_and_bounded(stage: Stage) -> None:
    stage.begin()
    stage.play(0.5)
    assert stage.memory.used_bytes > len(b"init1")
    stage.play(20)
    assert stage.memory.used_bytes == stage.maker.window.size
    assert stage.maker.window.describe()["left"] > 0
    stage.memory.limit_bytes = 0
    stage.play(3)
    assert stage.maker.window.describe()["left"] == 0


def test_much_that_waits_is_read_in_turns(stage: Stage) -> None:
    stage.begin()
    stage.send(*[Batch([(VIDEO, 0, 40 * place, KEY, 0.0)]) for place in range(100)])
    assert stage.source.items == []

"""What mirrors are told: all at first, then what was flushed, and no more of anything than they need."""

from __future__ import annotations

import os
from typing import Any

import pytest

from rtmpsrv.live.tap import Tap
from tests.unit.live.mirrored import Mirrored
from tests.unit.live.stage import AAC_2, AVC, HEADERS, META, Stage, inter, key, many, tone


def test_first_all_then_each_flush_then_the_end_and_the_next_publication() -> None:
    stage = Stage()
    stage.publish(*HEADERS)
    mirrored = Mirrored(stage)
    stage.publish(key("0"), inter("1"))
    stage.channel.stop()
    stage.start("key")
    stage.publish(AVC)
    assert mirrored.kinds == ["start", "flush", "flush", "stop", "start", "flush"]


def test_what_one_flush_sends_is_told_at_once() -> None:
    stage = Stage()
    mirrored = Mirrored(stage)
    stage.batch([*HEADERS, key("0"), inter("1"), tone("2")])
    start, before, rest = mirrored.messages
    assert start["channel"]["outputs"][0]["log"]["segments"][0]["size"] == 0
    (record,) = rest["records"]
    assert (record["first"], len(record["flags"])) == (3, 3)
    assert (rest["begin"], rest["records"][0]["size"]) == (
        before["records"][0]["size"],
        stage.output().log.end,
    )


def test_media_goes_once_and_by_its_descriptor(small_segments: None) -> None:
    stage = Stage(keep_stream=True)
    counts: list[int] = []
    data: list[object] = []

    def deliver(message: dict[str, Any], fds: list[int]) -> bool:
        counts.append(len(fds))
        data.extend([record["data"] for record in message.get("records", [])])
        return True

    Tap(stage.channel, deliver)
    for message in (AVC, key("0"), inter(bytes(90)), inter(bytes(250)), inter("1"), inter("2")):
        stage.publish(message)
    assert stage.output().log.describe()["segments"] == 3
    assert counts == [0, 1, 0, 0, 1, 1, 0]
    assert data == [None] * 6


def test_segment_that_was_begun_and_is_empty_yet_is_told_of_with_its_first_message() -> None:
    stage = Stage()
    mirrored = Mirrored(stage)
    mirrored.tap.close()
    stage.publish(AVC, key("0"))
    stage.channel.skip_laggards()  # begins a segment
    mirrored.tap_again(stage)
    stage.publish(inter("1"))
    assert mirrored.stage.join().frames() == stage.join().frames()


def test_each_flush_is_in_the_file() -> None:
    stage = Stage()
    stage.join(can_sendfile=False)  # needs no file
    Mirrored(stage)
    for message in (AVC, key("0"), inter("1")):
        stage.publish(message)
        assert stage.output().log.tail.written == stage.output().log.end


def test_what_joiners_are_told_goes_when_it_changes() -> None:
    stage = Stage()
    mirrored = Mirrored(stage)
    for message in (AVC, key("0"), inter("1"), META, AVC, AAC_2, inter("2")):
        stage.publish(message)
    told = ["preamble" in message["contents"] for message in mirrored.messages[1:]]
    assert told == [True, False, False, True, False, True, False]
    # A change at the very place where a flush begins goes twice: what was there before it may be known alone.
    assert [len(message["headers"]) for message in mirrored.messages[1:]] == [2, 1, 0, 0, 0, 1, 1]


def test_all_taps_share_each_message_but_the_first() -> None:
    stage = Stage()
    one = Mirrored(stage)
    stage.publish(*HEADERS)
    two = Mirrored(stage)
    stage.publish(key("0"), inter("1"))
    assert one.messages[-2:] == two.messages[1:]
    assert [mine is other for mine, other in zip(one.messages[-2:], two.messages[1:], strict=True)] == [
        True
    ] * 2


def test_what_waits_goes_to_those_before_not_to_a_newcomer() -> None:
    stage = Stage(merge_messages=8)
    one = Mirrored(stage)
    stage.join().cost_s = 0.001
    stage.publish(AVC, key("0"), inter("1"), inter("2"))
    assert stage.output().log.unsent
    two = Mirrored(stage)
    assert not stage.output().log.unsent
    stage.publish(inter("3"))
    stage.output().flush()
    assert one.mirror.place == two.mirror.place == (1, stage.output().log.end)


def test_tap_that_is_lost_is_dropped_and_the_others_go_on() -> None:
    stage = Stage()
    one, two = Mirrored(stage), Mirrored(stage)
    two.alive = False
    stage.publish(AVC, key("0"))
    assert (one.tap.lost, two.tap.lost) == (False, True)
    assert len(one.messages) == 3
    one.alive = False
    stage.channel.stop()
    assert one.tap.lost
    assert stage.channel.feed.taps == []


def test_tap_whose_mirror_is_gone_at_once_is_lost() -> None:
    stage = Stage()
    tap = Tap(stage.channel, lambda _message, _fds: False)
    assert tap.lost
    tap.close()


def test_channel_is_not_forgotten_while_it_is_mirrored() -> None:
    stage = Stage()
    mirrored = Mirrored(stage)
    stage.channel.stop()
    stage.registry.release("channel")
    assert stage.registry.find("channel") is stage.channel
    mirrored.tap.close()
    stage.registry.release("channel")
    assert stage.registry.find("channel") is None


def test_closed_tap_is_told_nothing() -> None:
    stage = Stage()
    mirrored = Mirrored(stage)
    mirrored.tap.close()
    stage.publish(AVC)
    assert mirrored.kinds == ["start"]


@pytest.mark.parametrize("place", [(0, 0), (2, 0), (1, 1), (1, -1), (1, 1 << 40)])
def test_tap_begins_with_all_where_its_place_is_unknown(place: tuple[int, int]) -> None:
    stage = Stage()
    stage.publish(AVC, key("0"))
    kinds: list[str] = []

    def deliver(message: dict[str, Any], _fds: list[int]) -> bool:
        kinds.append(message["kind"])
        return True

    Tap(stage.channel, deliver, *place)
    assert kinds == ["start"]


def test_tap_begins_with_all_where_its_place_was_let_go_of(small_segments: None) -> None:
    stage = Stage()
    mirrored = Mirrored(stage)
    stage.publish(AVC, key("0"))
    mirrored.tap.close()
    stage.publish(*many(3), key("1"), inter("2"))
    assert stage.output().log.begin > mirrored.mirror.place[1]
    mirrored.tap_again(stage)
    assert mirrored.kinds[-1] == "start"


def test_tap_of_a_channel_off_the_air_says_so() -> None:
    stage = Stage(live=False)
    mirrored = Mirrored(stage)
    assert mirrored.messages[0]["channel"]["outputs"] == []
    stage.start("key")
    assert mirrored.kinds == ["start", "start"]


def test_publications_that_are_over_are_the_owners_affair() -> None:
    stage = Stage()
    sink = stage.join()
    stage.publish(AVC, key("0"))
    sink.room = 0
    stage.publish(inter("1"))
    stage.channel.stop()
    assert Mirrored(stage).messages[0]["channel"]["outputs"] == []
    stage.start("key")
    (output,) = Mirrored(stage).messages[0]["channel"]["outputs"]
    assert output["publication"] == 2


def test_mirror_is_not_tapped() -> None:
    mirrored = Mirrored(Stage())
    with pytest.raises(AssertionError, match="follow the owner"):
        Tap(mirrored.stage.channel, lambda _message, _fds: True)


def test_flushes_merge_as_if_the_players_of_mirrors_were_here() -> None:
    stage = Stage(merge_messages=8)
    stage.publish(AVC)
    one, two = Mirrored(stage), Mirrored(stage)
    one.tap.report(0.004)
    two.tap.report(0.004)
    assert stage.channel.feed.cost_s == 0.008
    stage.publish(key("0"))
    stage.clock.advance(1)
    stage.publish(inter("1"))
    stage.clock.advance(1)
    stage.publish(inter("2"))
    stage.clock.advance(0.01)
    begin = stage.clock.time_s
    stage.publish(inter("3"))
    while stage.output().log.unsent:
        stage.clock.advance(0.001)
    assert 0.05 < stage.clock.time_s - begin < 0.075
    two.tap.close()
    assert stage.channel.feed.cost_s == 0.004


def test_descriptors_stay_the_channels() -> None:
    stage = Stage()
    seen: list[int] = []

    def deliver(_message: dict[str, Any], fds: list[int]) -> bool:
        seen.extend(fds)
        return True

    Tap(stage.channel, deliver)
    stage.publish(AVC)
    assert seen == [stage.output().log.tail.file()]
    assert os.fstat(seen[0]).st_size == stage.output().log.end

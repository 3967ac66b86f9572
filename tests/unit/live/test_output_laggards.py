"""What becomes of players who do not keep up."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

import pytest

from rtmpsrv.live.channel import CHECK_S
from rtmpsrv.live.header_history import MAX_HEADER_CHANGES
from rtmpsrv.live.joints import ENDLESS_GOP_S
from rtmpsrv.live.news import News
from rtmpsrv.live.segment import KEYFRAME, VIDEO
from tests.client import AAC_HEADER
from tests.unit.live.fakes import FakeClock, FakeSink
from tests.unit.live.stage import (
    AAC,
    AAC_2,
    AVC,
    META,
    Stage,
    framed,
    inter,
    key,
    many,
    payloads,
    playing,
    sound,
    tone,
)


@pytest.mark.parametrize("room", [0, 1, 150, 500])
def test_laggard_too_many_bytes_behind_jumps_to_the_newest_keyframe(can_sendfile: bool, room: int) -> None:
    stage = Stage(lag_bytes=5000)
    sink = playing(stage, AVC, key("k"), can_sendfile=can_sendfile)
    sink.room = room
    stage.publish(*many(4), key("skipped"), *many(4), key("newest"), inter("after"))
    sink.open()
    assert sink.frames()[-2:] == payloads(key("newest"), inter("after"))
    assert key("skipped")[3] not in sink.frames()
    assert sink.frames()[:-2] == payloads(*many(4))[: len(sink.frames()) - 2]
    assert stage.news() == [(News.JUMPED, sink)]
    assert stage.player(sink).state.jumps == 1
    assert stage.player(sink).state.skipped_messages + len(sink.frames()) == 11


def test_laggard_within_the_limit_loses_nothing() -> None:
    stage = Stage(lag_bytes=5000)
    sink = playing(stage, AVC, key("k"))
    sink.room = 100
    sent = [*many(3, 500), key("next"), *many(3, 500)]
    stage.publish(*sent)
    sink.open()
    assert sink.frames() == payloads(*sent)
    assert stage.player(sink).state.skipped_messages == 0


def test_laggard_too_many_seconds_behind_jumps_to_the_newest_keyframe() -> None:
    stage = Stage(lag_s=3.0)
    sink = playing(stage, AVC, key("k"))
    sink.room = 0
    for second in range(5):
        stage.publish(key(f"k{second}"), inter(f"i{second}"))
        stage.clock.advance(1)
    sink.open()
    assert sink.frames() == payloads(key("k4"), inter("i4"))


def test_player_whose_socket_stays_full_does_not_hold_the_log(small_segments: None) -> None:
    stage = Stage(lag_bytes=5000)
    sink = playing(stage, AVC, key("k"))
    sink.room = 10
    for number in range(200):
        stage.publish(key(f"k{number}"), *many(5))
        stage.clock.advance(CHECK_S)
        assert stage.used_bytes() <= 4 * 5200  # twice the limit, and a GOP at each end
    sink.open()
    assert sink.frames()[-6:] == payloads(key("k199"), *many(5))
    assert len(sink.frames()) <= 13


def test_out_of_descriptors_players_are_sent_copies(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(name: str, flags: int) -> int:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(os, "memfd_create", refuse)
    stage = Stage()
    stage.publish(AVC, key("k"))
    sink, slow = stage.join(), stage.join(room=0)
    stage.publish(*many(5))
    slow.open(2000)
    slow.open()
    assert sink.frames() == slow.frames() == payloads(key("k"), *many(5))
    assert sink.sendfiles == slow.sendfiles == 0


def test_lag_counts_from_what_lay_before_a_joiner() -> None:
    stage = Stage(lag_bytes=1000, lag_s=1.0)
    cached = [key("k"), *many(5)]
    stage.publish(AVC, *cached)
    stage.clock.advance(15)
    sink = stage.join(room=2000)
    stage.publish(key("next"))
    sink.open()
    assert sink.frames() == payloads(*cached, key("next"))


def test_headers_that_changed_are_sent_again_before_the_keyframe() -> None:
    stage = Stage(lag_bytes=5000)
    sink = playing(stage, AVC, AAC, key("k"))
    sink.room = 0
    stage.publish(*many(4), AAC_2, *many(4), META, key("newest", 1000), inter("newest", 1040))
    sink.open()
    assert [(at, payload) for _, at, payload in sink.media()] == [
        (1000, AAC_2[3]), (1000, key("newest")[3]), (1040, inter("newest")[3])
    ]  # fmt: skip


def test_headers_that_did_not_change_are_not_sent_again() -> None:
    stage = Stage(lag_bytes=5000)
    sink = playing(stage, AVC, AAC, key("k"))
    sink.room = 0
    stage.publish(*many(4), AAC, *many(4), key("newest"))
    sink.open()
    assert [payload for _, _, payload in sink.media()] == payloads(key("newest"))


def test_all_headers_are_sent_where_nobody_remembers_which_a_laggard_knows() -> None:
    stage = Stage(lag_bytes=5000)
    sink = playing(stage, AVC, AAC, key("k"))
    sink.room = 0
    changes = [sound(AAC_HEADER + b"%d" % number) for number in range(MAX_HEADER_CHANGES)]
    stage.publish(*many(4), AAC_2, *changes, changes[0], *many(4), key("newest"))
    sink.open()
    assert [payload for _, _, payload in sink.media()] == payloads(changes[0], AVC, key("newest"))


def test_laggard_of_twice_the_limit_waits_where_there_is_no_keyframe() -> None:
    stage = Stage(lag_bytes=4000, cache_bytes=3000)
    sink = playing(stage, AVC, AAC, key("k"))
    sink.room = 0
    stage.publish(*many(4), AAC_2, *many(8))
    sink.open()
    stage.publish(inter("lost"), tone("goes on"), key("next"), tone("kept"))
    assert sink.frames() == payloads(tone("goes on"), key("next"), tone("kept"))
    assert AAC_2[3] in [payload for _, _, payload in sink.media()]


def test_header_inside_what_was_skipped_to_the_end_is_sent() -> None:
    # The end of the log is inside a GOP: its header is not that of the segment's beginning.
    stage = Stage(total_bytes=1 << 20)
    sink = playing(stage, AVC, AAC, key("k"))
    sink.room = 0
    stage.publish(inter("0"), key("1"), AAC_2, inter("2"))
    player = stage.player(sink)
    stage.output().log.forget()  # no keyframe to jump to
    stage.publish(AAC, inter("3"))
    assert stage.output().skip(player, to_the_end=True)
    sink.open()
    stage.publish(key("next"))
    assert sink.frames() == payloads(key("next"))
    assert [p for _, _, p in sink.media() if p in payloads(AAC, AAC_2)][-1:] in ([], [AAC[3]])
    # and once more, where the last header differs from the one it knows
    sink.clear()
    sink.room = 0
    stage.publish(inter("4"))
    stage.output().log.forget()
    stage.publish(AAC_2, inter("5"))
    assert stage.output().skip(player, to_the_end=True)
    sink.open()
    stage.publish(key("last"), tone("t"))
    assert [p for _, _, p in sink.media()] == payloads(AAC_2, key("last"), tone("t"))


# --- exactly how far ------------------------------------------------------------------------------


def behind(stage: Stage, sink: FakeSink) -> int:
    """How many bytes a player is behind."""
    found: int = stage.player(sink).describe()["behind_bytes"]
    return found


@pytest.mark.parametrize(("spare", "jumps"), [(0, 0), (-1, 1)])
def test_laggard_may_be_behind_by_the_limit_and_no_byte_more(spare: int, jumps: int) -> None:
    sent = [*many(4), key("newest")]
    stage = Stage(lag_bytes=len(framed(*sent)) + spare)
    sink = playing(stage, AVC, key("k"))
    sink.room = 0
    stage.publish(*sent)
    sink.open()
    assert stage.player(sink).state.jumps == jumps
    assert sink.frames() == payloads(*sent[4 * jumps :])


@pytest.mark.parametrize(("late_s", "jumps"), [(3.0, 0), (3.25, 1)])
def test_laggard_may_be_late_by_the_limit_and_no_longer(late_s: float, jumps: int) -> None:
    stage = Stage(lag_s=3.0)
    sink = playing(stage, AVC, key("k"))
    sink.room = 0
    stage.publish(inter("0"), key("newest"))
    stage.clock.advance(late_s)
    stage.player(sink).skip_if_behind()
    assert stage.player(sink).state.jumps == jumps


@pytest.mark.parametrize(("spare", "jumps"), [(0, 0), (-1, 1)])
def test_without_a_keyframe_ahead_it_may_be_behind_by_twice_the_limit(spare: int, jumps: int) -> None:
    sent = many(4)
    stage = Stage(lag_bytes=len(framed(*sent)) // 2 + spare)
    sink = playing(stage, AVC, key("k"))
    sink.room = 0
    stage.publish(*sent)
    assert stage.player(sink).skip_if_behind() is bool(jumps)
    assert stage.player(sink).state.jumps == jumps
    sink.open()
    stage.publish(inter("lost" if jumps else "kept"), key("next"))
    assert sink.frames() == payloads(*([] if jumps else [*sent, inter("kept")]), key("next"))


@pytest.mark.parametrize(("late_s", "jumps"), [(6.0, 0), (6.25, 1)])
def test_without_a_keyframe_ahead_it_may_be_late_by_twice_the_limit(late_s: float, jumps: int) -> None:
    stage = Stage(lag_s=3.0)
    sink = playing(stage, AVC, key("k"))
    sink.room = 0
    stage.publish(inter("0"), inter("1"))
    stage.clock.advance(late_s)
    stage.player(sink).skip_if_behind()
    assert stage.player(sink).state.jumps == jumps


def test_allowance_of_a_joiner_is_the_limit_beyond_what_lay_before_it() -> None:
    stage = Stage(lag_bytes=5000, lag_s=3.0)
    cached = [key("k"), *many(5)]
    stage.publish(AVC, *cached)
    stage.clock.advance(10)
    sink = stage.join(room=0)
    state = stage.player(sink).state
    assert (state.allowance_bytes, state.allowance_s) == (5000 + len(framed(*cached)), 13.0)
    sink.open()
    assert (state.allowance_bytes, state.allowance_s) == (5000, 3.0)


def test_allowance_after_a_jump_is_the_limit() -> None:
    stage = Stage(lag_bytes=2000, lag_s=3.0)
    stage.publish(AVC, key("k"), *many(5))
    sink = stage.join(room=0)
    stage.publish(*many(3), key("newest"))
    assert stage.player(sink).skip_if_behind()
    state = stage.player(sink).state
    assert (state.allowance_bytes, state.allowance_s) == (2000, 3.0)
    assert not stage.player(sink).skip_if_behind()
    assert behind(stage, sink) == len(framed(key("newest")))


# --- and then -------------------------------------------------------------------------------------


def test_laggard_far_behind_in_an_endless_gop_goes_on_at_the_end() -> None:
    stage = Stage(lag_bytes=4000)
    sink, paused = playing(stage, AVC, AAC, key("only")), stage.join()
    stage.pause(stage.player(paused))
    stage.clock.advance(ENDLESS_GOP_S)
    sink.room = 0
    stage.publish(AAC_2, *many(9))
    stage.clock.advance(CHECK_S)
    stage.publish(inter("last"))
    assert stage.news() == [(News.JUMPED, sink)]
    sink.open()
    stage.publish(tone("a"), inter("b"))
    assert sink.frames()[-2:] == payloads(tone("a"), inter("b"))
    assert len(sink.frames()) <= 3
    assert stage.player(sink).state.jumps == 1


def test_laggard_in_an_ended_log_reads_all_of_it_however_late() -> None:
    stage = Stage(lag_bytes=1000, lag_s=3.0)
    sink = playing(stage, AVC, key("k"))
    sink.room = 0
    sent = [inter("0"), key("1"), *many(2, 200)]
    stage.publish(*sent)
    stage.channel.stop()
    stage.clock.advance(100)
    assert not stage.player(sink).skip_if_behind()
    sink.open()
    assert sink.frames() == payloads(*sent)
    assert not stage.player(sink).skip_if_behind()


class Meddling(FakeSink):
    """Does something else when it is kicked."""

    def __init__(self, clock: FakeClock) -> None:
        super().__init__(clock)
        self.then: Callable[[], None] | None = None

    def kick(self) -> None:
        super().kick()
        if self.then is not None:
            then, self.then = self.then, None
            then()


@pytest.mark.parametrize("relieved", [False, True])
@pytest.mark.parametrize("leaver", [0, 1])
def test_player_that_leaves_while_others_are_written_to_is_not_moved(leaver: int, relieved: bool) -> None:
    stage = Stage(lag_bytes=3000)
    laggards = [playing(stage, AVC, key("k")), stage.join()]
    meddler = Meddling(stage.clock)
    stage.seat(meddler)
    stage.pause(stage.player(meddler))
    for sink in laggards:
        sink.clear()
        sink.room = 0
    stage.publish(*many(4))
    log = stage.output().log
    log.mark_keyframe(False)  # comes, and waits for its flush
    log.append(framed(key("newest")), VIDEO | KEYFRAME, 0, stage.clock.now(), 0)
    gone, stays = (stage.player(laggards[number]) for number in (leaver, 1 - leaver))
    meddler.then = lambda: stage.channel.leave(gone)
    if relieved:
        stage.channel.skip_laggards()
    else:
        stage.output().see_to_laggards(False)
    assert (gone.state.jumps, stays.state.jumps) == (0, 1)
    assert gone not in stage.channel.players


def work_of_half_falling_behind(players: int) -> int:
    """Return how many steps of the interpreter it takes when every other player's socket is full."""
    stage = Stage()
    sinks = [stage.join(room=None if number % 2 else 1000) for number in range(players)]
    stage.publish(AVC, key("0"))
    steps = 0

    def count(frame: FrameType, event: str, _: object) -> Callable[..., Any]:
        nonlocal steps
        frame.f_trace_opcodes = True
        steps += event == "opcode"
        return count

    before = sys.gettrace()
    sys.settrace(count)
    try:
        stage.publish(inter(bytes(2000)))
    finally:
        sys.settrace(before)
    behind = [len(sink.received) < len(sinks[1].received) for sink in sinks]
    assert behind == [True, False] * (players // 2)
    return steps


def test_what_half_of_all_players_falling_behind_at_once_costs_grows_no_faster_than_their_number() -> None:
    few, many = work_of_half_falling_behind(36), work_of_half_falling_behind(360)
    if few:  # compiled code cannot be counted
        assert many < 11 * few

"""Who gives way when the process holds too much: what costs most, whoever it is that fills the memory."""

from __future__ import annotations

import pytest

from rtmpsrv.live.budget import UNFINISHED, WINDOWS, Budget
from rtmpsrv.live.reading import Batch, Began, Lost, Over, Reading
from rtmpsrv.live.relief import USUAL_S
from tests.unit.live.fakes import Message
from tests.unit.live.flv_viewers import media, view
from tests.unit.live.stage import AVC, Stage, inter, joined_frames, key, spare_bytes

pytestmark = pytest.mark.usefixtures("small_segments")
KB = 1000
USUAL = 30  # kB of a usual stream's cache


class Window:
    """Of HLS, until it is dropped."""

    def __init__(self, budget: Budget, held_bytes: int) -> None:
        self.reasons: list[str] = []
        budget.hold(WINDOWS, self, held_bytes)

    def drop(self, reason: str) -> None:
        self.reasons.append(reason)


def publish(stage: Stage, name: str, kilobytes: int, first: Message | None = None) -> None:
    """Publish so much behind one keyframe, or go on."""
    channel = stage.registry.open(name)
    if not channel.live:
        channel.start("key")
        channel.append([AVC])
    channel.append([first or key(name)])
    for _ in range(kilobytes):
        channel.append([inter(bytes(KB))])


def kept(stage: Stage, name: str) -> bool:
    """Whether who joins a channel is sent something at once."""
    stage.channel = stage.registry.open(name)
    return bool(joined_frames(stage))


def begin_to_read(stage: Stage, name: str, gives_way: bool = True) -> Reading:
    """Read a channel up to now, and no further."""
    reading = stage.registry.open(name).subscribe(lambda: None)
    reading.allow(1 << 30, 1e9, gives_way)
    read(reading)
    return reading


def read(reading: Reading) -> list[object]:
    """All there is to read; of many batches one."""
    found: list[object] = []
    while (item := reading.read()) is not None:
        if not (found and isinstance(item, Batch) and isinstance(found[-1], Batch)):
            found.append(item)
    return found


def need(stage: Stage, spare_kb: int) -> None:
    """Let so much be too much."""
    budget = stage.registry.budget
    budget.limit_bytes = budget.used_bytes - spare_kb * KB
    assert budget.admits_publisher()


def stage_with(*names: str) -> Stage:
    """Usual streams, the first the oldest."""
    stage = Stage(live=False)
    for name in names:
        publish(stage, name, USUAL)
        stage.clock.advance(1)
    return stage


# --- among caches ---------------------------------------------------------------------------------


def test_fat_cache_goes_before_older_ones_of_usual_streams() -> None:
    stage = stage_with("good", "other")
    publish(stage, "greedy", 5 * USUAL)
    need(stage, 4 * USUAL)
    assert [kept(stage, name) for name in ("good", "other", "greedy")] == [True, True, False]


def test_fat_keyframes_do_not_cost_others_their_older_caches() -> None:
    stage = stage_with("good")
    for name in ("first", "second"):
        publish(stage, name, 0, key(bytes(100 * KB)))
        publish(stage, name, 0, key(bytes(100 * KB)))
    need(stage, 150)
    assert kept(stage, "good")


def test_of_equal_caches_the_oldest_goes_first() -> None:
    stage = stage_with("old", "new")
    need(stage, 1)
    assert [kept(stage, name) for name in ("old", "new")] == [False, True]


def test_many_small_caches_that_are_kept_for_long_go_before_a_usual_one() -> None:
    names = [f"idle {number}" for number in range(10)]
    stage = Stage(live=False)
    for name in names:
        publish(stage, name, USUAL // 5)
    stage.clock.advance(6 * USUAL_S)
    publish(stage, "good", USUAL)
    need(stage, USUAL)
    assert kept(stage, "good")
    outputs = [output for name in names for output in stage.registry.open(name).outputs()]
    assert sum([output.log.joint is not None for output in outputs]) == 5


def test_small_caches_that_are_as_young_stay() -> None:
    stage = stage_with("small")
    stage.clock.advance(USUAL_S - 2)
    publish(stage, "usual", 2 * USUAL)
    need(stage, 1)
    assert [kept(stage, name) for name in ("small", "usual")] == [True, False]


def test_stream_that_is_kept_whole_gives_back_no_more_than_must_be() -> None:
    stage = Stage(live=False, keep_stream=True)
    publish(stage, "usual", USUAL)
    for _ in range(10):
        publish(stage, "whole", USUAL)
    stage.channel = stage.registry.open("whole")
    log = stage.output().log
    need(stage, USUAL)
    assert (USUAL - 5) * KB < log.first < (USUAL + 5) * KB
    assert kept(stage, "usual")


# --- what is there for viewers by HTTP ------------------------------------------------------------


@pytest.mark.parametrize(
    ("windows", "too_much", "dropped"),
    [((50, 40), 1, [1, 0]), ((40, 50), 60, [1, 1]), ((5, 10), 25, [0, 0])],
)
def test_window_goes_before_caches_that_hold_less(
    windows: tuple[int, int], too_much: int, dropped: list[int]
) -> None:
    stage = stage_with("old", "new")
    made = [Window(stage.registry.budget, held * KB) for held in windows]
    need(stage, too_much)
    assert [len(one.reasons) for one in made] == dropped
    assert all("the process holds too much" in reason for one in made for reason in one.reasons)
    assert kept(stage, "old") == any(dropped)
    assert kept(stage, "new")


def test_windows_go_before_what_laggards_hold_and_unfinished_messages() -> None:
    stage = stage_with("good")
    budget = stage.registry.budget
    window, unfinished = Window(budget, 5 * KB), Window(budget, 0)
    budget.hold(UNFINISHED, unfinished, 10 * KB)
    need(stage, USUAL + 7)
    assert not kept(stage, "good")
    assert (len(window.reasons), len(unfinished.reasons)) == (1, 0)
    need(stage, 1)
    assert len(unfinished.reasons) == 1


def test_who_reads_far_behind_for_viewers_skips_before_others_lose_a_cache() -> None:
    stage = stage_with("good", "flood", "slow")
    readings = [begin_to_read(stage, name) for name in ("good", "flood", "slow")]
    publish(stage, "slow", USUAL + 10)
    for _ in range(20):
        publish(stage, "flood", 0, key(bytes(10 * KB)))
    publish(stage, "slow", 0)
    need(stage, 100)
    items = [[type(item) for item in read(reading)] for reading in readings]
    assert items == [[], [Lost, Batch], [Batch]]
    assert all(kept(stage, name) for name in ("good", "flood", "slow"))


@pytest.mark.parametrize(("window", "dropped", "skipped"), [(250, 1, False), (150, 0, True)])
def test_the_larger_one_of_window_and_backlog_goes_first(window: int, dropped: int, skipped: bool) -> None:
    stage = stage_with("flood")
    reading = begin_to_read(stage, "flood")
    one = Window(stage.registry.budget, window * KB)
    for _ in range(20):
        publish(stage, "flood", 0, key(bytes(10 * KB)))
    need(stage, 1)
    assert len(one.reasons) == dropped
    assert isinstance(read(reading)[0], Lost) == skipped


def test_recordings_miss_nothing_before_caches_are_gone() -> None:
    stage = stage_with("good", "flood")
    recorder, reading = [begin_to_read(stage, "flood", gives_way) for gives_way in (False, True)]
    for _ in range(20):
        publish(stage, "flood", 0, key(bytes(10 * KB)))
    assert spare_bytes(stage.registry.open("flood").outputs()[0]) == 0, "the recorder needs as much"
    need(stage, 1)
    assert [type(item) for item in read(recorder)] == [Batch]
    assert [type(item) for item in read(reading)] == [Batch]
    assert not kept(stage, "good")


def test_recorder_that_is_up_to_date_keeps_nothing_for_others() -> None:
    stage = stage_with("good", "flood")
    recorder, reading = [begin_to_read(stage, "flood", gives_way) for gives_way in (False, True)]
    for _ in range(20):
        publish(stage, "flood", 0, key(bytes(10 * KB)))
        read(recorder)
    need(stage, 1)
    assert isinstance(read(reading)[0], Lost)
    assert kept(stage, "good")


def test_players_that_lag_as_far_behind_leave_nothing_to_give_back() -> None:
    stage = Stage(lag_bytes=1 << 20)
    stage.publish(AVC, key("0"))
    reading = begin_to_read(stage, "channel")
    stage.join(room=0)
    for _ in range(20):
        stage.publish(key(bytes(10 * KB)))
    assert spare_bytes(stage.output()) == 0
    assert [type(item) for item in read(reading)] == [Batch]


def test_backlog_in_a_publication_that_is_over_goes_too() -> None:
    stage = stage_with("good", "flood")
    reading = begin_to_read(stage, "flood")
    for _ in range(20):
        publish(stage, "flood", 0, key(bytes(10 * KB)))
    stage.registry.open("flood").stop()
    need(stage, 190)
    assert kept(stage, "good")
    assert [type(item) for item in read(reading)] == [Lost, Over]


def test_tags_kept_for_joiners_go_before_the_cache_they_were_made_from() -> None:
    stage = stage_with("good")
    stage.channel = stage.registry.open("good")
    sink = view(stage)
    stage.publish(inter("1"), inter("2"))
    assert spare_bytes(stage.output()) > USUAL * KB
    need(stage, 1)
    assert spare_bytes(stage.output()) == 0
    assert kept(stage, "good")
    stage.publish(inter("goes on"))
    assert media(sink)[-1][1] == inter("goes on")[3]


def test_nothing_is_given_back_while_players_are_on_their_way_here() -> None:
    stage = Stage(lag_bytes=1 << 20)
    stage.publish(AVC, key("0"))
    reading = begin_to_read(stage, "channel")
    stage.output().hold(1)
    for _ in range(20):
        stage.publish(key(bytes(10 * KB)))
    assert spare_bytes(stage.output()) == 0
    stage.output().let_go()
    assert spare_bytes(stage.output()) > 190 * KB
    assert [type(item) for item in read(reading)] == [Batch]


def test_reading_that_begins_is_told_so_though_what_it_was_to_read_is_gone() -> None:
    stage = stage_with("good")
    reading = stage.registry.open("good").subscribe(lambda: None)
    stage.registry.open("good").append([key(bytes(20 * KB))])
    publish(stage, "good", 1)
    stage.registry.open("good").outputs()[0].shed_aside()
    assert [type(item) for item in read(reading)] == [Began, Lost, Batch]


def test_a_little_more_goes_than_must_of_caches_but_not_of_windows() -> None:
    names = [f"small {number}" for number in range(200)]
    stage = Stage(live=False)
    for name in names:
        publish(stage, name, 1)
    need(stage, 1)
    outputs = [output for name in names for output in stage.registry.open(name).outputs()]
    gone = sum([output.log.joint is None for output in outputs])
    assert 2 < gone < 10
    windows = [Window(stage.registry.budget, KB) for _ in range(10)]
    need(stage, 1)
    assert sum([len(one.reasons) for one in windows]) == 1
    stage.registry.budget.relieve()
    assert sum([output.log.joint is None for output in outputs]) == gone

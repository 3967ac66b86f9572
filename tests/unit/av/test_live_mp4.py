from __future__ import annotations

import logging
from collections.abc import Callable

import gevent
import pytest

from rtmpsrv import log
from rtmpsrv.av import live_mp4
from rtmpsrv.av.live_mp4 import LiveMp4
from rtmpsrv.av.mp4_viewer import Viewer
from rtmpsrv.errors import MediaBusy, MediaLost, MediaRefused
from rtmpsrv.live.reading import NOWHERE, Batch, Began, Item, Lost, Over, Spliced
from rtmpsrv.media.mp4_source import EVERYTHING, FRAME_BYTES, SETTLE_S, Question
from rtmpsrv.protocol.messages import AUDIO, VIDEO
from tests.unit.av.asking import Memory, Source
from tests.unit.media.test_mp4 import boxes
from tests.unit.media.test_mp4_source import AAC, AVC, HEADERS, INTER, KEY, TONE
from tests.waiting import eventually

AVC_2 = AVC + b"another"
PATIENCE_S = 5.0


class Stage:
    """A maker, what it reads, and the first parts it is given."""

    def __init__(self, linger_s: float = 60.0) -> None:
        self.now = 0.0
        self.source = Source()
        self.asked: list[Question] = []
        self.failure: Exception | None = None
        self.during: Callable[[], None] = lambda: None  # a question
        self.warmed = 0
        self.memory = Memory()
        self.maker = LiveMp4(
            self.source.subscribe,
            EVERYTHING,
            self,
            self.memory,
            log.get("AV"),
            now=self.clock,
            linger_s=linger_s,
        )

    def clock(self) -> float:
        return self.now

    def warm(self) -> None:
        self.warmed += 1

    def init(self, question: Question) -> bytes:
        self.asked.append(question)
        self.during()
        if self.failure is not None:
            raise self.failure
        return b"init%d" % len(self.asked)

    def join(self) -> Viewer:
        viewer = self.maker.join()
        gevent.sleep(0)
        return viewer


def batch(*messages: tuple[int, int, bytes]) -> Batch:
    return Batch([(type_id, 0, time, payload, 0.0) for type_id, time, payload in messages])


BEGAN = Began(1, HEADERS, ())
START = batch((VIDEO, 0, KEY), (AUDIO, 5, TONE))


def begun(viewer: Viewer) -> bytes:
    """The frames that a viewer gets next."""
    while not (data := viewer.take()):
        assert not viewer.is_over
        assert viewer.news.wait(PATIENCE_S)
    return b"".join(boxes(data)["mdat"])


def test_who_comes_first_and_who_comes_later_see_the_same() -> None:
    stage = Stage()
    first = stage.join()
    stage.source.send(BEGAN, START)
    assert begun(first) == b"keytone"
    assert first.movie is not None
    assert first.movie.init == b"init1"
    assert first.movie.content_type.startswith("video/mp4; codecs=")

    stage.source.send(batch((VIDEO, 40, INTER)))
    assert begun(first) == b"inter"
    later = stage.join()
    assert begun(later) == b"keytoneinter"
    assert (len(stage.asked), stage.source.places) == (1, [NOWHERE])
    assert stage.maker.describe()["viewers"] == 2

    stage.source.send(batch((VIDEO, 80, KEY)))
    begun(first)
    assert begun(stage.join()) == b"key"
    stage.maker.close()
    assert first.is_over
    assert stage.source.is_closed


def test_tracks_that_do_not_come_are_waited_for_a_second() -> None:
    stage = Stage()
    viewer = stage.join()
    stage.source.send(BEGAN, batch((VIDEO, 0, KEY)))
    gevent.sleep(0)
    gevent.sleep(0)
    assert viewer.movie is None

    stage.now = SETTLE_S

    assert begun(viewer) == b"key"
    stage.maker.close()


@pytest.mark.parametrize(
    "items",
    [
        [batch((VIDEO, 40, AVC_2), (VIDEO, 40, KEY), (AUDIO, 40, TONE))],
        [Spliced(((AUDIO, AAC), (VIDEO, AVC_2))), batch((VIDEO, 40, KEY), (AUDIO, 40, TONE))],
        [Lost(1, 1), batch((VIDEO, 40, KEY), (AUDIO, 40, TONE))],
        [Over(1), Began(2, ((AUDIO, AAC), (VIDEO, AVC_2)), ()), batch((VIDEO, 0, KEY), (AUDIO, 0, TONE))],
    ],
)
def test_a_change_is_the_end_for_who_watches(items: list[Item]) -> None:
    stage = Stage()
    viewer = stage.join()
    stage.source.send(BEGAN, START)
    begun(viewer)
    stage.source.headers = ((AUDIO, AAC), (VIDEO, AVC_2))

    again = stage.maker.join  # who watched comes again, before or after the next begins
    stage.now = live_mp4.AGAIN_S
    stage.source.send(*items)
    eventually(lambda: viewer.is_over)
    following = again()

    assert viewer.take() == b""
    assert begun(following) == b"keytone"
    assert following.movie is not None
    assert following.movie.init == b"init2"
    stage.maker.close()


@pytest.mark.parametrize("item", [Spliced(HEADERS), Lost(3, 100)])
def test_what_is_left_out_is_gone_on_behind_at_a_keyframe(item: Item) -> None:
    stage = Stage()
    viewer = stage.join()
    stage.source.send(BEGAN, START)
    begun(viewer)

    stage.source.send(item, batch((VIDEO, 80, INTER), (VIDEO, 120, KEY)))

    assert begun(viewer) == b"key"
    assert not viewer.is_over
    stage.maker.close()


def test_the_last_frames_before_a_change_are_seen() -> None:
    stage = Stage()
    viewer = stage.join()
    stage.source.send(BEGAN, START)
    begun(viewer)

    stage.source.send(batch((VIDEO, 40, INTER), (VIDEO, 80, AVC_2)))

    assert begun(viewer) == b"inter"
    eventually(lambda: viewer.is_over)
    stage.maker.close()


def test_a_publisher_that_comes_again_as_before_needs_no_other_first_part() -> None:
    stage = Stage()
    for publication in (1, 2):
        viewer = stage.join()
        stage.source.send(Began(publication, HEADERS, ()), START)
        begun(viewer)
        stage.source.send(Over(publication))
        eventually(lambda viewer=viewer: viewer.is_over)  # type: ignore[misc]
    assert len(stage.asked) == 1
    assert stage.maker.describe()["movies"] == 2
    stage.maker.close()


def test_a_refusal_is_told_to_all_until_something_else_is_sent() -> None:
    stage = Stage()
    stage.failure = MediaRefused("it cannot be")
    viewer = stage.join()
    stage.source.send(BEGAN, START)
    eventually(lambda: viewer.is_over)
    assert viewer.refusal == "it cannot be"
    stage.failure = None
    other = stage.join()
    assert other.refusal == "it cannot be"

    stage.source.headers = ((AUDIO, AAC), (VIDEO, AVC_2))
    stage.now = live_mp4.AGAIN_S
    stage.source.send(batch((VIDEO, 40, AVC_2), (VIDEO, 40, KEY), (AUDIO, 40, TONE)))

    eventually(lambda: stage.maker.movies == 1)
    assert begun(stage.join()) == b"keytone"
    stage.maker.close()


def test_what_was_refused_is_not_kept() -> None:
    stage = Stage()
    stage.failure = MediaRefused("it cannot be")
    viewer = stage.join()
    stage.source.send(BEGAN, START)
    eventually(lambda: viewer.is_over)
    source = stage.maker._source
    assert source is not None
    assert (source.waiting_bytes, stage.memory.held) == (0, {})

    stage.source.send(batch((VIDEO, 40, INTER)), batch((VIDEO, 80, KEY), (AUDIO, 80, TONE)))
    eventually(lambda: not stage.source.items)

    assert stage.maker._source is source
    assert (source.waiting_bytes, stage.memory.held) == (0, {})
    stage.maker.close()


def test_a_refusal_is_looked_into_again_after_a_while() -> None:
    stage = Stage()
    stage.failure = MediaRefused("a broken frame")
    viewer = stage.join()
    stage.source.send(BEGAN, START)
    eventually(lambda: viewer.is_over)
    stage.failure = None
    stage.now = live_mp4.REFUSED_S

    other = stage.join()
    stage.source.send(batch((VIDEO, 40, INTER), (VIDEO, 80, KEY), (AUDIO, 80, TONE)))

    assert begun(other) == b"keytone"
    stage.maker.close()


def test_a_lost_process_is_asked_again_later(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_mp4, "UNSETTLED_S", 0.001)
    stage = Stage()
    stage.failure = MediaLost("it died")
    viewer = stage.join()
    stage.source.send(BEGAN, START)
    eventually(lambda: len(stage.asked) == 1)
    stage.failure = None
    stage.source.send(batch((VIDEO, 40, INTER)))
    gevent.sleep(0.01)
    assert len(stage.asked) == 1

    stage.now = live_mp4.AGAIN_S

    assert begun(viewer) == b"keyintertone"
    stage.maker.close()


def test_it_ends_when_nobody_watches_and_begins_again() -> None:
    stage = Stage(linger_s=0.01)
    viewer = stage.join()
    stage.source.send(BEGAN, START)
    begun(viewer)
    stage.maker.leave(viewer)
    stage.maker.leave(viewer)

    def is_closed() -> bool:
        stage.now += 1.0
        return stage.source.is_closed

    eventually(is_closed)
    assert not stage.maker.is_running

    viewer = stage.join()
    stage.source.send(BEGAN, START)
    assert begun(viewer) == b"keytone"
    assert stage.source.places == [NOWHERE, NOWHERE]
    stage.maker.close()
    stage.maker.close()


def test_of_a_channel_that_has_moved_viewers_see_the_rest() -> None:
    stage = Stage()
    viewer = stage.join()
    stage.source.send(BEGAN, START)
    begun(viewer)
    stage.source.is_closed = True  # its reading is; what is subscribed to next is another process's channel
    stage.source.place = (3, 1000)
    stage.source.notify()
    eventually(lambda: len(stage.source.places) == 2)

    stage.source.send(batch((VIDEO, 40, INTER)))

    assert begun(viewer) == b"inter"
    assert stage.source.places == [NOWHERE, (3, 1000)]
    assert not viewer.is_over
    stage.maker.close()
    assert viewer.is_over


def test_one_that_has_not_begun_ends() -> None:
    stage = Stage()
    viewer = stage.maker.join()

    stage.maker.close()

    assert viewer.is_over
    assert (stage.maker.is_running, stage.source.places) == (False, [])


def test_the_process_is_started_before_it_is_asked() -> None:
    stage = Stage()
    viewer = stage.join()
    assert (stage.warmed, stage.asked) == (1, [])
    stage.source.send(BEGAN, START)
    begun(viewer)
    assert stage.warmed == 2

    stage.join()

    assert stage.warmed == 2  # what this one begins with is there
    stage.maker.close()


def test_what_changes_all_the_time_is_asked_about_once_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_mp4, "UNSETTLED_S", 0.001)
    stage = Stage()
    stage.join()
    stage.source.send(BEGAN, START)
    eventually(lambda: stage.maker.movies == 1)
    for number in range(50):
        stage.source.headers = ((AUDIO, AAC), (VIDEO, AVC + b"%d" % number))
        stage.source.send(batch((VIDEO, 40, stage.source.headers[1][1]), (VIDEO, 40, KEY), (AUDIO, 40, TONE)))
        eventually(lambda: not stage.source.items)
    gevent.sleep(0.01)
    assert len(stage.asked) == 1
    viewer = stage.join()

    stage.now = live_mp4.AGAIN_S

    assert begun(viewer) == b"keytone"
    assert len(stage.asked) == 2
    assert stage.asked[1].tracks[0].config == (AVC + b"49")[5:]
    stage.maker.close()


@pytest.mark.parametrize(
    ("failure", "expected"),
    [
        (MediaLost("it died"), [1, 2, 4, 8, 16, 32, 60, 60, 60]),
        (MediaBusy("others wait"), [1] * 9),
    ],
)
def test_what_ends_the_process_again_and_again_is_asked_about_ever_less(
    failure: Exception, expected: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live_mp4, "UNSETTLED_S", 0.001)
    stage = Stage()
    stage.failure = failure
    stage.join()
    stage.source.send(BEGAN, START)
    waits = []
    for number in range(1, 10):
        eventually(lambda number=number: len(stage.asked) == number)  # type: ignore[misc]
        waits.append(stage.maker._ask_at - stage.now)
        stage.now = stage.maker._ask_at

    assert waits == expected
    stage.maker.close()


def test_what_waits_for_a_first_part_is_counted_and_can_be_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_mp4, "UNSETTLED_S", 0.001)
    stage = Stage()
    stage.failure = MediaLost("it died")
    viewer = stage.join()
    stage.source.send(BEGAN, START)
    eventually(lambda: bool(stage.memory.held))
    # Twice: as the first of their tracks, too.
    assert stage.memory.held == {stage.maker: 2 * (FRAME_BYTES + len(b"keytone"))}

    stage.maker.drop("too much")  # as the budget does, which has forgotten it by then
    stage.memory.held.clear()
    stage.failure, stage.now = None, 1.0
    stage.source.send(batch((VIDEO, 40, INTER), (VIDEO, 80, KEY), (AUDIO, 80, TONE)))

    assert begun(viewer) == b"keytone"
    assert viewer.movie is not None
    assert stage.memory.held == {viewer.movie.shelf: viewer.movie.shelf.size}
    stage.maker.drop("too much")
    assert not viewer.is_over
    stage.maker.close()
    stage.maker.leave(viewer)
    assert stage.memory.held == {}


def test_what_waits_is_counted_while_the_process_is_asked() -> None:
    stage = Stage()
    held: list[int] = []
    stage.during = lambda: held.append(stage.memory.used)
    viewer = stage.join()
    stage.source.send(BEGAN, START)

    begun(viewer)

    assert held == [2 * (FRAME_BYTES + len(b"keytone"))]
    stage.maker.close()


def test_what_is_dropped_as_it_is_counted_is_not_asked_about(monkeypatch: pytest.MonkeyPatch) -> None:
    stage = Stage()
    stage.join()
    monkeypatch.setattr(stage.memory, "hold", lambda kind, holder, count: count and holder.drop("too much"))
    stage.source.send(BEGAN, START)
    eventually(lambda: not stage.source.items)

    assert (stage.maker._source, stage.asked) == (None, [])
    stage.maker.close()


def test_an_answer_about_what_was_dropped_meanwhile_is_none() -> None:
    stage = Stage()
    viewer = stage.join()
    stage.during = lambda: stage.maker.drop("too much")
    stage.source.send(BEGAN, START)
    eventually(lambda: len(stage.asked) == 1)
    assert viewer.movie is None

    stage.source.send(batch((VIDEO, 80, KEY), (AUDIO, 80, TONE)))

    assert begun(viewer) == b"keytone"
    assert len(stage.asked) == 1  # it is known
    stage.maker.close()


def test_tracks_that_are_still_to_be_read_are_no_late_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_mp4, "SLICE_S", -1.0)  # a look after each item
    stage = Stage()
    viewer = stage.join()
    stage.now = 1.8  # after the first message of a tail
    stage.source.send(BEGAN, batch((VIDEO, 0, KEY)), batch((AUDIO, 5, TONE)))
    assert begun(viewer) == b"keytone"
    assert [one.kind for one in stage.asked[0].tracks] == [VIDEO, AUDIO]
    stage.maker.close()


def test_much_that_waits_is_read_bit_by_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_mp4, "SLICE_S", 0.0)
    stage = Stage()
    viewer = stage.join()
    rounds: list[None] = []  # of the loop, each with a look at all sockets
    round_of_the_loop = gevent.get_hub().loop.prepare()
    round_of_the_loop.start(lambda: rounds.append(None))
    stage.source.send(BEGAN, START, *[batch((VIDEO, 40 * number, INTER)) for number in range(1, 20)])
    seen = b""
    with gevent.Timeout(PATIENCE_S):
        while len(seen) < len(b"keytone") + 19 * len(b"inter"):
            seen += begun(viewer)
    assert len(rounds) >= 19
    round_of_the_loop.stop()
    round_of_the_loop.close()
    stage.maker.close()


def test_what_is_left_is_not_read_for_who_left_long_ago(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_mp4, "SLICE_S", -1.0)  # a rest after each item
    stage = Stage(linger_s=1.0)
    viewer = stage.join()
    stage.source.send(BEGAN, START)
    begun(viewer)
    stage.maker.leave(viewer)
    eventually(lambda: stage.maker._alone_since is not None)

    def rest_s(worked_s: float) -> float:
        stage.now = 2.0
        return 0.0

    monkeypatch.setattr(stage.maker, "_rest_s", rest_s)
    stage.source.send(*[batch((VIDEO, 40 * number, INTER)) for number in range(1, 20)])
    eventually(lambda: not stage.maker.is_running)
    assert stage.source.items
    assert stage.source.is_closed


def resting(stage: Stage, monkeypatch: pytest.MonkeyPatch, slice_s: float) -> list[float]:
    """Return the list of how long it has worked each time it rests, which is when it has for so long."""
    monkeypatch.setattr(live_mp4, "SLICE_S", slice_s)
    worked: list[float] = []

    def rest_s(worked_s: float) -> float:
        worked.append(worked_s)
        return 0.0

    stage.maker._rest_s = rest_s
    return worked


def test_much_that_waits_for_a_first_part_is_made_bit_by_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    stage = Stage()
    rests = resting(stage, monkeypatch, 0.0)
    stage.now = SETTLE_S
    viewer = stage.join()
    count = 10 * live_mp4.PIECE
    stage.source.send(BEGAN, batch(*[(VIDEO, number, KEY) for number in range(count)]))
    seen = b""
    with gevent.Timeout(PATIENCE_S):
        while len(seen) < count * len(b"key"):
            seen += begun(viewer)
    assert len(rests) >= 10
    stage.maker.close()


def test_work_of_others_is_not_rested_from(monkeypatch: pytest.MonkeyPatch) -> None:
    stage = Stage()
    rests = resting(stage, monkeypatch, 0.0)
    now = [0.0]
    monkeypatch.setattr(live_mp4, "monotonic", lambda: now[0])
    stage.during = lambda: now.__setitem__(0, 60.0)  # FFmpeg's process takes its time
    viewer = stage.join()
    stage.source.send(BEGAN, START)
    assert begun(viewer) == b"keytone"
    eventually(lambda: rests)
    assert set(rests) == {0.0}
    stage.maker.close()


def test_a_bug_costs_the_viewers_only(caplog: pytest.LogCaptureFixture) -> None:
    stage = Stage()
    stage.failure = KeyError("bug")
    viewer = stage.join()
    stage.source.send(BEGAN, START)

    eventually(lambda: viewer.is_over)
    assert [record.levelno for record in caplog.records] == [logging.ERROR]

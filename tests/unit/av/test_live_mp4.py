from __future__ import annotations

import logging
from collections.abc import Callable

import gevent
import pytest

from rtmpsrv import log
from rtmpsrv.av import live_mp4
from rtmpsrv.av.live_mp4 import LiveMp4
from rtmpsrv.av.mp4_viewer import Viewer
from rtmpsrv.errors import MediaLost, MediaRefused
from rtmpsrv.live.reading import Batch, Began, Item, Lost, Over, Spliced
from rtmpsrv.media.mp4_source import EVERYTHING, SETTLE_S, Question
from rtmpsrv.protocol.messages import AUDIO, VIDEO
from tests.unit.media.test_mp4 import boxes
from tests.unit.media.test_mp4_source import AAC, AVC, HEADERS, INTER, KEY, TONE

AVC_2 = AVC + b"another"
PATIENCE_S = 5.0


class Source:
    """A reading that gives what a test puts into it."""

    def __init__(self) -> None:
        self.is_closed = False
        self.headers: tuple[tuple[int, bytes], ...] = HEADERS
        self.items: list[Item] = []
        self.notify: Callable[[], None] = lambda: None
        self.subscribed = 0

    def subscribe(self, notify: Callable[[], None]) -> Source:
        self.notify = notify
        self.is_closed = False
        self.subscribed += 1
        return self

    def read(self) -> Item | None:
        return self.items.pop(0) if self.items else None

    def close(self) -> None:
        self.is_closed = True

    def send(self, *items: Item) -> None:
        self.items += items
        self.notify()


class Stage:
    """A maker, what it reads, and the first parts it is given."""

    def __init__(self, linger_s: float = 0.0) -> None:
        self.now = 0.0
        self.source = Source()
        self.asked: list[Question] = []
        self.failure: Exception | None = None
        self.maker = LiveMp4(
            self.source.subscribe,
            EVERYTHING,
            self.first_part,
            log.get("AV"),
            now=self.clock,
            linger_s=linger_s,
        )

    def clock(self) -> float:
        return self.now

    def first_part(self, question: Question) -> bytes:
        self.asked.append(question)
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


def until(what: Callable[[], bool]) -> None:
    with gevent.Timeout(PATIENCE_S):
        while not what():
            gevent.sleep(0.001)


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
    assert (len(stage.asked), stage.source.subscribed) == (1, 1)
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
    stage.source.send(*items)
    until(lambda: viewer.is_over)
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
    until(lambda: viewer.is_over)
    stage.maker.close()


def test_a_publisher_that_comes_again_as_before_needs_no_other_first_part() -> None:
    stage = Stage()
    for publication in (1, 2):
        viewer = stage.join()
        stage.source.send(Began(publication, HEADERS, ()), START)
        begun(viewer)
        stage.source.send(Over(publication))
        until(lambda viewer=viewer: viewer.is_over)  # type: ignore[misc]
    assert len(stage.asked) == 1
    assert stage.maker.describe()["movies"] == 2
    stage.maker.close()


def test_a_refusal_is_told_to_all_until_something_else_is_sent() -> None:
    stage = Stage(linger_s=60.0)
    stage.failure = MediaRefused("it cannot be")
    viewer = stage.join()
    stage.source.send(BEGAN, START)
    until(lambda: viewer.is_over)
    assert viewer.refusal == "it cannot be"
    stage.failure = None
    other = stage.join()
    assert other.refusal == "it cannot be"

    stage.source.headers = ((AUDIO, AAC), (VIDEO, AVC_2))
    stage.source.send(batch((VIDEO, 40, AVC_2), (VIDEO, 40, KEY), (AUDIO, 40, TONE)))

    until(lambda: stage.maker.movies == 1)
    assert begun(stage.join()) == b"keytone"
    stage.maker.close()


def test_a_lost_process_is_asked_again_later(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_mp4, "UNSETTLED_S", 0.001)
    stage = Stage()
    stage.failure = MediaLost("it died")
    viewer = stage.join()
    stage.source.send(BEGAN, START)
    until(lambda: len(stage.asked) == 1)
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
    gevent.sleep(0)
    stage.now = 1.0
    until(lambda: stage.source.is_closed)
    assert not stage.maker.is_running

    viewer = stage.join()
    stage.source.send(BEGAN, START)
    assert begun(viewer) == b"keytone"
    assert stage.source.subscribed == 2
    stage.maker.close()
    stage.maker.close()


def test_a_channel_that_has_moved_is_the_end() -> None:
    stage = Stage()
    viewer = stage.join()
    stage.source.is_closed = True
    stage.source.notify()

    until(lambda: viewer.is_over)
    assert not stage.maker.is_running


def test_a_bug_costs_the_viewers_only(caplog: pytest.LogCaptureFixture) -> None:
    stage = Stage()
    stage.failure = KeyError("bug")
    viewer = stage.join()
    stage.source.send(BEGAN, START)

    until(lambda: viewer.is_over)
    assert [record.levelno for record in caplog.records] == [logging.ERROR]


def test_a_gop_that_is_too_long_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_mp4, "MAX_GOP_CUTS", 1)
    stage = Stage()
    viewer = stage.join()
    stage.source.send(BEGAN, START)
    begun(viewer)
    stage.source.send(batch((VIDEO, 40, INTER)))
    begun(viewer)
    stage.source.send(batch((VIDEO, 80, INTER)))
    begun(viewer)

    later = stage.join()
    assert later.movie is not None
    assert later.take() == b""
    stage.source.send(batch((VIDEO, 120, KEY)))
    assert begun(later) == b"key"
    stage.maker.close()

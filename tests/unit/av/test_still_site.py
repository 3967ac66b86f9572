from __future__ import annotations

import gevent
import pytest

from rtmpsrv.av import still_site
from rtmpsrv.av.still_site import EVERY_S, MAX_KEPT, StillSite
from rtmpsrv.errors import MediaLost, MediaRefused
from rtmpsrv.live.lock import lock_of
from rtmpsrv.live.reading import Began, Item
from rtmpsrv.media.mp4_source import MAX_FRAME_BYTES, Question
from rtmpsrv.protocol.messages import AUDIO, VIDEO
from tests.unit.av.asking import Memory, Reply, Request, Source, Watched
from tests.unit.av.test_live_mp4 import AVC_2, BEGAN, START, batch
from tests.unit.media.test_mp4_source import AVC, INTER, KEY, TONE


def channel(*items: Item, name: str = "channel", key: bytes | None = None) -> Watched:
    def make() -> Source:
        one = Source()
        one.lock = lock_of(key)
        one.items = list(items)
        return one

    return Watched(make, name)


class Stage:
    def __init__(self) -> None:
        self.now = 0.0
        self.asked: list[Question] = []
        self.failure: Exception | None = None
        self.headers: dict[str, str] = {}  # of the last answer
        self.watched: dict[str, Watched] = {}
        self.memory = Memory()
        self.site = StillSite(self.watched.__getitem__, self.picture, self.memory, now=lambda: self.now)

    def picture(self, question: Question) -> bytes:
        self.asked.append(question)
        gevent.sleep(0)
        if self.failure is not None:
            raise self.failure
        return b"jpeg%d" % len(self.asked)

    def ask(self, watched: Watched, key: str | None = None) -> tuple[object, ...]:
        reply = Reply()
        self.watched[watched.name] = watched
        self.site.handle(Request(watched.name, key=key), reply)
        (said,) = reply.said
        self.headers = dict(reply.headers)
        return said[1:]


def test_a_still_is_made_at_most_once_in_five_seconds() -> None:
    stage = Stage()
    watched = channel(BEGAN, START)
    assert stage.ask(watched) == (200, b"jpeg1", "image/jpeg")
    stage.now = EVERY_S - 0.1
    assert stage.ask(watched)[1] == b"jpeg1"
    assert len(watched.readings) == 1

    stage.now = EVERY_S

    assert stage.ask(watched)[1] == b"jpeg2"
    assert all(reading.is_closed for reading in watched.readings)
    assert stage.site.describe() == {"made": 2, "kept": 1, "bytes": 5}


def test_a_still_is_for_who_has_the_key_of_its_publisher() -> None:
    stage = Stage()
    first = channel(BEGAN, START, key=b"first")
    assert stage.ask(first, "first")[1] == b"jpeg1"
    assert stage.ask(first, "first")[1] == b"jpeg1"
    assert stage.ask(first)[1] == b"jpeg1", "nobody asks for a key"

    assert stage.ask(channel(BEGAN, START, key=b"second"), "second")[1] == b"jpeg2"
    nobody = channel()
    assert stage.ask(nobody, "wrong")[:2] == (404, b"There is no picture now.\n")
    stage.ask(first, "first")
    assert stage.ask(first, "wrong")[0] == 404
    stage.site.close()


def test_all_who_ask_at_the_same_time_get_the_same() -> None:
    stage = Stage()
    watched = channel(BEGAN, START)
    asking = [gevent.spawn(stage.ask, watched) for _ in range(5)]
    gevent.joinall(asking, timeout=5)

    assert {one.value for one in asking} == {(200, b"jpeg1", "image/jpeg")}
    assert stage.site._turns == {}


def test_the_newest_headers_and_keyframe_are_asked_about() -> None:
    stage = Stage()
    messages = batch((AUDIO, 0, TONE), (VIDEO, 0, INTER), (VIDEO, 0, AVC_2), (VIDEO, 0, KEY))
    stage.ask(channel(Began(1, ((VIDEO, AVC),), ()), messages, batch((VIDEO, 40, KEY))))

    (question,) = stage.asked
    assert [(one.kind, one.frame) for one in question.tracks] == [(VIDEO, b"key")]


@pytest.mark.parametrize(
    "items",
    [
        (),
        (BEGAN, batch((AUDIO, 0, TONE))),
        (BEGAN, batch((VIDEO, 0, INTER))),
        (BEGAN, *[batch((AUDIO, 0, TONE))] * 9, START),
        (BEGAN, batch((VIDEO, 0, b"\x12picture"))),
    ],
)
def test_where_there_is_no_picture_it_is_said(items: tuple[Item, ...]) -> None:
    stage = Stage()
    assert stage.ask(channel(*items))[:2] == (404, b"There is no picture now.\n")
    assert stage.asked == []


@pytest.mark.parametrize(("failure", "status"), [(MediaRefused("broken"), 415), (MediaLost("broken"), 503)])
def test_what_fails_is_said_and_not_asked_again_at_once(failure: Exception, status: int) -> None:
    stage = Stage()
    stage.failure = failure
    watched = channel(BEGAN, START)

    assert stage.ask(watched)[:2] == (status, b"broken\n")
    assert stage.ask(watched)[:2] == (status, b"broken\n")
    assert len(stage.asked) == 1
    assert stage.headers.get("Retry-After") == {415: None, 503: "5"}[status]


def test_one_that_is_too_large_is_not_asked_about() -> None:
    stage = Stage()
    large = b"\x17\1\0\0\0" + bytes(MAX_FRAME_BYTES + 1)
    status, body = stage.ask(channel(BEGAN, batch((VIDEO, 0, large))))[:2]

    assert (status, body) == (415, b"its first frame has more than 8 MB\n")
    assert stage.asked == []


def test_only_so_many_are_kept() -> None:
    stage = Stage()
    for number in range(MAX_KEPT + 1):
        stage.ask(channel(BEGAN, START, name=str(number)))

    assert stage.site.describe()["kept"] == MAX_KEPT
    assert stage.memory.used == stage.site.describe()["bytes"]
    stage.site.close()


def test_only_so_much_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(still_site, "MAX_KEPT_BYTES", 12)
    stage = Stage()
    for number in range(3):
        stage.ask(channel(BEGAN, START, name=str(number)))
    assert (stage.site.describe()["kept"], stage.memory.used) == (2, 10)

    stage.site.drop("too much")

    assert stage.site.describe() == {"made": 3, "kept": 0, "bytes": 0}
    stage.site.close()
    stage.site.close()
    assert stage.memory.held == {}


def test_what_is_old_is_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(still_site, "EVERY_S", 0.01)
    stage = Stage()
    stage.ask(channel(BEGAN, START))
    forgetting = stage.site._forgetting
    assert forgetting is not None
    assert stage.memory.used == 5
    stage.now = 1.0

    forgetting.join(5)

    assert forgetting.ready()
    assert (stage.memory.held, stage.site.describe()["kept"]) == ({}, 0)
    stage.ask(channel(BEGAN, START))
    assert stage.memory.used == 5
    stage.site.close()

"""Requests for HLS, from the door to the answer."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlencode

import gevent
import pytest
from gevent.event import Event
from gevent.queue import Queue

from rtmpsrv import log
from rtmpsrv.errors import AccessDenied, NoRoom, NotThere, PeerLost
from rtmpsrv.hls import handler as module
from rtmpsrv.hls.answers import shown
from rtmpsrv.hls.handler import MAX_QUERY_BYTES, SHORT_QUERY_BYTES, HlsHandler
from rtmpsrv.hls.maker import Maker
from rtmpsrv.hls.makers import Makers
from rtmpsrv.hls.sending import TOO_SLOW
from rtmpsrv.hls.viewers import Viewers, new_name
from rtmpsrv.live.lock import shape_of
from rtmpsrv.media.hls_numbers import Numbering
from rtmpsrv.server.http.head import Head
from tests.unit.hls.stage import WALL_S, Stage


class Viewing:
    name = "a"
    shape: bytes | None = None

    def __init__(self) -> None:
        self.sent_bytes = 0

    is_kicked = False

    def rest(self) -> None:
        """There are slots enough."""

    def wake(self) -> None:
        """There are slots enough."""

    def sent(self, count: int) -> None:
        self.sent_bytes += count

    def state(self) -> dict[str, Any]:
        return {}

    def hand_over(self) -> None:
        """Be done."""

    def end(self, reason: str) -> None:
        """Be done."""


class Reply:
    def __init__(self) -> None:
        self.answer: tuple[int, Any, str, Sequence[tuple[str, str]]] = (0, b"", "", ())
        self.waits: list[float | None] = []

    def send(
        self,
        status: int,
        body: bytes | Sequence[bytes] = b"",
        type: str = "",
        headers: Sequence[tuple[str, str]] = (),
    ) -> None:
        self.answer = (status, body, type, headers)

    def wait(self, event: Event, timeout_s: float | None = None) -> bool:
        self.waits.append(timeout_s)
        return event.wait(0)


class House:
    """A channel that plays, and who asks for it."""

    def __init__(self) -> None:
        self.stages: list[Stage] = []
        self.on_air = True
        self.refusal: AccessDenied | None = None
        self.admitted = 0
        self.viewing = Viewing()
        self.reply = Reply()
        self.refused: list[str] = []
        self.dropped: Queue[str] = Queue()
        self.handler = HlsHandler(
            Makers(self.make), Viewers(), self.admit, lambda channel: self.on_air, log.get("HLS"),
            delay=self.delay,
        )  # fmt: skip

    def make(self, channel: str, numbering: Numbering) -> Maker:
        stage = Stage(Numbering(WALL_S, "ab1"))
        stage.let_run()
        stage.begin()
        stage.play(5)
        self.stages.append(stage)
        return stage.maker

    def admit(self, request: Any, send_away: Callable[[], None]) -> Viewing:
        if self.refusal is not None:
            raise self.refusal
        self.admitted += 1
        return self.viewing

    def drop(self, reason: str) -> None:
        """End a connection."""
        self.dropped.put(reason)

    def delay(self, address: str) -> float:
        self.refused.append(address)
        return 0.5 * (len(self.refused) - 1)

    def get(self, name: str, ip: str = "1.1.1.1", **query: str) -> tuple[int, Any]:
        reply = self.reply = Reply()
        request = SimpleNamespace(
            route=SimpleNamespace(channel="a", rest=name), query=query, client=SimpleNamespace(ip=ip),
            head=SimpleNamespace(query=urlencode(query)), peer=self,
        )  # fmt: skip
        self.handler(request, reply)
        return reply.answer[:2]


@pytest.fixture
def house() -> Iterator[House]:
    made = House()
    yield made
    made.handler.close("the test ends")


def test_player_goes_its_way_under_one_name(house: House) -> None:
    status, body = house.get("index.m3u8", key="k")
    assert status == 200
    link = re.search(rb"live\.m3u8\?key=k&s=([0-9a-f]{16})\n", body)
    assert link is not None
    name = link[1].decode()
    status, body = house.get("live.m3u8", key="k", s=name)
    assert status == 200
    assert f"ab1-init1.m4s?key=k&s={name}".encode() in body
    assert house.get("ab1-init1.m4s", key="k", s=name) == (200, (b"init1",))
    assert house.admitted == 1
    assert len(house.stages) == 1


def test_player_without_a_name_is_one_too(house: House) -> None:
    house.get("live.m3u8")
    _, body = house.get("live.m3u8", s="made up")
    assert b"s=" not in body
    assert house.admitted == 1


def test_who_guesses_keys_gets_slower(house: House) -> None:
    house.refusal = AccessDenied("NetStream.Play.BadName", "Invalid stream key provided")
    waits = []
    for _ in range(3):
        with pytest.raises(AccessDenied, match="Invalid"):
            house.get("index.m3u8", key="guess")
        waits.append(house.reply.waits)
    assert waits == [[], [0.5], [1.0]]
    assert house.refused == ["1.1.1.1"] * 3


@pytest.mark.parametrize("kind", [NoRoom, NotThere])
def test_who_guesses_nothing_is_told_at_once(house: House, kind: type[AccessDenied]) -> None:
    house.refusal = kind("NetStream.Play.BadName", "There is no room")
    with pytest.raises(kind):
        house.get("index.m3u8", key="k")
    assert not house.refused


def test_who_is_sent_what_is_kept_no_more_is_ended(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LOOK_AFTER_S", 0.001)
    house.get("live.m3u8", s="0" * 16)
    maker, reasons = house.stages[0].maker, []

    def send(reply: Reply, *answer: object) -> None:
        maker.drop("there is too much")
        reasons.append(house.dropped.get(timeout=5))

    monkeypatch.setattr(Reply, "send", send)
    house.get("ab1-init1.m4s", s="0" * 16)
    assert reasons == [TOO_SLOW]


def test_index_gives_each_a_name(house: House) -> None:
    house.get("index.m3u8")
    house.get("index.m3u8")
    assert house.admitted == 2


def test_who_may_not_watch_gets_nothing(house: House) -> None:
    house.refusal = AccessDenied("NetStream.Play.Failed", "no")
    for name in ("index.m3u8", "live.m3u8", "ab1-init1.m4s"):
        with pytest.raises(AccessDenied):
            house.get(name)
    assert house.stages == []


@pytest.mark.parametrize("name", ["key", "other"])
def test_too_much_is_not_kept(house: House, name: str) -> None:
    assert house.get("index.m3u8", **{name: "x" * MAX_QUERY_BYTES})[0] == 414
    assert house.admitted == 0
    assert house.get("index.m3u8", **{name: "x" * (MAX_QUERY_BYTES - 100)})[0] == 200


def test_too_much_is_not_written_into_uris(house: House) -> None:
    reply = Reply()
    request = SimpleNamespace(
        route=SimpleNamespace(channel="a", rest="live.m3u8"), query={"key": "<" * 3000},
        client=SimpleNamespace(ip="1.1.1.1"), head=SimpleNamespace(query="key=" + "<" * 3000),
    )  # fmt: skip
    house.handler(request, reply)
    assert reply.answer[0] == 414


@pytest.mark.parametrize("worst", ["<", "%FF", "%C3%A9"])
def test_short_query_is_never_too_long_in_uris(worst: str) -> None:
    sent = f"ll=no&key={worst * SHORT_QUERY_BYTES}"[:SHORT_QUERY_BYTES]
    query = Head("GET", "/", sent, {}).parameters() | {"s": new_name()}
    assert len(query["key"]) > SHORT_QUERY_BYTES // 10
    assert len(shown(query)) <= MAX_QUERY_BYTES


def test_nothing_is_made_for_pieces_or_of_nothing(house: House) -> None:
    assert house.get("ab1-init1.m4s")[0] == 404
    house.on_air = False
    assert house.get("index.m3u8")[0] == 404
    assert house.stages == []


def test_channel_may_come_a_little_later(house: House) -> None:
    looks = iter([False, False, True])
    handler = house.handler = HlsHandler(
        Makers(house.make), Viewers(), house.admit, lambda channel: next(looks), log.get("HLS")
    )
    assert house.get("live.m3u8")[0] == 200
    handler.close("again")
    last = iter([False] * 20 + [True])
    house.handler = HlsHandler(
        Makers(house.make), Viewers(), house.admit, lambda channel: next(last), log.get("HLS")
    )
    assert house.get("live.m3u8")[0] == 200


def test_what_was_made_outlives_the_publisher_for_a_while(house: House) -> None:
    house.get("live.m3u8")
    house.on_air = False
    assert house.get("live.m3u8")[0] == 200


def test_what_was_made_outlives_it_for_none_with_another_key(house: House) -> None:
    house.get("live.m3u8")
    house.stages[0].begin(2, b"key")
    house.stages[0].play(5)
    house.viewing.shape = shape_of("key")
    assert house.get("live.m3u8")[0] == 200
    house.on_air = False
    house.viewing.shape = shape_of("wrong")
    assert house.get("live.m3u8")[0] == 404
    assert house.get(f"ab1-{WALL_S}.m4s")[0] == 404
    house.viewing.shape = shape_of("key")
    assert house.get("live.m3u8")[0] == 200


def test_viewers_that_have_left_are_let_go_though_nobody_asks(
    house: House, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "LOOK_AFTER_S", 0.0)
    viewers = house.handler.viewers
    looks = iter([RuntimeError("a bug"), None, None])

    def see_to() -> None:
        if failure := next(looks):
            raise failure
        viewers.close("they have left")

    house.get("index.m3u8")
    monkeypatch.setattr(viewers, "see_to", see_to)
    while len(viewers):
        gevent.sleep(0)
    gevent.sleep(0)
    assert "letting a viewer go failed" in caplog.text
    monkeypatch.undo()
    house.get("index.m3u8")  # looked after anew
    assert house.handler.describe()["viewers"] == 1
    assert list(house.handler.describe()["channels"]) == ["a"]


def test_request_that_fails_is_over_all_the_same(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    over: list[str] = []
    monkeypatch.setattr(house.handler.viewers, "answered", lambda channel, ip, query: over.append(ip))
    house.get("live.m3u8", ip="1.1.1.1")

    def fail(*args: object) -> None:
        raise PeerLost("gone")

    monkeypatch.setattr(Reply, "send", fail)
    with pytest.raises(PeerLost):
        house.get("live.m3u8", ip="2.2.2.2")
    assert over == ["1.1.1.1", "2.2.2.2"]


def test_bytes_of_a_viewer_are_counted(house: House) -> None:
    _, body = house.get("live.m3u8")
    house.get(f"ab1-{WALL_S}.m4s")
    piece = house.stages[0].maker.window.find(f"ab1-{WALL_S}.m4s")
    assert piece is not None
    assert house.viewing.sent_bytes == len(body) + sum(map(len, piece))

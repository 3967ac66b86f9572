from __future__ import annotations

from collections.abc import Iterator

import gevent
import pytest
from gevent import socket as gsocket

from rtmpsrv.errors import AccessDenied, CannotMove, NoRoom, NotThere
from rtmpsrv.server.http import routes, session
from rtmpsrv.server.http.frames import BINARY, PONG, REFUSED, TEXT, close_frame, frame
from rtmpsrv.server.http.reader import MAX_THROWN_BYTES
from rtmpsrv.server.http.reply import Reply
from rtmpsrv.server.http.request import Request
from rtmpsrv.server.http.stagger import LONG_S
from tests.unit.server.http.stage import BYE, Event, HttpStage, eventually, said
from tests.unit.server.stage import PATIENCE_S

DENIAL = AccessDenied("NetStream.Play.BadName", "not you", "PLAY_ACCESS")


@pytest.fixture
def stage() -> Iterator[HttpStage]:
    stage = HttpStage()
    yield stage
    stage.close()


def watch(stage: HttpStage, path: str = "/live.flv?key=k") -> None:
    stage.get(path)
    assert stage.head()[0] == 200
    eventually(lambda: stage.host.playbacks[-1].asked)


def test_a_viewer_gets_flv_until_it_leaves(stage: HttpStage) -> None:
    stage.get("/live.flv?key=k")
    status, headers = stage.head()
    assert status == 200
    assert headers["Content-Type"] == "video/x-flv"
    assert headers["Connection"] == "close"
    assert headers["X-Accel-Buffering"] == "no"
    assert "Content-Length" not in headers
    assert "Transfer-Encoding" not in headers
    assert stage.host.asks == [("live", "key=k", False)]
    eventually(lambda: stage.host.playbacks[-1].asked == [(True, True)])
    assert stage.host.sinks == [stage.session.outlet]
    stage.session.outlet.offer(b"FLV")
    assert stage.read(3) == b"FLV"
    assert stage.session.role == "player"
    assert stage.slots.taken == ["192.0.2.1"]
    stage.close()
    assert stage.host.playbacks[-1].ends == ["closed by the peer"]
    assert stage.told.events[:2] == ["began play", "ended play: closed by the peer"]


def test_a_request_waits_for_its_turn_and_may_move_meanwhile(stage: HttpStage) -> None:
    stagger = stage.site.stagger
    measured, stagger._age_s = stagger._age_s, lambda: LONG_S  # nobody's turn comes
    stage.get("/nothing/here")
    eventually(lambda: len(stagger) == 1)
    state = stage.session.freeze()
    stage.greenlet.join(PATIENCE_S)
    assert state.unread.startswith(b"GET /nothing/here ")
    stagger._age_s = measured
    stage.run(state)
    assert stage.head()[0] == 404


def test_who_waits_says_so(stage: HttpStage) -> None:
    watch(stage, "/live.flv?wait=1")
    assert stage.host.asks == [("live", "wait=1", True)]


def test_only_the_head(stage: HttpStage) -> None:
    stage.get("/live.flv", method="HEAD")
    assert stage.head()[0] == 200
    assert stage.read_to_end() == b""
    stage.close()
    assert stage.host.playbacks[-1].asked == []
    assert stage.host.playbacks[-1].ends == ["answered"]


@pytest.mark.parametrize(
    ("denial", "status", "events"),
    [
        (DENIAL, 403, ["refused play"]),
        (NoRoom("", "not you"), 503, ["refused play"]),
        (NotThere("", "not you"), 404, []),
    ],
)
def test_a_refusal_has_a_status_and_the_connection_goes_on(
    stage: HttpStage, denial: AccessDenied, status: int, events: list[str]
) -> None:
    stage.host.denial = denial
    for _ in range(2):
        stage.get("/live.flv")
        assert stage.answer() == (status, "not you.\n")
    eventually(lambda: stage.slots.taken == [])
    assert stage.told.events == 2 * events


def test_a_refusal_may_be_kept_from_a_client_for_a_while(stage: HttpStage) -> None:
    stage.host.denial, stage.host.delay_s = DENIAL, 60.0
    stage.get("/live.flv")
    eventually(lambda: stage.host.delays_for)
    stage.session.drop("enough")
    assert stage.read_to_end() == b""


def test_who_watches_takes_a_slot_and_who_asks_for_pages_none(stage: HttpStage) -> None:
    stage.slots.refusal = "limit of 4"
    stage.site.add(routes.PAGE, lambda _request, reply: reply.send(200, b"page"))
    stage.get("/live")
    assert stage.answer() == (200, "page")
    stage.get("/live.flv")
    assert stage.answer() == (503, "There are too many connections: limit of 4.\n")
    assert stage.told.events == ["rejected"]
    assert stage.host.asks == []


def test_requests_one_behind_the_other_are_answered_in_order(stage: HttpStage) -> None:
    stage.site.add(routes.PAGE, lambda request, reply: reply.send(200, request.route.channel.encode()))
    stage.send(b"".join(b"GET /%d HTTP/1.1\r\nHost: x\r\n\r\n" % number for number in range(50)))
    assert [stage.answer() for _ in range(50)] == [(200, str(number)) for number in range(50)]


def test_a_bug_costs_one_request(stage: HttpStage, caplog: pytest.LogCaptureFixture) -> None:
    stage.host.bug = True
    stage.get("/live.flv")
    assert stage.answer() == (500, "Something is wrong with the server.\n")
    assert stage.read_to_end() == b""
    assert stage.told.events[0] == "failed play"


def test_what_is_no_request_is_the_last(stage: HttpStage) -> None:
    stage.send(b"POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n")
    status, headers = stage.head()
    assert status == 405
    assert headers["Connection"] == "close"
    assert headers["Allow"] == "GET, HEAD, OPTIONS"
    assert stage.read_to_end().count(b"HTTP/1.1") == 0


def test_a_head_has_an_end(stage: HttpStage) -> None:
    stage.send(b"GET / HTTP/1.1\r\nHost: x\r\nX: " + bytes(20000))
    assert stage.answer()[0] == 431
    assert stage.read_to_end() == b""


def test_a_viewer_has_nothing_to_say(stage: HttpStage) -> None:
    watch(stage)
    stage.send(bytes(MAX_THROWN_BYTES + 1))
    assert stage.read_to_end() == b""
    assert stage.host.playbacks[-1].ends == [f"sent more than {MAX_THROWN_BYTES} bytes while it watched"]


def test_the_end_of_the_stream_is_the_end_of_the_connection(stage: HttpStage) -> None:
    watch(stage)
    stage.session.outlet.offer(b"last")
    stage.session.outlet.end_when_empty()
    assert stage.read_to_end() == b"last"
    eventually(lambda: stage.host.playbacks[-1].ends)
    assert stage.host.playbacks[-1].ends == ["the stream is over"]


def test_a_viewer_may_be_thrown_out(stage: HttpStage) -> None:
    watch(stage)
    stage.session.dismiss("kicked")
    stage.session.dismiss("again")
    assert stage.session.is_unwanted()
    assert stage.session.has_left()
    assert stage.read_to_end() == b""
    assert stage.host.playbacks[-1].ends == ["kicked"]


def test_one_that_has_not_begun_is_dropped() -> None:
    stage = HttpStage()
    stage.session.dismiss("kicked")
    assert stage.read_to_end() == b""
    stage.close()


def test_the_process_may_end(stage: HttpStage) -> None:
    watch(stage)
    stage.session.drop_gently("bye")
    assert stage.read_to_end() == b""
    eventually(lambda: stage.host.playbacks[-1].ends == ["bye"])


def test_it_may_be_killed(stage: HttpStage) -> None:
    watch(stage)
    stage.greenlet.kill()
    assert stage.host.playbacks[-1].ends == ["server is shutting down"]


# --- WebSockets -----------------------------------------------------------------------------------------


def converse(stage: HttpStage, path: str = "/live.flv", *lines: str) -> dict[str, str]:
    stage.get_websocket(path, *lines)
    status, headers = stage.head()
    assert status == 101
    return headers


def test_flv_by_websocket(stage: HttpStage) -> None:
    headers = converse(stage, "/live.flv?key=k", "Sec-WebSocket-Protocol: flv, x")
    assert headers["Sec-WebSocket-Protocol"] == "flv"
    assert headers["Upgrade"] == "websocket"
    eventually(lambda: stage.host.playbacks and stage.host.playbacks[-1].asked)
    assert stage.host.asks == [("live", "key=k", True)]
    stage.host.sinks[-1].offer(b"FLV")
    assert stage.read(5) == frame(BINARY, 3) + b"FLV"
    stage.send(said(9, b"ping"))
    assert stage.read(6) == frame(PONG, 4) + b"ping"
    stage.send(BYE)
    assert stage.read_to_end() == close_frame(1000)
    eventually(lambda: stage.host.playbacks[-1].ends == ["closed by the peer"])


def test_a_refusal_by_websocket_is_a_reason(stage: HttpStage) -> None:
    stage.host.denial = DENIAL
    converse(stage)
    assert stage.read_to_end() == close_frame(REFUSED, "not you")


def test_one_that_is_thrown_out_is_told_why(stage: HttpStage) -> None:
    converse(stage)
    eventually(lambda: stage.host.playbacks and stage.host.playbacks[-1].asked)
    stage.session.dismiss("kicked")
    assert stage.read_to_end() == close_frame(REFUSED, "kicked")


def test_who_is_sent_something_that_a_handler_makes_is_told_as_well(stage: HttpStage) -> None:
    def handler(_request: Request, reply: Reply) -> None:
        reply.accept()
        reply.wait(Event())

    stage.site.add(routes.MP4, handler)
    stage.get_websocket("/live.mp4")
    assert stage.head()[0] == 101
    stage.session.dismiss("kicked")
    assert stage.read_to_end() == close_frame(REFUSED, "kicked")


def test_what_is_large_goes_out_in_turns(stage: HttpStage) -> None:
    stagger = stage.site.stagger
    measured = stagger._age_s

    def answer(_request: Request, reply: Reply) -> None:
        stagger._age_s = lambda: LONG_S  # many others have asked
        reply.send(200, bytes(2 * session.WRITE_AHEAD_BYTES))

    stage.site.add(routes.PAGE, answer)
    stage.get("/page")
    assert stage.head()[0] == 200
    assert stage.read(session.WRITE_AHEAD_BYTES)
    eventually(lambda: len(stagger) == 1)
    assert not stage.session.outlet.waiting_bytes
    stagger._age_s = measured
    assert stage.read(session.WRITE_AHEAD_BYTES)


def test_who_says_nothing_more_gets_what_it_asked_for() -> None:
    stage = HttpStage(buffer=4096)
    body = bytes(session.WRITE_AHEAD_BYTES // 2)  # which nobody waits for
    stage.site.add(routes.PAGE, lambda _request, reply: reply.send(200, body))
    stage.get("/page")
    stage.peer.shutdown(gsocket.SHUT_WR)
    stage.head()
    assert len(stage.read_to_end()) == len(body)
    stage.close()


def test_one_that_waits_may_be_refused_yet(stage: HttpStage) -> None:
    converse(stage)
    eventually(lambda: stage.host.playbacks and stage.host.playbacks[-1].asked)
    stage.session.refuse_play("", "wrong key")
    assert stage.read_to_end() == close_frame(REFUSED, "wrong key")
    eventually(lambda: stage.host.playbacks[-1].ends == ["play refused: wrong key"])
    stage.close()
    stage.session.refuse_play("", "it is over")


def test_garbage_ends_it(stage: HttpStage) -> None:
    converse(stage)
    eventually(lambda: stage.host.playbacks and stage.host.playbacks[-1].asked)
    stage.send(said(BINARY, b"FLV"))
    assert stage.read_to_end() == close_frame(1003, "viewers send no media")


@pytest.mark.parametrize(
    ("rule", "origin", "status"),
    [
        ("", "http://tv.example", 101),
        ("", "https://a.example", 403),
        ("https://a.example", "https://a.example", 101),
        ("*", "null", 101),
    ],
)
def test_pages_of_others_may_not_converse(rule: str, origin: str, status: int) -> None:
    stage = HttpStage(rule=rule)
    stage.get_websocket("/live.flv", f"Origin: {origin}")
    assert stage.head()[0] == status
    stage.close()


@pytest.mark.parametrize("line", ["Sec-WebSocket-Key: x", "Sec-WebSocket-Protocol: \x7f"])
def test_a_handshake_that_is_none(stage: HttpStage, line: str) -> None:
    stage.get("/live.flv", "Upgrade: websocket", "Connection: Upgrade", line)
    assert stage.answer()[0] == 400


# --- streams that handlers make -------------------------------------------------------------------------


def test_a_stream_in_chunks(stage: HttpStage) -> None:
    def handler(request: Request, reply: Reply) -> None:
        viewing = request.admit()
        assert viewing.name == "live"
        assert stage.session.is_bound
        reply.begin(200, "video/mp4")
        for piece in (b"abc", b"", b"de"):
            reply.write(piece)

    stage.site.add(routes.MP4, handler)
    stage.get("/live.mp4?key=k")
    assert stage.head()[1]["Transfer-Encoding"] == "chunked"
    assert stage.read_to_end() == b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
    assert stage.host.asks == [("live", "key=k", True)]
    assert stage.host.viewings[-1].ends == ["answered"]


def test_a_stream_for_who_reads_no_chunks(stage: HttpStage) -> None:
    def handler(_request: Request, reply: Reply) -> None:
        reply.begin(200, "video/mp4")
        reply.write(b"abc")

    stage.site.add(routes.MP4, handler)
    stage.get("/live.mp4", version="1.0")
    assert "Transfer-Encoding" not in stage.head()[1]
    assert stage.read_to_end() == b"abc"


def test_a_handler_hears_that_its_viewer_left(stage: HttpStage) -> None:
    ends: list[str] = []

    def handler(request: Request, reply: Reply) -> None:
        request.admit()
        reply.begin(200, "video/mp4")
        try:
            reply.wait(gevent.event.Event())
        finally:
            ends.append("left")

    stage.site.add(routes.MP4, handler)
    stage.get("/live.mp4")
    stage.head()
    stage.close()
    assert ends == ["left"]
    assert stage.host.viewings[-1].ends == ["closed by the peer"]


def test_a_handler_hears_texts_and_sends_messages(stage: HttpStage) -> None:
    heard: list[str] = []

    def handler(_request: Request, reply: Reply) -> None:
        reply.accept()
        reply.heard = heard.append
        reply.write_text("hello")
        reply.write(b"abc")
        while not heard:
            assert not reply.wait(gevent.event.Event(), 0.001)

    stage.site.add(routes.MP4, handler)
    converse(stage, "/live.mp4")
    assert stage.read(12) == frame(TEXT, 5) + b"hello" + frame(BINARY, 3) + b"abc"
    stage.send(said(TEXT, "ä".encode()))
    assert stage.read_to_end() == close_frame(1000, "the stream is over")
    assert heard == ["ä"]


def test_a_handler_waits_for_who_reads_slowly() -> None:
    stage = HttpStage(buffer=4096)
    done: list[int] = []

    def handler(_request: Request, reply: Reply) -> None:
        reply.begin(200, "video/mp4", chunked=False)
        for number in range(8):
            reply.write(bytes(session.WRITE_AHEAD_BYTES))
            done.append(number)

    stage.site.add(routes.MP4, handler)
    stage.get("/live.mp4")
    stage.head()
    gevent.sleep(0.02)
    assert len(done) < 4, "the rest waits"
    assert len(stage.read_to_end()) == 8 * session.WRITE_AHEAD_BYTES
    stage.close()


def test_who_dawdles_over_an_answer_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "ANSWER_S", 0.0)
    stage = HttpStage(buffer=4096)
    stage.site.add(routes.PAGE, lambda _request, reply: reply.send(200, bytes(1 << 20)))
    stage.get("/live")
    stage.head()
    stage.greenlet.join(5)
    assert stage.greenlet.dead
    stage.close()


# --- moving ---------------------------------------------------------------------------------------------


def test_an_idle_connection_moves(stage: HttpStage) -> None:
    stage.site.add(routes.PAGE, lambda _request, reply: reply.send(200, b"page"))
    stage.get("/live")
    assert stage.answer() == (200, "page")
    eventually(stage.session.can_move)
    stage.send(b"GET /live HT")
    eventually(lambda: stage.state.unread)
    stage.move()
    stage.send(b"TP/1.1\r\nHost: x\r\n\r\n")
    assert stage.answer() == (200, "page")


def test_a_viewer_moves(stage: HttpStage) -> None:
    watch(stage)
    stage.move()
    assert stage.slots.taken == ["192.0.2.1"]
    eventually(lambda: len(stage.host.playbacks) == 2)
    assert stage.host.playbacks[-1].asked == [(True, True), "moved", "resumed"]
    assert stage.host.playbacks[0].ends == []
    stage.session.outlet.offer(b"FLV")
    assert stage.read(3) == b"FLV"


def test_a_viewer_by_websocket_moves(stage: HttpStage) -> None:
    converse(stage)
    eventually(lambda: stage.host.playbacks and stage.host.playbacks[-1].asked)
    ping = said(9, b"ping")
    stage.send(ping[:3])
    eventually(lambda: stage.state.unread)
    stage.move()
    eventually(lambda: len(stage.host.playbacks) == 2)
    stage.send(ping[3:])
    assert stage.read(6) == frame(PONG, 4) + b"ping"
    stage.session._hearing.sink.offer(b"FLV")  # type: ignore[union-attr]
    assert stage.read(5) == frame(BINARY, 3) + b"FLV"


def test_what_cannot_move(stage: HttpStage) -> None:
    converse(stage)
    eventually(lambda: stage.host.playbacks and stage.host.playbacks[-1].asked)
    stage.host.stays = True
    with pytest.raises(CannotMove, match="the host stays"):
        stage.session.freeze()
    stage.host.stays = False
    stage.send(said(TEXT, b"a", fin=False))
    eventually(lambda: not stage.session.can_move())
    with pytest.raises(CannotMove, match="in the middle"):
        stage.session.freeze()
    stage.session.drop("enough")
    with pytest.raises(CannotMove, match="ending"):
        stage.session.freeze()


def test_a_request_waits_while_others_move_and_may_go_along_unread(stage: HttpStage) -> None:
    stage.site.add(routes.PAGE, lambda _request, reply: reply.send(200, b"page"))
    stage.parts.hold.close()
    stage.get("/live")
    eventually(lambda: stage.state.unread)
    stage.move()
    stage.parts.hold.open()
    assert stage.answer() == (200, "page")


def test_answers_of_a_process_that_leaves_are_the_last(stage: HttpStage) -> None:
    stage.site.leaving = lambda: True
    stage.get("/nothing/there")
    assert stage.head()[1]["Connection"] == "close"
    stage.read_to_end()


# --- what is told ---------------------------------------------------------------------------------------


def test_what_is_known_of_it(stage: HttpStage) -> None:
    stage.get("/live.flv?key=secret", "User-Agent: Lavf", "Referer: http://x/?a=b")
    stage.head()
    eventually(lambda: stage.host.playbacks and stage.host.playbacks[-1].asked)
    told = stage.session.describe()
    assert (told["role"], told["form"]) == ("player", "flv")
    assert "secret" not in repr(told)
    assert "secret" not in repr(stage.state)
    client = stage.session.client
    assert client.properties == {
        "flashVer": "Lavf", "pageUrl": "http://x/?a=b", "tcUrl": "http://tv.example/live.flv",
    }  # fmt: skip
    received, sent = stage.session.traffic_here()
    assert received > 0
    assert sent > 0
    assert stage.session.silence_s() >= 0
    assert not stage.session.sound()
    assert not stage.session.play_at_once()
    stage.session.travel(lambda: None)
    stage.session.end_publication("there is none")
    assert stage.session.fileno() == stage.mine.fileno()


def test_a_request_that_waits_for_its_answer_moves_and_is_answered_there(stage: HttpStage) -> None:
    goes_on = Event()
    asked: list[Request] = []

    def page(request: Request, reply: Reply) -> None:
        asked.append(request)
        assert reply.wait(goes_on, PATIENCE_S)
        reply.send(200, b"page")

    stage.site.add(routes.PAGE, page)
    stage.get("/live")
    stage.get("/live")
    eventually(lambda: asked)
    eventually(stage.session.can_move)
    stage.move()
    eventually(lambda: len(asked) == 2)
    goes_on.set()
    assert stage.answer() == (200, "page")
    assert stage.answer() == (200, "page")
    assert len(asked) == 3


def test_who_was_granted_something_stays_and_may_be_refused_while_it_waits(stage: HttpStage) -> None:
    waits: list[Reply] = []

    def page(request: Request, reply: Reply) -> None:
        request.admit()
        waits.append(reply)
        reply.wait(Event(), PATIENCE_S)

    stage.site.add(routes.PAGE, page)
    stage.get("/live")
    eventually(lambda: waits)
    with pytest.raises(CannotMove, match="in the middle"):
        stage.session.freeze()
    stage.session.refuse_play("code", "The publisher has another key")
    assert stage.answer() == (403, "The publisher has another key.\n")


def test_a_request_that_is_held_goes_on_where_its_connection_cannot_move(stage: HttpStage) -> None:
    stage.site.add(routes.PAGE, lambda _request, reply: reply.send(200, b"page"))
    stage.parts.hold.close()
    assert not stage.session.is_held
    assert not stage.session.play_at_once()
    stage.get("/live")
    eventually(lambda: stage.session.is_held)
    assert stage.session.play_at_once()
    assert stage.answer() == (200, "page")
    assert not stage.session.is_held
    stage.parts.hold.open()

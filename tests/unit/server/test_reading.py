from __future__ import annotations

import errno
import logging
from collections.abc import Callable, Iterator
from itertools import pairwise
from time import monotonic

import gevent
import pytest

from rtmpsrv.protocol import messages
from rtmpsrv.protocol.chunks import pack
from rtmpsrv.server import reading
from rtmpsrv.server import turns as turns_module
from rtmpsrv.server.ending import Ended
from rtmpsrv.server.requests import CHOICE_UNITS
from rtmpsrv.server.transport import PlainTransport
from rtmpsrv.server.turns import Turns
from rtmpsrv.server.waiting import ReadWait
from tests.unit.server.stage import MANY, PATIENCE_S, Stage, audio, eventually


@pytest.fixture
def stage() -> Iterator[Stage]:
    made = Stage()
    yield made
    made.close()


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    monkeypatch.setattr(logging.getLogger("rtmpsrv"), "propagate", True)
    caplog.set_level(logging.DEBUG, "rtmpsrv")
    return lambda: [f"{record.levelname} {record.getMessage()}" for record in caplog.records]


def closed(stage: Stage, lines: Callable[[], list[str]]) -> str:
    """Wait for the end of a session; return why it came."""
    stage.greenlet.join(PATIENCE_S)
    return lines()[-1].removeprefix("INFO closed: ").partition(", in=")[0]


# --- time ---------------------------------------------------------------------------------------------


def test_each_phase_has_its_deadline(lines: Callable[[], list[str]]) -> None:
    stage = Stage(handshake_s=0.02)
    assert closed(stage, lines) == "no handshake within 0.02 s"
    stage.close()
    stage = Stage(setup_s=0.05)
    stage.connect()
    assert closed(stage, lines) == "neither publish nor play within 0.05 s"
    stage.close()
    stage = Stage(idle_s=0.05)
    stage.publish()
    assert closed(stage, lines) == "sent nothing for 0.05 s"
    stage.close()


def test_a_silent_peer_is_pinged(stage: Stage) -> None:
    stage.close()
    stage = Stage(ping_s=0.01)
    stage.publish()
    first = stage.expect_control(messages.PING_REQUEST)
    assert stage.expect_control(messages.PING_REQUEST) > first
    stage.close()


def test_bytes_that_are_there_are_read_before_a_peer_is_called_silent(stage: Stage) -> None:
    stage.connect()
    stage.session.freeze()
    stage.state.heard_at = monotonic() - 10 * stage.parts.settings.idle_s
    stage.ping(7)
    stage.run(stage.state)
    assert stage.expect_control(messages.PING_RESPONSE) == 7


def test_nobody_is_called_silent_for_the_time_in_which_this_process_did_not_run(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    stood_still_s = [0.0]
    monkeypatch.setattr(reading, "monotonic", lambda: monotonic() + stood_still_s[0])
    real_wait = ReadWait.wait

    def wait(self: ReadWait, until: float) -> bool:
        if not stood_still_s[0]:
            stood_still_s[0] = 5000.0
            return False
        return real_wait(self, until - stood_still_s[0])

    stage.connect()
    stage.session.freeze()
    monkeypatch.setattr(ReadWait, "wait", wait)
    stage.run(stage.state)
    eventually(lambda: stood_still_s[0])
    stage.ping(7)
    assert stage.expect_control(messages.PING_RESPONSE) == 7
    # The deadline to publish or play has moved as well.
    assert monotonic() + 5000 < stage.state.deadline < monotonic() + 5000 + stage.parts.settings.setup_s


def test_a_player_that_takes_its_stream_need_not_say_anything(stage: Stage) -> None:
    playback = stage.play()
    reader, idle_s = stage.session._reader, stage.parts.settings.idle_s
    for taken in (1000, 2000):
        playback.feed.uncounted_bytes = taken
        reader._keep_time(stage.state.heard_at + idle_s)
    with pytest.raises(Ended, match="sent nothing for 60 s"):
        reader._keep_time(stage.state.heard_at + idle_s)


# --- faults -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("at_rest", [False, True])
def test_an_error_of_the_socket_is_the_peers(
    stage: Stage, at_rest: bool, lines: Callable[[], list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    stage.publish()

    def read(count: int) -> bytes:
        raise ConnectionResetError(errno.ECONNRESET, "Connection reset by peer")

    if at_rest:
        stage.rest()
        stage.session._reader._intake._read = read
    else:
        monkeypatch.setattr(PlainTransport, "read", property(lambda _: read, lambda *_: None), raising=False)
        stage.run(stage.session.freeze())
    assert closed(stage, lines) == "connection lost: Connection reset by peer"
    assert not any(line.startswith("ERROR") for line in lines())


@pytest.mark.parametrize("at_rest", [False, True])
def test_an_error_of_our_own_is_logged_with_its_traceback(
    stage: Stage, at_rest: bool, lines: Callable[[], list[str]], caplog: pytest.LogCaptureFixture
) -> None:
    publication = stage.publish()
    if at_rest:
        stage.rest()
    publication.trouble = OSError(errno.ENOSPC, "No space left on device")
    stage.send(audio(b"x"))
    assert closed(stage, lines) == "internal error"
    (error,) = [record for record in caplog.records if record.levelname == "ERROR"]
    assert error.exc_info is not None
    assert error.exc_info[1] is publication.trouble
    assert publication.ends == ["internal error"]


# --- fair shares --------------------------------------------------------------------------------------


class CountingTurns(Turns):
    """Notes how much was done before each rest."""

    def __init__(self, done: Callable[[], int]) -> None:
        self.done = done
        self.rests: list[tuple[int, float]] = []

    def rest(self, rest_s: float, bell: object = None) -> None:
        self.rests.append((self.done(), rest_s))
        super().rest(0.0)  # the time itself is tested with the arithmetic


def aggregate(count: int) -> bytes:
    tag = b"\x08" + (2).to_bytes(3, "big") + bytes(7) + b"\xaf\x01" + bytes(4)
    return pack(4, 0, messages.AGGREGATE, 1, tag * count, 128)


@pytest.mark.parametrize("flood", [b"".join(audio(b"") for _ in range(1000)), aggregate(1000)])
def test_a_flood_is_taken_piece_by_piece_and_no_faster_than_the_rate(
    stage: Stage, flood: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    publication = stage.publish()
    now = [monotonic()]  # passes in rests only: on a busy machine one would earn more than a piece

    class Turns(CountingTurns):
        def rest(self, rest_s: float, bell: object = None) -> None:
            now[0] += rest_s
            super().rest(rest_s)

    turns = Turns(lambda: len(publication.messages))
    stage.session._reader._share._turns = turns
    monkeypatch.setattr(turns_module, "monotonic", lambda: now[0])
    monkeypatch.setattr(reading, "monotonic", lambda: now[0])
    stage.state.account.units = -1_000_000
    stage.send(flood)
    eventually(lambda: len(publication.messages) == 1000)
    done = [count for count, _ in turns.rests]
    assert max(after - before for before, after in pairwise(done)) <= 64
    assert len([rest_s for _, rest_s in turns.rests if rest_s]) >= 1000 // 64


def test_requests_that_cost_more_than_a_frame_count_for_more(stage: Stage) -> None:
    stage.play()
    stage.state.account.units = 10_000
    for _ in range(20):
        stage.command("pause", None, True, 0.0, msid=1)
    eventually(lambda: len(stage.host.playbacks[-1].asked) == 21)
    eventually(lambda: stage.state.account.units <= 10_000 - 20 * CHOICE_UNITS)


def test_a_flooder_that_is_dropped_ends_though_its_bytes_are_not_worked_off(
    stage: Stage, lines: Callable[[], list[str]]
) -> None:
    publication = stage.publish()
    stage.state.account.units = -1_000_000
    stage.send(b"".join(audio(b"") for _ in range(5000)))
    eventually(lambda: publication.messages)
    stage.session.drop("enough")
    assert closed(stage, lines) == "enough"
    assert len(publication.messages) < 5000


def test_a_slowed_peer_that_vanishes_is_noticed_though_its_bytes_are_not_read(
    stage: Stage, lines: Callable[[], list[str]]
) -> None:
    publication = stage.publish()
    stage.session._reader._transport.has_left = lambda: True  # type: ignore[method-assign]
    stage.state.account.units = -1_000_000
    stage.send(b"".join(audio(b"") for _ in range(5000)))
    assert closed(stage, lines) == "closed by the peer"
    assert publication.ends == ["closed by the peer"]
    assert len(publication.messages) < 5000


def test_a_slowed_peer_is_asked_whether_it_is_there_but_not_over_and_over(stage: Stage) -> None:
    stage.publish()
    stage.state.account.units = -1_000_000
    stage.send(b"".join(audio(b"") for _ in range(2000)))
    stage.expect_control(messages.PING_REQUEST)
    reader = stage.session._reader
    assert reader._ask_at > monotonic()
    assert not reader._has_left()
    assert stage.state.connection.outbox == []


def test_who_is_dropped_ends_at_once_though_it_has_to_wait_for_units(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(turns_module, "UNITS_PER_S", 1.0)  # the wait takes more than an hour
    publication = stage.publish()
    eventually(lambda: stage.session._reader._wait._waiting)  # the publish itself is paid for
    stage.state.account.units = -1_000_000
    stage.send(audio(b""))
    eventually(lambda: publication.messages)
    stage.session.drop("enough")
    stage.greenlet.join(PATIENCE_S)
    assert stage.greenlet.dead


# --- the common timer ---------------------------------------------------------------------------------


def test_who_is_dropped_while_it_waits_for_units_hands_on_nothing_more(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    publication = stage.publish()
    eventually(lambda: stage.session._reader._wait._waiting)
    stage.state.account.units = -1_000_000  # so it waits as soon as the hub has read for it
    stage.send(b"".join(audio(b"") for _ in range(500)))
    eventually(lambda: stage.session._reader._share._bell)
    seen = len(publication.messages)
    stage.session.drop("enough")
    stage.greenlet.join(PATIENCE_S)
    assert len(publication.messages) == seen < 500


def test_a_publisher_reads_for_itself_again_when_the_others_have_left(stage: Stage) -> None:
    stage.publish()
    publication = stage.rest()
    for _ in range(MANY):
        stage.parts.ingest.publisher_ended()
    eventually(lambda: len(stage.parts.ingest) == 0)
    stage.send(audio(b"x"))
    eventually(lambda: len(publication.messages) == 2)
    assert publication.in_hub == 1


def test_a_publisher_is_not_called_silent_for_the_time_in_which_this_process_did_not_run(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    stood_still_s = [0.0]
    monkeypatch.setattr(reading, "monotonic", lambda: monotonic() + stood_still_s[0])
    publication = stage.publish()
    stage.send(audio(b"rests"))
    eventually(lambda: len(publication.messages) == 1)
    stood_still_s[0] = 5000.0
    gevent.get_hub().loop.run_callback(stage.session._reader._wait.wake, False)
    eventually(lambda: stage.state.heard_at > monotonic() + 4000)
    stage.ping(7)
    assert stage.expect_control(messages.PING_RESPONSE) == 7


def test_the_end_of_a_peer_at_rest_is_seen(stage: Stage, lines: Callable[[], list[str]]) -> None:
    stage.publish()
    stage.rest()
    stage.peer.close()
    assert closed(stage, lines) == "closed by the peer"


def test_a_peer_at_rest_can_be_dropped(stage: Stage, lines: Callable[[], list[str]]) -> None:
    stage.publish()
    stage.rest()
    stage.session.drop("enough")
    assert closed(stage, lines) == "enough"


def test_a_peer_at_rest_is_pinged_and_held_to_its_time(lines: Callable[[], list[str]]) -> None:
    stage = Stage(ping_s=0.3, idle_s=0.6)
    stage.publish()
    stage.rest(messages=2)
    stage.expect_control(messages.PING_REQUEST)
    assert closed(stage, lines) == "sent nothing for 0.6 s"
    stage.close()


def test_a_protocol_error_at_rest_ends_the_peer(stage: Stage, lines: Callable[[], list[str]]) -> None:
    stage.publish()
    stage.rest()
    stage.send(b"\xff" * 100)
    stage.read_to_end()
    stage.peer.close()
    assert closed(stage, lines).startswith("protocol error: ")


# --- players ------------------------------------------------------------------------------------------


def acknowledge(stage: Stage) -> int:
    """Let a player acknowledge once, which was read when this returns."""
    before = stage.state.bytes_in
    stage.send(messages.acknowledgement(before))
    eventually(lambda: stage.state.bytes_in > before)
    return stage.state.bytes_in - before


def woken(stage: Stage) -> list[bool]:
    """Note with what the hub wakes the greenlet of a session at rest from now on."""
    eventually(lambda: stage.session._reader._wait._waiting)
    intake, calls = stage.session._reader._intake, list[bool]()
    wake = intake._wake

    def noted(result: bool) -> None:
        calls.append(result)
        wake(result)

    intake._wake = noted
    return calls


@pytest.mark.parametrize("others", [0, MANY], ids=["alone", "beside publishers"])
def test_a_player_that_only_acknowledges_is_read_without_a_switch(stage: Stage, others: int) -> None:
    playback = stage.play()
    for _ in range(others):
        stage.parts.ingest.publisher_began()
    calls = woken(stage)
    units = stage.state.account.units
    for _ in range(3):
        acknowledge(stage)
    stage.ping(7)
    assert stage.expect_control(messages.PING_RESPONSE) == 7
    assert calls == []
    assert stage.state.account.units < units, "it counts"
    assert len(stage.parts.ingest) == 0, "no timer looks for what comes so seldom"
    stage.command("pause", None, True, 0.0, msid=1)
    eventually(lambda: playback.asked[-1] is True)
    assert calls == [False]


def test_a_player_at_rest_stops_and_publishes_as_any_other(stage: Stage) -> None:
    playback = stage.play()
    woken(stage)
    acknowledge(stage)
    stage.command("deleteStream", None, 1.0)
    eventually(lambda: playback.ends)
    stage.command("publish", None, "key", "live", msid=1)
    eventually(lambda: stage.host.publications)
    stage.send(audio(b"x"))
    eventually(lambda: stage.host.publications[-1].messages)


def test_a_player_at_rest_is_pinged_and_held_to_its_time(lines: Callable[[], list[str]]) -> None:
    stage = Stage(ping_s=0.3, idle_s=0.6)
    stage.play()
    acknowledge(stage)
    stage.expect_control(messages.PING_REQUEST)
    assert closed(stage, lines) == "sent nothing for 0.6 s"
    stage.close()


def test_a_player_at_rest_moves(stage: Stage) -> None:
    stage.play()
    woken(stage)
    acknowledge(stage)
    stage.run(stage.session.freeze())
    eventually(lambda: len(stage.host.playbacks) == 2)
    acknowledge(stage)
    assert stage.host.playbacks[-1].asked == [(True, True), "moved", "resumed"]


def test_a_player_at_rest_that_floods_is_slowed(stage: Stage) -> None:
    stage.play()
    calls = woken(stage)
    stage.state.account.units = -1_000_000
    acknowledge(stage)
    assert calls == [False]
    eventually(lambda: stage.session._reader._share._bell)
    stage.session.drop("enough")


# --- the log ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("at_rest", [False, True])
def test_what_is_said_is_logged_when_asked_for(at_rest: bool, lines: Callable[[], list[str]]) -> None:
    stage = Stage()
    stage.publish()
    if at_rest:
        stage.rest(messages=2)
    stage.command("deleteStream", None, 1.0)
    stage.expect("onStatus")
    assert "DEBUG = handshake done" in lines()
    assert any(line.startswith("DEBUG < publish transaction=") for line in lines())
    assert any(line.startswith("DEBUG < deleteStream transaction=") for line in lines())
    gevent.idle()
    assert stage.state.connection.judged == []
    stage.close()

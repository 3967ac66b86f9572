from __future__ import annotations

import contextlib
import dataclasses
import errno
import logging
import os
from collections.abc import Callable, Iterator
from typing import Any, cast

import gevent
import pytest
from gevent import socket as gsocket
from gevent.server import StreamServer

from rtmpsrv.errors import CannotMove, LoginAsked
from rtmpsrv.server import listener as listener_module
from rtmpsrv.server.listener import Listener
from rtmpsrv.server.proxies import Proxies
from rtmpsrv.server.session import Session
from tests.unit.server.stage import PATIENCE_S, FakeHost, Stage, eventually, make_parts


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    monkeypatch.setattr(logging.getLogger("rtmpsrv"), "propagate", True)
    caplog.set_level(logging.INFO, "rtmpsrv")
    return lambda: [f"{record.levelname} {record.getMessage()}" for record in caplog.records]


@pytest.fixture
def listener() -> Iterator[Listener]:
    """Give one on a port that the system chooses, on loopback."""
    made = Listener("127.0.0.1", 0, FakeHost(), make_parts())
    made.start()
    yield made
    made.close()
    made.stop_sessions("the test is over", PATIENCE_S)


def dial(listener: Listener) -> Any:
    return gsocket.create_connection(("127.0.0.1", listener.port), timeout=PATIENCE_S)


def test_a_connection_takes_a_slot_and_gives_it_back(listener: Listener) -> None:
    slots: Any = listener._parts.slots
    peer = dial(listener)
    eventually(lambda: listener.sessions)
    assert slots.taken == ["127.0.0.1"]
    (session,) = listener.sessions
    assert (session.client.number, session.client.port, session.client.secure) == (1, listener.port, False)
    peer.close()
    eventually(lambda: not listener.sessions)
    assert slots.taken == []


def test_who_gets_no_slot_is_turned_away(listener: Listener, lines: Callable[[], list[str]]) -> None:
    slots: Any = listener._parts.slots
    slots.refusal = "too many"
    peer = dial(listener)
    assert peer.recv(1) == b""
    assert lines() == ["INFO Rejected request from 127.0.0.1 due to connection limit: too many"]
    assert slots.taken == []
    peer.close()


def test_running_out_of_descriptors_pauses_accepting(
    listener: Listener, monkeypatch: pytest.MonkeyPatch, lines: Callable[[], list[str]]
) -> None:
    errors = [OSError(errno.EMFILE, "Too many open files")]
    tries: list[int] = []
    real = StreamServer.do_read

    def do_read(self: StreamServer) -> Any:
        tries.append(1)
        if errors:
            raise errors.pop()
        return real(self)

    monkeypatch.setattr(StreamServer, "do_read", do_read)
    monkeypatch.setattr(listener_module, "ACCEPT_PAUSE_S", 10 * PATIENCE_S)
    assert listener.describe()["accepting"]
    peer = dial(listener)
    eventually(lambda: tries)
    for _ in range(20):
        gevent.idle()
    assert len(tries) == 1, "the waiting connection is left to wait, not tried again and again"
    assert not listener.describe()["accepting"]
    assert lines() == ["ERROR accept failed 1 times: out of descriptors or memory"]
    listener._resume()
    eventually(lambda: listener.sessions)
    assert listener.describe()["accepting"]
    peer.close()


def test_few_connections_are_accepted_before_those_that_were_get_to_run(
    listener: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    accepted, most = 0, 0
    real = StreamServer.do_read

    def do_read(self: StreamServer) -> Any:
        nonlocal accepted, most
        accepted += 1
        most = max(most, accepted - len(listener.sessions))
        return real(self)

    listener.stop_accepting()
    peers = [dial(listener) for _ in range(40)]
    monkeypatch.setattr(StreamServer, "do_read", do_read)
    listener.start_accepting()
    eventually(lambda: len(listener.sessions) == 40)
    assert most <= 2 * listener_module.MAX_ACCEPT
    for peer in peers:
        peer.close()


def test_other_errors_of_accept_are_geventss(listener: Listener, monkeypatch: pytest.MonkeyPatch) -> None:
    def do_read(self: StreamServer) -> Any:
        raise OSError(errno.ECONNABORTED, "Software caused connection abort")

    monkeypatch.setattr(StreamServer, "do_read", do_read)
    with pytest.raises(OSError, match="abort"):
        listener.do_read()


def test_a_pause_that_is_over_after_the_end_changes_nothing(listener: Listener) -> None:
    listener.close()
    listener._resume()
    assert not listener.started


def test_a_listening_socket_can_be_handed_in() -> None:
    first = Listener("127.0.0.1", 0, FakeHost(), make_parts())
    second = Listener("127.0.0.1", 0, FakeHost(), make_parts(), descriptor=os.dup(first.socket.fileno()))
    assert second.port == first.port
    first.close()
    second.start()
    peer = dial(second)
    eventually(lambda: second.sessions)
    peer.close()
    second.close()
    assert second.stop_sessions("over", PATIENCE_S)


def test_all_sessions_end_with_the_listener(listener: Listener) -> None:
    peers = [dial(listener) for _ in range(3)]
    eventually(lambda: len(listener.sessions) == 3)
    listener.end_publications("over")
    assert listener.stop_sessions("over", PATIENCE_S)
    assert [peer.recv(1) for peer in peers] == [b"", b"", b""]
    for peer in peers:
        peer.close()


def test_description(listener: Listener) -> None:
    peer = dial(listener)
    eventually(lambda: listener.sessions)
    assert listener.describe() == {
        "protocol": "rtmp", "address": "127.0.0.1", "port": listener.port, "secure": False,
        "accepting": True, "sessions": 1,
    }  # fmt: skip
    peer.close()


def test_a_taken_port_is_an_oserror(listener: Listener) -> None:
    with pytest.raises(OSError, match="in use"):
        Listener("127.0.0.1", listener.port, FakeHost(), make_parts())


# --- behind a proxy ---------------------------------------------------------------------------------------

LINE = b"PROXY TCP4 192.0.2.7 198.51.100.1 40000 1935\r\n"
UNKNOWN = b"PROXY UNKNOWN\r\n"


def proxied(most_unnamed: int = 100, **settings: Any) -> Listener:
    """Give a listener for which this machine is a proxy."""
    parts = dataclasses.replace(make_parts(**settings), proxies=Proxies(("127.0.0.1",), most_unnamed))
    made = Listener("127.0.0.1", 0, FakeHost(), parts)
    made.start()
    return made


@pytest.fixture
def behind() -> Iterator[Listener]:
    made = proxied()
    yield made
    made.close()
    made.stop_sessions("the test is over", PATIENCE_S)
    assert made._parts.proxies.unnamed == 0


def test_the_client_is_the_one_that_the_proxy_names(behind: Listener, lines: Callable[[], list[str]]) -> None:
    slots: Any = behind._parts.slots
    peer = dial(behind)
    peer.sendall(LINE[:20])
    eventually(lambda: behind._parts.proxies.unnamed == 1)
    assert slots.taken == []
    peer.sendall(LINE[20:] + b"\x03")
    eventually(lambda: lines() == ["INFO Connection accepted from 192.0.2.7"])
    assert slots.taken == ["192.0.2.7"]
    assert behind._parts.proxies.unnamed == 0
    (session,) = behind.sessions
    assert (session.client.ip, session.client.secure) == ("192.0.2.7", False)
    peer.close()
    eventually(lambda: not slots.taken)


def test_a_client_of_a_proxy_that_gets_no_slot_is_turned_away(
    behind: Listener, lines: Callable[[], list[str]]
) -> None:
    slots: Any = behind._parts.slots
    slots.refusal = "too many"
    peer = dial(behind)
    peer.sendall(LINE)
    assert peer.recv(1) == b""
    assert lines() == ["INFO Rejected request from 192.0.2.7 due to connection limit: too many"]
    peer.close()


def test_what_is_the_proxys_own_takes_no_slot_and_a_check_is_no_line(
    behind: Listener, lines: Callable[[], list[str]]
) -> None:
    slots: Any = behind._parts.slots
    peer = dial(behind)
    peer.sendall(UNKNOWN)
    eventually(lambda: behind.sessions)
    (session,) = behind.sessions
    assert session.client.ip == "127.0.0.1"
    assert (slots.taken, behind._parts.proxies.unnamed) == ([], 1)
    peer.close()
    eventually(lambda: not behind._parts.proxies.unnamed)
    dial(behind).close()
    eventually(lambda: not behind.greenlets)
    assert lines() == []


@pytest.mark.parametrize(
    ("sent", "why"),
    [
        pytest.param(b"\x03" + bytes(1536), "no PROXY header", id="none"),
        pytest.param(b"PROXY TCP4\r\n", "a PROXY line without TCP4 or TCP6, two addresses", id="wrong"),
    ],
)
def test_a_proxy_that_sends_no_good_header_is_turned_away_with_a_line(
    behind: Listener, lines: Callable[[], list[str]], sent: bytes, why: str
) -> None:
    peer = dial(behind)
    peer.sendall(sent)
    with contextlib.suppress(ConnectionError):  # bytes that nobody has read become a reset
        assert peer.recv(1) == b""
    (line,) = lines()
    assert line.startswith(f"INFO refused from proxies: 1, the last 127.0.0.1: {why}")
    assert line.endswith("(PROXY_PROTOCOL_FROM)")
    peer.close()


def test_a_header_has_the_time_of_the_handshake(lines: Callable[[], list[str]]) -> None:
    listener = proxied(handshake_s=0.05)
    peer = dial(listener)
    peer.sendall(LINE[:-1])
    assert peer.recv(1) == b""
    assert "no PROXY header within 0.05 s" in lines()[1]
    peer.close()
    listener.close()


def test_connections_without_a_client_are_bounded(lines: Callable[[], list[str]]) -> None:
    listener = proxied(most_unnamed=2)
    held = [dial(listener) for _ in range(2)]
    eventually(lambda: listener._parts.proxies.unnamed == 2)
    more = dial(listener)
    assert more.recv(1) == b""
    assert "127.0.0.1: limit of 2 connections without a client" in lines()[1]
    with gevent.Timeout(PATIENCE_S):
        assert listener.stop_sessions("over", 10 * PATIENCE_S), "who waits for a header is not waited for"
    assert [peer.recv(1) for peer in held] == [b"", b""]
    for peer in (*held, more):
        peer.close()
    listener.close()


# --- sessions that come from elsewhere ----------------------------------------------------------------


def test_a_session_goes_on_at_another_listener_with_a_slot_of_its_own(listener: Listener) -> None:
    other = Listener("127.0.0.1", 0, FakeHost(), make_parts())
    peer = dial(listener)
    peer.sendall(b"\x03")
    eventually(lambda: listener.sessions)
    (session,) = listener.sessions
    assert isinstance(session, Session)
    eventually(lambda: session._state.bytes_in)
    frozen = listener.release(session)
    assert listener.sessions == set()
    assert listener.find(session.client.id) is None
    slots, others_slots = cast(Any, listener._parts.slots), cast(Any, other._parts.slots)
    others_slots.refusal = "too many"
    other.adopt(frozen)
    eventually(lambda: other.sessions)
    assert others_slots.taken == ["127.0.0.1"]
    eventually(lambda: not listener.greenlets)
    assert slots.taken == []
    assert other.find(session.client.id) in other.sessions
    peer.sendall(bytes(1536))
    assert peer.recv(1) == b"\x03"
    peer.close()
    eventually(lambda: not other.greenlets)
    assert other.find(session.client.id) is None
    assert others_slots.taken == []
    with pytest.raises(OSError, match="Bad file"):
        os.fstat(frozen.descriptor)
    other.close()


def test_a_session_that_comes_back_is_found_as_the_one_that_it_is_now(listener: Listener) -> None:
    peer = dial(listener)
    eventually(lambda: listener.sessions)
    (session,) = listener.sessions
    before = list(listener.greenlets)
    listener.adopt(listener.release(session))
    eventually(lambda: listener.sessions)
    eventually(lambda: all(one.dead for one in before))
    (again,) = listener.sessions
    assert again is not session
    assert listener.find(session.client.id) is again
    peer.close()
    eventually(lambda: not listener.greenlets)


def test_a_session_that_cannot_move_stays_and_no_descriptor_is_left(
    listener: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    peer = dial(listener)
    eventually(lambda: listener.sessions)
    (session,) = listener.sessions
    duplicates: list[int] = []
    duplicate = os.dup

    def noted(descriptor: int) -> int:
        duplicates.append(duplicate(descriptor))
        return duplicates[-1]

    monkeypatch.setattr(os, "dup", noted)
    assert isinstance(session, Session)
    session._requests.busy = True
    with pytest.raises(CannotMove, match="in the middle"):
        listener.release(session)
    with pytest.raises(OSError, match="Bad file"):
        os.fstat(duplicates[0])
    session._requests.busy = False

    def no_room(descriptor: int) -> int:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(os, "dup", no_room)
    with pytest.raises(CannotMove, match="Too many open files"):
        listener.release(session)
    assert listener.sessions == {session}
    assert listener.find(session.client.id) is session
    monkeypatch.undo()
    peer.close()


def test_a_paused_listener_leaves_newcomers_to_the_kernel(listener: Listener) -> None:
    listener.pause()
    assert not listener.describe()["accepting"]
    peer = dial(listener)
    listener._resume()  # a pause for want of descriptors that is over now
    gevent.sleep(0.01)
    assert not listener.sessions
    listener.resume()
    eventually(lambda: listener.sessions)
    assert listener.describe()["accepting"]
    assert listener.bound_to == ("127.0.0.1", listener.port)
    peer.close()


# --- who comes again --------------------------------------------------------------------------------------


def test_a_slot_is_given_back_early_once_and_not_too_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listener_module, "MAX_COMING_AGAIN", 1)
    slots: Any = make_parts().slots
    early: set[Any] = set()
    held = [listener_module._Slot(slots, f"10.0.0.{number}", early) for number in range(2)]
    slots.taken = ["10.0.0.0", "10.0.0.1"]
    for slot in held:
        slot.leave_early()
    assert slots.taken == ["10.0.0.1"], "the other one is one too many"
    for slot in held:
        slot.leave()
    assert (slots.taken, early) == ([], set())


def test_a_connection_that_logs_in_takes_no_place_from_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    host = FakeHost()
    host.denial = LoginAsked("NetStream.Publish.BadName", "come again")
    made = Listener("127.0.0.1", 0, host, make_parts())
    made.start()
    slots: Any = made._parts.slots
    stage = Stage(parts=made._parts)
    peer = dial(made)
    stage.peer.close()
    stage.peer = peer
    stage.connect()
    assert slots.taken == ["127.0.0.1"]
    stage.command("publish", None, "key", msid=1)
    assert stage.expect("onStatus")[1]["description"] == "come again"
    eventually(lambda: not slots.taken)
    assert len(made.sessions) == 1, "it still waits for the peer to close"
    peer.close()
    eventually(lambda: not made.sessions)
    assert slots.taken == []
    made.close()

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import gevent
import pytest
from gevent.event import Event
from gevent.queue import Queue
from gevent.server import StreamServer
from hypothesis import given
from hypothesis import strategies as st

from rtmpsrv import log
from rtmpsrv.access import redis_commands
from rtmpsrv.access.backoff import Backoff
from rtmpsrv.access.gate import Gate, OpenAuthority, PublishRequest
from rtmpsrv.access.redis_commands import (
    MAX_BLOCK_S,
    MAX_COMMAND_BYTES,
    Command,
    RedisCommands,
    parse_command,
    read_command,
)
from rtmpsrv.server.turns import Turns
from tests.doubles.certificates import Certificates
from tests.doubles.redis_server import RedisServer
from tests.doubles.secrets import KEY, OTHER_KEY, REDIS_PASSWORD

from .conftest import LogLines, longest_turn_s

CHANNEL = "rtmp_commands"


@pytest.mark.parametrize(
    ("text", "command"),
    [
        ("kill-session>news", Command("news", None)),
        ("KILL-SESSION>news", Command("news", None)),
        ("kill-session>news|surplus|more", Command("news", None, None, True)),
        ("kill-session>news|60", Command("news", None, 60)),
        ("Kill-Session>news|0060|more", Command("news", None, 60)),
        ("kill-session>news|0", Command("news", None, 0)),
        (f"kill-session>news|{MAX_BLOCK_S}", Command("news", None, MAX_BLOCK_S)),
        (f"kill-session>news|{MAX_BLOCK_S + 1}", Command("news", None, None, True)),
        ("kill-session>news|123456789", Command("news", None, None, True)),
        ("kill-session>news|", Command("news", None)),
        ("kill-session>news|-1", Command("news", None, None, True)),
        ("kill-session>news| 60", Command("news", None, None, True)),
        ("kill-session>news|6.0", Command("news", None, None, True)),
        ("kill-session>news|\u0666", Command("news", None, None, True)),
        ("kill-session>news|more|60", Command("news", None, None, True)),
        ("close-stream>news|abc|60", Command("news", "abc")),
        ("kill-session>", Command("", None)),
        ("kill-session>a>b", Command("a>b", None)),
        ("kill-session> news ", Command(" news ", None)),
        ("close-stream>news|abc", Command("news", "abc")),
        ("Close-Stream>news|abc|surplus", Command("news", "abc")),
        ("close-stream>news|", Command("news", "")),
        ("close-stream>news|a>b", Command("news", "a>b")),
        ("close-stream>news|*", Command("news", "*")),
        ("close-stream>news", None),
        (" kill-session>news", None),
        ("kill-session >news", None),
        ("kill-session", None),
        ("kill-session|news", None),
        ("list>news", None),
        (">news", None),
        ("", None),
    ],
)
def test_s91_grammar(text: str, command: Command | None) -> None:
    assert parse_command(text) == command


def test_a_command_may_be_so_long_and_no_longer() -> None:
    text = b"kill-session>" + b"x" * (MAX_COMMAND_BYTES - len("kill-session>"))
    assert read_command(text) == Command(text[13:].decode(), None)
    assert read_command(text + b"x") is None


def test_what_is_not_utf_8_is_no_command() -> None:
    assert read_command(b"kill-session>\xff") is None


@given(st.text())
def test_any_text_is_read(text: str) -> None:
    parse_command(text)


class Killer:
    """Collects what is to be killed."""

    def __init__(self) -> None:
        self.kills: Queue[tuple[str, str | None]] = Queue()

    def __call__(self, channel: str, stream_id: str | None) -> bool:
        self.kills.put((channel, stream_id))
        if channel == "bug":
            raise ZeroDivisionError
        return True

    def next(self) -> tuple[str, str | None]:
        kill: tuple[str, str | None] = self.kills.get(timeout=5)
        return kill


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    with RedisServer() as running:
        yield running


Connect = Callable[..., RedisCommands]


@pytest.fixture
def connect() -> Iterator[Connect]:
    running: list[RedisCommands] = []

    def build(port: int, kill: Callable[[str, str | None], bool], **options: object) -> RedisCommands:
        arguments: dict[str, object] = {"backoff": Backoff(0.01, 0.05), "stable_after_s": 0.2} | options
        commands = RedisCommands(
            host="127.0.0.1",
            port=port,
            channel=CHANNEL,
            kill=kill,
            log=log.get("REDIS"),
            give_way=Turns(),
            **arguments,  # type: ignore[arg-type]
        )
        running.append(commands)
        commands.start()
        return commands

    yield build
    for commands in running:
        commands.stop()


def test_s89_kill_session_ends_the_publication(server: RedisServer, connect: Connect) -> None:
    gate, ended = Gate(OpenAuthority()), Event()
    gate.admit(PublishRequest("news", KEY, "::1"), lambda reason: ended.set())
    connect(server.port, lambda channel, stream_id: gate.kill(channel, stream_id, "killed by redis"))
    assert server.wait_for_subscriber(CHANNEL)
    server.publish(CHANNEL, "kill-session>news")
    assert ended.wait(5)


def test_a_kill_with_a_time_blocks(server: RedisServer, connect: Connect, log_lines: LogLines) -> None:
    killer, blocks = Killer(), Queue[tuple[str, int]]()

    def block(channel: str, seconds: int) -> bool:
        blocks.put((channel, seconds))
        return True

    connect(server.port, killer, block=block)
    assert server.wait_for_subscriber(CHANNEL)
    server.publish(CHANNEL, "kill-session>news|60")
    assert blocks.get(timeout=5) == ("news", 60)
    assert log_lines.count("channel='news' is closed for 60 s") == 1
    server.publish(CHANNEL, "kill-session>news|x")
    assert killer.next() == ("news", None)
    assert blocks.empty()
    wanted = "kill-session: no channel was closed (1 times): seconds are a whole number up to 31536000"
    assert log_lines.count(wanted) == 1


def test_a_name_that_no_channel_can_have_is_not_kept(
    server: RedisServer, connect: Connect, log_lines: LogLines
) -> None:
    killer, blocks = Killer(), Queue[tuple[str, int]]()

    def block(channel: str, seconds: int) -> bool:
        blocks.put((channel, seconds))
        return True

    connect(server.port, killer, block=block, max_channel_bytes=8)
    assert server.wait_for_subscriber(CHANNEL)
    server.publish(CHANNEL, "kill-session>\u00e4\u00e4\u00e4\u00e45|60")  # by bytes, not by characters
    assert killer.next() == ("\u00e4\u00e4\u00e4\u00e45", None), "it may be on the air by an older limit"
    server.publish(CHANNEL, "kill-session>12345678|60")
    assert blocks.get(timeout=5) == ("12345678", 60)
    assert blocks.empty()
    assert log_lines.count("no channel was closed (1 times): no channel has a name of more than 8 bytes") == 1
    assert log_lines.count("is closed for") == 1


def test_s88_s90_close_stream_takes_the_right_id_or_key_only(server: RedisServer, connect: Connect) -> None:
    gate = Gate(OpenAuthority())
    ended: Queue[str] = Queue()
    gate.admit(PublishRequest("one", KEY, "::1"), lambda reason: ended.put("one"))
    two = gate.admit(PublishRequest("two", OTHER_KEY, "::1"), lambda reason: ended.put("two"))
    connect(server.port, lambda channel, stream_id: gate.kill(channel, stream_id, "closed by redis"))
    assert server.wait_for_subscriber(CHANNEL)
    for command in (
        "close-stream>one|wrong",
        "close-stream>one|*",
        f"close-stream>one|{OTHER_KEY}",
        f"close-stream>two|{two.stream_id}",
        f"close-stream>one|{KEY}",
    ):
        server.publish(CHANNEL, command)
    assert [ended.get(timeout=5), ended.get(timeout=5)] == ["two", "one"]


@pytest.mark.parametrize(
    "rubbish", ["no separator", b"\xff\xfe>x", b"", "x" * (MAX_COMMAND_BYTES + 1), "kill-session>bug"]
)
def test_s91_what_is_no_command_is_survived(
    server: RedisServer, connect: Connect, rubbish: str | bytes
) -> None:
    killer = Killer()
    connect(server.port, killer)
    assert server.wait_for_subscriber(CHANNEL)
    server.publish(CHANNEL, rubbish)
    if rubbish == "kill-session>bug":
        assert killer.next() == ("bug", None)
        while not server.publish(CHANNEL, "KILL-SESSION>news|surplus"):
            gevent.sleep(0.01)
    else:
        server.publish(CHANNEL, "KILL-SESSION>news|surplus")
    assert killer.next() == ("news", None)


def test_other_channels_are_not_listened_to(server: RedisServer, connect: Connect) -> None:
    killer = Killer()
    connect(server.port, killer)
    assert server.wait_for_subscriber(CHANNEL)
    assert not server.publish(f"{CHANNEL}2", "kill-session>news")


def test_fixed_words_of_the_log(server: RedisServer, connect: Connect, log_lines: LogLines) -> None:
    connect(server.port, Killer())
    while not log_lines.count("Subscribed"):
        gevent.sleep(0.005)
    assert log_lines.lines.count(f"[REDIS] INFO Connected: 127.0.0.1:{server.port}") == 1
    assert log_lines.lines.count(f"[REDIS] INFO Subscribed: {CHANNEL}") == 1


def test_stream_keys_in_bad_commands_reach_no_log(
    server: RedisServer, connect: Connect, log_lines: LogLines
) -> None:
    killer = Killer()
    connect(server.port, killer)
    assert server.wait_for_subscriber(CHANNEL)
    server.publish(CHANNEL, f"close_stream>news|{KEY}")
    server.publish(CHANNEL, f"close-stream>news|{KEY}")
    assert killer.next() == ("news", KEY)
    gevent.sleep(0)
    assert log_lines.count("1 unknown commands ignored") == 1  # the fixture looks for the key


def test_s92_redis_that_comes_up_later_is_found(connect: Connect, log_lines: LogLines) -> None:
    server, killer = RedisServer(), Killer()
    connect(server.port, killer, backoff=Backoff())  # the real waits: 1 s, 2 s
    while not log_lines.count("Connection refused"):
        gevent.sleep(0.01)
    started = time.monotonic()
    with server:
        assert server.wait_for_subscriber(CHANNEL)
        assert time.monotonic() - started < 10
        server.publish(CHANNEL, "kill-session>news")
        assert killer.next() == ("news", None)


def test_redis_killed_and_started_again_is_found(connect: Connect, log_lines: LogLines) -> None:
    killer = Killer()
    with RedisServer() as server:
        connect(server.port, killer)
        assert server.wait_for_subscriber(CHANNEL)
        server.stop()
        while not log_lines.count("Connection refused"):
            gevent.sleep(0.01)
        server.start()
        assert server.wait_for_subscriber(CHANNEL)
        server.publish(CHANNEL, "kill-session>news")
        assert killer.next() == ("news", None)
    assert log_lines.count("ERROR") >= 2


def test_a_lost_connection_is_replaced(server: RedisServer, connect: Connect, log_lines: LogLines) -> None:
    killer = Killer()
    connect(server.port, killer)
    assert server.wait_for_subscriber(CHANNEL)
    assert server.disconnect_subscribers() == 1
    while log_lines.count("Subscribed") < 2:
        gevent.sleep(0.01)
    server.publish(CHANNEL, "kill-session>news")
    assert killer.next() == ("news", None)


def test_a_quiet_connection_is_asked_and_kept(
    server: RedisServer, connect: Connect, log_lines: LogLines
) -> None:
    killer = Killer()
    connect(server.port, killer, health_check_s=0.1)
    assert server.wait_for_subscriber(CHANNEL)
    gevent.sleep(0.5)  # five checks: this is about what must not happen meanwhile
    server.publish(CHANNEL, "kill-session>news")
    assert killer.next() == ("news", None)
    assert log_lines.count("ERROR") == 0


def test_a_server_that_hangs_is_left(connect: Connect, log_lines: LogLines) -> None:
    with RedisServer() as server:
        connect(server.port, Killer(), health_check_s=0.1, connect_timeout_s=0.2)
        assert server.wait_for_subscriber(CHANNEL)
        server.freeze()
        with gevent.Timeout(4):
            while not log_lines.count("RedisSilent"):
                gevent.sleep(0.01)


@pytest.mark.parametrize("user", ["", "alice"])
def test_password_and_user_with_letters_that_break_urls(
    connect: Connect, log_lines: LogLines, user: str
) -> None:
    killer = Killer()
    with RedisServer(REDIS_PASSWORD, (user, REDIS_PASSWORD) if user else None) as server:
        connect(server.port, killer, username=user, password=REDIS_PASSWORD, database=3)
        assert server.wait_for_subscriber(CHANNEL)
        server.publish(CHANNEL, "kill-session>news")
        assert killer.next() == ("news", None)


@pytest.mark.parametrize("password", ["", f"{REDIS_PASSWORD}x"])
def test_a_wrong_password_is_told_without_it_and_tried_again(
    connect: Connect, log_lines: LogLines, password: str
) -> None:
    with RedisServer(REDIS_PASSWORD) as server:
        connect(server.port, Killer(), password=password)
        with gevent.Timeout(4):
            while log_lines.count("ERROR") < 3:
                gevent.sleep(0.01)
    assert log_lines.count("AuthenticationError") >= 3


def test_s93_tls_with_a_private_authority(connect: Connect, certs: Certificates) -> None:
    killer = Killer()
    with RedisServer(REDIS_PASSWORD, certificates=certs) as server:
        connect(server.port, killer, tls=True, ca=certs.ca, password=REDIS_PASSWORD)
        assert server.wait_for_subscriber(CHANNEL)
        server.publish(CHANNEL, "kill-session>news")
        assert killer.next() == ("news", None)


def test_s93_a_certificate_of_an_unknown_authority_is_refused(
    connect: Connect, certs: Certificates, log_lines: LogLines
) -> None:
    with RedisServer(certificates=certs) as server:
        commands = connect(server.port, Killer(), tls=True)
        with gevent.Timeout(4):
            while not log_lines.count("certificate verify failed"):
                gevent.sleep(0.01)
        assert not server.subscribers(CHANNEL)
        # Before the server goes: `wrap_socket` of a connection that was just reset never closes it (gevent
        # and CPython).
        commands.stop()


def test_a_named_pipe_in_place_of_authorities_stops_nobody(
    connect: Connect, certs: Certificates, log_lines: LogLines, tmp_path: Path
) -> None:
    ca = tmp_path / "ca.pem"
    os.mkfifo(ca)
    with RedisServer(certificates=certs) as server:
        connect(server.port, Killer(), tls=True, ca=str(ca))
        with gevent.Timeout(4):
            while not log_lines.count("is not a regular file"):
                gevent.sleep(0.01)
        ca.unlink()
        ca.write_bytes(Path(certs.ca).read_bytes())
        assert server.wait_for_subscriber(CHANNEL)


@pytest.mark.parametrize("words", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"*1\r\n$x\r\n", b"\0" * 64, b""])
def test_what_is_not_redis_at_all_is_survived(connect: Connect, log_lines: LogLines, words: bytes) -> None:
    def talk(connection: gevent.socket.socket, address: object) -> None:
        connection.recv(100)
        connection.sendall(words)
        connection.close()

    peer = StreamServer(("127.0.0.1", 0), talk)
    peer.start()
    try:
        connect(peer.server_port, Killer())
        with gevent.Timeout(4):
            while log_lines.count("ERROR") < 3:
                gevent.sleep(0.01)
        assert log_lines.count("Traceback") == 0
    finally:
        peer.stop()


SUBSCRIBED = b"*3\r\n$9\r\nsubscribe\r\n$13\r\nrtmp_commands\r\n:1\r\n"


def said(data: bytes) -> bytes:
    """A message of the channel, as Redis sends it."""
    return b"*3\r\n$7\r\nmessage\r\n$13\r\nrtmp_commands\r\n$%d\r\n%s\r\n" % (len(data), data)


class Hostile:
    """Something that lets itself be subscribed to, then sends what it is told, for ever or once."""

    def __init__(self, first: bytes, then: bytes = b"", pause_s: float = 0.0) -> None:
        self.first, self.then, self.pause_s = first, then, pause_s
        self.server = StreamServer(("127.0.0.1", 0), self.talk)
        self.server.start()
        self.port = self.server.server_port
        self.connections = 0

    def talk(self, connection: gevent.socket.socket, address: object) -> None:
        self.connections += 1
        try:
            asked = connection.recv(65536)
            while asked and b"SUBSCRIBE" not in asked.upper():
                connection.sendall(b"+OK\r\n" * asked.count(b"*"))
                asked = connection.recv(65536)
            connection.sendall(SUBSCRIBED + self.first)
            while self.then:
                connection.sendall(self.then)
                gevent.sleep(self.pause_s)
            connection.recv(65536)
        except OSError:
            pass  # the client has left
        finally:
            connection.close()


@pytest.fixture
def hostile() -> Iterator[Callable[..., Hostile]]:
    made: list[Hostile] = []

    def make(first: bytes, then: bytes = b"", pause_s: float = 0.0) -> Hostile:
        made.append(Hostile(first, then, pause_s))
        return made[-1]

    yield make
    for one in made:
        one.server.stop()


@pytest.mark.parametrize(
    ("first", "then", "reason"),
    [
        (b"*3\r\n$7\r\nmessage\r\n$13\r\nrtmp_commands\r\n$2000000000\r\n", b"z" * 65536, "65536 bytes"),
        (b"+", b"y" * 65536, "65536 bytes"),
        (b"*1000000000\r\n", b":1\r\n" * 10_000, "65536 bytes"),
        (b"*1\r\n" * 5000, b"", "nested too deep"),
    ],
    ids=["a bulk", "a line", "an array", "nested arrays"],
)
def test_a_reply_that_is_too_much_ends_the_connection_before_it_is_held(
    connect: Connect,
    hostile: Callable[..., Hostile],
    log_lines: LogLines,
    first: bytes,
    then: bytes,
    reason: str,
) -> None:
    connect(hostile(first, then).port, Killer())
    with gevent.Timeout(4):
        while not log_lines.count(reason):
            gevent.sleep(0.005)
    assert log_lines.count("Traceback") == 0
    assert log_lines.count("REDIS] ERROR Connection to") >= 1


def test_a_reply_that_does_not_end_is_left_at_the_deadline(
    connect: Connect, hostile: Callable[..., Hostile], log_lines: LogLines, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redis_commands, "MAX_REPLY_S", 0.1)
    connect(hostile(b"+", b"y", pause_s=0.01).port, Killer())
    with gevent.Timeout(4):
        while not log_lines.count("takes more than 0.1 s"):
            gevent.sleep(0.005)


def test_a_connection_is_made_anew_after_so_many_bytes(
    connect: Connect, hostile: Callable[..., Hostile], log_lines: LogLines, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redis_commands, "MAX_CONNECTION_BYTES", 10_000)
    peer = hostile(b"", said(b"kill-session>news"))
    connect(peer.port, Killer())
    with gevent.Timeout(4):
        while peer.connections < 2:
            gevent.sleep(0.005)
    assert log_lines.count("more than 10000 bytes on one connection") >= 1


@pytest.mark.parametrize("flood", [said(b"kill-session>x"), said(b"rubbish"), SUBSCRIBED, b"+x\r\n"])
def test_a_flood_lets_others_run_and_is_told_once_a_second(
    connect: Connect, hostile: Callable[..., Hostile], log_lines: LogLines, flood: bytes
) -> None:
    connect(hostile(b"", flood * 1000).port, lambda channel, stream_id: False)
    while not log_lines.count("Subscribed"):
        gevent.sleep(0.005)
    longest_s = longest_turn_s(0.3)
    assert longest_s < 0.05  # a turn is some ms
    assert log_lines.count("Subscribed") == 1 or flood == b"+x\r\n"
    assert len(log_lines.lines) <= 6


def test_stop_ends_the_subscription(server: RedisServer, connect: Connect) -> None:
    commands = connect(server.port, Killer())
    assert server.wait_for_subscriber(CHANNEL)
    commands.stop()
    with gevent.Timeout(4):
        while server.subscribers(CHANNEL):
            gevent.sleep(0.01)
    commands.stop()


def test_that_commands_arrive_can_be_waited_for(server: RedisServer, connect: Connect) -> None:
    commands = connect(server.port, lambda channel, stream_id: False)
    seen = [commands.subscribed]
    assert commands.wait_subscribed(5)
    assert server.subscribers(CHANNEL)
    seen.append(commands.subscribed)
    commands.stop()
    assert [*seen, commands.subscribed] == [False, True, False]
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        assert not connect(nobody.getsockname()[1], lambda channel, stream_id: False).wait_subscribed(0.01)

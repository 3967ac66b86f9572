"""Commands by Redis Pub/Sub, from a real redis-server. Numbers in names: docs/compliance.md."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from time import monotonic

import pytest

from tests.access_run import AccessServer, Encoder, gaps, pictures
from tests.client import Client, Stage, names_of, stage
from tests.doubles import certificates
from tests.doubles.callback_server import CallbackServer
from tests.doubles.redis_server import RedisServer
from tests.doubles.secrets import JWT_SECRET, KEY, OTHER_KEY, REDIS_PASSWORD

COMMANDS = "rtmp_commands"
BACK_WITHIN_S = 12.0  # after Redis is back; the longest wait between two attempts is 10 s
ENDED = ["NetStream.Play.UnpublishNotify", "StreamEOF"]
KILLED = r"closed: killed by a Redis command"


def settings_for(redis: RedisServer, **more: str) -> dict[str, str]:
    return {"REDIS_USE": "YES", "REDIS_PORT": str(redis.port)} | more


@pytest.fixture(scope="module")
def redis() -> Iterator[RedisServer]:
    with RedisServer() as running:
        yield running


@pytest.fixture(scope="module")
def server(redis: RedisServer) -> Iterator[AccessServer]:
    """A server without callback, subscribed."""
    with AccessServer(**settings_for(redis)) as running:
        assert redis.wait_for_subscriber(COMMANDS)
        yield running


@pytest.fixture
def on(server: AccessServer) -> Iterator[Stage]:
    with stage(server.port) as opened:
        yield opened


@pytest.fixture
def channel(request: pytest.FixtureRequest) -> str:
    return re.sub(r"[^0-9A-Za-z_-]", "-", request.node.name)[:100]


def unharmed(on: Stage, publisher: Client, player: Client) -> bool:
    """Tell whether the stream still flows and nothing else was said to the player."""
    return on.passed(publisher, player) == []


def settled(on: Stage, redis: RedisServer) -> None:
    """Wait until the server has dealt with every command so far: they are taken in order."""
    publisher = on.publisher("settled", KEY)
    redis.publish(COMMANDS, "kill-session>settled")
    publisher.expect_closed()


def test_s89_kill_session_disconnects_the_publisher_and_tells_its_players(
    on: Stage, redis: RedisServer, server: AccessServer, channel: str
) -> None:
    publisher, player = on.publisher_and_player(channel, KEY)
    other, other_player = on.publisher_and_player(channel + "-other", KEY)
    assert redis.publish(COMMANDS, f"kill-session>{channel}") == 1
    publisher.expect_closed()
    assert names_of([player.read(), player.read()]) == ENDED
    server.wait_for_line(KILLED)
    assert unharmed(on, other, other_player)
    again = on.publisher(channel, KEY)  # the player stayed, and gets the next stream
    assert "NetStream.Play.Start" in names_of(on.passed(again, player))


def test_a_killed_encoder_stays_away_for_as_long_as_it_was_told_to(
    on: Stage, redis: RedisServer, server: AccessServer, channel: str
) -> None:
    publisher, player = on.publisher_and_player(channel, KEY)
    redis.publish(COMMANDS, f"kill-session>{channel}|1000")
    publisher.expect_closed()
    assert names_of([player.read(), player.read()]) == ENDED
    with Encoder(server.port, channel) as encoder:
        assert encoder.ended()[0] != 0
    server.wait_for_line(r"publish refused: The channel is closed for \d+ s more")
    redis.publish(COMMANDS, f"kill-session>{channel}|0")
    settled(on, redis)
    again = on.publisher(channel, KEY)
    assert "NetStream.Play.Start" in names_of(on.passed(again, player))


def test_s88_s90_close_stream_takes_the_key_for_the_stream_id_where_nobody_gives_one(
    on: Stage, redis: RedisServer, channel: str
) -> None:
    publisher, player = on.publisher_and_player(channel, KEY)
    for wrong in (OTHER_KEY, "", "*", KEY.lower(), f" {KEY}", f"{KEY} "):
        redis.publish(COMMANDS, f"close-stream>{channel}|{wrong}")
    settled(on, redis)
    assert unharmed(on, publisher, player)
    redis.publish(COMMANDS, f"close-stream>{channel}|{KEY}")
    publisher.expect_closed()
    assert names_of([player.read(), player.read()]) == ENDED


def test_s91_spelling_of_commands(on: Stage, redis: RedisServer, channel: str) -> None:
    for command in ("KILL-SESSION>{}", "Kill-Session>{}|surplus|more", "CLOSE-STREAM>{}|" + KEY + "|x>y"):
        publisher = on.publisher(channel, KEY)
        redis.publish(COMMANDS, command.format(channel))
        publisher.expect_closed()
    publisher, player = on.publisher_and_player(channel, KEY)
    for nonsense in (
        *("", channel, f"kill-session {channel}", f" kill-session>{channel}", f"kill-session >{channel}"),
        *(f"kill-session> {channel}", f"close-stream>{channel}", f"stop>{channel}", "kill-session>", ">"),
        *(b"kill-session>\xff\xfe", f"kill-session>{channel}>", b"\0" * 10000),
    ):
        redis.publish(COMMANDS, nonsense)
    redis.publish("another_channel", f"kill-session>{channel}")
    settled(on, redis)
    assert unharmed(on, publisher, player)


def test_s87_a_kill_sends_stop_once(redis: RedisServer) -> None:
    with CallbackServer(JWT_SECRET) as backend:
        settings = {"CALLBACK_URL": backend.url, "JWT_SECRET": JWT_SECRET, "REDIS_CHANNEL": "mine"}
        with AccessServer(**settings_for(redis, **settings)) as server, stage(server.port) as on:
            assert redis.wait_for_subscriber("mine")
            publisher, player = on.publisher_and_player("killed", KEY)
            redis.publish("mine", f"close-stream>killed|{KEY}")  # the callback's id counts, not the key
            redis.publish("mine", "close-stream>killed|id-killed")
            redis.publish("mine", "kill-session>killed")
            publisher.expect_closed()
            assert names_of([player.read(), player.read()]) == ENDED
            server.wait_for_line(KILLED)
            assert server.stop() == 0
        told = [(one.event, one.claims["stream_id"]) for one in backend.received]
        assert told == [("start", None), ("stop", "id-killed")]


def test_s92_redis_that_comes_up_after_the_server_is_found() -> None:
    redis = RedisServer(password=REDIS_PASSWORD)
    settings = settings_for(redis, REDIS_PASSWORD=REDIS_PASSWORD)
    with AccessServer(**settings) as server, stage(server.port) as on:
        server.wait_for_line(r"\[ERROR\] Connection to 127.0.0.1:\d+ failed")
        publisher, _player = on.publisher_and_player("early", KEY)
        with redis:
            assert redis.wait_for_subscriber(COMMANDS, BACK_WITHIN_S)
            redis.publish(COMMANDS, "kill-session>early")
            publisher.expect_closed()


def test_a_wrong_password_is_told_and_harms_nobody() -> None:
    with RedisServer(password=REDIS_PASSWORD) as redis:
        settings = settings_for(redis, REDIS_PASSWORD=REDIS_PASSWORD + "x")
        with AccessServer(**settings) as server, stage(server.port) as on:
            server.wait_for_line(r"\[ERROR\] Connection to .* failed \(Auth\w+\)")
            assert unharmed(on, *on.publisher_and_player("calm", KEY))


def test_a_user_name_and_a_database_can_be_set() -> None:
    with RedisServer(user=("rtmp", REDIS_PASSWORD)) as redis:
        settings = {"REDIS_USERNAME": "rtmp", "REDIS_PASSWORD": REDIS_PASSWORD, "REDIS_DATABASE": "3"}
        with AccessServer(**settings_for(redis, **settings)) as server, stage(server.port) as on:
            assert redis.wait_for_subscriber(COMMANDS)
            publisher = on.publisher("named", KEY)
            redis.publish(COMMANDS, "kill-session>named")
            publisher.expect_closed()


def test_s93_tls_is_used_and_the_certificate_is_verified(tmp_path_factory: pytest.TempPathFactory) -> None:
    certs = certificates.make(tmp_path_factory.mktemp("redis"))
    with RedisServer(password=REDIS_PASSWORD, certificates=certs) as redis:
        settings = settings_for(redis, REDIS_TLS="YES", REDIS_PASSWORD=REDIS_PASSWORD)
        with AccessServer(**settings, REDIS_CA=certs.ca) as server, stage(server.port) as on:
            assert redis.wait_for_subscriber(COMMANDS)
            publisher = on.publisher("secure", KEY)
            redis.publish(COMMANDS, "kill-session>secure")
            publisher.expect_closed()
        with AccessServer(**settings) as server:  # an authority that the system does not know
            server.wait_for_line(r"\[ERROR\] Connection to .* failed")
            assert redis.subscribers(COMMANDS) == 0


def test_s92_redis_killed_and_restarted_in_mid_stream() -> None:
    with (
        RedisServer(password=REDIS_PASSWORD) as redis,
        AccessServer(**settings_for(redis, REDIS_PASSWORD=REDIS_PASSWORD)) as server,
        stage(server.port) as on,
        Encoder(server.port, "news") as encoder,
    ):
        assert redis.wait_for_subscriber(COMMANDS)
        server.wait_for_line("publish accepted channel=news", timeout_s=15)
        player = on.player("news", KEY)
        shown = pictures(player, 3)
        redis.stop()
        server.wait_for_line(r"\[ERROR\] Connection to .* failed")
        shown += pictures(player, 10)
        redis.start()
        began = monotonic()
        assert redis.wait_for_subscriber(COMMANDS, BACK_WITHIN_S)
        sys.stdout.write(f"commands work {monotonic() - began:.2f} s after Redis came back\n")
        shown += pictures(player, 10)
        assert gaps(shown) == {100}
        redis.publish(COMMANDS, "kill-session>news")
        assert encoder.ended()[0] != 0
        player.read_until(lambda one: names_of([one]) == ENDED[:1])

"""No stream key, token or password in any line of the log, at TRACE level, whatever happens to the server.

Every other test of access looks at its log too (tests/access_run.py); here is what they do not do. Number in
names: docs/compliance.md.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import contextmanager

from tests.access_run import REFUSED, AccessServer, Encoder, leaks, refusal
from tests.client import Client, Stage, keyframe, stage
from tests.doubles.callback_server import Answer, CallbackServer, accept
from tests.doubles.control_server import ControlServer
from tests.doubles.redis_server import RedisServer
from tests.doubles.secrets import CONTROL_SECRET, JWT_SECRET, KEY, OTHER_KEY, REDIS_PASSWORD
from tests.server_process import free_port

URL_PASSWORD = "url-password-Tv4"
URL_QUERY = "url-query-Hd6"
QUERY = "query-of-a-client-Bw1"
MORE = (URL_PASSWORD, URL_QUERY, QUERY)


def visit(on: Stage, channel: str) -> None:
    """Publish, play, and be refused in many ways, with the key in every field that a client fills."""
    publisher = on.publisher(channel, f"{KEY}?token={QUERY}")
    player = on.player(channel, f"{KEY}?cache=clear&token={QUERY}")
    publisher.data("onTextData", KEY)
    publisher.data("@setDataFrame", "onMetaData", {"key": KEY, KEY: QUERY})
    publisher.video(0, keyframe(KEY.encode()))
    on.passed(publisher, player)
    publisher.command("FCPublish", None, KEY)
    publisher.command("releaseStream", None, KEY)
    publisher.command(KEY, None, QUERY)
    publisher.fence()
    for key in (OTHER_KEY, f"{KEY}%", f"{KEY}>", KEY * 20, ""):
        for how in (Client.ask_publish, Client.ask_play):
            client = on.client().connect(channel)
            how(client, key, client.create_stream())
            client.expect_closed()
    urls = {"pageUrl": f"http://{KEY}/", "flashVer": QUERY, "swfUrl": f"rtmp://h/c/{KEY}"}
    client = on.client()
    client.shake_hands()
    client.ask_connect(f"{channel}/{KEY}", **urls)
    client.expect_closed()
    client = on.client()
    client.shake_hands()
    client.ask_connect(f"{channel}?key={KEY}", **urls)
    client.expect_command("_result")
    broken = on.client().connect(channel)
    broken.message(20, b"\x02\x00\x07publish\x00" + bytes(8) + b"\x05\x02\xff\xff" + KEY.encode())
    broken.expect_closed()
    publisher.command("FCUnpublish", None, KEY)
    publisher.expect_status("NetStream.Unpublish.Success")
    publisher.command("deleteStream", None, 1.0)
    publisher.fence()


@contextmanager
def watched(**settings: str) -> Iterator[tuple[AccessServer, Stage]]:
    with AccessServer(**settings) as server:
        with stage(server.port, strangers=True) as on:
            yield server, on
        server.stop()
        lines = server.everything()
        assert any("[DEBUG]" in line or '"level": "DEBUG"' in line for line in lines)
        assert leaks(lines, MORE) == []


def test_s115_without_anybody_to_ask() -> None:
    with watched(JWT_SECRET=JWT_SECRET) as (_server, on):
        visit(on, "open")


def test_s115_as_json() -> None:
    with watched(JWT_SECRET=JWT_SECRET, LOG_FORMAT="json") as (_server, on):
        visit(on, "open")


def test_s115_with_callback_and_redis() -> None:
    with CallbackServer(JWT_SECRET) as backend, RedisServer(password=REDIS_PASSWORD) as redis:
        answers = itertools.cycle([Answer(403), Answer(302, {"location": f"/{KEY}"}), Answer(drop=True)])
        backend.answer = lambda got: next(answers) if got.claims["key"] != KEY else accept(got)
        with watched(
            CALLBACK_URL=f"http://user:{URL_PASSWORD}@127.0.0.1:{backend.port}/callback?token={URL_QUERY}",
            CALLBACK_TIMEOUT_SECONDS="1",
            JWT_SECRET=JWT_SECRET,
            REDIS_USE="YES",
            REDIS_PORT=str(redis.port),
            REDIS_PASSWORD=REDIS_PASSWORD,
        ) as (server, on):
            assert redis.wait_for_subscriber("rtmp_commands")
            visit(on, "both")
            assert [refusal(on, "refused", OTHER_KEY) for _ in range(3)] == [REFUSED] * 3
            victim = on.publisher("victim", KEY)
            for command in (f"close-stream>victim|{KEY}", f"{KEY}>{KEY}", KEY, "kill-session>victim"):
                redis.publish("rtmp_commands", command)
            victim.expect_closed()
            redis.stop()
            server.wait_for_line(r"\[ERROR\] Connection to .* failed")
            backend.answer = lambda got: Answer(hang=True)
            assert refusal(on, "hung") == REFUSED
            backend.answer = accept
            with Encoder(server.port, "news"):
                assert backend.wait_for("start", channel="news", timeout_s=15)
                server.wait_for_line("publish accepted channel=news")
                backend.stop()
                assert refusal(on, "down") == REFUSED


def test_s115_with_a_control_server() -> None:
    with ControlServer(CONTROL_SECRET) as control:
        url = f"ws://user:{URL_PASSWORD}@127.0.0.1:{control.port}/?token={URL_QUERY}"
        with watched(
            CONTROL_USE="YES",
            CONTROL_BASE_URL=url,
            CONTROL_SECRET=CONTROL_SECRET,
            CONTROL_REQUEST_TIMEOUT_SECONDS="1",
        ) as (server, on):
            link = control.wait_for_link()
            visit(on, "controlled")
            assert refusal(on, "deny") == REFUSED
            assert refusal(on, "mute") == REFUSED
            victim = on.publisher("victim", KEY)
            requests = [one.text for one in control.messages("PUBLISH-REQUEST")]
            for frame in (*requests, f"NONSENSE\n{KEY}: {KEY}", "PUBLISH-ACCEPT\nRequest-ID: " + KEY):
                control.send_text(link, frame)
            control.kill("victim", KEY)
            control.kill("victim")
            victim.expect_closed()
            with Encoder(server.port, "news"):
                server.wait_for_line("publish accepted channel=news", timeout_s=15)
                control.send_raw(link, b"\xff\xff" + KEY.encode())  # no frame: the link ends
                server.wait_for_line("Disconnected: ")
            control.stop()
            server.wait_for_line("Cannot connect: ", timeout_s=15)
            assert refusal(on, "unlinked") == REFUSED


def test_s115_with_wrong_secrets_and_nobody_there() -> None:
    with (
        ControlServer("another") as control,
        RedisServer(password="another") as redis,
        watched(
            CONTROL_USE="YES",
            CONTROL_BASE_URL=control.url,
            CONTROL_SECRET=CONTROL_SECRET,
            REDIS_USE="YES",
            REDIS_PORT=str(redis.port),
            REDIS_USERNAME="somebody",
            REDIS_PASSWORD=REDIS_PASSWORD,
        ) as (server, on),
    ):
        server.wait_for_line("Cannot connect: .*403")
        server.wait_for_line(r"\[ERROR\] Connection to .* failed")
        assert refusal(on, "nobody") == REFUSED
    with watched(CALLBACK_URL=f"https://127.0.0.1:{free_port()}/", JWT_SECRET=JWT_SECRET) as (_server, on):
        assert refusal(on, "nobody") == REFUSED


def test_s115_the_check_itself_can_fail() -> None:
    assert leaks(["publish accepted key=" + KEY]) != []
    assert leaks(["redis://:p%40ss%2Fw%3Ard%23Rn8@localhost"]) != []
    assert leaks(["rtmp-event: eyJhbGciOi"]) != []
    assert leaks(["publish accepted channel=news"]) == []

"""The commands of docs/redis.md, run as they stand, with the real redis-cli, Redis and server."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import yaml

from tests.access_run import AccessServer, refusal
from tests.client import Stage, names_of, stage
from tests.doubles import certificates
from tests.doubles.callback_server import Answer, CallbackServer
from tests.doubles.redis_server import RedisServer
from tests.doubles.secrets import JWT_SECRET
from tests.media_files import system_tool
from tests.pages import assignments, code_lines, log_lines, page, section
from tests.server_process import PROJECT, environment

KEY = "secret1"  # of the page
ENDED = ["NetStream.Play.UnpublishNotify", "StreamEOF"]


def redis_lines(title: str, start: str = "redis-cli") -> list[str]:
    lines = [line for line in code_lines(section(page("redis.md"), title)) if line.startswith(start)]
    assert lines, title
    return lines


class Terminal:
    """A shell whose `redis-cli` talks to the Redis of the test unless told otherwise."""

    def __init__(self, directory: Path, redis: RedisServer) -> None:
        self.directory = directory
        self._port = redis.port
        wrapper = directory / "redis-cli"
        wrapper.write_text(f'#!/bin/sh\nexec {system_tool("redis-cli")} -p {redis.port} "$@"\n')
        wrapper.chmod(0o755)

    def run(self, line: str) -> str:
        """Run a line as it is and return what it printed."""
        path = f"{self.directory}:{os.environ['PATH']}"
        done = subprocess.run(
            ["sh", "-c", line],
            cwd=self.directory,
            env=environment({}) | {"PATH": path},
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
        assert done.stderr == ""
        return done.stdout.strip()


@contextmanager
def server_of(redis: RedisServer, **settings: str) -> Iterator[tuple[AccessServer, Stage]]:
    """Run a server with the settings that the page begins with."""
    given = assignments(section(page("redis.md"), "Switch it on")) | {"REDIS_PORT": str(redis.port)}
    with AccessServer(**given | settings) as server, stage(server.port) as on:
        assert redis.wait_for_subscriber(given["REDIS_CHANNEL"])
        yield server, on


def run_and_see(line: str, terminal: Terminal, on: Stage) -> None:
    """Run a command of the page and see that it ends the stream `news`, and only that."""
    publisher, player = on.publisher("news", KEY), on.player("news", KEY)
    other, other_player = on.publisher("sports", KEY), on.player("sports", KEY)
    on.passed(publisher, player)
    on.passed(other, other_player)
    assert terminal.run(line) == "1"
    publisher.expect_closed()
    assert names_of([player.read(), player.read()]) == ENDED
    assert on.passed(other, other_player) == []
    other.close()
    other_player.expect_status("NetStream.Play.UnpublishNotify")


def command_of(line: str) -> tuple[str, list[str]]:
    quoted = re.search(r"'([a-z-]+)>([^']+)'", line)
    assert quoted, line
    return quoted[1], quoted[2].split("|")


def test_the_commands_of_the_page_do_what_it_says(tmp_path: Path) -> None:
    lines = redis_lines("Commands")
    assert [command_of(line)[0] for line in lines] == ["kill-session", "close-stream", "close-stream"]
    kill, close_id, close_key = lines
    stream_id = command_of(close_id)[1][1]
    with RedisServer() as redis, CallbackServer(JWT_SECRET) as backend:
        terminal = Terminal(tmp_path, redis)
        with server_of(redis) as (_server, on):
            run_and_see(kill, terminal, on)
            run_and_see(close_key, terminal, on)
        backend.answer = lambda received: Answer(headers={"stream-id": stream_id})
        with server_of(redis, CALLBACK_URL=backend.url, JWT_SECRET=JWT_SECRET) as (_server, on):
            run_and_see(kill, terminal, on)
            run_and_see(close_id, terminal, on)


def test_a_channel_is_closed_and_opened_as_the_page_says(tmp_path: Path) -> None:
    close, reopen = redis_lines("Keep it closed")
    with RedisServer() as redis, server_of(redis) as (_server, on):
        terminal = Terminal(tmp_path, redis)
        run_and_see(close, terminal, on)
        assert refusal(on, "news", KEY).startswith("The channel is closed for ")
        assert terminal.run(reopen) == "1"
        run_and_see(redis_lines("Commands")[0], terminal, on)


def test_a_command_to_nobody_prints_0(tmp_path: Path) -> None:
    with RedisServer() as redis:
        assert [Terminal(tmp_path, redis).run(line) for line in redis_lines("Commands")] == ["0"] * 3


def test_the_line_for_docker_is_one_of_the_others(tmp_path: Path) -> None:
    (line,) = redis_lines("Commands", "docker compose")
    head, _, inside = line.partition(" exec ")
    service, _, command = inside.partition(" ")
    compose = PROJECT / head.removeprefix("docker compose -f ")
    assert service in yaml.safe_load(compose.read_text())["services"]
    assert command in redis_lines("Commands")


def test_the_users_of_the_page_can_do_their_work_and_nothing_else(tmp_path: Path) -> None:
    *users, command = redis_lines("Password, user, TLS", "redis-cli acl") + redis_lines(
        "Password, user, TLS", "REDISCLI_AUTH"
    )
    given = assignments(section(page("redis.md"), "Password, user, TLS"))
    settings = {name: given[name] for name in ("REDIS_USERNAME", "REDIS_PASSWORD")}
    with RedisServer() as redis:
        terminal = Terminal(tmp_path, redis)
        assert [terminal.run(line) for line in users] == ["OK", "OK"]
        with server_of(redis, REDIS_DATABASE="1", **settings) as (server, on):
            run_and_see(command, terminal, on)
            assert [one for one in server.everything() if "[REDIS] [ERROR]" in one] == []
        operator = command.partition(" publish ")[0]
        server_user = (
            f"REDISCLI_AUTH={settings['REDIS_PASSWORD']} redis-cli --user {settings['REDIS_USERNAME']}"
        )
        for client in (operator, server_user):
            for forbidden in ("get x", "publish other x", "subscribe other", "acl list", "flushall", "info"):
                assert terminal.run(f"{client} {forbidden}").startswith("NOPERM"), (client, forbidden)
        assert terminal.run(f"{server_user} publish rtmp_commands x").startswith("NOPERM")
        wrong = {"REDIS_USERNAME": "operator", "REDIS_PASSWORD": "password2"}
        with AccessServer(REDIS_USE="YES", REDIS_PORT=str(redis.port), **wrong) as server:
            server.wait_for_line(r"\[REDIS\] \[ERROR\] Connection to .* failed \(NoPermissionError\)")
        with AccessServer(REDIS_USE="YES", REDIS_PORT=str(redis.port), REDIS_PASSWORD="wrong") as server:
            server.wait_for_line(r"\[REDIS\] \[ERROR\] Connection to .* failed \(AuthenticationError\)")


def test_the_lines_for_tls_work(tmp_path: Path) -> None:
    (line,) = redis_lines("Password, user, TLS", "redis-cli --tls")
    given = assignments(section(page("redis.md"), "Password, user, TLS"))
    authority = tmp_path / given["REDIS_CA"]
    certs = certificates.make(tmp_path)
    assert Path(certs.ca) == authority
    with RedisServer(certificates=certs) as redis:
        settings = {"REDIS_TLS": given["REDIS_TLS"], "REDIS_CA": str(authority)}
        with server_of(redis, **settings) as (_server, on):
            run_and_see(line, Terminal(tmp_path, redis), on)


def test_the_log_lines_of_the_page_are_those_one_sees(tmp_path: Path) -> None:
    wanted = log_lines(section(page("redis.md"), "When Redis is away"))
    assert len(wanted) == 5
    redis = RedisServer()
    with AccessServer(REDIS_USE="YES", REDIS_PORT=str(redis.port)) as server, stage(server.port) as on:
        server.wait_for_line(r"\[REDIS\] \[ERROR\]")
        with redis:
            assert redis.wait_for_subscriber("rtmp_commands")
            run_and_see(redis_lines("Commands")[0], Terminal(tmp_path, redis), on)
            server.wait_for_line("closed: killed")
            for line in wanted:
                text = "{}[{}] {}".format(*line)
                pattern = re.sub(r"\d+", r"\\d+", re.escape(text))
                assert any(re.search(pattern, one) for one in server.everything()), text

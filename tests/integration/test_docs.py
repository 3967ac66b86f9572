"""Whether the documentation is true: variables, links, paths, tables, figures, log lines, compose files.

The commands of the pages are run in test_docs_redis.py and test_examples_access.py.
"""

from __future__ import annotations

import ast
import json
import re
import socket
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from time import monotonic, sleep
from typing import Any
from urllib.parse import urlsplit

import jwt
import pytest
import redis as redis_client
import yaml

from rtmpsrv import RegistrationFailure
from rtmpsrv.access import (
    callback_sender,
    callbacks,
    control_link,
    control_messages,
    coordinator,
    redis_commands,
    tokens,
)
from rtmpsrv.access.backoff import LONGEST_WAIT_S, Backoff
from rtmpsrv.config import SETTINGS, Config
from rtmpsrv.groups import CALLBACK, CONTROL, REDIS
from tests.access_run import Encoder
from tests.doubles.secrets import JWT_SECRET
from tests.media_files import system_tool
from tests.pages import fenced, log_lines, page, pages, rows, section
from tests.server_process import PROJECT, START_S, environment, free_port

COMPOSE = sorted((PROJECT / "config").glob("docker-compose*.yml"))
VARIABLES = {name.upper() for name in SETTINGS} | {a for one in SETTINGS.values() for a in one.aliases}
LIBRARIES = {
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
    "ALL_PROXY",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
}  # what they read by themselves
EXAMPLES = {"STREAM_KEYS", "PORT", "CHANNEL", "SITE"}  # what the examples read, and how they call it
NO_VARIABLES = {
    *(reason.name for reason in RegistrationFailure if "_" in reason.name),
    *("CAP_NET_BIND_SERVICE", "MSG_TRUNC", "PROTOCOL_TLS_SERVER"),  # of Linux and of Python's ssl
    "KEY_VALIDATION",  # a prefix of log lines
    *("RTMPSRV_WORKER", "RTMPSRV_MANAGER", "RTMPSRV_SETTINGS"),  # between our own processes
    "RTMPSRV_PARENT_STAYS",  # read by workers/parent.py
    "XDG_RUNTIME_DIR",  # of the session
    "RTMPSRV_COMPILE",  # read when the server is built
    "REDISCLI_AUTH",  # read by redis-cli
    "CN",  # of a certificate
}
NAME = re.compile(r"(?<![\w-])(?:[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+(?!\w)|[A-Z][A-Z0-9]+(?==))")
KEY = "secret1"  # of the pages


def shown(path: Path) -> str:
    return str(path.relative_to(PROJECT))


# --- names --------------------------------------------------------------------------------------------------


def unknown_variables(text: str) -> set[str]:
    return set(NAME.findall(text)) - VARIABLES - LIBRARIES - EXAMPLES - NO_VARIABLES


@pytest.mark.parametrize("path", [*pages(), *COMPOSE], ids=shown)
def test_every_variable_that_is_named_is_a_setting(path: Path) -> None:
    assert unknown_variables(path.read_text()) == set()


def test_the_search_for_variables_finds_them() -> None:
    text = "set `RTMP_PORTS` or\n    SSL_PROT=1 FLAVOUR=x\nand REDIS_* or RTMP_PORT"
    assert unknown_variables(text) == {"RTMP_PORTS", "SSL_PROT", "FLAVOUR"}


def test_no_exception_is_left_over() -> None:
    named = {name for path in [*pages(), *COMPOSE] for name in NAME.findall(path.read_text())}
    assert named >= LIBRARIES | EXAMPLES | NO_VARIABLES


@pytest.mark.parametrize(
    ("group", "name"), [(CALLBACK, "callbacks.md"), (REDIS, "redis.md"), (CONTROL, "control.md")]
)
def test_the_page_of_an_integration_names_all_its_settings(group: str, name: str) -> None:
    wanted = {variable.upper() for variable, described in SETTINGS.items() if described.group == group}
    assert wanted - set(re.findall(r"[A-Z_]+", page(name))) == set()


# --- links and paths ----------------------------------------------------------------------------------------


def broken_links(path: Path, text: str) -> list[str]:
    links = re.findall(r"\]\(([^)\s#]+)[^)]*\)", text)
    return [link for link in links if "://" not in link and not (path.parent / link).exists()]


@pytest.mark.parametrize("path", pages(), ids=shown)
def test_every_relative_link_leads_to_a_file(path: Path) -> None:
    assert broken_links(path, path.read_text()) == []


def test_the_search_for_links_finds_them() -> None:
    text = "[a](docs/no.md#x), [b](docs/tls.md), [c](https://example.org/)\n[d](../gone)"
    assert broken_links(PROJECT / "README.md", text) == ["docs/no.md", "../gone"]


@pytest.mark.parametrize("path", pages(), ids=shown)
def test_every_path_of_the_project_that_is_named_exists(path: Path) -> None:
    named = re.findall(r"(?<![\w/.-])(?:config|docs|examples|scripts|tests)/[\w./-]*\w", path.read_text())
    assert [name for name in named if not (PROJECT / name).exists()] == []


def test_the_readme_links_every_page_example_and_compose_file() -> None:
    readme = (PROJECT / "README.md").read_text()
    wanted = [*pages()[1:], *(PROJECT / "examples").glob("*.py"), *COMPOSE]
    assert [shown(path) for path in wanted if f"]({shown(path)})" not in readme] == []


def wait_for_port(port: int) -> None:
    until = monotonic() + START_S
    while True:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except ConnectionRefusedError:
            assert monotonic() < until
            sleep(0.1)
        else:
            return


def test_the_program_of_the_readme_runs() -> None:
    (program,) = fenced((PROJECT / "README.md").read_text(), "python")
    assert len(program.splitlines()) <= 15
    port = free_port()
    placed = program.replace('rtmp_app="live"', f'rtmp_app="live", port={port}')
    assert placed != program
    command = [sys.executable, "-c", placed]
    process = subprocess.Popen(command, env=environment({}), stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        wait_for_port(port)
        with Encoder(port, "live", KEY) as encoder:
            assert process.stdout.readline() == f"on the air: {KEY}\n"
            sleep(1)  # for some pictures; nothing tells of them
            encoder.leave()
        assert re.fullmatch(r"over: .+ after [1-9]\d* messages\n", process.stdout.readline())
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


# --- log lines ----------------------------------------------------------------------------------------------


def logged() -> tuple[list[tuple[str, re.Pattern[str]]], set[str]]:
    """Return level and pattern of each log call of the server, and all its texts."""
    calls, texts = [], set()
    for path in (PROJECT / "rtmpsrv").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                texts.add(node.value)
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.args):
                continue
            level = node.func.attr  # `log` takes any, its first argument
            text = node.args[1] if level == "log" and len(node.args) > 1 else node.args[0]
            if level not in ("info", "warning", "error", "debug", "log") or not isinstance(
                text, ast.Constant
            ):
                continue
            pieces = re.split(r"%[-\d.]*[a-z]", str(text.value))
            if sum(map(len, pieces)) >= 6:  # "%s" alone would be any line
                calls.append((level, re.compile(".*".join(map(re.escape, pieces)))))
    return calls, texts


def test_every_log_line_that_is_shown_can_be_written() -> None:
    calls, texts = logged()
    lines = [line for path in pages() for line in log_lines(path.read_text())]
    assert len(lines) > 15
    for prefixes, level, text in lines:
        for prefix in re.findall(r"\[([A-Z:/_]+)\]", prefixes):
            assert prefix in texts, prefix
        written = any(kind in (level.lower(), "log") and pattern.fullmatch(text) for kind, pattern in calls)
        assert written or text in texts, (level, text)


# --- tables and figures -------------------------------------------------------------------------------------

TYPES = {"string": str, "integer": int, "null": type(None)}


def claims_of(event: str) -> dict[str, Any]:
    given = {"start": ("192.0.2.7", None), "stop": (None, "5f0c1b77")}[event]
    token = tokens.callback_token(
        event,
        secret=JWT_SECRET,
        subject="",
        channel="news",
        key=KEY,
        client_ip=given[0],
        stream_id=given[1],
        rtmp_host="live.example.org",
        rtmp_port=1935,
        now=1767225600,
    )
    claims: dict[str, Any] = jwt.decode(token, options={"verify_signature": False})
    return claims


def test_the_table_of_claims_is_that_of_the_tokens() -> None:
    table = rows(section(page("callbacks.md"), "What is asked, and when"), 4)[1:]
    start, stop = claims_of("start"), claims_of("stop")
    assert [name.strip("`") for name, *_ in table] == list(start) == list(stop)
    for name, in_start, in_stop, _meaning in table:
        claim = name.strip("`")
        assert type(start[claim]) is TYPES[in_start], claim
        assert type(stop[claim]) is TYPES[in_stop], claim


def test_the_claims_that_are_shown_are_those_of_a_start() -> None:
    (example,) = fenced(section(page("callbacks.md"), "What is asked, and when"), "json")
    assert list(json.loads(example).items()) == list(claims_of("start").items())


def test_the_tables_of_messages_are_complete() -> None:
    table = rows(section(page("control.md"), "Messages"), 3)
    names = {row[0].strip("`") for row in table if row[0].startswith("`")}
    assert names == {
        value
        for name, value in vars(control_messages).items()
        if name.isupper() and isinstance(value, str) and value.replace("-", "").isupper()
    }
    source = Path(control_link.__file__).read_text()
    named = {name for row in table for name in re.findall(r"`(\w+(?:-\w+)+)`", row[1])}
    assert named
    assert {name for name in named if f'"{name}"' not in source} == set()


def waits() -> str:
    backoff = Backoff(jitter=0)
    return ", ".join(f"{backoff.next_s():g}" for _ in range(4))


FIGURES = [
    ("callbacks.md", f"`iat` + {tokens.CALLBACK_LIFETIME_S}:"),
    ("callbacks.md", f"after {waits()} and then every {LONGEST_WAIT_S:g} seconds"),
    ("callbacks.md", f"within {callbacks.STOP_GIVE_UP_S / 60:g} minutes of its first attempt"),
    ("callbacks.md", f"when {callbacks.STOP_BACKLOG} stops are waiting"),
    ("callbacks.md", f"({callbacks.STOP_CONCURRENCY} are sent at the same time)"),
    (
        "callbacks.md",
        f"| {callbacks.STOP_FIRST_S:g} s, part of those {callback_sender.TOTAL_TIMEOUT_S:g} s |",
    ),
    ("callbacks.md", f"`CALLBACK_TIMEOUT_SECONDS`, {Config().callback_timeout_seconds} s"),
    ("callbacks.md", f"`CALLBACK_CONNECT_TIMEOUT_SECONDS`, {Config().callback_connect_timeout_seconds} s"),
    ("callbacks.md", "5xx, {}, {} and {} mean".format(*sorted(callbacks.TRY_AGAIN_STATUS))),
    ("redis.md", f"longer than {redis_commands.MAX_COMMAND_BYTES} bytes"),
    ("redis.md", f"says nothing for {redis_commands.HEALTH_CHECK_S:g} s is sent a PING"),
    ("redis.md", f"after {waits()} and then every"),
    ("control.md", f"`iat` + {tokens.CONTROL_LIFETIME_S} "),
    ("control.md", f"`sub` is `{tokens.CONTROL_SUBJECT}`"),
    ("control.md", f"| every {coordinator.HEARTBEAT_S:g} s |"),
    ("control.md", f"| {coordinator.SILENCE_S:g} s | the link is lost |"),
    ("control.md", f"| to connect | {coordinator.CONNECT_TIMEOUT_S:g} s |"),
    ("control.md", f"{waits()}, then 10 s"),
    ("control.md", f"after a link of {coordinator.STABLE_AFTER_S:g} s or more"),
    ("control.md", f"`CONTROL_REQUEST_TIMEOUT_SECONDS`, {Config().control_request_timeout_seconds} s |"),
    ("control.md", f"{control_link.MAX_MESSAGE_BYTES >> 20} MiB and {control_messages.MAX_PARAMETERS} param"),
]


@pytest.mark.parametrize(("name", "figure"), FIGURES)
def test_figures_are_those_of_the_code(name: str, figure: str) -> None:
    assert figure in " ".join(page(name).split())


def test_addresses_of_the_control_server_are_resolved_as_the_page_says() -> None:
    table = rows(section(page("control.md"), "Connection"), 2)
    pairs = [(base.strip("`"), address.strip("`")) for base, address in table if base.startswith("`ws")]
    assert len(pairs) >= 3
    assert [coordinator.resolve_url(base) for base, _ in pairs] == [address for _, address in pairs]


# --- compose files ------------------------------------------------------------------------------------------


def services(path: Path) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = yaml.safe_load(path.read_text())["services"]
    return found


@pytest.mark.parametrize("path", COMPOSE, ids=shown)
def test_the_settings_of_a_compose_file_are_good(path: Path) -> None:
    (server,) = (one for one in services(path).values() if "build" in one)
    assert (path.parent / server["build"] / "Dockerfile").is_file()
    settings = {name: str(value) for name, value in server["environment"].items()}
    assert set(settings) <= VARIABLES
    config, warnings = Config.load(settings)
    assert [text for text in warnings if "JWT_SECRET" not in text] == []
    ports = {int(str(port).rpartition(":")[2]) for port in server["ports"]}
    assert ports <= {config.rtmp_port, config.ssl_port, config.http_port}
    assert config.http_port not in ports or config.http_bind_address == "0.0.0.0"
    assert int(server["stop_grace_period"].rstrip("s")) > config.drain_timeout_seconds


def test_the_services_of_the_compose_file_with_redis_find_each_other() -> None:
    found = services(PROJECT / "config/docker-compose.redis.yml")
    settings, backend = found["rtmpsrv"]["environment"], found["backend"]["environment"]
    assert settings["REDIS_HOST"] == "redis"
    assert (urlsplit(settings["CALLBACK_URL"]).hostname, settings["REDIS_USE"]) == ("backend", "YES")
    assert urlsplit(settings["CALLBACK_URL"]).port == int(backend["PORT"])
    assert settings["JWT_SECRET"] == backend["JWT_SECRET"]


@pytest.mark.parametrize("path", COMPOSE, ids=shown)
def test_images_are_official_ones_and_mounted_paths_exist(path: Path) -> None:
    named = yaml.safe_load(path.read_text()).get("volumes", {})
    for one in services(path).values():
        assert re.fullmatch(r"(caddy|python|redis):[\w.-]+", one.get("image", "redis:7")), one
        for volume in one.get("volumes", []):
            source = volume.split(":")[0]
            assert source in named or (path.parent / source).exists(), volume


def test_the_proxy_of_the_compose_file_asks_where_viewers_are_served() -> None:
    found = services(PROJECT / "config/docker-compose.https.yml")
    config, _warnings = Config.load({k: str(v) for k, v in found["rtmpsrv"]["environment"].items()})
    assert config.http_bind_address == "0.0.0.0"
    assert "172.18.0.2" in config.http_trusted_proxies
    assert found["caddy"]["command"][-2:] == ["--to", f"rtmpsrv:{config.http_port}"]
    assert "443:443" in found["caddy"]["ports"]


def test_the_backend_of_the_compose_file_is_the_example() -> None:
    path = PROJECT / "config/docker-compose.redis.yml"
    backend = services(path)["backend"]
    source, target, mode = backend["volumes"][0].split(":")
    program, script = backend["command"]
    assert (program, mode) == ("python3", "ro")
    example = path.parent / source / Path(script).relative_to(target)
    assert example.resolve() == PROJECT / "examples/callback_backend.py"
    read = set(re.findall(r'environ\.get\("(\w+)"', example.read_text()))
    assert set(backend["environment"]) - {"PYTHONUNBUFFERED"} == read


def test_the_redis_of_the_compose_file_starts() -> None:
    port = free_port()
    program, *options = services(PROJECT / "config/docker-compose.redis.yml")["redis"]["command"]
    command = [system_tool(program), *options, "--port", str(port), "--bind", "127.0.0.1"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        retry = redis_client.retry.Retry(redis_client.backoff.ConstantBackoff(0.1), 100)
        with closing(redis_client.Redis(port=port, retry=retry, protocol=2, decode_responses=True)) as client:
            assert client.ping()
            assert client.config_get("save") == {"save": ""}
    finally:
        process.kill()
        process.wait()

"""Whether the pages for those who come from other servers are true: each example is run, each table complete.

What the users of those servers have in their encoders and backends is written here from those servers'
documents; the real nginx-rtmp is asked where it is to be had.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from rtmpsrv.config import SETTINGS
from tests import printed
from tests.client import stage
from tests.doubles.hook_backend import (
    Fields,
    HookBackend,
    MediaMtxBackend,
    NginxBackend,
    SrsBackend,
    wait_until,
)
from tests.doubles.secrets import KEY
from tests.media_files import system_tool
from tests.pages import fenced, page, rows
from tests.server_process import STOP_S, ServerProcess, free_port, run

NGINX, SRS = "coming-from-nginx-rtmp.md", "coming-from-srs.md"
MEDIAMTX, NMS = "coming-from-mediamtx.md", "coming-from-node-media-server.md"
PAGES = (NGINX, SRS, MEDIAMTX, NMS)
MODULE = Path("/usr/lib/nginx/modules/ngx_rtmp_module.so")
FFMPEG_S = 30.0
NO_LIMIT = 6  # connections of one address, more than there may be by default

# What ngx_rtmp_module.so of version 1.2.2 has in its tables of commands.
DIRECTIVES = re.findall(
    r"\w+",
    """
    rtmp server listen application so_keepalive timeout ping ping_timeout max_streams ack_window chunk_size
    max_message out_queue out_cork busy play_time_fix publish_time_fix buflen meta allow deny max_connections
    live stream_buckets buffer sync interleave wait_key wait_video publish_notify play_restart idle_streams
    drop_idle_publisher play play_temp_path play_local_path netcall_timeout netcall_buffer
    record record_path record_suffix record_unique record_append record_lock record_max_size record_max_frames
    record_interval record_notify recorder push pull relay_buffer push_reconnect pull_reconnect session_relay
    exec exec_push exec_pull exec_publish exec_publish_done exec_play exec_play_done exec_record_done
    exec_static respawn respawn_timeout exec_kill_signal exec_options
    rtmp_auto_push rtmp_auto_push_reconnect rtmp_socket_dir rtmp_stat rtmp_stat_stylesheet rtmp_control
    on_connect on_disconnect on_publish on_play on_publish_done on_play_done on_done on_record_done on_update
    notify_method notify_update_timeout notify_update_strict notify_relay_redirect access_log log_format
    hls hls_fragment hls_max_fragment hls_path hls_playlist_length hls_muxdelay hls_sync hls_continuous
    hls_nested hls_fragment_naming hls_fragment_slicing hls_type hls_max_audio_delay hls_audio_buffer_size
    hls_cleanup hls_variant hls_base_url hls_fragment_naming_granularity hls_keys hls_key_path hls_key_url
    hls_fragments_per_key dash dash_fragment dash_path dash_playlist_length dash_cleanup dash_nested
    """,
)
PLAIN_WORDS = ("not here", "not yet", "always", "nothing to set", "every path is there")


# --- the tables ---------------------------------------------------------------------------------------------


def answers(name: str) -> list[tuple[list[str], str]]:
    """Return the settings of each line of a page's table, and what it says of them."""
    table = [row for row in rows(page(name), 2) if row[1] != "Here"]
    return [(re.findall(r"`([^`]+)`", theirs), ours) for theirs, ours in table]


def test_every_directive_of_nginx_rtmp_has_one_answer() -> None:
    named = [one for theirs, _ in answers(NGINX) for one in theirs]
    assert sorted(named) == sorted(DIRECTIVES)


def test_the_directives_are_those_of_the_module() -> None:
    module = MODULE.read_bytes()
    assert [name for name in DIRECTIVES if f"{name}\0".encode() not in module] == []


@pytest.mark.parametrize("name", PAGES)
def test_every_line_names_what_is_here_or_says_plainly_that_nothing_is(name: str) -> None:
    table = answers(name)
    assert len(table) >= 15
    for theirs, ours in table:
        assert theirs, ours
        named = {word.lower() for word in re.findall(r"`([A-Z][A-Z_]+)", ours)}
        assert named & (set(SETTINGS) | {"tz"}) or any(word in ours for word in PLAIN_WORDS), (theirs, ours)
    names = [one for theirs, _ in table for one in theirs]
    assert len(set(names)) == len(names)


def test_all_four_pages_are_linked() -> None:
    assert [name for name in PAGES if f"]({name})" not in page("coming-from.md")] == []


# --- the examples -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Example:
    """A block of settings, and what its users do: `publish` and `play` follow the host in their URLs."""

    page: str
    number: int  # of the page's blocks of settings
    publish: str
    play: str
    channel: str
    backend: type[HookBackend] | None = None
    asked: Fields = field(default_factory=dict)  # of what the backend is told about the publisher
    asked_play: Fields = field(default_factory=dict)
    ends: tuple[str, ...] = ()  # what it is told in the end

    def settings(self) -> str:
        """Return the block."""
        found = [one for one in printed.blocks((Path("docs") / self.page).read_text()) if not one.language]
        return "\n".join(found[self.number].lines)


EXAMPLES = [
    Example(
        NGINX,
        0,
        f"live/al.ice?psk={KEY}&key=a.b",
        "live/al.ice?viewer=7",
        "live/al.ice",
        NginxBackend,
        {"call": "publish", "app": "live", "name": "al.ice", "psk": KEY, "key": "a.b", "addr": "127.0.0.1"},
        {"call": "play", "app": "live", "name": "al.ice", "viewer": "7"},
        ("publish_done", "play_done"),
    ),
    Example(
        SRS,
        0,
        f"live/live.stream?secret={KEY}",
        "live/live.stream",
        "live/live.stream",
        SrsBackend,
        {"action": "on_publish", "app": "live", "stream": "live.stream", "param": f"?secret={KEY}"},
        {"action": "on_play", "app": "live", "stream": "live.stream", "param": ""},
        ("on_unpublish", "on_stop"),
    ),
    Example(
        MEDIAMTX,
        0,
        f"live/alice?user=u&pass={KEY}",
        "live/alice?user=v&pass=p",
        "live/alice",
        MediaMtxBackend,
        {"action": "publish", "path": "live/alice", "user": "u", "password": KEY, "protocol": "rtmp"},
        {"action": "read", "path": "live/alice", "user": "v", "password": "p"},
    ),
    Example(
        MEDIAMTX,
        1,
        f"my.stream?user=u&pass={KEY}",
        "my.stream?user=v&pass=p",
        "my.stream",
        MediaMtxBackend,
        {"action": "publish", "path": "my.stream", "user": "u", "password": KEY},
        {"action": "read", "path": "my.stream", "user": "v", "password": "p"},
    ),
    Example(MEDIAMTX, 2, "live?user=alice&pass=her-password/alice", "live/alice", "live/alice"),
    Example(NMS, 0, "live/alice?token={publish}", "live/alice?token={play}", "live/alice"),
]


@contextmanager
def served(example: Example, directory: Path, **settings: str) -> Iterator[tuple[ServerProcess, HookBackend]]:
    """Start the server with an example's settings as its `.env`, but for ports, and the backend they name."""
    (directory / ".env").write_text(example.settings() + "\n")
    for toml in fenced(page(example.page), "toml"):
        (directory / "channels.toml").write_text(toml)
    with (example.backend or NginxBackend)() as backend:
        if found := re.search(r"CALLBACK_URL=http://127\.0\.0\.1:\d+(.*)", example.settings()):
            settings = {"CALLBACK_URL": f"http://127.0.0.1:{backend.port}{found[1]}"} | settings
        with ServerProcess(cwd=str(directory), **settings) as server:
            yield server, backend
        server.check_log()
        assert [line for line in server.matching(r"\[WARNING\]") if "JWT_SECRET is empty" not in line] == []
        assert server.matching(re.escape(KEY)) == []


def ffmpeg(*arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [system_tool("ffmpeg"), "-v", "error", "-nostdin", *arguments],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


@contextmanager
def publisher(url: str) -> Iterator[subprocess.Popen[str]]:
    coding = "-c:v libx264 -preset ultrafast -tune zerolatency -g 10 -pix_fmt yuv420p -f flv"
    encoder = ffmpeg("-re", "-f", "lavfi", "-i", "testsrc2=size=160x90:rate=10", *coding.split(), url)
    try:
        yield encoder
    finally:
        end(encoder)


def end(process: subprocess.Popen[str]) -> None:
    if process.poll() is None:
        process.terminate()
    process.communicate(timeout=FFMPEG_S)


def failed(process: subprocess.Popen[str]) -> str:
    """Wait until it has given up; return what it said."""
    _, said = process.communicate(timeout=FFMPEG_S)
    assert process.returncode
    return said


def played(url: str) -> tuple[int, str]:
    """Play ten pictures; return the exit code and what ffmpeg said."""
    player = ffmpeg("-analyzeduration", "500000", "-i", url, "-frames:v", "10", "-f", "null", "-")
    _, said = player.communicate(timeout=FFMPEG_S)
    return player.returncode, said


def token(secret: str, action: str) -> str:
    arguments = ("token", "--channel", "live/*", "--action", action, "--seconds", "120")
    return run(*arguments, TOKEN_SECRET=secret).stdout.strip()


def with_tokens(example: Example, path: str) -> str:
    found = re.search(r"TOKEN_SECRET=(.*)", example.settings())
    return path.format(**{one: token(found[1], one) for one in ("publish", "play")}) if found else path


def test_every_block_of_settings_is_an_example() -> None:
    blocks = {
        (name, number)
        for name in PAGES
        for number, _ in enumerate(
            [one for one in printed.blocks((Path("docs") / name).read_text()) if not one.language]
        )
    }
    assert blocks == {(one.page, one.number) for one in EXAMPLES}


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda one: f"{one.page}-{one.number}")
def test_the_example_serves_the_urls_that_its_users_have(example: Example, tmp_path: Path) -> None:
    with served(example, tmp_path) as (server, backend):
        host = f"rtmp://127.0.0.1:{server.port}/"
        with publisher(host + with_tokens(example, example.publish)):
            server.wait_for_line(f"publish accepted channel={example.channel}$", timeout_s=FFMPEG_S)
            assert played(host + with_tokens(example, example.play)) == (0, "")
            with stage(server.port) as on:
                for _ in range(NO_LIMIT):
                    on.client().shake_hands()
        if example.backend:
            started, played_too = backend.received[:2]
            assert started.items() >= example.asked.items()
            assert played_too.items() >= example.asked_play.items()
            for event in example.ends:
                backend.wait_for(event)
            assert len(backend.received) == 2 + len(example.ends)


REFUSING = [one for one in EXAMPLES if one.backend]


@pytest.mark.parametrize("example", REFUSING, ids=lambda one: f"{one.page}-{one.number}")
def test_their_backend_can_refuse(example: Example, tmp_path: Path) -> None:
    with served(example, tmp_path) as (server, backend):
        backend.says = lambda fields: backend.no()
        host = f"rtmp://127.0.0.1:{server.port}/"
        with publisher(host + example.publish) as encoder:
            assert "refused by the callback" in failed(encoder)
        code, said = played(host + example.play)
        assert code
        assert "refused by the callback" in said


def test_a_user_of_the_file_logs_in_and_nobody_else_publishes(tmp_path: Path) -> None:
    example = next(one for one in EXAMPLES if (one.page, one.number) == (MEDIAMTX, 2))
    with served(example, tmp_path) as (server, _):
        host = f"127.0.0.1:{server.port}/"
        for wrong in (
            "live?user=alice&pass=other/alice",
            "live?user=alice&pass=her-password/bob",
            "live/alice?user=alice&pass=her-password",  # too late, as the page says
            "live/alice",
        ):
            with publisher(f"rtmp://{host}{wrong}") as encoder:
                failed(encoder)
        with publisher(f"rtmp://alice:her-password@{host}live/alice"):
            server.wait_for_line("publish accepted channel=live/alice$", timeout_s=FFMPEG_S)


def test_who_has_no_token_is_refused(tmp_path: Path) -> None:
    example = EXAMPLES[-1]
    with served(example, tmp_path) as (server, _):
        host = f"rtmp://127.0.0.1:{server.port}/live/alice"
        with publisher(f"{host}?sign=1893456000-0123456789abcdef") as encoder:
            failed(encoder)
        assert played(host)[0]
        assert server.matching("publish accepted|PLAY ") == []


def test_each_event_may_have_an_address_of_its_own(tmp_path: Path) -> None:
    words = next(line for line in page(NGINX).split("\n*") if "{event}" in line)
    template, *paths = re.findall(r"`(?:http://127\.0\.0\.1:8000)?(/[^`]+)`", words)
    assert len(paths) == 6
    with served(EXAMPLES[0], tmp_path, CALLBACK_UPDATE_SECONDS="1") as (_, backend):
        url = f"http://127.0.0.1:{backend.port}{template}"
        with (
            ServerProcess(cwd=str(tmp_path), CALLBACK_URL=url, CALLBACK_UPDATE_SECONDS="1") as server,
            stage(server.port) as on,
        ):
            on.publisher("live", "alice")
            player = on.client().play("live", "alice")
            backend.wait_for("update_publish")
            backend.wait_for("update_play")
            player.close()
            backend.wait_for("play_done")
        backend.wait_for("publish_done")
        assert set(backend.paths) == set(paths)


# --- beside the real nginx-rtmp -----------------------------------------------------------------------------

OF_THE_SERVER = {"tcurl", "clientid", "time", "timestamp"}  # ports, counters, clocks


@contextmanager
def real_nginx(directory: Path, backend: HookBackend) -> Iterator[int]:
    """Run nginx with the configuration of the page, but for ports and times; its port."""
    port = free_port()
    (rtmp,) = fenced(page(NGINX), "nginx")
    for theirs, placed in (
        ("listen 1935;", f"listen 127.0.0.1:{port};"),
        ("http://127.0.0.1:8000/", f"http://127.0.0.1:{backend.port}/"),
        ("notify_update_timeout 30s;", "notify_update_timeout 1s;"),
    ):
        assert theirs in rtmp
        rtmp = rtmp.replace(theirs, placed)
    log = directory / "error.log"
    head = f"load_module {MODULE};\ndaemon off;\nworker_processes 1;\npid {directory}/nginx.pid;\n"
    path = directory / "nginx.conf"
    path.write_text(f"{head}error_log {log};\nevents {{ worker_connections 64; }}\n{rtmp}")
    command = [system_tool("nginx"), "-p", str(directory), "-c", str(path), "-e", str(log)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_until(lambda: process.poll() is not None or (directory / "nginx.pid").exists())
        assert process.poll() is None, log.read_text()
        yield port
    finally:
        process.terminate()
        process.wait(STOP_S)


def told(backend: HookBackend, port: int) -> dict[str, Fields]:
    """Publish and play; return the last fields of each call."""
    host = f"rtmp://127.0.0.1:{port}/"
    with publisher(f"{host}live/al.ice?psk={KEY}&x=%20y") as encoder:
        backend.wait_for("update_publish", timeout_s=FFMPEG_S)
        player = ffmpeg("-i", f"{host}live/al.ice?viewer=7", "-f", "null", "-")
        backend.wait_for("update_play", timeout_s=FFMPEG_S)
        end(player)
        backend.wait_for("play_done", timeout_s=FFMPEG_S)
        assert encoder.poll() is None
    backend.wait_for("publish_done", timeout_s=FFMPEG_S)
    return {fields["call"]: dict(fields) for fields in backend.received}


def test_the_backend_cannot_tell_it_from_the_real_nginx(tmp_path: Path) -> None:
    theirs_at, ours_at = tmp_path / "nginx", tmp_path / "ours"
    theirs_at.mkdir()
    ours_at.mkdir()
    with NginxBackend() as backend, real_nginx(theirs_at, backend) as port:
        theirs = told(backend, port)
    with served(EXAMPLES[0], ours_at, CALLBACK_UPDATE_SECONDS="1") as (server, backend):
        ours = told(backend, server.port)
    assert set(ours) == set(theirs)
    assert len(ours) == 6
    for call, fields in theirs.items():
        assert list(ours[call]) == list(fields), call
        version = fields.pop("flashver")
        assert ours[call].pop("flashver").startswith(version)
        differ = {name for name, value in fields.items() if ours[call][name] != value}
        assert differ <= OF_THE_SERVER, call

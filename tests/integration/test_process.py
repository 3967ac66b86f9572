"""The process: settings at start, exit codes, log, signals. Numbers in names: docs/compliance.md."""

from __future__ import annotations

import re
import shutil
import signal
import socket
import subprocess
import sys
from configparser import ConfigParser
from pathlib import Path

import pytest

from rtmpsrv import __version__
from rtmpsrv.build import compiled
from tests.client import Client, Closed, Stage, keyframe, names_of, stage
from tests.server_process import PROJECT, STOP_S, ServerProcess, environment, free_port, run

VERSION = f"rtmpsrv {__version__} ({'compiled' if compiled() else 'not compiled'})\n"
KEY = "Sehr-geheim-4711"
SECRETS = {"JWT_SECRET": "Kleinod-7261", "REDIS_PASSWORD": "Losung-8812", "CONTROL_SECRET": "Parole-5093"}
SESSION_LINE = r"^\[\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\] \[SERVER:TCP\] \[#1\] \[INFO\] "


# --- command line ---------------------------------------------------------------------------------------


def test_version_and_help_are_printed() -> None:
    version = run("--version")
    assert (version.returncode, version.stdout) == (0, VERSION)
    assert "--check-config" in run("--help").stdout


def test_s01_check_config_shows_the_defaults() -> None:
    checked = run("--check-config")
    settings = checked.stdout.splitlines()
    assert checked.returncode == 0
    assert {"RTMP_PORT=1935", "BIND_ADDRESS=0.0.0.0", 'SSL_CERT=""', 'SSL_KEY=""'} <= set(settings)


def test_check_config_masks_secrets() -> None:
    checked = run("--check-config", **SECRETS)
    assert checked.returncode == 0
    for name, value in SECRETS.items():
        assert value not in checked.stdout
        assert re.search(rf"^{name}=.+$", checked.stdout, re.MULTILINE)


def test_an_unknown_argument_is_an_error() -> None:
    assert run("--no-such-thing").returncode == 2


def test_the_console_script_is_the_module() -> None:
    setup = ConfigParser()
    setup.read(PROJECT / "setup.cfg")
    name, _, target = setup["options.entry_points"]["console_scripts"].strip().partition(" = ")
    module, _, function = target.partition(":")
    installed = shutil.which(name, path=str(Path(sys.executable).parent))
    wrapper = f"import sys; from {module} import {function}; sys.exit({function}())"  # as pip writes it
    command = [installed] if installed else [sys.executable, "-c", wrapper]
    done = subprocess.run(
        [*command, "--version"], env=environment({}), capture_output=True, text=True, timeout=20, check=False
    )
    assert (done.returncode, done.stdout) == (0, VERSION)


# --- settings -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        pytest.param({"RTMP_PORT": "0"}, "RTMP_PORT", id="s02 low"),
        pytest.param({"RTMP_PORT": "70000"}, "RTMP_PORT", id="s02 high"),
        pytest.param({"RTMP_CHUNK_SIZE": "127"}, "RTMP_CHUNK_SIZE", id="s04 low"),
        pytest.param({"RTMP_CHUNK_SIZE": "65537"}, "RTMP_CHUNK_SIZE", id="s04 high"),
        pytest.param({"CONCURRENT_LIMIT_WHITELIST": "10.0.0.0/8,foo"}, "'foo'", id="s05"),
        pytest.param({"SSL_PORT": "0"}, "SSL_PORT", id="s09"),
        pytest.param({"CONTROL_USE": "YES", "CONTROL_BASE_URL": "::"}, "CONTROL_BASE_URL", id="s12"),
        pytest.param({"REDIS_USE": "YES", "REDIS_PORT": "0"}, "REDIS_PORT", id="s13"),
    ],
)
def test_s02_s04_s05_s09_s12_s13_bad_settings_end_the_process_with_code_1(
    settings: dict[str, str], named: str
) -> None:
    ended = run(**settings)
    assert ended.returncode == 1
    (line,) = ended.stdout.splitlines()
    assert "[ERROR] " in line
    assert named in line
    assert ended.stderr == ""


def test_s03_s07_the_environment_wins_over_env_files_and_bad_numbers_over_nothing(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("RTMP_PORT=2000\nRTMP_CHUNK_SIZE=5000\n")
    checked = run("--check-config", cwd=str(tmp_path), RTMP_PORT="abc")
    assert checked.returncode == 1
    assert "# WARNING: RTMP_PORT='abc'" in checked.stdout
    assert {"RTMP_PORT=1935", "RTMP_CHUNK_SIZE=5000"} <= set(checked.stdout.splitlines())


def test_s01_s08_s11_a_server_with_one_tls_file_listens_on_one_port_only() -> None:
    with ServerProcess(BIND_ADDRESS="0.0.0.0", SSL_CERT="/none") as server:
        listening = server.matching("Listening on ")
        assert [line.rpartition("] ")[2] for line in listening] == [f"Listening on 0.0.0.0:{server.port}"]
        banner = rf"\[INFO\] .*\({re.escape(__version__)}\)$"
        once = ["WARNING.*JWT_SECRET", "WARNING.*SSL_CERT is set but SSL_KEY is not", banner]
        for pattern in once:
            server.wait_for_line(pattern)
        assert [len(server.matching(pattern)) for pattern in once] == [1, 1, 1]
        server.check_log()


def test_s04_s17_msg_buffer_size_0_and_the_smallest_chunks_work() -> None:
    with (
        ServerProcess(MSG_BUFFER_SIZE="0", RTMP_CHUNK_SIZE="128") as server,
        stage(server.port) as on,
    ):
        assert len(server.wait_for_line(r"\[WARNING\] MSG_BUFFER_SIZE=0 is raised to 1")) == 1
        publisher = on.publisher("app")
        player = on.player("app")
        on.passed(publisher, player)
        publisher.video(0, keyframe(bytes(1000)))
        assert len(on.passed(publisher, player)) == 1
        server.check_log()


def test_the_first_lines_say_where_to_publish_and_to_watch() -> None:
    with ServerProcess(SSL_CERT="/none") as server, stage(server.port) as on:
        server.wait_for_line(r"\[WARNING\] SSL_CERT is set")
        publish, watch = server.lines[:2]
        here = f"rtmp://127.0.0.1:{server.port}/live/key"
        assert publish.endswith(
            f"[INFO] Publish to rtmp://127.0.0.1:{server.port}/CHANNEL/KEY, for example {here}"
        )
        assert watch.endswith(f"[INFO] Watch the same, for example with: ffplay {here}")
        warned = [number for number, line in enumerate(server.lines) if "[WARNING]" in line]
        assert min(warned) > server.lines.index(server.matching("Listening on")[0])
        on.passed(on.publisher("live", "key"), on.player("live", "key"))


# --- log ------------------------------------------------------------------------------------------------


def test_s113_a_connection_is_logged_to_standard_output() -> None:
    with ServerProcess() as server:
        with Client(server.port) as client:
            client.send(b"\x03")
        server.wait_for_line(r"closed: closed by the peer, in=1 out=0 bytes")
        first, last = server.session_lines(1)
        assert re.search(SESSION_LINE + "Connection accepted from 127.0.0.1$", first)
        assert re.search(SESSION_LINE + "closed: ", last)
        server.check_log()


def test_who_connects_and_says_nothing_is_a_matter_of_debug() -> None:
    with ServerProcess() as server:
        Client(server.port).close()
        with Client(server.port) as client:
            client.send(b"\x03")
        server.wait_for_line(r"\[#2\] .*closed: ")
        assert server.session_lines(1) == []
    with ServerProcess(LOG_DEBUG="YES") as server:
        Client(server.port).close()
        server.wait_for_line(r"\[#1\] \[DEBUG\] closed: closed by the peer, in=0 out=0 bytes")


def test_s114_log_requests_no_mutes_sessions_but_not_rejections() -> None:
    with ServerProcess(LOG_REQUESTS="NO", MAX_IP_CONCURRENT_CONNECTIONS="1") as server:
        with stage(server.port) as on:
            on.publisher("app")
            with pytest.raises(Closed):
                on.client().receive(1)
            server.wait_for_line("Rejected request from 127.0.0.1 due to connection limit")
        assert server.stop() == 0
        assert server.matching(r"\[#\d+\]|Connection accepted|PUBLISH") == []
        server.check_log()


def test_s115_no_secret_appears_in_the_log_at_any_level() -> None:
    settings = {"LOG_DEBUG": "YES", "LOG_TRACE": "YES", "CONCURRENT_LIMIT_WHITELIST": "*"} | SECRETS
    with ServerProcess(**settings) as server:
        with stage(server.port) as on:
            publisher = on.publisher("app", KEY)
            player = on.player("app", f"{KEY}?cache=no")
            on.passed(publisher, player)
            publisher.ask_publish(KEY)
            publisher.expect_closed()
            player.command("deleteStream", None, KEY)
            player.expect_status("NetStream.Play.UnpublishNotify")
            for bad_key in (f"{KEY}%", f"{KEY}-wrong"):
                client = on.client().connect("app")
                client.command("releaseStream", None, bad_key)
                client.command("FCPublish", None, bad_key)
                client.ask_play(bad_key)
                client.fence() if bad_key.endswith("wrong") else client.expect_closed()
            broken = on.client()
            broken.shake_hands()
            broken.message(20, b"\x02\x00\x07publish\x00" + bytes(8) + b"\x05\x02\x00\xff" + KEY.encode())
            broken.expect_closed()
        assert server.stop() == 0
        log = "\n".join(server.everything())
        assert server.lines == []  # trace moves the log to standard error
        assert "PUBLISH (1): app" in log
        for secret in (KEY, *SECRETS.values()):
            assert secret not in log


# --- life -----------------------------------------------------------------------------------------------


def test_s116_a_port_in_use_ends_the_process() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        ended = run(RTMP_PORT=str(taken.getsockname()[1]), BIND_ADDRESS="127.0.0.1")
    assert ended.returncode == 1
    assert re.search(r"\[ERROR\] could not create TCP listener: 127\.0\.0\.1:\d+: .*in use", ended.stdout)
    assert "Traceback" not in ended.stdout + ended.stderr


def test_s116_an_address_of_somebody_else_ends_the_process() -> None:
    ended = run(RTMP_PORT="19350", BIND_ADDRESS="192.0.2.1")
    assert ended.returncode == 1
    assert "[ERROR] could not create TCP listener" in ended.stdout


@pytest.mark.parametrize(("closed", "trace"), [("<&- 2>&-", "NO"), ("<&- >&-", "YES")])
def test_closed_standard_streams_do_not_matter(closed: str, trace: str) -> None:
    with ServerProcess(shell_prefix=f"exec {closed};", LOG_TRACE=trace) as server, stage(server.port) as on:
        publisher = on.publisher("app")
        on.passed(publisher, on.player("app"))
        assert server.stop() == 0


@pytest.mark.parametrize("address", ["a..b", "x" * 100])
def test_a_name_that_cannot_be_a_host_ends_the_process(address: str) -> None:
    ended = run(BIND_ADDRESS=address)
    assert ended.returncode == 1
    assert "[ERROR] BIND_ADDRESS: neither an address nor a host name" in ended.stdout
    assert "Traceback" not in ended.stdout + ended.stderr


def test_hanging_up_does_not_end_a_server_under_nohup() -> None:
    with ServerProcess(shell_prefix="trap '' HUP;") as server, stage(server.port) as on:
        server.process.send_signal(signal.SIGHUP)
        publisher = on.publisher("app")
        on.passed(publisher, on.player("app"))
        assert server.stop() == 0


def test_no_other_signal_ends_it(tmp_path: Path) -> None:
    names = ["SIGUSR1", "SIGTTIN", "SIGTTOU", "SIGALRM", "SIGVTALRM", "SIGPROF", "SIGIO", "SIGPWR"]
    with ServerProcess() as server, stage(server.port) as on:
        publisher, player = on.publisher("app"), on.player("app")
        for name in names:
            server.process.send_signal(getattr(signal, name))
            server.wait_for_line(rf"\[INFO\] {name} is ignored$")
        for number in (signal.SIGTTIN, signal.SIGTTOU, signal.SIGHUP, signal.SIGRTMIN + 3):
            server.process.send_signal(number)
        server.wait_for_line(r"\[INFO\] Settings read again$")
        server.wait_for_line(rf"\[INFO\] signal {signal.SIGRTMIN + 3} is ignored$")
        on.passed(publisher, player)
        assert server.stop() == 0
        server.check_log()


def test_sighup_takes_over_the_switches_of_the_log(tmp_path: Path) -> None:
    settings = tmp_path / ".env"
    with ServerProcess(cwd=str(tmp_path)) as server, stage(server.port) as on:
        settings.write_text("LOG_DEBUG=YES\nLOG_TRACE=NO\nPING_INTERVAL_SECONDS=7\nJWT_SECRET=Kleinod\n")
        server.process.send_signal(signal.SIGHUP)
        server.wait_for_line(
            r"\[WARNING\] Changed, but in force after SIGUSR2 or a restart only: "
            r"PING_INTERVAL_SECONDS, JWT_SECRET$"
        )
        on.publisher("app")
        server.wait_for_line(r"\[DEBUG\] < connect")
        settings.write_text("LOG_DEBUG=YES\nSSL_PORT=0\n")
        server.process.send_signal(signal.SIGHUP)
        server.wait_for_line(r"\[ERROR\] SSL_PORT: 0 is outside 1-65535$")
        server.wait_for_line(r"\[ERROR\] the settings stay as they were$")
        since = server.mark()
        on.publisher("other")
        server.wait_for_line(r"\[DEBUG\] < connect", since)
        assert not server.matching("Kleinod")
        assert server.stop() == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGQUIT])
def test_s117_a_signal_tells_players_and_ends_the_process(number: signal.Signals) -> None:
    with ServerProcess(DRAIN_TIMEOUT_SECONDS="3") as server, stage(server.port) as on:
        publisher = on.publisher("app")
        publisher.video(0, keyframe(b"a"))
        player, waiting = on.player("app"), on.player("other")
        on.passed(publisher, player)
        server.process.send_signal(number)
        assert names_of(player.expect_closed()) == ["NetStream.Play.UnpublishNotify", "StreamEOF"]
        assert waiting.expect_closed() == []
        publisher.expect_closed()
        assert server.wait() == 0
        with pytest.raises(ConnectionRefusedError):
            on.client()
        assert len(server.matching("PUBLISH END: app, reason=server is shutting down")) == 1
        assert len(server.matching("closed: server is shutting down")) == 3
        server.check_log()


def test_s117_a_player_that_does_not_read_does_not_hold_up_the_end() -> None:
    with ServerProcess(DRAIN_TIMEOUT_SECONDS="1") as server, stage(server.port) as on:
        publisher = on.publisher("app")
        on.client(receive_buffer=4096).play("app")
        for number in range(40):
            publisher.video(number, keyframe(bytes(100_000)))
        publisher.fence()
        assert server.stop() == 0
        server.check_log()


def test_a_log_that_nobody_reads_holds_up_neither_streams_nor_the_end(tmp_path: Path) -> None:
    port = free_port()
    settings = {"RTMP_PORT": str(port), "BIND_ADDRESS": "127.0.0.1", "CONCURRENT_LIMIT_WHITELIST": "*"}
    process = subprocess.Popen(
        [sys.executable, "-m", "rtmpsrv"],
        env=environment(settings | {"LOG_DEBUG": "YES", "LOG_TRACE": "NO"}),
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    try:
        assert process.stdout is not None
        while b"Listening on" not in process.stdout.readline():
            assert process.poll() is None
        with stage(port) as on:
            publisher, player = on.publisher("app"), on.player("app")
            for _ in range(600):  # several lines each: more than a pipe holds
                with socket.create_connection(("127.0.0.1", port), 5) as wrong:
                    wrong.sendall(b"\x06")
                    assert wrong.recv(1) == b""
            on.passed(publisher, player)
        process.send_signal(signal.SIGTERM)
        assert process.wait(STOP_S) == 0
    finally:
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


def test_s118_running_out_of_descriptors_is_survived() -> None:
    limits = "ulimit -S -n 40; ulimit -H -n 64;"
    with ServerProcess(shell_prefix=limits, CONCURRENT_LIMIT_WHITELIST="*") as server:
        with stage(server.port) as on:
            _fill(on, 40)
            server.wait_for_line("Connection accepted", count=40)  # the soft limit was raised
            _fill(on, 60)
            server.wait_for_line(r"\[ERROR\] accept failed")
        server.wait_for_line("closed: ", count=100)
        with stage(server.port) as on:
            publisher = on.publisher("app")
            on.passed(publisher, on.player("app"))
        assert server.matching("Traceback") == []
        assert server.stop() == 0


def _fill(on: Stage, connections: int) -> None:
    for _ in range(connections):
        on.client().send(b"\x03")

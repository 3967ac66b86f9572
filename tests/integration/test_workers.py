"""Several workers: the signals of the manager, and what happens when processes die. With real processes."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from time import monotonic, sleep

import pytest

from rtmpsrv.workers.keeper_start import keeper_of
from tests.client import Stage, keyframe, names_of, stage
from tests.kin import Kin
from tests.server_process import PROJECT, START_S, ServerProcess, environment, free_port, run

PATIENCE_S = 15.0


def eventually(check: Callable[[], object], what: str, timeout_s: float = PATIENCE_S) -> None:
    """Wait until something is true."""
    until = monotonic() + timeout_s
    while not check():
        assert monotonic() < until, what
        sleep(0.05)


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    """Give a directory whose name is short: addresses of sockets in it have 80 bytes at most."""
    with tempfile.TemporaryDirectory() as short:
        yield Path(short)


class Workers(ServerProcess):
    """A manager with workers that all serve."""

    def __init__(self, directory: Path, **settings: str) -> None:
        self.pid_file = directory / "pid"
        mine = {"WORKERS": "2", "RUN_DIR": str(directory / "run"), "PID_FILE": str(self.pid_file)}
        super().__init__(**mine | settings)
        self.wait_for_line(r"\[MANAGER\] \[INFO\] \d+ workers serve", timeout_s=START_S)

    def children(self) -> list[int]:
        """Return the processes of the workers."""
        return children_of(self.process.pid)

    def send(self, number: int) -> None:
        """Signal whom the file names."""
        os.kill(int(self.pid_file.read_text()), number)


def children_of(pid: int) -> list[int]:
    """Return the workers of a manager; a keeper may be its child too."""
    children = []
    for number in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # one that has just ended
            if b"keeper" not in Path(f"/proc/{number}/cmdline").read_bytes():
                children.append(int(number))
    return children


def test_several_workers_serve_one_port_until_the_manager_is_told_to_end(tmp_path: Path) -> None:
    with Workers(tmp_path) as server:
        assert len(server.children()) == 2
        assert int(server.pid_file.read_text()) == server.process.pid
        with stage(server.port) as on:
            on.publisher("app").fence()
        assert server.stop() == 0
        assert not server.pid_file.exists()
        assert not server.matching("http://")
        server.check_log()


def test_players_are_told_when_the_server_ends(tmp_path: Path) -> None:
    with Workers(tmp_path, WORKERS="2") as server, stage(server.port) as on:
        publisher = on.publisher("app")
        server.send(signal.SIGTERM)
        publisher.expect_closed()
        assert server.wait() == 0


def test_quit_ends_at_once(tmp_path: Path) -> None:
    with Workers(tmp_path, DRAIN_TIMEOUT_SECONDS="60") as server, stage(server.port) as on:
        publisher = on.publisher("app")
        for number in range(40):
            publisher.video(number, keyframe(bytes(100_000)))
        on.client(receive_buffer=4096).play("app")
        began = monotonic()
        assert server.stop(signal.SIGQUIT) == 0
        assert monotonic() - began < 15


def test_workers_are_added_and_taken_away(tmp_path: Path) -> None:
    with Workers(tmp_path) as server:
        server.send(signal.SIGTTIN)
        eventually(lambda: len(server.children()) == 3, "a third worker")
        server.wait_for_line("Listening on ", count=3, timeout_s=PATIENCE_S)
        server.send(signal.SIGTTOU)
        eventually(lambda: len(server.children()) == 2, "two workers")
        assert server.stop() == 0
        server.check_log()


def test_a_worker_that_is_killed_is_replaced(tmp_path: Path) -> None:
    with Workers(tmp_path) as server:
        before = server.children()
        os.kill(before[0], signal.SIGKILL)
        server.wait_for_line("Listening on ", count=3, timeout_s=PATIENCE_S)
        after = server.children()
        assert len(after) == 2
        assert before[1] in after
        with stage(server.port) as on:
            on.publisher("app").fence()


def test_a_reload_replaces_all_workers_and_an_upgrade_the_manager_too(tmp_path: Path) -> None:
    with Workers(tmp_path) as server:
        _replace_all(server, signal.SIGHUP, 2)
        _replace_all(server, signal.SIGUSR2, 3)
        assert int(server.pid_file.read_text()) == server.process.pid
        with stage(server.port) as on:
            on.publisher("app").fence()
        assert server.stop() == 0
        server.check_log()


def _replace_all(server: Workers, number: int, lines: int) -> None:
    before = set(server.children())
    server.send(number)
    server.wait_for_line(r"\d+ workers serve", count=lines, timeout_s=2 * PATIENCE_S)
    eventually(lambda: not before & set(server.children()), "new workers")
    assert len(server.children()) == 2


def test_a_manager_that_was_killed_leaves_nobody_behind(tmp_path: Path) -> None:
    with Workers(tmp_path, DRAIN_TIMEOUT_SECONDS="1") as server:
        workers = server.children()
        server.process.kill()
        eventually(lambda: not any(map(is_there, workers)), "the workers end")
        eventually(lambda: keeper_of(str(tmp_path / "run")) is None, "the keeper ends", timeout_s=5)


def is_there(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_a_signal_to_all_processes_at_once_ends_them_in_order(tmp_path: Path) -> None:
    kin = Kin()
    with Workers(tmp_path, **kin.settings) as server:
        for pid in kin.pids():
            os.kill(pid, signal.SIGTERM)
        assert server.process.wait(PATIENCE_S) == 0
        eventually(lambda: not kin.pids(), "the keeper ends", timeout_s=5)
        assert not server.matching("keeper is gone|does not start|not everything")
        server.check_log()


def test_who_ends_it_while_it_starts_gets_code_0_and_no_traceback(tmp_path: Path) -> None:
    settings = {"RTMP_PORT": str(free_port()), "BIND_ADDRESS": "127.0.0.1", "WORKERS": "2"}
    kin = Kin()
    process = subprocess.Popen(
        [sys.executable, "-m", "rtmpsrv"],
        env=environment(settings | kin.settings | {"RUN_DIR": str(tmp_path / "run")}),
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        process_group=0,
    )
    try:
        eventually(lambda: len(children_of(process.pid)) == 2, "workers that start")
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does
        out, _ = process.communicate(timeout=START_S)
    finally:
        kin.kill()
        process.wait()
    assert process.returncode == 0, out
    assert "Traceback" not in out


def test_two_servers_do_not_share_a_directory(tmp_path: Path) -> None:
    with Workers(tmp_path):
        ended = run(WORKERS="2", RTMP_PORT=str(free_port()), RUN_DIR=str(tmp_path / "run"))
        assert ended.returncode == 1
        assert "is in use by another server" in ended.stdout


def test_without_gunicorn_it_says_what_is_missing(tmp_path: Path) -> None:
    blocker = tmp_path / "sitecustomize.py"
    blocker.write_text(
        "import importlib.util as util\n"
        "real = util.find_spec\n"
        "util.find_spec = lambda name, *rest: None if name == 'gunicorn' else real(name, *rest)\n"
    )
    ended = run(WORKERS="2", PYTHONPATH=f"{tmp_path}:{PROJECT}")
    assert ended.returncode == 1
    (line,) = ended.stdout.splitlines()
    assert line.endswith(
        "[ERROR] WORKERS=2 needs gunicorn: pip install '.[workers]' in the folder of the sources"
    )


def test_workers_that_cannot_start_end_the_server_with_code_1(tmp_path: Path) -> None:
    port = free_port()
    # Somebody listens where the manager could still take the address: the workers find out.
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("127.0.0.1", port))
        settings = {"RTMP_PORT": str(port), "BIND_ADDRESS": "127.0.0.1", "WORKERS": "2"}
        process = subprocess.Popen(
            [sys.executable, "-m", "rtmpsrv"],
            env=environment(settings | {"RUN_DIR": str(tmp_path / "run")}),
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            text=True,
        )
        try:
            eventually(lambda: (tmp_path / "run" / "manager.lock").exists(), "a manager")
            other.listen()
            out, _ = process.communicate(timeout=START_S)
        finally:
            process.kill()
            process.wait()
    assert process.returncode == 1
    assert "Address already in use" in out


class FromFile:
    """A server whose settings are all in `.env`."""

    def __init__(self, directory: Path) -> None:
        self.port = free_port()
        self._directory = directory
        self.run_dir = str(directory / f"rtmpsrv-{self.port}")  # the default
        self.write(RTMP_PORT=self.port)
        self._log = directory / "log"
        self._kin = Kin()
        with self._log.open("w") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "rtmpsrv"],
                env=environment({"XDG_RUNTIME_DIR": str(directory)} | self._kin.settings),
                cwd=directory, stdout=output, stderr=output,
            )  # fmt: skip
        try:
            self.wait("workers serve")
        except BaseException:
            self.close()
            raise

    def write(self, **settings: object) -> None:
        """Replace the file."""
        values = {"BIND_ADDRESS": "127.0.0.1", "WORKERS": 2, "CONCURRENT_LIMIT_WHITELIST": "*"} | settings
        (self._directory / ".env").write_text("".join(f"{name}={value}\n" for name, value in values.items()))

    def count(self, text: str) -> int:
        return self._log.read_text().count(text)

    def wait(self, text: str, count: int = 1) -> None:
        """Wait for lines of the log."""
        eventually(lambda: self.count(text) >= count, text, 3 * PATIENCE_S)

    def close(self) -> None:
        """End all of them: a keeper that has just started stays for 10 s, with files in the directory."""
        self.process.terminate()
        try:
            self.process.wait(PATIENCE_S)
        finally:
            self._kin.kill()
            self.process.wait()


@pytest.fixture
def from_file(tmp_path: Path) -> Iterator[FromFile]:
    server = FromFile(tmp_path)
    yield server
    server.close()


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGUSR2])
def test_ports_and_the_directory_stay_whatever_is_written_into_the_file(
    from_file: FromFile, tmp_path: Path, number: int
) -> None:
    with stage(from_file.port) as on:
        stream = Stream(on, 4)
        keeper = keeper_of(from_file.run_dir)
        from_file.write(RTMP_PORT=free_port(), RUN_DIR=tmp_path / "other", URL_LAYOUT="app-stream")
        from_file.process.send_signal(number)
        stream.run_until(lambda: from_file.count("workers serve") == 2, "new workers")
        stream.check()
        eventually(
            lambda: keeper_of(from_file.run_dir) not in (None, keeper), "a new keeper, and where it was"
        )
    for name in ("RTMP_PORT", "RUN_DIR"):
        assert from_file.count(f"Changed, but in force after a restart only: {name}") == 1
    assert from_file.count("Traceback") == from_file.count("[ERROR]") == 0
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGUSR2])
def test_wrong_settings_change_nothing_and_who_starts_afterwards_does_not_meet_them(
    from_file: FromFile, number: int
) -> None:
    from_file.write(RTMP_PORT=from_file.port, CALLBACK_URL="no url", URL_LAYOUT="app-stream")
    from_file.process.send_signal(number)
    from_file.wait("[MANAGER] [ERROR] CALLBACK_URL")
    keeper, workers = keeper_of(from_file.run_dir), children_of(from_file.process.pid)
    assert keeper
    for pid in (keeper, *workers):
        os.kill(pid, signal.SIGKILL)
    from_file.wait("Listening on ", count=4)
    eventually(lambda: keeper_of(from_file.run_dir) not in (None, keeper), "another keeper")
    with stage(from_file.port) as on:
        on.passed(on.publisher("app"), on.player("app"))


def test_signals_that_come_while_the_manager_becomes_another_program_are_not_lost(
    from_file: FromFile,
) -> None:
    from_file.process.send_signal(signal.SIGUSR2)
    from_file.process.send_signal(signal.SIGTTIN)  # during the trial
    from_file.wait("Starting the new program")
    from_file.process.send_signal(signal.SIGUSR2)  # no handler is there
    from_file.wait("3 workers serve")
    assert from_file.process.poll() is None


# --- streams ---------------------------------------------------------------------------------------------


class Stream:
    """A publisher that sends numbered keyframes, and players that must get each of them once."""

    def __init__(self, on: Stage, players: int) -> None:
        self._on = on
        self.publisher = on.publisher("app")
        self.players = [on.player("app") for _ in range(players)]
        for player in self.players:
            on.passed(self.publisher, player)
        self._sent = self._seen = 0

    def run_until(self, check: Callable[[], object], what: str) -> None:
        """Send until something is true, and some time more."""
        until = monotonic() + PATIENCE_S
        while not check():
            assert monotonic() < until, what
            self.send()
            sleep(0.02)
        for _ in range(10):
            self.send()
            sleep(0.02)

    def send(self) -> None:
        self._sent += 1
        self.publisher.video(40 * self._sent, keyframe(b"%d" % self._sent))

    def check(self) -> None:
        """Fail unless all players got everything that was sent since the last time, once and in order."""
        wanted = [f"video {number}" for number in range(self._seen + 1, self._sent + 1)]
        self._seen = self._sent
        for player in self.players:
            received = names_of(self._on.passed(self.publisher, player))
            assert [name for name in received if name.startswith("video ")] == wanted
            assert "NetStream.Play.UnpublishNotify" not in received


@pytest.fixture(params=["300", "1"], ids=["together", "spread"])
def streaming(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Workers, Stage, Stream]]:
    """Two workers, and a stream with players that came to either of them; they may stay there, or not."""
    settings = {"CONCURRENT_LIMIT_WHITELIST": "*", "SPREAD_PLAYERS": request.param}
    with Workers(tmp_path, **settings) as server, stage(server.port) as on:
        yield server, on, Stream(on, 8)
        assert not server.matching("Traceback"), "\n".join(server.everything())


def test_every_player_gets_the_stream_whichever_worker_it_came_to(
    streaming: tuple[Workers, Stage, Stream], request: pytest.FixtureRequest
) -> None:
    server, _on, stream = streaming
    stream.run_until(lambda: True, "")
    stream.check()
    if request.node.callspec.id == "together":  # the room for one is taken if the first player came there
        server.wait_for_line("moved to worker")
    assert server.stop() == 0


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGUSR2])
def test_nobody_notices_a_reload_or_an_upgrade(streaming: tuple[Workers, Stage, Stream], number: int) -> None:
    server, on, stream = streaming
    for _ in range(2):
        before = set(server.children())
        server.send(number)
        stream.run_until(lambda: not before & set(server.children()), "new workers")  # noqa: B023
        stream.check()
    on.passed(stream.publisher, on.player("app"))


def test_nobody_notices_that_his_worker_goes(streaming: tuple[Workers, Stage, Stream]) -> None:
    server, _on, stream = streaming
    for _ in range(2):  # the oldest goes, so one of the two has the stream
        before, listening = set(server.children()), len(server.matching("Listening on "))
        server.send(signal.SIGTTIN)
        stream.run_until(lambda: len(server.children()) == 3, "a third worker")
        stream.run_until(lambda: len(server.matching("Listening on ")) > listening, "it listens")  # noqa: B023
        server.send(signal.SIGTTOU)
        stream.run_until(lambda: len(before & set(server.children())) == 1, "one goes")  # noqa: B023
        stream.check()


def test_a_worker_that_is_killed_costs_nobody_but_its_own(tmp_path: Path) -> None:
    with Workers(tmp_path, CONCURRENT_LIMIT_WHITELIST="*") as server, stage(server.port) as on:
        stream = Stream(on, 6)
        (owner,) = {line.split("[W")[1].split("]")[0] for line in server.matching("publish accepted")}
        other = next(pid for pid in server.children() if pid != int(owner))
        os.kill(other, signal.SIGKILL)
        server.wait_for_line("Listening on ", count=3, timeout_s=PATIENCE_S)
        stream.run_until(lambda: True, "")
        stream.check()
        os.kill(int(owner), signal.SIGKILL)
        stream.publisher.expect_closed()
        server.wait_for_line("Listening on ", count=4, timeout_s=PATIENCE_S)
        on.passed(on.publisher("app"), on.player("app"))


def test_a_keeper_that_is_killed_is_replaced_and_streams_go_on(
    streaming: tuple[Workers, Stage, Stream], tmp_path: Path
) -> None:
    _server, on, stream = streaming
    keeper = keeper_of(str(tmp_path / "run"))
    assert keeper
    os.kill(keeper, signal.SIGKILL)
    stream.run_until(lambda: keeper_of(str(tmp_path / "run")) not in (None, keeper), "another keeper")
    stream.check()
    on.passed(on.publisher("other"), on.player("other"))
    second = on.client()
    with pytest.raises(AssertionError, match="Stream already publishing"):
        second.publish("app", "k")


# --- gunicorn's own command ------------------------------------------------------------------------------


def test_gunicorn_itself_can_be_the_manager(tmp_path: Path) -> None:
    command = shutil.which("gunicorn", path=str(Path(sys.executable).parent))
    assert command
    port = free_port()
    arguments = [command, "-k", "rtmpsrv.workers.Worker", "-w", "2", "-b", f"127.0.0.1:{port}"]
    kin = Kin()
    settings = {"XDG_RUNTIME_DIR": str(tmp_path), "CONCURRENT_LIMIT_WHITELIST": "*"} | kin.settings
    log = tmp_path / "log"
    with log.open("w") as output:
        process = subprocess.Popen(
            [*arguments, "--no-control-socket", "rtmpsrv.workers:app"],
            env=environment(settings), cwd=tmp_path, stdout=output, stderr=output,
        )  # fmt: skip
    try:
        eventually(lambda: log.read_text().count(f"Listening on 127.0.0.1:{port}") == 2, "two workers listen")
        assert keeper_of(str(tmp_path / f"rtmpsrv-{port}")), "two servers have two directories"
        with stage(port) as on:
            stream = Stream(on, 6)
            for lines in (4, 6):
                before = set(children_of(process.pid))
                process.send_signal(signal.SIGHUP)
                stream.run_until(lambda: log.read_text().count("Listening on ") == lines, "new workers")  # noqa: B023
                stream.run_until(lambda: not before & set(children_of(process.pid)), "old ones leave")  # noqa: B023
                stream.check()
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE_S) == 0
    finally:
        kin.kill()
        process.wait()
    text = log.read_text()
    assert "http://" not in text
    assert f"rtmp://127.0.0.1:{port}" in text
    assert "Traceback" not in text

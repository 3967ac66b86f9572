"""The callback backend and the control server of examples/, run as their pages say, with ffmpeg."""

from __future__ import annotations

import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Condition, Thread

import pytest

from tests.access_run import REFUSED, AccessServer, Encoder, pictures, refusal
from tests.client import stage
from tests.doubles.secrets import CONTROL_SECRET, JWT_SECRET, KEY, OTHER_KEY
from tests.media_files import system_tool
from tests.pages import code_lines, page, section
from tests.server_process import PROJECT, environment, free_port

BACKEND = PROJECT / "examples" / "callback_backend.py"
CONTROL = PROJECT / "examples" / "control_server.py"
FILM_S = 3


class Terminal:
    """A program, what it printed, and what one types."""

    def __init__(self, command: list[str], directory: Path, settings: dict[str, str]) -> None:
        self.lines: list[str] = []
        self.process = subprocess.Popen(
            command,
            cwd=directory,
            env=environment(settings),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._news = Condition()
        self._reader = Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            with self._news:
                self.lines.append(line.strip())
                self._news.notify_all()

    def wait_for(self, pattern: str, count: int = 1, timeout_s: float = 20) -> str:
        """Return the line that holds this, the first or a later one."""

        def found() -> list[str]:
            return [line for line in self.lines if re.search(pattern, line)][count - 1 : count]

        with self._news:
            self._news.wait_for(found, timeout_s)
            lines = found()
        assert lines, (pattern, self.lines)
        return lines[0]

    def type(self, line: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def ended(self) -> int:
        return self.process.wait(30)

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.terminate()
        try:
            self.process.wait(15)
        finally:
            self.process.kill()
            self.process.wait()
            self._reader.join(5)
            for pipe in (self.process.stdin, self.process.stdout):
                assert pipe is not None
                pipe.close()


@contextmanager
def terminal(command: list[str], directory: Path = PROJECT, **settings: str) -> Iterator[Terminal]:
    running = Terminal(command, directory, settings)
    try:
        yield running
    finally:
        running.close()


@contextmanager
def backend(port: int) -> Iterator[Terminal]:
    keys = f"news={KEY} sports={OTHER_KEY}"
    with terminal(
        [sys.executable, str(BACKEND)], STREAM_KEYS=keys, JWT_SECRET=JWT_SECRET, PORT=str(port)
    ) as running:
        running.wait_for("^waiting for events")
        yield running


@contextmanager
def control(port: int) -> Iterator[Terminal]:
    keys = f"news={KEY} sports={OTHER_KEY}"
    with terminal(
        [sys.executable, str(CONTROL)], STREAM_KEYS=keys, CONTROL_SECRET=CONTROL_SECRET, PORT=str(port)
    ) as running:
        running.wait_for("^waiting for servers")
        yield running


# --- the pages ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("film") / "film.mp4"
    source = ["-f", "lavfi", "-i", f"testsrc2=size=160x90:rate=10:duration={FILM_S}"]
    coding = ["-c:v", "libx264", "-g", "10", "-pix_fmt", "yuv420p"]
    subprocess.run(
        [system_tool("ffmpeg"), "-v", "error", *source, *coding, str(path)], check=True, timeout=30
    )
    return path


class Page:
    """The commands of a page, on ports of the test and with the film of the test, otherwise as they stand."""

    def __init__(self, name: str, example: Path, example_port: str, film: Path) -> None:
        self._text = page(name)
        self.port = free_port()
        self._film = film
        self._changes = {
            f":{example_port}": f":{(port := free_port())}",
            f"PORT={example_port} ": f"PORT={port} ",
            f"python3 examples/{example.name}": f"{sys.executable} {example}",
            f".venv/bin/python examples/{example.name}": f"{sys.executable} {example}",
            "scripts/serve": f"{sys.executable} -m rtmpsrv",
            "rtmp://127.0.0.1/": f"rtmp://127.0.0.1:{self.port}/",
        }
        assert (PROJECT / "scripts/serve").is_file()

    def lines(self, title: str) -> list[str]:
        return code_lines(section(self._text, title))

    @contextmanager
    def run(self, line: str, directory: Path) -> Iterator[Terminal]:
        for written, used in self._changes.items():
            line = line.replace(written, used)
        (directory / "film.mp4").unlink(missing_ok=True)
        (directory / "film.mp4").symlink_to(self._film)
        command = ["sh", "-c", f"exec env {line}"]
        with terminal(command, directory, RTMP_PORT=str(self.port), BIND_ADDRESS="127.0.0.1") as running:
            yield running


def test_the_commands_of_the_callback_page_work_as_they_stand(film: Path, tmp_path: Path) -> None:
    tried = Page("callbacks.md", BACKEND, "8000", film)
    first, second, third = tried.lines("Try it")[:3]
    assert shlex.split(third)[0] == "ffmpeg"
    with tried.run(first, tmp_path) as asked, tried.run(second, tmp_path) as server:
        asked.wait_for("^waiting for events")
        server.wait_for("Listening on")
        with tried.run(third.replace("secret1", "secret2"), tmp_path) as refused:
            assert refused.ended() != 0
        with tried.run(third, tmp_path) as encoder:
            stream_id = asked.wait_for("^start news").split()[2]
            assert encoder.ended() == 0
        assert asked.wait_for("^stop news").split()[2] == stream_id
        assert len(asked.lines) == 3


def test_the_commands_of_the_control_page_work_as_they_stand(film: Path, tmp_path: Path) -> None:
    tried = Page("control.md", CONTROL, "8000", film)
    _install, first, second, third = tried.lines("Try it")
    (hls,) = tried.lines("An HLS encoder beside it")
    with tried.run(first, tmp_path) as asked, tried.run(second, tmp_path) as server:
        asked.wait_for("^waiting for servers")
        server.wait_for("Listening on")
        server.wait_for(r"\[CONTROL/CLIENT\] \[INFO\] Connected")
        with tried.run(third, tmp_path) as encoder:
            stream_id = asked.wait_for("^start news").split()[2]
            with tried.run(hls, tmp_path) as player:
                assert encoder.ended() == 0
                assert player.ended() == 0
        assert asked.wait_for("^stop news").split()[2] == stream_id
        playlist = (tmp_path / "news.m3u8").read_text()
        assert playlist.endswith("#EXT-X-ENDLIST\n")
        seconds = sum(float(length) for length in re.findall(r"#EXTINF:([\d.]+)", playlist))
        assert seconds == pytest.approx(FILM_S, abs=0.3)  # from the first picture on
        with tried.run(third, tmp_path) as encoder:
            asked.wait_for("^start news", count=2)
            server.wait_for("publish accepted", count=2)
            asked.type("kill news")
            assert encoder.ended() != 0
            asked.wait_for("^stop news", count=2)
            server.wait_for("killed by the control server")
        with tried.run(third.replace("secret1", "secret2"), tmp_path) as refused:
            assert refused.ended() != 0
        assert len([line for line in asked.lines if line.startswith("start")]) == 2


# --- the callback backend -----------------------------------------------------------------------------------


def test_the_callback_backend_accepts_refuses_and_hears_of_ends() -> None:
    port = free_port()
    settings = {"CALLBACK_URL": f"http://127.0.0.1:{port}/", "JWT_SECRET": JWT_SECRET}
    with backend(port) as asked, AccessServer(**settings) as server, stage(server.port) as on:
        with Encoder(server.port, "news") as encoder:
            started = asked.wait_for("^start news").split()[2]
            pictures(on.player("news", KEY), 3)
            encoder.leave()
        assert asked.wait_for("^stop news").split()[2] == started
        assert refusal(on, "sports") == REFUSED  # the key of another channel
        assert refusal(on, "weather") == REFUSED  # a channel that is not there
        assert len(asked.lines) == 3
        on.publisher("sports", OTHER_KEY)
        asked.wait_for("^start sports")


def test_the_callback_backend_refuses_other_secrets() -> None:
    port = free_port()
    settings = {"CALLBACK_URL": f"http://127.0.0.1:{port}/", "JWT_SECRET": JWT_SECRET + "x"}
    with backend(port) as asked, AccessServer(**settings) as server, stage(server.port) as on:
        assert refusal(on, "news") == REFUSED
        server.wait_for_line("start refused channel=news status=401")
        assert len(asked.lines) == 1


# --- the control server -------------------------------------------------------------------------------------


def test_the_control_server_leads_two_servers() -> None:
    port = free_port()
    settings = {
        "CONTROL_USE": "YES",
        "CONTROL_BASE_URL": f"ws://127.0.0.1:{port}",
        "CONTROL_SECRET": CONTROL_SECRET,
    }
    with (
        control(port) as asked,
        AccessServer(**settings) as one,
        AccessServer(**settings) as two,
        stage(one.port) as on_one,
        stage(two.port) as on_two,
    ):
        for server in (one, two):
            server.wait_for_line(r"\[CONTROL/CLIENT\] \[INFO\] Connected")
        publisher = on_one.publisher("news", KEY)
        assert refusal(on_two, "news") == REFUSED  # it is open on the other server
        assert refusal(on_one, "sports") == REFUSED  # the key of another channel
        on_two.publisher("sports", OTHER_KEY)
        publisher.close()
        asked.wait_for("^stop news")
        again = on_two.publisher("news", KEY)
        asked.type("kill sports")
        asked.type("kill weather")  # a channel that is not there
        asked.wait_for("^stop sports")
        on_two.passed(again, on_two.player("news", KEY))
        two.kill()
        asked.wait_for("^lost news")
        on_one.publisher("news", KEY)


def test_the_control_server_refuses_other_secrets() -> None:
    port = free_port()
    settings = {"CONTROL_USE": "YES", "CONTROL_SECRET": CONTROL_SECRET + "x"}
    with (
        control(port) as asked,
        AccessServer(CONTROL_BASE_URL=f"ws://127.0.0.1:{port}", **settings) as server,
        stage(server.port) as on,
    ):
        server.wait_for_line("Cannot connect: .*: status 403")
        assert refusal(on, "news") == REFUSED
        assert not any(line.startswith("start") for line in asked.lines)


@pytest.fixture
def _interruptible() -> Iterator[None]:
    """Shells let what they start in the background ignore Ctrl-C, and it would pass that on."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("_interruptible")
def test_ctrl_c_ends_the_examples_without_a_traceback() -> None:
    for example in (backend, control):
        with example(free_port()) as running:
            running.wait_for("^waiting for ")
            running.process.send_signal(signal.SIGINT)
            assert running.ended() == 0
        assert not any("Traceback" in line for line in running.lines)


@pytest.mark.parametrize(("example", "most"), [(BACKEND, 60), (CONTROL, 90)], ids=["callback", "control"])
def test_the_examples_stay_short(example: Path, most: int) -> None:
    assert len([line for line in example.read_text().splitlines() if line.strip()]) <= most

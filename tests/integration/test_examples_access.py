"""The callback backend of examples/, run as its text says, with ffmpeg and the real server."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Condition, Thread

from tests.access_run import REFUSED, AccessServer, Encoder, pictures, refusal
from tests.client import stage
from tests.doubles.secrets import JWT_SECRET, KEY, OTHER_KEY
from tests.server_process import PROJECT, environment, free_port

EXAMPLE = PROJECT / "examples" / "callback_backend.py"


class Output:
    """What the example printed."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.lines: list[str] = []
        self._process = process
        self._news = Condition()
        self._reader = Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            with self._news:
                self.lines.append(line.strip())
                self._news.notify_all()

    def wait_for(self, start: str, timeout_s: float = 15) -> str:
        """Return the first line that begins like this."""

        def found() -> str | None:
            return next((line for line in self.lines if line.startswith(start)), None)

        with self._news:
            self._news.wait_for(lambda: found() is not None, timeout_s)
            line = found()
        assert line is not None, self.lines
        return line

    def join(self) -> None:
        self._reader.join(5)


@contextmanager
def example(port: int) -> Iterator[Output]:
    settings = {
        "STREAM_KEYS": f"news={KEY} sports={OTHER_KEY}",
        "JWT_SECRET": JWT_SECRET,
        "PORT": str(port),
    }
    process = subprocess.Popen(
        [sys.executable, str(EXAMPLE)], env=environment(settings), stdout=subprocess.PIPE, text=True
    )
    output = Output(process)
    try:
        output.wait_for("waiting for events")
        yield output
    finally:
        process.terminate()
        process.wait(10)
        output.join()
        if process.stdout is not None:
            process.stdout.close()


def test_the_callback_backend_of_the_examples_works_as_described() -> None:
    port = free_port()
    settings = {"CALLBACK_URL": f"http://127.0.0.1:{port}/", "JWT_SECRET": JWT_SECRET}
    with example(port) as output, AccessServer(**settings) as server, stage(server.port) as on:
        with Encoder(server.port, "news") as encoder:
            started = output.wait_for("start news").split()[2]
            pictures(on.player("news", KEY), 3)
            encoder.leave()
        assert output.wait_for("stop news").split()[2] == started
        assert refusal(on, "sports") == REFUSED  # the key of another channel
        assert refusal(on, "weather") == REFUSED  # a channel that is not there
        assert len(output.lines) == 3
        on.publisher("sports", OTHER_KEY)
        output.wait_for("start sports")


def test_the_callback_backend_of_the_examples_refuses_other_secrets() -> None:
    port = free_port()
    settings = {"CALLBACK_URL": f"http://127.0.0.1:{port}/", "JWT_SECRET": JWT_SECRET + "x"}
    with example(port) as output, AccessServer(**settings) as server, stage(server.port) as on:
        assert refusal(on, "news") == REFUSED
        server.wait_for_line("start refused channel=news status=401")
        assert len(output.lines) == 1


def test_the_callback_backend_of_the_examples_stays_short() -> None:
    code = [line for line in EXAMPLE.read_text().splitlines() if line.strip()]
    assert len(code) <= 60

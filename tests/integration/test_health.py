"""Health checks of real servers: while they serve, drain, lose what they need, and with workers that hang."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from time import monotonic, sleep
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest

from tests.client import stage
from tests.doubles.callback_server import Answer, CallbackServer, Received, accept
from tests.doubles.pairs import issue
from tests.doubles.secrets import CONTROL_SECRET, JWT_SECRET
from tests.integration.test_tls import LISTENING, TlsClient
from tests.server_process import START_S, ServerProcess, environment, free_port

WAIT_S = 15.0


def get(port: int, question: str) -> tuple[int, str]:
    """Ask; 0 as the status where nobody lets us in."""
    try:
        with urlopen(f"http://127.0.0.1:{port}/{question}", timeout=WAIT_S) as answer:
            return answer.status, answer.read().decode()
    except HTTPError as exc:
        with exc:
            return exc.code, exc.read().decode()


def wait_for(port: int, question: str, status: int, text: str) -> str:
    """Ask until the answer is as wanted, and return it."""
    until = monotonic() + WAIT_S
    while (said := get(port, question))[0] != status or text not in said[1]:
        assert monotonic() < until, said
        sleep(0.05)
    return said[1]


def probe(question: str, **settings: str) -> tuple[int, str]:
    """Ask as a supervisor does, in a process of its own with the server's settings."""
    with tempfile.TemporaryDirectory() as empty:
        done = subprocess.run(
            [sys.executable, "-m", "rtmpsrv.probe", question],
            env=environment(settings), cwd=empty, capture_output=True, text=True, timeout=START_S,
            check=False,
        )  # fmt: skip
    assert done.stderr == ""
    return done.returncode, done.stdout


@pytest.fixture
def directory() -> Iterator[Path]:
    """Give a directory whose name is short: addresses of sockets in it have 80 bytes at most."""
    with tempfile.TemporaryDirectory() as short:
        yield Path(short)


def test_a_server_that_serves_is_healthy_and_ready() -> None:
    settings = {"API_PORT": str(free_port())}
    with ServerProcess(**settings) as server:
        assert get(int(settings["API_PORT"]), "healthz") == (200, "ok\n")
        assert probe("healthz", **settings) == (0, "ok\n")
        assert probe("readyz", **settings) == (0, "ready\n")
        server.check_log()
        assert server.stop() == 0
    assert probe("healthz", **settings) == (1, "the admin side: Connection refused\n")


def test_the_token_is_not_needed_from_this_machine() -> None:
    settings = {"API_PORT": str(free_port()), "API_BIND_ADDRESS": "0.0.0.0", "API_TOKEN": "a-token"}
    with ServerProcess(**settings):
        assert probe("readyz", **settings) == (0, "ready\n")
        assert get(int(settings["API_PORT"]), "v3/info")[0] == 401


def test_a_server_that_drains_is_healthy_and_not_ready() -> None:
    port, looked = free_port(), threading.Event()

    def answer(received: Received) -> Answer:
        """Keep the server from its end until the test has looked at it."""
        if received.event == "stop":
            looked.wait(WAIT_S)
        return accept(received)

    with CallbackServer(JWT_SECRET) as backend:
        backend.answer = answer
        settings = {"CALLBACK_URL": backend.url, "JWT_SECRET": JWT_SECRET, "DRAIN_TIMEOUT_SECONDS": "30"}
        with ServerProcess(API_PORT=str(port), **settings) as server, stage(server.port) as on:
            on.publisher("news")
            assert get(port, "readyz") == (200, "ready\n")
            server.process.send_signal(signal.SIGTERM)
            wait_for(port, "readyz", 503, "not ready: it is shutting down")
            assert get(port, "healthz") == (200, "ok\n")
            looked.set()
            assert server.wait() == 0


def test_without_its_control_server_it_is_not_ready() -> None:
    port = free_port()
    nobody = f"ws://127.0.0.1:{free_port()}"
    settings = {"CONTROL_USE": "YES", "CONTROL_BASE_URL": nobody, "CONTROL_SECRET": CONTROL_SECRET}
    with ServerProcess(API_PORT=str(port), **settings):
        assert get(port, "readyz") == (503, "not ready: the control server is not connected\n")
        assert get(port, "healthz") == (200, "ok\n")


def test_a_worker_that_hangs_is_named(directory: Path) -> None:
    port, pid_file = free_port(), directory / "pid"
    settings = {"WORKERS": "2", "RUN_DIR": str(directory / "run"), "PID_FILE": str(pid_file)}
    with ServerProcess(API_PORT=str(port), **settings) as server:
        server.wait_for_line("2 workers serve", timeout_s=START_S)
        wait_for(port, "readyz", 200, "ready")
        line = server.matching(r"\[W\d+\]")[0]
        worker = int(line.partition("[W")[2].partition("]")[0])
        os.kill(worker, signal.SIGSTOP)
        try:
            assert f"worker {worker} does not answer" in wait_for(port, "readyz", 503, "does not answer")
            assert get(port, "healthz") == (200, "ok\n")
        finally:
            os.kill(worker, signal.SIGCONT)
        wait_for(port, "readyz", 200, "ready")


def test_a_worker_that_stays_for_what_cannot_move_does_not_keep_the_server_from_being_ready(
    directory: Path,
) -> None:
    port, tls_port = free_port(), free_port()
    chain, key = issue().write(directory)
    settings = {"WORKERS": "2", "RUN_DIR": str(directory / "run")}
    settings |= {"SSL_CERT": str(chain), "SSL_KEY": str(key), "SSL_PORT": str(tls_port)}
    with ServerProcess(API_PORT=str(port), **settings) as server:
        server.wait_for_line("2 workers serve", timeout_s=START_S)
        server.wait_for_line(LISTENING, count=2)
        publisher = TlsClient(tls_port).publish("app")
        wait_for(port, "readyz", 200, "ready")
        server.process.send_signal(signal.SIGHUP)
        server.wait_for_line(r"succession: process \d+ serves", count=2, timeout_s=START_S)
        wait_for(port, "readyz", 200, "ready")
        wait_for(port, "v3/processes", 200, '"succeeded":true')
        assert get(port, "readyz") == (200, "ready\n")
        publisher.close()
        assert server.stop() == 0
        server.check_log()

"""A keeper and workers as processes of their own on one port, without a manager. Also the worker's program.

`python -m tests.worker_crew NAME PLAIN SECURE` serves as one worker, with settings from the environment.
"""

from gevent import monkey

if __name__ == "__main__":
    monkey.patch_all()

import os
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from time import monotonic, sleep
from types import TracebackType
from typing import Any, Self

import gevent

from rtmpsrv import log
from rtmpsrv.app import App, membership
from rtmpsrv.config import Config
from rtmpsrv.server.ports import Ports
from rtmpsrv.workers import doors
from rtmpsrv.workers.calls import CallLost, Calls
from rtmpsrv.workers.wire import WireLost
from tests.access_run import leaks
from tests.server_process import environment

START_S = 20.0  # a busy machine needs seconds to import everything
STOP_S = 15.0
LOOK_EVERY_S = 0.02


def work(name: str, plain: int, secure: int) -> None:
    """Serve until SIGTERM. Blocks."""
    log.setup()
    config, _ = Config.start()
    log.setup(config)
    log.name_process(name)
    app = App(config, Ports(plain, secure), membership(config, name, config.run_dir))
    gevent.signal_handler(signal.SIGTERM, app.stop)
    app.start()
    app.run()


class WorkerCrew:
    """Use as a context; leaving it stops all, and looks for bugs and secrets in the log."""

    def __init__(self, number: int = 2, **settings: str) -> None:
        self._folder = tempfile.TemporaryDirectory(dir="/tmp")  # a socket's path has to be short
        self.run_dir = os.path.join(self._folder.name, "run")
        os.mkdir(self.run_dir, 0o700)
        self._socket = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self.port: int = self._socket.getsockname()[1]
        self._secure = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self.secure_port: int = self._secure.getsockname()[1]
        self._settings = {
            "RTMP_PORT": str(self.port),
            "SSL_PORT": str(self.secure_port),
            "BIND_ADDRESS": "127.0.0.1",
            "RUN_DIR": self.run_dir,
            "LOG_DEBUG": "YES",
            "LOG_TRACE": "NO",
            **settings,
        }
        self._log_path = Path(self._folder.name, "log")
        self._log = self._log_path.open("ab")
        self._started = 0
        self.workers: dict[str, subprocess.Popen[bytes]] = {}
        self.keeper = self.start_keeper()
        for _ in range(number):
            self.start_worker()
        self.wait_for(number)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        processes = [*self.workers.values(), self.keeper]
        try:
            for process in processes:
                process.send_signal(signal.SIGTERM)
                process.wait(STOP_S)
        finally:
            for process in processes:
                process.kill()
                process.wait()
            self._log.close()
            self._socket.close()
            self._secure.close()
            text = self.log_text
            self._folder.cleanup()
            if kind is not None:
                sys.stdout.write(text[-20_000:])
        if kind is None:
            assert leaks(text.splitlines()) == []
            assert "Traceback" not in text, text[-20_000:]

    @property
    def log_text(self) -> str:
        """What all of them have logged so far."""
        return self._log_path.read_text(errors="replace")

    def start_keeper(self) -> subprocess.Popen[bytes]:
        """Start a keeper, which goes on where one before it was."""
        self.keeper = self._run("-m", "rtmpsrv.keeper")
        return self.keeper

    def start_worker(self) -> str:
        """Start another worker; return its name."""
        self._started += 1
        name = f"w{self._started}"
        descriptors = self._socket.fileno(), self._secure.fileno()
        self.workers[name] = self._run(
            "-m", "tests.worker_crew", name, *map(str, descriptors), pass_fds=descriptors
        )
        return name

    def kill(self, name: str) -> None:
        """Kill a worker, or the `keeper`; return when it is gone."""
        process = self.keeper if name == "keeper" else self.workers.pop(name)
        process.kill()
        process.wait(STOP_S)

    def describe(self) -> dict[str, Any]:
        """Ask the keeper what there is; empty when it is not there."""
        try:
            line = Calls(doors.connect(doors.path_of(self.run_dir, doors.KEEPER)), log.get("TEST"), {}, {})
        except WireLost:
            return {}
        reading = gevent.spawn(line.serve)
        try:
            told: dict[str, Any] = line.call("describe", timeout_s=STOP_S)
            return told
        except CallLost:
            return {}
        finally:
            line.close()
            reading.join()

    def wait_for(self, number: int) -> dict[str, Any]:
        """Wait until so many workers answer, and return what they say."""
        return self.wait_until(lambda told: len(told.get("workers", ())) == number)

    def wait_until(self, is_so: Any) -> dict[str, Any]:
        """Wait until what is described is so."""
        until = monotonic() + START_S
        while not is_so(told := self.describe()):
            if monotonic() > until:
                raise AssertionError(f"never so: {told}\n{self.log_text[-5000:]}")
            sleep(LOOK_EVERY_S)
        return told

    def _run(self, *arguments: str, pass_fds: tuple[int, ...] = ()) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, *arguments],
            env=environment(self._settings),
            cwd=self._folder.name,  # no .env in it
            stdout=self._log,
            stderr=self._log,
            pass_fds=pass_fds,
        )


if __name__ == "__main__":
    work(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))

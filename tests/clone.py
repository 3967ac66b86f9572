"""A clone of the project in which printed commands are run; not a test."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
from contextlib import ExitStack
from pathlib import Path
from threading import Condition, Thread

from tests.printed import Command
from tests.server_process import PROJECT, free_port

INSTALL_S = 240.0
ENDS_S = 60.0
READY = r"Listening on|^waiting for |rtmp://127\.0\.0\.1:"  # the server, examples of access, of the endpoint
ENDING = {"--check-config", "--version", "--help", "--list"}
# What a clone does not have: made by tools, or somebody's own.
NOT_CLONED = (
    ".git",
    ".venv*",
    "build",
    "dist",
    ".*_cache",
    "__pycache__",
    "*.egg-info",
    "*.so",
    ".env",
    ".hypothesis",
)


def make_clone(directory: Path) -> Path:
    """Return what a clone would be if everything that is here were committed."""
    shutil.copytree(
        PROJECT, directory, dirs_exist_ok=True, ignore=shutil.ignore_patterns(*NOT_CLONED), symlinks=True
    )
    return directory


class Clone:
    """A clone of the project, and what replaces ports and files that are printed."""

    def __init__(self, directory: Path, film: Path) -> None:
        self.directory = make_clone(directory)
        for name in ("film.mp4", "movie.mp4"):
            (directory / name).symlink_to(film)
        (directory / "film.flv").symlink_to(film.with_suffix(".flv"))
        self.port, ports = free_port(), [str(free_port()) for _ in range(3)]
        self.changes = [
            (r"rtmp://(localhost|127\.0\.0\.1)/", f"rtmp://127.0.0.1:{self.port}/"),
            (r"(PORT=|127\.0\.0\.1:)8000\b", rf"\g<1>{ports[0]}"),
            (r"(PORT=|127\.0\.0\.1:)8080\b", rf"\g<1>{ports[1]}"),
            (r"(SSL_PORT=|127\.0\.0\.1:)1936\b", rf"\g<1>{ports[2]}"),
            (r"/tmp/tls\b", str(directory / "tls")),
            # the endpoint's examples take a port behind their arguments
            (
                r"(examples/(recorder|on_demand|relay_with_approval|secret_keys|edge)\.py .+)",
                rf"\1 {self.port}",
            ),
        ]

    def start(self, line: str) -> Running:
        for written, used in self.changes:
            line = re.sub(written, used, line)
        return Running(line, self)


class Running:
    """A command in a shell of its own, and what it has printed."""

    def __init__(self, line: str, clone: Clone) -> None:
        self.line = line
        inherited = {
            name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "COV"))
        }
        inherited.pop("PYTHONPATH", None)
        settings = {"RTMP_PORT": str(clone.port), "BIND_ADDRESS": "127.0.0.1", "PYTHONUNBUFFERED": "1"}
        screen = {"SDL_VIDEODRIVER": "dummy", "SDL_AUDIODRIVER": "dummy", "DISPLAY": ""}
        self.process = subprocess.Popen(
            ["sh", "-c", line],
            cwd=clone.directory,
            env=inherited | settings | screen,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,  # the shell may have children; signals go to all
        )
        self.lines: list[str] = []
        self._news = Condition()
        self._reader = Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            with self._news:
                self.lines.append(line.rstrip())
                self._news.notify_all()
        with self._news:
            self._news.notify_all()

    def wait_for(self, pattern: str, timeout_s: float) -> None:
        """Wait for a line that holds the pattern."""

        def seen() -> bool:
            return any(re.search(pattern, line) for line in self.lines)

        with self._news:
            self._news.wait_for(lambda: seen() or self.process.poll() is not None, timeout_s)
            assert seen(), (self.line, pattern, self.lines[-20:])

    def ended(self, timeout_s: float = ENDS_S) -> int:
        return self.process.wait(timeout_s)

    def stop(self) -> int:
        """Ask it to end; return the exit code."""
        self._signal(signal.SIGTERM)
        return self.ended()

    def close(self) -> None:
        """End it if it still runs, by its own ids."""
        self._signal(signal.SIGKILL)
        self.process.wait()
        self._reader.join(5)
        assert self.process.stdout is not None
        self.process.stdout.close()

    def _signal(self, number: int) -> None:
        if self.process.poll() is None:
            os.killpg(self.process.pid, number)


def serves(command: Command) -> bool:
    if ENDING & set(command.words):
        return False
    return bool(re.search(r"scripts/serve|bin/rtmpsrv$|-m rtmpsrv|examples/\w+\.py", command.line))


def run_all(commands: list[Command], clone: Clone) -> None:
    """Run commands in order. Servers stay until the end, encoders and players run side by side."""
    with ExitStack() as stack:
        servers, encoders, players = [], [], []
        for command in commands:
            running = clone.start(command.line)
            stack.callback(running.close)
            if serves(command):
                servers.append(running)
                running.wait_for(READY, INSTALL_S)
            elif command.program == "ffplay":
                players.append(running)
            elif command.program == "ffmpeg":
                encoders.append(running)
            else:
                assert running.ended(INSTALL_S) == 0, (command, running.lines)
        for encoder in encoders:
            assert encoder.ended() == 0, (encoder.line, encoder.lines)
        for player in players:
            player.wait_for("Stream #0:0", ENDS_S)  # what it plays
            player.stop()
        for server in reversed(servers):
            assert server.stop() in (0, -signal.SIGTERM), (server.line, server.lines)
            assert not any("Traceback" in line for line in server.lines), server.lines

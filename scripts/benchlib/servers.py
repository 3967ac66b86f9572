"""The servers under test: how each is started, found ready and stopped; nothing of the load."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from benchlib.rtmpclient import Target
from benchlib.scenarios import Scenario

HOST = "127.0.0.1"
READY_S = 15.0
STOP_S = 10.0
LOG_TAIL = 2000  # characters shown of a server that did not start
PROJECT = Path(__file__).resolve().parents[2]
ENDPOINT_RELAY = Path(__file__).resolve().with_name("endpoint_relay.py")
MOST_CONNECTIONS = 100_000  # the load's limits are met first
COMPILED_WHEN_BUILT = "rtmpsrv.protocol.chunks"  # a module of each build that tells which it is
DEFAULT_MERGE = 8  # messages, the default of MSG_BUFFER_SIZE
NGINX_MODULES = Path("/usr/lib/nginx/modules")
KEPT_ENVIRONMENT = ("PATH", "HOME", "LANG", "VIRTUAL_ENV", "LD_LIBRARY_PATH")

NGINX_CONFIG = """{modules}
worker_processes 1;
daemon off;
pid {directory}/nginx.pid;
error_log {directory}/error.log error;
worker_rlimit_nofile {descriptors};
events {{ worker_connections {connections}; }}
rtmp {{
    access_log off;
    server {{
        listen {host}:{port};
        chunk_size 4096;
        max_message 16M;
        application live {{ live on; }}
    }}
}}
{tls}
"""
NGINX_TLS = """stream {{
    server {{
        listen {host}:{tls_port} ssl;
        ssl_certificate {directory}/cert.pem;
        ssl_certificate_key {directory}/key.pem;
        proxy_pass {host}:{port};
    }}
}}
"""


class ServerError(Exception):
    """A server cannot be started or did not become ready."""


@dataclass(frozen=True, slots=True)
class Running:
    """A server that accepts connections."""

    name: str
    pid: int
    target: Target


@dataclass(frozen=True, slots=True)
class Launch:
    """What a server is started with, apart from the scenario."""

    cpus: frozenset[int]
    environment: dict[str, str] = field(default_factory=dict)


def nginx_missing(tls: bool) -> str:
    """Say what of nginx-rtmp is not installed; empty when all is there."""
    if not shutil.which("nginx"):
        return "nginx is not installed"
    wanted = ["ngx_rtmp_module.so", *(["ngx_stream_module.so"] if tls else [])]
    absent = [name for name in wanted if not (NGINX_MODULES / name).exists()]
    return f"not in {NGINX_MODULES}: {', '.join(absent)}" if absent else ""


def build_of(python: str | None) -> str:
    """Say which build an interpreter runs, `compiled` or `pure`. Raises `ServerError` when it has none."""
    command = [python or sys.executable, "-c", f"import {COMPILED_WHEN_BUILT} as m; print(m.__file__)"]
    environment = _environment(python)
    try:
        asked = subprocess.run(
            command, env=environment, cwd="/", capture_output=True, text=True, check=True, timeout=READY_S
        )
    except subprocess.CalledProcessError as exc:
        raise ServerError(f"{command[0]} cannot run the server:\n{exc.stderr[-LOG_TAIL:]}") from exc
    except (OSError, subprocess.SubprocessError) as exc:
        raise ServerError(f"{command[0]} cannot be run: {exc}") from exc
    return "compiled" if asked.stdout.strip().endswith(".so") else "pure"


@contextmanager
def ours(name: str, python: str | None, scenario: Scenario, launch: Launch) -> Iterator[Running]:
    """Run our server for the time of the block: these sources, or what another interpreter has installed."""
    with TemporaryDirectory(prefix=f"bench-{name}-") as path:
        directory = Path(path)
        port, tls_port, http_port = _free_port(), _free_port(), _free_port()
        environment = _environment(python) | {
            "RTMP_PORT": str(port),
            "HTTP_PORT": str(0 if scenario.no_http else http_port),
            "HTTP_BIND_ADDRESS": HOST,
            "API_PORT": "0",
            "BIND_ADDRESS": HOST,
            "MAX_CONNECTIONS": str(MOST_CONNECTIONS),
            "MAX_IP_CONCURRENT_CONNECTIONS": str(MOST_CONNECTIONS),
            "CONCURRENT_LIMIT_WHITELIST": "*",
        }
        if scenario.merge is not None:
            environment["MSG_BUFFER_SIZE"] = str(scenario.merge)
        if scenario.workers > 1:
            environment |= {"WORKERS": str(scenario.workers), "RUN_DIR": str(directory / "run")}
        if scenario.tls:
            _certificate(directory)
            environment |= {
                "SSL_PORT": str(tls_port),
                "SSL_CERT": str(directory / "cert.pem"),
                "SSL_KEY": str(directory / "key.pem"),
            }
        environment |= launch.environment
        command = [python or sys.executable, "-m", "rtmpsrv"]
        with _process(command, directory, environment, launch.cpus) as process:
            target = Target(HOST, tls_port if scenario.tls else port, scenario.tls, http_port=http_port)
            _await_ready(process, target, directory)
            yield Running(name, process.pid, target)


@contextmanager
def endpoint(scenario: Scenario, launch: Launch) -> Iterator[Running]:
    """Run a relay made of the endpoint's API for the time of the block."""
    with TemporaryDirectory(prefix="bench-endpoint-") as name:
        directory = Path(name)
        port = _free_port()
        environment = _environment(None)
        command = [sys.executable, str(ENDPOINT_RELAY), str(port), str(scenario.merge or DEFAULT_MERGE)]
        if scenario.tls:
            _certificate(directory)
            command += [str(directory / "cert.pem"), str(directory / "key.pem")]
        with _process(command, directory, environment, launch.cpus) as process:
            target = Target(HOST, port, scenario.tls, channel_is_app=False)
            _await_ready(process, target, directory)
            yield Running("endpoint", process.pid, target)


@contextmanager
def nginx(scenario: Scenario, launch: Launch) -> Iterator[Running]:
    """Run nginx with its RTMP module, one worker; TLS is ended by its stream module in the same worker."""
    missing = nginx_missing(scenario.tls)
    if missing:
        raise ServerError(missing)
    with TemporaryDirectory(prefix="bench-nginx-") as name:
        directory = Path(name)
        port, tls_port = _free_port(), _free_port()
        modules = [f"load_module {NGINX_MODULES}/ngx_rtmp_module.so;"]
        tls = ""
        if scenario.tls:
            _certificate(directory)
            modules.append(f"load_module {NGINX_MODULES}/ngx_stream_module.so;")
            tls = NGINX_TLS.format(host=HOST, port=port, tls_port=tls_port, directory=directory)
        connections = _nginx_connections(scenario)
        text = NGINX_CONFIG.format(
            modules="\n".join(modules),
            directory=directory,
            descriptors=min(connections + 100, _descriptors()),
            connections=connections,
            host=HOST,
            port=port,
            tls=tls,
        )
        (directory / "nginx.conf").write_text(text)
        log = str(directory / "error.log")
        command = [
            "nginx",
            "-p",
            str(directory),
            "-c",
            str(directory / "nginx.conf"),
            "-e",
            log,
        ]
        with _process(command, directory, dict(os.environ), launch.cpus) as process:
            target = Target(
                HOST,
                tls_port if scenario.tls else port,
                scenario.tls,
                channel_is_app=False,
            )
            _await_ready(process, target, directory)
            yield Running("nginx", process.pid, target)


@contextmanager
def peer(target: Target, pid: int) -> Iterator[Running]:
    """Measure a server that runs already; who started it pins it (`taskset -acp 0 PID`) and ends it."""
    yield Running("peer", pid, target)


def _nginx_connections(scenario: Scenario) -> int:
    if scenario.ramp:
        return _descriptors()
    return 4 * (scenario.total_players + scenario.publishers) + 200


def _descriptors() -> int:
    """Give how many a process may have, which only the administrator can raise."""
    return resource.getrlimit(resource.RLIMIT_NOFILE)[1]


def _environment(python: str | None) -> dict[str, str]:
    """Give what a server's process inherits.

    Another interpreter must not find these sources before the package that it has installed.
    """
    environment = {key: os.environ[key] for key in KEPT_ENVIRONMENT if key in os.environ}
    return environment if python else environment | {"PYTHONPATH": str(PROJECT)}


@contextmanager
def _process(
    command: list[str],
    directory: Path,
    environment: dict[str, str],
    cpus: frozenset[int],
) -> Iterator[subprocess.Popen[bytes]]:
    with (directory / "output.log").open("wb") as output, _placed_on(cpus):
        process = subprocess.Popen(
            command,
            cwd=directory,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextmanager
def _placed_on(cpus: frozenset[int]) -> Iterator[None]:
    """Pin this process for the time of the block: a child is born with its parent's cores."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cpus)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def _await_ready(process: subprocess.Popen[bytes], target: Target, directory: Path) -> None:
    deadline = time.monotonic() + READY_S
    while time.monotonic() < deadline and process.poll() is None:
        with suppress(OSError), socket.create_connection((target.host, target.port), 1):
            return
        time.sleep(0.05)
    logs = [path.read_text(errors="replace")[-LOG_TAIL:] for path in sorted(directory.glob("*.log"))]
    raise ServerError(f"{process.args!r} is not ready on port {target.port}:\n" + "\n".join(logs))


def _free_port() -> int:
    with socket.create_server((HOST, 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def _certificate(directory: Path) -> None:
    """Make a self-signed certificate. Raises `ServerError` without openssl."""
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
    command += ["-subj", "/CN=localhost"]
    command += [
        "-keyout",
        str(directory / "key.pem"),
        "-out",
        str(directory / "cert.pem"),
    ]
    try:
        subprocess.run(command, check=True, capture_output=True, timeout=30)
    except (OSError, subprocess.SubprocessError) as exc:
        raise ServerError(f"no certificate for --tls: {exc}") from exc

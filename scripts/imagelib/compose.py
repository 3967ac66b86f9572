"""The services of a compose file, each a container, all on one network: publish, play, refuse, kill."""

from __future__ import annotations

import resource
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import yaml

from . import media
from .container import STOP_S, Container, Network
from .image import LISTENING, publish_and_play
from .report import Report
from .store import Store

READY = {"rtmpsrv": LISTENING, "backend": "waiting for events", "redis": "eady to accept connections"}
# Stands for the init of Docker: it hands SIGTERM on, which process 1 without a handler would not hear.
INIT = ["sh", "-c", '"$@" & trap "kill $!" TERM; wait $!; wait $!', "init"]
KILL = ["redis-cli", "publish", "rtmp_commands", "kill-session>news"]


def try_compose(store: Store, path: Path, built: str, film: Path, report: Report) -> None:
    """Start all services, those that others need first, use them, stop them. Blocks for some 20 s."""
    services: dict[str, dict[str, Any]] = yaml.safe_load(path.read_text())["services"]
    running: dict[str, Container] = {}
    with ExitStack() as stack:
        network = stack.enter_context(Network())
        for name in sorted(services, key=list(READY).index, reverse=True):
            container = _container(store, services[name], path.parent, built, network, list(services), report)
            running[name] = stack.enter_context(container)
            report.check(container.wait_for(READY[name]), f"{path.name}: {name} starts")
        publish_and_play(network, film, "rtmp://127.0.0.1/news/secret1", report)
        if "backend" in running:
            refused = media.encoder(network, film, "rtmp://127.0.0.1/news/wrong").wait(media.WAIT_S)
            report.check(refused != 0, f"{path.name}: the backend refuses another key")
            told = running["backend"].output()
            report.check(
                "start news" in told and "stop news" in told, f"{path.name}: it is told start and stop"
            )
        if "redis" in running:
            _try_redis(network, running, film, report, path.name)
        for name in reversed(running):
            code, seconds = running[name].stop()
            # The backend has no handler: it dies of the signal that init hands on.
            good = code == (143 if services[name].get("init") else 0) and seconds < STOP_S
            report.check(good, f"{path.name}: {name} stops: exit code {code} after {seconds:.1f} s")
        report.check("Traceback" not in running["rtmpsrv"].output(), f"{path.name}: no traceback")


def _container(
    store: Store,
    service: dict[str, Any],
    folder: Path,
    built: str,
    network: Network,
    names: list[str],
    report: Report,
) -> Container:
    files = int(service.get("ulimits", {}).get("nofile", 0))
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if files > most:
        report.note(f"nofile {files} is above this machine's hard limit: {most} is used")
    volumes = [one.split(":") for one in service.get("volumes", [])]
    return Container(
        store,
        built if "build" in service else f"docker.io/library/{service['image']}",
        network,
        command=(INIT if service.get("init") else []) + service.get("command", []),
        user=service.get("user", ""),
        environment={name: str(value) for name, value in service.get("environment", {}).items()},
        volumes=[((folder / source).resolve(), target) for source, target, *_ in volumes],
        files=files,
        names=names,
    )


def _try_redis(
    network: Network, running: dict[str, Container], film: Path, report: Report, page: str
) -> None:
    before = running["rtmpsrv"].output().count("publish accepted")
    encoder = media.encoder(network, film, "rtmp://127.0.0.1/news/secret1", loop=True)
    try:
        server = running["rtmpsrv"]
        while encoder.poll() is None and server.output().count("publish accepted") == before:
            server.wait_for("publish accepted")
        reached = running["redis"].run(KILL).stdout.strip()
        ended = encoder.wait(media.WAIT_S)
        report.check(reached == "1" and ended != 0, f"{page}: a command by Redis ends the stream")
    finally:
        encoder.kill()
        encoder.wait()

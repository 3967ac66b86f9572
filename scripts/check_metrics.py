#!/usr/bin/env python3
"""Metrics, dashboard, alerts with a real server, streams and Prometheus: 30 s on a quiet machine, not in CI.

    scripts/check_metrics.py

Starts a server with RTMPS, a callback and recordings, publishes and plays with ffmpeg, by RTMP and by HTTP,
has Debian's Prometheus scrape it and evaluates all expressions of the dashboard and the alerts in config/:
each must parse, a panel must show something, an alert must look at something, and be off.
"""

from __future__ import annotations

import contextlib
import json
import re
import subprocess
import sys
import tempfile
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from own_python import use_venv

if TYPE_CHECKING:
    from tests.doubles.callback_server import CallbackServer

HOST = "127.0.0.1"
SCRAPE_S = 1
READY_S = 30.0
SCRAPES_S = 20.0  # for rates over some scrapes, and for two keyframes
ASK_S = 10.0
# The comparison at an alert's end: what stands before it is what the alert looks at.
COMPARISON = re.compile(r"\s*(==|>|<)\s*[0-9.]+(\s*\*\s*[0-9]+)?\s*$")
ENDS_SOON = "RtmpsrvCertificateEnds"  # that of a test does
STREAM = "-re -f lavfi -i testsrc2=size=320x180:rate=25 -f lavfi -i sine"
CODING = "-c:v libx264 -preset ultrafast -tune zerolatency -g 50 -pix_fmt yuv420p -c:a aac -f flv"


def main() -> int:
    """Check all, print what is wrong, and say whether nothing is."""
    use_venv()
    from tests.doubles.callback_server import CallbackServer
    from tests.doubles.secrets import JWT_SECRET

    wrong: list[str] = []
    with tempfile.TemporaryDirectory() as name, CallbackServer(JWT_SECRET) as backend:
        directory = Path(name)
        with server_and_streams(directory, backend) as api_port, prometheus(directory, api_port) as ask:
            wait_until(lambda: any(value(ask, "up")), "a scrape")
            wrong += promtool_says(api_port)
            time.sleep(SCRAPES_S)
            wrong += dashboard_lacks(ask)
            wrong += alerts_lack(ask)
    for one in wrong:
        print(one)
    print(f"{len(wrong)} faults" if wrong else "Metrics, dashboard and alerts are good.")
    return 1 if wrong else 0


# --- what is looked at --------------------------------------------------------------------------------------

Ask = Callable[[str, dict[str, str]], Any]


def promtool_says(api_port: int) -> Iterator[str]:
    """Give what promtool finds in the metrics as they are now."""
    with urllib.request.urlopen(f"http://{HOST}:{api_port}/metrics", timeout=ASK_S) as answer:
        text = answer.read().decode()
    done = run("promtool", "check", "metrics", given=text)
    if done.returncode or done.stderr:
        yield f"promtool check metrics: {done.stdout}{done.stderr}"
    with urllib.request.urlopen(f"http://{HOST}:{api_port}/metrics?format=mediamtx", timeout=ASK_S) as answer:
        if not answer.read().startswith(b"# Paths\n"):
            yield "?format=mediamtx has no paths"


def dashboard_lacks(ask: Ask) -> Iterator[str]:
    """Give the panels of which an expression fails, or none shows anything."""
    from tests.monitoring_files import panels

    for title, expressions in panels():
        results = [value(ask, one) for one in expressions]
        if not any(results):
            yield f"panel {title!r} shows nothing"


def alerts_lack(ask: Ask) -> Iterator[str]:
    """Give the alerts that fail, look at nothing, or are on although all is well."""
    from tests.monitoring_files import alerts

    for name, expression in alerts():
        if not value(ask, COMPARISON.sub("", expression)):
            yield f"alert {name} looks at nothing"
        if value(ask, expression) and name != ENDS_SOON:
            yield f"alert {name} is on"
    groups = ask("rules", {})["groups"]
    rules = [rule for group in groups for rule in group["rules"]]
    if len(rules) != len(list(alerts())):
        yield f"Prometheus has {len(rules)} rules"
    for rule in rules:
        if rule["health"] == "err":
            yield f"rule {rule['name']}: {rule.get('lastError')}"


def value(ask: Ask, expression: str) -> list[Any]:
    """Return what Prometheus has for an expression now."""
    found: list[Any] = ask("query", {"query": expression})["result"]
    return found


# --- what is started ----------------------------------------------------------------------------------------


@contextlib.contextmanager
def server_and_streams(directory: Path, backend: CallbackServer) -> Iterator[int]:
    """Run a server, a publisher and a player; the port of its admin side."""
    from tests.doubles.callback_server import Answer, accept
    from tests.doubles.certificates import make
    from tests.doubles.secrets import JWT_SECRET
    from tests.programs import running
    from tests.server_process import ServerProcess, free_port

    def fail(_request: object) -> Answer:
        return Answer(status=500)

    certificates, api_port, http_port = make(directory), free_port(), free_port()
    settings = {
        "API_PORT": str(api_port),
        "METRICS_PER_CHANNEL": "YES",
        "CALLBACK_URL": backend.url,
        "JWT_SECRET": JWT_SECRET,
        "HTTP_PORT": str(http_port),
        "RECORD": "YES",
        "RECORD_DIR": str(directory / "recordings"),
        "SSL_PORT": str(free_port()),
        "SSL_CERT": certificates.certificate,
        "SSL_KEY": certificates.key,
    }
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(ServerProcess(**settings))
        encode = ("ffmpeg", "-v", "error", *STREAM.split(), *CODING.split())
        backend.answer = fail
        with running(*encode, f"rtmp://{HOST}:{server.port}/unlucky/key"):
            server.wait_for_line("channel=unlucky status=500", timeout_s=READY_S)
        backend.answer = accept
        url = f"rtmp://{HOST}:{server.port}/checked/key"
        stack.enter_context(running(*encode, url))
        server.wait_for_line("publish accepted channel=checked", timeout_s=READY_S)
        by_http = f"http://{HOST}:{http_port}/checked.flv?key=key"
        for source in (url, by_http):
            stack.enter_context(running("ffmpeg", "-v", "error", "-i", source, "-f", "null", "-"))
        yield api_port


@contextlib.contextmanager
def prometheus(directory: Path, api_port: int) -> Iterator[Ask]:
    """Run Prometheus with the example's configuration, but for port and pace; how to ask it."""
    from tests.monitoring_files import CONFIG, PROMETHEUS
    from tests.programs import running
    from tests.server_process import free_port

    text = PROMETHEUS.read_text()
    for theirs, ours in (
        ("scrape_interval: 5s", f"scrape_interval: {SCRAPE_S}s"),
        ("evaluation_interval: 15s", f"evaluation_interval: {SCRAPE_S}s"),
        ("127.0.0.1:9997", f"{HOST}:{api_port}"),
        ("- prometheus-alerts.yml", f"- {CONFIG / 'prometheus-alerts.yml'}"),
    ):
        if theirs not in text:
            raise SystemExit(f"config/prometheus.yml has no {theirs!r}")
        text = text.replace(theirs, ours)
    (directory / "prometheus.yml").write_text(text)
    port = free_port()
    command = (
        "prometheus",
        f"--config.file={directory / 'prometheus.yml'}",
        f"--storage.tsdb.path={directory / 'data'}",
        f"--web.listen-address={HOST}:{port}",
        "--log.level=error",
    )

    def ask(what: str, arguments: dict[str, str]) -> Any:
        address = f"http://{HOST}:{port}/api/v1/{what}?{urllib.parse.urlencode(arguments)}"
        with urllib.request.urlopen(address, timeout=ASK_S) as answer:
            return json.load(answer)["data"]

    def is_ready() -> bool:
        with contextlib.suppress(OSError):
            return bool(ask("rules", {})["groups"])
        return False

    with running(*command):
        wait_until(is_ready, "Prometheus")
        yield ask


def run(*command: str, given: str) -> subprocess.CompletedProcess[str]:
    """Run a program to its end."""
    return subprocess.run(command, input=given, capture_output=True, text=True, timeout=ASK_S, check=False)


def wait_until(condition: Callable[[], bool], what: str) -> None:
    """Wait for it, or end the program."""
    until = time.monotonic() + READY_S
    while not condition():
        if time.monotonic() > until:
            raise SystemExit(f"no {what} within {READY_S:.0f} s")
        time.sleep(0.2)


if __name__ == "__main__":
    sys.exit(main())

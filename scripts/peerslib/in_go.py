"""Peers written in Go: MediaMTX's RTMP library, MediaMTX itself and go2rtc, where they can be had."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from time import monotonic, sleep

from imagelib.report import Report

from tests.programs import ended_with
from tests.server_process import ServerProcess, free_port

from . import seen

BUILD_S = 600.0
START_S = 20.0
SOURCE = Path(__file__).parent
FPS = 25
SERVERS = {
    "mediamtx": (
        "github.com/bluenviron/mediamtx",
        "rtspAddress: 127.0.0.1:{rtsp}\nrtspTransports: [tcp]\nrtmp: no\nhls: no\nwebrtc: no\nsrt: no\n"
        "paths:\n  pulled:\n    source: {url}\n",
    ),
    "go2rtc": (
        "github.com/AlexxIT/go2rtc",
        'api: {{listen: ""}}\nwebrtc: {{listen: ""}}\nrtsp: {{listen: "127.0.0.1:{rtsp}"}}\n'
        "streams: {{pulled: {url}}}\n",
    ),
}


def try_go(server: ServerProcess, directory: Path, report: Report) -> None:
    """Publish, and let each of them play; the library publishes what it plays."""
    if not shutil.which("go"):
        report.note("MediaMTX, its library and go2rtc are left out: no Go toolchain here")
        return
    url = f"rtmp://127.0.0.1:{server.port}/film/key"
    with ended_with(seen.film(url)):
        server.wait_for_line("publish accepted channel=film", timeout_s=START_S)
        _try_library(server, url, directory, report)
        for name in SERVERS:
            _try_server(name, url, directory, report)


def _try_library(server: ServerProcess, url: str, directory: Path, report: Report) -> None:
    for name in ("go.mod", "republish.go"):
        shutil.copy(SOURCE / name, directory)
    failed = _go(["build", "-o", "republish", "."], directory)
    if failed:
        report.note(f"the library of MediaMTX is left out: {failed}")
        return
    again = url.replace("film", "again")
    # Its URLs are rtmp://HOST/APP#KEY; whatever stands before "#" is the application.
    given = [one.replace("/key", "#key") for one in (url, again)]
    with ended_with(subprocess.Popen([str(directory / "republish"), *given], stderr=subprocess.DEVNULL)):
        found = _played(again)
    report.check(
        seen.is_whole(found, FPS), f"MediaMTX's library plays and publishes: {found} in {seen.LOOK_S} s"
    )


def _try_server(name: str, url: str, directory: Path, report: Report) -> None:
    module, form = SERVERS[name]
    program = shutil.which(name) or str(directory / "bin" / name)
    failed = "" if Path(program).exists() else _go(["install", f"{module}@latest"], directory)
    if failed:
        report.note(f"{name} is left out, since it is not in PATH and cannot be built: {failed}")
        return
    rtsp, settings = free_port(), directory / f"{name}.yml"
    source = url.replace("/key", "#key") if name == "mediamtx" else url  # as its library has them
    settings.write_text(form.format(rtsp=rtsp, url=source))
    option = ["-config"] if name == "go2rtc" else []
    with ended_with(subprocess.Popen([program, *option, str(settings)], stdout=subprocess.DEVNULL)):
        found = _played(f"rtsp://127.0.0.1:{rtsp}/pulled")
    report.check(seen.is_whole(found, FPS), f"{name} plays: {found} in {seen.LOOK_S} s")


def _played(url: str) -> dict[str, int]:
    """Return what a player sees once there is something."""
    until = monotonic() + START_S
    while not (found := seen.packets(url)) and monotonic() < until:
        sleep(1)
    return found


def _go(arguments: list[str], directory: Path) -> str:
    """Run go for `directory`; return the last line of what is wrong, "" if nothing is."""
    environment = os.environ | {"GOBIN": str(directory / "bin"), "GOFLAGS": "-mod=mod -buildvcs=false"}
    if arguments[0] == "install":
        environment["GOFLAGS"] = "-buildvcs=false"
    done = subprocess.run(
        ["go", *arguments],
        cwd=directory,
        env=environment,
        capture_output=True,
        text=True,
        timeout=BUILD_S,
        check=False,
    )
    return done.stderr.strip().splitlines()[-1].strip() if done.returncode else ""

"""OBS Studio with "Use authentication": who is on the air, and what the others are told and shown."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic, sleep

from imagelib.report import Report

from tests.server_process import ServerProcess

from . import obs

USER, PASSWORD, WRONG = "alice", "Pass-Word_Rt4", "Pass-Word_Wx7"
CHANNELS = f"""[[channel]]
name = "studio/*"
users = {{ {USER} = "{PASSWORD}" }}
play_access = "open"
"""
ASKED = "closed: asked for a login"
LOOK_EVERY_S = 0.5
COMMAND_S = 10.0
SHOWN = '"Failed to connect"'  # the title of OBS's window that says so
PHOTOGRAPH = 'exec ffmpeg -v error -f x11grab -i "$DISPLAY" -frames:v 1 "$1"'


@dataclass(frozen=True)
class Refusal:
    """A login that is none, with what OBS writes and what the server does."""

    what: str
    obs_line: str
    server_line: str
    login: dict[str, str] = field(default_factory=dict)


REFUSALS = (
    Refusal("no login", "need to set pubUser & pubPasswd for publisher auth", ASKED),
    Refusal(
        "a wrong password",
        "PublisherAuth, Authentication failed: wrong password",
        r"closed: connect refused: .*\?reason=authfailed",
        {"username": USER, "password": WRONG},
    ),
    Refusal(
        "an unknown user",
        "PublisherAuth, Authentication failed: no such user",
        r"closed: connect refused: .*\?reason=nosuchuser",
        {"username": "nobody", "password": PASSWORD},
    ),
)


def settings(directory: Path) -> dict[str, str]:
    """Return the settings of a server that wants a login, with everything in its log."""
    channels = directory / "channels.toml"
    channels.write_text(CHANNELS)
    access = {"URL_LAYOUT": "app-stream", "CHANNELS_FILE": str(channels), "PUBLISH_ACCESS": "login"}
    return access | {"LOG_DEBUG": "YES", "LOG_TRACE": "YES"}


def try_login(server: ServerProcess, directory: Path, report: Report) -> None:
    """Publish by OBS with each login, and with name and password as they are."""
    if not obs.is_here(report):
        return
    url = f"rtmp://127.0.0.1:{server.port}/studio"
    for refusal in REFUSALS:
        _try_refusal(server, refusal, directory / refusal.what.replace(" ", "-"), url, report)
    report.check(not server.matching("publish accepted"), "none of these was on the air")
    before = len(server.matching(ASKED))
    with obs.streaming(_made(directory / "right"), url, "right", username=USER, password=PASSWORD):
        obs.check_on_air(server, "studio/right", f"{url}/right", "OBS logs in and publishes", report)
    asked = len(server.matching(ASKED)) - before
    report.check(asked == 2, f"it was asked for its login on {asked} connections of 2")
    with obs.streaming(_made(directory / "shown"), f"{url}?user={USER}&pass={PASSWORD}", "shown"):
        what = "OBS shows name and password in its server's address, and publishes"
        obs.check_on_air(server, "studio/shown", f"{url}/shown", what, report)
    secret = [line for line in server.everything() if PASSWORD in line or WRONG in line]
    report.check(not secret, f"{len(secret)} lines of the server's log have a password")


def _try_refusal(server: ServerProcess, refusal: Refusal, home: Path, url: str, report: Report) -> None:
    with obs.streaming(_made(home), url, "refused", **refusal.login) as log:
        told = _comes(lambda: refusal.obs_line in log.read_text(errors="replace"), obs.START_S)
        report.check(told, f"OBS with {refusal.what} writes: {refusal.obs_line}")
        line = _comes(lambda: bool(server.matching(refusal.server_line)), COMMAND_S)
        report.check(line, f"the server: {refusal.server_line}")
        picture = home / "screen.png"
        shown = told and _comes(lambda: SHOWN in _run(home, "xwininfo", "-root", "-tree"), COMMAND_S)
        if shown:
            sleep(LOOK_EVERY_S)  # the window is there before its text
            _run(home, "sh", "-c", PHOTOGRAPH, "sh", str(picture))
        report.check(shown and picture.exists(), f"OBS shows {SHOWN}: {picture}")


def _run(home: Path, *command: str) -> str:
    """Run a command on the screen of the OBS of `home`; return its output, "" if it does not end."""
    screen = {"DISPLAY": (home / "display").read_text().strip(), "XAUTHORITY": str(home / "xauthority")}
    with suppress(subprocess.TimeoutExpired):
        done = subprocess.run(
            command,
            env=os.environ | screen,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=COMMAND_S,
            check=False,
        )
        return done.stdout
    return ""


def _comes(is_so: Callable[[], bool], within_s: float) -> bool:
    """Wait until something is so; tell whether it came to that."""
    until = monotonic() + within_s
    while not (so := is_so()) and monotonic() < until:
        sleep(LOOK_EVERY_S)
    return so


def _made(directory: Path) -> Path:
    directory.mkdir(parents=True)
    return directory

"""OBS Studio on a screen in memory: it publishes an empty scene, as one who pressed "Start Streaming"."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from imagelib.report import Report

from tests.server_process import ServerProcess

from . import seen

FPS = 30
START_S = 60.0
STOP_S = 10.0
NEEDED = {"obs": "obs-studio", "xvfb-run": "xvfb", "xauth": "xauth", "xwininfo": "x11-utils"}
# The screen is told to those who want to see what OBS shows.
TELL_SCREEN = 'echo "$DISPLAY" >"$HOME/display"; exec obs "$@"'
OPTIONS = "--startstreaming --multi --collection Test --profile Test --disable-updater"
GLOBAL = """[General]
Language=en-US
FirstRun=true
LastVersion=486539264
EnableAutoUpdates=false
[Basic]
Profile=Test
ProfileDir=Test
SceneCollection=Test
SceneCollectionFile=Test
"""
BASIC = f"""[General]
Name=Test
[Output]
Mode=Simple
Reconnect=false
[SimpleOutput]
VBitrate=800
ABitrate=96
StreamEncoder=x264
Preset=ultrafast
[Video]
BaseCX=640
BaseCY=360
OutputCX=640
OutputCY=360
FPSType=0
FPSCommon={FPS}
"""
SCENES = {
    "name": "Test",
    "current_scene": "Scene",
    "current_program_scene": "Scene",
    "scene_order": [{"name": "Scene"}],
    "sources": [{"id": "scene", "name": "Scene", "settings": {"items": []}}],
}


def try_obs(server: ServerProcess, directory: Path, report: Report) -> None:
    """Publish by OBS, and play that."""
    if not is_here(report):
        return
    with streaming(directory, f"rtmp://127.0.0.1:{server.port}/obs", "key"):
        check_on_air(server, "obs", f"rtmp://127.0.0.1:{server.port}/obs/key", "OBS publishes", report)


def is_here(report: Report) -> bool:
    """Tell whether OBS can be tried; report what is missing."""
    if all(shutil.which(program) for program in NEEDED):
        return True
    report.note(f"OBS is left out: apt-get install --no-install-recommends {' '.join(NEEDED.values())}")
    return False


def check_on_air(server: ServerProcess, channel: str, url: str, what: str, report: Report) -> None:
    """Wait until a channel has its publisher, and play it."""
    try:
        server.wait_for_line(f"publish accepted channel={channel}$", timeout_s=START_S)
    except AssertionError:
        report.check(False, f"{what}: no publisher of {channel}, see obs.log in build/peers")
        return
    found = seen.packets(url)
    report.check(seen.is_whole(found, FPS), f"{what}: {found} in {seen.LOOK_S} s")


@contextmanager
def streaming(directory: Path, url: str, key: str, **login: str) -> Iterator[Path]:
    """Run OBS with a profile of its own, as if somebody pressed "Start Streaming"; yields its log.

    `login` is the username and the password of "Use authentication", if that is to be ticked.
    """
    service: dict[str, object] = {"server": url, "key": key, "use_auth": bool(login)} | login
    _configure(directory / ".config/obs-studio", service)
    path = directory / "obs.log"
    screen = ["-a", "-f", str(directory / "xauthority"), "-s", "-screen 0 1280x800x24"]
    own = {"HOME": str(directory), "XDG_CONFIG_HOME": str(directory / ".config")}
    with path.open("w") as log:
        obs = subprocess.Popen(
            ["xvfb-run", *screen, "sh", "-c", TELL_SCREEN, "sh", *OPTIONS.split()],
            env=os.environ | own | {"LIBGL_ALWAYS_SOFTWARE": "1", "QT_QPA_PLATFORM": "xcb"},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield path
    finally:
        os.killpg(obs.pid, signal.SIGTERM)
        try:
            obs.wait(STOP_S)
        except subprocess.TimeoutExpired:
            os.killpg(obs.pid, signal.SIGKILL)
            obs.wait()


def _configure(directory: Path, service: dict[str, object]) -> None:
    profile, scenes = directory / "basic/profiles/Test", directory / "basic/scenes"
    for needed in (profile, scenes):
        needed.mkdir(parents=True, exist_ok=True)
    (directory / "global.ini").write_text(GLOBAL)
    (profile / "basic.ini").write_text(BASIC)
    (profile / "service.json").write_text(json.dumps({"type": "rtmp_custom", "settings": service}))
    (scenes / "Test.json").write_text(json.dumps(SCENES))

"""OBS Studio on a screen in memory: it publishes an empty scene, as one who pressed "Start Streaming"."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
from pathlib import Path

from imagelib.report import Report

from tests.server_process import ServerProcess

from . import seen

FPS = 30
START_S = 60.0
STOP_S = 10.0
GLOBAL = """[General]
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
    """Start OBS with a profile of its own, play what it publishes, end it."""
    if not (shutil.which("obs") and shutil.which("xvfb-run")):
        report.note("OBS is left out: apt-get install --no-install-recommends obs-studio xvfb xauth")
        return
    _configure(directory / ".config/obs-studio", server.port)
    environment = os.environ | {"HOME": str(directory), "XDG_CONFIG_HOME": str(directory / ".config")}
    options = "--startstreaming --multi --collection Test --profile Test --minimize-to-tray --disable-updater"
    with (directory / "obs.log").open("w") as log:
        obs = subprocess.Popen(
            ["xvfb-run", "-a", "-s", "-screen 0 1024x768x24", "obs", *options.split()],
            env=environment | {"LIBGL_ALWAYS_SOFTWARE": "1", "QT_QPA_PLATFORM": "xcb"},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        server.wait_for_line("publish accepted channel=obs", timeout_s=START_S)
        found = seen.packets(f"rtmp://127.0.0.1:{server.port}/obs/key")
        report.check(seen.is_whole(found, FPS), f"OBS publishes: {found} in {seen.LOOK_S} s")
    except AssertionError:
        report.check(False, f"OBS publishes: see {directory / 'obs.log'}")
    finally:
        os.killpg(obs.pid, signal.SIGTERM)
        try:
            obs.wait(STOP_S)
        except subprocess.TimeoutExpired:
            os.killpg(obs.pid, signal.SIGKILL)
            obs.wait()


def _configure(directory: Path, port: int) -> None:
    profile, scenes = directory / "basic/profiles/Test", directory / "basic/scenes"
    for needed in (profile, scenes):
        needed.mkdir(parents=True, exist_ok=True)
    service = {"server": f"rtmp://127.0.0.1:{port}/obs", "key": "key", "use_auth": False}
    (directory / "global.ini").write_text(GLOBAL)
    (profile / "basic.ini").write_text(BASIC)
    (profile / "service.json").write_text(json.dumps({"type": "rtmp_custom", "settings": service}))
    (scenes / "Test.json").write_text(json.dumps(SCENES))

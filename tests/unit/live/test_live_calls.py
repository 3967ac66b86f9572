"""How many Python functions media passes through: each costs, times the frames, times the players.

A compiled build makes no such calls; then these tests hold of themselves. And what live/ must not do at all.
"""

from __future__ import annotations

import ast
import gc
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import FrameType

import pytest

import rtmpsrv
from rtmpsrv.live import lane
from rtmpsrv.live.player import STEP_BYTES
from tests.unit.live.fakes import Message
from tests.unit.live.stage import AVC, HEADERS, Stage, inter, key, playing, tone

PACKAGE = Path(rtmpsrv.__file__).parent
BELOW = ("live", "media", "protocol")
# From Channel.append on, packing included, however many follow.
MOST_FOR_A_FRAME = 18
MOST_BY_FILE = 26  # where that is written first, and the bytes are counted
MOST_FOR_A_STEP = 4  # of a laggard: besides its sink's own


def calls(action: Callable[[], object], packages: tuple[str, ...] = BELOW) -> Counter[str]:
    """Count the Python functions of some packages that run, by name."""
    inside = tuple(f"{PACKAGE / name}/" for name in packages)
    found: Counter[str] = Counter()

    def note(frame: FrameType, event: str, _argument: object) -> None:
        if event == "call" and frame.f_code.co_filename.startswith(inside):
            found[frame.f_code.co_qualname] += 1

    gc.collect()  # what other tests left is not to be freed meanwhile
    gc.disable()
    sys.setprofile(note)
    try:
        action()
    finally:
        sys.setprofile(None)
        gc.enable()
    return found


@pytest.fixture
def _measured_lanes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lane, "SENDFILE_FROM", 4)
    monkeypatch.setattr(lane, "SENDFILE_BYTES", 12 * 1024)


@pytest.mark.usefixtures("_measured_lanes")
@pytest.mark.parametrize(
    ("message", "most"),
    [
        (inter("small"), MOST_FOR_A_FRAME),
        (tone("sound"), MOST_FOR_A_FRAME),
        (inter(bytes(9000)), MOST_FOR_A_FRAME),
        (inter(bytes(20_000)), MOST_BY_FILE),
    ],
    ids=["small", "audio", "9 kB", "20 kB"],
)
@pytest.mark.parametrize("followers", [0, 1, 6, 60])
def test_frame_to_followers_takes_few_calls(message: Message, most: int, followers: int) -> None:
    stage = Stage()
    stage.followers(followers)
    stage.publish(*HEADERS, key("0"), tone("first"), inter(bytes(20_000)))  # the file is there
    found = calls(lambda: stage.channel.append([message]))
    assert found.total() <= most, found


def test_frames_of_one_read_cost_less_each() -> None:
    stage = Stage()
    stage.followers(6)
    stage.publish(*HEADERS, key("0"), inter("1"))
    one = calls(lambda: stage.channel.append([inter("2")])).total()
    ten = calls(lambda: stage.channel.append([inter(f"{number}") for number in range(10)])).total()
    assert ten <= one + 9 * 5  # classify, frame, pack, and twice append


def test_laggard_that_catches_up_takes_few_calls_for_each_sendfile() -> None:
    stage = Stage()
    sink = playing(stage, AVC, key("0"))
    sink.room = 0
    stage.publish(inter(bytes(20 * STEP_BYTES)))
    before = sink.sendfiles
    found = calls(sink.open, ("live",))
    steps = sink.sendfiles - before
    assert steps >= 20
    ends = 10  # that it arrived, once
    assert found.total() <= MOST_FOR_A_STEP * steps + ends, found


# --- never ----------------------------------------------------------------------------------------


def imported(module: Path) -> set[str]:
    """The modules that one of live/ imports, absolute; also those for type checkers."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(module.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            above = ["rtmpsrv", "live"][: 3 - node.level] if node.level else []
            base = ".".join([*above, *filter(None, [node.module])])
            names |= {base} | {f"{base}.{alias.name}" for alias in node.names}
    return names


ALLOWED = (*(f"rtmpsrv.{name}" for name in (*BELOW, "errors", "pickling")),)


@pytest.mark.parametrize("module", sorted((PACKAGE / "live").glob("*.py")), ids=lambda module: module.stem)
def test_modules_log_nothing_wait_for_nothing_and_know_nobody_above(module: Path) -> None:
    names = imported(module)
    ours = {name for name in names if name.split(".")[0] == "rtmpsrv"}
    assert not [name for name in ours - {"rtmpsrv"} if not name.startswith(ALLOWED)]
    assert not {"logging", "gevent", "socket", "time", "threading"} & {name.split(".")[0] for name in names}

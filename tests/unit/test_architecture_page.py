"""Whether the map in docs/architecture.md is that of the tree, and its floors those that are checked."""

from __future__ import annotations

import configparser
import re
from pathlib import Path

import pytest

from tests.pages import code_lines, page, section
from tests.server_process import PROJECT

PAGE = page("architecture.md")
ROOMS = ["live", "server", "server/http", "web", "hls", "av", "watch", "record", "workers", "monitor"]
NO_ROOM_OF_THEIR_OWN = {"__init__.py", "__main__.py"}


def modules(folder: Path) -> set[str]:
    return {one.name for one in folder.glob("*.py")} - NO_ROOM_OF_THEIR_OWN


@pytest.mark.parametrize("room", ROOMS)
def test_the_map_of_a_room_names_all_its_modules_and_no_others(room: str) -> None:
    text = PAGE.partition(f"### In `{room}/`\n")[2]
    table = re.split(r"^#", text, maxsplit=1, flags=re.MULTILINE)[0]
    first_cells = [line.split("|")[1] for line in table.splitlines() if line.startswith("|")]
    named = re.findall(r"`(\w+\.py)`", " ".join(first_cells))
    assert sorted(named) == sorted(modules(PROJECT / "rtmpsrv" / room))


def test_the_map_names_what_is_in_no_room() -> None:
    rooms = section(PAGE, "The rooms").partition("###")[0]
    first_cells = [line.split("|")[1] for line in rooms.splitlines() if line.startswith("|")]
    named = re.findall(r"`([\w/]+(?:\.py|/))`", " ".join(first_cells))
    root = PROJECT / "rtmpsrv"
    packages = {f"{one.parent.name}/" for one in root.glob("*/__init__.py")}
    assert sorted(named) == sorted(modules(root) | packages | {"__main__.py"})


def test_the_floors_are_those_that_are_checked() -> None:
    config = configparser.ConfigParser()
    config.read(PROJECT / "setup.cfg")
    layers = config["importlinter:contract:floors"]["layers"].replace("rtmpsrv.", "")
    checked = [set(re.findall(r"\w+", line)) for line in layers.splitlines() if line.strip()]
    below = PAGE.partition("Imports go down only")[2].partition("`config`")[0]
    drawn = " ".join(code_lines(below))
    assert [set(re.findall(r"\w+", floor)) for floor in drawn.split("->")] == checked

"""Every command that README.md and docs/ print, run as it is printed in a fresh clone.

Only ports and names of files are the test's. What serves is started, must serve, and is stopped; what is
marked as not run is looked at for its form. The commands of docs/redis.md are run in test_docs_redis.py,
those of docs/api.md in test_docs_api.py.
"""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

from tests import printed
from tests.clone import ENDS_S, Clone, run_all
from tests.media_files import current_ffmpeg, system_tool
from tests.pages import pages
from tests.printed import Command
from tests.server_process import PROJECT

PAGES = [path for path in pages() if path.name != "CHANGELOG.md"]
ELSEWHERE = {"docs/redis.md", "docs/api.md"}
FILM_S = 3


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("film") / "film.mp4"
    source = f"-f lavfi -i testsrc2=size=160x90:rate=10:duration={FILM_S}"
    coding = f"-v error -nostdin {source} -c:v libx264 -preset ultrafast -g 10 -pix_fmt yuv420p"
    for name in (path, path.with_suffix(".flv")):
        subprocess.run([current_ffmpeg(), *coding.split(), str(name)], check=True, timeout=30)
    return path


def of(page: str, section: str) -> list[Command]:
    """Return what a section prints in its blocks and is to be run."""
    found = [one for one in printed.in_blocks(PROJECT / page) if one.section == section and not one.why_not]
    assert found, (page, section)
    return found


def group(page: str, section: str, number: int, of_all: int) -> list[Command]:
    """Return the commands of one of the section's blocks; the section must have so many with commands."""
    blocks = [one for one in printed.blocks((PROJECT / page).read_text()) if one.section == section]
    found = [commands for one in blocks if (commands := printed.commands_of(one, page))]
    assert len(found) == of_all, found
    return found[number]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, film: Path) -> Clone:
    """Return a clone whose .venv scripts/serve has made."""
    clone = Clone(tmp_path_factory.mktemp("served"), film)
    run_all(group("README.md", "Start", 0, 5), clone)
    return clone


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory, film: Path) -> Clone:
    """Return a clone whose .venv was made by the commands of README.md."""
    clone = Clone(tmp_path_factory.mktemp("installed"), film)
    run_all(group("README.md", "Start", 4, 5), clone)
    return clone


@pytest.fixture(scope="module")
def developed(tmp_path_factory: pytest.TempPathFactory, film: Path) -> Clone:
    """Return a clone with what scripts/check installs."""
    clone = Clone(tmp_path_factory.mktemp("developed"), film)
    (clone.directory / ".venv").symlink_to(PROJECT / ".venv")
    return clone


# --- what is run --------------------------------------------------------------------------------------------

HLS = ("docs/control.md", "An HLS encoder beside it")
RUN = {
    ("README.md", "Start"),
    ("docs/callbacks.md", "Try it"),
    ("docs/control.md", "Try it"),
    HLS,
    ("docs/names.md", "Signed tokens"),
    ("docs/tls.md", "To try it out"),
    ("docs/hostile.md", ""),
    ("docs/operations.md", "Start and end"),
    ("docs/operations.md", "Long checks"),
}


def test_the_server_starts_as_the_readme_says(served: Clone) -> None:
    start = [command for number in range(3) for command in group("README.md", "Start", number, 5)]
    assert [Path(command.program).name for command in start] == ["serve", "ffmpeg", "ffplay"]
    run_all(start, served)


def test_the_server_starts_without_the_script(installed: Clone) -> None:
    bare = {"scripts/serve", ".venv/bin/pip", ".venv/bin/python"}  # named, not printed as commands
    shown = [one for one in printed.in_text(PROJECT / "README.md") if one.section == "Start"]
    commands = [command for command in shown if command.line not in bare]
    assert len(commands) >= 5
    for command in commands:
        run_all([command], installed)


def test_the_callback_page_can_be_followed(served: Clone) -> None:
    run_all(of("docs/callbacks.md", "Try it"), served)


def test_the_control_page_can_be_followed(served: Clone) -> None:
    run_all(of("docs/control.md", "Try it") + of(*HLS), served)
    assert (served.directory / "news.m3u8").read_text().endswith("#EXT-X-ENDLIST\n")


def test_the_settings_can_be_checked(served: Clone) -> None:
    run_all(of("docs/operations.md", "Start and end"), served)


def test_the_tokens_can_be_made(served: Clone) -> None:
    file = served.directory / ".env"
    file.write_text("TOKEN_SECRET=a-secret-of-this-test-with-32-bytes\n")
    run_all(of("docs/names.md", "Signed tokens"), served)
    file.unlink()


def test_the_page_about_tls_can_be_followed(served: Clone) -> None:
    run_all(of("docs/tls.md", "To try it out"), served)


@pytest.mark.parametrize("number", range(5))
def test_the_examples_of_the_endpoint_start_as_they_are_printed(served: Clone, number: int) -> None:
    examples = [one for one in printed.in_text(PROJECT / "docs/endpoint.md") if "examples/" in one.line]
    assert len(examples) == 5
    line = examples[number].line
    for placeholder, value in (("DIRECTORY", "."), ("ORIGIN/APP", "127.0.0.1/live")):
        line = line.replace(placeholder, value)
    run_all([Command("docs/endpoint.md", "Examples", line)], served)


@pytest.mark.parametrize("page", [("docs/hostile.md", ""), ("docs/operations.md", "Long checks")])
def test_the_developers_commands_run(developed: Clone, page: tuple[str, str]) -> None:
    run_all(of(*page), developed)


SHORTENED = [
    ("docs/operations.md", "tests.fuzz.run", "--count 1000"),
    (
        "docs/performance.md",
        "scripts/bench --publishers 10",
        "--only ours --players 2 --seconds 1 --rounds 1 --patience 1",
    ),
]


@pytest.mark.parametrize(("page", "start", "shorter"), SHORTENED)
def test_long_commands_run_when_they_are_made_short(
    developed: Clone, page: str, start: str, shorter: str
) -> None:
    (command,) = [one for one in printed.in_blocks(PROJECT / page) if start in one.line]
    running = developed.start(f"{command.line} {shorter}")
    try:
        assert running.ended() == 0, running.lines
    finally:
        running.close()


# --- what is not run ----------------------------------------------------------------------------------------


def test_every_command_is_run_or_marked() -> None:
    commands = [command for path in PAGES for command in printed.in_blocks(path)]
    assert len(commands) > 40
    left = {(one.page, one.section) for one in commands if not one.why_not and one.page not in ELSEWHERE}
    assert left == RUN


def options_of(program: Path) -> set[str]:
    shown = subprocess.run(
        [program, "--help"], capture_output=True, text=True, timeout=ENDS_S, check=True
    ).stdout
    return set(re.findall(r"--[a-z][\w-]*", shown))


def test_what_is_not_run_is_there_and_has_the_options_that_are_printed() -> None:
    every = [one for path in PAGES for one in (*printed.in_blocks(path), *printed.in_text(path))]
    scripts: dict[str, set[str]] = {}
    for command in every:
        name = command.program.removeprefix("build/compiled/")
        if not name.startswith("scripts/") or name.endswith((".sh", "/")):
            continue
        path = PROJECT / name
        if not path.is_file():
            assert path.is_dir() or Path(f"{path}.py").is_file(), command
            continue
        assert os.access(path, os.X_OK) or len(command.words) == 1, command
        wanted = {word for word in command.words[1:] if word.startswith("--")}
        if wanted:
            known = scripts.setdefault(name, options_of(path))
            assert wanted <= known, (command, wanted - known)


def test_what_is_marked_can_be_read_by_a_shell_and_names_files_that_exist() -> None:
    marked = [one for path in PAGES for one in printed.in_blocks(path) if one.why_not]
    assert {one.why_not for one in marked} >= {"Docker"}
    for command in marked:
        subprocess.run([system_tool("sh"), "-n", "-c", command.line], check=True)
        files = [word for word in command.words if re.match(r"(config|docs|examples|tests)/", word)]
        assert [name for name in files if not (PROJECT / name).exists()] == [], command
        if command.program == "docker":
            line = command.line.removeprefix("SITE=live.example.org ")
            run = r"run (-p [\d.:]+ |-[ev] \S+ |--\w+ \S+ )+\w+"
            assert re.match(rf"docker (build -t \w+ \.|{run}|compose -f \S+ (up|exec ))", line)


def test_no_page_wants_a_python_that_debian_does_not_have() -> None:
    bare = re.compile(r"(?:^    |`)(?:[A-Z_]+=\S* )*(?:python|pip3?) .*", re.MULTILINE)
    documented = [*pages(), *PROJECT.glob("examples/*.py")]
    found = {str(path.relative_to(PROJECT)): bare.findall(path.read_text()) for path in documented}
    assert {name: lines for name, lines in found.items() if lines} == {}


def test_a_block_that_is_no_known_command_is_an_error() -> None:
    text = "## A\n\n<!-- not run by the tests: x -->\n\n    scripts/serve --help  # so\n"
    text += "\n    A='b c' ffmpeg -i \\\n        c\n"
    first, second = printed.blocks(text)
    assert printed.commands_of(first, "p") == [Command("p", "A", "scripts/serve --help", "x")]
    (command,) = printed.commands_of(second, "p")
    assert (command.line, command.program, command.why_not) == ("A='b c' ffmpeg -i c", "ffmpeg", "")
    with pytest.raises(ValueError, match="nor anything else"):
        printed.commands_of(printed.Block("", "", "", ["frobnicate --all"]), "p")

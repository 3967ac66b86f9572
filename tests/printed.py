"""The commands that README.md and docs/ print: found in blocks of code and between backquotes.

A block that the tests cannot run is marked on the line before it: <!-- not run by the tests: WHY -->
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

from tests.server_process import PROJECT

MARK = re.compile(r"<!-- not run by the tests: (.+) -->")
FENCE = re.compile(r"```(\w*)")
ASSIGNMENT = re.compile(r"[A-Z_]+=.*")
OURS = re.compile(r"(\./)?(build/compiled/)?(scripts/\w|\.venv[\w-]*/bin/)")
PROGRAMS = frozenset(
    (
        "python3",
        "pip",
        "ffmpeg",
        "ffplay",
        "docker",
        "redis-cli",
        "openssl",
        "certbot",
        "chgrp",
        "chmod",
        "curl",
        "ssh",
    )
)
# How blocks begin that are no commands: log lines, units, manifests, messages, results, arrows of drawings.
NO_COMMANDS = re.compile(
    r"\[[\w:/ -]+\]|https?://|\{\"|apiVersion:|[A-Z]+-REQUEST$|COMMAND>|ok    |.* -> |[A-Z_]+=\S*$|__main__"
)


@dataclass(frozen=True, slots=True)
class Command:
    """One command as it is printed; `why_not` says why no test runs it."""

    page: str
    section: str
    line: str
    why_not: str = ""

    @property
    def words(self) -> list[str]:
        """Return program and arguments, without the variables before them."""
        words = shlex.split(self.line)
        while words and ASSIGNMENT.fullmatch(words[0]):
            del words[0]
        return words

    @property
    def program(self) -> str:
        return self.words[0]


@dataclass(frozen=True, slots=True)
class Block:
    """Lines of code that belong together, in a language ("" if none is named) and with their mark."""

    section: str
    language: str
    mark: str
    lines: list[str]


def blocks(text: str) -> list[Block]:
    """Return the blocks of code of a page, fenced ones and those set off by four blanks."""
    found: list[Block] = []
    section, mark, fence = "", "", False
    open_block: Block | None = None
    for line in text.splitlines():
        if fenced := FENCE.fullmatch(line):
            fence = not fence
            open_block = Block(section, fenced[1], mark, []) if fence else None
            found += [open_block] if open_block else []
            mark = ""
        elif fence or line.startswith("    "):
            if open_block is None:
                found.append(open_block := Block(section, "", mark, []))
                mark = ""
            open_block.lines.append(line if fence else line[4:])
        elif line:
            open_block = None
            if line.startswith("## "):
                section = line.removeprefix("## ")
            if marked := MARK.fullmatch(line):
                mark = marked[1]
        elif open_block is not None:
            open_block = None
    return found


def commands_of(block: Block, page: str) -> list[Command]:
    """Return the commands of a block, none if it holds something else; ValueError if it holds neither."""
    if block.language not in ("", "sh") or NO_COMMANDS.match(block.lines[0].strip()):
        return []
    text = "\n".join(block.lines).replace("\\\n", " ")
    lines = [re.sub(r"\s+#( .*)?$", "", line).strip() for line in text.splitlines() if line.strip()]
    commands = [Command(page, block.section, re.sub(r"\s+", " ", line), block.mark) for line in lines]
    for command in commands:
        if not (OURS.match(command.program) or command.program in PROGRAMS):
            raise ValueError(f"{page}: neither a command that is known nor anything else: {command.line}")
    return commands


def in_blocks(path: Path) -> list[Command]:
    """Return the commands of a page's blocks of code, in order."""
    name = str(path.relative_to(PROJECT))
    return [command for block in blocks(path.read_text()) for command in commands_of(block, name)]


def in_text(path: Path) -> list[Command]:
    """Return the commands between backquotes that run something of the project, in order."""
    name, found, section = str(path.relative_to(PROJECT)), [], ""
    for line in path.read_text().splitlines():
        if line.startswith("## "):
            section = line.removeprefix("## ")
        for code in re.findall(r"`([^`]+)`", line):
            words = shlex.split(code) if OURS.search(code) and "'" not in code else []
            if any(OURS.match(word) for word in words[:2]):
                found.append(Command(name, section, code))
    return found

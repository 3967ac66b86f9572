"""The pages of the documentation, cut into what tests of them need: sections, blocks of code, tables."""

from __future__ import annotations

import re
from pathlib import Path

from tests.server_process import PROJECT

LOG_LINE = re.compile(r"\[\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\] ((?:\[[A-Z:/_#\d]+\] )*)\[([A-Z]+)\] (.+)")
TAIL_OF_A_LINE = re.compile(r"((?:\[[A-Z:/_#\d]+\] )+)\[([A-Z]+)\] (.+)")  # tls.md leaves out the time


def pages() -> list[Path]:
    """Return README, CHANGELOG and everything in docs/."""
    return [PROJECT / "README.md", PROJECT / "CHANGELOG.md", *sorted((PROJECT / "docs").glob("*.md"))]


def page(name: str) -> str:
    """Return the text of a page of docs/."""
    return (PROJECT / "docs" / name).read_text()


def section(text: str, title: str) -> str:
    """Return what stands under a heading of the second level."""
    found = re.search(rf"^## {re.escape(title)}\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    assert found, title
    return found[1]


def fenced(text: str, language: str) -> list[str]:
    """Return the fenced blocks of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def code_lines(text: str) -> list[str]:
    """Return the lines of code that are set off by four blanks or more, without those."""
    without_fenced = re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)
    return [line.strip() for line in without_fenced.splitlines() if line.startswith("    ")]


def assignments(text: str) -> dict[str, str]:
    """Return the lines of code that are `NAME=value` and nothing else."""
    found = (re.fullmatch(r"([A-Z_]+)=(\S*)", line) for line in code_lines(text))
    return {match[1]: match[2] for match in found if match}


def rows(text: str, columns: int) -> list[list[str]]:
    """Return the rows of all tables with so many columns, but for lines between head and body."""
    cells = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in text.splitlines()
        if line.startswith("|") and not line.startswith("|---")
    ]
    return [row for row in cells if len(row) == columns]


def log_lines(text: str) -> list[tuple[str, str, str]]:
    """Return prefixes, level and text of the log lines that are shown."""
    found = [LOG_LINE.fullmatch(line) or TAIL_OF_A_LINE.fullmatch(line) for line in code_lines(text)]
    return [(match[1], match[2], match[3]) for match in found if match]

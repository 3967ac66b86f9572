"""The questions of docs/api.md, asked with curl as they are printed: they are answered as is printed."""

from __future__ import annotations

import importlib
import json
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.api_site import Served, site_of
from tests.media_files import system_tool
from tests.pages import fenced, page, section
from tests.server_process import PROJECT

sys.path.append(str(PROJECT / "scripts"))
description = importlib.import_module("apilib.description")

PORT = 9997  # of the page
ASKED_S = 20
QUESTION = re.compile(r"^### (\w+ \S+)\n(.*?)(?=^### |\Z)", re.MULTILINE | re.DOTALL)
QUESTIONS = QUESTION.findall(section(page("api.md"), "Questions"))


@pytest.fixture
def port() -> Iterator[int]:
    with Served(site_of(description.house())) as served:
        yield served.port


def ask(command: str, port: int) -> str:
    words = shlex.split(command)
    assert words[0] == "curl"
    placed = [word.replace(f":{PORT}/", f":{port}/") for word in words[1:]]
    assert placed != words[1:]
    curl = [system_tool("curl"), "-sS", "--fail-with-body", *placed]
    shown = subprocess.run(curl, capture_output=True, text=True, timeout=ASKED_S)
    assert shown.returncode == 0, (command, shown.stdout, shown.stderr)
    return shown.stdout


@pytest.mark.parametrize(("title", "text"), QUESTIONS, ids=[title for title, _ in QUESTIONS])
def test_a_question_is_answered_as_is_printed(title: str, text: str, port: int) -> None:
    (command,) = fenced(text, "sh")
    answer = json.loads(ask(command, port))
    examples = [json.loads(one) for one in fenced(text, "json")]
    assert examples == ([answer] if title != "GET /v3/openapi.json" else [])


def test_all_questions_are_asked() -> None:
    assert len(QUESTIONS) == 27


def test_a_token_or_a_user_can_be_shown(port: int) -> None:
    (commands,) = fenced(page("api.md").partition("## Questions")[0], "sh")
    assert [json.loads(ask(one, port))["version"] for one in commands.splitlines()] == ["1.0.0"] * 2

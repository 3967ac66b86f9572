"""Whether the program of docs/client.md runs as it is printed, and its table names what there is."""

from __future__ import annotations

import re
import subprocess
import sys

from rtmpsrv import client
from tests.pages import fenced, page
from tests.server_process import ServerProcess, environment


def test_the_program_of_the_page_runs() -> None:
    (program,) = fenced(page("client.md"), "python")
    with ServerProcess() as server:
        placed = program.replace("1935", str(server.port))
        assert placed != program
        command = [sys.executable, "-c", placed]
        done = subprocess.run(
            command, env=environment({}), capture_output=True, text=True, timeout=30, check=True
        )
        assert re.findall(r"^9 (\d+) (\d+)$", done.stdout, re.MULTILINE) == [("0", "12"), ("40", "105")]
        server.check_log()


def test_the_table_names_functions_that_there_are() -> None:
    names = re.findall(r"`(\w+)\(", page("client.md").partition("| | |")[2])
    assert len(names) >= 6
    there = set(dir(client)) | set(dir(client.Client))
    assert set(names) <= there

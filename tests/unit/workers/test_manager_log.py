"""Gunicorn's lines in our log."""

from __future__ import annotations

import io

from rtmpsrv import log
from rtmpsrv.config import Config
from rtmpsrv.workers.manager_log import GunicornLog


def test_lines_of_gunicorn_look_like_ours() -> None:
    stream = io.StringIO()
    log.setup(Config(), stream)
    gunicorn = GunicornLog("first")
    gunicorn.info("Booting worker with pid: %s", 7)
    gunicorn.critical("WORKER TIMEOUT (pid:%s)", 7)
    gunicorn.reopen_files()
    gunicorn.close_on_exec()
    gunicorn.setup("second")
    assert gunicorn.cfg == "second"
    assert [line[22:] for line in stream.getvalue().splitlines()] == [
        "[MANAGER] [INFO] Booting worker with pid: 7",
        "[MANAGER] [ERROR] WORKER TIMEOUT (pid:7)",
    ]

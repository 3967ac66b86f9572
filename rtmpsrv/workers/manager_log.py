"""Gunicorn's lines in our log."""

from __future__ import annotations

from typing import Any

from .. import log


class GunicornLog:
    """What gunicorn expects of its `logger_class`, without files or forms of its own."""

    def __init__(self, cfg: Any) -> None:
        self.cfg = cfg
        logger = log.get("MANAGER")
        self.debug, self.info, self.warning = logger.debug, logger.info, logger.warning
        self.error, self.critical, self.exception = logger.error, logger.error, logger.exception
        self.log = logger.log

    def setup(self, cfg: Any) -> None:
        """Do nothing: the log follows our own settings."""
        self.cfg = cfg

    def reopen_files(self) -> None:
        """Do nothing: there are no files."""

    def close_on_exec(self) -> None:
        """Do nothing, as above."""

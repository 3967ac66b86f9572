"""The process as its supervisor sees it: the file with its number, and what systemd is told."""

from __future__ import annotations

import os

from .pid_file import PidFile
from .systemd import Notifier


class Service:
    """One process that serves, or the manager of several. Nothing here blocks for long."""

    def __init__(self, pid_file: str, notify_address: str) -> None:
        """Take PID_FILE, and the NOTIFY_SOCKET of the environment; both may be empty."""
        self.notifier = Notifier(notify_address)
        self.pid_file = PidFile(pid_file)

    def started(self) -> None:
        """The ports are open. Raises OSError when the file cannot be written, or is another server's."""
        self.pid_file.claim()
        self.notifier.ready()

    def took_over(self) -> None:
        """This process serves in place of the one before. Raises OSError when the file cannot be written."""
        self.notifier.took_over(os.getpid())
        self.pid_file.write()

    def reloading(self) -> None:
        """Settings are about to be read again."""
        self.notifier.reloading()

    def reloaded(self) -> None:
        """That is over."""
        self.notifier.ready()

    def stopping(self) -> None:
        """The end begins."""
        self.notifier.stopping()

    def ended(self) -> None:
        """Nothing is left. Idempotent."""
        self.pid_file.remove()

"""What was looked at, line by line, and whether all of it was as it should be."""

from __future__ import annotations


class Report:
    """Prints each check at once and remembers what failed."""

    def __init__(self) -> None:
        self.failed = 0

    def check(self, good: bool, what: str) -> None:
        self.failed += not good
        print(f"{'ok   ' if good else 'FAIL '} {what}", flush=True)

    def note(self, what: str) -> None:
        """Say what could not be tried here, or is not as in Docker."""
        print(f"note  {what}", flush=True)

"""The server, which kills or stops itself at a step of a succession that a file names, such as `ready kill`.

    python -m tests.doubles.faulty_server

The step is the kind of the message that it is about to send, or `start`, or `committed`. Every process of a
lineage is such a one; the file is removed by the one that obeys it.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from rtmpsrv.__main__ import main  # patches the standard library first
from rtmpsrv.workers import child
from rtmpsrv.workers.before import Before
from rtmpsrv.workers.wire import Wire

FILE = "fault"  # in the working directory
SIGNALS = {"kill": signal.SIGKILL, "stop": signal.SIGSTOP}


def obey(step: object) -> None:
    """Kill or stop this process if the file says so."""
    with suppress(FileNotFoundError):
        named, how = Path(FILE).read_text().split()
        if step == named:
            Path(FILE).unlink()
            os.kill(os.getpid(), SIGNALS[how])


def patch() -> None:
    post, commit = Wire.post, Before.commit

    def posting(wire: Wire, value: object, fds: Sequence[int] = ()) -> bool:
        if isinstance(value, dict):
            obey(value.get("kind"))
        return post(wire, value, fds)

    def committing(before: Before) -> None:
        commit(before)
        obey("committed")

    Wire.post = posting  # type: ignore[assignment, method-assign]
    Before.commit = committing  # type: ignore[assignment, method-assign]


if __name__ == "__main__":
    if child.VARIABLE in os.environ:
        obey("start")
    patch()
    sys.exit(main())

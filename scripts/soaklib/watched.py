"""The server as it is, in a process that tells on SIGUSR1 what is alive in it. Needs SOAK_COUNTS, a path.

To be run by `python -m gevent.monkey`: everything must be patched before it is imported.
"""

from __future__ import annotations

import gc
import json
import os
import signal
import sys
from pathlib import Path

import gevent
from greenlet import greenlet

from rtmpsrv.__main__ import main
from rtmpsrv.live.channel import Channel
from rtmpsrv.live.player import Player
from rtmpsrv.live.segment import Segment
from rtmpsrv.server.session import Session

COUNTED = {"greenlets": greenlet, "sessions": Session, "players": Player, "channels": Channel}


def tell() -> None:
    """Write the counts; the file appears whole."""
    gc.collect()
    # Not `isinstance`: it asks `__class__`, which proxies and dead weak references answer with errors.
    alive = [one for one in gc.get_objects() if issubclass(type(one), (*COUNTED.values(), Segment))]
    counts = {
        name: sum(issubclass(type(one), kind) and not (kind is greenlet and one.dead) for one in alive)
        for name, kind in COUNTED.items()
    }
    segments = [one for one in alive if type(one) is Segment]
    counts |= {"segments": len(segments), "log_bytes": sum(one.size for one in segments)}
    path = Path(os.environ["SOAK_COUNTS"])
    path.with_suffix(".new").write_text(json.dumps(counts))
    path.with_suffix(".new").replace(path)


if __name__ == "__main__":
    gevent.signal_handler(signal.SIGUSR1, tell)
    sys.exit(main([]))

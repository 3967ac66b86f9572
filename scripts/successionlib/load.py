"""The two processes of the load, publishers and players, and how they are started and ended."""

from __future__ import annotations

import gc
import multiprocessing
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection

from benchlib.rtmpclient import ClientError, Target
from benchlib.workers import Worker

from .marks import Shape
from .players import Players
from .publishers import Publishers

PUBLISHERS, PLAYERS = "publishers", "players"
END_S = 5.0


@contextmanager
def started(
    target: Target, tls_target: Target | None, shape: Shape, channels: int
) -> Iterator[dict[str, Worker]]:
    """Run both for the time of the block; they connect when they are told to.

    Enter it before any thread is started: the processes are forked.
    """
    context = multiprocessing.get_context("fork")
    make: dict[str, Callable[[], Publishers | Players]] = {
        PUBLISHERS: lambda: Publishers(target, shape),
        PLAYERS: lambda: Players(target, tls_target, channels),
    }
    processes = []
    workers: dict[str, Worker] = {}
    try:
        for role, maker in make.items():
            ours, theirs = context.Pipe()
            process = context.Process(target=_work, args=(theirs, maker), daemon=True)
            process.start()
            theirs.close()
            processes.append(process)
            workers[role] = Worker(role, process.pid or 0, ours)
        yield workers
    finally:
        for worker in workers.values():
            with suppress(OSError):
                worker.pipe.send(("stop",))
        for process in processes:
            process.join(END_S)
            if process.is_alive():
                process.kill()
                process.join()
        for worker in workers.values():
            worker.pipe.close()


def _work(pipe: Connection, make: Callable[[], Publishers | Players]) -> None:
    """Be one of the processes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # A collection would look like a pause of every player.
    gc.collect()
    gc.freeze()
    gc.disable()
    try:
        make().run(pipe)
    except (ClientError, OSError) as exc:
        with suppress(OSError):  # nobody listens any more
            pipe.send(("error", f"{type(exc).__name__}: {exc}"))
    except EOFError:
        return  # the run was stopped

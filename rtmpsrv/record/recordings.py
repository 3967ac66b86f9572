"""All recordings of one process: which channels are recorded, how long files are kept, what was left before.

It looks once a second at what is on the air, so that rules that change are seen; who begins to publish is
told of at once.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, TypeVar

import gevent
from gevent.event import Event

from rtmpsrv.access.grants import Grant
from rtmpsrv.log import Logger

from .disk import Folder
from .index import DELETED, Entry, line_of, read, shortened, to_delete
from .recorder import CLOSING, Containers, Job, Plan, Recorder
from .recovery import recover
from .threads import Threads

if TYPE_CHECKING:
    from rtmpsrv.live.channel import Channel
    from rtmpsrv.live.registry import Registry

LOOK_EVERY_S: Final = 1.0
TIDY_EVERY_S: Final = 300.0
MAX_LISTED: Final = 10_000
MAX_AT_ONCE: Final = 1000  # files deleted at one look

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Keeping:
    """For how long files are kept, and how much of them. 0: no bound."""

    days: int = 0
    max_bytes: int = 0


class Recordings:
    """Changed in the hub only."""

    def __init__(
        self,
        path: str,
        keeping: Keeping,
        plan_of: Callable[[str], Plan | None],
        by_hand: Plan,
        registry: Registry[str],
        grant_of: Callable[[str], Grant | None],
        done: Callable[[Entry, Grant, str], None],
        containers: Containers,
        log: Logger,
    ) -> None:
        """`plan_of` a channel: None where it is not recorded; `by_hand`: for those that somebody starts.

        `grant_of` who publishes it in this process; `done` is told of each file, with the folder's path.
        """
        self.files = 0  # whole ones
        self.bytes = 0
        self.failures = 0
        self._keeping = keeping
        self._plan_of = plan_of
        self._by_hand = by_hand
        self._registry = registry
        self._grant_of = grant_of
        self._told = done
        self._containers = containers
        self._log = log
        self.folder = Folder(path)
        self._threads = Threads()
        self._running: dict[str, tuple[Recorder, gevent.Greenlet[[], None]]] = {}
        self._decided: dict[str, tuple[Grant, bool]] = {}  # by hand, or by a failure: for a publication
        self._looking: gevent.Greenlet[[], None] | None = None
        self._closed = False
        self._tidy = Event()

    def start(self) -> None:
        """Begin to look. Never blocks."""
        if self._looking is None and not self._closed:
            self._looking = gevent.spawn(self._look_on)

    def published(self, channel: Channel) -> None:
        """Record a channel that somebody begins to publish, if it is to be. Never blocks."""
        grant = self._grant_of(channel.name)
        if grant is not None and not self._closed:
            self._begin(channel, grant)

    def record(self, name: str) -> bool:
        """Record what is published on a channel, whatever the rules say; tell whether it is here."""
        self.start()
        return self._decide(name, True)

    def stop(self, name: str) -> bool:
        """Record it no more, until it is published anew; tell whether it was recorded here."""
        running = self._running.get(name)
        if running is None or not self._decide(name, False):
            return False
        running[0].stop()
        return True

    def entries(self, channel: str = "") -> list[Entry]:
        """Return the files there are, oldest first, of one channel or of all. Blocks for the disk, bounded.

        Raises OSError.
        """
        entries = read(self._threads.call(self.folder.noted)).values()
        return [one for one in entries if not channel or one.channel == channel][-MAX_LISTED:]

    def describe(self) -> dict[str, object]:
        """Return what an operator wants to know."""
        return {
            "files": self.files,
            "bytes": self.bytes,
            "failures": self.failures,
            "running": [recorder.describe() for recorder, _ in self._running.values()],
        }

    def close(self, timeout_s: float) -> bool:
        """Finish all files, for so long at most; tell whether they are. Blocks."""
        self._closed = True
        if self._looking is not None:
            self._looking.kill(timeout=1.0)
        for recorder, _ in self._running.values():
            recorder.stop(CLOSING)
        greenlets = [greenlet for _, greenlet in self._running.values()]
        return len(gevent.joinall(greenlets, timeout=timeout_s)) == len(greenlets)

    # --- private ----------------------------------------------------------------------------------

    def _decide(self, name: str, records: bool) -> bool:
        channel, grant = self._registry.find(name), self._grant_of(name)
        if channel is None or grant is None or self._closed:
            return False
        self._decided[name] = grant, records
        if records:
            self._begin(channel, grant)
        return True

    def _job(self, name: str, grant: Grant) -> Job | None:
        """Return how a publication is recorded, None where it is not."""
        plan = self._plan_of(name)
        decided = self._decided.get(name)
        if decided is None or decided[0].serial != grant.serial:
            self._decided.pop(name, None)
        elif decided[1]:
            plan = plan or self._by_hand
        else:
            plan = None
        return Job(grant, plan) if plan is not None else None

    def _begin(self, channel: Channel, grant: Grant) -> None:
        name = channel.name
        job = self._job(name, grant)
        if job is None or name in self._running:
            return

        def following() -> Job | None:
            found, grant = self._registry.find(name), self._grant_of(name)
            is_on_air = found is channel and channel.live and grant is not None and not self._closed
            return self._job(name, grant) if is_on_air and grant is not None else None

        recorder = Recorder(
            channel, job, self.folder, self._threads, self._containers, self._log, self._done, following
        )
        self._running[name] = recorder, gevent.spawn(lambda: self._run(recorder))

    def _run(self, recorder: Recorder) -> None:
        try:
            recorder.run()
        finally:
            del self._running[recorder.channel]
            if recorder.failed:
                self.failures += 1
                self._decided[recorder.channel] = recorder.grant, False

    def _done(self, entry: Entry, grant: Grant) -> None:
        self.files += 1
        self.bytes += entry.bytes
        self._told(entry, grant, self.folder.path)
        if self._keeping.max_bytes:
            self._tidy.set()

    def look(self) -> None:
        """Begin what is to be recorded, and end what is not any more. Never blocks."""
        for channel in self._registry:
            grant = self._grant_of(channel.name)
            if grant is not None and channel.live:
                self._begin(channel, grant)
        for name in [name for name in self._decided if self._grant_of(name) is None]:
            if name not in self._running:
                del self._decided[name]

    def _look_on(self) -> None:
        """The top of a greenlet."""
        for entry in self._try("what was left", self._recover) or []:
            self._log.info("recording recovered file=%s state=%s", entry.file, entry.state)
        tidied_at = float("-inf")
        while True:
            self.look()
            if self._tidy.is_set() or time.monotonic() - tidied_at > TIDY_EVERY_S:
                self._tidy.clear()
                tidied_at = time.monotonic()
                for entry in self._try("the files", self._delete) or []:
                    self._log.info("recording deleted file=%s bytes=%d", entry.file, entry.bytes)
            self._tidy.wait(LOOK_EVERY_S)

    def _try(self, what: str, work: Callable[[], Result]) -> Result | None:
        """Do something in a thread; nothing depends on it."""
        try:
            return self._threads.call(work)
        except OSError as exc:
            self._log.warning("recordings: %s could not be looked at: %s", what, exc.strerror)
            return None

    def _recover(self) -> list[Entry]:
        """In a thread; a folder that is not there is not made for it."""
        return recover(self.folder) if self.folder.is_there() else []

    def _delete(self) -> list[Entry]:
        """Delete what is too old or too much; in a thread."""
        folder, keeping = self.folder, self._keeping
        if not folder.is_there():
            return []
        entries = read(folder.noted())
        gone = []
        for entry in to_delete(entries, time.time(), keeping.days, keeping.max_bytes)[:MAX_AT_ONCE]:
            folder.remove(entry.file)
            folder.note([line_of(replace(entry, state=DELETED))])
            gone.append(entry)
        folder.rewrite(shortened)
        return gone

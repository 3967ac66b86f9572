"""A channel that is recorded into a folder of its own, and what is in the files."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import gevent

from rtmpsrv import log
from rtmpsrv.access.grants import Grant
from rtmpsrv.media.flv import Tag, TagReader
from rtmpsrv.record.disk import Folder
from rtmpsrv.record.flv_file import FlvFile
from rtmpsrv.record.index import DONE, Entry, read
from rtmpsrv.record.job import Job, Means, Plan
from rtmpsrv.record.recorder import Recorder
from rtmpsrv.record.recovery import Scan
from rtmpsrv.record.take import Form
from rtmpsrv.record.threads import Threads
from tests.unit.live.stage import Stage

PLAN = Plan("flv", "%path/%id", 0, 0)
FORMS = {"flv": Form(FlvFile, FlvFile.resumed)}
GRANT = Grant("channel", "secret", "127.0.0.1", "s1", 1)
PATIENCE_S = 20.0

AnyScan = TypeVar("AnyScan", bound=Scan)


def eventually(condition: Callable[[], object]) -> None:
    """Wait for what threads do. Not in a busy loop, which would keep the interpreter's lock from them."""
    with gevent.Timeout(PATIENCE_S):
        while not condition():
            gevent.sleep(0.001)


class RecordedStage(Stage):
    """What a publisher sends is recorded."""

    def __init__(
        self,
        path: Path,
        plan: Plan = PLAN,
        threads: Threads | None = None,
        forms: dict[str, Form] = FORMS,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.folder = Folder(str(path))
        self.done: list[Entry] = []
        self.jobs: list[Job] = []  # that follow
        self.now = 1000.0
        self.means = Means(
            self.folder, threads or Threads(), Threads(), forms, self.registry.budget, log.get("RECORD"),
            lambda entry, grant: self.done.append(entry), lambda: self.now,
        )  # fmt: skip
        self.record(Job(GRANT, plan))

    def record(self, job: Job) -> None:
        """Begin a recorder."""
        self.recorder = Recorder(self.channel, job, self.means, self._following)
        self.greenlet = gevent.spawn(self.recorder.run)

    def _following(self) -> Job | None:
        return self.jobs.pop(0) if self.jobs else None

    def finished(self) -> list[list[Tag]]:
        """Wait for the end of the recording; return the tags of each file but for its metadata."""
        self.greenlet.get(timeout=PATIENCE_S)
        return [self.tags(entry) for entry in self.done]

    def tags(self, entry: Entry) -> list[Tag]:
        data = (Path(self.folder.path) / entry.file).read_bytes()
        assert len(data) == entry.bytes
        return TagReader().feed(data)[1:]

    def noted(self) -> list[Entry]:
        return list(read(self.folder.noted()).values())

    def reasons(self) -> Iterator[str]:
        return (entry.reason for entry in self.noted() if entry.state == DONE)


def scanned(scan: AnyScan, data: bytes) -> AnyScan:
    """Read a file that was left unfinished, as far as it is whole."""
    while True:
        head = data[scan.size : scan.size + scan.head_bytes]
        size = scan.read(head)
        if not size or scan.size + size > len(data):
            return scan
        scan.taken(head, data[scan.size + len(head) : scan.size + size], size)

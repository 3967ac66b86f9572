"""All recordings of one process: which channels are recorded, and what becomes of each.

It looks once a second at what is on the air, so that rules that change are seen; who begins to publish is
told of at once. Changed in the hub only.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from os.path import splitext
from typing import TYPE_CHECKING, Final, TypeVar

import gevent
from gevent.event import Event

from rtmpsrv.access.grants import Grant
from rtmpsrv.log import Logger

from .caretaker import Caretaker, Keeping
from .disk import Folder
from .index import Entry
from .inheriting import HELD_BYTES, HELD_S, Found, find
from .job import Job, Means, Plan, Running
from .recorder import CLOSING, STOPPED, Recorder
from .recovery import MAX_AT_ONCE
from .take import Carried, Forms
from .threads import Threads
from .troubles import KINDS

if TYPE_CHECKING:
    from rtmpsrv.live.channel import Channel
    from rtmpsrv.live.reading import Reading
    from rtmpsrv.live.registry import Registry

LOOK_EVERY_S: Final = 1.0
TIDY_EVERY_S: Final = 60.0
FINISH_S: Final = 120.0  # for the disk to have all of a file
MAX_LISTED: Final = 10_000

Result = TypeVar("Result")


class Recordings:
    """`files` and `bytes` count what this process has made whole, `failed` recordings by kinds of trouble."""

    def __init__(
        self,
        path: str,
        keeping: Keeping,
        plan_of: Callable[[str], Plan | None],
        by_hand: Callable[[str], Plan],
        registry: Registry[str],
        grant_of: Callable[[str], Grant | None],
        done: Callable[[Entry, Grant, str], None],
        forms: Forms,
        log: Logger,
    ) -> None:
        """`plan_of` a channel: None where it is not recorded; `by_hand`: in a format, "" for the usual one.

        `grant_of` who publishes it in this process; `done` is told of each file, with the folder's path.
        """
        self.files = 0
        self.bytes = 0
        self.failed = dict.fromkeys(KINDS, 0)
        self.folder = Folder(path)
        self._plan_of = plan_of
        self._by_hand = by_hand
        self._registry = registry
        self._grant_of = grant_of
        self._told = done
        self._log = log
        self._forms = forms
        finishers = Threads(FINISH_S)
        self._means = Means(self.folder, Threads(), finishers, forms, registry.budget, log, self._done)
        self._caretaker = Caretaker(self.folder, keeping)
        self._index = Threads(size=1)  # for the caretaker and its ledger
        self._running: dict[str, tuple[Recorder, gevent.Greenlet[[], None]]] = {}
        self._decided: dict[
            str, tuple[Grant, Plan | None]
        ] = {}  # by hand, or by a failure: for a publication
        self._errors: dict[str, tuple[Grant, str]] = {}
        self._finding: set[str] = set()  # channels that have just come from another process
        self._looking: gevent.Greenlet[[], None] | None = None
        self._closed = False
        self._is_to_tidy = Event()
        self._deletes_by_size = keeping.max_bytes > 0

    def begin(self) -> None:
        """Begin to look. Idempotent, never blocks."""
        if self._looking is None and not self._closed:
            self._looking = gevent.spawn(self._look_on)

    def published(self, channel: Channel) -> None:
        """Record a channel that somebody begins to publish, or goes on with, if it is to be. Never blocks."""
        grant, output, name = self._grant_of(channel.name), channel.output, channel.name
        if grant is None or output is None or self._closed or name in self._running or name in self._finding:
            return
        if not output.log.end:
            self._begin(channel, grant)
            return
        # Others have had it: a process before this one may have recorded it, up to a place in its log.
        held = channel.subscribe(lambda: None, (output.publication, output.log.begin))
        held.allow(HELD_BYTES, HELD_S, gives_way=False)
        self._finding.add(name)
        gevent.spawn(lambda: self._inherit(channel, grant, held))

    # --- by hand ----------------------------------------------------------------------------------

    def start(self, name: str, form: str = "") -> bool:
        """Record what is published on a channel, whatever the rules say; tell whether it is here.

        In a format, "" for the usual one; what is recorded already goes on as it is. Raises ValueError for
        a format that there is not. Never blocks.
        """
        if form and form not in self._forms:
            raise ValueError(f"the format must be one of {', '.join(self._forms)}")
        plan = self._plan_of(name)
        if plan is None or form:
            plan = self._by_hand(form)
        self.begin()
        return self._decide(name, plan)

    def stop(self, name: str) -> bool:
        """Record it no more, until it is published anew; tell whether it was recorded here. Never blocks."""
        running = self._running.get(name)
        if running is None or not self._decide(name, None):
            return False
        running[0].stop()
        return True

    def entries(self, channel: str = "") -> list[Entry]:
        """Return the newest files there are, oldest first, of one channel or of all. Blocks, bounded.

        Raises OSError.
        """
        return self._index.call(self._caretaker.ledger.of, channel, MAX_LISTED)

    def running(self, channel: str) -> Running | None:
        """Return what is recorded of a channel now; None for nothing."""
        found = self._running.get(channel)
        return found[0].running() if found is not None else None

    @property
    def running_count(self) -> int:
        """How many channels are recorded."""
        return len(self._running)

    def error(self, channel: str) -> str:
        """Return why what is published on a channel now is recorded no more; "" where nothing failed."""
        grant, found = self._grant_of(channel), self._errors.get(channel)
        return found[1] if found is not None and grant is not None and found[0].serial == grant.serial else ""

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

    def _decide(self, name: str, plan: Plan | None) -> bool:
        channel, grant = self._registry.find(name), self._grant_of(name)
        if channel is None or grant is None or self._closed:
            return False
        self._decided[name] = grant, plan
        self._errors.pop(name, None)
        if plan is not None:
            self._begin(channel, grant)
        return True

    def _job(self, name: str, grant: Grant) -> Job | None:
        """Return how a publication is recorded, None where it is not."""
        decided = self._decided.get(name)
        if decided is not None and decided[0].serial == grant.serial:
            plan = decided[1]
        else:
            self._decided.pop(name, None)
            plan = self._plan_of(name)
        return Job(grant, plan) if plan is not None else None

    def _begin(self, channel: Channel, grant: Grant, carried: Carried | None = None) -> None:
        name = channel.name
        job = self._job(name, grant)
        if job is None or name in self._running or name in self._finding:
            return

        def following() -> Job | None:
            found, grant = self._registry.find(name), self._grant_of(name)
            is_on_air = found is channel and channel.live and grant is not None and not self._closed
            return self._job(name, grant) if is_on_air and grant is not None else None

        recorder = Recorder(channel, replace(job, carried=carried), self._means, following)
        self._running[name] = recorder, gevent.spawn(lambda: self._run(recorder))

    def _run(self, recorder: Recorder) -> None:
        """The top of a greenlet."""
        try:
            recorder.run()
        finally:
            name, grant = recorder.channel, recorder.grant
            del self._running[name]
            if recorder.failed:
                self.failed[recorder.trouble] += 1
                self._decided[name] = grant, None
                self._errors[name] = grant, recorder.failed

    def _inherit(self, channel: Channel, grant: Grant, held: Reading) -> None:
        """Go on with what another process recorded of a channel. The top of a greenlet."""
        name, found = channel.name, Found(None, None)
        try:
            found = find(channel, self._caretaker.ledger, self._index)
        except OSError as exc:
            self._log.warning("recordings: what was left of channel=%s is not known: %s", name, exc.strerror)
        except Exception:  # noqa: BLE001 - a bug of ours: it is recorded as if it were new
            self._log.exception("recordings: channel=%s", name)
        finally:
            self._finding.discard(name)
        carried, ended = found
        if carried is not None and not self._closed:
            self._decided[name] = grant, self._as_before(name, carried)
            self._begin(channel, grant, carried)  # also if it is over by now
        elif self._grant_of(name) is grant and not self._closed:
            if ended is not None and ended.stream_id == grant.stream_id and ended.reason == STOPPED:
                self._decided[name] = grant, None
            self._begin(channel, grant)
        else:
            self.published(channel)
        held.close()

    def _as_before(self, name: str, carried: Carried) -> Plan:
        """Return the plan with which a file goes on."""
        plan, form = self._plan_of(name), splitext(carried.entry.file)[1][1:]
        return plan if plan is not None and plan.format == form else self._by_hand(form)

    def _done(self, entry: Entry, grant: Grant) -> None:
        self.files += 1
        self.bytes += entry.bytes
        self._told(entry, grant, self.folder.path)
        if self._deletes_by_size:
            self._is_to_tidy.set()

    def look(self) -> None:
        """Begin what is to be recorded. Never blocks."""
        for channel in list(self._registry):
            grant = self._grant_of(channel.name)
            if grant is not None and channel.live:
                self._begin(channel, grant)
        for known in (self._decided, self._errors):
            for name in [name for name in known if self._grant_of(name) is None]:
                if name not in self._running:
                    del known[name]

    def _look_on(self) -> None:
        """The top of a greenlet."""
        tidied_at = float("-inf")
        while True:
            try:
                self.look()
                if self._is_to_tidy.is_set() or time.monotonic() - tidied_at > TIDY_EVERY_S:
                    self._is_to_tidy.clear()
                    tidied_at = time.monotonic()
                    self._tidy()
            except Exception:  # noqa: BLE001 - a bug of ours: it is tried again
                self._log.exception("recordings could not be looked after")
            self._is_to_tidy.wait(LOOK_EVERY_S)

    def _tidy(self) -> None:
        recovered = self._try("what was left", self._caretaker.recover) or []
        if len(recovered) >= MAX_AT_ONCE:
            self._is_to_tidy.set()
        for entry in recovered:
            self._log.info("recording recovered file=%s state=%s", entry.file, entry.state)
        for entry in self._try("the files", self._caretaker.delete) or []:
            self._log.info("recording deleted file=%s bytes=%d", entry.file, entry.bytes)

    def _try(self, what: str, work: Callable[[], Result]) -> Result | None:
        """Do something in a thread; nothing depends on it."""
        try:
            return self._index.call(work)
        except OSError as exc:
            self._log.warning("recordings: %s could not be looked at: %s", what, exc.strerror)
            return None

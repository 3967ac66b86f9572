"""Writes what one channel is sent into files, until its publication is over. A greenlet of its own.

It reads the channel as a player does and may fall behind only so far: a disk that is too slow, or full, ends
the recording, never the stream.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import gevent
from gevent.event import Event

from rtmpsrv.access.grants import Grant
from rtmpsrv.errors import MediaBusy, MediaLost, MediaRefused
from rtmpsrv.live.budget import LOG
from rtmpsrv.live.reading import NOWHERE, Batch, Lost, Message, Over, Reading
from rtmpsrv.live.segment import AUDIO, DATA, HEADER, KEYFRAME, VIDEO
from rtmpsrv.protocol import messages

from . import take as files
from .flv_file import Headers
from .index import RECORDING, Entry
from .job import Job, Means, Running
from .names import path_of
from .recovery import put_in_order
from .take import BY_HEADERS, BY_JUMP, Carried, Take
from .threads import TooSlow
from .troubles import INTERNAL, TooFarBehind, TooManyFiles, kind_of, sentence_of

if TYPE_CHECKING:
    from rtmpsrv.live.channel import Channel

LOOK_EVERY_S: Final = 0.25  # at what was sent: one look for many flushes
WRITE_EVERY_S: Final = 0.5  # what a crash may cost
BLOCK_BYTES: Final = 1 << 19  # written at once
MESSAGES_AT_ONCE: Final = 16  # taken in one turn: a fraction of a millisecond
LAG_BYTES: Final = 32 << 20  # how far it may be behind: the disk may pause for some seconds
LAG_S: Final = 15.0
SHORT_S: Final = 2.0  # a file of less, that ended because the stream changed
MAX_REFUSED: Final = 3  # files one after the other
AGAIN_S: Final = 5.0
MAX_SHORT: Final = 30  # of these one after the other

OVER, STOPPED, CLOSING, GONE_ON = "the publication ended", "stopped", "server is shutting down", "moved"


class Recorder:
    """Records the publications of a channel, one after the other, as long as somebody says so."""

    def __init__(self, channel: Channel, job: Job, means: Means, following: Callable[[], Job | None]) -> None:
        """`following` is asked when a publication is over."""
        self.channel = channel.name
        self.grant = job.grant
        self.failed = ""  # why it could not go on
        self.trouble = ""  # and its kind
        self.files = 0
        self._plan = job.plan
        self._carried = job.carried
        self._means = means
        self._log = means.log
        self._following = following
        self._since = means.clock()
        self._wake = Event()
        self._ending = Event()
        self._why = STOPPED
        self._take: Take | None = None
        self._finishing: gevent.Greenlet[[], Exception | None] | None = None
        self._written_at = time.monotonic()
        self._short = 0
        self._refused, self._not_before = 0, 0.0
        self._counted = 0  # bytes, in the budget
        place = job.carried.place if job.carried is not None else NOWHERE
        self._subscribe: Callable[..., Reading] = channel.subscribe
        self._reading = self._subscribed(place)

    def stop(self, reason: str = STOPPED) -> None:
        """End it with what was sent so far. Never blocks."""
        self._why = reason
        self._ending.set()
        self._wake.set()

    def running(self) -> Running:
        """Return what an operator wants to know."""
        take = self._take
        return {
            "channel": self.channel,
            "stream_id": self.grant.stream_id,
            "file": take.file.name if take is not None else "",
            "format": self._plan.format,
            "since": take.entry.start if take is not None else self._since,
            "seconds": take.times.end_ms / 1000 if take is not None else 0.0,
            "bytes": take.size if take is not None else 0,
            "files": self.files,
        }

    def run(self) -> None:
        """Record until the publication is over, or until it is stopped. The top of a greenlet."""
        try:
            if self._carried is not None:
                self._go_on(self._carried)
            while True:
                reason = self._record()
                if reason == GONE_ON:
                    self._leave()
                else:
                    self._finish(reason)
                job = self._following() if reason == OVER else None
                if job is None:
                    self._settle()
                    return
                self.grant, self._plan = job.grant, job.plan
        except (OSError, TooFarBehind, TooManyFiles, MediaRefused, MediaLost) as exc:
            self.trouble, self.failed = kind_of(exc), sentence_of(exc)
            self._log.error("recording ended channel=%s: %s", self.channel, self.failed)
            self._save_what_is_there(tries_more=not isinstance(exc, OSError))
        except Exception as exc:  # noqa: BLE001 - a bug of ours: the stream goes on
            self.trouble, self.failed = INTERNAL, sentence_of(exc)
            self._log.exception("recording ended channel=%s", self.channel)
            self._save_what_is_there()
        finally:
            self._reading.close()
            self._count(0)

    # --- private ----------------------------------------------------------------------------------

    def _subscribed(self, place: tuple[int, int] = NOWHERE) -> Reading:
        reading = self._subscribe(self._wake.set, place)
        reading.allow(LAG_BYTES, LAG_S, gives_way=False)
        return reading

    def _record(self) -> str:
        """Return why it is over."""
        while True:
            self._wake.wait(WRITE_EVERY_S)
            self._wake.clear()
            reading = self._reading
            headers = reading.headers
            while (item := reading.read(MESSAGES_AT_ONCE)) is not None:
                if isinstance(item, Over):
                    return OVER
                if isinstance(item, Lost):
                    raise TooFarBehind(f"the disk or this machine is too slow: {item.messages} messages lost")
                if isinstance(item, Batch):
                    self._means.pace.wait()
                    self._add(item.messages, headers)
                headers = reading.headers
            if reading.is_closed:
                return GONE_ON
            if self._ending.is_set():
                return self._why
            take = self._take
            if take is not None and time.monotonic() - self._written_at >= WRITE_EVERY_S:
                self._write(take)
            self._ending.wait(LOOK_EVERY_S)

    def _add(self, batch: list[Message], headers: Headers) -> None:
        take = self._take
        if take is not None and not take.container.goes_on(headers):
            take.want_next(BY_HEADERS)
        for message in batch:
            try:
                self._message(message, headers)
            except (MediaRefused, MediaLost) as exc:
                self._begin_anew(exc)
        take = self._take
        if take is not None:
            self._count(take.held)
            if take.size - take.file.size >= BLOCK_BYTES:
                self._write(take)

    def _begin_anew(self, exc: MediaRefused | MediaLost) -> None:
        """Try another file later on: what a stream begins with may be broken, and what follows not."""
        self._refused += not isinstance(exc, MediaBusy)
        if self._refused >= MAX_REFUSED or self._take is None:
            raise exc
        self._log.warning("recording channel=%s is tried again: %s", self.channel, exc)
        self._drop(self._take)
        self._not_before = time.monotonic() + AGAIN_S

    def _message(self, message: Message, headers: Headers) -> None:
        type_id, flags, timestamp, payload, _arrival = message
        take = self._take
        starts = False
        kind = flags & (AUDIO | VIDEO | DATA)
        is_media = flags & (AUDIO | VIDEO) and not flags & HEADER
        if is_media:
            has_video = any(one == messages.VIDEO for one, _ in headers) or flags & VIDEO
            starts = bool(flags & KEYFRAME) or not has_video
            bounds = self._plan.segment_ms, self._plan.segment_bytes
            if take is not None and starts and (why := take.ends(*bounds, kind, timestamp)):
                self._finish(why)
                take = None
            if flags & VIDEO and not flags & KEYFRAME and (take is None or not take.has_keyframe):
                return  # nobody could decode it
            if take is None and time.monotonic() < self._not_before:
                return
            if take is None:
                take = self._begin(headers)
            take.has_keyframe = take.has_keyframe or bool(flags & VIDEO)
        elif take is None:
            return  # the next file begins with it
        if is_media:
            at, jumped = take.times.place(kind, timestamp)
            if jumped:
                take.want_next(BY_JUMP)
        else:
            at = take.times.end_ms
        written = take.container.frame(type_id, at, payload)
        if written is not None:
            take.add(written)
            return
        self._finish(BY_HEADERS)
        if is_media and starts:
            self._message(message, headers)

    def _begin(self, headers: Headers) -> Take:
        """Begin a file. Blocks, as all that asks the disk."""
        means, plan, now = self._means, self._plan, self._means.clock()
        container = means.forms[plan.format].new(headers)
        name = path_of(plan.pattern, self.channel, self.grant.stream_id, now)
        entry = Entry(RECORDING, name, self.channel, self.grant.stream_id, start=now)
        file = means.threads.call(files.create, means.folder, name, container.suffix, entry)
        take = self._take = Take(file, container, replace(entry, file=file.name))
        take.add(container.begin(headers, self._reading.metadata))
        self.files += 1
        self._log.info("recording channel=%s file=%s", self.channel, file.name)
        return take

    def _write(self, take: Take) -> None:
        blocks, take.waiting = take.waiting, []
        if not blocks:
            return
        self._written_at = time.monotonic()
        means = self._means
        try:
            means.threads.call_or(take.file.close, means.folder.write, take.file, blocks)
        except TooSlow:
            self._take = None  # it stays as it is until it is put in order
            raise
        self._count(take.held)

    def _finish(self, reason: str) -> None:
        """Make a file whole that is written."""
        take = self._take
        if take is None:
            return
        take.add(take.container.end())
        self._write(take)
        if take.file.size:
            self._close(take, reason)
        else:
            self._drop(take)
        is_short = reason in (BY_HEADERS, BY_JUMP) and self._means.clock() - take.entry.start < SHORT_S
        self._short = self._short + 1 if is_short else 0
        if self._short >= MAX_SHORT:
            raise TooManyFiles(f"the stream changed {MAX_SHORT} times, each within {SHORT_S:g} s of the last")

    def _close(self, take: Take, reason: str) -> None:
        self._settle()
        self._take, self._refused = None, 0
        entry, grant = take.done(reason, self._means.clock()), self.grant
        self._finishing = gevent.spawn(lambda: self._made_whole(take, entry, grant))

    def _made_whole(self, take: Take, entry: Entry, grant: Grant) -> Exception | None:
        """Finish a file while the next one is written: a disk may take long to have all. A greenlet's top."""
        means = self._means
        patches = take.container.patches(take.times.end_ms, take.file.size)
        try:
            means.finishers.call(files.finish, means.folder, take.file, patches, entry)
            self._log.info(
                "recorded channel=%s file=%s seconds=%.1f bytes=%d reason=%s%s",
                entry.channel, entry.file, entry.seconds, entry.bytes, entry.reason, take.lost,
            )  # fmt: skip
            means.done(entry, grant)
        except Exception as exc:  # noqa: BLE001 - raised by `_settle`
            return exc
        return None

    def _settle(self) -> None:
        """Wait until the last file is finished. Raises what went wrong."""
        finishing, self._finishing = self._finishing, None
        exc = finishing.get() if finishing is not None else None
        if exc is not None:
            raise exc

    def _drop(self, take: Take) -> None:
        self._take = None
        self._means.threads.call(files.drop, self._means.folder, take.file, take.entry)

    def _save_what_is_there(self, tries_more: bool = False) -> None:
        """Give a file that could not go on its name: what was written is whole."""
        take = self._take
        try:
            if take is not None:
                if tries_more:
                    self._write(take)
                if take.file.size:
                    self._close(take, self.failed)
                else:
                    self._drop(take)
            self._settle()
        except OSError as exc:
            self._log.error("recording not finished channel=%s: %s", self.channel, sentence_of(exc))

    # --- to and from another process ----------------------------------------------------------------

    def _leave(self) -> None:
        """Let another process go on with the file, or finish it where none can."""
        take = self._take
        if take is None:
            return
        data, container = take.container.leave()
        take.add(data)
        if container is None:
            self._finish(GONE_ON)
            return
        self._write(take)
        self._take = None
        entry = take.left(self._reading.place, self._means.clock(), container)
        self._means.threads.call(files.leave, self._means.folder, take.file, entry)
        self._log.info("recording left to another process channel=%s file=%s", self.channel, entry.file)

    def _go_on(self, carried: Carried) -> None:
        """Go on with a file; or let it be as it is, and begin with the newest keyframe."""
        means, entry, reading = self._means, carried.entry, self._reading
        if reading.place == carried.place and reading.position == carried.place[1]:  # it is there
            form = means.forms[self._plan.format]
            self._take = means.threads.call(files.take_up, means.folder, carried, form, reading.headers)
        if self._take is not None:
            self.files += 1
            self._log.info("recording goes on channel=%s file=%s", self.channel, entry.file)
            return
        self._log.warning(
            "recording goes on in another file than channel=%s file=%s", self.channel, entry.file
        )
        means.threads.call(put_in_order, means.folder, entry)
        self._reading = self._subscribed()
        reading.close()
        if self._reading.place == NOWHERE:  # nobody publishes any more
            self.stop(OVER)

    def _count(self, held: int) -> None:
        if held != self._counted:
            self._means.memory.change(LOG, held - self._counted)
            self._counted = held

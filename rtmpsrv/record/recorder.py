"""Writes what one channel is sent into files, until its publication is over. A greenlet of its own.

It reads the channel as a player does and may fall behind as far as one: a disk that is too slow, or full,
ends the recording, never the stream.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, Protocol

from gevent.event import Event

from rtmpsrv.access.grants import Grant
from rtmpsrv.errors import MediaLost, MediaRefused
from rtmpsrv.live.reading import Batch, Lost, Message, Over, Reading
from rtmpsrv.live.segment import AUDIO, DATA, HEADER, KEYFRAME, VIDEO
from rtmpsrv.log import Logger

from .disk import Folder, OpenFile
from .flv_file import Headers
from .index import DELETED, DONE, RECORDING, Entry, line_of
from .names import path_of
from .threads import Threads, TooSlow
from .timeline import Timeline

if TYPE_CHECKING:
    from rtmpsrv.live.channel import Channel

LOOK_EVERY_S: Final = 0.25  # at what was sent: one look for many flushes
WRITE_EVERY_S: Final = 0.5  # what a crash may cost
BLOCK_BYTES: Final = 1 << 19  # written at once
MAX_FILE_MS: Final = 20 * 24 * 3600 * 1000  # times of FLV have 31 bits

OVER, STOPPED, CLOSING, MOVED = "the publication ended", "stopped", "server is shutting down", "moved"
BY_TIME, BY_SIZE, BY_HEADERS, BY_JUMP = "time", "size", "other headers", "a jump of time"


class Container(Protocol):
    """How messages become the bytes of a file; `FlvFile` has the words."""

    suffix: str

    def begin(self, headers: Headers, metadata: tuple[bytes, ...]) -> bytes: ...
    def frame(self, type_id: int, time_ms: int, payload: bytes) -> bytes | None: ...
    def end(self) -> bytes: ...
    def goes_on(self, headers: Headers) -> bool: ...
    def patches(self, end_ms: int, size: int) -> list[tuple[int, bytes]]: ...


@dataclass(frozen=True, slots=True)
class Plan:
    """How a channel is recorded."""

    format: str
    pattern: str
    segment_ms: int  # 0: not cut by time
    segment_bytes: int  # 0: not cut by size


@dataclass(frozen=True, slots=True)
class Job:
    """One publication, and how it is recorded."""

    grant: Grant
    plan: Plan


Containers = dict[str, Callable[[Headers], Container]]


class Failed(Exception):
    """The recording cannot go on; the text says why."""


class _Take:
    """One file while it is written."""

    __slots__ = ("_wanted", "container", "entry", "file", "has_keyframe", "size", "times", "waiting")

    def __init__(self, file: OpenFile, container: Container, entry: Entry) -> None:
        self.file = file
        self.container = container
        self.entry = entry
        self.times = Timeline()
        self.waiting: list[bytes] = []  # not written yet
        self.size = 0  # all, what waits included
        self.has_keyframe = False
        self._wanted = ""  # why another file is to follow

    def add(self, data: bytes) -> None:
        self.waiting.append(data)
        self.size += len(data)

    def want_next(self, why: str) -> None:
        self._wanted = self._wanted or why

    def ends(self, plan: Plan) -> str:
        """Say why it ends here, at a place where another may begin; "" where it does not."""
        if not self._wanted and self.times.end_ms >= min(plan.segment_ms or MAX_FILE_MS, MAX_FILE_MS):
            return BY_TIME
        if not self._wanted and plan.segment_bytes and self.size >= plan.segment_bytes:
            return BY_SIZE
        return self._wanted


class Recorder:
    """Records the publications of a channel, one after the other, as long as somebody says so."""

    def __init__(
        self,
        channel: Channel,
        job: Job,
        folder: Folder,
        threads: Threads,
        containers: Containers,
        log: Logger,
        done: Callable[[Entry, Grant], None],
        following: Callable[[], Job | None],
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`done` is told of each file that is whole; `following` is asked when a publication is over."""
        self.channel = channel.name
        self.grant = job.grant
        self.failed = ""  # why it could not go on
        self.files = 0
        self._plan = job.plan
        self._folder = folder
        self._threads = threads
        self._containers = containers
        self._log = log
        self._done = done
        self._following = following
        self._clock = clock
        self._wake = Event()
        self._ending = Event()
        self._why = STOPPED
        self._take: _Take | None = None
        self._written_at = time.monotonic()
        self._reading: Reading = channel.subscribe(self._wake.set)

    def stop(self, reason: str = STOPPED) -> None:
        """End it with what was sent so far. Never blocks."""
        self._why = reason
        self._ending.set()
        self._wake.set()

    def describe(self) -> dict[str, object]:
        """Return what an operator wants to know."""
        take = self._take
        return {
            "channel": self.channel,
            "stream_id": self.grant.stream_id,
            "file": take.file.name if take is not None else "",
            "bytes": take.size if take is not None else 0,
            "seconds": take.times.end_ms / 1000 if take is not None else 0.0,
            "files": self.files,
        }

    def run(self) -> None:
        """Record until the publication is over, or until it is stopped. The top of a greenlet."""
        log = self._log
        try:
            while True:
                reason = self._record()
                self._finish(reason)
                job = self._following() if reason == OVER else None
                if job is None:
                    return
                self.grant, self._plan = job.grant, job.plan
        except (OSError, Failed, MediaRefused, MediaLost) as exc:
            self.failed = (exc.strerror or "the disk failed") if isinstance(exc, OSError) else str(exc)
            self._log.error("recording ended channel=%s: %s", self.channel, self.failed)
            self._save_what_is_there(tries_more=not isinstance(exc, OSError))
        except Exception:  # a bug of ours: the stream goes on
            self.failed = "an error of the server"
            log.exception("recording ended channel=%s", self.channel)
            self._save_what_is_there()
        finally:
            self._reading.close()

    def _record(self) -> str:
        """Return why it is over."""
        reading = self._reading
        while True:
            self._wake.wait(WRITE_EVERY_S)
            self._wake.clear()
            headers = reading.headers
            while (item := reading.read()) is not None:
                if isinstance(item, Over):
                    return OVER
                if isinstance(item, Lost):
                    raise Failed(f"the disk is too slow: {item.messages} messages could not be kept")
                if isinstance(item, Batch):
                    self._headers(headers)
                    for message in item.messages:
                        self._message(message, headers)
                    if self._take is not None and self._take.size - self._take.file.size >= BLOCK_BYTES:
                        self._write(self._take)
                headers = reading.headers
            if reading.is_closed:
                return MOVED
            if self._ending.is_set():
                return self._why
            if self._take is not None and time.monotonic() - self._written_at >= WRITE_EVERY_S:
                self._write(self._take)
            self._ending.wait(LOOK_EVERY_S)

    def _headers(self, headers: Headers) -> None:
        if self._take is not None and not self._take.container.goes_on(headers):
            self._take.want_next(BY_HEADERS)

    def _message(self, message: Message, headers: Headers) -> None:
        type_id, flags, timestamp, payload, _arrival = message
        take = self._take
        starts = False
        is_media = flags & (AUDIO | VIDEO) and not flags & HEADER
        if is_media:
            has_video = any(one == _VIDEO_TYPE for one, _ in headers) or flags & VIDEO
            starts = bool(flags & KEYFRAME) or not has_video
            if take is not None and starts and (why := take.ends(self._plan)):
                self._finish(why)
                take = None
            if flags & VIDEO and not flags & KEYFRAME and (take is None or not take.has_keyframe):
                return  # nobody could decode it
            if take is None:
                take = self._begin(headers)
            take.has_keyframe = take.has_keyframe or bool(flags & VIDEO)
        elif take is None:
            return  # the next file begins with it
        kind = flags & (AUDIO | VIDEO | DATA)
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

    def _begin(self, headers: Headers) -> _Take:
        """Begin a file. Blocks, as all that asks the disk."""
        container = self._containers[self._plan.format](headers)
        now = self._clock()
        name = path_of(self._plan.pattern, self.channel, self.grant.stream_id, now)
        entry = Entry(RECORDING, name, self.channel, self.grant.stream_id, start=now)
        file = self._threads.call(_create, self._folder, name, container.suffix, entry)
        take = self._take = _Take(file, container, _with_file(entry, file.name))
        take.add(container.begin(headers, self._reading.metadata))
        self.files += 1
        self._log.info("recording channel=%s file=%s", self.channel, file.name)
        return take

    def _write(self, take: _Take) -> None:
        blocks, take.waiting = take.waiting, []
        self._written_at = time.monotonic()
        if not blocks:
            return
        try:
            self._threads.call_or(take.file.close, self._folder.write, take.file, blocks)
        except TooSlow:
            self._take = None  # it stays as it is until the server starts again
            raise

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

    def _close(self, take: _Take, reason: str) -> None:
        self._take = None
        patches = take.container.patches(take.times.end_ms, take.file.size)
        before = take.entry
        entry = Entry(
            DONE, take.file.name, before.channel, before.stream_id, before.start, self._clock(),
            take.times.end_ms / 1000, take.file.size, reason,
        )  # fmt: skip
        self._threads.call(_finish, self._folder, take.file, patches, entry)
        self._log.info(
            "recorded channel=%s file=%s seconds=%.1f bytes=%d reason=%s",
            entry.channel, entry.file, entry.seconds, entry.bytes, reason,
        )  # fmt: skip
        self._done(entry, self.grant)

    def _drop(self, take: _Take) -> None:
        self._take = None
        self._threads.call(_drop, self._folder, take.file, take.entry)

    def _save_what_is_there(self, tries_more: bool = False) -> None:
        """Give a file that could not go on its name: what was written is whole."""
        take = self._take
        if take is None:
            return
        try:
            if tries_more:
                self._write(take)
            if take.file.size:
                self._close(take, self.failed)
            else:
                self._drop(take)
        except OSError as exc:
            self._log.error("recording not finished file=%s: %s", take.file.name, exc.strerror)


_VIDEO_TYPE: Final = 9


def _with_file(entry: Entry, name: str) -> Entry:
    return replace(entry, file=name)


def _create(folder: Folder, name: str, suffix: str, entry: Entry) -> OpenFile:
    """Make a file and note it; in a thread."""
    file = folder.create(name, suffix)
    folder.note([line_of(_with_file(entry, file.name))])
    return file


def _finish(folder: Folder, file: OpenFile, patches: list[tuple[int, bytes]], entry: Entry) -> None:
    """Finish a file and note that; in a thread."""
    folder.finish(file, patches)
    folder.note([line_of(entry)])


def _drop(folder: Folder, file: OpenFile, entry: Entry) -> None:
    """Remove a file that holds nothing, and note that; in a thread."""
    folder.drop(file)
    folder.note([line_of(replace(entry, state=DELETED))])

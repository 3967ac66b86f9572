"""Asks the server, once a second if channels are few, for all pages that are open; tells each what changed.

One greenlet for all listeners; none while there are none.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping
from time import monotonic, thread_time, time

import gevent
from gevent.event import Event
from gevent.queue import Empty, Full, Queue

from rtmpsrv.monitor.values import ChannelValue, ProcessValue

from .depth import NOTHING, Depths, View
from .picture import Lately, Rates, Row, changes, channel_row, event_row, same_blocks, server_row
from .source import Seen, Source
from .verdict import Verdicts

log = logging.getLogger(__name__)

EVERY_S = 1.0
CHANNEL_S = 0.02  # for each channel, which takes some 0.3 ms of a core where nothing is compiled
LONGEST_S = 3.0  # by number; longer only where a look costs more than its share
SHARE = 0.05  # of a core, the most that looks take here; those who answer work about as much for them
LATE_S = 1.5  # for an answer; then pages are told that it is waited for
LISTENERS = 32
WAITING_MESSAGES = 16  # of a listener that does not read; then it is dropped, and may come again
SHARED_S = 1.0  # what pages were told is so long good enough for whoever else counts all channels
COMMENT_S = 15.0  # a proxy's shortest patience is longer
RETRY_MS = 1000


def every_s(channels: int, cost_s: float) -> float:
    """Return the time from one look to the next, by what a look costs: it grows with the channels.

    The processor time of the last one, `cost_s`, counts where that is more than the number lets expect.
    """
    return max(EVERY_S, min(LONGEST_S, CHANNEL_S * channels), cost_s / SHARE)


class Listener:
    """One open page. Its queue holds bytes that all listeners share."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.view = NOTHING
        self.view_is_new = False
        self.has_picture = False
        self.dropped = False
        self._waiting: Queue[bytes | None] = Queue(WAITING_MESSAGES)

    def tell(self, message: bytes | None) -> None:
        """Put a message into its queue; None ends it. Never blocks: one that is too slow is dropped."""
        try:
            self._waiting.put_nowait(message)
        except Full:
            self.dropped = True

    def messages(self) -> Iterator[bytes]:
        """Return what to send, as it comes. Blocks between; a comment goes out where nothing else does."""
        yield f"retry: {RETRY_MS}\n\n".encode()
        while not self.dropped:
            try:
                message = self._waiting.get(timeout=COMMENT_S)
            except Empty:
                message = b":\n\n"
            if message is None:
                return
            yield message


class Poller:
    """The pages that are open, and the greenlet that asks for them. Owned by the site."""

    def __init__(self, source: Source, verdicts: Verdicts, layout: str) -> None:
        self._source = source
        self._verdicts = verdicts
        self._layout = layout
        self._listeners: dict[str, Listener] = {}
        self._came = 0
        self._serial = 0
        self._greenlet: gevent.Greenlet[[], None] | None = None
        self._wanted = Event()  # set when a page wants to see something else, now
        self._forget()

    def _forget(self) -> None:
        """Begin anew: what was seen while nobody looked is old."""
        self._server: Row = {}
        self._channels: dict[str, Row] = {}
        self._missing: list[str] = []
        self._lately = Lately()
        self._blocks: list[tuple[str, float]] = []
        self._after: Mapping[str, int] = {}
        self._rates = Rates()
        self._values: dict[str, ChannelValue] = {}
        self._depths = Depths(self._source, self._verdicts)
        self._silent = False
        self._seen = False
        self._last_look: tuple[float, Seen] | None = None

    @property
    def listening(self) -> int:
        """How many pages are open."""
        return len(self._listeners)

    @property
    def full(self) -> bool:
        """True when no further page is served."""
        return len(self._listeners) >= LISTENERS

    def join(self) -> Listener | None:
        """Return a new listener, who must `leave`; None when there are too many. Never blocks."""
        if self.full:
            return None
        self._came += 1
        listener = Listener(f"{self._came}-{id(self):x}")  # another process' names are others
        self._listeners[listener.name] = listener
        if self._greenlet is None:
            self._forget()
            self._greenlet = gevent.spawn(self._run)
        elif self._seen:
            self._tell_all_there_is(listener)
        return listener

    def leave(self, listener: Listener) -> None:
        """Forget a listener; with the last one the asking ends. Twice is no harm. Never blocks."""
        self._listeners.pop(listener.name, None)
        if not self._listeners and self._greenlet is not None:
            self._greenlet.kill(block=False)
            self._greenlet = None

    def seen_lately(self) -> Seen | None:
        """Return what all were asked for the pages just now; None where that is longer ago. Never blocks."""
        if self._last_look is None:
            return None
        at, seen = self._last_look
        age_s = monotonic() - at
        return seen._replace(age_s=age_s) if age_s < SHARED_S else None

    def look(self, name: str, view: View) -> bool:
        """Let a listener see one channel, or other players of it; False: there is no such listener."""
        listener = self._listeners.get(name)
        if listener is None:
            return False
        listener.view = view
        listener.view_is_new = True
        self._wanted.set()
        return True

    def close(self) -> None:
        """End all streams of events; the pages come again by themselves. Never blocks."""
        for listener in list(self._listeners.values()):
            listener.dropped = True
            listener.tell(None)
            self.leave(listener)

    def _run(self) -> None:
        try:
            self._look_on()
        except Exception:  # our fault: said, and the pages come again and start anew
            log.exception("The pages are told nothing more.")
            self._greenlet = None
            self.close()

    def _look_on(self) -> None:
        while True:
            began, cost_s = monotonic(), -thread_time()
            late = gevent.spawn_later(LATE_S, self._tell_late)
            try:
                self._look_at_all()
            finally:
                late.kill(block=False)
            if not self._silent:
                self._tell_views(list(self._listeners.values()))
            cost_s += thread_time()
            next_look = began + every_s(len(self._channels), cost_s)
            if self._silent:  # and has no work by us: pages want to know at once that it is back
                next_look = monotonic() + EVERY_S
            while (rest := next_look - monotonic()) > 0:
                if not self._wanted.wait(rest):
                    break
                self._wanted.clear()
                self._tell_views([one for one in self._listeners.values() if one.view_is_new])

    def _look_at_all(self) -> None:
        """Ask for everything, and tell each listener what is new to it."""
        processes = self._source.processes()
        if processes.nobody:  # the other questions would only take as long again
            self._tell_silent(processes.missing)
            return
        channels = self._source.channels()
        self._last_look = None if channels.nobody else (monotonic(), Seen(processes, channels))
        happened = self._source.events(self._after)
        missing = sorted({*processes.missing, *channels.missing})
        message: Row = {}
        if channels.nobody != self._silent:
            self._silent = message["silent"] = channels.nobody
        if not channels.nobody:
            message |= self._take(processes.values, channels.values, missing)
        events = [event_row(event) for event in happened.values]
        if not happened.nobody:
            self._after = happened.last
        if events:
            self._lately.add(events)
            message["events"] = events
        blocks = self._source.blocks()
        if not blocks.nobody and not same_blocks(self._blocks, blocks.values):
            self._blocks = message["blocks"] = blocks.values
        if missing != self._missing or channels.nobody:
            self._missing = message["missing"] = missing
        self._tell_news(message)

    def _tell_silent(self, missing: list[str]) -> None:
        """Tell that nobody answers: all that is shown is old."""
        self._silent = True
        self._last_look = None
        self._missing = sorted(missing)
        self._tell_news({"silent": True, "missing": self._missing})

    def _tell_late(self) -> None:
        """Tell that an answer is waited for."""
        there = [one for one in self._listeners.values() if one.has_picture]
        self._tell(there, "changes", {"at": round(time(), 3), "late": True})

    def _tell_news(self, message: Row) -> None:
        """Tell what is new, and all there is to those who are new."""
        old = [one for one in self._listeners.values() if one.has_picture]
        new = [one for one in self._listeners.values() if not one.has_picture]
        self._seen = True
        self._tell(old, "changes", {"at": round(time(), 3), **message})
        for listener in new:
            self._tell_all_there_is(listener)

    def _take(self, processes: list[ProcessValue], channels: list[ChannelValue], missing: list[str]) -> Row:
        """Take what was answered as how things are now, and return what that changes."""
        now = monotonic()
        rows = {one["name"]: channel_row(one, self._verdicts.judge(one, now)) for one in channels}
        for name, row in self._channels.items():
            if row["worker"] in missing and name not in rows:
                rows[name] = row  # its process is only slow to answer
        counters = [process["counters"] for process in processes]
        received, sent = self._rates.note(
            monotonic(),
            sum(one["received_bytes"] for one in counters),
            sum(one["sent_bytes"] for one in counters),
        )
        server = server_row(processes, self._layout) | {"in": received, "out": sent}
        message = changes(self._channels, rows)
        differing = {name: value for name, value in server.items() if self._server.get(name) != value}
        if differing:
            message["server"] = differing
        self._server, self._channels = server, rows
        values = {one["name"]: one for one in channels}
        self._values = {name: values.get(name) or self._values[name] for name in rows}
        return message

    def _tell_all_there_is(self, listener: Listener) -> None:
        picture = {
            "listener": listener.name,
            "at": round(time(), 3),
            "server": self._server,
            "channels": list(self._channels.items()),
            "events": self._lately.all(),
            "blocks": self._blocks,
            "missing": self._missing,
            "silent": self._silent,
        }
        listener.has_picture = True
        self._tell([listener], "picture", picture)

    def _tell_views(self, listeners: list[Listener]) -> None:
        """Tell what the views show; those who see the same are told by the same bytes."""
        by_view: dict[tuple[View, bool], list[Listener]] = {}
        for listener in listeners:
            if listener.view.channel:
                by_view.setdefault((listener.view, listener.view_is_new), []).append(listener)
            listener.view_is_new = False
        for (view, is_new), those in by_view.items():
            message = self._depths.show(view, self._values.get(view.channel))
            if is_new:
                message["ends"] = self._depths.ends(view.channel)
            self._tell(those, "depth", message)

    def _tell(self, listeners: list[Listener], event: str, message: Row) -> None:
        if not listeners:
            return
        self._serial += 1
        text = json.dumps(message, separators=(",", ":"))
        made = f"id: {self._serial}\nevent: {event}\ndata: {text}\n\n".encode()
        for listener in listeners:
            listener.tell(made)

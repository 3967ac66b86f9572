"""What the owner of a channel tells its mirrors in other processes: one message for each flush. Never blocks.

Media goes by the descriptors of segments, once; the messages carry the index of what was flushed, and what
joiners must know. They are plain values. All taps of a channel share one feed, which makes each message once.
`mirror.py` reads them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from .channel import Channel
    from .contents import Contents
    from .log import Log
    from .output import Output

START: Final = "start"  # all of the channel, on the air or not
FLUSH: Final = "flush"  # what was flushed
STOP: Final = "stop"  # the publisher has left
MOVED: Final = "moved"  # the channel is another process's now: the mirror needs a tap there, from its place

# Takes a message, and descriptors that stay the channel's; False when there is nobody any more.
Deliver = Callable[[dict[str, Any], list[int]], bool]


class Tap:
    """One mirror's place at the channel that it mirrors."""

    def __init__(self, channel: Channel, deliver: Deliver, publication: int = 0, position: int = 0) -> None:
        """Begin with all of the channel; or with what follows a position, where its log still has that.

        `deliver` must neither block nor raise, nor call the channel.
        """
        self.deliver = deliver
        self.cost_s = 0.0  # of a flush in the mirror
        self._feed = channel.feed
        self._feed.add(self, channel, publication, position)

    @property
    def lost(self) -> bool:
        """Whether nothing more is delivered."""
        return self not in self._feed.taps

    def report(self, cost_s: float) -> None:
        """Take note of what a flush costs in the mirror."""
        self.cost_s = cost_s
        self._feed.count_costs()

    def close(self) -> None:
        """Deliver nothing more. Idempotent."""
        self._feed.remove(self)


class Feed:
    """All taps of one channel, which is not kept here: it would keep itself alive."""

    def __init__(self) -> None:
        self.taps: list[Tap] = []
        self.cost_s = 0.0  # of a flush, in all mirrors together
        self._known = -1  # position of the segment whose descriptor all taps have
        self._changes = -1  # of the preamble that all taps know

    def add(self, tap: Tap, channel: Channel, publication: int, position: int) -> None:
        """Let a tap know where the channel is, and then what comes."""
        output = channel.output
        if output is not None:
            assert not output.log.is_mirror, "mirrors follow the owner"
            output.flush()
        fds: list[int] = []
        goes_on = output is not None and output.publication == publication and _has(output.log, position)
        if output is not None and goes_on:
            self._changes = -1
            message = self._flush(output, position, -1, channel.contents, fds)
        else:
            message = self._start(channel, fds)
        self._known = -1
        self.taps.append(tap)
        if not tap.deliver(message, fds):
            self.remove(tap)
        if output is not None and goes_on:
            output.come()  # behind it: what is let go of may be what was told

    def remove(self, tap: Tap) -> None:
        """Forget a tap. Idempotent."""
        if tap in self.taps:
            self.taps.remove(tap)
            self.count_costs()

    def count_costs(self) -> None:
        """Add up what flushes cost in the mirrors."""
        self.cost_s = sum([tap.cost_s for tap in self.taps])

    # --- called by the channel and its output -----------------------------------------------------

    def started(self, channel: Channel) -> None:
        """Tell of a new publication."""
        if self.taps:
            fds: list[int] = []
            self._tell(self._start(channel, fds), fds)

    def flushed(self, output: Output, begin: int, contents: Contents) -> None:
        """Tell of what was flushed from a position on."""
        fds: list[int] = []
        self._tell(self._flush(output, begin, self._known, contents, fds), fds)

    def suspended(self, output: Output, contents: Contents) -> None:
        """Tell that those who join wait, since the publisher is gone; all was flushed."""
        if self.taps:
            self.flushed(output, output.log.end, contents)

    def stopped(self, publication: int) -> None:
        """Tell of the end of a publication."""
        self._tell({"kind": STOP, "publication": publication}, [])

    def moved(self) -> None:
        """Tell that another process goes on with the channel; the last that is told."""
        self._tell({"kind": MOVED}, [])
        self.taps.clear()
        self.count_costs()

    # --- private ----------------------------------------------------------------------------------

    def _tell(self, message: dict[str, Any], fds: list[int]) -> None:
        for tap in list(self.taps):
            if not tap.deliver(message, fds):
                self.remove(tap)

    def _start(self, channel: Channel, fds: list[int]) -> dict[str, Any]:
        self._known = -1
        self._changes = channel.contents.preamble.changes
        return {"kind": START, "channel": channel.snapshot(fds, moves=False)}

    def _flush(
        self, output: Output, begin: int, known: int, contents: Contents, fds: list[int]
    ) -> dict[str, Any]:
        log = output.log
        records = log.records(begin, fds, known)
        # Where a segment got no descriptor so far its bytes went along, and the first descriptor is told.
        if records:
            self._known = records[-1]["base"] if records[-1]["data"] is None else -1
        marks = contents.marks()
        if contents.preamble.changes != self._changes:
            self._changes = contents.preamble.changes
            marks["preamble"] = contents.preamble.snapshot()
        return {
            "kind": FLUSH,
            "publication": output.publication,
            "begin": begin,
            "records": records,
            "log": log.marks(),
            "contents": marks,
            "headers": log.headers.since(begin),
        }


def _has(log: Log, position: int) -> bool:
    """Tell whether a position is a boundary of what is there."""
    return log.begin <= position <= log.end and log.is_boundary(position)

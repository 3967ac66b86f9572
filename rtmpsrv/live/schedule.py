"""When to flush: pure arithmetic over what flushes cost, what waits, and how busy the process is.

Latency is spent only where it buys CPU: a channel with few players adds no delay, one with many waits for the
next frame, and as the process nears a whole core everybody waits a little, which is what keeps it below.
"""

from __future__ import annotations

from typing import Any, Final

# A flush that took t makes the next one wait 20 t, so that fan-out of one channel stays near 5% of a core.
# When MSG_BUFFER_SIZE messages wait, or a keyframe, it comes sooner, but never before 2 t: a channel with
# more players than a core can serve message by message merges all the same, instead of starving the rest.
REST_FACTOR: Final = 20
FULL_REST_FACTOR: Final = 2
# It never waits longer than this, which is less than a frame at 30 fps: then each frame goes at once.
MAX_REST_S: Final = 0.027
# Where a flush is dear latency buys CPU: the oldest message waits until the third frame goes with it, 30 fps
# given. docs/performance.md has what that saves.
DEAR_FLUSH_S: Final = 0.006
MAX_WAIT_S: Final = 0.065
MERGED: Final = 3  # such frames
# From the beginning of one dear flush to the next: what comes during a long one is read behind it, and looks
# younger than it is.
MAX_CYCLE_S: Final = 0.098
# The timer fires so much later: normally the next frame triggers the flush before it, even if it is late.
LEEWAY_S: Final = 0.006
# Where the process is busy everybody waits, up to so long as it nears a whole core; counted likewise.
BUSY_WAIT_S: Final = 0.1


class FlushSchedule:
    """What one output's flushes cost, and when the next is due. Times are monotonic seconds."""

    __slots__ = (
        "_before_s", "_began_at", "_flushed_at", "_last_s", "_merge_messages", "_wait_s", "hurry", "is_dear",
        "leeway_s", "spent_s", "took_s",
    )  # fmt: skip

    def __init__(self, merge_messages: int) -> None:
        self.hurry = False  # a keyframe waits
        self.leeway_s = 0.0  # by which a timer for the last `due_at` may be late
        self.spent_s = 0.0  # on all flushes
        self._merge_messages = merge_messages
        self._began_at = self._flushed_at = 0.0
        self._before_s = self._last_s = 0.0  # what the last but one took, and the last
        self._wait_s = MAX_WAIT_S  # most that the oldest message waits where flushes are dear
        self.took_s = 0.0  # what a flush costs: the less of both, as a hiccup of the machine says nothing
        self.is_dear = False  # it costs so much that latency buys CPU

    def keyframe(self) -> None:
        """Take note that a keyframe waits: joiners and eyes wait for it."""
        self.hurry = True

    def due_at(self, waiting: int, oldest_at: float, pressure: float) -> float:
        """Return when what waits must go.

        Given its number, when the first of it arrived, and how much the process has to merge, 0 to 1.
        """
        took_s = self.took_s
        rest_s = took_s * REST_FACTOR
        self.leeway_s = 0.0
        if not self.is_dear:
            due_at = self._flushed_at + min(rest_s, MAX_REST_S)
        else:
            due_at = min(self._flushed_at + rest_s, oldest_at + self._wait_s, self._began_at + MAX_CYCLE_S)
            self.leeway_s = LEEWAY_S
        if pressure:
            due_at = max(due_at, self._began_at + BUSY_WAIT_S * pressure)
        if self.hurry or waiting >= self._merge_messages:
            full_at = self._flushed_at + took_s * FULL_REST_FACTOR
            if full_at <= due_at:
                self.leeway_s = 0.0
                return full_at
        return due_at

    def next_go_at(self, waiting: int, oldest_at: float) -> float:
        """Return until when those who are next in a dear round may wait for a frame; as `due_at`."""
        hurries = self.hurry or waiting >= self._merge_messages
        return oldest_at if hurries else oldest_at + MAX_WAIT_S + LEEWAY_S

    def snapshot(self) -> dict[str, Any]:
        """Return what flushes cost so far, as `adopt` takes it."""
        return {
            "began_at": self._began_at,
            "flushed_at": self._flushed_at,
            "took_s": (self._before_s, self._last_s),
            "spent_s": self.spent_s,
            "hurry": self.hurry,
        }

    def adopt(self, value: dict[str, Any]) -> None:
        """Expect flushes to cost what they cost another process."""
        self._began_at, self._flushed_at = value["began_at"], value["flushed_at"]
        self._before_s, self._last_s = value["took_s"]
        self.took_s = min(self._before_s, self._last_s)
        self.is_dear = self.took_s >= DEAR_FLUSH_S
        self.spent_s = value["spent_s"]
        self.hurry = value["hurry"]

    def flushed(
        self, began: float, ended: float, took_s: float, elsewhere_s: float = 0.0, together: int = 0
    ) -> None:
        """Take note of a round of sends, and what it takes elsewhere: all merge as if it were one place.

        From its begin to its end others may have run, so it took less. Goes that lie `together` with another
        are to have a frame each: so the next round begins as many frames early, and the last go is on time.
        """
        self._began_at, self._flushed_at = began, ended
        self._before_s, self._last_s = self._last_s, took_s + elsewhere_s
        self.took_s = min(self._before_s, self._last_s)
        self.is_dear = self.took_s >= DEAR_FLUSH_S
        self._wait_s = MAX_WAIT_S * (1 - together / (MERGED - 1))
        self.spent_s += took_s
        self.hurry = False

"""The times of one file: they begin at 0, and go on where a publisher's jump. Pure."""

from __future__ import annotations

from typing import Any, Final, Self

from rtmpsrv.protocol.timestamps import signed_difference

JUMP_MS: Final = 2000  # more, forward or back, is no time that passed in the stream
MAX_SKEW_MS: Final = 10_000  # how far the first frame of a kind may be from the others


class Timeline:
    """Changed by whoever writes the file. Kinds (audio, video) keep their distance, but for jumps."""

    __slots__ = ("_kinds", "_newest", "end_ms")

    def __init__(self) -> None:
        self.end_ms = 0  # the latest time there is
        self._kinds: dict[int, tuple[int, int]] = {}  # what came last: as it was sent, and in the file
        self._newest = (0, 0)  # the same of all kinds

    def snapshot(self) -> dict[str, Any]:
        """Return plain values, as `resumed` takes them."""
        kinds = [[kind, *times] for kind, times in self._kinds.items()]
        return {"end": self.end_ms, "kinds": kinds, "newest": list(self._newest)}

    @classmethod
    def resumed(cls, value: dict[str, Any]) -> Self:
        """Return one that goes on. Raises KeyError, TypeError, ValueError for what is none."""
        found = cls()
        found.end_ms = int(value["end"])
        for kind, sent, placed in value["kinds"]:
            found._kinds[int(kind)] = int(sent), int(placed)
        sent, placed = value["newest"]
        found._newest = int(sent), int(placed)
        return found

    def place(self, kind: int, timestamp: int) -> tuple[int, bool]:
        """Return a frame's time in the file, in ms, and whether its own one jumped."""
        out, jumped = self.would_be(kind, timestamp)
        self._kinds[kind] = self._newest = (timestamp, out)
        self.end_ms = max(self.end_ms, out)
        return max(out, 0), jumped

    def would_be(self, kind: int, timestamp: int) -> tuple[int, bool]:
        """Return what `place` would, and change nothing; negative before the first frame's time."""
        known = self._kinds.get(kind)
        last_in, last_out = self._newest if known is None else known
        delta = signed_difference(timestamp, last_in)
        jumped = False
        if known is not None:
            jumped = abs(delta) > JUMP_MS
        elif not self._kinds or abs(delta) > MAX_SKEW_MS:
            delta = 0
        if jumped:
            delta = 0
        return last_out + delta, jumped

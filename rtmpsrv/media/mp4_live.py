"""Fragments for who watches now: at once what has come until now, cut where players can begin. Pure.

The last frame of each has no next one yet, and gets the duration of the one before it: browsers take a gap of
up to two of them for none.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Final, NamedTuple

from rtmpsrv.media.mp4 import Part, Run, fragment
from rtmpsrv.media.mp4_source import Timed, TrackFacts
from rtmpsrv.protocol.messages import VIDEO

FIRST_DURATION_MS: Final = 30  # of a track's first frame, where no other tells
MAX_GUESS_MS: Final = 1000


class Cut(NamedTuple):
    """One fragment."""

    data: bytes
    is_start: bool  # a player may begin with it


class LiveFragments:
    """Makes them for one configuration; changed by one maker only."""

    def __init__(self, tracks: Sequence[TrackFacts]) -> None:
        # Whose keyframes players begin at; 0: at any frame, since there is no video.
        self._leading = next((one.number for one in tracks if one.kind == VIDEO), 0)
        self._sequence = 0
        self._steps: dict[int, int] = {}  # between the last two frames of a track
        self._last: dict[int, int] = {}  # time of a track's last frame

    def cut(self, samples: Iterable[Timed]) -> list[Cut]:
        """Return what these frames make: one fragment, and one more for each keyframe among them."""
        cuts: list[Cut] = []
        group: list[Timed] = []
        for sample in samples:
            if group and self._starts(sample):
                cuts.append(self._fragment(group))
                group = []
            group.append(sample)
        if group:
            cuts.append(self._fragment(group))
        return cuts

    def _starts(self, sample: Timed) -> bool:
        return sample.number == self._leading and sample.is_keyframe

    def _fragment(self, group: list[Timed]) -> Cut:
        self._sequence += 1
        by_track: dict[int, list[Timed]] = {}
        for sample in group:
            by_track.setdefault(sample.number, []).append(sample)
        runs = [
            Run(number, by_track[number][0].time, self._parts(by_track[number]))
            for number in sorted(by_track)
        ]
        return Cut(fragment(self._sequence, runs), not self._leading or self._starts(group[0]))

    def _parts(self, samples: list[Timed]) -> list[Part]:
        number = samples[0].number
        times = [sample.time for sample in samples]
        if number in self._last:
            self._steps[number] = times[0] - self._last[number]
        steps = [after - before for before, after in pairwise(times)]
        if steps:
            self._steps[number] = steps[-1]
        self._last[number] = times[-1]
        steps.append(min(self._steps.get(number, FIRST_DURATION_MS), MAX_GUESS_MS))
        return [
            Part(step, sample.offset, sample.is_keyframe, sample.data)
            for step, sample in zip(steps, samples, strict=True)
        ]

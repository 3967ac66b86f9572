"""Fragments for who watches now: at once what has come until now, cut where players can begin. Pure.

The last frame of each has no next one yet, and is given a duration that others had. Browsers (Media Source
Extensions, coded frame processing) drop all up to a keyframe where decoding times step by more than twice
that: the next one is then decoded no later than they bear, and shown when it should be. Its track makes up
for that step by step.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Final, NamedTuple

from rtmpsrv.media.mp4 import Part, Run, fragment
from rtmpsrv.media.mp4_source import Timed, TrackFacts
from rtmpsrv.media.mp4_times import MAX_JUMP_MS
from rtmpsrv.protocol.messages import VIDEO

FIRST_DURATION_MS: Final = 30  # of a track's first frame, where no other tells
BORNE: Final = 2  # durations from one decoding time to the next


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
        self._pace: dict[int, _Pace] = {one.number: _Pace() for one in tracks}

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

    def skip(self) -> None:
        """Let times step as far as they do, once: something was left out, and a keyframe comes."""
        for pace in self._pace.values():
            pace.skip()

    def _starts(self, sample: Timed) -> bool:
        return sample.number == self._leading and sample.is_keyframe

    def _fragment(self, group: list[Timed]) -> Cut:
        self._sequence += 1
        by_track: dict[int, list[Timed]] = {}
        for sample in group:
            by_track.setdefault(sample.number, []).append(sample)
        runs = [self._pace[number].run(by_track[number]) for number in sorted(by_track)]
        return Cut(fragment(self._sequence, runs), not self._leading or self._starts(group[0]))


class _Pace:
    """How fast the frames of one track follow each other."""

    def __init__(self) -> None:
        self._last: int | None = None  # time of the last frame
        self._latest: int | None = None  # when the next one is decoded at the latest; None: when it should be
        self._steps: tuple[int, ...] = ()  # the last two between frames

    def run(self, samples: list[Timed]) -> Run:
        """Return these frames with their durations."""
        times = [sample.time for sample in samples]
        decoded = times[0] if self._latest is None else min(times[0], self._latest)
        late = times[0] - decoded
        steps = [after - before for before, after in pairwise(times)]
        before = () if self._last is None else (times[0] - self._last,)
        self._steps = (*self._steps, *before, *steps)[-2:]
        # Of two steps the smaller one: a pause is none that is to be expected, and sound must not overlap.
        steps.append(min(*self._steps, MAX_JUMP_MS) if self._steps else FIRST_DURATION_MS)
        self._last = times[-1]
        self._latest = times[-1] - late + BORNE * steps[-1]
        parts = [
            Part(step, sample.offset + late, sample.is_keyframe, sample.data)
            for step, sample in zip(steps, samples, strict=True)
        ]
        return Run(samples[0].number, decoded, parts)

    def skip(self) -> None:
        """See `LiveFragments.skip`."""
        self._last = self._latest = None

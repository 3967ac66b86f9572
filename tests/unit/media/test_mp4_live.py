from __future__ import annotations

import struct
from collections.abc import Callable
from itertools import pairwise

import pytest

from rtmpsrv.media.mp4_live import FIRST_DURATION_MS, Cut, LiveFragments
from rtmpsrv.media.mp4_source import Timed, TrackFacts
from rtmpsrv.media.mp4_times import MAX_JUMP_MS
from rtmpsrv.protocol.messages import AUDIO, VIDEO
from tests.unit.media.test_mp4 import boxes

PICTURE = TrackFacts(1, VIDEO, 0, b"avc1", b"")
SOUND = TrackFacts(2, AUDIO, 0, b"mp4a", b"")


def key(time: int) -> Timed:
    return Timed(1, time, 0, True, b"key")


def inter(time: int) -> Timed:
    return Timed(1, time, 0, False, b"inter")


def tone(time: int, number: int = 2) -> Timed:
    return Timed(number, time, 0, True, b"tone")


def runs(data: bytes) -> list[tuple[int, int, list[int]]]:
    """Of each track its number, its time and the durations of its frames."""
    found = []
    for one in boxes(boxes(data)["moof"][0])["traf"]:
        track = boxes(one)
        (number,) = struct.unpack_from(">I", track["tfhd"][0], 4)
        (time,) = struct.unpack_from(">Q", track["tfdt"][0], 4)
        rows = struct.iter_unpack(">IIIi", track["trun"][0][12:])
        found.append((number, time, [row[0] for row in rows]))
    return found


def test_what_comes_together_is_one_fragment() -> None:
    (cut,) = LiveFragments([PICTURE, SOUND]).cut([key(0), tone(5), inter(33), tone(26), inter(66)])

    assert cut.is_start
    assert runs(cut.data) == [(1, 0, [33, 33, 33]), (2, 5, [21, 21])]
    assert boxes(cut.data)["mdat"] == [b"keyinterintertonetone"]


def test_a_fragment_begins_with_each_keyframe() -> None:
    cuts = LiveFragments([PICTURE, SOUND]).cut([inter(0), tone(5), key(33), key(66)])

    assert [cut.is_start for cut in cuts] == [False, True, True]
    assert [boxes(cut.data)["mdat"] for cut in cuts] == [[b"intertone"], [b"key"], [b"key"]]


def test_the_last_frame_lasts_as_long_as_others_did() -> None:
    live = LiveFragments([PICTURE])
    durations = [
        runs(cut.data)[0][2]
        for time in (0, 40, 80, 1000, 1040, 10_000, 100_000, 190_000)
        for cut in live.cut([key(time)])
    ]

    assert durations == [[FIRST_DURATION_MS], [40], [40], [40], [40], [40], [8960], [MAX_JUMP_MS]]


def moments(cuts: list[Cut]) -> list[tuple[int, int, int]]:
    """Of fragments of one frame each: when it is decoded, for how long it lasts, and when it is shown."""
    found = []
    for cut in cuts:
        (track,) = boxes(boxes(cut.data)["moof"][0])["traf"]
        ((_, time, (duration,)),) = runs(cut.data)
        (offset,) = struct.unpack_from(">i", boxes(track)["trun"][0], 24)
        found.append((time, duration, time + offset))
    return found


@pytest.mark.parametrize("frame", [inter, tone])
def test_no_pause_makes_browsers_drop_what_follows(frame: Callable[[int], Timed]) -> None:
    times = [0, 40, 80, 280, 320, 360, 400, 440, 480, 520]
    live = LiveFragments([PICTURE, SOUND])

    seen = moments([cut for time in times for cut in live.cut([frame(time)])])

    assert [shown for _, _, shown in seen] == times
    for (before, lasts, _), (decoded, _, _) in pairwise(seen):
        assert before < decoded <= before + 2 * lasts
    assert [shown - decoded for decoded, _, shown in seen] == [0, 0, 0, 120, 80, 40, 0, 0, 0, 0]


def test_frames_together_are_as_late_as_the_first_of_them() -> None:
    live = LiveFragments([PICTURE])
    for time in (0, 40):
        live.cut([inter(time)])

    (cut,) = live.cut([inter(240), inter(280), inter(500)])
    assert runs(cut.data) == [(1, 120, [40, 220, 40])]
    (cut,) = live.cut([inter(540)])
    assert runs(cut.data)[0][1] == 120 + 260 + 2 * 40


def test_after_something_was_left_out_time_jumps() -> None:
    live = LiveFragments([PICTURE])
    for time in (0, 40):
        live.cut([inter(time)])
    live.skip()

    (cut,) = live.cut([key(9000)])

    assert runs(cut.data) == [(1, 9000, [40])]


def test_players_may_begin_at_any_fragment_of_audio() -> None:
    (cut,) = LiveFragments([SOUND._replace(number=1)]).cut([tone(0, 1), tone(21, 1)])

    assert cut.is_start
    assert runs(cut.data) == [(1, 0, [21, 21])]


def test_nothing_makes_nothing() -> None:
    assert LiveFragments([]).cut([]) == []

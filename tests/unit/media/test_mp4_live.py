from __future__ import annotations

import struct

from rtmpsrv.media.mp4_live import FIRST_DURATION_MS, MAX_GUESS_MS, LiveFragments
from rtmpsrv.media.mp4_source import Timed, TrackFacts
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


def test_the_last_frame_lasts_as_long_as_the_one_before() -> None:
    live = LiveFragments([PICTURE])
    durations = [runs(cut.data)[0][2] for time in (0, 40, 90, 5000) for cut in live.cut([key(time)])]

    assert durations == [[FIRST_DURATION_MS], [40], [50], [MAX_GUESS_MS]]


def test_players_may_begin_at_any_fragment_of_audio() -> None:
    (cut,) = LiveFragments([SOUND._replace(number=1)]).cut([tone(0, 1), tone(21, 1)])

    assert cut.is_start
    assert runs(cut.data) == [(1, 0, [21, 21])]


def test_nothing_makes_nothing() -> None:
    assert LiveFragments([]).cut([]) == []

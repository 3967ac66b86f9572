"""Segments that players may have, and for how long."""

from __future__ import annotations

from rtmpsrv.media.hls_numbers import Numbering
from rtmpsrv.media.hls_window import LEAST_SEGMENTS, Window


class Filled:
    """A window with a target of 2 s, and a clock that goes with its segments."""

    def __init__(self, window_ms: int = 8000) -> None:
        self.numbering = Numbering(100, "ab1")
        self.numbering.target_s, self.numbering.part_ms = 2, 1000
        self.window = Window(self.numbering, window_ms)
        self.init = self.window.add_init(b"init")
        self.now = 50.0

    def begin(self, *parts: bytes, discontinuity: bool = False) -> None:
        self.window.begin(self.init, 0, discontinuity)
        for part in parts:
            self.window.add_part(part, 1000, True)

    def segments(self, count: int, *, discontinuity: bool = False) -> None:
        for _ in range(count):
            number = self.numbering.next_segment
            self.begin(b"%d/0" % number, b"%d/one" % number, discontinuity=discontinuity)
            self.now += 2
            self.window.end(self.now)

    def numbers(self) -> list[int]:
        return [segment.number for segment in self.window.segments]

    def has(self, name: str) -> bool:
        return self.window.find(name) is not None


def test_segment_is_its_parts() -> None:
    made = Filled()
    made.begin(b"one", b"two")
    window = made.window
    assert window.find("ab1-100.m4s") is None  # not complete
    assert window.find("ab1-100-1.m4s") == (b"two",)
    assert window.next_name == "ab1-100-2.m4s"
    assert window.find("ab1-100-2.m4s") is None
    assert (window.last, window.open_parts) == (99, 2)
    window.end(1.0)
    assert window.find("ab1-100.m4s") == (b"one", b"two")
    assert [window.find(f"ab1-100-{part}.m4s") for part in range(3)] == [(b"one",), (b"two",), None]
    assert window.next_name == "ab1-101-0.m4s"
    assert (window.last, window.open_parts) == (100, 0)


def test_names_of_others_are_unknown() -> None:
    made = Filled()
    made.segments(1)
    assert made.has("ab1-100.m4s")
    unknown = ["ab2-100.m4s", "ab1-99.m4s", "ab1-101.m4s", "ab1-100.mp4", "../ab1-100.m4s", "", "ab1-x.m4s"]
    unknown += ["ab1-100.m4s\n", f"ab1-{'9' * 16}.m4s", "ab1-init2.m4s", f"ab1-100-{'9' * 10}.m4s"]
    for name in unknown:
        assert not made.has(name), name
    assert made.window.find("ab1-init1.m4s") == (b"init",)


def test_segments_leave_from_the_front_and_can_be_had_for_a_while() -> None:
    made = Filled(window_ms=8000)
    made.segments(4)
    assert made.numbers() == [100, 101, 102, 103]
    made.segments(1)
    assert made.numbers() == [101, 102, 103, 104]
    # For its own duration and that of the longest playlist that held it: 2 s and 10 s.
    made.segments(5)
    assert made.has("ab1-100.m4s")
    assert made.has("ab1-100-1.m4s")
    made.segments(1)
    assert not made.has("ab1-100.m4s")
    assert made.has("ab1-101.m4s")


def test_playlist_is_three_targets_at_least() -> None:
    made = Filled(window_ms=0)
    made.segments(9)
    assert made.numbers() == [106, 107, 108]


def test_discontinuities_are_counted_as_they_leave() -> None:
    made = Filled()
    assert made.window.discontinuity_sequence == 100
    made.segments(1, discontinuity=True)
    made.segments(3)
    assert made.window.discontinuity_sequence == 100
    made.segments(1)
    assert made.window.discontinuity_sequence == 101
    made.segments(4)
    assert made.window.discontinuity_sequence == 101
    # Another window of the same channel goes on behind all of them.
    made.segments(1, discontinuity=True)
    assert Window(made.numbering, 0).discontinuity_sequence == 102


def test_bytes_are_counted_until_they_are_gone() -> None:
    made = Filled(window_ms=0)
    made.segments(40)
    window = made.window
    there = [number for number in range(100, 140) if made.has(f"ab1-{number}.m4s")]
    assert window.size == len(b"init") + len(there) * len(b"100/0100/one")
    assert len(there) < 10
    made.begin(b"12345")
    assert window.describe() == {"segments": 3, "left": len(there) - 3, "first": 137, "bytes": window.size}


def test_first_parts_are_kept_while_they_are_used() -> None:
    made = Filled(window_ms=0)
    made.segments(2)
    made.init = made.window.add_init(b"second")
    made.begin(b"x")
    made.window.end(made.now)
    assert made.has("ab1-init1.m4s")
    made.segments(12)
    assert not made.has("ab1-init1.m4s")
    assert made.window.find("ab1-init2.m4s") == (b"second",)


def test_little_memory_is_the_least_that_the_rules_allow() -> None:
    made = Filled(window_ms=60_000)
    made.segments(20)
    assert len(made.numbers()) == 20
    made.window.shed(made.now)
    assert made.numbers() == [117, 118, 119]
    assert not made.has("ab1-116.m4s")
    assert made.window.size == len(b"init") + 3 * len(b"100/0100/one")


def test_parts_are_named_within_three_targets_of_the_end() -> None:
    made = Filled(window_ms=60_000)
    assert made.window.parts_from() == 0
    made.segments(2)
    assert made.window.parts_from() == 100
    made.segments(4)
    assert made.window.parts_from() == 103
    made.begin(b"x")
    assert made.window.parts_from() == 104


def test_peak_is_that_of_the_largest_segment() -> None:
    made = Filled()
    assert made.window.peak_bits == 0
    made.segments(1)
    made.begin(bytes(1000))
    made.window.end(made.now)
    assert made.window.peak_bits == 8000


def test_segments_of_any_length_are_bounded() -> None:
    made = Filled()
    for _ in range(3 * LEAST_SEGMENTS):
        made.window.begin(made.init, 0, True)
        made.window.add_part(b"x", 1, True)
        made.window.end(made.now)
    assert len(made.numbers()) == LEAST_SEGMENTS
    assert made.window.describe()["left"] <= LEAST_SEGMENTS
    assert made.window.size <= len(b"init") + 2 * LEAST_SEGMENTS
    assert made.window.discontinuity_sequence == 100 + 2 * LEAST_SEGMENTS


def test_first_parts_that_nothing_is_made_of_are_not_kept() -> None:
    made = Filled()
    made.segments(1)
    for number in range(5):
        made.init = made.window.add_init(b"%d" % number)
    assert list(made.window.inits.values()) == [b"init", b"4"]
    assert made.window.size == len(b"init") + len(b"4") + len(b"100/0100/one")


def test_frame_rate_is_that_of_the_segment_with_most() -> None:
    made = Filled()
    assert made.window.peak_fps == 0.0
    for frames in (25, 30, 24):
        made.window.begin(made.init, 0, False)
        made.window.add_part(b"x", 1001, True, frames)
        made.window.end(made.now)
    assert f"{made.window.peak_fps:.3f}" == "29.970"


def test_segment_may_last_longer_than_its_parts() -> None:
    made = Filled()
    for told_ms, duration_ms in ((0, 2000), (1500, 2000), (2300, 2300)):
        made.begin(b"x", b"y")
        made.window.end(made.now, told_ms)
        assert made.window.segments[-1].duration_ms == duration_ms

"""Blocking reloads: what is answered now, what waits, what is refused."""

from __future__ import annotations

import pytest

from rtmpsrv.media.hls_numbers import Numbering
from rtmpsrv.media.hls_reload import BAD, NOW, WAIT, Directives, decide, read
from rtmpsrv.media.hls_window import Window


def window(segments: int, parts_each: int, parts_open: int, part_ms: int = 500) -> Window:
    """Segments from 100 on, and one that is open where it has parts."""
    numbering = Numbering(100, "a")
    numbering.target_s, numbering.part_ms = 2, part_ms
    made = Window(numbering, 60_000)
    made.add_init(b"init")
    for count in [parts_each] * segments + [parts_open]:
        if count:
            made.begin(1, 0, False)
            for _ in range(count):
                made.add_part(b"part", part_ms, True)
        if count == parts_each and len(made.segments) < segments:
            made.end(0.0)
    return made


@pytest.mark.parametrize(
    ("query", "asked"),
    [
        ({}, Directives()),
        ({"_HLS_msn": "7"}, Directives(7)),
        ({"_HLS_msn": "7", "_HLS_part": "0"}, Directives(7, 0)),
        ({"_HLS_skip": "YES"}, Directives(skip=True)),
        ({"_HLS_skip": "v2", "_HLS_other": "1", "key": "k"}, Directives(skip=True)),
        ({"_HLS_skip": "no"}, Directives()),
        ({"_HLS_part": "1"}, None),
        ({"_HLS_msn": ""}, None),
        ({"_HLS_msn": "-1"}, None),
        ({"_HLS_msn": "+1"}, None),
        ({"_HLS_msn": "1.0"}, None),
        ({"_HLS_msn": "²"}, None),
        ({"_HLS_msn": "9" * 16}, None),
        ({"_HLS_msn": "9" * 15}, Directives(int("9" * 15))),
        ({"_HLS_msn": "1", "_HLS_part": "x"}, None),
    ],
)
def test_directives_are_read_strictly(query: dict[str, str], asked: Directives | None) -> None:
    assert read(query) == asked


# Segments 100 to 103 of four parts each, and 104 with two.
@pytest.mark.parametrize(
    ("asked", "answer"),
    [
        (Directives(), NOW),
        (Directives(1), NOW),  # older than the window: all of it, not 400
        (Directives(1, 99), NOW),
        (Directives(103), NOW),
        (Directives(103, 3), NOW),
        (Directives(103, 4), NOW),  # past its last: the first of 104
        (Directives(104), WAIT),
        (Directives(104, 1), NOW),
        (Directives(104, 2), WAIT),
        (Directives(104, 7), WAIT),
        (Directives(104, 8), BAD),
        (Directives(105), WAIT),
        (Directives(105, 0), WAIT),
        (Directives(105, 6), BAD),
        (Directives(106), BAD),
    ],
)
def test_requests_wait_for_what_they_name(asked: Directives, answer: str) -> None:
    assert decide(window(4, 4, 2), asked) == answer


def test_part_past_the_last_segment_waits_while_the_next_has_none() -> None:
    assert decide(window(4, 4, 0), Directives(103, 4)) == WAIT


def test_parts_of_a_second_may_be_three_ahead() -> None:
    made = window(1, 2, 1, part_ms=1000)
    assert decide(made, Directives(101, 3)) == WAIT
    assert decide(made, Directives(101, 4)) == BAD


def test_first_segment_is_waited_for() -> None:
    made = window(0, 4, 2)
    assert made.last == 99
    assert decide(made, Directives(100)) == WAIT
    assert decide(made, Directives(99, 3)) == NOW
    assert decide(window(0, 4, 0), Directives(100, 0)) == WAIT

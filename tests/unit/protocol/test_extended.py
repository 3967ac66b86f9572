from __future__ import annotations

import pytest

from rtmpsrv.protocol.extended import ABSENT, REPEATED, TOO_EARLY, UNKNOWN, ZERO, judge

STAMP = 0x01020304


@pytest.mark.parametrize(
    ("dialect", "seen", "expected"),
    [
        (UNKNOWN, "01020304", (4, REPEATED)),
        (UNKNOWN, "00000000", (4, ZERO)),
        (UNKNOWN, "01020305", (0, ABSENT)),
        (UNKNOWN, "", (TOO_EARLY, UNKNOWN)),
        (UNKNOWN, "0102", (TOO_EARLY, UNKNOWN)),
        (UNKNOWN, "0000", (TOO_EARLY, UNKNOWN)),
        (UNKNOWN, "0001", (0, ABSENT)),
        (REPEATED, "01020304", (4, REPEATED)),
        (REPEATED, "0102", (TOO_EARLY, REPEATED)),
        (REPEATED, "00000000", (0, REPEATED)),
        (REPEATED, "00", (0, REPEATED)),
        (ZERO, "01020304", (4, ZERO)),
        (ZERO, "00000000", (4, ZERO)),
        (ZERO, "05000000", (0, ZERO)),
        (ABSENT, "01020304", (0, ABSENT)),
        (ABSENT, "", (0, ABSENT)),
    ],
)
def test_field_is_taken_where_the_peer_writes_one(dialect: int, seen: str, expected: tuple[int, int]) -> None:
    assert judge(dialect, STAMP, bytes.fromhex(seen)) == expected

"""How a peer writes the extended timestamp on type 3 chunks (RTMP 1.0 section 5.3.1.3).

The specification repeats it there, old librtmp and OBS before 30.1 leave it out, gortmplib writes zeros.
The four bytes are compared before they are taken, and what the peer does is remembered per connection.
"""

from __future__ import annotations

from typing import Final

# The dialects; a peer's is learned from its first type 3 chunk that should have the field.
UNKNOWN: Final = 0
REPEATED: Final = 1
ABSENT: Final = 2
ZERO: Final = 3

TOO_EARLY: Final = -1
_ZEROS: Final = b"\0\0\0\0"


def judge(dialect: int, timestamp: int, seen: bytes) -> tuple[int, int]:
    """Return how many bytes the field takes behind a type 3 header, and the dialect known from now on.

    `timestamp` is what the message's first chunk said, `seen` up to four bytes that follow the header.
    TOO_EARLY takes the place of 0 or 4 when more bytes are needed to tell.
    """
    if dialect == ABSENT:
        return 0, ABSENT
    value = timestamp.to_bytes(4, "big")
    if len(seen) < 4:
        if value.startswith(seen) or (dialect != REPEATED and _ZEROS.startswith(seen)):
            return TOO_EARLY, dialect
    elif seen == value:
        return 4, REPEATED if dialect == UNKNOWN else dialect
    elif seen == _ZEROS and dialect != REPEATED:
        return 4, ZERO  # gortmplib (MediaMTX) as a publisher
    return 0, ABSENT if dialect == UNKNOWN else dialect

"""The kinds of players, what each is about, and what it is owed. Tables only."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """What a player does while servers succeed each other."""

    NORMAL = "normal"
    EARLY = "early"  # joined before its publisher: gets everything from the first message on
    LAGGARD = "laggard"  # reads slowly, from a small window: it is in mid-message most of the time
    PAUSED = "paused"
    SILENT = "audio off"
    SECOND_STREAM = "second stream"  # plays on message stream 2
    SHAKING = "in the handshake"
    HALF_SHAKEN = "in half a handshake"
    IDLE = "connected"  # does not play yet
    PATIENT = "waiting"  # its publisher comes after the last succession
    NEWCOMER = "newcomer"  # connects in the middle of it all


@dataclass(frozen=True, slots=True)
class Part:
    """One player to be: what it is, where it plays and how it connects."""

    kind: Kind
    channel: int
    tls: bool = False


# What joins before its publisher, and what comes to play after the last succession.
BEFORE = frozenset((Kind.EARLY, Kind.PATIENT))
SHAKES = frozenset((Kind.SHAKING, Kind.HALF_SHAKEN))
LATER = SHAKES | {Kind.IDLE}
# Gets its channel from the first message on.
WHOLE = frozenset((Kind.EARLY, Kind.PATIENT))
# Reads at once what comes, all the time: what keeps it waiting is the server.
PROMPT = frozenset((Kind.NORMAL, Kind.EARLY, Kind.SILENT, Kind.SECOND_STREAM))

_CYCLE = (
    *(
        Kind.NORMAL,
        Kind.EARLY,
        Kind.LAGGARD,
        Kind.NORMAL,
        Kind.PAUSED,
        Kind.NORMAL,
        Kind.SILENT,
        Kind.LAGGARD,
    ),
    *(Kind.SECOND_STREAM, Kind.NORMAL, Kind.SHAKING, Kind.NORMAL, Kind.EARLY, Kind.PAUSED, Kind.NORMAL),
    *(Kind.IDLE, Kind.SILENT, Kind.NORMAL, Kind.LAGGARD, Kind.HALF_SHAKEN, Kind.SECOND_STREAM),
)
PATIENT_SHARE = 0.02


def parts(channels: int, players: int, tls_every: int = 0, tls_later: bool = True) -> list[Part]:
    """Give every player of a run; those who wait play channel number `channels`, the one after the last.

    Every so many use RTMPS; without `tls_later` none of those who come to play after the last succession.
    """
    patient = max(1, round(players * PATIENT_SHARE))
    made = [(Kind.PATIENT, channels)] * patient
    # a prime number of kinds would do without the second term; so neighbours on a channel differ in any case
    made += [(_CYCLE[(n + n // channels) % len(_CYCLE)], n % channels) for n in range(players - patient)]
    return [
        Part(kind, channel, bool(tls_every) and number % tls_every == 0 and (tls_later or kind not in LATER))
        for number, (kind, channel) in enumerate(made)
    ]

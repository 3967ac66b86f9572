"""What a client asks for, and what it was granted. Plain values; decides nothing."""

from __future__ import annotations

from dataclasses import dataclass, field

from rtmpsrv.access.facts import NO_FACTS, Approval, Facts, RecordedFile


@dataclass(frozen=True, slots=True)
class PublishRequest:
    """What a client asks for; the key shows in no repr."""

    channel: str
    key: str = field(repr=False)
    client_ip: str
    facts: Facts = field(default=NO_FACTS, repr=False)  # what else a backend may be told


@dataclass(frozen=True, slots=True)
class Grant:
    """A permission to publish, valid until it is released; `serial` tells equal ones apart."""

    channel: str
    key: str = field(repr=False)
    client_ip: str
    stream_id: str
    serial: int = 0
    facts: Facts = field(default=NO_FACTS, repr=False)
    asked: str = ""  # the channel that was asked for, where the authority chose another
    ends_at: float = 0.0  # wall clock, s: when it must be over; 0: never
    max_bitrate: int = 0  # bits per second, of a publisher; 0: any
    max_players: int = 0  # of the channel; 0: any number


@dataclass(frozen=True, slots=True)
class Recorded(Grant):
    """A permission to publish of which a recording is whole."""

    file: RecordedFile | None = None


def granted(request: PublishRequest, answer: str | Approval, serial: int) -> Grant:
    """Return what an authority's answer permits."""
    yes = Approval(answer) if isinstance(answer, str) else answer
    channel = yes.channel or request.channel
    asked = request.channel if channel != request.channel else ""
    return Grant(
        channel, request.key, request.client_ip, yes.stream_id, serial, request.facts, asked,
        yes.ends_at, yes.max_bitrate, yes.max_players,
    )  # fmt: skip

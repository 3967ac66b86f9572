"""Where the web process has its facts from: all processes that serve, asked as one.

Only the interface and what it returns; the line to those processes is elsewhere.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Generic, NamedTuple, Protocol, TypeVar

from rtmpsrv.monitor.values import (
    ChannelValue,
    ConnectionValue,
    EventValue,
    FileValue,
    Kind,
    ProcessValue,
)

Value = TypeVar("Value")


@dataclass(frozen=True)
class Gathered(Generic[Value]):
    """What those that answered in time have said, as one."""

    values: list[Value]
    missing: list[str] = field(default_factory=list)  # who did not answer; "" is the only one
    answered: list[str] = field(default_factory=lambda: [""])

    @property
    def nobody(self) -> bool:
        """True when nobody answered: that there are no values then says nothing."""
        return not self.answered


@dataclass(frozen=True)
class Happened(Gathered[EventValue]):
    """Events, the oldest first, and up to where each process has told: `after` of the next question."""

    last: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Listed(Gathered[FileValue]):
    """Files, the oldest first; why some could not be listed, a sentence."""

    trouble: str = ""


class Seen(NamedTuple):
    """What was told of all processes and channels, and how long ago."""

    processes: Gathered[ProcessValue]
    channels: Gathered[ChannelValue]
    age_s: float = 0.0


class Source(Protocol):
    """Ask. Each blocks up to a few seconds and raises nothing: who is silent is in `missing`."""

    def processes(self) -> Gathered[ProcessValue]:
        """Return a value for each process, by name."""

    def names(self) -> Gathered[str]:
        """Return the names of all channels, in order: far cheaper than what is to be known of them."""

    def channels(self, names: Sequence[str] | None = None) -> Gathered[ChannelValue]:
        """Return these channels, or all, by name: one value each, in however many processes it is."""

    def ids(self) -> Gathered[tuple[str, Kind]]:
        """Return the ids and kinds of all connections, by their numbers: far cheaper than the whole."""

    def connections(self, ids: Sequence[str] | None = None) -> Gathered[ConnectionValue]:
        """Return these connections, or all, in the order in which they came."""

    def events(self, after: Mapping[str, int], channel: str | None = None) -> Happened:
        """Return what happened after these serials; all that is remembered of a process not named.

        With a channel, its last ends instead: they are remembered for longer.
        """

    def kick(self, connection: str, block_s: float, reason: str) -> Gathered[bool | None]:
        """End a connection, and refuse its like for so long; any True: it was there."""

    def stop(self, channel: str, block_s: float | None, reason: str) -> Gathered[bool | None]:
        """End the publication of a channel, one that is waited for too; any True: it was there.

        For so long nobody may publish it, whether it was there or not; 0 ends what was said before.
        """

    def record(self, channel: str, wanted: bool, form: str) -> Gathered[bool]:
        """Begin to record a channel, or end that; any True: it is published, or was recorded.

        `form`: flv or mp4, "" for what the settings say.
        """

    def blocks(self) -> Gathered[tuple[str, float]]:
        """Return the channels that nobody may publish, and until when; some hundreds at most."""

    def files(self, channel: str) -> Listed:
        """Return the files of recordings, the oldest first, of a channel or of all for ""."""

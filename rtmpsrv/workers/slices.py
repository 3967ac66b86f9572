"""Which sessions and channels travel together: whole channels, few enough to be frozen at once. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final, Generic, TypeVar

# Of one slice, unless one channel has more. A freeze takes some 0.4 ms for each, and others wait meanwhile.
MOST_SESSIONS: Final = 128

Item = TypeVar("Item")


@dataclass(slots=True)
class Slice(Generic[Item]):
    """What goes in one step: channels with all their sessions that can, which may be none."""

    sessions: list[Item] = field(default_factory=list)
    channels: list[str] = field(default_factory=list)


def plan(
    sessions: Iterable[tuple[Item, str | None]], most: int = MOST_SESSIONS, alone: Sequence[str] = ()
) -> list[Slice[Item]]:
    """Divide sessions, each with the channel that it publishes or plays on, into slices; then some channels.

    Channels are not divided; small ones share a slice. The largest come first, those without a channel last:
    what was committed is lost if the successor fails later, so what may take too long is tried before.
    """
    free: list[Item] = []
    by_channel: dict[str, list[Item]] = {}
    for session, channel in sessions:
        if channel is None:
            free.append(session)
        else:
            by_channel.setdefault(channel, []).append(session)
    slices: list[Slice[Item]] = []
    last: Slice[Item] | None = None
    for channel, members in sorted(by_channel.items(), key=lambda item: -len(item[1])):
        if last is None or len(last.sessions) + len(members) > most:
            last = Slice()
            slices.append(last)
        last.sessions += members
        last.channels.append(channel)
    slices += [Slice(free[begin : begin + most]) for begin in range(0, len(free), most)]
    return slices + [Slice([], list(alone[begin : begin + most])) for begin in range(0, len(alone), most)]

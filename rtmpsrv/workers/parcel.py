"""Sessions and channels of one slice, frozen: what is sent, and how it goes on here or is let go."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from posix import close
from typing import Any, Final, NamedTuple

from ..access.gate import Authority, Grant
from ..errors import CannotMove
from ..server.listener import Listener
from ..server.served import Served
from ..server.session_state import Frozen
from .estate import Estate, channels_of, published_here, waits
from .slices import Slice

MOST_MADE_BYTES: Final = 128 << 20  # of what was made of the channels of a slice; it is sent as it is


class Moved(NamedTuple):
    """A channel in a slice."""

    name: str
    value: dict[str, object]
    segments: int  # descriptors among those of the slice
    owner: int | None  # process that goes on publishing it; None for the successor


@dataclass(slots=True)
class Parcel:
    """What is on its way to the successor. All of it is still here until `let_go`."""

    frozen: list[tuple[Listener, Frozen]] = field(default_factory=list)
    channels: list[Moved] = field(default_factory=list)
    notes: dict[int, dict[str, bool]] = field(default_factory=dict)  # of the gate, by serial
    grants: list[Grant] = field(default_factory=list)
    lent: dict[int, tuple[Authority, Grant]] = field(default_factory=dict)  # that end over a link of ours
    descriptors: list[int] = field(default_factory=list)  # of the sessions, then of the segments

    def message(self, number: int) -> dict[str, Any]:
        """Return it as a message of the wire."""
        return {
            "kind": "slice",
            "number": number,
            "sessions": [frozen.state for _listener, frozen in self.frozen],
            "channels": [tuple(moved) for moved in self.channels],
            "notes": self.notes,
        }

    def take_back(self) -> None:
        """Let the sessions go on in this process. Never blocks."""
        for listener, frozen in self.frozen:
            listener.adopt(frozen)

    def let_go(self, estate: Estate) -> list[str]:
        """Close and forget what is another process's now, and tell nobody; return what is still wanted here.

        Never blocks.
        """
        for _listener, frozen in self.frozen:
            close(frozen.descriptor)
        for grant in self.grants:
            estate.gate.abandon(grant)
        left = []
        for moved in self.channels:
            if estate.made is not None:
                estate.made.let_go(moved.name)
            channel = estate.registry.find(moved.name)
            if channel is None or moved.owner == os.getpid():
                continue
            is_needed = bool(channel.players) or channel.readings.are_open
            channel.readings.hand_over()
            if is_needed:
                if moved.owner is None:
                    left.append(moved.name)
                continue
            for elder in estate.elders:
                elder.mirroring.end(moved.name)
            estate.registry.abandon(moved.name)
        return left


def freeze(part: Slice[Served], estate: Estate, *, late: bool = False) -> Parcel:
    """Freeze a slice in one go; what cannot move is left out. Never blocks.

    A channel stays, with all its sessions, when its publisher does. When it is `late` the successor may have
    the channel itself: one that nobody publishes here is not sent, its players are welcomed there.
    """
    parcel = Parcel()
    # Before the sessions: a channel that nobody is left on is forgotten, with all it knows.
    segments: dict[str, list[int]] = {name: [] for name in part.channels}
    values = {
        name: found.snapshot(segments[name])
        for name in part.channels
        if (found := estate.registry.find(name)) is not None
    }
    # Publishers first: then nothing has to be undone when one of them cannot move.
    for session in sorted(part.sessions, key=lambda session: session.role != "publisher"):
        listener = next((one for one in estate.listeners if session in one.sessions), None)
        channels, role = channels_of(session), session.role
        if listener is None or not (channels <= values.keys() or waits(session, estate)):
            continue  # it has ended, or belongs elsewhere by now
        try:
            parcel.frozen.append((listener, listener.release(session)))
        except CannotMove:
            if role == "publisher":
                for name in channels:
                    del values[name]
    parcel.descriptors += [frozen.descriptor for _listener, frozen in parcel.frozen]
    fixed = published_here(estate, fixed=True)
    room = MOST_MADE_BYTES
    for name, value in values.items():
        if late and not value["outputs"]:
            continue
        owner = os.getpid() if name in fixed else _elder_that_owns(name, estate)
        if estate.made is not None:
            value["made"], size = estate.made.state_of(name, room)
            room -= size
        parcel.channels.append(Moved(name, value, len(segments[name]), owner))
        parcel.descriptors += segments[name]
    for _listener, frozen in parcel.frozen:
        grant = frozen.state.publication
        if isinstance(grant, Grant):
            _add(parcel, grant, estate)
    return parcel


def _elder_that_owns(name: str, estate: Estate) -> int | None:
    return next((elder.pid for elder in estate.elders if name in elder.mirroring), None)


def _add(parcel: Parcel, grant: Grant, estate: Estate) -> None:
    """Add what the gate knows of a publication."""
    note, authority = estate.gate.note(grant), estate.gate.granted_by(grant)
    if note is None:
        return  # it was released: the successor's session will find so
    is_lent = authority in estate.tied
    parcel.notes[grant.serial] = {"killed": note["killed"], "notify": note["notify"], "lent": is_lent}
    parcel.grants.append(grant)
    if is_lent and authority is not None:
        parcel.lent[grant.serial] = authority, grant

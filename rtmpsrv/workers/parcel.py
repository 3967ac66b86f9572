"""Sessions and channels of one slice, frozen: what is sent, and how it goes on here or is let go."""

from __future__ import annotations

from dataclasses import dataclass, field
from posix import close
from typing import Any

from ..access.gate import Authority, Grant
from ..errors import CannotMove
from ..server.listener import Listener
from ..server.session import Session
from ..server.session_state import Frozen
from .estate import Estate, channels_of
from .slices import Slice


@dataclass(slots=True)
class Parcel:
    """What is on its way to the successor. All of it is still here until `let_go`."""

    frozen: list[tuple[Listener, Frozen]] = field(default_factory=list)
    channels: list[tuple[str, dict[str, object], int]] = field(default_factory=list)  # with how many segments
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
            "channels": self.channels,
            "notes": self.notes,
        }

    def take_back(self) -> None:
        """Let the sessions go on in this process. Never blocks."""
        for listener, frozen in self.frozen:
            listener.adopt(frozen)

    def let_go(self, estate: Estate) -> None:
        """Close and forget what is another process's now, and tell nobody. Never blocks."""
        for _listener, frozen in self.frozen:
            close(frozen.descriptor)
        for name, _value, _segments in self.channels:
            estate.registry.abandon(name)
        for grant in self.grants:
            estate.gate.abandon(grant)


def freeze(part: Slice[Session], estate: Estate) -> Parcel:
    """Freeze a slice in one go; what cannot move is left out. Never blocks.

    A channel stays, with all its sessions, when its publisher does.
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
        if listener is None or not channels <= values.keys():
            continue  # it has ended, or belongs elsewhere by now
        try:
            parcel.frozen.append((listener, listener.release(session)))
        except CannotMove:
            if role == "publisher":
                for name in channels:
                    del values[name]
    parcel.descriptors += [frozen.descriptor for _listener, frozen in parcel.frozen]
    for name, value in values.items():
        parcel.channels.append((name, value, len(segments[name])))
        parcel.descriptors += segments[name]
    for _listener, frozen in parcel.frozen:
        grant = frozen.state.publication
        if isinstance(grant, Grant):
            _add(parcel, grant, estate)
    return parcel


def _add(parcel: Parcel, grant: Grant, estate: Estate) -> None:
    """Add what the gate knows of a publication."""
    note, authority = estate.gate.note(grant), estate.gate.granted_by(grant)
    if note is None or authority is None:
        return  # it was released: the successor's session will find so
    is_lent = authority in estate.tied
    parcel.notes[grant.serial] = {"killed": note["killed"], "notify": note["notify"], "lent": is_lent}
    parcel.grants.append(grant)
    if is_lent:
        parcel.lent[grant.serial] = authority, grant

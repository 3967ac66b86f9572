"""The gate and the limits of connections as a worker has them: the keeper decides, the worker remembers.

While the keeper is away streams go on: publishers wait for the next one, and so do connections, which are
counted here alone if none comes. What a worker has it tells each new keeper.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Collection
from time import monotonic
from typing import Final

from rtmpsrv.access.gate import KILLED, Authority, Grant, Note, PublishRequest, refusal
from rtmpsrv.access.limits import ConnectionLimits
from rtmpsrv.workers.calls import CallLost, Calls
from rtmpsrv.workers.link import Link

AWAY_S: Final = 5.0  # that a publisher waits for a keeper
SLOT_S: Final = 2.0  # that a connection waits for its answer, or for a keeper
MAX_WAITING: Final = 1000  # connections, for a keeper: they are not counted yet
TRAVEL_S: Final = 10.0  # for a publication to arrive at another worker
NUMBER_BITS: Final = 62  # of publications and connections: no two are alike, in any process at any time


class _Note:
    """What a worker knows of a publication. Changed by `RemoteGate` only."""

    __slots__ = ("grant", "killed", "on_kill")

    def __init__(self, on_kill: Callable[[str], None], grant: Grant | None = None) -> None:
        self.on_kill = on_kill
        self.grant = grant  # None while the keeper is asked
        self.killed = False


class RemoteGate:
    """What a relay knows as its gate. Nothing but `admit` blocks."""

    def __init__(self, link: Link, ask_s: float) -> None:
        """`ask_s`: what the authority may take at most."""
        self._link = link
        self._ask_s = ask_s
        self._notes: dict[int, _Note] = {}
        self._departed: dict[int, float] = {}  # serials, and when
        self._inherited: dict[int, bool] = {}  # serials of what has no session yet; whether it was killed
        self._asking: dict[Calls, int] = {}  # how many questions each keeper has not answered yet
        self._retired: dict[Calls, bool] = {}  # keepers: whether they hold on to what they granted
        # What those have granted while there was no other one to be told of it, and whether they hold on to
        # it: it is in no book.
        self._late: dict[int, tuple[Grant, bool]] = {}
        link.tells |= {"kill": self._kill, "retiring": self._retiring}
        link.says |= {"late": self._say_late, "claims": self.claims, "departed": self._departed_lately}

    def admit(self, request: PublishRequest, on_kill: Callable[[str], None]) -> Grant:
        """Ask the keeper; return a grant that the caller must release, or raise AccessDenied.

        Blocks up to the authority's deadline, and `AWAY_S` while there is no keeper. `on_kill` is called as
        `Gate.admit` says.
        """
        until = monotonic() + AWAY_S
        at_last = until + self._ask_s
        while True:
            line = self._link.wait(max(until - monotonic(), 0.0))
            if line is None:
                raise refusal("the process that decides is not there")
            serial = secrets.randbits(
                NUMBER_BITS
            )  # a new one each time: the keeper that died may have noted it
            note = self._notes[serial] = _Note(on_kill)
            grant: Grant | None = None
            self._asking[line] = self._asking.get(line, 0) + 1
            try:
                grant = line.call("admit", serial, request, timeout_s=self._ask_s)
            except CallLost:
                if self._link.line is line:
                    raise refusal("the process that decides did not answer") from None
                until = min(monotonic() + AWAY_S, at_last)  # for the next one
            finally:
                self._answered(line)
                if grant is None:
                    del self._notes[serial]
                    line.tell("release", serial)
                    self._part_with(line)
            if grant is not None:
                break
        note.grant = grant
        if line in self._retired:  # while it was asked
            holds = self._retired[line]
            if not self._link.tell("arrived", grant, holds):
                self._late[serial] = grant, holds
            self._part_with(line)
        if note.killed:
            self.release(grant)
            raise refusal(KILLED)
        return grant

    def activate(self, grant: Grant) -> bool:
        """Say whether a channel that just went live may stay so: False if it was killed since `admit`."""
        note = self._notes.get(grant.serial)
        return note is not None and not note.killed

    def rebind(self, grant: Grant, on_kill: Callable[[str], None]) -> bool:
        """Let another session answer for a publication, perhaps one that comes from another worker."""
        note = self._notes.get(grant.serial)
        if note is None:
            self._departed.pop(grant.serial, None)
            note = self._notes[grant.serial] = _Note(on_kill, grant)
            note.killed = self._inherited.pop(grant.serial, False)
            self._link.tell("arrived", grant, False)
        if not note.killed:
            note.on_kill = on_kill
        return not note.killed

    def depart(self, grant: Grant) -> None:
        """Let a publication go to another worker, where it is bound anew, or here again if that fails."""
        if self._notes.pop(grant.serial, None) is not None:
            self._late.pop(grant.serial, None)  # it arrives where it goes
            for serial in self._departed.keys() - set(self._departed_lately()):
                del self._departed[serial]
            self._departed[grant.serial] = monotonic()
            self._link.tell("depart", grant.serial)

    # --- of a succession --------------------------------------------------------------------------

    def note(self, grant: Grant) -> Note | None:
        """Return what another process needs to `inherit` a publication; None if it was released."""
        note = self._notes.get(grant.serial)
        return {"killed": note.killed, "notify": True} if note is not None else None

    def granted_by(self, grant: Grant) -> Authority | None:
        """Return None: the keeper's authority granted it."""
        return None

    def inherit(self, grant: Grant, note: Note, authority: Authority | None = None) -> Grant:
        """Take over a publication from the process before this one; its serial stays."""
        # The keeper learns of it with `rebind`: until then the process before may have to go on with it.
        self._inherited[grant.serial] = note["killed"]
        return grant

    def abandon(self, grant: Grant) -> None:
        """Forget a publication that another process has inherited."""
        self.depart(grant)

    def kill(self, channel: str, stream_id: str | None, reason: str) -> bool:
        """Return False: the keeper kills."""
        return False

    def kill_all(
        self,
        reason: str,
        notify: bool,
        of: Authority | None = None,
        serials: Collection[int] | None = None,
    ) -> None:
        """Do nothing: the keeper kills."""

    def block(self, channel: str, seconds: float) -> None:
        """Do nothing: the keeper knows."""

    def blocks(self) -> dict[str, float]:
        """Return nothing: the keeper knows."""
        return {}

    # --- the end ----------------------------------------------------------------------------------

    def release(self, grant: Grant, notify: bool = True) -> None:
        """End a publication; the keeper reports it. Calls after the first do nothing."""
        inherited = self._inherited.pop(grant.serial, None)
        if self._notes.pop(grant.serial, None) is not None or inherited is not None:
            self._link.tell("release", grant.serial)

    def claims(self) -> list[Grant]:
        """Return what is on the air here."""
        return [note.grant for note in self._notes.values() if note.grant is not None]

    def close(self, timeout_s: float) -> bool:
        """End what is left; return whether the keeper was told of all. Blocks up to `timeout_s`."""
        for grant in self.claims():
            self.release(grant)
        return self._link.close(timeout_s)

    def _say_late(self) -> list[tuple[Grant, bool]]:
        """Return what is in no book, also what is over, and whether a retired keeper holds on to it."""
        late, self._late = self._late, {}
        return list(late.values())

    def _departed_lately(self) -> list[int]:
        since = monotonic() - TRAVEL_S
        return [serial for serial, at in self._departed.items() if at > since]

    def _retiring(self, holds: bool) -> None:
        """Turn to the next keeper; this one answers what it was asked."""
        line = self._link.step_back()
        if line is not None:
            self._retired[line] = holds
            self._part_with(line)

    def _answered(self, line: Calls) -> None:
        self._asking[line] -= 1
        if not self._asking[line]:
            del self._asking[line]

    def _part_with(self, line: Calls) -> None:
        """Hang up on a keeper that has retired and owes no answer."""
        if line in self._retired and line not in self._asking:
            del self._retired[line]
            line.finish()

    def _kill(self, serial: int, reason: str) -> None:
        note = self._notes.get(serial)
        if note is None or note.killed:
            return
        note.killed = True
        if note.grant is not None:
            note.on_kill(reason)


class RemoteSlots:
    """What listeners know as their slots. Nothing but `admit` blocks."""

    def __init__(self, link: Link, limits: ConnectionLimits) -> None:
        """`limits` are those of a single process, for the time without a keeper."""
        self._link = link
        self._limits = limits
        self._held: dict[str, list[int]] = {}  # connections of an address are as good as each other
        self._gone: dict[str, int] = {}  # how many are still to be released here, but went elsewhere
        self._waiting = 0
        link.says["slots"] = self.held

    def admit(self, address: str) -> str | None:
        """Take a slot; return why not, None for yes. Blocks for four times `SLOT_S` at most."""
        number = secrets.randbits(NUMBER_BITS)
        line = None
        for _ in range(2):  # one may die meanwhile
            line = self._link.line or self._next_line()
            if line is None:
                break
            try:
                refused: str | None = line.call("slot", number, address, timeout_s=SLOT_S)
            except CallLost:
                if self._link.line is line:
                    break  # it is silent: as if there were none
            except BaseException:
                line.tell("slot_over", number)
                raise
            else:
                if refused is None:
                    self._note(number, address)
                return refused
        refused = self._limits.admit(address)
        if refused is None:
            self._limits.release(address)  # counted below, like all others
            self._note(number, address)
            self._link.tell("slot_taken", number, address)
        elif line is not None:
            line.tell("slot_over", number)
        return refused

    def release(self, address: str) -> None:
        """Give a slot back."""
        gone = self._gone.get(address, 0)
        if gone > 1:
            self._gone[address] = gone - 1
        elif gone:
            del self._gone[address]
        else:
            self._link.tell("slot_over", self._give(address))

    def depart(self, address: str) -> int:
        """Let one connection of an address go, whose `release` will count for nothing; return its number.

        It stays counted, as this worker's, until another one says that it has it. 0: it was never counted.
        """
        if address not in self._held:
            return 0
        self._gone[address] = self._gone.get(address, 0) + 1
        return self._give(address)

    def arrive(self, slot: int, address: str) -> None:
        """Count a connection that has departed elsewhere, or here; owed a `release`, too."""
        number = slot or secrets.randbits(NUMBER_BITS)
        self._note(number, address)
        self._link.tell("slot_taken", number, address)

    def passed_on(self, number: int, worker: str) -> None:
        """Say where a connection went that has departed."""
        self._link.tell("slot_passed_on", number, worker)

    def held(self) -> dict[int, str]:
        """Return all connections, by number and address."""
        return {number: address for address, numbers in self._held.items() for number in numbers}

    def describe(self) -> dict[str, int]:
        """Say how many slots are taken here, and by how many addresses."""
        return self._limits.describe()

    def _next_line(self) -> Calls | None:
        if self._waiting >= MAX_WAITING:
            return None
        self._waiting += 1
        try:
            return self._link.wait(SLOT_S)
        finally:
            self._waiting -= 1

    def _note(self, number: int, address: str) -> None:
        self._limits.take(address)
        self._held.setdefault(address, []).append(number)

    def _give(self, address: str) -> int:
        numbers = self._held[address]
        number = numbers.pop()
        if not numbers:
            del self._held[address]
        self._limits.release(address)
        return number

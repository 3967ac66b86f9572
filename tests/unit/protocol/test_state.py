from __future__ import annotations

import pytest

from rtmpsrv.errors import LocalProtocolError, RemoteProtocolError
from rtmpsrv.protocol import events
from rtmpsrv.protocol.state import (
    MACHINES,
    REFUSALS,
    TRANSITIONS,
    Machine,
    Phase,
    Role,
    following_phase,
    following_role,
)


def test_tables_know_no_pair_twice() -> None:
    assert not TRANSITIONS.keys() & REFUSALS.keys()


def test_every_event_moves_one_machine_and_is_allowed_somewhere() -> None:
    declared = {value for value in vars(events).values() if isinstance(value, type)}
    declared = {kind for kind in declared if issubclass(kind, events.Event)} - {events.Event}
    assert declared == MACHINES.keys() == {kind for _, kind in TRANSITIONS}


def test_rows_stay_on_their_machine() -> None:
    for (before, kind), after in TRANSITIONS.items():
        assert type(before) is type(after)
        assert isinstance(before, Phase) == (MACHINES[kind] is Machine.PHASE)
    words = {Machine.PUBLISH: "publish", Machine.PLAY: "play"}
    for machine, word in words.items():
        roles = {state for (state, kind) in TRANSITIONS if MACHINES[kind] is machine} - {Role.NONE}
        assert all(word in role.value for role in roles if isinstance(role, Role))


def test_nothing_follows_the_end_or_an_error() -> None:
    assert not [state for state, _ in TRANSITIONS if state in (Phase.CLOSED, Phase.ERROR)]


def test_every_state_is_reached_but_an_error() -> None:
    reached = set(TRANSITIONS.values()) | {Phase.C1, Role.NONE}
    assert reached == ({*Phase} | {*Role}) - {Phase.ERROR}


def test_pair_that_is_in_no_table_is_an_error_of_whoever_made_it() -> None:
    assert following_phase(Phase.CONNECTED, events.Ping(1), LocalProtocolError) is Phase.CONNECTED
    with pytest.raises(LocalProtocolError, match="Ping while closed"):
        following_phase(Phase.CLOSED, events.Ping(1), LocalProtocolError)
    assert following_role(Role.NONE, events.PlayAsked(1, "k"), LocalProtocolError) is Role.PLAY_ASKED
    with pytest.raises(RemoteProtocolError, match="PauseAsked while none"):
        following_role(Role.NONE, events.PauseAsked(True), RemoteProtocolError)

"""Who may go on for a publisher that is on the air."""

from __future__ import annotations

import pytest

from rtmpsrv.access.names import StreamName
from rtmpsrv.access.second_publisher import (
    MODES,
    REFUSE,
    STALLED,
    STALLED_S,
    TAKEOVER,
    Choice,
    choose,
    claim_of,
    same_right,
)

KEY = "Stream-Key_Zq7"


@pytest.mark.parametrize(
    ("mode", "same", "silent_s", "waited_s", "choice"),
    [
        (REFUSE, True, 0.0, 0.0, Choice.KEEP),
        (REFUSE, True, 3600.0, 3600.0, Choice.KEEP),
        (STALLED, True, 0.0, 0.0, Choice.WATCH),
        (STALLED, True, 0.04, 0.0, Choice.WATCH),
        (STALLED, True, 0.04, 0.1, Choice.KEEP),  # it was heard since
        (STALLED, True, 0.1, 0.1, Choice.WATCH),
        (STALLED, True, STALLED_S - 0.01, 2.0, Choice.WATCH),
        (STALLED, True, STALLED_S, 2.0, Choice.REPLACE),
        (STALLED, True, STALLED_S, 0.0, Choice.REPLACE),
        (STALLED, True, 1.0, 1.5, Choice.KEEP),
        (STALLED, False, 3600.0, 0.0, Choice.KEEP),
        (TAKEOVER, True, 0.0, 0.0, Choice.REPLACE),
        (TAKEOVER, True, 3600.0, 0.0, Choice.REPLACE),
        (TAKEOVER, False, 3600.0, 0.0, Choice.KEEP),
    ],
)
def test_who_is_there_keeps_its_channel_or_loses_it(
    mode: str, same: bool, silent_s: float, waited_s: float, choice: Choice
) -> None:
    assert choose(mode, same, False, silent_s, waited_s) is choice


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("same", [True, False])
def test_who_has_left_is_in_nobodys_way(mode: str, same: bool) -> None:
    assert choose(mode, same, True, 0.0, 0.0) is Choice.BURY


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (StreamName("news", KEY, shown=KEY), StreamName("news", KEY, shown=KEY), True),
        (StreamName("news", KEY, shown=KEY), StreamName("news", "k", shown="k"), False),
        (StreamName("news", "", shown=""), StreamName("news", "", shown=""), False),
        (StreamName("news"), StreamName("news"), False),
        (StreamName("n", token="t", shown="t"), StreamName("n", token="t", shown="t"), True),
        (StreamName("n", user="u", password="p"), StreamName("n", user="u", password="p"), True),
        (StreamName("n", user="u", password="p"), StreamName("n", user="u", password="q"), False),
        (StreamName("n", user="u"), StreamName("n", user="u"), False),
        (StreamName("n", user="u", password="p"), StreamName("n", shown="u\0p"), False),
        (
            StreamName("n", KEY, user="u", password="p", shown=KEY),
            StreamName("n", user="u", password="p"),
            True,
        ),
        (StreamName("n", "\udcff", shown="\udcff"), StreamName("n", "\udcff", shown="\udcff"), True),
    ],
)
def test_who_shows_the_same_has_the_same_right(one: StreamName, other: StreamName, same: bool) -> None:
    assert same_right(claim_of(one), claim_of(other)) is same
    assert same_right(claim_of(other), claim_of(one)) is same


def test_whom_a_token_names_is_the_same_with_another_token() -> None:
    one = claim_of(StreamName("n", token="t", shown="t"), "alice")
    assert same_right(one, claim_of(StreamName("n", token="u", shown="u"), "alice"))
    assert not same_right(one, claim_of(StreamName("n", token="u", shown="u"), "bob"))
    assert not same_right(one, claim_of(StreamName("n", "alice", shown="alice"))), "a key is no subject"


def test_a_claim_holds_no_secret() -> None:
    claim = claim_of(StreamName("n", KEY, user="user", password=KEY, shown=KEY), KEY)
    assert len(claim) == 3
    assert KEY not in repr(claim)

"""The pure parts of scripts/succession: marks, tallies, kinds, verdicts. No server, no load is started."""

from __future__ import annotations

import importlib
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

sys.path.append(str(Path(__file__).resolve().parents[2] / "scripts"))
coming = importlib.import_module("successionlib.coming")
kinds = importlib.import_module("successionlib.kinds")
marks = importlib.import_module("successionlib.marks")
seen = importlib.import_module("successionlib.seen")
sockets = importlib.import_module("successionlib.sockets")

AUDIO, VIDEO = 8, 9
CHANNEL = 3
Message = tuple[int, int, bytes]
GOOD = seen.Seen(
    kind=kinds.Kind.EARLY,
    channel=0,
    tls=False,
    closed=False,
    first=0,
    received=9,
    lost=0,
    missing=0,
    doubled=0,
    reordered=0,
    damaged=0,
    unwanted=0,
    told_end=True,
)


def stream(count: int = 12) -> list[Message]:
    """Messages of a channel, audio and video in turns."""
    source = marks.Source(CHANNEL, marks.Shape())
    kinds_in_turn = [VIDEO if number % 2 else AUDIO for number in range(count)]
    return [(type_id, *source.next(type_id, 1000 + n)) for n, type_id in enumerate(kinds_in_turn)]


def tallied(messages: list[Message], channel: int = CHANNEL, loose_from: int = -1) -> Any:
    tally = marks.Tally(channel)
    for number, message in enumerate(messages):
        if number == loose_from:
            tally.loosen()
        assert tally.take(*message)
    return tally


def counts(tally: Any) -> dict[str, int]:
    """What is not zero of what should be."""
    names = ("lost", "doubled", "reordered", "damaged", "unwanted")
    return {name: value for name in names if (value := getattr(tally, name))}


# --- marks and tallies --------------------------------------------------------------------------------


def test_nothing_is_wrong_with_all_messages_in_order() -> None:
    tally = tallied(stream(60))
    assert counts(tally) == {}
    assert tally.received == 60
    assert tally.first == {AUDIO: 0, VIDEO: 0}
    assert tally.missing({AUDIO: 30, VIDEO: 30}) == 0
    assert tally.sent_ns == 1059


def test_a_stream_has_the_bitrate_and_the_keyframes_that_it_should() -> None:
    shape = marks.Shape(bitrate_mbit=0.8, fps=10.0, sounds=10.0, gop_frames=10)
    source = marks.Source(CHANNEL, shape)
    bodies = [source.next(type_id, 0)[1] for _ in range(50) for type_id in (AUDIO, VIDEO)]
    assert sum(map(len, bodies)) * 8 / 5 == pytest.approx(0.8e6, rel=0.01)
    assert [number for number, body in enumerate(bodies[1::2]) if body[0] == 0x17] == [0, 10, 20, 30, 40]
    assert len(set(bodies)) == len(bodies)


def test_a_lost_message_is_counted() -> None:
    messages = stream()
    assert counts(tallied(messages[:4] + messages[5:])) == {"lost": 1}
    assert counts(tallied(messages[:4] + messages[8:])) == {"lost": 4}


def test_a_doubled_message_is_counted() -> None:
    messages = stream()
    assert counts(tallied([*messages[:5], messages[4], *messages[5:]])) == {"doubled": 1}


def test_messages_of_two_types_in_another_order_are_counted() -> None:
    messages = stream()
    assert counts(tallied([*messages[:4], messages[5], messages[4], *messages[6:]])) == {"reordered": 1}


@pytest.mark.parametrize("at", [0, 4, 12, 30, 36, 60, -1])
def test_a_changed_byte_is_found_wherever_it_is(at: int) -> None:
    messages = stream(2)
    type_id, timestamp, body = messages[1]
    changed = bytearray(body)
    changed[at] ^= 4
    assert counts(tallied([messages[0], (type_id, timestamp, bytes(changed))])) == {"damaged": 1}


def test_another_timestamp_and_another_channel_are_damage() -> None:
    type_id, timestamp, body = stream(1)[0]
    assert counts(tallied([(type_id, timestamp + 1, body)])) == {"damaged": 1}
    assert counts(tallied([(type_id, timestamp, body)], channel=CHANNEL + 1)) == {"damaged": 1}


def test_a_message_that_is_cut_short_is_damage() -> None:
    type_id, timestamp, body = stream(1)[0]
    assert counts(tallied([(type_id, timestamp, body[:-1])])) == {"damaged": 1}


def test_headers_are_no_marked_media() -> None:
    tally = marks.Tally(CHANNEL)
    assert not tally.take(VIDEO, 0, bytes.fromhex("1700000000") + bytes(60))
    assert not tally.take(AUDIO, 0, bytes.fromhex("af001210"))


def test_the_end_that_did_not_come_is_missing() -> None:
    tally = tallied(stream()[:9])
    assert tally.missing({AUDIO: 6, VIDEO: 6}) == 3
    assert marks.Tally(CHANNEL).missing({AUDIO: 6, VIDEO: 6}) == 12


def test_a_player_that_was_away_may_jump_once_for_each_type_and_forward_only() -> None:
    messages = stream(20)
    assert counts(tallied(messages[:4] + messages[10:], loose_from=4)) == {}
    assert counts(tallied(messages[:4] + messages[10:12] + messages[14:], loose_from=4)) == {"lost": 2}
    assert counts(tallied(messages[:4] + messages[2:], loose_from=4))["doubled"] == 2


def test_what_was_switched_off_is_unwanted_and_not_missed() -> None:
    tally = marks.Tally(CHANNEL, muted=frozenset((AUDIO,)))
    for message in stream(4):
        tally.take(*message)
    assert counts(tally) == {"unwanted": 2}
    assert tally.missing({AUDIO: 9, VIDEO: 2}) == 0


# --- kinds --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("channels", "players"), [(50, 500), (3, 45), (21, 100)])
def test_every_kind_is_there_and_every_channel_has_players(channels: int, players: int) -> None:
    made = kinds.parts(channels, players, tls_every=10)
    assert len(made) == players
    assert {part.kind for part in made} == set(kinds.Kind) - {kinds.Kind.NEWCOMER}
    assert {part.channel for part in made} == set(range(channels + 1))
    assert {part.channel for part in made if part.kind is kinds.Kind.PATIENT} == {channels}
    assert sum(part.tls for part in made) == -(-players // 10)


def test_those_who_play_later_may_be_kept_off_rtmps() -> None:
    made = kinds.parts(3, 90, tls_every=2, tls_later=False)
    assert {part.kind for part in made if part.tls} & kinds.LATER == set()
    assert any(part.tls for part in made)


# --- verdicts -----------------------------------------------------------------------------------------


def broken(*players: Any) -> list[str]:
    return [text for good, text in seen.claims(list(players)) if not good]


def test_no_claim_is_broken_when_all_is_well() -> None:
    assert broken(GOOD, replace(GOOD, kind=kinds.Kind.NORMAL, first=4)) == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"closed": True}, "1 of 2 players lost their connection"),
        ({"lost": 2}, "2 of 18 messages lost"),
        ({"missing": 1}, "1 of 18 messages missing"),
        ({"doubled": 1}, "1 of 18 messages doubled"),
        ({"reordered": 1}, "1 of 18 messages reordered"),
        ({"damaged": 1}, "1 of 18 messages damaged"),
        ({"unwanted": 1}, "1 of 18 messages unwanted"),
        ({"received": 0}, "1 players got nothing at all"),
        ({"first": 1}, "1 of those who were there first do not have the first message"),
        ({"told_end": False}, "1 players were not told the end of their stream"),
    ],
)
def test_each_fault_breaks_its_claim(change: dict[str, Any], said: str) -> None:
    assert broken(GOOD, replace(GOOD, **change)) == [said]


def test_the_table_has_a_line_for_each_kind() -> None:
    lines = seen.table([GOOD, GOOD, replace(GOOD, tls=True, lost=7)])
    assert len(lines) == 3
    assert lines[2].split()[-6:] == ["7", "0", "0", "0", "0", "0"]


def test_those_who_did_not_get_all_are_named() -> None:
    bad = [replace(GOOD, missing=3, channel=7, tls=True), replace(GOOD, closed=True)]
    first, second = seen.unlucky([GOOD, *bad])
    assert first.startswith("early, RTMPS on bench7: from 0 on, lost 0, missing 3, newest at ")
    assert second.endswith(", closed")
    assert len(seen.unlucky(bad * 9, most=4)) == 4


# --- the kernel's table -------------------------------------------------------------------------------

TABLE = """  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt
   0: 0100007F:078F 00000000:0000 0A 00000000:00000000 00:00000000 00000000
   1: 0100007F:078F 0100007F:C001 01 00001000:00000000 01:00000014 00000000
   2: 0100007F:C001 0100007F:078F 01 00000000:00000800 00:00000000 00000000
   3: 0100007F:1F90 0100007F:C001 01 00009999:00000000 00:00000000 00000000
"""


def test_what_sockets_hold_is_added_up_for_both_ends() -> None:
    assert sockets.parse(TABLE, 0x078F) == {0: 0, 0xC001: 0x1800}


# --- publishers that come and go ----------------------------------------------------------------------

VISITS = [
    coming.Visit("a", "closed", True),
    coming.Visit("b", "lost", True),
    coming.Visit("c", "refused", False),
]
TOLD = [("start", "a"), ("stop", "a"), ("start", "b"), ("stop", "b")]


def not_once(told: list[tuple[str, str]]) -> list[str]:
    return [text for good, text in coming.exactly_once(VISITS, told) if not good]


def test_one_start_and_one_stop_for_each_is_right() -> None:
    assert not_once(TOLD) == []
    assert not_once([*TOLD, ("start", "c"), ("stop", "c")]) == []  # granted, and gone before it knew


@pytest.mark.parametrize(
    ("told", "said"),
    [
        (
            [],
            ["0 publications were asked about", "2 publishers were accepted and not asked about ['a', 'b']"],
        ),
        (TOLD[:2], ["1 publishers were accepted and not asked about ['b']"]),
        ([*TOLD, ("start", "b")], ["1 were asked about more than once ['b']"]),
        (TOLD[:3], ["of 1 no end was told ['b']"]),
        ([*TOLD, ("stop", "a")], ["of 1 more than one end was told ['a']"]),
        ([*TOLD, ("stop", "d")], ["of 1 an end was told and no beginning ['d']"]),
    ],
)
def test_whatever_is_not_once_is_said(told: list[tuple[str, str]], said: list[str]) -> None:
    assert not_once(told) == said

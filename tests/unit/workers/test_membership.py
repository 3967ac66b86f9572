"""What an application and the other workers have to do with each other; the rest is in test_elsewhere.py."""

from __future__ import annotations

from pathlib import Path

from rtmpsrv.errors import AccessDenied
from rtmpsrv.server.host import Client
from tests.unit.workers.crew import APP, Hand, crew
from tests.unit.workers.lines import eventually


def test_the_keeper_describes_what_each_worker_says_of_itself(tmp_path: Path) -> None:
    with crew(tmp_path) as made:
        made.publish(made.hands[0])
        told = made.cluster.keeper.describe(2.0)
        assert told["silent"] == []
        assert {name: len(value["channels"]) for name, value in told["workers"].items()} == {"w1": 1, "w2": 0}


def test_a_worker_that_leaves_takes_in_nobody_and_its_ends_are_told(tmp_path: Path) -> None:
    with crew(tmp_path) as made:
        one, other = made.hands
        made.publish(one)
        one.membership.leave()
        waiting = made.play(other)
        eventually(lambda: other.players == 1, "it waits")
        one.listeners[0].end_publications("server is shutting down")
        eventually(lambda: made.cluster.desk.ended_ids == ["id-1"], "the end")
        assert one.membership.gate.close(2.0)
        eventually(lambda: "w1" not in made.cluster.keeper.members, "loss")
        made.publish(other)
        waiting.hear(lambda message: message.payload.endswith(b"first"))


def test_workers_sign_the_challenges_of_logins_with_the_same(tmp_path: Path) -> None:
    with crew(tmp_path) as made:
        one, other = made.hands
        assert one.membership.login_secret() == other.membership.login_secret() != b""


def test_a_channel_is_closed_and_an_address_turned_away_in_all_workers(tmp_path: Path) -> None:
    with crew(tmp_path) as made:
        one, other = made.hands
        one.membership.block("closed", 60.0)
        eventually(lambda: made.cluster.gate.blocks(), "the block")
        assert 59 < made.cluster.gate.blocks()["closed"] <= 60
        one.membership.turn_away("127.0.0.1", APP, 60.0)
        client = Client(1, "127.0.0.1", 1935, False)
        for hand in (one, other):
            eventually(lambda hand=hand: is_turned_away(hand, client), "the word of the keeper")  # type: ignore[misc]


def is_turned_away(hand: Hand, client: Client) -> bool:
    try:
        hand.relay.room.check_address(client, APP)
    except AccessDenied:
        return True
    return False

"""Several workers and a keeper as processes, on one port, with real clients."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.client import (
    AVC_HEADER,
    Client,
    Closed,
    Stage,
    interframe,
    keyframe,
    media_of,
    new_address,
    stage,
)  # fmt: skip
from tests.doubles import certificates
from tests.doubles.callback_server import Answer, CallbackServer, Received
from tests.doubles.control_server import ControlServer
from tests.doubles.secrets import CONTROL_SECRET, JWT_SECRET
from tests.integration.test_tls import TlsClient
from tests.worker_crew import WorkerCrew

CHANNELS = 12
MOST_CHANNELS = 40  # the kernel chooses who accepts: so many in one worker is no chance
PLAYERS = 3


@contextmanager
def crew(number: int = 2, **settings: str) -> Iterator[tuple[WorkerCrew, Stage]]:
    with WorkerCrew(number, **settings) as made, stage(made.port, strangers=True) as clients:
        yield made, clients


@contextmanager
def asking(number: int = 2, **settings: str) -> Iterator[tuple[WorkerCrew, Stage, CallbackServer]]:
    with CallbackServer(JWT_SECRET) as callback:
        callback.answer = numbered()
        with crew(number, CALLBACK_URL=callback.url, JWT_SECRET=JWT_SECRET, **settings) as (made, clients):
            yield made, clients, callback


def numbered() -> Callable[[Received], Answer]:
    """Give each publication a stream id of its own."""
    ids = iter(range(1, 10_000))
    return lambda received: Answer(
        headers={"stream-id": f"id-{next(ids)}"} if received.event == "start" else {}
    )


def events(callback: CallbackServer, event: str) -> list[str]:
    key = "stream_id" if event == "stop" else "channel"
    return [received.claims[key] for received in callback.received if received.event == event]


def owners(told: dict[str, Any]) -> dict[str, str]:
    on_air: dict[str, str] = told["keeper"]["on_air"]
    return on_air


def test_every_player_gets_everything_wherever_it_and_its_publisher_were_accepted() -> None:
    with crew() as (made, clients):
        names = [f"c{number}" for number in range(CHANNELS)]
        early = {name: clients.player(name) for name in names}
        publishers = {name: clients.publisher(name) for name in names}
        while not is_in_both(made) and len(names) < MOST_CHANNELS:
            names.append(f"c{len(names)}")
            early[names[-1]] = clients.player(names[-1])
            publishers[names[-1]] = clients.publisher(names[-1])
        players = {name: [clients.player(name) for _ in range(PLAYERS - 1)] for name in names}
        told = made.wait_until(lambda told: playing(told) == len(names) * PLAYERS)
        assert set(owners(told).values()) == {"w1", "w2"}
        for name, publisher in publishers.items():
            publisher.video(0, keyframe(name.encode()))
            for number in range(1, 20):
                publisher.video(40 * number, interframe(b"%d" % number))
        for name, publisher in publishers.items():
            sent = [keyframe(name.encode()), *(interframe(b"%d" % number) for number in range(1, 20))]
            for player in [early[name], *players[name]]:
                heard = media_of(clients.passed(publisher, player))
                assert [message.payload for message in heard][-20:] == sent


def is_in_both(made: WorkerCrew) -> bool:
    return len(set(owners(made.describe()).values())) > 1


def playing(told: dict[str, Any]) -> int:
    return sum(channel["players"] - channel["waiting"] for channel in channels(told))


def channels(told: dict[str, Any]) -> list[dict[str, Any]]:
    return [channel for worker in told["workers"].values() for channel in worker["channels"]]


def test_a_killed_worker_costs_its_own_and_each_end_is_told_once() -> None:
    with asking() as (made, clients, callback):
        for number in range(100):  # which of them accepts is up to the kernel
            clients.publisher(f"c{number}")
            on_air = owners(made.wait_until(lambda told: len(owners(told)) > number))  # noqa: B023
            if len(set(on_air.values())) == 2:
                break
        lost = [name for name, worker in on_air.items() if worker == "w1"]
        made.kill("w1")
        for name in lost:
            assert callback.wait_for("stop", channel=name)
        told = made.wait_for(1)
        assert owners(told) == {name: worker for name, worker in on_air.items() if worker == "w2"}
        made.start_worker()
        made.wait_for(2)
        for name in lost:
            clients.publisher(name)
        stops = events(callback, "stop")
        assert len(stops) == len(set(stops)) == len(lost)
        assert len(events(callback, "start")) == len(on_air) + len(lost)


def test_a_killed_keeper_costs_nothing() -> None:
    with asking() as (made, clients, callback):
        publisher, leaver = clients.publisher("stays"), clients.publisher("leaves")
        player = clients.player("stays")
        clients.passed(publisher, player)
        made.kill("keeper")
        leaver.close()  # nobody is there to be told
        publisher.video(40, interframe(b"meanwhile"))
        heard = media_of(clients.passed(publisher, player))
        assert [message.payload for message in heard] == [interframe(b"meanwhile")]
        made.start_keeper()
        made.wait_for(2)
        assert callback.wait_for("stop", channel="leaves")
        clients.publisher("leaves")
        publisher.close()
        assert callback.wait_for("stop", channel="stays")
        assert events(callback, "start") == ["stays", "leaves", "leaves"]
        assert sorted(events(callback, "stop")) == ["id-1", "id-2"]


def test_a_stop_that_could_not_be_delivered_outlives_the_keeper() -> None:
    with asking() as (made, clients, callback):
        accepts = callback.answer
        callback.answer = lambda received: Answer(503) if received.event == "stop" else accepts(received)
        clients.publisher("news").close()
        assert callback.wait_for("stop", channel="news")
        made.kill("keeper")
        callback.answer = accepts
        before = len(events(callback, "stop"))
        made.start_keeper()
        made.wait_until(lambda told: told and told["keeper"]["unreported"] == 0)
        assert events(callback, "stop")[before:] == ["id-1"]


def test_a_keeper_that_is_replaced_ends_by_itself_and_costs_nothing() -> None:
    with asking() as (made, clients, callback):
        publisher, player = clients.publisher("stays"), clients.player("stays")
        clients.passed(publisher, player)
        first = made.keeper
        made.start_keeper()
        assert first.wait(20) == 0
        told = made.wait_for(2)
        assert owners(told).keys() == {"stays"}
        clients.passed(publisher, player)
        publisher.close()
        assert callback.wait_for("stop", channel="stays")
        assert (events(callback, "start"), events(callback, "stop")) == (["stays"], ["id-1"])


def test_what_a_control_server_granted_stays_with_its_link() -> None:
    with (
        ControlServer(CONTROL_SECRET) as control,
        crew(CONTROL_USE="YES", CONTROL_BASE_URL=control.url, CONTROL_SECRET=CONTROL_SECRET) as (
            made,
            clients,
        ),
    ):
        link = control.wait_for_link()
        stays, killed = clients.publisher("stays"), clients.publisher("killed")
        first = made.keeper
        made.start_keeper()
        next_link = control.wait_for_link(2)
        made.wait_until(lambda told: told and owners(told).keys() == {"stays", "killed"})
        later = clients.publisher("later")
        assert link.alive
        control.send(link, "STREAM-KILL", {"Stream-Channel": "killed"})
        killed.expect_closed()
        assert control.wait_for("PUBLISH-END", where={"Stream-Channel": "killed"})
        player = clients.player("stays")
        clients.passed(stays, player)
        stays.close()
        assert control.wait_for("PUBLISH-END", 2)
        assert [one.kind for one in link.received].count("PUBLISH-END") == 2
        assert first.wait(15) == 0
        assert next_link.alive
        player = clients.player("later")
        clients.passed(later, player)
        made.kill("keeper")  # and the control server forgets what it granted over its link
        made.start_keeper()
        later.expect_closed(15)


def test_what_is_on_tls_plays_and_publishes_wherever_it_was_accepted(tmp_path: Path) -> None:
    pair = certificates.make(tmp_path)
    with crew(SSL_CERT=pair.certificate, SSL_KEY=pair.key, CONCURRENT_LIMIT_WHITELIST="*") as (made, clients):
        publishers, players = {}, {}
        for number in range(MOST_CHANNELS):
            if number >= 6 and is_in_both(made):
                break
            name = f"c{number}"
            publishers[name] = clients.add(TlsClient(made.secure_port)).publish(name)
            publishers[name].video(0, AVC_HEADER)
            players[name] = [
                clients.player(name), *(clients.add(TlsClient(made.secure_port)).play(name) for _ in range(3))
            ]  # fmt: skip
        told = made.wait_until(lambda told: playing(told) == 4 * len(publishers))
        assert set(owners(told).values()) == {"w1", "w2"}
        assert len([one for one in channels(told) if one["live"]]) > 6  # copies
        for name, publisher in publishers.items():
            publisher.video(0, keyframe(name.encode()))
            for number in range(1, 20):
                publisher.video(40 * number, interframe(b"%d" % number))
            sent = [keyframe(name.encode()), *(interframe(b"%d" % number) for number in range(1, 20))]
            for player in players[name]:
                heard = media_of(clients.passed(publisher, player))
                assert [message.payload for message in heard][-20:] == sent


def test_a_channel_with_more_players_than_one_worker_serves_and_the_death_of_one() -> None:
    with crew(3, SPREAD_PLAYERS="4") as (made, clients):
        publisher = clients.publisher("big")
        players = [clients.player("big") for _ in range(24)]
        told = made.wait_until(lambda told: playing(told) == 24)
        owner = owners(told)["big"]
        assert len([one for one in channels(told) if one["live"]]) == 3
        publisher.video(0, keyframe(b"all"))
        for player in players:
            assert media_of(clients.passed(publisher, player))[-1].payload == keyframe(b"all")
        served = {
            name: sum(one["role"] == "player" for one in worker["sessions"])
            for name, worker in told["workers"].items()
        }
        made.kill(owner)
        again = clients.publisher("big")
        again.video(0, keyframe(b"again"))
        made.wait_until(lambda told: playing(told) == 24 - served[owner])
        heard = 0
        for player in players:
            try:
                before = clients.passed(again, player)
            except (Closed, OSError):
                continue
            heard += media_of(before)[-1].payload == keyframe(b"again")
        assert heard == 24 - served[owner]


def test_the_limit_of_an_address_holds_over_all_workers_before_and_after_a_keeper_s_death() -> None:
    with crew(MAX_IP_CONCURRENT_CONNECTIONS="3") as (made, clients), ExitStack() as open_ones:
        address = new_address()

        def connect() -> Client:
            return clients.client(source=address).connect("news")

        kept = [connect() for _ in range(3)]
        for _ in range(4):
            with pytest.raises((Closed, OSError)):
                connect()
        made.kill("keeper")
        made.start_keeper()
        made.wait_for(2)
        for _ in range(4):
            with pytest.raises((Closed, OSError)):
                connect()
        kept.pop().close()
        made.wait_until(lambda told: told["keeper"]["connections"] == 2)
        kept.append(open_ones.enter_context(connect()))
        with pytest.raises((Closed, OSError)):
            connect()


def test_all_ends_with_the_signal_and_everything_is_reported() -> None:
    with asking() as (made, clients, callback):
        for number in range(4):
            clients.publisher(f"c{number}")
        for process in made.workers.values():
            process.send_signal(signal.SIGTERM)
        for process in made.workers.values():
            assert process.wait(15) == 0
        made.keeper.send_signal(signal.SIGTERM)
        assert made.keeper.wait(15) == 0
        assert sorted(events(callback, "stop")) == ["id-1", "id-2", "id-3", "id-4"]

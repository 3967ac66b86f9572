"""Several workers look like one server to clients, backends and limits, whatever is killed among them."""

from __future__ import annotations

from collections.abc import Iterator

import gevent
import pytest

from tests.client import Client, Closed
from tests.integration.test_succession_load import PATIENT, succession
from tests.succession_process import Family

LIMIT = 6
TRIES = 24


@pytest.mark.alone  # hundreds of publishers
def test_200_channels_with_3_players_each_lose_nothing() -> None:
    load = ("--publishers", "200", "--players", "600", "--mbit", "0.1", "--fps", "4")
    done = succession("--workers", "2", "--successions", "0", *load, *PATIENT)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.half  # hundreds of clients
@pytest.mark.parametrize("number", ["HUP", "USR2"])
def test_neither_a_reload_nor_an_upgrade_loses_anything(number: str) -> None:
    load = ("--publishers", "12", "--players", "126", *PATIENT)
    done = succession("--workers", "2", "--successions", "2", "--signal", number, *load)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.alone  # workers are killed, whatever the others need
def test_each_publisher_is_told_of_once_though_workers_and_keeper_are_killed() -> None:
    done = succession("--churn", "0.5", "--kill-every", "8", "--publishers", "20", "--workers", "2")
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture
def limited() -> Iterator[Family]:
    with Family(WORKERS="2", MAX_IP_CONCURRENT_CONNECTIONS=str(LIMIT), BIND_ADDRESS="127.0.0.1") as family:
        yield family
        assert family.faults() == []


def admitted(port: int) -> Client | None:
    """Connect; None when the server turns the connection away."""
    client = Client(port)
    try:
        return client.connect("limited")
    except (Closed, OSError):
        client.close()
        return None


@pytest.mark.half
def test_the_limit_of_an_address_counts_the_connections_of_all_workers(limited: Family) -> None:
    limited.wait_for_line("connected to the keeper", count=2)  # without it each counts its own
    asking = [gevent.spawn(admitted, limited.port) for _ in range(TRIES)]
    gevent.joinall(asking, timeout=30, raise_error=True)
    let_in = [client for one in asking if (client := one.value) is not None]
    try:
        assert len(let_in) == LIMIT
        assert admitted(limited.port) is None
        let_in.pop().close()
        limited.wait_for_line("closed: ")  # those that were turned away have no such line
        again = admitted(limited.port)
        assert again is not None
        let_in.append(again)
        assert admitted(limited.port) is None
    finally:
        for client in let_in:
            client.close()

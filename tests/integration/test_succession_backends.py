"""Who may publish, who ends a stream, how many may connect: over successions as if there were one process."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import gevent
import pytest

from tests.client import Client, Closed, Stage, keyframe, names_of
from tests.doubles.callback_server import Answer, CallbackServer, Received, accept
from tests.doubles.control_server import ControlServer
from tests.doubles.redis_server import RedisServer
from tests.doubles.secrets import CONTROL_SECRET, JWT_SECRET, KEY
from tests.succession_process import Family

COMMANDS = "rtmp_commands"
ENDED = ["NetStream.Play.UnpublishNotify", "StreamEOF"]
QUIET_S = 1.0  # for a second report, which must not come
LINK_S = 15.0  # for a link of the successor's own
LIMIT = 6
SOON_S = 10.0
KILL_EVERY_S = 0.1  # some before, some in the middle, some after


class On(Stage):
    """Clients of a family, with pairs of a publisher and its player."""

    def pair(self, channel: str) -> tuple[Client, Client]:
        publisher, player = self.publisher(channel, KEY), self.player(channel, KEY)
        self.passed(publisher, player)
        return publisher, player


@contextmanager
def open_on(family: Family) -> Iterator[On]:
    """Open clients for the time of the block; the log must show no bug."""
    on = On(family.port, strangers=True)
    try:
        yield on
    finally:
        on.close()
    assert family.faults() == []


def flows(on: On, pair: tuple[Client, Client]) -> bool:
    """Tell whether a picture comes through, and nothing else."""
    publisher, player = pair
    publisher.video(40, keyframe(b"flows"))
    return names_of(on.passed(publisher, player)) == ["video flows"]


# --- the callback -------------------------------------------------------------------------------------


@pytest.fixture
def backend() -> Iterator[CallbackServer]:
    with CallbackServer(JWT_SECRET) as running:
        yield running


@pytest.fixture
def asked(backend: CallbackServer) -> Iterator[Family]:
    with Family(CALLBACK_URL=backend.url, JWT_SECRET=JWT_SECRET, CONCURRENT_LIMIT_WHITELIST="*") as family:
        yield family


def counted(backend: CallbackServer) -> dict[tuple[str, str], int]:
    found: dict[tuple[str, str], int] = {}
    for one in backend.received:
        place = (one.event, str(one.claims["channel"]))
        found[place] = found.get(place, 0) + 1
    return found


def test_start_and_stop_are_told_once_each_whichever_process_has_the_publisher(
    backend: CallbackServer, asked: Family
) -> None:
    with open_on(asked) as on:
        first, second = on.pair("first"), on.pair("second")
        asked.succeed()
        assert flows(on, first)
        third = on.pair("third")
        first[0].close()
        assert backend.wait_for("stop", channel="first")
        asked.succeed()
        assert flows(on, second)
        assert flows(on, third)
        second[0].close()
        third[0].close()
        assert backend.wait_for("stop", count=3)
        stops = {one.claims["channel"]: one.claims["stream_id"] for one in backend.events("stop")}
        assert stops == {name: f"id-{name}" for name in ("first", "second", "third")}
    assert not backend.wait_for("stop", count=4, timeout_s=QUIET_S)
    names = ("first", "second", "third")
    assert counted(backend) == {(event, name): 1 for event in ("start", "stop") for name in names}


def test_a_publisher_whose_callback_is_under_way_is_asked_about_once(
    backend: CallbackServer, asked: Family
) -> None:
    def slowly(received: Received) -> Answer:
        answer = accept(received)
        return Answer(headers=answer.headers, delay_s=2.0 if received.event == "start" else 0.0)

    backend.answer = slowly
    with open_on(asked) as on:
        publisher = on.client().connect("slow")
        publisher.ask_publish(KEY, publisher.create_stream())
        assert backend.wait_for("start", channel="slow")
        asked.succeed()
        publisher.expect_status("NetStream.Publish.Start")
        backend.answer = accept
        player = on.player("slow", KEY)
        on.passed(publisher, player)
        assert flows(on, (publisher, player))
        asked.succeed()
        assert flows(on, (publisher, player))
        publisher.close()
        assert backend.wait_for("stop", channel="slow")
    assert counted(backend) == {("start", "slow"): 1, ("stop", "slow"): 1}


# --- limits -------------------------------------------------------------------------------------------


def admitted(port: int) -> Client | None:
    """Connect from the one address that all share; None when the server turns it away."""
    client = Client(port, source="127.0.9.9")
    try:
        return client.connect("limited")
    except (Closed, OSError):
        client.close()
        return None


def test_the_limit_of_an_address_is_exact_after_successions() -> None:
    with Family(MAX_IP_CONCURRENT_CONNECTIONS=str(LIMIT)) as family:
        kept: list[Client] = []
        try:
            while len(kept) < LIMIT - 2:
                client = admitted(family.port)
                assert client is not None
                kept.append(client)
            for _ in range(2):
                family.succeed()
                more = [admitted(family.port) for _ in range(4)]
                assert [client is not None for client in more] == [True, True, False, False]
                for client in more:
                    if client is not None:
                        client.close()
                family.wait_for_line("closed: ", count=2)
                # one that came before the succession leaves after it, and makes room
                kept.pop().close()
                extra = eventually_admitted(family.port)
                kept.append(extra)
        finally:
            for client in kept:
                client.close()
        assert family.faults() == []


def eventually_admitted(port: int) -> Client:
    """Connect as soon as the server has seen that another one left."""
    for _ in range(100):
        client = admitted(port)
        if client is not None:
            return client
    raise AssertionError("nobody is let in any more")


# --- Redis --------------------------------------------------------------------------------------------


def test_a_kill_by_redis_reaches_the_publisher_in_whichever_process_it_is() -> None:
    with RedisServer() as redis:
        settings = {"REDIS_USE": "YES", "REDIS_PORT": str(redis.port), "CONCURRENT_LIMIT_WHITELIST": "*"}
        with Family(**settings) as family:
            assert redis.wait_for_subscriber(COMMANDS)
            with open_on(family) as on:
                first, second = on.pair("first"), on.pair("second")
                family.succeed()
                # the old process may hear it too, until it has left
                assert redis.publish(COMMANDS, "kill-session>first") >= 1
                first[0].expect_closed()
                assert names_of([first[1].read(), first[1].read()]) == ENDED
                assert flows(on, second)


def test_a_kill_by_redis_in_the_middle_of_a_succession_is_not_lost() -> None:
    with RedisServer() as redis:
        settings = {"REDIS_USE": "YES", "REDIS_PORT": str(redis.port), "CONCURRENT_LIMIT_WHITELIST": "*"}
        with Family(**settings) as family:
            assert redis.wait_for_subscriber(COMMANDS)
            with open_on(family) as on:
                pairs = {f"c{number}": on.pair(f"c{number}") for number in range(20)}
                killing = gevent.spawn(_kill_each, redis, list(pairs))
                family.succeed()
                assert all(killing.get(timeout=SOON_S))
                for publisher, player in pairs.values():
                    publisher.expect_closed()
                    assert names_of([player.read(), player.read()]) == ENDED


def _kill_each(redis: RedisServer, channels: list[str]) -> list[int]:
    """Kill one after the other while a succession takes its time; return how many heard each."""
    heard = []
    for channel in channels:
        heard.append(redis.publish(COMMANDS, f"kill-session>{channel}"))
        gevent.sleep(KILL_EVERY_S)
    return heard


# --- the control server -------------------------------------------------------------------------------


@pytest.fixture
def control() -> Iterator[ControlServer]:
    with ControlServer(CONTROL_SECRET) as running:
        yield running


@pytest.fixture
def controlled(control: ControlServer) -> Iterator[Family]:
    with Family(
        CONTROL_USE="YES",
        CONTROL_BASE_URL=control.url,
        CONTROL_SECRET=CONTROL_SECRET,
        CONCURRENT_LIMIT_WHITELIST="*",
    ) as family:
        control.wait_for_link()
        yield family


def test_what_an_old_link_granted_stays_until_it_ends_and_then_the_link_closes(
    control: ControlServer, controlled: Family
) -> None:
    with open_on(controlled) as on:
        old = control.wait_for_link()
        stays, leaves, killed = on.pair("stays"), on.pair("leaves"), on.pair("killed")
        controlled.succeed()
        new = control.wait_for_link(2, LINK_S)
        assert old.alive
        assert set(old.channels) == {"stays", "leaves", "killed"}
        for pair in (stays, leaves, killed):
            assert flows(on, pair)
        # a kill over the old link reaches the publisher in the new process
        control.send(old, "STREAM-KILL", {"Stream-Channel": "killed"})
        killed[0].expect_closed()
        # an end in the new process is told over the old link, once
        leaves[0].close()
        control.wait_for("PUBLISH-END", count=2)
        assert sorted(one["Stream-Channel"] for one in old.received if one.kind == "PUBLISH-END") == [
            "killed",
            "leaves",
        ]
        # newcomers are asked about over the new link
        fresh = on.pair("fresh")
        assert set(new.channels) == {"fresh"}
        assert old.alive
        assert flows(on, stays)
        stays[0].close()
        assert control.wait_for_loss(old)
        ends = [one["Stream-Channel"] for one in old.received if one.kind == "PUBLISH-END"]
        assert sorted(ends) == ["killed", "leaves", "stays"]
        assert new.alive
        assert flows(on, fresh)
        assert not [one for one in new.received if one.kind == "PUBLISH-END"]


def test_a_link_without_publications_closes_with_its_process(
    control: ControlServer, controlled: Family
) -> None:
    old = control.wait_for_link()
    controlled.succeed()
    control.wait_for_link(2, LINK_S)
    assert control.wait_for_loss(old)


def test_two_successions_leave_two_old_links_each_with_its_own(
    control: ControlServer, controlled: Family
) -> None:
    with open_on(controlled) as on:
        first = on.pair("first")
        controlled.succeed()
        control.wait_for_link(2, LINK_S)
        second = on.pair("second")
        controlled.succeed()
        control.wait_for_link(3, LINK_S)
        links = control.links
        assert [set(link.channels) for link in links] == [{"first"}, {"second"}, set()]
        assert flows(on, first)
        assert flows(on, second)
        control.send(links[0], "STREAM-KILL", {"Stream-Channel": "first"})
        first[0].expect_closed()
        assert control.wait_for_loss(links[0])
        second[0].close()
        assert control.wait_for_loss(links[1])
        assert links[2].alive

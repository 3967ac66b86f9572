"""What a worker knows by itself: without a keeper, with one that is silent, and one that dies."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import gevent
import pytest
from gevent.event import Event

from rtmpsrv.access.gate import PublishRequest
from rtmpsrv.errors import AccessDenied
from rtmpsrv.workers import remote
from tests.unit.workers.lines import PATIENCE_S, eventually, wires
from tests.unit.workers.stage import Cluster, Worker


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    cluster = Cluster(tmp_path)
    yield cluster
    cluster.close()


# --- the gate -------------------------------------------------------------------------------------


def test_publishers_are_refused_when_no_keeper_comes(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote, "AWAY_S", 0.01)
    with pytest.raises(AccessDenied, match="the process that decides is not there"):
        Worker("w1").publish()


def test_publishers_wait_for_the_next_keeper(cluster: Cluster) -> None:
    worker = Worker("w1")
    cluster.workers.append(worker)
    publishing = worker.publish_later()
    cluster.connect(worker)
    assert publishing.get(timeout=PATIENCE_S).stream_id == "id-1"


def test_a_keeper_that_dies_while_it_is_asked_is_replaced(cluster: Cluster) -> None:
    worker = cluster.worker()
    cluster.desk.go_on.clear()
    publishing = worker.publish_later()
    eventually(lambda: cluster.desk.asked, "asked")
    cluster.kill_keeper()
    cluster.desk.go_on.set()
    cluster.new_keeper()
    cluster.connect(worker)
    assert publishing.get(timeout=PATIENCE_S).stream_id == "id-2"
    assert cluster.keeper.book.directory() == {"news": "w1"}


def test_a_keeper_that_does_not_answer_refuses_and_its_late_yes_is_taken_back(cluster: Cluster) -> None:
    worker = cluster.worker(ask_s=0.02)
    cluster.desk.go_on.clear()
    with pytest.raises(AccessDenied, match="the process that decides did not answer"):
        worker.publish()
    cluster.desk.go_on.set()
    eventually(lambda: cluster.desk.ended_ids == ["id-1"], "the end")
    assert worker.gate.claims() == []


def test_another_session_may_answer_for_a_publication_until_it_is_killed(cluster: Cluster) -> None:
    worker, second, third = cluster.worker(), list[str](), list[str]()
    grant = worker.publish()
    assert worker.gate.rebind(grant, second.append)
    cluster.gate.kill("news", None, "killed")
    eventually(lambda: second == ["killed"], "kill")
    assert not worker.gate.rebind(grant, third.append)
    worker.gate._kill(grant.serial, "again")
    assert (worker.kills, second, third) == ([], ["killed"], [])


def test_what_departed_long_ago_is_forgotten(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    worker = cluster.worker()
    first, second = worker.publish(), worker.gate
    second.depart(first)
    second.depart(first)
    assert second._departed_lately() == [first.serial]
    monkeypatch.setattr(remote, "TRAVEL_S", 0.0)
    assert second._departed_lately() == []
    cluster.keeper.release(first.serial)
    second.depart(worker.publish())
    assert first.serial not in second._departed


def test_closing_releases_everything_and_says_whether_that_was_sent(cluster: Cluster) -> None:
    worker, alone = cluster.worker(), Worker("alone")
    worker.publish()
    assert worker.gate.close(PATIENCE_S)
    eventually(lambda: cluster.desk.ended_ids == ["id-1"], "the end")
    assert not alone.gate.close(0.01)


# --- slots ----------------------------------------------------------------------------------------


def admitted(worker: Worker, address: str = "10.0.0.1") -> bool:
    return worker.slots.admit(address) is None


def test_the_limit_holds_over_all_workers_and_slots_come_back(cluster: Cluster) -> None:
    one, other = cluster.worker(), cluster.worker()
    assert [admitted(one), admitted(other), admitted(one), admitted(other)] == [True, True, False, False]
    assert "limit of 2 connections from one address" in str(one.slots.admit("10.0.0.1"))
    other.slots.release("10.0.0.1")
    cluster.sync(other)
    assert admitted(one)
    assert (one.slots.describe()["open"], other.slots.describe()["open"]) == (2, 0)


def test_connections_wait_for_the_next_keeper_so_that_the_limit_holds(cluster: Cluster) -> None:
    one, other = cluster.worker(), cluster.worker()
    assert [admitted(one), admitted(one)] == [True, True]
    cluster.kill_keeper()
    asking = gevent.spawn(admitted, other)
    gevent.sleep(0.01)
    cluster.new_keeper()
    for worker in (one, other):
        cluster.connect(worker)
    assert asking.get(timeout=PATIENCE_S) is False


def test_no_more_connections_wait_for_a_keeper_than_a_limit(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote, "MAX_WAITING", 1)
    worker = Worker("w1")
    cluster.workers.append(worker)
    first = gevent.spawn(admitted, worker)
    gevent.sleep(0)
    assert admitted(worker)
    assert not first.ready()
    cluster.connect(worker)
    assert first.get(timeout=PATIENCE_S)
    assert len(cluster.keeper.slots) == 2


def test_a_keeper_that_dies_while_it_counts_is_replaced(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = cluster.worker(), cluster.worker()
    assert [admitted(one), admitted(one)] == [True, True]
    asked: list[object] = []
    silent = Event()

    def admit_connection(*what: object) -> None:
        asked.append(what)
        silent.wait(PATIENCE_S)

    monkeypatch.setattr(cluster.keeper, "admit_connection", admit_connection)
    asking = gevent.spawn(admitted, other)
    eventually(lambda: asked, "asked")
    cluster.kill_keeper()
    cluster.new_keeper()
    for worker in (one, other):
        cluster.connect(worker)
    assert asking.get(timeout=PATIENCE_S) is False
    silent.set()


def test_without_a_keeper_connections_are_counted_here_and_the_next_one_is_told(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote, "SLOT_S", 0.01)
    one, other = cluster.worker(), cluster.worker()
    assert admitted(one)
    cluster.kill_keeper()
    assert [admitted(one), admitted(one), admitted(other)] == [True, False, True]
    monkeypatch.undo()
    cluster.new_keeper()
    for worker in (one, other):
        cluster.connect(worker)
    assert len(cluster.keeper.slots) == 3
    one.slots.release("10.0.0.1")
    cluster.sync(one)
    assert not admitted(other)
    one.slots.release("10.0.0.1")
    cluster.sync(one)
    assert admitted(other)


@pytest.mark.parametrize("here", [True, False])
def test_a_keeper_that_is_silent_is_waited_for_a_little(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch, here: bool
) -> None:
    monkeypatch.setattr(remote, "SLOT_S", 0.01)
    worker = cluster.worker()
    if not here:
        for _ in range(2):
            assert admitted(worker)
    monkeypatch.setattr(cluster.keeper, "admit_connection", lambda *arguments: gevent.sleep(0.1))
    assert admitted(worker) == here
    cluster.sync(worker)
    assert len(cluster.keeper.slots) == (1 if here else 2)


def test_a_keeper_that_dies_meanwhile_is_as_none(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "SLOT_S", 0.05)
    worker = cluster.worker()
    monkeypatch.setattr(cluster.keeper, "admit_connection", lambda *arguments: cluster.keeper.leave())
    assert admitted(worker)
    assert worker.slots.held() != {}


def test_a_connection_that_moves_keeps_its_slot(cluster: Cluster) -> None:
    one, other = cluster.worker(), cluster.worker()
    assert [admitted(one), admitted(one)] == [True, True]
    number = one.slots.depart("10.0.0.1")
    one.slots.release("10.0.0.1")  # by the listener, whose session is over
    assert not admitted(other)
    other.slots.arrive(number, "10.0.0.1")
    one.slots.passed_on(number, "w2")
    for worker in (one, other):
        cluster.sync(worker)
        assert not admitted(worker)
    assert (len(one.slots.held()), len(other.slots.held())) == (1, 1)
    cluster.kill(one)
    assert len(cluster.keeper.slots) == 1
    other.slots.release("10.0.0.1")
    cluster.sync(other)
    assert len(cluster.keeper.slots) == 0


def test_a_move_that_fails_leaves_all_as_it_was(cluster: Cluster) -> None:
    worker = cluster.worker()
    assert [admitted(worker), admitted(worker)] == [True, True]
    for _ in range(2):
        worker.slots.arrive(worker.slots.depart("10.0.0.1"), "10.0.0.1")
    for _ in range(3):  # the first two are those of the listener, whose sessions are over
        cluster.sync(worker)
        assert not admitted(worker)
        worker.slots.release("10.0.0.1")
    worker.slots.release("10.0.0.1")
    cluster.sync(worker)
    assert len(cluster.keeper.slots) == 0
    assert admitted(worker)


def test_a_connection_that_comes_by_another_way_is_counted_whatever_the_limit(cluster: Cluster) -> None:
    worker = cluster.worker()
    for _ in range(3):
        worker.slots.arrive(0, "10.0.0.1")
    cluster.sync(worker)
    assert len(cluster.keeper.slots) == 3
    assert not admitted(worker)


def test_what_was_never_counted_departs_as_that_and_is_counted_where_it_arrives(cluster: Cluster) -> None:
    one, other = cluster.worker(), cluster.worker()
    assert one.slots.depart("10.0.0.1") == 0
    other.slots.arrive(0, "10.0.0.1")
    assert admitted(one)
    one.slots.release("10.0.0.1")
    assert (one.slots.held(), len(other.slots.held())) == ({}, 1)


def test_a_connection_that_went_to_a_worker_that_died_is_over(cluster: Cluster) -> None:
    worker = cluster.worker()
    admitted(worker)
    worker.slots.passed_on(worker.slots.depart("10.0.0.1"), "w7")
    cluster.sync(worker)
    assert len(cluster.keeper.slots) == 0


def test_a_line_to_nobody_changes_nothing() -> None:
    worker = Worker("w1")
    near, far = wires()
    serving = gevent.spawn(worker.link.serve, near)
    far.close()
    serving.join(PATIENCE_S)
    assert admitted(worker)
    worker.slots.release("10.0.0.1")
    assert worker.slots.held() == {}


# --- a worker's successor -------------------------------------------------------------------------


def test_a_successor_inherits_and_the_keeper_learns_of_it_when_a_session_answers(cluster: Cluster) -> None:
    old, new = cluster.worker(), cluster.worker()
    grant = old.publish()
    note = old.gate.note(grant)
    assert note == {"killed": False, "notify": True}
    assert old.gate.granted_by(grant) is None
    assert new.gate.inherit(grant, note) == grant
    cluster.sync(new)
    assert cluster.keeper.book.directory() == {"news": "w1"}  # it may have to go on with it
    assert new.gate.rebind(grant, new.kills.append)
    old.gate.abandon(grant)
    for worker in (new, old):
        cluster.sync(worker)
    assert old.gate.note(grant) is None
    cluster.kill(old)
    assert cluster.keeper.book.directory() == {"news": "w2"}
    assert cluster.desk.ended_ids == []
    assert cluster.gate.kill("news", None, "killed")
    eventually(lambda: new.kills == ["killed"], "kill")


def test_what_was_killed_before_it_was_inherited_ends(cluster: Cluster) -> None:
    old, new = cluster.worker(), cluster.worker()
    grant = old.publish()
    cluster.gate.kill("news", None, "killed")
    eventually(lambda: old.kills, "kill")
    note = old.gate.note(grant)
    assert note is not None
    new.gate.inherit(grant, note)
    old.gate.abandon(grant)
    assert not new.gate.rebind(grant, new.kills.append)
    new.gate.release(grant)
    cluster.sync(new)
    assert cluster.desk.ended_ids == ["id-1"]


def test_what_no_session_answers_for_is_released_once(cluster: Cluster) -> None:
    old, new = cluster.worker(), cluster.worker()
    grant = old.publish()
    new.gate.inherit(grant, {"killed": False, "notify": True})
    for _ in range(2):
        new.gate.release(grant)
    cluster.sync(new)
    assert cluster.desk.ended_ids == ["id-1"]


def test_a_worker_kills_and_closes_nothing_by_itself(cluster: Cluster) -> None:
    worker = cluster.worker()
    grant = worker.publish()
    assert not worker.gate.kill("news", None, "killed")
    worker.gate.kill_all("killed", notify=True)
    worker.gate.block("sport", 60.0)
    assert worker.gate.blocks() == {}
    assert worker.publish(PublishRequest("sport", "key", "10.0.0.1")).stream_id == "id-2"
    assert worker.gate.activate(grant)

"""The keeper with real connections of workers on the same hub."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import gevent
import pytest

from rtmpsrv.access.facts import Approval, Facts
from rtmpsrv.access.gate import Grant, PublishRequest
from rtmpsrv.errors import AccessDenied
from rtmpsrv.workers import doors, keeper
from rtmpsrv.workers.calls import Calls
from rtmpsrv.workers.member import Member
from tests.doubles.secrets import KEY
from tests.unit.workers.lines import PATIENCE_S, eventually, wires
from tests.unit.workers.stage import REQUEST, Cluster

OTHER = PublishRequest("sport", KEY, "10.0.0.2")
TAKEN = "NetStream.Publish.BadName: Stream already publishing"


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    cluster = Cluster(tmp_path)
    yield cluster
    cluster.close()


# --- publications ---------------------------------------------------------------------------------


def test_a_publication_is_granted_told_to_all_and_reported_once(cluster: Cluster) -> None:
    one, other = cluster.worker(), cluster.worker()
    grant = one.publish()
    assert (grant.channel, grant.key, grant.client_ip, grant.stream_id) == ("news", KEY, "10.0.0.1", "id-1")
    assert one.gate.activate(grant)
    cluster.sync(other)
    assert other.directory.elsewhere("news") == "w1"
    assert one.directory.elsewhere("news") is None
    for _ in range(2):
        one.gate.release(grant)
    cluster.sync(one)
    cluster.sync(other)
    assert cluster.desk.ended_ids == ["id-1"]
    assert other.directory.elsewhere("news") is None
    assert not one.gate.activate(grant)
    assert cluster.journal.kept == {}


def test_an_authority_s_refusal_reaches_the_worker_whole(cluster: Cluster) -> None:
    worker = cluster.worker()
    cluster.desk.denies = True
    with pytest.raises(AccessDenied) as caught:
        worker.publish()
    assert caught.value.for_log == "Invalid stream key provided: not this one (A_SETTING)"
    cluster.desk.denies = False
    assert worker.publish().stream_id == "id-2"


def test_a_channel_of_another_worker_is_taken_and_the_authority_not_asked(cluster: Cluster) -> None:
    one, other = cluster.worker(), cluster.worker()
    one.publish()
    with pytest.raises(AccessDenied, match=f"^{TAKEN}$"):
        other.publish()
    assert one.sounded == ["news"]
    assert cluster.desk.asked == ["news"]


def test_a_publisher_that_has_left_makes_room_on_another_worker(cluster: Cluster) -> None:
    one, other = cluster.worker(), cluster.worker()
    one.leavers["news"] = one.publish()
    assert other.publish().stream_id == "id-2"
    assert cluster.desk.ended_ids == ["id-1"]
    cluster.sync(one)
    assert one.directory.elsewhere("news") == "w2"


def test_a_worker_that_does_not_say_whether_its_publisher_is_there_keeps_the_channel(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeper, "SOUND_S", 0.01)
    one, other = cluster.worker(), cluster.worker()
    one.publish()
    one.link.calls["is_free"] = lambda channel: gevent.sleep(0.2)
    with pytest.raises(AccessDenied, match=TAKEN):
        other.publish()


def test_a_publisher_on_its_way_to_another_worker_is_looked_at_where_it_arrives(cluster: Cluster) -> None:
    one, other, third = cluster.worker(), cluster.worker(), cluster.worker()
    grant = one.publish()
    one.gate.depart(grant)
    cluster.sync(one)
    asking = third.publish_later()
    cluster.sync(third)
    assert not asking.ready()
    other.leavers["news"] = grant
    other.gate.rebind(grant, other.kills.append)
    assert asking.get(timeout=PATIENCE_S).stream_id == "id-2"
    assert (one.sounded, other.sounded) == ([], ["news"])
    assert cluster.desk.ended_ids == ["id-1"]


def test_a_publisher_that_sets_out_when_it_is_asked_for_is_looked_at_again(cluster: Cluster) -> None:
    one, other, third = cluster.worker(), cluster.worker(), cluster.worker()
    grant = one.publish()

    def go(channel: str) -> bool:
        one.gate.depart(grant)
        other.leavers["news"] = grant
        other.gate.rebind(grant, other.kills.append)
        return False

    one.link.calls["is_free"] = go
    assert third.publish().stream_id == "id-2"
    assert other.sounded == ["news"]


def test_a_publisher_that_does_not_arrive_keeps_the_channel_for_a_while(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeper, "SOUND_S", 0.01)
    one, other = cluster.worker(), cluster.worker()
    one.gate.depart(one.publish())
    cluster.sync(one)
    with pytest.raises(AccessDenied, match=TAKEN):
        other.publish()
    assert one.sounded == []


def test_of_two_that_ask_at_once_one_gets_the_channel_and_the_other_s_start_is_ended(
    cluster: Cluster,
) -> None:
    one, other = cluster.worker(), cluster.worker()
    cluster.desk.go_on.clear()
    asking = [worker.publish_later() for worker in (one, other)]
    eventually(lambda: len(cluster.desk.asked) == 2, "asked")
    cluster.desk.go_on.set()
    gevent.joinall(asking, PATIENCE_S)
    assert sorted(type(greenlet.exception or greenlet.value).__name__ for greenlet in asking) == [
        "AccessDenied", "Grant"
    ]  # fmt: skip
    assert len(cluster.desk.ended_ids) == 1


def test_a_publisher_that_gives_up_while_the_gate_is_asked_is_reported(cluster: Cluster) -> None:
    worker = cluster.worker()
    cluster.desk.go_on.clear()
    asking = worker.publish_later()
    eventually(lambda: cluster.desk.asked, "asked")
    asking.kill()
    cluster.sync(worker)
    cluster.desk.go_on.set()
    eventually(lambda: cluster.desk.ended_ids == ["id-1"], "the end")
    assert worker.publish().stream_id == "id-2"


def test_a_worker_that_dies_while_the_gate_is_asked_holds_no_channel(cluster: Cluster) -> None:
    one, other = cluster.worker(), cluster.worker()
    cluster.desk.go_on.clear()
    asking = one.publish_later()
    eventually(lambda: cluster.desk.asked, "asked")
    cluster.kill(one)
    cluster.desk.go_on.set()
    eventually(lambda: cluster.desk.ended_ids == ["id-1"], "the end")
    assert other.publish().stream_id == "id-2"
    asking.kill()


# --- kills ----------------------------------------------------------------------------------------


def test_a_kill_reaches_the_worker_that_serves_the_publication(cluster: Cluster) -> None:
    one, other = cluster.worker(), cluster.worker()
    grant, _ = one.publish(), other.publish(OTHER)
    assert not cluster.gate.kill("news", "id-2", "another one")
    assert cluster.gate.kill("news", "id-1", "killed by a Redis command")
    eventually(lambda: one.kills, "kill")
    cluster.sync(one)
    assert (one.kills, other.kills) == (["killed by a Redis command"], [])
    assert not one.gate.activate(grant)
    one.gate.release(grant)
    cluster.sync(one)
    assert cluster.desk.ended_ids == ["id-1"]


def test_a_kill_that_overtakes_the_grant_is_not_lost(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker, admit = cluster.worker(), cluster.keeper.admit

    def kill_at_once(member: Member, serial: int, request: PublishRequest) -> Grant:
        grant = admit(member, serial, request)
        assert cluster.gate.kill("news", None, "killed")
        return grant

    monkeypatch.setattr(cluster.keeper, "admit", kill_at_once)
    with pytest.raises(AccessDenied, match="the stream was ended meanwhile"):
        worker.publish()
    cluster.sync(worker)
    assert cluster.desk.ended_ids == ["id-1"]
    assert worker.kills == []


def test_what_a_backend_is_told_and_what_it_gives_pass_through_the_keeper(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[PublishRequest] = []

    def authorise(request: PublishRequest) -> Approval:
        asked.append(request)
        return Approval("id-1", "public", 99.5, 8, 9)

    monkeypatch.setattr(cluster.desk, "authorise", authorise)
    worker, other, facts = cluster.worker(), cluster.worker(), Facts(name="alice")
    request = PublishRequest("news", KEY, "10.0.0.1", facts)
    grant = worker.publish(request)
    assert asked == [request]
    assert grant == Grant("public", KEY, "10.0.0.1", "id-1", grant.serial, facts, "news", 99.5, 8, 9)
    assert cluster.keeper.book.directory().get("public") == worker.link.name
    cluster.sync(other)
    late = cluster.worker()
    cluster.sync(late)
    assert [one.directory.max_players("public") for one in (other, late)] == [9, 9]
    with pytest.raises(AccessDenied, match="already publishing"):
        worker.publish(request)


def test_what_the_control_server_forgot_is_ended_and_not_reported(cluster: Cluster) -> None:
    worker = cluster.worker()
    grant = worker.publish()
    cluster.gate.kill_all("control link lost", notify=False)
    eventually(lambda: worker.kills == ["control link lost"], "kill")
    worker.gate.release(grant)
    cluster.sync(worker)
    assert cluster.desk.ended_ids == []
    assert cluster.journal.kept == {}


# --- a worker's death -----------------------------------------------------------------------------


def test_a_worker_s_death_ends_what_it_had_and_nothing_else(cluster: Cluster) -> None:
    one, other = cluster.worker(), cluster.worker()
    one.publish()
    other.publish(OTHER)
    assert [one.slots.admit("10.0.0.1"), one.slots.admit("10.0.0.1")] == [None, None]
    assert other.slots.admit("10.0.0.1") is not None
    cluster.kill(one)
    assert cluster.desk.ended_ids == ["id-1"]
    cluster.sync(other)
    assert other.directory.elsewhere("news") is None
    assert other.slots.admit("10.0.0.1") is None
    assert cluster.keeper.book.directory() == {"sport": "w2"}


def test_a_worker_that_comes_back_before_its_loss_was_seen_keeps_what_it_has(cluster: Cluster) -> None:
    worker = cluster.worker()
    kept, gone = worker.publish(), worker.publish(OTHER)
    first = worker.link.line
    worker.gate._notes.pop(gone.serial)
    cluster.connect(worker)
    eventually(lambda: worker.link.line is not first, "another connection")
    eventually(lambda: cluster.keeper.book.directory() == {"news": "w1"}, "what is left")
    assert cluster.desk.ended_ids == ["id-2"]
    assert worker.gate.activate(kept)
    assert worker.kills == []


# --- a publication that moves ---------------------------------------------------------------------


def test_a_publication_outlives_the_worker_that_it_leaves(cluster: Cluster) -> None:
    one, other = cluster.worker(), cluster.worker()
    grant = one.publish()
    one.gate.depart(grant)
    cluster.sync(one)
    cluster.kill(one)
    assert cluster.desk.ended_ids == []
    assert other.gate.rebind(grant, other.kills.append)
    cluster.sync(other)
    assert cluster.keeper.book.directory() == {"news": "w2"}
    assert cluster.gate.kill("news", "id-1", "killed")
    eventually(lambda: other.kills == ["killed"], "kill")
    other.gate.release(grant)
    cluster.sync(other)
    assert cluster.desk.ended_ids == ["id-1"]


def test_a_kill_on_the_way_is_carried_out_on_arrival(cluster: Cluster) -> None:
    one, other = cluster.worker(), cluster.worker()
    grant = one.publish()
    one.gate.depart(grant)
    cluster.sync(one)
    cluster.gate.kill("news", None, "killed")
    other.gate.rebind(grant, other.kills.append)
    eventually(lambda: other.kills == ["killed"], "kill")
    assert one.kills == []


def test_a_publication_that_arrives_nowhere_is_ended(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeper, "TRAVEL_S", 0.01)
    worker = cluster.worker()
    back, lost = worker.publish(), worker.publish(OTHER)
    for grant in (back, lost):
        worker.gate.depart(grant)
    worker.gate.rebind(back, worker.kills.append)
    eventually(lambda: cluster.desk.ended_ids == ["id-2"], "the end")
    assert cluster.keeper.book.directory() == {"news": "w1"}


# --- the keeper's own death -----------------------------------------------------------------------


def test_the_next_keeper_knows_all_that_workers_have(cluster: Cluster) -> None:
    one, other = cluster.worker(), cluster.worker()
    grant = one.publish()
    other.publish(OTHER)
    assert one.slots.admit("10.0.0.1") is None
    cluster.kill_keeper()
    assert one.gate.activate(grant)
    cluster.new_keeper()
    for worker in (one, other):
        cluster.connect(worker)
    assert cluster.keeper.book.directory() == {"news": "w1", "sport": "w2"}
    assert cluster.desk.asked == ["news", "sport"]
    assert cluster.desk.ended_ids == []
    assert other.slots.admit("10.0.0.1") is None
    assert other.slots.admit("10.0.0.1") is not None
    assert cluster.gate.kill("news", "id-1", "killed")
    eventually(lambda: one.kills == ["killed"], "kill")
    one.gate.release(grant)
    cluster.sync(one)
    assert cluster.desk.ended_ids == ["id-1"]


def test_what_ended_while_no_keeper_was_there_is_reported_by_the_next(cluster: Cluster) -> None:
    worker = cluster.worker()
    grant, _ = worker.publish(), worker.publish(OTHER)
    cluster.kill_keeper()
    worker.gate.release(grant)
    cluster.new_keeper()
    assert cluster.desk.ended_ids == []
    cluster.connect(worker)
    eventually(lambda: cluster.desk.ended_ids == ["id-1"], "the end")
    assert cluster.keeper.book.directory() == {"sport": "w1"}


def test_reports_that_did_not_go_out_are_made_by_the_next_keeper(cluster: Cluster) -> None:
    cluster.keeper.leave()
    cluster.reports_later = True
    cluster.new_keeper()
    worker = cluster.worker()
    grants = [worker.publish(), worker.publish(OTHER)]
    for grant in grants:
        worker.gate.release(grant)
    cluster.sync(worker)
    cluster.journal.reported(grants[0])
    cluster.kill_keeper()
    cluster.desk.ended_ids.clear()
    cluster.new_keeper()
    assert cluster.desk.ended_ids == ["id-2"]
    cluster.journal.reported(grants[1])
    assert cluster.journal.kept == {}


def test_what_a_worker_had_that_died_with_the_keeper_is_ended(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeper, "CLAIM_S", 0.02)
    one, other = cluster.worker(), cluster.worker()
    one.publish()
    other.publish(OTHER)
    cluster.kill_keeper()
    cluster.workers.remove(one)
    cluster.new_keeper()
    cluster.connect(other)
    with pytest.raises(AccessDenied, match=TAKEN):
        other.publish(OTHER)
    assert other.publish().stream_id == "id-3"
    assert cluster.desk.ended_ids == ["id-1"]


def test_nothing_is_decided_before_the_workers_of_the_keeper_before_are_back(cluster: Cluster) -> None:
    one, other = cluster.worker(), cluster.worker()
    one.publish()
    for _ in range(2):
        assert one.slots.admit("10.0.0.1") is None
    cluster.kill_keeper()
    cluster.new_keeper()
    cluster.connect(other)
    publishing, connecting = other.publish_later(), gevent.spawn(other.slots.admit, "10.0.0.1")
    cluster.sync(other)
    assert not publishing.ready()
    assert not connecting.ready()
    cluster.connect(one)
    assert connecting.get(timeout=PATIENCE_S) is not None
    publishing.join(PATIENCE_S)
    assert isinstance(publishing.exception, AccessDenied)
    assert cluster.desk.asked == ["news"]


def test_a_connection_that_is_over_before_it_is_decided_takes_no_slot(cluster: Cluster) -> None:
    one, other = cluster.worker(), cluster.worker()
    one.publish()
    cluster.kill_keeper()
    cluster.new_keeper()
    cluster.connect(other)
    connecting = gevent.spawn(other.slots.admit, "10.0.0.1")
    cluster.sync(other)
    connecting.kill()
    cluster.connect(one)
    cluster.sync(other)
    assert len(cluster.keeper.slots) == 0


def test_the_control_server_s_grants_end_with_the_keeper_that_had_the_link(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path, remembers=False)
    one, other = cluster.worker(), cluster.worker()
    grant = one.publish()
    cluster.kill_keeper()
    cluster.new_keeper()
    cluster.connect(other)
    publishing = other.publish_later()
    cluster.connect(one)
    eventually(lambda: one.kills == ["control link lost"], "kill")
    publishing.join(PATIENCE_S)
    assert isinstance(publishing.exception, AccessDenied)
    one.gate.release(grant)
    cluster.sync(one)
    assert cluster.desk.ended_ids == []
    assert cluster.journal.kept == {}
    assert other.publish().stream_id == "id-2"
    cluster.close()


def test_of_two_workers_that_claim_a_channel_the_second_gives_way(cluster: Cluster) -> None:
    one, other = cluster.worker(), cluster.worker()
    one.publish()
    second = Grant("news", KEY, "10.0.0.1", "id-9", 1 << 40)
    other.gate.rebind(second, other.kills.append)
    eventually(lambda: other.kills == ["the channel is published elsewhere"], "kill")
    assert cluster.desk.ended_ids == ["id-9"]
    other.gate.release(second)
    cluster.sync(other)
    assert cluster.desk.ended_ids == ["id-9"]
    assert cluster.keeper.book.directory() == {"news": "w1"}


def test_a_publication_that_moved_while_no_keeper_was_there_has_no_end(cluster: Cluster) -> None:
    one, other = cluster.worker(), cluster.worker()
    grant = one.publish()
    cluster.kill_keeper()
    one.gate.depart(grant)
    cluster.new_keeper()
    cluster.connect(one)
    other.gate.rebind(grant, other.kills.append)
    cluster.connect(other)
    assert cluster.keeper.book.directory() == {"news": "w2"}
    assert cluster.desk.ended_ids == []


# --- its life -------------------------------------------------------------------------------------


def test_closing_ends_everything_and_reports_it(cluster: Cluster) -> None:
    worker = cluster.worker()
    worker.publish()
    assert cluster.keeper.close(2.0)
    assert cluster.desk.ended_ids == ["id-1"]
    eventually(lambda: worker.kills == ["server is shutting down"], "kill")


def test_it_describes_all_workers_and_says_which_do_not_answer(cluster: Cluster) -> None:
    one, other = cluster.worker(), cluster.worker()
    one.publish()
    one.slots.admit("10.0.0.1")
    other.link.calls["describe"] = lambda: gevent.sleep(0.5)
    told = cluster.keeper.describe(0.05)
    assert told == {
        "keeper": {"on_air": {"news": "w1"}, "connections": 1, "unreported": 0, "expected": []},
        "workers": {"w1": {"name": "w1"}},
        "silent": ["w2"],
    }


def test_it_listens_and_answers_whoever_only_asks(cluster: Cluster, tmp_path: Path) -> None:
    path = doors.path_of(str(tmp_path), doors.KEEPER)
    cluster.keeper.listen(doors.listen(path))
    worker = cluster.worker()
    worker.link.start(path)  # the same one, over a second connection
    visitor = Calls(doors.connect(path), worker.link._log, {}, {})
    reading = gevent.spawn(visitor.serve)
    eventually(lambda: visitor.call("describe", timeout_s=PATIENCE_S)["workers"].keys() == {"w1"}, "answer")
    visitor.close()
    reading.join(PATIENCE_S)
    assert list(cluster.keeper.members) == ["w1"]


def test_rubbish_costs_that_connection_only(cluster: Cluster) -> None:
    worker = cluster.worker()
    near, far = wires()
    serving = gevent.spawn(cluster.keeper.serve, far._socket)
    near.post("rubbish")
    serving.get(timeout=PATIENCE_S)
    assert worker.publish().stream_id == "id-1"
    assert cluster.gate.kill("news", None, "killed")
    assert REQUEST.channel in cluster.keeper.book.directory()
    near.close()

"""One keeper after another, without a crash: what the first has begun it ends."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import gevent
import pytest

from rtmpsrv import log
from rtmpsrv.access.gate import PublishRequest
from rtmpsrv.workers import doors, former, keeper
from rtmpsrv.workers.calls import CallLost
from rtmpsrv.workers.former import Former
from rtmpsrv.workers.keeper import Keeper
from tests.doubles.secrets import KEY
from tests.unit.workers.lines import PATIENCE_S, eventually
from tests.unit.workers.stage import Cluster, Desk, Worker

OTHER = PublishRequest("sport", KEY, "10.0.0.2")


class Relay:
    """A keeper that retires and the next one, in one folder; the workers have connected to the first."""

    def __init__(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch, *, remembers: bool, number: int = 1
    ) -> None:
        monkeypatch.setattr(keeper, "OVERLAP_S", 0.0)
        monkeypatch.setattr(keeper, "LOOK_EVERY_S", 0.001)
        self.folder = folder
        self.cluster = Cluster(folder, remembers=remembers)
        self.workers = [self.cluster.worker() for _ in range(number)]
        self.old, self.old_desk, self.old_gate = self.cluster.keeper, self.cluster.desk, self.cluster.gate

    def hand_on(self, meanwhile: Callable[[], object] = lambda: None) -> None:
        """Let the first one retire and the next one take over; all workers are connected to that then."""
        path = doors.path_of(str(self.folder), former.name_of(os.getpid()))
        begins: list[bool] = []
        self.retiring = gevent.spawn(
            self.old.retire, doors.listen(path), lambda: begins.append(True), PATIENCE_S
        )
        eventually(lambda: begins, "handing on")
        self.cluster.desk = Desk()
        self.cluster.desk.asked.extend(self.old_desk.asked)
        self.cluster.new_keeper(former.find(str(self.folder), log.get("KEEPER")))
        eventually(lambda: all(worker.link.line is None for worker in self.workers), "stepping back")
        meanwhile()
        for worker in self.workers:
            self.cluster.connect(worker)

    def sync(self) -> None:
        for worker in self.workers:
            self.cluster.sync(worker)

    def close(self) -> None:
        self.retiring.join(PATIENCE_S)
        assert self.retiring.dead
        self.cluster.close()


def test_a_callback_s_publications_are_the_next_keeper_s(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    relay = Relay(tmp_path, monkeypatch, remembers=True)
    worker = relay.workers[0]
    grant = worker.publish()
    assert worker.slots.admit("10.0.0.1") is None
    relay.hand_on()
    relay.retiring.get(timeout=PATIENCE_S)
    assert relay.cluster.keeper.book.directory() == {"news": "w1"}
    assert len(relay.cluster.keeper.slots) == 1
    assert worker.kills == []
    worker.gate.release(grant)
    relay.sync()
    assert (relay.old_desk.ended_ids, relay.cluster.desk.ended_ids) == ([], ["id-1"])
    relay.close()


@pytest.mark.parametrize("remembers", [True, False])
def test_an_answer_that_is_awaited_comes_from_the_keeper_that_was_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, remembers: bool
) -> None:
    relay = Relay(tmp_path, monkeypatch, remembers=remembers)
    worker = relay.workers[0]
    relay.old_desk.go_on.clear()
    publishing = worker.publish_later()
    eventually(lambda: relay.old_desk.asked, "asked")
    relay.hand_on()
    assert not relay.retiring.ready()
    relay.old_desk.go_on.set()
    grant = publishing.get(timeout=PATIENCE_S)
    eventually(lambda: relay.cluster.keeper.book.directory() == {"news": "w1"}, "it is known")
    assert worker.kills == []
    assert relay.cluster.desk.asked == ["news"]
    worker.gate.release(grant)
    relay.sync()
    relay.retiring.get(timeout=PATIENCE_S)
    ended = (relay.old_desk.ended_ids, relay.cluster.desk.ended_ids)
    assert ended == (([], ["id-1"]) if remembers else (["id-1"], []))
    relay.close()


@pytest.mark.parametrize("remembers", [True, False])
@pytest.mark.parametrize("is_over", [True, False])
def test_what_was_granted_while_no_keeper_was_there_to_be_told_is_in_the_next_one_s_book(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_over: bool, remembers: bool
) -> None:
    relay = Relay(tmp_path, monkeypatch, remembers=remembers)
    worker = relay.workers[0]
    relay.old_desk.go_on.clear()
    publishing = worker.publish_later()
    eventually(lambda: relay.old_desk.asked, "asked")

    def answer() -> None:
        relay.old_desk.go_on.set()
        grant = publishing.get(timeout=PATIENCE_S)
        if is_over:
            worker.gate.release(grant)

    relay.hand_on(meanwhile=answer)
    assert relay.cluster.keeper.book.directory() == ({} if is_over else {"news": "w1"})
    assert worker.kills == []
    for grant in worker.gate.claims():
        worker.gate.release(grant)
    relay.sync()
    relay.retiring.get(timeout=PATIENCE_S)
    ended = (relay.old_desk.ended_ids, relay.cluster.desk.ended_ids)
    assert ended == (([], ["id-1"]) if remembers else (["id-1"], []))
    assert relay.cluster.journal.kept == {}
    relay.close()


def test_what_was_granted_late_and_has_moved_is_not_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    relay = Relay(tmp_path, monkeypatch, remembers=True, number=2)
    worker, other = relay.workers
    relay.old_desk.go_on.clear()
    publishing = worker.publish_later()
    eventually(lambda: relay.old_desk.asked, "asked")

    def move() -> None:
        relay.old_desk.go_on.set()
        grant = publishing.get(timeout=PATIENCE_S)
        worker.gate.depart(grant)
        other.gate.rebind(grant, other.kills.append)

    relay.hand_on(meanwhile=move)
    assert relay.cluster.keeper.book.directory() == {"news": "w2"}
    assert relay.cluster.desk.ended_ids == []
    relay.close()


def test_one_that_has_retired_grants_nothing_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    relay = Relay(tmp_path, monkeypatch, remembers=True)
    worker = relay.workers[0]
    member = relay.old.members.find("w1")
    assert member is not None
    relay.hand_on()
    with pytest.raises(CallLost, match="retired"):
        relay.old.admit(member, 1, OTHER)
    assert relay.old_desk.asked == []
    assert worker.publish(OTHER).stream_id == "id-1"
    relay.close()


def held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Relay, list[Worker]]:
    """Let a control server's publication outlive the keeper that has the link."""
    relay = Relay(tmp_path, monkeypatch, remembers=False, number=2)
    relay.workers[0].publish()
    relay.hand_on()
    assert relay.cluster.keeper.book.directory() == {"news": "w1"}
    assert not relay.retiring.ready()
    return relay, relay.workers


def test_a_control_server_s_publications_end_over_the_link_that_granted_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    relay, (worker, other) = held(tmp_path, monkeypatch)
    late = worker.publish(OTHER)
    (grant,) = [grant for grant in worker.gate.claims() if grant.channel == "news"]
    worker.gate.depart(grant)
    other.gate.rebind(grant, other.kills.append)
    relay.sync()
    assert relay.cluster.keeper.book.directory() == {"news": "w2", "sport": "w1"}
    assert (worker.kills, other.kills) == ([], [])
    other.gate.release(grant)
    relay.retiring.get(timeout=PATIENCE_S)
    worker.gate.release(late)
    relay.sync()
    assert (relay.old_desk.ended_ids, relay.cluster.desk.ended_ids) == (["id-1"], ["id-2"])
    relay.close()


def test_kills_over_the_old_link_and_of_the_new_keeper_reach_the_worker(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    relay, (worker, _) = held(tmp_path, monkeypatch)
    assert relay.old_gate.kill("news", "id-1", "killed by the control server")
    eventually(lambda: worker.kills == ["killed by the control server"], "kill")
    worker.gate.release(worker.gate.claims()[0])
    relay.retiring.get(timeout=PATIENCE_S)
    assert relay.old_desk.ended_ids == ["id-1"]
    relay.close()


def test_a_command_to_the_new_keeper_ends_what_the_old_one_holds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    relay, (worker, _) = held(tmp_path, monkeypatch)
    assert relay.cluster.gate.kill("news", "id-1", "killed by a Redis command")
    eventually(lambda: worker.kills == ["killed by a Redis command"], "kill")
    relay.old.leave()
    relay.close()


def test_what_a_keeper_holds_ends_with_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    relay, (worker, _) = held(tmp_path, monkeypatch)
    relay.old.leave()
    eventually(lambda: worker.kills == ["control link lost"], "kill")
    worker.gate.release(worker.gate.claims()[0])
    relay.sync()
    assert relay.cluster.desk.ended_ids == []
    relay.close()


def test_a_worker_that_dies_ends_what_the_old_keeper_holds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    relay, (worker, _) = held(tmp_path, monkeypatch)
    relay.cluster.kill(worker)
    relay.retiring.get(timeout=PATIENCE_S)
    assert relay.old_desk.ended_ids == ["id-1"]
    relay.close()


def test_a_third_keeper_finds_what_the_first_holds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    relay, (worker, other) = held(tmp_path, monkeypatch)
    relay.cluster.kill_keeper()
    relay.cluster.new_keeper(former.find(str(tmp_path), log.get("KEEPER")))
    for one in (worker, other):
        relay.cluster.connect(one)
    assert worker.kills == []
    worker.gate.release(worker.gate.claims()[0])
    relay.retiring.get(timeout=PATIENCE_S)
    assert relay.old_desk.ended_ids == ["id-1"]
    relay.close()


def test_kills_that_come_before_they_can_be_passed_on_are_kept(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path)
    cluster.keeper.listen(doors.listen(path := doors.path_of(str(tmp_path), former.name_of(1))))
    one = Former(doors.connect(path), log.get("KEEPER"))
    eventually(lambda: cluster.keeper._next, "it is known")
    cluster.keeper._kill(7, "early")
    kills: list[tuple[int, str]] = []
    eventually(lambda: one._kills, "kill")
    serving = gevent.spawn(one.serve, lambda serial, reason: kills.append((serial, reason)))
    cluster.keeper._kill(8, "late")
    eventually(lambda: kills == [(7, "early"), (8, "late")], "kills")
    cluster.close()
    serving.get(timeout=PATIENCE_S)


def test_what_is_left_of_a_keeper_that_died_while_it_retired_is_swept_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(former, "ANSWER_S", 0.01)
    paths = [doors.path_of(str(tmp_path), former.name_of(number)) for number in (1, 2)]
    doors.listen(paths[0]).close()
    silent = doors.listen(paths[1])
    (tmp_path / "keeper.sock").touch()
    assert former.find(str(tmp_path), log.get("KEEPER")) == []
    assert os.listdir(tmp_path) == ["keeper.sock"]
    silent.close()


def test_a_keeper_that_does_not_retire_holds_nothing_for_others(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path)
    worker = cluster.worker()
    worker.publish()
    made: Keeper = cluster.keeper
    made.listen(doors.listen(path := doors.path_of(str(tmp_path), former.name_of(1))))
    one = Former(doors.connect(path), log.get("KEEPER"))
    assert one.held == []
    one.close()
    cluster.close()

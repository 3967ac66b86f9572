"""Who is connected to the keeper; what they are told is in test_keeper.py."""

from __future__ import annotations

from pathlib import Path

from gevent.event import Event

from tests.unit.workers.lines import eventually
from tests.unit.workers.stage import Cluster


def test_workers_are_known_by_name_until_they_are_gone(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path)
    one, _ = cluster.worker(), cluster.worker()
    members = cluster.keeper.members
    assert (list(members), len(members), "w1" in members, "w3" in members) == (["w1", "w2"], 2, True, False)
    members.tell("w3", "nobody")
    members.flush(1.0)
    cluster.kill(one)
    assert list(members) == ["w2"]
    assert members.find("w1") is None
    cluster.close()


def test_whoever_asks_for_something_is_waited_for(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path)
    worker = cluster.worker()
    cluster.desk.go_on.clear()
    publishing = worker.publish_later()
    eventually(lambda: cluster.keeper.members.are_asking, "asked")
    cluster.desk.go_on.set()
    publishing.get()
    assert not cluster.keeper.members.are_asking
    cluster.close()


def test_a_question_goes_to_all_workers_and_who_does_not_answer_is_told(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path)
    one, other, mute = cluster.worker(), cluster.worker(), cluster.worker()
    never = Event()
    one.link.calls["monitor"] = lambda what, arguments: f"{what}{arguments}".encode()
    other.link.calls["monitor"] = lambda what, arguments: never.wait()
    mute.link.calls.pop("monitor", None)
    assert cluster.keeper.members.ask("channels", (1,), 0.1) == {
        "w1": b"channels(1,)",
        "w2": None,
        "w3": None,
    }
    never.set()
    cluster.close()

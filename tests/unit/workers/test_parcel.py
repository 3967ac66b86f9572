from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from rtmpsrv.access.gate import Gate, Grant
from rtmpsrv.errors import CannotMove
from rtmpsrv.server.served import Served
from rtmpsrv.workers.parcel import Parcel, freeze
from rtmpsrv.workers.slices import Slice
from tests.unit.server.stage import PATIENCE_S, eventually
from tests.unit.workers.houses import Handover
from tests.unit.workers.test_predecessor import answers


@pytest.fixture
def handover() -> Iterator[Handover]:
    made = Handover()
    yield made
    made.far.close()
    made.predecessor._talk.close()
    made.close()


def whole(handover: Handover) -> Slice[Served]:
    return Slice(list(handover.old.sessions), ["app"])


def test_a_frozen_slice_goes_on_here_when_it_is_taken_back(handover: Handover) -> None:
    clients = [handover.publisher(), handover.player()]
    eventually(lambda: len(handover.old.sessions) == 2)
    parcel = freeze(whole(handover), handover.old.estate)
    assert handover.old.sessions == set()
    assert [type(frozen.state.publication) for _listener, frozen in parcel.frozen] == [Grant, type(None)]
    message = parcel.message(3)
    assert (message["number"], len(message["sessions"]), len(message["channels"])) == (3, 2, 1)
    assert len(parcel.descriptors) == 2 + message["channels"][0][2]
    assert list(message["notes"].values()) == [{"killed": False, "notify": True, "lent": False}]
    parcel.take_back()
    for client in clients:
        answers(client)
    assert handover.old.desk.ended_ids == []


def test_what_is_let_go_is_closed_and_forgotten_and_nobody_is_told(handover: Handover) -> None:
    handover.publisher()
    player = handover.player()
    eventually(lambda: len(handover.old.sessions) == 2)
    estate = handover.old.estate
    parcel = freeze(whole(handover), estate)
    (grant,) = parcel.grants
    parcel.let_go(estate)
    assert len(list(estate.registry)) == 0
    assert estate.gate.note(grant) is None
    assert handover.old.desk.ended_ids == []
    for _listener, frozen in parcel.frozen:
        with pytest.raises(OSError, match="Bad file"):
            os.fstat(frozen.descriptor)
    eventually(lambda: not handover.old.listener.greenlets)
    player.socket.settimeout(PATIENCE_S)
    while player.socket.recv(65536):
        pass  # nobody has the socket any more; in life the successor has


def test_a_channel_stays_with_all_its_players_when_its_publisher_does(
    handover: Handover, monkeypatch: pytest.MonkeyPatch
) -> None:
    handover.publisher()
    handover.player()
    listener, release = handover.old.listener, handover.old.listener.release

    def stays(session: Served) -> object:
        if session.role == "publisher":
            raise CannotMove("it is busy")
        return release(session)

    monkeypatch.setattr(listener, "release", stays)
    assert freeze(whole(handover), handover.old.estate) == Parcel()
    assert len(handover.old.sessions) == 2


def test_who_has_left_or_belongs_elsewhere_is_not_taken(handover: Handover) -> None:
    handover.player("app")
    handover.publisher("other")
    eventually(lambda: len(handover.old.sessions) == 2)
    part = whole(handover)
    gone = next(one for one in part.sessions if one.client.app == "app")
    handover.clients[0].close()
    eventually(lambda: len(handover.old.sessions) == 1)
    assert gone not in handover.old.sessions
    assert freeze(part, handover.old.estate) == Parcel()


def test_a_publication_that_was_released_has_no_note(handover: Handover) -> None:
    handover.publisher()
    estate = handover.old.estate
    gate = estate.gate
    assert isinstance(gate, Gate)
    (publication,) = gate._granted.values()
    gate._granted.clear()
    parcel = freeze(whole(handover), estate)
    assert (parcel.notes, parcel.grants, len(parcel.frozen)) == ({}, [], 1)
    assert publication.stream_id
    parcel.take_back()
    eventually(lambda: not handover.old.sessions)


def test_a_channel_that_is_read_here_stays_and_is_read_on_from_its_place(handover: Handover) -> None:
    handover.publisher()
    estate = handover.old.estate
    channel = estate.registry.open("app")
    reading = channel.subscribe(lambda: None)
    while reading.read() is not None:
        pass
    place = reading.place
    parcel = freeze(whole(handover), estate)
    assert parcel.let_go(estate) == ["app"]
    assert reading.is_closed
    assert estate.registry.find("app") is channel
    again = channel.subscribe(lambda: None, reading.place)
    assert again.place == place
    again.close()


def test_a_channel_that_nobody_reads_any_more_does_not_stay(handover: Handover) -> None:
    handover.publisher()
    estate = handover.old.estate
    reading = estate.registry.open("app").subscribe(lambda: None)
    parcel = freeze(whole(handover), estate)
    reading.close()
    assert parcel.let_go(estate) == []
    assert estate.registry.find("app") is None

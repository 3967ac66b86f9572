from __future__ import annotations

import gevent
import pytest
from gevent.event import Event

from rtmpsrv.access.facts import Approval, Facts
from rtmpsrv.access.gate import MAX_KEPT_KILLS, Gate, Grant, OpenAuthority, PublishRequest, refusal
from rtmpsrv.errors import AccessDenied
from tests.doubles.secrets import KEY, OTHER_KEY

REQUEST = PublishRequest("news", KEY, "10.0.0.1")


class Desk:
    """An authority that answers when a test says so."""

    key_names_stream = False

    def __init__(self, *, at_once: bool = True) -> None:
        self.asked = Event()
        self.answered = Event()
        if at_once:
            self.answered.set()
        self.denies = False
        self.stream_id: str | Approval = "id-1"
        self.ends: list[str] = []
        self.grants: list[Grant] = []
        self.idle = True
        self.closed = False

    def authorise(self, request: PublishRequest) -> str | Approval:
        self.asked.set()
        self.answered.wait()
        if self.denies:
            raise refusal("not this one", "A_SETTING")
        return self.stream_id

    def ended(self, grant: Grant) -> None:
        self.ends.append(grant.stream_id)
        self.grants.append(grant)

    def wait_idle(self, timeout_s: float) -> bool:
        return self.idle

    def close(self) -> None:
        self.closed = True


class Asking:
    """A publisher whose request is with the authority."""

    def __init__(self, desk: Desk, gate: Gate, request: PublishRequest = REQUEST) -> None:
        self.desk = desk
        self.kills: list[str] = []
        self.greenlet = gevent.spawn(self._admit, gate, request)
        assert desk.asked.wait(2)

    def _admit(self, gate: Gate, request: PublishRequest) -> Grant | str:
        try:
            return gate.admit(request, self.kills.append)
        except AccessDenied as exc:
            return exc.description

    def answer(self) -> Grant | str:
        self.desk.answered.set()
        result: Grant | str = self.greenlet.get(timeout=2)
        return result


def test_reprs_hide_the_key() -> None:
    assert KEY not in repr(REQUEST)
    assert KEY not in repr(Grant("news", KEY, "10.0.0.1", "id"))


def test_a_grant_is_released_once_whoever_asks() -> None:
    desk = Desk()
    gate = Gate(desk)
    grant = gate.admit(REQUEST, lambda reason: None)
    assert gate.activate(grant)
    gate.release(grant)
    gate.release(grant)
    gate.kill_all("late", notify=True)
    assert desk.ends == ["id-1"]
    assert not gate.activate(grant)


def test_a_lost_race_is_reported_too() -> None:
    desk = Desk()
    gate = Gate(desk)
    gate.release(gate.admit(REQUEST, lambda reason: None))
    assert desk.ends == ["id-1"]


def test_release_without_notice() -> None:
    desk = Desk()
    gate = Gate(desk)
    gate.release(gate.admit(REQUEST, lambda reason: None), notify=False)
    assert desk.ends == []


def test_s84_a_refusal_has_the_words_of_the_reference_and_leaves_nothing_behind() -> None:
    desk = Desk()
    desk.denies = True
    gate = Gate(desk)
    with pytest.raises(AccessDenied) as caught:
        gate.admit(REQUEST, lambda reason: None)
    assert (caught.value.code, caught.value.description, caught.value.for_log) == (
        "NetStream.Publish.BadName",
        "Invalid stream key provided: not this one",
        "Invalid stream key provided: not this one (A_SETTING)",
    )
    assert not gate.kill("news", None, "x")
    assert desk.ends == []


def test_s87_a_kill_ends_the_session_and_is_reported_once() -> None:
    desk = Desk()
    gate = Gate(desk)
    kills: list[str] = []
    grant = gate.admit(REQUEST, kills.append)
    gate.activate(grant)
    assert gate.kill("news", None, "killed by redis")
    assert not gate.kill("news", None, "again")
    assert kills == ["killed by redis"]
    gate.release(grant)
    gate.release(grant)
    assert desk.ends == ["id-1"]


def test_on_kill_may_release_at_once() -> None:
    desk = Desk()
    gate = Gate(desk)
    grants: list[Grant] = []
    grants.append(gate.admit(REQUEST, lambda reason: gate.release(grants[0])))
    assert gate.kill("news", "id-1", "x")
    assert desk.ends == ["id-1"]


@pytest.mark.parametrize("stream_id", ["", "*", "id-2", "ID-1", KEY, "id-1 ", "ä"])
def test_s90_another_id_ends_nothing(stream_id: str) -> None:
    gate = Gate(Desk())
    kills: list[str] = []
    gate.admit(REQUEST, kills.append)
    assert not gate.kill("news", stream_id, "x")
    assert not gate.kill("other", None, "x")
    assert kills == []


def test_s85_an_empty_stream_id_is_named_by_the_empty_text() -> None:
    desk = Desk()
    desk.stream_id = ""
    gate = Gate(desk)
    kills: list[str] = []
    grant = gate.admit(REQUEST, kills.append)
    assert grant.stream_id == ""
    assert gate.kill("news", "", "x")
    assert kills == ["x"]


def test_s88_without_callback_the_key_names_the_stream_and_so_does_the_random_id() -> None:
    gate = Gate(OpenAuthority())
    kills: list[str] = []
    first = gate.admit(REQUEST, kills.append)
    second = gate.admit(PublishRequest("two", OTHER_KEY, "::1"), kills.append)
    assert len({KEY, first.stream_id, second.stream_id}) == 3
    assert not gate.kill("two", KEY, "x")
    assert gate.kill("news", KEY, "by key")
    assert gate.kill("two", second.stream_id, "by id")
    assert kills == ["by key", "by id"]
    gate.release(first)
    assert gate.close(1)


def test_a_kill_while_the_authority_is_asked_is_not_lost() -> None:
    desk = Desk(at_once=False)
    gate = Gate(desk)
    asking = Asking(desk, gate)
    assert gate.kill("news", None, "x")
    assert asking.answer() == "Invalid stream key provided: the stream was ended meanwhile"
    assert asking.kills == []  # admit has said it
    assert desk.ends == ["id-1"]


@pytest.mark.parametrize(("stream_id", "ended"), [("id-1", True), ("id-2", False)])
def test_a_kill_by_id_while_the_id_is_not_known_yet(stream_id: str, ended: bool) -> None:
    desk = Desk(at_once=False)
    gate = Gate(desk)
    asking = Asking(desk, gate)
    assert not gate.kill("news", stream_id, "x")
    assert isinstance(asking.answer(), str) is ended
    assert desk.ends == (["id-1"] if ended else [])


def test_kept_kills_are_bounded() -> None:
    desk = Desk(at_once=False)
    gate = Gate(desk)
    asking = Asking(desk, gate)
    for number in range(MAX_KEPT_KILLS):
        gate.kill("news", f"other-{number}", "x")
    gate.kill("news", "id-1", "one too many")
    assert isinstance(asking.answer(), Grant)


def test_a_kill_between_admit_and_activate_is_not_lost() -> None:
    desk = Desk()
    gate = Gate(desk)
    kills: list[str] = []
    grant = gate.admit(REQUEST, kills.append)
    gate.kill("news", None, "x")
    assert not gate.activate(grant)
    gate.release(grant)
    assert kills == ["x"]
    assert desk.ends == ["id-1"]


def test_s102_a_lost_link_ends_all_and_reports_nothing_then_or_later() -> None:
    desk = Desk()
    gate = Gate(desk)
    kills: list[str] = []
    grants = [gate.admit(PublishRequest(f"c{number}", KEY, "::1"), kills.append) for number in range(3)]
    desk.answered.clear()
    desk.asked.clear()
    asking = Asking(desk, gate)
    gate.kill_all("control link lost", notify=False)
    assert kills == ["control link lost"] * 3
    assert isinstance(asking.answer(), str)
    for grant in grants:
        gate.release(grant)
    assert desk.ends == []


def test_a_session_that_dies_while_asking_leaves_nothing_behind() -> None:
    desk = Desk(at_once=False)
    gate = Gate(desk)
    asking = Asking(desk, gate)
    asking.greenlet.kill()
    assert not gate.kill("news", None, "x")
    assert gate.close(1)


def test_two_that_race_for_a_channel_are_both_ended() -> None:
    gate = Gate(Desk())
    kills: list[str] = []
    gate.admit(REQUEST, lambda reason: kills.append("one"))
    gate.admit(REQUEST, lambda reason: kills.append("two"))
    assert gate.kill("news", None, "x")
    assert kills == ["one", "two"]


def test_s117_close_ends_what_is_left_and_admits_nobody() -> None:
    desk = Desk()
    gate = Gate(desk)
    kills: list[str] = []
    grants = [gate.admit(PublishRequest(f"c{number}", KEY, "::1"), kills.append) for number in range(20)]
    assert gate.close(1)
    assert len(kills) == len(desk.ends) == 20
    assert desk.closed
    for grant in grants:
        gate.release(grant)
    assert len(desk.ends) == 20
    with pytest.raises(AccessDenied):
        gate.admit(REQUEST, kills.append)


def test_close_waits_for_answers_that_are_on_their_way() -> None:
    desk = Desk(at_once=False)
    gate = Gate(desk)
    asking = Asking(desk, gate)
    closing = gevent.spawn(gate.close, 4)
    gevent.sleep(0)
    assert isinstance(asking.answer(), str)
    assert closing.get(timeout=2)
    assert desk.ends == ["id-1"]


def test_close_is_bounded_and_says_so() -> None:
    desk = Desk(at_once=False)
    desk.idle = False
    gate = Gate(desk)
    asking = Asking(desk, gate)
    with gevent.Timeout(2):
        assert not gate.close(0.02)
    assert desk.closed
    asking.greenlet.kill()


# --- publications that another process's gate has granted -----------------------------------------


def test_an_adopted_publication_is_killed_and_reported_as_if_granted_here() -> None:
    desk, kills = Desk(), list[str]()
    gate = Gate(desk)
    adopted = Grant("news", KEY, "10.0.0.1", "id-7", 1 << 40)
    gate.adopt(adopted, kills.append)
    assert not gate.kill("news", "id-8", "another one")
    assert gate.kill("news", "id-7", "killed")
    assert kills == ["killed"]
    gate.release(adopted)
    gate.release(adopted)
    assert desk.ends == ["id-7"]
    assert not gate.kill("news", None, "nobody is left")


def test_an_end_that_another_process_reports_is_not_reported_here() -> None:
    desk = Desk()
    gate = Gate(desk)
    adopted = Grant("news", KEY, "10.0.0.1", "id-7", 1 << 40)
    gate.adopt(adopted, lambda reason: None, notify=False)
    gate.release(adopted)
    assert desk.ends == []


def test_a_publication_adopted_twice_is_one() -> None:
    desk, first, second = Desk(), list[str](), list[str]()
    gate = Gate(desk)
    grant = gate.admit(REQUEST, first.append)
    gate.adopt(grant, second.append)
    assert gate.kill("news", None, "killed")
    assert (first, second) == ([], ["killed"])
    gate.release(grant)
    assert not gate.kill("news", None, "nobody is left")


def test_a_grant_may_have_a_serial_of_the_caller_s() -> None:
    gate = Gate(Desk())
    assert gate.admit(REQUEST, lambda reason: None, 1 << 40).serial == 1 << 40
    assert gate.admit(REQUEST, lambda reason: None).serial == 1


# --- publications that go from one process to the next ------------------------------------------------


def handed_over(old: Gate, new: Gate, grant: Grant, authority: Desk | None = None) -> Grant:
    note = old.note(grant)
    assert note is not None
    inherited = new.inherit(grant, note, authority)
    old.abandon(grant)
    return inherited


def test_an_inherited_publication_is_reported_once_by_its_last_gate() -> None:
    first, second = Desk(), Desk()
    old, new = Gate(first), Gate(second)
    new.release(new.admit(REQUEST, lambda reason: None))
    grant = handed_over(old, new, old.admit(REQUEST, lambda reason: None))
    other = new.admit(REQUEST, lambda reason: None)
    assert grant.serial != other.serial
    assert new.activate(grant)
    old.kill_all("late", notify=True)
    second.ends.clear()
    new.release(grant)
    new.release(grant)
    assert (first.ends, second.ends) == ([], [grant.stream_id])


def test_what_was_granted_elsewhere_is_reported_to_who_granted_it_and_ended_with_it() -> None:
    own, before = Desk(), Desk()
    old, new = Gate(before), Gate(own)
    reasons: list[str] = []
    grants = [
        handed_over(old, new, old.admit(REQUEST, lambda reason: None), before),
        handed_over(old, new, old.admit(REQUEST, lambda reason: None), before),
        new.admit(REQUEST, reasons.append),
    ]
    assert [new.granted_by(grant) for grant in grants] == [before, before, own]
    for grant in grants:
        assert new.rebind(grant, reasons.append)
    new.release(grants[0])
    assert new.granted_by(grants[0]) is None
    new.kill_all("link lost", notify=False, of=before)
    assert reasons == ["link lost"]
    new.release(grants[1])
    new.release(grants[2])
    assert (before.ends, own.ends) == ([grants[0].stream_id], [grants[2].stream_id])


def test_a_kill_on_the_way_is_kept_until_the_session_asks() -> None:
    old, new = Gate(Desk()), Gate(Desk())
    grant = handed_over(old, new, old.admit(REQUEST, lambda reason: None))
    assert new.kill(REQUEST.channel, None, "enough")
    assert not new.rebind(grant, lambda reason: None)
    killed = new.admit(REQUEST, lambda reason: None)
    new.kill(REQUEST.channel, None, "enough")
    assert not new.rebind(handed_over(new, old, killed), lambda reason: None)


def test_what_was_released_has_nothing_to_note() -> None:
    gate = Gate(Desk())
    grant = gate.admit(REQUEST, lambda reason: None)
    gate.release(grant)
    assert gate.note(grant) is None
    gate.abandon(grant)


def test_a_blocked_channel_admits_nobody_until_it_is_over() -> None:
    desk, now = Desk(), 100.0
    gate = Gate(desk, lambda: now)
    gate.block("news", 30)
    now = 100.5
    with pytest.raises(AccessDenied) as caught:
        gate.admit(REQUEST, lambda reason: None)
    assert caught.value.for_log == "The channel is closed for 30 s more"
    assert not desk.asked.is_set()
    assert gate.admit(PublishRequest("other", KEY, "10.0.0.1"), lambda reason: None)
    assert gate.blocks() == {"news": 29.5}
    now = 130.0
    assert gate.admit(REQUEST, lambda reason: None)
    assert gate.blocks() == {}


def test_a_block_may_be_taken_back() -> None:
    gate = Gate(Desk())
    gate.block("news", 30)
    gate.block("news", 0)
    assert gate.admit(REQUEST, lambda reason: None)


# --- another channel than was asked for -----------------------------------------------------------


def renaming() -> tuple[Desk, Gate]:
    desk = Desk()
    desk.stream_id = Approval("id-1", "other", 99.5)
    return desk, Gate(desk)


def test_an_authority_may_choose_another_channel_and_an_end() -> None:
    facts = Facts(name="alice")
    desk, gate = renaming()
    grant = gate.admit(PublishRequest("news", KEY, "10.0.0.1", facts), print)
    assert grant == Grant("other", KEY, "10.0.0.1", "id-1", grant.serial, facts, "news", 99.5)
    assert gate.activate(grant)
    gate.release(grant)
    gate.release(grant)
    assert desk.grants == [grant]


def test_kills_go_by_the_channel_that_was_given() -> None:
    _, gate = renaming()
    kills: list[str] = []
    grant = gate.admit(REQUEST, kills.append)
    assert not gate.kill("news", None, "kill")
    assert gate.kill("other", "id-1", "kill")
    assert kills == ["kill"]
    gate.release(grant)
    assert not gate.kill("other", None, "kill")


def test_the_end_of_the_server_reports_the_channel_that_was_given() -> None:
    desk, gate = renaming()
    grant = gate.admit(REQUEST, lambda reason: None)
    assert gate.close(0.1)
    assert desk.grants == [grant]


def test_nobody_is_given_a_channel_that_is_closed() -> None:
    desk, gate = renaming()
    gate.block("other", 30)
    with pytest.raises(AccessDenied, match="closed for 30 s more"):
        gate.admit(REQUEST, lambda reason: None)
    assert desk.ends == ["id-1"], "the authority had accepted it"

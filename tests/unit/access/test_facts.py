from __future__ import annotations

import pickle

from rtmpsrv.access.facts import MAX_TEXT, NO_FACTS, Event, Facts, facts_of
from rtmpsrv.access.names import StreamName
from rtmpsrv.server.host import Asked, Client
from tests.doubles.secrets import KEY


def client(**properties: object) -> Client:
    made = Client(7, "192.0.2.1", 1935, False, "live", properties, "live", "app=1")
    made.to_publish = Asked("alice", 12.5)
    return made


def test_all_that_a_client_said_is_there() -> None:
    said = {"tcUrl": "rtmp://h/live", "pageUrl": "p", "swfUrl": "s", "flashVer": "FMLE/3.0"}
    facts = facts_of(client(**said), "alice?token=x?y", StreamName("c", None, "t", "u", "p"))
    assert (facts.number, facts.app, facts.app_query, facts.name) == (7, "live", "app=1", "alice")
    assert (facts.query, facts.mode, facts.asked_at) == ("token=x?y", "live", 12.5)
    assert (facts.tc_url, facts.page_url, facts.swf_url, facts.flash_ver) == tuple(said.values())
    assert (facts.token, facts.user, facts.password) == ("t", "u", "p")


def test_what_is_no_text_or_not_there_is_empty_and_long_texts_are_cut() -> None:
    facts = facts_of(client(tcUrl=5.0, pageUrl="x" * (MAX_TEXT + 1)))
    assert (facts.tc_url, facts.flash_ver, facts.name, facts.user) == ("", "", "", "")
    assert facts.page_url == "x" * MAX_TEXT


def test_the_id_belongs_to_the_connection() -> None:
    one, other = client(), client()
    moved = pickle.loads(pickle.dumps(one))
    assert facts_of(one).id == facts_of(one, "alice").id == facts_of(moved).id != facts_of(other).id


def test_they_move_to_other_processes_and_show_no_secrets() -> None:
    facts = facts_of(client(), f"{KEY}?token={KEY}")
    assert pickle.loads(pickle.dumps(facts)) == facts
    assert KEY not in repr(facts) + repr(Event("start", "news", KEY, "192.0.2.1", None, facts))
    assert Facts() == NO_FACTS

"""What publishers and players must show."""

from __future__ import annotations

import time
from math import inf
from typing import Any

import pytest

from rtmpsrv.access.doors import Doors
from rtmpsrv.access.names import StreamName
from rtmpsrv.access.stream_tokens import SecretKey, StreamTokens, make_token
from rtmpsrv.access.terms import Terms
from rtmpsrv.errors import AccessDenied
from tests.doubles.secrets import KEY

SECRET = "token-secret-Qn4-that-is-long-enough"
NOW = time.time()
ASKED_AT = NOW - 100


def shown(action: str = "publish", lifetime_s: int = 3600, **claims: Any) -> StreamName:
    """Return the name of somebody who shows a token."""
    claims = {"exp": int(NOW) + lifetime_s, "channel": "live/*", "action": action} | claims
    return StreamName("live/alice", KEY, make_token(claims, SECRET))


def doors(publish: str = "token", play: str = "token") -> Doors:
    return Doors(publish, play, StreamTokens(SecretKey(SECRET)))


def test_without_settings_everybody_publishes_and_players_need_the_key() -> None:
    usual = Doors()
    assert usual.publish(StreamName("news", KEY), ASKED_AT) == Terms()
    assert usual.play(StreamName("news", KEY), ASKED_AT) == Terms(KEY)
    assert usual.play(StreamName("live/alice"), ASKED_AT) == Terms("")
    assert not usual.may_end


def test_open_doors_ask_for_no_key() -> None:
    assert Doors(play_access="open").play(StreamName("news", KEY), ASKED_AT) == Terms(None)


def test_a_token_opens_until_it_runs_out() -> None:
    terms = Terms(None, int(NOW) + 3600, "the token has run out")
    assert doors().publish(shown("publish"), ASKED_AT) == terms
    assert doors().play(shown("play"), ASKED_AT) == terms
    assert doors("token", "key").may_end
    assert doors("open", "token").may_end


@pytest.mark.parametrize("seconds", [200, 5000])
def test_the_shorter_time_counts(seconds: int) -> None:
    found = doors().publish(shown(limits={"max_seconds": seconds, "max_bitrate": 7}), ASKED_AT)
    by_token = int(NOW) + 3600
    assert found.until == min(by_token, ASKED_AT + seconds)
    assert found.why == ("the time of 200 s is over" if seconds == 200 else "the token has run out")
    assert found.max_bitrate == 7
    assert found.until < inf


@pytest.mark.parametrize("again", [False, True])
def test_a_bad_token_is_a_refusal_that_names_the_setting(again: bool) -> None:
    with pytest.raises(AccessDenied) as caught:
        doors().publish(shown("play"), ASKED_AT, again=again)
    assert caught.value.code == "NetStream.Publish.BadName"
    assert caught.value.for_log == (
        "Invalid stream key provided: the token is not for publish (PUBLISH_ACCESS)"
    )
    with pytest.raises(AccessDenied) as caught:
        doors().play(StreamName("live/alice", KEY), ASKED_AT, again=again)
    assert caught.value.code == "NetStream.Play.BadName"
    assert caught.value.for_log == "Invalid stream key provided: no token was given (PLAY_ACCESS)"


def test_a_token_is_not_read_where_none_is_asked_for() -> None:
    assert Doors().publish(StreamName("news", KEY, "junk"), ASKED_AT) == Terms()

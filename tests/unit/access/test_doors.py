"""What publishers and players must show."""

from __future__ import annotations

import re
import time
from math import inf
from typing import Any

import pytest

from rtmpsrv.access.channel_rules import ChannelRules, read_rules
from rtmpsrv.access.doors import Doors
from rtmpsrv.access.login import Challenges, Login, response
from rtmpsrv.access.names import StreamName
from rtmpsrv.access.stream_tokens import SecretKey, StreamTokens, make_token
from rtmpsrv.access.terms import Terms
from rtmpsrv.errors import AccessDenied, LoginAsked
from tests.doubles.secrets import KEY

SECRET = "token-secret-Qn4-that-is-long-enough"
NOW = time.time()
ASKED_AT = NOW - 100


def shown(action: str = "publish", **claims: Any) -> StreamName:
    """Return the name of somebody who shows a token."""
    claims = {"exp": int(NOW) + 3600, "channel": "live/*", "action": action} | claims
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


def test_the_subject_of_a_token_is_that_of_the_terms() -> None:
    found = doors().publish(shown(sub="alice"), ASKED_AT)
    assert found.subject == "alice"
    assert "alice" not in repr(found)
    assert doors("open").publish(shown(sub="alice"), ASKED_AT).subject == "", (
        "nobody has looked whether it is genuine"
    )


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


# --- rules for channels -----------------------------------------------------------------------------


def ruled(rule: str, publish: str = "open", play: str = "key", *, tokens: bool = True) -> Doors:
    """Return doors with one rule for `live/alice`."""
    made = Doors(publish, play, StreamTokens(SecretKey(SECRET)) if tokens else None)
    text = f'[[channel]]\nname = "live/alice"\n{rule}'
    made.use(read_rules(text.encode(), has_tokens=tokens))
    return made


def named(key: str | None, channel: str = "live/alice") -> StreamName:
    return StreamName(channel, key)


def test_a_channel_with_keys_takes_no_others() -> None:
    made = ruled('publish_keys = ["one", "two"]', publish="token")
    for key in ("one", "two"):
        assert made.publish(named(key), ASKED_AT).until == inf
    for wrong in ("three", "", None, "ONE"):
        with pytest.raises(AccessDenied) as caught:
            made.publish(named(wrong), ASKED_AT)
        assert caught.value.for_log == (
            "Invalid stream key provided: it is none of the channel's (CHANNELS_FILE)"
        )
    with pytest.raises(AccessDenied, match="no token was given"):
        made.publish(named("one", "live/bob"), ASKED_AT)


def test_where_keys_are_needed_a_channel_without_any_is_closed() -> None:
    made = ruled('publish_keys = ["one"]', publish="key")
    assert made.publish(named("one"), ASKED_AT)
    with pytest.raises(AccessDenied, match="the channel has no keys"):
        made.publish(named("one", "live/bob"), ASKED_AT)


@pytest.mark.parametrize(
    ("rule", "usual", "wanted"),
    [
        ("", "key", "k"),
        ("", "open", None),
        ('play_access = "open"', "key", None),
        ('play_access = "key"', "open", "k"),
        ('play_keys = ["k"]', "open", None),
        ('play_access = "key"\nplay_keys = ["x", "k"]', "token", None),
    ],
)
def test_what_players_must_show(rule: str, usual: str, wanted: str | None) -> None:
    assert ruled(rule, play=usual).play(named("k"), ASKED_AT).key == wanted


@pytest.mark.parametrize(
    ("rule", "why"),
    [
        ('play_keys = ["x"]', r"it is none of the channel's \(CHANNELS_FILE\)"),
        ('play_access = "token"', r"no token was given \(PLAY_ACCESS\)"),
    ],
)
def test_which_players_a_rule_refuses(rule: str, why: str) -> None:
    with pytest.raises(AccessDenied) as caught:
        ruled(rule).play(named("k"), ASKED_AT)
    assert re.search(why, caught.value.for_log)


def test_limits_come_from_the_rule_and_the_token_whichever_is_less() -> None:
    rule = "max_bitrate = 1000\nmax_seconds = 300\nmax_players = 7"
    made = ruled(rule, publish="token", play="open")
    assert made.play(named(None), ASKED_AT) == Terms(
        None, ASKED_AT + 300, "the time of 300 s is over", 1000, 7, 1
    )
    for limits, bitrate, seconds in (({}, 1000, 300), ({"max_bitrate": 5, "max_seconds": 200}, 5, 200)):
        found = made.publish(shown(limits=limits), ASKED_AT)
        assert (found.max_bitrate, found.until) == (bitrate, ASKED_AT + seconds)
        assert found.why == f"the time of {seconds} s is over"
    longer = ruled("max_seconds = 1000000", publish="token")
    assert longer.publish(shown(), ASKED_AT).why == "the token has run out"


def test_rules_may_change_and_terms_tell_which_they_are_from() -> None:
    made = ruled("")
    assert (made.may_change, made.may_end) == (True, True)
    assert made.play(named("k"), ASKED_AT).revision == 1
    made.use(ChannelRules())
    assert made.play(named("k"), ASKED_AT).revision == 2
    assert not Doors().may_change


USERS = read_rules(b'[[channel]]\nname = "live/*"\nusers = { alice = "pass-one" }\n', has_tokens=False)
CHALLENGES = Challenges(b"secret")


def logging_in(publish: str = "login") -> Doors:
    made = Doors(publish, "open", None, CHALLENGES)
    made.use(USERS)
    return made


def logged_in(password: str = "pass-one", user: str = "alice") -> StreamName:
    opaque = CHALLENGES.make(user, NOW)
    answer = response(user, CHALLENGES.salt(user), password, opaque, "mine")
    return StreamName("live/alice", login=Login(user, "mine", answer, opaque))


def test_a_user_publishes_after_a_login_or_by_name_and_password() -> None:
    found = logging_in()
    for stream in (logged_in(), StreamName("live/alice", user="alice", password="pass-one")):
        assert found.publish(stream, ASKED_AT, again=True) == Terms(
            revision=1, subject="login alice" if stream.login is not None else ""
        )


@pytest.mark.parametrize(
    "stream",
    [
        logged_in("pass-two"),
        logged_in(user="bob"),
        StreamName("live/alice", login=Login("alice")),
        StreamName("live/alice", user="alice", password="pass-two"),
        StreamName("live/alice", user="alice"),
        StreamName("live/alice", user="bob"),
        StreamName("live/alice", KEY),
        StreamName("live/alice", user="alice", password="\udcff"),
    ],
)
def test_others_are_refused(stream: StreamName) -> None:
    with pytest.raises(AccessDenied, match="user name or password are none of the channel's"):
        logging_in("open").publish(stream, ASKED_AT)


def test_without_users_nobody_logs_in() -> None:
    with pytest.raises(AccessDenied, match="the channel has no users"):
        logging_in().publish(StreamName("other/alice"), ASKED_AT)


def test_a_connection_is_asked_where_its_channel_may_have_users() -> None:
    found = logging_in()
    with pytest.raises(LoginAsked):
        found.connect(None, True, lambda pattern: True, NOW)
    found.connect(None, True, lambda pattern: False, NOW)
    found.connect(None, False, lambda pattern: True, NOW)
    found.connect(logged_in().login, False, lambda pattern: True, NOW)
    found.connect(logged_in("pass-two").login, True, lambda pattern: False, NOW)
    with pytest.raises(AccessDenied, match="authfailed"):
        found.connect(logged_in("pass-two").login, False, lambda pattern: True, NOW)
    with pytest.raises(AccessDenied, match="nosuchuser"):
        found.connect(logged_in(user="bob").login, True, lambda pattern: True, NOW)


def test_a_channel_is_open_where_its_rule_and_the_settings_ask_players_for_nothing() -> None:
    file = b"""
        [[channel]]
        name = "live/closed"
        play_keys = ["a-key-of-players"]
        [[channel]]
        name = "live/token"
        play_access = "token"
        [[channel]]
        name = "live/open"
        play_access = "open"
        [[channel]]
        name = "live/usual"
        max_players = 3
    """
    for usual, expected in (("open", ["live/open", "live/usual", "other"]), ("key", ["live/open"])):
        some = doors(play=usual)
        some.use(read_rules(file, has_tokens=True))
        names = ("live/closed", "live/token", "live/open", "live/usual", "other")
        assert [name for name in names if some.is_open(name)] == expected

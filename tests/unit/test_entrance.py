"""Who is let in by the settings, and who is watched from then on."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import gevent
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from jwt.algorithms import ECAlgorithm

from rtmpsrv.access.channel_rules import read_rules
from rtmpsrv.access.login import Challenges, response
from rtmpsrv.access.second_publisher import REFUSE, STALLED, TAKEOVER, SecondPolicy
from rtmpsrv.access.stream_tokens import make_token
from rtmpsrv.access.terms import Terms
from rtmpsrv.access.watched_file import MAX_TOLD
from rtmpsrv.config import Config
from rtmpsrv.entrance import Entrance, entrance_from
from rtmpsrv.errors import AccessDenied, ConfigError, LoginAsked
from rtmpsrv.server.host import Asked, Client, Peer
from rtmpsrv.server.turns import Turns
from tests.unit.leading import Logged

SECRET = "token-secret-Qn4-that-is-long-enough"
TOKENS = {"PUBLISH_ACCESS": "token", "PLAY_ACCESS": "token"}


class Visitor:
    """A peer that notes why it is dismissed."""

    def __init__(self, name: str, app: str = "live") -> None:
        self.name = name
        asked = Asked(name, time.time())
        self.client = Client(1, "10.0.0.1", 1935, False, app, to_publish=asked, to_play=asked)
        self.why: gevent.event.AsyncResult[str] = gevent.event.AsyncResult()

    @property
    def peer(self) -> Peer:
        return cast(Peer, self)

    def dismiss(self, reason: str) -> None:
        self.why.set(reason)


def entrance(**settings: str) -> Entrance:
    made = entrance_from(Config.load(settings, memory_bytes=0)[0], Turns(), b"login")
    made.start()
    return made


def token(action: str = "publish", **claims: Any) -> str:
    claims = {"exp": time.time() + 60, "action": action, "channel": "*"} | claims
    return make_token(claims, SECRET)


@pytest.fixture
def by_token() -> Iterator[Entrance]:
    made = entrance(TOKEN_SECRET=SECRET, **TOKENS)
    yield made
    made.close()


def test_what_becomes_of_second_publishers() -> None:
    assert Entrance().second("any") == entrance().second("any") == SecondPolicy(REFUSE, 0.0)
    made = entrance(SECOND_PUBLISHER="stalled", RECONNECT_SECONDS="10")
    assert made.second("any") == SecondPolicy(STALLED, 10.0)


def test_a_rule_of_a_channel_says_what_becomes_of_second_publishers() -> None:
    made = entrance(SECOND_PUBLISHER="stalled", RECONNECT_SECONDS="10")
    rules = """
        channel = [
            { name = "both", second_publisher = "takeover", reconnect_seconds = 60 },
            { name = "never", second_publisher = "refuse", reconnect_seconds = 0 },
            { name = "taken", second_publisher = "takeover" },
            { name = "kept", reconnect_seconds = 5 },
            { name = "*", max_players = 5 },
        ]
    """
    made.use(read_rules(rules.encode(), has_tokens=False))
    assert made.second("both") == SecondPolicy(TAKEOVER, 60.0)
    assert made.second("never") == SecondPolicy(REFUSE, 0.0)
    assert made.second("taken") == SecondPolicy(TAKEOVER, 10.0)
    assert made.second("kept") == SecondPolicy(STALLED, 5.0)
    assert made.second("other") == SecondPolicy(STALLED, 10.0)
    made.use(read_rules(b'channel = [{ name = "both" }]', has_tokens=False))
    assert made.second("both") == SecondPolicy(STALLED, 10.0), "rules that change count for the next one"


def test_by_default_nobody_is_watched() -> None:
    usual = entrance()
    visitor = Visitor("key")
    stream = usual.published(visitor.client, "key")
    assert usual.publish(visitor.client, stream) == Terms()
    assert usual.play(visitor.client, usual.played(visitor.client, "key")) == Terms("key")
    leaves = [
        usual.watch_publisher(visitor.peer, stream, Terms(), lambda: 0),
        usual.watch_player(visitor.peer, stream, None, "key"),
    ]
    assert leaves[0] is leaves[1], "nothing to do"
    leaves[0]()
    usual.ask()
    usual.close()


def test_the_tc_url_is_looked_at_if_it_is_a_text(by_token: Entrance) -> None:
    visitor = Visitor("key")
    visitor.client.properties = {"tcUrl": f"rtmp://h/live?token={token()}"}
    assert by_token.published(visitor.client, "key").token
    visitor.client.properties = {"tcUrl": 5}
    assert not by_token.published(visitor.client, "key").token


@pytest.mark.parametrize("action", ["publish", "play"])
def test_a_token_that_runs_out_ends_whom_it_let_in(by_token: Entrance, action: str) -> None:
    visitor = Visitor(f"key?token={token(action)}")
    if action == "publish":
        stream = by_token.published(visitor.client, visitor.name)
        terms = replace(by_token.publish(visitor.client, stream), until=1.0)  # as if time had passed
        by_token.watch_publisher(visitor.peer, stream, terms, lambda: 0)
    else:
        stream = by_token.played(visitor.client, visitor.name)
        terms = replace(by_token.play(visitor.client, stream), until=1.0)
        by_token.watch_player(visitor.peer, stream, terms, None)
    assert visitor.why.get(timeout=5) == "the token has run out"


def test_one_that_moved_here_is_judged_by_what_it_showed_elsewhere(by_token: Entrance) -> None:
    over = Visitor(f"key?token={make_token({'exp': 1, 'action': 'play', 'channel': '*'}, 'another secret')}")
    good = Visitor(f"key?token={make_token({'exp': 1 << 40, 'action': 'play', 'channel': '*'}, 'another')}")
    for visitor in (good, over):
        stream = by_token.played(visitor.client, visitor.name)
        by_token.watch_player(visitor.peer, stream, None, None)
    assert over.why.get(timeout=5) == "Invalid stream key provided: the token has run out"
    assert not good.why.ready()


def test_who_has_left_is_not_watched(by_token: Entrance) -> None:
    gone, there = Visitor("key"), Visitor("key")
    stream = by_token.played(gone.client, "key")
    leave = by_token.watch_player(gone.peer, stream, Terms(until=1.0, why="over"), None)
    leave()
    by_token.watch_player(there.peer, stream, Terms(until=1.0, why="over"), None)
    assert there.why.get(timeout=5) == "over"
    assert not gone.why.ready()


def test_keys_may_be_in_a_file(tmp_path: Path) -> None:
    private = ec.generate_private_key(ec.SECP256R1())
    path = tmp_path / "keys.json"
    with pytest.raises(ConfigError, match=r"TOKEN_JWKS_FILE: .* cannot be read"):
        entrance(TOKEN_JWKS_FILE=str(path), **TOKENS)
    path.write_text(json.dumps({"keys": [ECAlgorithm.to_jwk(private.public_key(), as_dict=True)]}))
    by_file = entrance(TOKEN_JWKS_FILE=str(path), **TOKENS)
    signed = jwt.encode({"exp": time.time() + 60, "action": "publish", "channel": "live"}, private, "ES256")
    visitor = Visitor(f"key?token={signed}")
    stream = by_file.published(visitor.client, visitor.name)
    assert by_file.publish(visitor.client, stream).may_end
    path.write_text("junk")
    by_file.ask()
    with pytest.raises(AccessDenied, match="not genuine"):
        by_file.publish(visitor.client, by_file.published(visitor.client, f"key?token={token()}"))
    by_file.close()


def test_keys_may_be_behind_a_url() -> None:
    by_url = entrance(TOKEN_JWKS_URL="http://127.0.0.1:1/keys", **TOKENS)
    by_url.close()


# --- the file of channels ---------------------------------------------------------------------------


FILE = """
[[channel]]
name = "live/alice"
publish_keys = ["a", "b"]
play_access = "open"
max_players = 5

[[channel]]
name = "live/*"
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "channels.toml"
    path.write_text(FILE)
    return path


@pytest.fixture
def by_file(file: Path) -> Iterator[Entrance]:
    made = entrance(CHANNELS_FILE=str(file), URL_LAYOUT="app-stream")
    yield made
    made.close()


def test_a_key_that_is_taken_away_ends_its_publisher(by_file: Entrance, file: Path) -> None:
    loses, keeps = Visitor("alice?key=a"), Visitor("alice?key=b")
    for visitor in (loses, keeps):
        stream = by_file.published(visitor.client, visitor.name)
        by_file.watch_publisher(visitor.peer, stream, by_file.publish(visitor.client, stream), lambda: 0)
    file.write_text(FILE.replace('"a", ', ""))
    by_file.ask()
    assert loses.why.get(timeout=5) == "Invalid stream key provided: it is none of the channel's"
    assert not keeps.why.ready()
    with pytest.raises(AccessDenied, match="it is none of the channel's"):
        by_file.publish(loses.client, by_file.published(loses.client, "alice?key=a"))


def test_players_who_came_without_a_key_go_when_one_is_needed(by_file: Entrance, file: Path) -> None:
    without, elsewhere, late = Visitor("alice"), Visitor("bob?key=k"), Visitor("alice?key=k")
    for visitor, key in ((without, None), (elsewhere, "k")):
        stream = by_file.played(visitor.client, visitor.name)
        terms = by_file.play(visitor.client, stream)
        assert (terms.key, terms.max_players) == (key, 5 if key is None else 0)
        by_file.watch_player(visitor.peer, stream, terms, terms.key)
    file.write_text(FILE.replace('"open"', '"key"'))
    by_file.ask()
    assert without.why.get(timeout=5) == (
        "Invalid stream key provided: the rules of the channel have changed"
    )
    assert not elsewhere.why.ready()
    assert by_file.play(late.client, by_file.played(late.client, "alice?key=k")).key == "k"


def test_rules_that_change_while_a_backend_is_asked_count_too(by_file: Entrance) -> None:
    present, visitor = Visitor("alice?key=a"), Visitor("alice?key=a")
    stream = by_file.published(visitor.client, visitor.name)
    terms = by_file.publish(visitor.client, stream)
    by_file.watch_publisher(present.peer, stream, terms, lambda: 0)
    by_file.use(read_rules(FILE.replace('"a", ', "").encode(), has_tokens=False))
    assert present.why.get(timeout=5), "those who are there have been judged by now"
    by_file.watch_publisher(visitor.peer, stream, terms, lambda: 0)
    assert visitor.why.get(timeout=5) == "Invalid stream key provided: it is none of the channel's"


@pytest.mark.parametrize("moved", [False, True])
def test_a_bitrate_that_a_backend_gave_counts_whatever_the_rules_become(moved: bool) -> None:
    usual, visitor = entrance(), Visitor("key")
    stream = usual.published(visitor.client, "key")
    usual._watch._clock = iter(range(0, 1000, 20)).__next__  # each look is 20 s later
    sent = iter(range(0, 1 << 20, 1000)).__next__
    usual.watch_publisher(visitor.peer, stream, None if moved else Terms(), sent, 100)
    usual.use(read_rules(b'[[channel]]\nname = "live"\nmax_bitrate = 5_000\n', has_tokens=False))
    assert visitor.why.get(timeout=5) == "more than 100 bits per second"
    usual.close()


def test_the_rules_say_how_many_may_play(by_file: Entrance) -> None:
    assert by_file.max_players("elsewhere") == 0
    assert by_file.max_players("live/alice") == 5


def test_a_first_file_that_is_bad_is_an_error(file: Path) -> None:
    file.write_text(FILE.replace("max_players", "max_player"))
    with pytest.raises(ConfigError) as caught:
        entrance(CHANNELS_FILE=str(file))
    assert caught.value.problems == ["CHANNELS_FILE: line 6: unknown key; the nearest is max_players"]


def test_entries_that_count_for_no_channel_are_told_at_each_reading(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    logged = Logged(monkeypatch, caplog)
    path = tmp_path / "channels.toml"
    path.write_text('[[channel]]\nname = "~^live/"\n')
    made = entrance_from(Config.load({"CHANNELS_FILE": str(path)}, memory_bytes=0)[0], Turns(), b"login")
    told = logged.lines(logging.WARNING)
    assert told == [
        "CHANNELS_FILE: line 2: this entry fits no channel: patterns are those of a shell, not regular "
        "expressions"
    ]
    path.write_text("".join(f'[[channel]]\nname = "{number}/"\n' for number in range(MAX_TOLD + 1)))
    made._sources[0].look()  # type: ignore[attr-defined]  # it is a file
    told = logged.lines(logging.WARNING)
    assert len(told) == 1 + MAX_TOLD + 1
    assert told[-1] == f"CHANNELS_FILE: {MAX_TOLD + 1} entries count for no channel"
    made.close()


def test_a_file_may_ask_for_tokens_where_there_are_keys_for_them(file: Path) -> None:
    file.write_text(FILE.replace('"open"', '"token"'))
    with pytest.raises(ConfigError, match="line 5: tokens need TOKEN_SECRET"):
        entrance(CHANNELS_FILE=str(file))
    made = entrance(CHANNELS_FILE=str(file), TOKEN_SECRET=SECRET, URL_LAYOUT="app-stream")
    visitor = Visitor("alice")
    assert made.play(visitor.client, made.played(visitor.client, f"alice?token={token('play')}")).may_end
    with pytest.raises(AccessDenied, match="no token was given"):
        made.play(visitor.client, made.played(visitor.client, "alice"))
    made.close()


@pytest.mark.parametrize(
    ("properties", "app_query", "asks"),
    [
        ({"flashVer": "FMLE/3.0 (compatible; FMSc/1.0)"}, "", True),
        ({"flashVer": "LNX 10,0,32,18", "type": "nonprivate"}, "", True),
        ({"flashVer": "LNX 9,0,124,2"}, "", False),
        ({"flashVer": 5.0}, "", False),
        ({"flashVer": "FMLE/3.0"}, "key=x", False),
        ({"flashVer": "FMLE/3.0", "tcUrl": "rtmp://h/live?token=x"}, "", False),
        ({}, "authmod=adobe&user=alice", True),
    ],
)
def test_encoders_that_show_nothing_are_asked_for_a_login(
    tmp_path: Path, properties: dict[str, Any], app_query: str, asks: bool
) -> None:
    path = tmp_path / "channels.toml"
    path.write_text('[[channel]]\nname = "live"\nusers = { alice = "x" }\n')
    made = entrance(CHANNELS_FILE=str(path))
    client = Client(1, "10.0.0.1", 1935, False, "live", properties, app_query=app_query)
    try:
        if asks:
            with pytest.raises(LoginAsked):
                made.log_in(client)
        else:
            made.log_in(client)
        client.app = "other"
        made.log_in(client)
    finally:
        made.close()


def test_challenges_are_signed_by_what_the_operator_or_the_process_keeps_secret(tmp_path: Path) -> None:
    path = tmp_path / "channels.toml"
    path.write_text('[[channel]]\nname = "live"\nusers = { alice = "x" }\n')
    now = time.time()

    def recognises(settings: dict[str, str], secret: bytes, signed_by: bytes) -> bool:
        config = Config.load({"CHANNELS_FILE": str(path)} | settings, memory_bytes=0)[0]
        made = entrance_from(config, Turns(), secret)
        signer = Challenges(signed_by)
        opaque = signer.make("alice", now)
        answer = response("alice", signer.salt("alice"), "x", opaque, "c")
        query = f"authmod=adobe&user=alice&challenge=c&response={answer}&opaque={opaque}"
        try:
            made.log_in(Client(1, "10.0.0.1", 1935, False, "live", {}, app_query=query))
        except AccessDenied:
            return False
        finally:
            made.close()
        return True

    with_tokens = {"TOKEN_SECRET": SECRET}
    assert recognises({}, b"of this server", b"of this server")
    assert not recognises({}, b"of this server", Path("/proc/sys/kernel/random/boot_id").read_bytes())
    assert recognises(with_tokens, b"of this server", SECRET.encode())
    assert not recognises(with_tokens, b"of this server", b"of this server")

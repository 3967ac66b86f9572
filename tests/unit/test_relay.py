from __future__ import annotations

import logging
import pickle
from collections.abc import Callable
from typing import cast

import gevent
import pytest

from rtmpsrv import log, takeover
from rtmpsrv.access.channel_rules import read_rules
from rtmpsrv.access.doors import Doors
from rtmpsrv.access.facts import Approval
from rtmpsrv.access.gate import Gate, Grant, PublishRequest, refusal
from rtmpsrv.access.hooks import Hooks
from rtmpsrv.access.ip_rules import IpRules
from rtmpsrv.access.names import APP_STREAM, CHANNEL_KEY, IdRules, Names, StreamName
from rtmpsrv.access.refusals import FIRST_DELAY_S, FREE_REFUSALS, RefusalDelay
from rtmpsrv.access.second_publisher import REFUSE, STALLED, TAKEOVER, Claim, SecondPolicy, claim_of
from rtmpsrv.access.terms import Terms
from rtmpsrv.entrance import Entrance
from rtmpsrv.errors import AccessDenied
from rtmpsrv.live.output import LiveLimits
from rtmpsrv.live.player import PlayerState
from rtmpsrv.live.registry import Registry
from rtmpsrv.relay import Relay
from rtmpsrv.relayed import RelayPlayback, RelayPublication
from rtmpsrv.room import play_policy
from rtmpsrv.server.host import Asked, Client, Peer
from rtmpsrv.server.outlet import Outlet
from rtmpsrv.takeover import REPLACED
from tests.unit.access.test_visits import FakeHooks
from tests.unit.live.fakes import CHUNK_SIZE, FakeClock, FakeSink
from tests.unit.live.stage import AVC, HEADERS, STARTED, UNPUBLISHED, inter, key, payloads, tone

KEY = "Stream-Key_Zq7"
PUBLISH_BAD_NAME = "NetStream.Publish.BadName"
PLAY_BAD_NAME = "NetStream.Play.BadName"


class Desk:
    """An authority that does what a test says while it is asked."""

    key_names_stream = False

    def __init__(self) -> None:
        self.ended_ids: list[str] = []
        self.asked: list[PublishRequest] = []
        self.meanwhile: Callable[[], None] = lambda: None
        self.channel = ""  # that publishers are given
        self.max_bitrate = self.max_players = 0  # likewise

    def authorise(self, request: PublishRequest) -> str | Approval:
        self.asked.append(request)
        self.meanwhile()
        stream_id = f"id-{len(self.asked)}"
        yes = Approval(stream_id, self.channel, 0.0, self.max_bitrate, self.max_players)
        return stream_id if yes == Approval(stream_id) else yes

    def ended(self, grant: Grant) -> None:
        self.ended_ids.append(grant.stream_id)

    def wait_idle(self, timeout_s: float) -> bool:
        return True

    def close(self) -> None:
        pass


class FakePeer:
    """A session as the relay sees it."""

    def __init__(self, app: str = "news", ip: str = "10.0.0.1", name: str | None = KEY) -> None:
        asked = Asked(name, 1.0)
        self.client = Client(1, ip, 1935, False, app, to_publish=asked, to_play=asked)
        self.log = log.session_logger("SERVER:TCP", 1)
        self.left = False
        self.hides = False  # that it has left, until it is sounded
        self.silent_s = 0.0
        self.drops: list[str] = []
        self.dismissals: list[str] = []
        self.refusals: list[tuple[str, str]] = []

    def drop(self, reason: str) -> None:
        self.drops.append(reason)

    def dismiss(self, reason: str) -> None:
        self.dismissals.append(reason)

    def refuse_play(self, code: str, description: str) -> None:
        self.refusals.append((code, description))

    def has_left(self) -> bool:
        return self.left or bool(self.drops)

    def is_unwanted(self) -> bool:
        return bool(self.drops or self.dismissals)

    def traffic(self) -> tuple[int, int]:
        return 11, 22

    def silence_s(self) -> float:
        return self.silent_s

    def sound(self) -> bool:
        self.left = self.hides
        return self.hides


class House:
    """A relay with all that belongs to it."""

    def __init__(
        self,
        *,
        rules: str = "",
        layout: str = CHANNEL_KEY,
        doors: Doors | None = None,
        entrance: Entrance | None = None,
        hooks: Hooks | None = None,
    ) -> None:
        self.clock = FakeClock()
        limits = LiveLimits(merge_messages=1, lag_bytes=2000, keep_stream=True)
        self.registry: Registry[str] = Registry(self.clock, limits, 1 << 30, CHUNK_SIZE)
        self.desk = Desk()
        self.gate = Gate(self.desk)
        policy = play_policy(IpRules.parse(rules))
        self.entrance = entrance or Entrance(Names(IdRules(), layout), doors)
        self.relay = Relay(self.registry, self.gate, self.entrance, policy, RefusalDelay(), hooks)
        self.publisher = FakePeer()
        self.player = FakePeer()

    def publish(self, name: str | None = KEY, app: str = "news") -> RelayPublication:
        self.publisher = FakePeer(app)
        return self.relay.publish(self.publisher, name, 1)

    def play(
        self, name: str | None = KEY, app: str = "news", ip: str = "10.0.0.1"
    ) -> tuple[RelayPlayback, FakeSink]:
        """Let somebody play, started with audio and video."""
        sink = FakeSink(self.clock)
        self.player = FakePeer(app, ip)
        playback = self.relay.play(self.player, name, 1, cast(Outlet, sink))
        sink.player = playback.feed
        playback.start(True, True)
        return playback, sink


def refused(code: str, description: str) -> pytest.RaisesExc[AccessDenied]:
    return pytest.RaisesExc(AccessDenied, match=f"^{code}: {description}$")


# --- names ----------------------------------------------------------------------------------------


WRONG_KEY = "Invalid stream key provided: the publisher has another one"


def test_app_must_be_a_channel_name() -> None:
    house = House()
    house.relay.connect(FakePeer("news"))
    for app in ("", "a b", "a" * 129):
        with refused("NetConnection.Connect.Rejected", "Invalid application name: .*"):
            house.relay.connect(FakePeer(app))


@pytest.mark.parametrize(
    ("name", "description"),
    [
        (None, "No stream key provided"),
        ("", "Invalid stream key provided: it is empty"),
        ("a b", "Invalid stream key provided: only letters, digits, - and _ are allowed"),
        ("?cache=no", "Invalid stream key provided: it is empty"),
    ],
)
def test_bad_keys_are_refused(name: str | None, description: str) -> None:
    house = House()
    with refused(PUBLISH_BAD_NAME, description):
        house.publish(name)
    with refused(PLAY_BAD_NAME, description):
        house.play(name)
    assert house.desk.asked == []
    assert len(house.registry) == 0


def about(ask: Callable[..., object], *arguments: str) -> str:
    """Return what the log says of a refusal, but for its reason."""
    with pytest.raises(AccessDenied) as caught:
        ask(*arguments)
    assert "=" not in caught.value.description, "the client knows what it asked for"
    return caught.value.for_log.rpartition(" ")[2]


def test_the_log_says_what_a_refusal_is_about() -> None:
    house = House(layout=APP_STREAM)
    house.publish("taken", "live")
    assert about(house.publish, "taken", "live") == "channel=live/taken"
    house.gate.block("live/closed", 60)
    assert about(house.publish, f"closed?key={KEY}", "live") == "channel=live/closed"
    assert about(house.publish, "", "live") == about(house.play, "", "live") == "app=live"
    house.publish(f"alice?key={KEY}", "live")
    assert about(house.play, "alice", "live") == "channel=live/alice"
    usual = House()
    assert about(usual.publish, "a b") == about(usual.play, "a b") == "channel=news"


def test_app_and_stream_are_the_channel_where_the_layout_says_so() -> None:
    house = House(layout=APP_STREAM)
    house.relay.connect(FakePeer("live/room"))
    alice = house.publish(f"alice?key={KEY}", "live")
    bob = house.publish("bob?token=t", "live")
    assert [one.started for one in (alice, bob)] == [
        "/live/alice is now published.",
        "/live/bob is now published.",
    ]
    assert house.desk.asked == [
        PublishRequest("live/alice", KEY, "10.0.0.1"),
        PublishRequest("live/bob", "t", "10.0.0.1"),
    ]
    playback, _ = house.play(f"alice?key={KEY}", "live")
    assert playback.channel is alice.channel
    assert house.play("bob", "live")[0].channel is bob.channel, "its publisher has no key"
    for name in ("alice", "alice?key=another"):
        with refused(PLAY_BAD_NAME, WRONG_KEY):
            house.play(name, "live")
    resumed = house.relay.resume_publication(FakePeer("live", name="alice"), alice.freeze())
    assert resumed.ended == "/live/alice is now unpublished."
    assert house.gate.kill("live/alice", None, "killed")


# --- publishing -----------------------------------------------------------------------------------


def test_publication_relays_to_players_until_it_ends() -> None:
    house = House()
    publication = house.publish(f"{KEY}?token=x")
    assert house.desk.asked == [PublishRequest("news", KEY, "10.0.0.1")]
    assert publication.started == f"/news/{KEY} is now published."
    assert publication.ended == f"/news/{KEY} is now unpublished."
    _, sink = house.play()
    publication.append([AVC, key("0")])
    assert sink.frames() == payloads(key("0"))
    publication.end("test")
    publication.end("test")
    assert sink.told()[-2:] == ["Play.UnpublishNotify", "StreamEOF"]
    assert house.desk.ended_ids == ["id-1"]


def test_second_publisher_is_refused_and_the_authority_not_asked() -> None:
    house = House()
    house.publish()
    with refused(PUBLISH_BAD_NAME, "Stream already publishing"):
        house.publish("another-key")
    assert len(house.desk.asked) == 1
    assert house.publish(app="sport").channel.live


def test_publisher_whose_channel_is_on_the_air_without_a_session_here_is_refused_unasked() -> None:
    house = House()
    house.registry.open("news").start(KEY)
    with refused(PUBLISH_BAD_NAME, "Stream already publishing"):
        house.publish()
    assert house.desk.asked == []


@pytest.mark.parametrize("hides", [False, True])
def test_second_publisher_gets_the_channel_of_one_that_has_left_unnoticed(
    hides: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(takeover, "SOUNDING_S", 0.0)
    house = House()
    house.play()  # so that the channel stays
    first = house.publish()
    first_peer = house.publisher
    first_peer.left, first_peer.hides = not hides, hides
    second = house.publish("another-key")
    assert house.desk.ended_ids == ["id-1"]
    assert first_peer.drops == ["closed by the peer"]
    before = second.channel.end_position()
    first.append([(8, 0, 1, b"\xaf\x01late", 4)])  # what its session had still to work off
    assert second.channel.end_position() == before
    first.end("closed by the peer")  # as its session does when it notices
    assert second.channel.live
    with refused(PUBLISH_BAD_NAME, "Stream already publishing"):
        house.publish("third")


def test_slower_of_two_publishers_is_refused_and_reported() -> None:
    house = House()

    def overtake() -> None:
        house.desk.meanwhile = lambda: None
        house.publish("faster")

    house.desk.meanwhile = overtake
    with refused(PUBLISH_BAD_NAME, "Stream already publishing"):
        house.publish("slower")
    assert len(house.desk.ended_ids) == 1
    channel = house.registry.find("news")
    assert channel is not None
    assert channel.live
    assert channel.contents.accepts_key("faster")


def test_authority_that_refuses_leaves_nothing_behind() -> None:
    house = House()

    def deny() -> None:
        raise refusal("no")

    house.desk.meanwhile = deny
    with refused(PUBLISH_BAD_NAME, "Invalid stream key provided: no"):
        house.publish()
    assert len(house.registry) == 0


def test_publication_killed_while_the_authority_is_asked_never_starts() -> None:
    house = House()

    def kill() -> None:
        house.gate.kill("news", None, "killed")

    house.desk.meanwhile = kill
    with refused(PUBLISH_BAD_NAME, "Invalid stream key provided: the stream was ended meanwhile"):
        house.publish()
    assert len(house.registry) == 0
    assert house.desk.ended_ids == ["id-1"]


def test_publication_killed_just_before_it_starts_never_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    house = House()
    monkeypatch.setattr(house.gate, "activate", lambda grant: False)
    with refused(PUBLISH_BAD_NAME, "Invalid stream key provided: the stream was ended meanwhile"):
        house.publish()
    assert len(house.registry) == 0
    assert house.desk.ended_ids == ["id-1"]


def test_kill_drops_the_publishers_connection() -> None:
    house = House()
    house.publish()
    assert house.gate.kill("news", None, "killed")
    assert house.publisher.drops == ["killed"]


def test_channel_is_free_when_the_end_is_reported() -> None:
    house = House()
    publication = house.publish()
    live_at_report: list[bool] = []
    house.desk.ended = lambda grant: live_at_report.append(publication.channel.live)  # type: ignore[method-assign]
    publication.end("test")
    assert live_at_report == [False]
    assert len(house.registry) == 0
    assert house.publish().channel.live


def test_log_holds_no_key(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logging.getLogger("rtmpsrv"), "propagate", True)
    caplog.set_level(1, "rtmpsrv")
    house = House()
    publication = house.publish()
    playback, _ = house.play()
    publication.end("test")
    playback.end("test")
    assert "PUBLISH (1): news" in caplog.text
    assert "PLAY (1): news" in caplog.text
    assert "PLAY STOP: news, reason=test skipped=0 messages" in caplog.text
    assert KEY not in caplog.text


# --- playing --------------------------------------------------------------------------------------


def test_player_may_wait_for_its_publisher() -> None:
    house = House()
    playback, sink = house.play()
    assert sink.received == b""
    publication = house.publish()
    publication.append([AVC, key("0")])
    assert sink.frames() == payloads(key("0"))
    publication.end("test")
    assert len(house.registry) == 1
    playback.end("test")
    playback.end("test")
    assert len(house.registry) == 0


def test_player_with_a_wrong_key_is_refused() -> None:
    house = House()
    house.publish()
    with refused(PLAY_BAD_NAME, WRONG_KEY):
        house.play("another")


def test_waiting_player_with_a_wrong_key_is_refused_later() -> None:
    house = House()
    house.play("another")
    house.publish()
    assert house.player.refusals == [(PLAY_BAD_NAME, WRONG_KEY)]


def test_players_need_no_key_where_doors_are_open() -> None:
    house = House(doors=Doors(play_access="open"))
    _, early = house.play("another")
    publication = house.publish()
    _, late = house.play("a-third")
    publication.append([AVC, key("0")])
    assert early.frames() == late.frames() == payloads(key("0"))


def test_who_shows_no_token_is_told_before_anybody_is_asked() -> None:
    class Locked(Doors):
        def publish(self, stream: StreamName, asked_at: float, *, again: bool = False) -> Terms:
            raise refusal("no token was given")

        def play(self, stream: StreamName, asked_at: float, *, again: bool = False) -> Terms:
            raise AccessDenied(PLAY_BAD_NAME, "no token was given")

    house = House(doors=Locked())
    with refused(PUBLISH_BAD_NAME, "Invalid stream key provided: no token was given"):
        house.publish()
    with refused(PLAY_BAD_NAME, "no token was given"):
        house.play()
    assert (house.desk.asked, len(house.registry)) == ([], 0)


def test_refusals_of_an_address_wait_longer_each_time() -> None:
    house = House()
    waits = [house.relay.refusal_delay("10.0.0.1") for _ in range(FREE_REFUSALS + 2)]
    assert waits == [0.0] * FREE_REFUSALS + [FIRST_DELAY_S, 2 * FIRST_DELAY_S]
    assert house.relay.refusal_delay("10.0.0.2") == 0.0


# --- moving ---------------------------------------------------------------------------------------


def test_a_publication_goes_on_in_another_session() -> None:
    house = House()
    frozen = pickle.loads(pickle.dumps(house.publish().freeze()))
    _, sink = house.play()
    successor = FakePeer()
    publication = house.relay.resume_publication(successor, frozen)
    publication.append([AVC, key("0")])
    assert sink.frames() == payloads(key("0"))
    assert house.desk.ended_ids == []
    house.gate.kill("news", None, "killed")
    assert (house.publisher.drops, successor.drops) == ([], ["killed"])
    publication.end("test")
    assert house.desk.ended_ids == ["id-1"]


def test_a_publication_that_was_frozen_ends_no_more() -> None:
    house = House()
    publication = house.publish()
    publication.freeze()
    publication.end("closed")
    assert publication.channel.live


def test_a_publication_that_was_killed_on_the_way_is_not_resumed() -> None:
    house = House()
    frozen = house.publish().freeze()
    house.gate.kill("news", None, "killed")
    with refused(PUBLISH_BAD_NAME, "Invalid stream key provided: the stream was ended meanwhile"):
        house.relay.resume_publication(FakePeer(), frozen)
    assert house.desk.ended_ids == ["id-1"]
    assert len(house.registry) == 0
    house.publish()


def test_a_publication_whose_channel_is_gone_is_reported_as_ended() -> None:
    house = House()
    publication = house.publish()
    frozen = publication.freeze()
    publication.channel.stop()
    with refused(PUBLISH_BAD_NAME, "Invalid stream key provided: the stream was ended meanwhile"):
        house.relay.resume_publication(FakePeer(), frozen)
    assert house.desk.ended_ids == ["id-1"]


def test_a_player_goes_on_in_another_session() -> None:
    house = House()
    publication = house.publish()
    publication.append([*HEADERS, key("0")])
    playback, sink = house.play()
    frozen = pickle.loads(pickle.dumps(playback.freeze()))
    assert isinstance(frozen, PlayerState)
    publication.append([inter("1")])
    assert inter("1")[3] not in sink.received
    successor = FakeSink(house.clock)
    resumed = house.relay.resume_playback(FakePeer(), frozen, cast(Outlet, successor))
    successor.player = resumed.feed
    resumed.resume()
    publication.append([inter("2")])
    assert successor.frames() == payloads(inter("1"), inter("2"))
    playback.end("closed")
    resumed.end("test")
    publication.end("test")
    assert len(house.registry) == 0


@pytest.mark.parametrize(
    ("rules", "ip", "allowed"),
    [
        ("", "192.0.2.1", True),
        ("*", "192.0.2.1", True),
        ("10.0.0.0/8", "10.1.2.3", True),
        ("10.0.0.0/8", "192.0.2.1", False),
    ],
)
def test_who_may_play(rules: str, ip: str, allowed: bool) -> None:
    house = House(rules=rules)
    house.publish()
    if allowed:
        assert house.play(ip=ip)[1].told()
    else:
        with refused(PLAY_BAD_NAME, "Your net address is not whitelisted for playing"):
            house.play(ip=ip)


@pytest.mark.parametrize(
    ("query", "frames"),
    [
        ("", 2), ("?cache=no", 0), ("?cache=clear", 3), ("?cache=other", 2), ("?a=b&cache=no", 0),
        ("?cache=no&cache=clear", 3), ("?cache=no=", 2), ("?cache", 2), ("?cache=n%6f", 2),
        ("?a?cache=no", 2),
    ],
)  # fmt: skip
def test_cache_choice_of_the_query(query: str, frames: int) -> None:
    house = House()
    house.publish().append([*HEADERS, key("0"), key("1"), tone("2")])
    assert len(house.play(KEY + query)[1].frames()) == frames


def test_jumps_of_a_player_are_logged_in_one_line(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.getLogger("rtmpsrv"), "propagate", True)
    caplog.set_level(logging.INFO, "rtmpsrv")
    house = House()
    publication = house.publish()
    publication.append([AVC, key("0")])
    playback, sink = house.play()
    for number in range(5):
        sink.room = 0
        for message in (inter("1"), inter(bytes(3000)), key(f"{number}")):
            publication.append([message])
        sink.open()
    playback.end("test")
    lines = [line for line in caplog.messages if "too far behind" in line]
    assert lines == [
        "player was too far behind: 1 jumps to a keyframe",
        "player was too far behind: 4 jumps to a keyframe",
    ]


def test_who_moved_goes_on_though_the_rules_for_names_are_others_now() -> None:
    house = House()
    publication = house.publish("a" * 100)
    playback, _ = house.play("a" * 100)
    frozen, player = publication.freeze(), playback.freeze()
    strict = Entrance(Names(IdRules(max_bytes=5)))
    successor = Relay(house.registry, house.gate, strict, play_policy(IpRules()), RefusalDelay())
    resumed = successor.resume_publication(FakePeer(name="a" * 100), frozen)
    again = successor.resume_playback(FakePeer(name="a" * 100), player, cast(Outlet, FakeSink(house.clock)))
    again.resume()
    assert again.channel is resumed.channel
    resumed.end("test")
    again.end("test")
    assert len(house.registry) == 0


def test_a_channel_takes_no_more_players_than_its_rule_says() -> None:
    doors = Doors()
    doors.use(read_rules(b'[[channel]]\nname = "news"\nmax_players = 1\n', has_tokens=False))
    house = House(doors=doors)
    first, _ = house.play()
    with refused(PLAY_BAD_NAME, r"The channel is full \(1\)"):
        house.play()
    assert house.play(app="sport")[0].channel is not first.channel
    first.end("test")
    house.play()


class Noted(Entrance):
    """An entrance that notes who is watched, on what terms."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[str, object]] = []
        self.bitrates: list[int] = []

    def watch_publisher(
        self,
        peer: Peer,
        stream: StreamName,
        terms: Terms | None,
        sent: Callable[[], int],
        max_bitrate: int = 0,
    ) -> Callable[[], None]:
        self.bitrates.append(max_bitrate)
        return self._note("publisher", terms)

    def watch_player(
        self, peer: Peer, stream: StreamName, terms: Terms | None, key: str | None
    ) -> Callable[[], None]:
        return self._note(f"player with {key}", terms)

    def _note(self, who: str, terms: Terms | None) -> Callable[[], None]:
        self.seen.append(entry := (who, terms))
        return lambda: self.seen.remove(entry)


def test_who_is_let_in_is_watched_until_it_ends_or_moves() -> None:
    noted = Noted()
    house = House(entrance=noted)
    house.desk.max_bitrate = 8
    publication = house.publish("k")
    playback, _ = house.play("k")
    assert noted.seen == [("publisher", Terms()), ("player with k", Terms("k"))]
    frozen, player = publication.freeze(), playback.freeze()
    assert noted.seen == []
    publication = house.relay.resume_publication(FakePeer(name="k"), frozen)
    playback = house.relay.resume_playback(FakePeer(name="k"), player, cast(Outlet, FakeSink(house.clock)))
    assert noted.seen == [("publisher", None), ("player with k", None)], "on what terms is found again"
    assert noted.bitrates == [8, 8], "what the backend gave goes along"
    playback.end("test")
    publication.end("test")
    assert noted.seen == []


def test_a_session_that_publishes_and_plays_moves_with_both() -> None:
    house = House(layout=APP_STREAM)
    publication = house.publish("alice?key=a", "live")
    other = house.publish("bob", "live")
    playback, _ = house.play("bob", "live")
    both = FakePeer("live")
    both.client.to_publish, both.client.to_play = Asked("alice?key=a", 1.0), Asked("bob", 2.0)
    resumed = house.relay.resume_publication(both, publication.freeze())
    sink = cast(Outlet, FakeSink(house.clock))
    again = house.relay.resume_playback(both, playback.freeze(), sink)
    assert resumed.ended == "/live/alice is now unpublished."
    assert again.channel is other.channel
    assert both.client.asked_at == 2.0


# --- several processes ----------------------------------------------------------------------------


class Others:
    """Other processes; notes what they are told."""

    def __init__(self) -> None:
        self.told: list[tuple[str, str]] = []
        self.limit = 0

    def max_players(self, name: str) -> int:
        return self.limit

    def wanted(self, name: str) -> None:
        self.told.append(("wanted", name))

    def has(self, name: str) -> bool:
        return False

    def keeps(self, name: str) -> bool:
        self.told.append(("asked who is waited for", name))
        return True

    def names(self) -> list[str]:
        return []

    def published_here(self, name: str) -> None:
        self.told.append(("published here", name))

    def go_on(self, peer: Peer, name: str, claim: Claim) -> None:
        self.told.append(("may go on elsewhere", name))


def test_who_waits_may_be_wanted_elsewhere_and_who_plays_is_not() -> None:
    house, others = House(), Others()
    house.relay.share(others)
    house.play()
    assert others.told == [("wanted", "news")]
    house.publish()
    assert others.told[1:] == [("published here", "news")]
    house.play()
    assert len(others.told) == 2


def test_those_who_wait_are_known_by_channel() -> None:
    house = House()
    assert house.relay.waiting("news") == []
    house.play()
    first = house.player
    house.play(app="sport")
    assert house.relay.waiting("news") == [first]
    house.publish()
    assert house.relay.waiting("news") == []


def test_who_comes_from_elsewhere_with_a_wrong_key_is_told_so_at_once() -> None:
    house = House()
    house.publish()
    peer, sink = FakePeer(name=KEY), FakeSink(house.clock)
    playback = house.relay.resume_playback(peer, PlayerState(1, "another"), cast(Outlet, sink))
    playback.resume()
    assert [code for code, _ in peer.refusals] == [PLAY_BAD_NAME]


def test_a_channel_that_nobody_publishes_here_is_free_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(takeover, "MOVE_S", 0.0)
    house = House()
    assert house.relay.is_free("news")
    publication = house.publish()
    assert not house.relay.is_free("news")
    publication.freeze()
    assert not house.relay.is_free("news")
    house.registry.abandon("news")  # another process goes on with it
    assert house.relay.is_free("news")


def test_who_asks_for_the_channel_of_one_that_moves_hears_when_it_has_moved(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(takeover, "MOVE_S", 60.0)
    monkeypatch.setattr(takeover, "WATCH_S", 0.001)
    house = policed(TAKEOVER)
    house.publish().freeze()
    asking = gevent.spawn(house.relay.is_free, "news", MINE)
    gevent.sleep(0.01)
    assert not asking.ready()
    house.registry.abandon("news")
    assert asking.get(timeout=5) is False, "where it is now that is decided"
    assert (house.publisher.dismissals, house.desk.ended_ids) == ([], [])


# --- what somebody else decides -------------------------------------------------------------------


def test_a_publisher_may_be_given_another_channel() -> None:
    house = House()
    house.desk.channel = "other"
    publication = house.publish()
    assert publication.channel is house.registry.find("other")
    assert house.registry.find("news") is None
    assert house.play(app="other")[0].channel is publication.channel
    frozen = publication.freeze()
    resumed = house.relay.resume_publication(FakePeer(name=KEY), frozen)
    resumed.end("over")
    assert house.desk.ended_ids == ["id-1"]


@pytest.mark.parametrize(
    ("channel", "description"),
    [
        ("a b", "Invalid channel name: only letters, digits, - and _ are allowed"),
        ("taken", "Stream already publishing"),
    ],
)
def test_a_channel_that_nobody_can_be_given_is_reported_as_ended(channel: str, description: str) -> None:
    house = House()
    house.publish(app="taken")
    house.desk.channel = channel
    with refused(PUBLISH_BAD_NAME, description):
        house.publish()
    assert house.desk.ended_ids == ["id-2"]
    assert house.registry.find("news") is None


def test_a_given_channel_whose_publisher_has_left_is_free() -> None:
    house = House()
    first = house.publish(app="other")
    house.publisher.left = True
    house.desk.channel = "other"
    assert house.publish().channel is house.registry.find("other")
    assert first.peer.drops == ["closed by the peer"]  # type: ignore[attr-defined]  # of `FakePeer`
    assert house.desk.ended_ids == ["id-1"]


def test_players_are_asked_about_told_of_and_looked_after() -> None:
    hooks = FakeHooks()
    hooks.channel = "news"
    house = House(hooks=hooks)
    house.relay.connect(FakePeer("news"))
    assert len(hooks.connected) == 1
    house.publish(app="news")
    playback, _ = house.play(app="asked")
    assert playback.channel is house.registry.find("news")
    assert [publishes for _, publishes in hooks.watched] == [True, False]
    peer = FakePeer("asked", name=KEY)
    peer.client.granted = house.player.client.granted
    resumed = house.relay.resume_playback(peer, playback.freeze(), cast(Outlet, FakeSink(house.clock)))
    assert resumed.channel is house.registry.find("news")
    playback.end("it is another session's")
    assert hooks.ended == []
    resumed.end("over")
    resumed.end("over")
    assert len(hooks.ended) == 1
    with refused(PLAY_BAD_NAME, WRONG_KEY):
        house.play("another", app="asked")
    assert len(hooks.ended) == 2, "it was accepted, but the publisher has another key"


def test_players_that_were_kept_wait_when_another_process_publishes() -> None:
    house = policed(REFUSE, 10)
    first, sink = on_air(house)
    first.end("closed by the peer")
    assert house.relay.waiting("news") == [house.player]
    assert sink.told() == UNPUBLISHED


# --- second publishers ----------------------------------------------------------------------------


def policed(mode: str = REFUSE, reconnect_s: float = 0.0) -> House:
    """A house on the air with one player, which was told of it."""
    names = Names(IdRules(), CHANNEL_KEY)
    return House(entrance=Entrance(names, None, None, SecondPolicy(mode, reconnect_s)))


MINE = claim_of(StreamName("news", KEY, shown=KEY))
ANOTHER_S = claim_of(StreamName("news", "another", shown="another"))


@pytest.mark.parametrize("policy", [(REFUSE, 10.0), (STALLED, 0.0), (TAKEOVER, 0.0)])
def test_who_may_not_go_on_here_may_elsewhere(policy: tuple[str, float]) -> None:
    house, others = policed(*policy), Others()
    house.relay.share(others)
    first = house.publish()
    assert others.told == [("may go on elsewhere", "news"), ("published here", "news")]
    house.publisher.left = True
    house.publish()
    assert others.told[2:] == [("published here", "news")], "it is here"
    first.end("over")


@pytest.mark.parametrize(
    ("policy", "asked"),
    [((REFUSE, 0.0), False), ((REFUSE, 10.0), True), ((STALLED, 0.0), True), ((TAKEOVER, 0.0), True)],
)
def test_others_are_asked_who_is_waited_for_only_where_somebody_may_be(
    policy: tuple[str, float], asked: bool
) -> None:
    """Else each request for a channel that is over would ask another process."""
    house, others = policed(*policy), Others()
    assert not house.relay.is_on("news")
    house.relay.share(others)
    assert house.relay.is_on("news") is asked
    assert others.told == [("asked who is waited for", "news")] * asked


def test_nobody_goes_elsewhere_where_second_publishers_are_refused() -> None:
    house, others = House(), Others()
    house.relay.share(others)
    house.publish()
    assert others.told == [("published here", "news")]


@pytest.mark.parametrize("reconnect_s", [0.0, 10.0])
def test_room_is_made_for_who_goes_on_in_another_process(reconnect_s: float) -> None:
    house = policed(TAKEOVER, reconnect_s)
    assert not house.relay.may_go_on("news", MINE)
    _, sink = on_air(house)
    assert [house.relay.may_go_on("news", claim) for claim in (MINE, ANOTHER_S, ())] == [True, False, False]
    assert not house.relay.is_free("news", ANOTHER_S)
    assert house.desk.ended_ids == []
    assert house.relay.is_free("news", MINE)
    assert house.publisher.dismissals == [REPLACED]
    assert house.desk.ended_ids == ["id-1"]
    # Without time to come back the end is told: whoever comes is elsewhere.
    assert house.relay.may_go_on("news", MINE) is bool(reconnect_s)
    assert sink.told() == ([] if reconnect_s else UNPUBLISHED)


def on_air(house: House) -> tuple[RelayPublication, FakeSink]:
    publication = house.publish()
    _, sink = house.play()
    publication.append([*HEADERS, key("0", 1000)])
    sink.clear()
    return publication, sink


def test_who_takes_over_goes_on_and_players_stay() -> None:
    house = policed(TAKEOVER)
    first, sink = on_air(house)
    first_peer = house.publisher
    told: list[list[str]] = []
    house.desk.meanwhile = lambda: told.append(house.desk.ended_ids)
    house.clock.advance(0.5)
    second = house.publish()
    assert told == [["id-1"]], "the end is reported before the authority is asked"
    assert first_peer.dismissals == [REPLACED]
    assert (first_peer.drops, house.publisher.drops) == ([], [])
    first.append([inter("late", 1040)])
    first.end("closed")
    second.append([*HEADERS, key("1", 7)])
    assert sink.told() == []
    assert sink.frames() == payloads(key("1"))
    assert [at for kind, at, _ in sink.media() if kind == 9] == [1500]
    assert house.desk.ended_ids == ["id-1"]
    second.end("closed")
    assert sink.told() == UNPUBLISHED
    assert house.desk.ended_ids == ["id-1", "id-2"]


def test_who_shows_another_key_takes_nothing_over() -> None:
    house = policed(TAKEOVER, 10)
    first, sink = on_air(house)
    with refused(PUBLISH_BAD_NAME, "Stream already publishing"):
        house.publish("another")
    assert first.channel.live
    assert sink.received == b""
    assert house.desk.ended_ids == []


@pytest.mark.parametrize(("reconnect_s", "told"), [(0.0, UNPUBLISHED), (90.0, [])])
def test_where_the_authority_refuses_who_takes_over_players_are_told(
    reconnect_s: float, told: list[str]
) -> None:
    house = policed(TAKEOVER, reconnect_s)
    _, sink = on_air(house)

    def deny() -> None:
        assert sink.told() == []
        raise refusal("no")

    house.desk.meanwhile = deny
    with refused(PUBLISH_BAD_NAME, "Invalid stream key provided: no"):
        house.publish()
    assert sink.told() == told
    assert house.desk.ended_ids == ["id-1"]


def test_a_takeover_that_fails_leaves_nothing_behind() -> None:
    house = policed(TAKEOVER)
    house.publish()
    _, sink = house.play()

    def leave_and_deny() -> None:
        house.relay.forget(playback)
        raise refusal("no")

    playback, _ = house.play()
    house.desk.meanwhile = leave_and_deny
    with refused(PUBLISH_BAD_NAME, ".*"):
        house.publish()
    assert sink.told()[-2:] == UNPUBLISHED
    channel = house.registry.find("news")
    assert channel is not None
    assert channel.output is None


def test_a_publisher_may_take_over_the_channel_that_it_is_given() -> None:
    house = policed(TAKEOVER)
    house.desk.channel = "given"
    first = house.publish()
    _, sink = house.play(app="given")
    second = house.publish()
    assert second.channel is first.channel
    second.append([*HEADERS, key("1")])
    assert sink.told() == STARTED
    assert house.desk.ended_ids == ["id-1"]


def test_players_of_a_channel_are_told_when_who_takes_it_over_is_given_another() -> None:
    house = policed(TAKEOVER)
    _, sink = on_air(house)
    house.desk.channel = "given"
    assert house.publish().channel.name == "given"
    assert sink.told() == UNPUBLISHED


def test_who_is_killed_when_it_takes_over_leaves_players_told(monkeypatch: pytest.MonkeyPatch) -> None:
    house = policed(TAKEOVER)
    house.desk.channel = "given"
    house.publish()
    _, sink = house.play(app="given")
    house.desk.meanwhile = lambda: monkeypatch.setattr(
        house.gate, "activate", lambda grant: grant.serial == 1
    )
    with refused(PUBLISH_BAD_NAME, ".* ended meanwhile"):
        house.publish()
    assert sink.told()[-2:] == UNPUBLISHED


def test_without_players_nothing_is_kept() -> None:
    house = policed(TAKEOVER, 10)
    house.publish()
    second = house.publish()
    assert second.channel.publication == 2


def test_the_slower_of_two_that_take_over_is_refused() -> None:
    house = policed(TAKEOVER)
    _, sink = on_air(house)
    publications: list[RelayPublication] = []

    def overtake() -> None:
        house.desk.meanwhile = lambda: None
        publications.append(house.publish())

    house.desk.meanwhile = overtake
    with refused(PUBLISH_BAD_NAME, "Stream already publishing"):
        house.publish()
    assert sink.told() == []
    publications[0].append([*HEADERS, key("1")])
    assert sink.frames() == payloads(key("1"))
    assert house.desk.ended_ids == ["id-1", "id-3"]


def test_a_publisher_that_comes_meanwhile_with_another_right_is_not_replaced() -> None:
    house = policed(STALLED)
    on_air(house)
    present = house.publisher
    present.silent_s = 1.0
    rivals: list[RelayPublication] = []

    def rival() -> bool:
        if not rivals:
            house.relay._publications["news"].end("closed")
            rivals.append(house.publish("another"))
        return True

    asking = FakePeer()
    present.silence_s = lambda: float(rival())  # type: ignore[method-assign]
    with refused(PUBLISH_BAD_NAME, "Stream already publishing"):
        house.relay.publish(asking, KEY, 1)
    assert rivals[0].channel.live


# --- publishers that come back --------------------------------------------------------------------


def test_players_are_kept_for_a_publisher_that_comes_back() -> None:
    house = policed(REFUSE, 10)
    first, sink = on_air(house)
    first.end("closed by the peer")
    assert house.desk.ended_ids == ["id-1"]
    assert not first.channel.live
    assert sink.received == b""
    house.clock.advance(4)
    waiting = house.play("another")[1]
    house.publish().append([*HEADERS, key("1", 0)])
    assert sink.told() == []
    assert sink.frames() == payloads(key("1"))
    assert [at for kind, at, _ in sink.media() if kind == 9] == [5000]
    assert house.player.refusals == [(PLAY_BAD_NAME, WRONG_KEY)]
    assert waiting.received == b""
    assert (len(house.desk.asked), house.desk.ended_ids) == (2, ["id-1"])


def test_when_it_does_not_come_back_players_are_told() -> None:
    house = policed(REFUSE, 10)
    first, sink = on_air(house)
    first.end("closed by the peer")
    house.clock.advance(10)
    assert sink.told() == UNPUBLISHED
    assert house.publish().channel.publication == 2


def test_who_comes_with_another_right_starts_anew() -> None:
    house = policed(REFUSE, 10)
    first, sink = on_air(house)
    first.end("closed by the peer")
    house.publish("another").append([*HEADERS, key("1", 0)])
    assert sink.told() == UNPUBLISHED
    assert house.player.refusals == [(PLAY_BAD_NAME, WRONG_KEY)]


def test_a_publisher_whose_end_was_not_seen_is_gone_on_for() -> None:
    house = policed(REFUSE, 10)
    _, sink = on_air(house)
    house.publisher.left = True
    house.publish().append([*HEADERS, key("1", 0)])
    assert sink.told() == []
    assert sink.frames() == payloads(key("1"))


@pytest.mark.parametrize("how", ["killed", "dismissed", "shut down"])
def test_who_was_ended_on_purpose_is_not_waited_for(how: str) -> None:
    house = policed(REFUSE, 10)
    first, sink = on_air(house)
    if how == "killed":
        house.gate.kill("news", None, "killed")
        house.publisher.drops.clear()
    elif how == "dismissed":
        house.publisher.dismiss("the token has run out")
    else:
        house.relay.close()
    first.end(how)
    assert sink.told() == UNPUBLISHED


def test_nobody_is_waited_for_when_the_process_ends() -> None:
    house = policed(REFUSE, 10)
    first, sink = on_air(house)
    other = house.publish(app="sport")
    first.end("closed by the peer")
    house.relay.close()
    house.relay.close()
    assert sink.told() == UNPUBLISHED
    assert other.channel.live


def test_a_publication_that_is_waited_for_is_not_resumed() -> None:
    house = policed(REFUSE, 10)
    first, _ = on_air(house)
    frozen = first.grant
    first.end("closed by the peer")
    with refused(PUBLISH_BAD_NAME, "Invalid stream key provided: the stream was ended meanwhile"):
        house.relay.resume_publication(FakePeer(), frozen)

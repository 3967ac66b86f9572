"""Players that are frozen, pickled and resumed on the same socket: nothing is lost, nothing comes twice."""

from __future__ import annotations

import pickle

import pytest

from rtmpsrv.live.channel import CHECK_S
from rtmpsrv.live.news import News
from rtmpsrv.live.player import PlayerState
from rtmpsrv.live.segment import AUDIO, DATA
from tests.unit.live.stage import (
    AAC,
    AAC_2,
    AVC,
    AVC_2,
    HEADERS,
    STARTED,
    UNPUBLISHED,
    Stage,
    data,
    framed,
    inter,
    key,
    many,
    payloads,
    playing,
    tone,
)

REPLY = framed(data(b"\2\0\5reply"), msid=7)


def state_of(frozen: bytes) -> PlayerState:
    state = pickle.loads(frozen)
    assert isinstance(state, PlayerState)
    return state


# --- up to date -----------------------------------------------------------------------------------


@pytest.mark.parametrize("msid", [1, 2])
def test_player_that_is_up_to_date_goes_on(can_sendfile: bool, msid: int) -> None:
    stage = Stage()
    before, meanwhile, after = [key("0"), inter("1")], [tone("2"), inter("3")], [key("4"), tone("5")]
    stage.publish(*HEADERS, *before)
    sink = stage.join(can_sendfile=can_sendfile, msid=msid)
    frozen = stage.freeze(sink)
    assert stage.channel.players == set()
    assert len(stage.output().audience) == 0
    assert (state_of(frozen).position, state_of(frozen).rest) == (stage.output().log.end, b"")
    stage.publish(*meanwhile)
    sink = stage.resume(sink, frozen)
    stage.publish(*after)
    assert sink.frames() == payloads(*before, *meanwhile, *after)
    assert sink.told() == STARTED
    assert stage.follows(sink) is (msid == 1)
    assert {message[2] for message in sink.messages() if message[0] in (8, 9)} == {msid}


def test_bytes_that_the_fast_lane_sent_are_counted_once() -> None:
    stage = Stage()
    sink = stage.join()
    stage.publish(AVC, key("0"))
    sink = stage.move(sink)
    assert sink.sent_bytes == len(sink.received)
    stage.publish(inter("1"))
    assert sink.sent_bytes + stage.player(sink).uncounted_bytes == len(sink.received)


def test_paused_player_stays_paused() -> None:
    stage = Stage()
    sink = playing(stage, *HEADERS, key("0"))
    stage.pause(stage.player(sink))
    stage.publish(inter("1"))
    sink = stage.move(sink)
    stage.publish(key("2"), data(b"\2\0\4text"))
    assert [kind for kind, _, _ in sink.media()] == [18]
    stage.unpause(stage.player(sink))
    stage.publish(inter("3"), key("4"), tone("5"))
    assert sink.frames() == payloads(key("4"), tone("5"))
    assert sink.told() == ["StreamEOF", "Pause.Notify", "StreamBegin", "Unpause.Notify"]


def test_choice_and_wait_for_a_keyframe_last() -> None:
    stage = Stage(cache_bytes=0)
    stage.publish(*HEADERS, key("0"), inter("1"))
    deaf, patient = stage.join(wants=AUDIO | DATA), stage.join()
    deaf, patient = stage.move(deaf), stage.move(patient)
    stage.publish(inter("2"), tone("3"), key("4"), tone("5"))
    assert deaf.frames() == payloads(tone("3"), tone("5"))
    assert patient.frames() == payloads(tone("3"), key("4"), tone("5"))


def test_waiting_player_waits_on() -> None:
    stage = Stage(live=False)
    good, bad = stage.join(key="key"), stage.join(key="other")
    good, bad = stage.move(good), stage.move(bad)
    assert stage.news() == []
    stage.start("key")
    assert stage.news() == [(News.REFUSED, bad)]
    stage.publish(AVC, key("0"))
    assert (good.told(), good.frames()) == (STARTED, payloads(key("0")))
    assert bad.received == b""


def test_waiting_player_is_started_or_refused_by_who_came_meanwhile() -> None:
    stage = Stage(live=False)
    good, bad = stage.join(key="key"), stage.join(key="other")
    frozen = [stage.freeze(sink) for sink in (good, bad)]
    stage.start("key")
    assert stage.news() == []
    good, bad = stage.resume(good, frozen[0]), stage.resume(bad, frozen[1])
    assert good.told() == STARTED
    assert stage.news() == [(News.REFUSED, bad)]
    assert stage.channel.players == {good.player}


# --- behind ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("room", [0, 1, 11, 12, 150, 1100, 2500])
def test_laggard_goes_on_inside_its_message(can_sendfile: bool, room: int) -> None:
    stage = Stage()
    sink = playing(stage, AVC, key("k"), can_sendfile=can_sendfile)
    sink.room = room
    sent, after = many(5), [key("l"), tone("m")]
    stage.publish(*sent)
    for _ in range(3):  # and again, before anything of the rest was taken
        sink = stage.move(sink)
    stage.publish(*after)
    while len(sink.received) < len(framed(*sent, *after)):
        sink.open(97)
        sink = stage.move(sink)
    assert bytes(sink.received) == framed(*sent, *after)
    assert stage.follows(sink)


def test_frozen_laggard_is_at_a_boundary_and_brings_what_comes_before() -> None:
    stage = Stage()
    sink = playing(stage, AVC, key("k"))
    sink.room = 100
    stage.publish(*many(2))
    position = stage.output().log.end - len(framed(*many(2)[1:]))
    state = state_of(stage.freeze(sink))
    assert state.position == position
    assert state.rest == framed(many(2)[0])[100:]


@pytest.mark.parametrize("room", [0, 1, 150])
@pytest.mark.parametrize("opened", [None, 0, 40, 5000])
def test_laggard_that_jumped_completes_its_message_first(
    can_sendfile: bool, room: int, opened: int | None
) -> None:
    stage = Stage(lag_bytes=5000)
    sink = playing(stage, AVC, AAC, key("k"), can_sendfile=can_sendfile)
    sink.room = room
    first, *skipped = many(6)
    stage.publish(first, *skipped, AAC_2, key("newest"))
    assert stage.player(sink).skip_if_behind()
    assert stage.player(sink).has_rest
    if opened is not None:
        sink.open(opened)
    sink = stage.move(sink)
    sink = stage.move(sink)
    assert stage.player(sink).state.jumps == 1
    sink.open()
    stage.publish(inter("after"))
    begun = [first] * (room > 0 or not can_sendfile)  # what a TLS sink was offered it keeps
    expected = payloads(*begun, AAC_2, key("newest"), inter("after"))
    assert [payload for _, _, payload in sink.media()] == expected
    assert stage.follows(sink)


def test_reply_to_a_resumed_laggard_waits_for_the_rest() -> None:
    stage = Stage()
    sink = playing(stage, AVC, key("k"))
    sink.room = 1500
    stage.publish(*many(3))
    sink.reply(REPLY)
    frozen = stage.freeze(sink)
    sink = stage.resume(sink, frozen, writes=False)
    assert not stage.player(sink).at_boundary
    sink.writes = True
    sink.open()
    assert [message[2] for message in sink.messages()] == [1, 1, 7, 1]
    assert sink.frames() == payloads(*many(3))


def test_start_that_waits_comes_before_the_headers_of_a_jump() -> None:
    stage = Stage(lag_bytes=5000)
    stage.publish(AVC, AAC, key("k"))
    sink = stage.join(room=0)
    stage.publish(*many(6), AAC_2, key("newest"))
    assert stage.player(sink).skip_if_behind()
    assert stage.player(sink).has_rest
    for _ in range(2):
        frozen = stage.freeze(sink)
        assert state_of(frozen).rest == b""
        assert state_of(frozen).then
        sink = stage.resume(sink, frozen)
    sink.open()
    assert sink.told() == STARTED
    assert [message[0] for message in sink.messages()][:4] == [4, 20, 20, 18]
    assert [payload for _, _, payload in sink.media()] == payloads(AAC, AVC, AAC_2, key("newest"))


def test_laggard_that_jumps_before_its_rest_was_taken_completes_it() -> None:
    stage = Stage(lag_bytes=5000)
    sink = playing(stage, AVC, key("k"))
    sink.room = 100
    first, *skipped = many(6)
    stage.publish(first)
    frozen = stage.freeze(sink)
    sink = stage.resume(sink, frozen, writes=False)
    stage.publish(*skipped, key("newest"))
    assert stage.player(sink).skip_if_behind()
    sink.writes = True
    sink.open()
    assert sink.frames() == payloads(first, key("newest"))


def test_allowance_of_a_joiner_lasts() -> None:
    stage = Stage(lag_bytes=1000, lag_s=1.0)
    cached = [key("k"), *many(5)]
    stage.publish(AVC, *cached)
    stage.clock.advance(15)
    sink = stage.join(room=2000)
    sink = stage.move(sink)
    stage.publish(key("next"))
    sink.open()
    assert sink.frames() == payloads(*cached, key("next"))


# --- what is not there any more -------------------------------------------------------------------


@pytest.mark.parametrize("opened", [0, 50, 5000])
def test_player_finishes_an_ended_publication_while_the_next_is_on(can_sendfile: bool, opened: int) -> None:
    stage = Stage()
    sink = stage.join(can_sendfile=can_sendfile)
    stage.publish(AVC)
    sink.clear()
    sink.room = 30
    old, new = [key("0"), inter("1"), key("2"), tone("3")], [key("4"), inter("5")]
    stage.publish(*old)
    stage.channel.stop()
    stage.start("key")
    stage.publish(AAC_2, AVC_2, *new)
    sink.open(opened)
    sink = stage.move(sink)
    sink.open()
    assert sink.frames() == payloads(*old, *new)
    assert sink.told() == [*UNPUBLISHED, *STARTED]
    stage.publish(inter("6"))
    assert sink.frames()[-1] == inter("6")[3]
    assert stage.channel.describe()["ended_outputs"] == 0


@pytest.mark.parametrize("live", [True, False])
def test_begun_message_of_a_publication_that_is_gone_is_completed(live: bool) -> None:
    stage = Stage()
    sink = playing(stage, AVC, key("k"))
    sink.room = 1500
    stage.publish(*many(5))
    sink.reply(REPLY)
    frozen = stage.freeze(sink)
    stage.channel.stop()
    if live:
        stage.start("key")
        stage.publish(AVC_2, key("new"))
    sink = stage.resume(sink, frozen)
    sink.open()
    assert sink.frames() == payloads(*many(2), *([key("new")] if live else []))
    assert sink.told() == UNPUBLISHED + (STARTED if live else [])
    assert 7 in [message[2] for message in sink.messages()]


def test_player_is_started_anew_where_its_place_was_let_go_of(small_segments: None) -> None:
    stage = Stage()
    sink = playing(stage, AVC, key("k"))
    sink.room = 1500
    stage.publish(*many(3))
    frozen = stage.freeze(sink)
    stage.publish(AVC_2, *many(3), key("newest"))
    assert state_of(frozen).position < stage.output().log.begin
    sink = stage.resume(sink, frozen)
    sink.open()
    stage.publish(inter("after"))
    assert sink.told() == STARTED
    assert sink.frames() == payloads(*many(2), key("newest"), inter("after"))
    assert AVC_2[3] in [payload for _, _, payload in sink.media()]


def test_ended_publication_waits_a_moment_for_its_frozen_players() -> None:
    stage = Stage()
    sinks = [playing(stage, AVC, key("0")), playing(stage)]
    for sink in sinks:
        sink.room = 0
    stage.publish(inter("1"))
    stage.channel.stop()
    frozen = [stage.freeze(sink) for sink in sinks]
    assert stage.channel.describe()["ended_outputs"] == 1
    first = stage.resume(sinks[0], frozen[0])
    first.open()
    assert first.frames() == payloads(inter("1"))
    assert stage.channel.describe()["ended_outputs"] == 0
    stage.start("key")
    stage.clock.advance(1)
    stage.publish(AVC, key("2"))
    second = stage.resume(sinks[1], frozen[1])
    second.open()
    assert second.frames() == payloads(key("2"))
    assert second.told() == [*UNPUBLISHED, *STARTED]


def test_ended_publication_waits_no_longer_than_that() -> None:
    stage = Stage()
    sink = playing(stage, AVC, key("0"))
    sink.room = 0
    stage.publish(inter("1"))
    stage.channel.stop()
    stage.freeze(sink)
    stage.start("key")
    stage.clock.advance(CHECK_S)
    stage.publish(AVC)
    assert stage.channel.describe()["ended_outputs"] == 0


# --- the value ------------------------------------------------------------------------------------


def test_state_is_plain_and_keeps_its_key_to_itself() -> None:
    stage = Stage()
    sink = stage.join(key="key", cache="no")
    stage.receive(stage.player(sink), AUDIO | DATA)
    state = state_of(stage.freeze(sink))
    assert (state.key, state.cache, state.wants, state.waiting) == ("key", "no", AUDIO | DATA, False)
    assert "'key'" not in repr(state)
    assert "rest" not in repr(state)

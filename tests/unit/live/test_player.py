"""How a player reads the log by itself: steps, boundaries, replies."""

from __future__ import annotations

import pytest

from rtmpsrv.live.player import COPY_BYTES, STEP_BYTES
from tests.unit.live.stage import AVC, HEADERS, Stage, data, framed, inter, key, many, payloads, playing

REPLY = framed(data(b"\2\0\5reply"), msid=7)


# --- catching up ----------------------------------------------------------------------------------


@pytest.mark.parametrize("others", [0, 5], ids=["alone", "among_many"])
def test_laggard_catches_up_and_follows_again(can_sendfile: bool, others: int) -> None:
    stage = Stage()
    stage.followers(others)
    sink = playing(stage, AVC, key("k"), can_sendfile=can_sendfile, room=None)
    sink.room = 150
    late, after = many(20), many(3)
    stage.publish(*late)
    assert bytes(sink.received) == framed(*late)[:150]
    assert not stage.follows(sink)
    for _ in range(30):
        sink.open(777)
    assert bytes(sink.received) == framed(*late)
    assert stage.follows(sink)
    sink.open()
    stage.publish(*after)
    assert bytes(sink.received) == framed(*late, *after)


def test_joiner_of_a_full_socket_gets_everything_byte_by_byte(can_sendfile: bool) -> None:
    stage = Stage()
    stage.publish(*HEADERS, key("k"), *many(3, 100))
    whole, slow = stage.join(), stage.join(can_sendfile=can_sendfile, room=0)
    while len(slow.received) < len(whole.received):
        slow.open(1)
    assert slow.received == whole.received
    assert stage.follows(slow)


def test_much_is_sent_in_steps(can_sendfile: bool) -> None:
    stage = Stage()
    stage.publish(key(bytes(2 * STEP_BYTES + COPY_BYTES)))
    sink = stage.join(can_sendfile=can_sendfile)
    assert len(sink.frames()[0]) == 5 + 2 * STEP_BYTES + COPY_BYTES


def test_short_send_with_room_left_sends_nothing_twice() -> None:
    stage = Stage(merge_messages=1000)
    sinks = stage.followers(5)
    stage.publish(AVC, key("k"))
    stage.clock.advance(1)
    for sink in sinks:
        sink.clear()
    sinks[2].hiccups = 1
    sinks[0].cost_s = 1.0  # the next flush merges
    stage.publish(inter("0"))
    sinks[0].cost_s = 0.0
    sinks[2].hiccups = 1
    rest = [inter("1"), key("2"), inter("3"), key("4")]  # three segments in one flush
    stage.publish(*rest)
    stage.clock.advance(1)
    for sink in sinks:
        assert sink.frames() == payloads(inter("0"), *rest)
        assert stage.follows(sink)


# --- replies --------------------------------------------------------------------------------------


@pytest.mark.parametrize("room", [0, 1, 70, 500, 1200])
def test_reply_to_a_laggard_goes_out_at_the_next_message_boundary(can_sendfile: bool, room: int) -> None:
    stage = Stage()
    sink = playing(stage, AVC, key("k"), can_sendfile=can_sendfile)
    sink.room = room
    stage.publish(*many(5))
    sink.reply(REPLY)
    while len(sink.received) < len(framed(*many(5)) + REPLY):
        sink.open(33)
    kinds = [message[2] for message in sink.messages()]
    assert kinds.index(7) <= 5
    assert sink.frames() == payloads(*many(5))


def test_reply_to_a_laggard_waits_for_the_begun_message_only() -> None:
    stage = Stage()
    sink = playing(stage, AVC, key("k"))
    sink.room = 1500
    stage.publish(*many(5))
    sink.reply(REPLY)
    sink.open()
    assert [message[2] for message in sink.messages()] == [1, 1, 7, 1, 1, 1]


# --- leaving --------------------------------------------------------------------------------------


@pytest.mark.parametrize("jumped", [False, True])
@pytest.mark.parametrize("moved", [False, True])
def test_player_that_leaves_inside_a_message_completes_it(
    can_sendfile: bool, jumped: bool, moved: bool
) -> None:
    stage = Stage(lag_bytes=2000)
    sink = playing(stage, AVC, key("k"), can_sendfile=can_sendfile)
    sink.room = 100
    first, *others = many(3)
    stage.publish(first, *others, key("newest"))
    if jumped:
        assert stage.player(sink).skip_if_behind()
    sink.reply(REPLY)
    if moved:
        sink = stage.move(sink)
    player = stage.player(sink)
    stage.channel.leave(player)
    sink.player = None
    sink.open()
    assert sink.frames() == payloads(first)
    assert [message[2] for message in sink.messages()][-1] == 7
    assert stage.channel.players == set()

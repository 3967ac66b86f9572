"""What a channel relays, to whom, and what joiners are told of it."""

from __future__ import annotations

import pytest

from rtmpsrv.live import lane
from rtmpsrv.live.segment import AUDIO, DATA, VIDEO
from rtmpsrv.media.metadata import MAX_METADATA_NAMES
from rtmpsrv.protocol import amf0
from tests.unit.live.fakes import CHUNK_SIZE, Message
from tests.unit.live.stage import (
    AAC,
    AVC,
    AVC_2,
    META,
    Stage,
    data,
    framed,
    inter,
    joined_frames,
    key,
    payloads,
    sound,
    tone,
    video,
)

# --- following ------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 3, 4, 7])
def test_followers_get_exactly_the_bytes_of_the_log(can_sendfile: bool, count: int) -> None:
    stage = Stage()
    sinks = stage.followers(count, can_sendfile=can_sendfile)
    stage.publish(AVC)
    for sink in sinks:
        sink.clear()
    sent = [key("0", 0), tone("1", 0xFFFFFF), inter(bytes(500), 0xFFFFFFFF), tone("", 3), inter("4", 4)]
    stage.publish(*sent)
    for sink in sinks:
        assert bytes(sink.received) == framed(*sent)


def test_few_followers_and_small_flushes_are_sent_copies(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lane, "SENDFILE_FROM", 4)
    monkeypatch.setattr(lane, "SENDFILE_BYTES", 100)
    stage = Stage()
    sinks = stage.followers(3)
    stage.publish(key(bytes(100)))
    assert [sink.sendfiles for sink in sinks] == [0, 0, 0]
    sinks += stage.followers(1)
    before = [sink.sendfiles for sink in sinks]
    stage.publish(inter("small"))
    assert [sink.sendfiles for sink in sinks] == before
    stage.publish(inter(bytes(100)))
    assert [sink.sendfiles for sink in sinks] == [count + 1 for count in before]


def test_a_full_socket_delays_nobody_else(can_sendfile: bool) -> None:
    stage = Stage()
    stage.publish(AVC, key("k"))
    stuck, fine = stage.join(can_sendfile=can_sendfile, room=0), stage.join(can_sendfile=can_sendfile)
    stage.publish(*(inter(f"{number}") for number in range(50)))
    assert len(fine.frames()) == 51
    assert stuck.received == b""


def test_player_that_left_gets_nothing_more() -> None:
    stage = Stage()
    sinks = [stage.join(), stage.join(can_sendfile=False), stage.join(msid=2), stage.join(room=0)]
    stage.publish(AVC, key("k"))
    for sink in sinks:
        stage.channel.leave(stage.player(sink))
        stage.channel.leave(stage.player(sink))
        sink.clear()
    stage.publish(inter("i"))
    stage.channel.stop()
    assert stage.channel.players == set()
    sinks[3].open()
    assert [player_sink.media() for player_sink in sinks] == [[]] * 4
    assert b"".join(sink.received for sink in sinks[:3]) == b""


# --- choosing what to receive -----------------------------------------------------------------------


def test_a_header_that_changed_while_its_kind_was_off_is_sent_when_it_is_on_again() -> None:
    stage = Stage()
    stage.publish(AAC, AVC, key("0"))
    sink = stage.join()
    player = stage.player(sink)
    stage.receive(player, AUDIO | DATA)
    stage.publish(AVC_2, key("1"))
    sink.clear()
    stage.receive(player, AUDIO | VIDEO | DATA)
    assert [p for _, _, p in sink.media()] == payloads(AVC_2)
    stage.publish(key("2"))
    assert sink.frames() == payloads(key("2"))


def test_choosing_while_paused_or_waiting_sends_nothing() -> None:
    stage = Stage(live=False)
    sink = stage.join(wants=DATA)
    player = stage.player(sink)
    stage.receive(player, AUDIO | VIDEO | DATA)
    assert sink.messages() == []
    stage.receive(player, DATA)
    stage.start("key")
    stage.publish(AVC, key("0"))
    stage.pause(player)
    sink.clear()
    stage.receive(player, AUDIO | VIDEO | DATA)
    assert sink.media() == []


# --- data -----------------------------------------------------------------------------------------


def test_metadata_reaches_players_at_timestamp_0_and_joiners_in_its_latest_form() -> None:
    stage = Stage()
    sink = stage.join()
    stage.publish(data(META[3], 500), key("0"), data(amf0.encode("onMetaData", {"width": 1.0}), 900))
    assert [(kind, time) for kind, time, _ in sink.media()] == [(18, 0), (9, 0), (18, 0)]
    assert stage.join(cache="no").media() == [(18, 0, amf0.encode("onMetaData", {"width": 1.0}))]


def test_cleared_metadata_is_forgotten() -> None:
    stage = Stage()
    stage.publish(META, data(amf0.encode("@clearDataFrame", "onMetaData")))
    assert stage.join().media() == []


def test_other_data_is_relayed_and_not_kept() -> None:
    stage = Stage()
    sink = stage.join()
    text = amf0.encode("onTextData", {"text": "t"})
    stage.publish(key("0"), data(text, 70), (15, 71, 1, b"\0" + text, 4))
    assert sink.media()[1:] == [(18, 70, text), (18, 71, text)]
    assert stage.join(cache="no").media() == []


def test_kept_data_messages_are_bounded() -> None:
    stage = Stage()
    for number in range(2 * MAX_METADATA_NAMES):
        stage.publish(data(amf0.encode("@setDataFrame", f"name{number}", {"n": 1.0})))
    assert len(stage.join(cache="no").media()) == MAX_METADATA_NAMES
    stage.publish(data(amf0.encode("@setDataFrame", "name0", {"n": 2.0})))
    assert stage.join(cache="no").media()[0] == (18, 0, amf0.encode("name0", {"n": 2.0}))


# --- kinds of messages ----------------------------------------------------------------------------


def test_keyframe_of_the_lowest_track_starts_a_gop_where_there_is_no_track_0() -> None:
    def multitrack(frame: int, packet_type: int, track: int, content: bytes) -> Message:
        first = 0x80 | frame << 4 | 6  # multitrack, one track
        return video(bytes((first, packet_type)) + b"avc1" + bytes((track,)) + content)

    stage = Stage()
    stage.publish(multitrack(1, 0, 1, b"config"), multitrack(1, 1, 1, b"\0\0\0key"))
    stage.publish(multitrack(2, 1, 1, b"\0\0\0int"), multitrack(1, 1, 1, b"\0\0\0new"))
    assert joined_frames(stage)[-1:] == [multitrack(1, 1, 1, b"\0\0\0new")[3]]
    assert len(joined_frames(stage)) == 2  # the config and the newest keyframe


def test_empty_messages_are_relayed() -> None:
    stage = Stage()
    sink = stage.join()
    stage.publish(sound(b"", 5), video(b"", 6))
    assert sink.media() == [(8, 5, b""), (9, 6, b"")]


def test_chunk_size_is_the_servers() -> None:
    stage = Stage()
    sink = stage.join()
    sink.clear()
    stage.publish(key(bytes(2 * CHUNK_SIZE)))
    assert sink.received.count(b"\xc5") == 2


def test_keyframe_of_another_track_starts_no_gop() -> None:
    def track_1(frame: int, packet_type: int, content: bytes) -> Message:
        return video(bytes((0x80 | frame << 4 | 6, packet_type)) + b"avc1\1" + content)

    stage = Stage()
    stage.publish(AVC, key("0"), track_1(1, 0, b"config"), track_1(1, 1, b"\0\0\0key"), inter("1"))
    sink = stage.join()
    assert len(sink.frames()) == 4  # the config is none by the tests' lights
    assert sink.frames()[0] == key("0")[3]


# --- descriptions ---------------------------------------------------------------------------------


def test_channel_describes_itself_and_its_output() -> None:
    stage = Stage(live=False)
    sink = stage.join()
    waiting = {
        "name": "channel", "live": False, "suspended": False, "waits_until": None, "publication": 0,
        "players": 1, "waiting": 1,
        "ended_outputs": 0, "began_at": None, "received_bytes": 0, "sent_bytes": 0, "frames_dropped": 0,
    }  # fmt: skip
    assert stage.channel.describe() == waiting
    assert stage.channel.end_position() == 0
    stage.start("key")
    stage.publish(AVC, key("0"))
    about = stage.channel.describe()
    assert about == {
        **waiting, "live": True, "publication": 1, "waiting": 0, "audience": 1, "flush_s": 0.0,
        "began_at": stage.clock.time_s, "received_bytes": stage.channel.end_position(),
        "sent_bytes": len(sink.received),
        **stage.output().log.describe(),
    }  # fmt: skip
    assert about["bytes"] == stage.channel.end_position() == len(framed(AVC, key("0")))


def test_player_describes_itself() -> None:
    stage = Stage()
    stage.publish(AVC, key("0"))
    sink = stage.join()
    following = {
        "waiting": False, "paused": False, "audio": True, "video": True, "behind_bytes": 0, "lag_s": 0.0,
        "skipped_messages": 0, "jumps": 0,
    }  # fmt: skip
    assert stage.player(sink).describe() == following
    sink.room = 10
    stage.publish(inter("1"))
    assert stage.player(sink).describe() == {**following, "behind_bytes": len(framed(inter("1"))) - 10}
    sink.open()
    stage.receive(stage.player(sink), AUDIO | DATA)
    stage.pause(stage.player(sink))
    stage.channel.stop()
    assert stage.player(sink).describe() == {**following, "waiting": True, "paused": True, "video": False}

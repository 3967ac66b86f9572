"""Watchers at the endpoint, with real connections. Numbers in names: docs/endpoint-compliance.md."""

from __future__ import annotations

from collections.abc import Iterator
from time import monotonic
from typing import Any

import gevent
import pytest

from rtmpsrv import (
    AudioCodec,
    AudioData,
    ScriptData,
    StreamKeyBecameActive,
    StreamKeyBecameInactive,
    StreamMetadata,
    VideoCodec,
    VideoData,
    WatcherConnected,
    WatcherDisconnected,
    WatcherRegistration,
)
from rtmpsrv.protocol import amf0, messages
from rtmpsrv.protocol.messages import Message
from tests.client import Client, media_of, names_of, values_of
from tests.endpoint_stage import (
    EndpointStage,
    endpoint_stage,
    eventually,
    expect,
    expect_nothing,
    next_message,
    rest,
)

AVC_CONFIG = VideoData(b"avcC", 0, is_keyframe=True, is_sequence_header=True)
AAC_CONFIG = AudioData(b"\x12\x10", 0, is_sequence_header=True)


@pytest.fixture
def on() -> Iterator[EndpointStage]:
    with endpoint_stage() as opened:
        yield opened


def received(client: Client, count: int = 1) -> list[Message]:
    """Return the next media and data messages."""
    found: list[Message] = []
    while len(found) < count:
        message = client.read()
        if message.type_id in (messages.AUDIO, messages.VIDEO, messages.DATA_AMF0):
            found.append(message)
    return found


def wire(client: Client) -> tuple[int, int, str]:
    message = received(client)[0]
    return message.type_id, message.timestamp, message.payload.hex()


def mark(registration: WatcherRegistration, client: Client, key: str = "key") -> list[Message]:
    """Send a mark; return what the client was sent before it."""
    name = amf0.encode("mark")
    registration.send(key, ScriptData(name, 0))
    before, _ = client.read_until(lambda one: one.payload == name)
    return before


def test_e35_a_watcher_is_accepted_and_makes_its_key_active(on: EndpointStage) -> None:
    registration = on.watchers()
    on.watcher()
    connected = next_message(registration)
    assert isinstance(connected, WatcherConnected)
    assert connected.client.stream_key == "key"
    assert next_message(registration) == StreamKeyBecameActive("key")


def test_e36_the_only_watcher_that_stops_makes_its_key_inactive(on: EndpointStage) -> None:
    registration, client = on.watched()
    client.command("deleteStream", None, 1.0)
    assert expect(registration, StreamKeyBecameInactive) == StreamKeyBecameInactive("key")


def test_e37_the_only_watcher_that_disconnects_makes_its_key_inactive(on: EndpointStage) -> None:
    registration, client = on.watched()
    client.close()
    assert expect(registration, StreamKeyBecameInactive) == StreamKeyBecameInactive("key")


def test_e38_metadata_reaches_the_watcher_equal(on: EndpointStage) -> None:
    registration, client = on.watched()
    assert registration.send("key", StreamMetadata({"width": 1920})) == 1
    assert values_of(received(client)[0]) == ["onMetaData", {"width": 1920.0}]


def test_e39_a_video_frame_gets_its_header(on: EndpointStage) -> None:
    registration, client = on.watched()
    registration.send("key", VideoData(bytes.fromhex("01020304"), 5))
    assert wire(client) == (messages.VIDEO, 5, "270100000001020304")


def test_e40_a_keyframe_gets_its_header(on: EndpointStage) -> None:
    registration, client = on.watched()
    registration.send("key", VideoData(bytes.fromhex("01020304"), 5, is_keyframe=True))
    assert wire(client) == (messages.VIDEO, 5, "170100000001020304")


def test_e41_an_audio_sequence_header_gets_its_header(on: EndpointStage) -> None:
    registration, client = on.watched()
    registration.send("key", AudioData(bytes.fromhex("0a0b0304"), 5, is_sequence_header=True))
    assert wire(client) == (messages.AUDIO, 5, "af000a0b0304")


def test_e42_an_audio_frame_gets_its_header(on: EndpointStage) -> None:
    registration, client = on.watched()
    registration.send("key", AudioData(bytes.fromhex("0a0b0304"), 5))
    assert wire(client) == (messages.AUDIO, 5, "af010a0b0304")


def test_es3_video_of_unknown_codec_is_not_sent(on: EndpointStage) -> None:
    registration, client = on.watched()
    registration.send("key", VideoData(b"1234", 5, VideoCodec.UNKNOWN))
    assert media_of(mark(registration, client)) == []


def test_es4_audio_of_unknown_codec_is_not_sent(on: EndpointStage) -> None:
    registration, client = on.watched()
    registration.send("key", AudioData(b"1234", 5, AudioCodec.UNKNOWN))
    assert media_of(mark(registration, client)) == []


def test_raw_media_is_sent_as_it_is(on: EndpointStage) -> None:
    registration, client = on.watched()
    registration.send("key", VideoData(b"\x91hvc1\0\0\0picture", 5, VideoCodec.HEVC, is_raw=True))
    registration.send("key", AudioData(b"\x2fmp3", 6, AudioCodec.MP3, is_raw=True))
    assert [one.payload for one in received(client, 2)] == [b"\x91hvc1\0\0\0picture", b"\x2fmp3"]


# --- behaviour kept -------------------------------------------------------------------------------------


def test_k17_a_watcher_without_source_is_held_and_served_later(on: EndpointStage) -> None:
    registration, client = on.watched()
    client.fence()
    registration.send("key", VideoData(b"late", 77, is_keyframe=True))
    assert received(client)[0].timestamp == 77


def test_k18_active_and_inactive_speak_of_the_first_and_the_last(on: EndpointStage) -> None:
    registration, first = on.watched()
    second = on.watcher()
    first.close()
    expect(registration, WatcherDisconnected)
    gevent.sleep(0.05)
    second.fence()
    expect_nothing(registration, StreamKeyBecameInactive)
    second.close()
    assert isinstance(next_message(registration), WatcherDisconnected)
    assert next_message(registration) == StreamKeyBecameInactive("key")


def test_k19_headers_sent_to_nobody_reach_a_later_watcher_before_media(on: EndpointStage) -> None:
    registration = on.watchers()
    assert registration.send("key", AVC_CONFIG) == 0
    registration.send("key", AAC_CONFIG)
    client = on.watcher()
    registration.send("key", VideoData(b"live", 40, is_keyframe=True))
    # Audio first, as the stand-alone server: one log serves both.
    sound, picture, live = [one.payload for one in received(client, 3)]
    assert sound.hex() == "af001210"
    assert picture == bytes.fromhex("1700000000") + b"avcC"
    assert live.endswith(b"live")


def test_k20_only_the_latest_header_is_replayed(on: EndpointStage) -> None:
    registration = on.watchers()
    for config in (b"\x12\x10", b"\x11\x90"):
        registration.send("key", AudioData(config, 0, is_sequence_header=True))
    client = on.watcher()
    before = media_of(mark(registration, client))
    assert [one.payload.hex() for one in before] == ["af001190"]


def test_k21_media_of_one_key_does_not_reach_another(on: EndpointStage) -> None:
    registration = on.watchers()
    other = on.watcher("b")
    on.watcher("a")
    registration.send("a", VideoData(b"for a", 0, is_keyframe=True))
    assert media_of(mark(registration, other, "b")) == []


def test_k29_a_slow_watcher_does_not_disturb_the_others() -> None:
    with endpoint_stage(stall_s=30.0, watcher_lag_bytes=1 << 20) as on:
        registration = on.watchers()
        slow = on.watcher(receive_buffer=4096)
        others = [on.watcher() for _ in range(3)]
        readers = [gevent.spawn(received, client, 300) for client in others]
        for number in range(300):
            registration.send("key", VideoData(bytes(50_000), number, is_keyframe=number % 25 == 0))
            gevent.sleep(0.001)
        for reader in readers:
            numbers = [one.timestamp for one in reader.get(timeout=10)]
            assert numbers == list(range(300))
        slow.close()


# --- better than what was observed ----------------------------------------------------------------------


def test_c10_a_watcher_that_stops_may_play_another_key(on: EndpointStage) -> None:
    registration, client = on.watched()
    client.command("deleteStream", None, 1.0)
    expect(registration, StreamKeyBecameInactive)
    msid = client.create_stream()
    client.ask_play("other", msid)
    assert expect(registration, StreamKeyBecameActive) == StreamKeyBecameActive("other")
    registration.send("other", VideoData(b"hello", 3, is_keyframe=True))
    message = received(client, 2)[1]
    assert (message.msid, message.timestamp) == (msid, 3)


def test_c11_an_ended_source_leaves_no_headers_and_watchers_are_told(on: EndpointStage) -> None:
    registration, client = on.watched()
    for data in (StreamMetadata({"width": 1}), AVC_CONFIG, AAC_CONFIG, VideoData(b"k", 0, is_keyframe=True)):
        registration.send("key", data)
    registration.end("key")
    names = names_of(client.read_until(lambda one: names_of([one]) == ["StreamEOF"])[0])
    assert names[-1] == "NetStream.Play.UnpublishNotify"
    client.fence()
    client.close()
    expect(registration, StreamKeyBecameInactive)
    late = on.watcher()
    before = mark(registration, late)
    assert media_of(before) == []
    assert "onMetaData" not in names_of(before)


def test_c11_watchers_of_an_ended_source_are_served_by_the_next(on: EndpointStage) -> None:
    registration, client = on.watched()
    registration.send("key", VideoData(b"one", 1, is_keyframe=True))
    registration.end("key")
    registration.end("key")
    registration.send("key", VideoData(b"two", 2, is_keyframe=True))
    assert client.expect_status("NetStream.Play.UnpublishNotify")
    client.expect_status("NetStream.Play.Reset")
    client.expect_status("NetStream.Play.Start")
    assert received(client, 2)[1].timestamp == 2


def test_c12_a_late_joiner_gets_metadata_headers_and_starts_at_a_keyframe(on: EndpointStage) -> None:
    registration = on.watchers()
    registration.send("key", StreamMetadata({"width": 640}))
    registration.send("key", AVC_CONFIG)
    registration.send("key", AAC_CONFIG)
    for number in range(40):
        is_keyframe = number % 25 == 0
        registration.send("key", VideoData(b"%d" % number, number * 40, is_keyframe=is_keyframe))
        registration.send("key", AudioData(b"%d" % number, number * 40))
    client = on.watcher()
    first, second, third, fourth = received(client, 4)
    assert values_of(first) == ["onMetaData", {"width": 640.0}]
    assert [second.payload[:2], third.payload[:2]] == [b"\xaf\x00", b"\x17\x00"]
    assert fourth.payload == b"\x17\x01\0\0\x0025"
    assert fourth.timestamp == 25 * 40


def test_c13_a_client_that_stops_reading_is_dropped_in_time() -> None:
    with endpoint_stage(stall_s=1.0, watcher_lag_bytes=1 << 20) as on:
        registration = on.watchers()
        on.watcher(receive_buffer=4096)
        expect(registration, StreamKeyBecameActive)
        began = monotonic()
        number = 0
        while not registration.messages.qsize():
            registration.send("key", VideoData(bytes(50_000), number, is_keyframe=number % 10 == 0))
            number += 1
            gevent.sleep(0.005)
            assert monotonic() - began < 8
        assert expect(registration, WatcherDisconnected).reason == "took nothing for 1 s"
        assert on.endpoint._registry.budget.used_bytes < 16 << 20


def test_c17_headers_are_never_dropped_and_video_only_up_to_a_keyframe() -> None:
    with endpoint_stage(stall_s=30.0, watcher_lag_bytes=1 << 20) as on:
        registration = on.watchers()
        client = on.watcher(receive_buffer=4096)
        registration.send("key", AVC_CONFIG)
        registration.send("key", AAC_CONFIG)
        for number in range(1000):
            if number == 600:
                registration.send("key", AudioData(b"\x11\x90", number, is_sequence_header=True))
            frame = VideoData(bytes(40_000), number, is_keyframe=number % 10 == 0)
            registration.send("key", frame)
            registration.send("key", AudioData(b"sound", number))
            if number % 20 == 0:
                gevent.sleep(0.001)
        registration.send("key", VideoData(b"the end", 1000, is_keyframe=True))
        got = media_of(client.read_until(lambda one: one.payload.endswith(b"the end"), 20.0)[0])
        video = [one for one in got if one.type_id == messages.VIDEO and one.payload[1]]
        assert len(video) < 900
        previous = -1
        for one in video:
            assert one.timestamp == previous + 1 or one.payload[0] == 0x17
            previous = one.timestamp
        headers = [one.payload.hex() for one in got if one.payload[1] == 0]
        assert "af001190" in headers
        assert headers[0] in ("1700000000" + b"avcC".hex(), "af001210")


def test_c18_a_registrant_sends_only_for_its_own_keys(on: EndpointStage) -> None:
    registration = on.watchers("a")
    with pytest.raises(ValueError, match="does not cover"):
        registration.send("b", AVC_CONFIG)
    assert len(on.endpoint._registry) == 0


# --- more -----------------------------------------------------------------------------------------------


def test_a_watcher_of_a_pausing_client_is_still_one(on: EndpointStage) -> None:
    registration, client = on.watched()
    registration.send("key", AVC_CONFIG)
    client.command("pause", None, True, 0.0, msid=1)
    client.expect_status("NetStream.Pause.Notify")
    registration.send("key", VideoData(b"unseen", 1, is_keyframe=True))
    client.command("pause", None, False, 0.0, msid=1)
    client.expect_status("NetStream.Unpause.Notify")
    registration.send("key", VideoData(b"seen", 2, is_keyframe=True))
    got = client.read_until(lambda one: one.payload.endswith(b"seen"))
    assert not any(one.payload.endswith(b"unseen") for one in got[0])


def test_nothing_of_a_key_is_left_when_source_and_watchers_are_gone(on: EndpointStage) -> None:
    registration, client = on.watched()
    registration.send("key", AVC_CONFIG)
    client.close()
    expect(registration, StreamKeyBecameInactive)
    assert len(on.endpoint._registry) == 1
    registration.end("key")
    assert len(on.endpoint._registry) == 0
    assert registration.watcher_count("key") == 0


def test_each_watcher_is_visible(on: EndpointStage) -> None:
    registration = on.watchers()
    ids: list[Any] = []
    for _ in range(3):
        on.watcher()
        ids.append(expect(registration, WatcherConnected).client.connection_id)
    assert len(set(ids)) == 3
    assert registration.watcher_count("key") == 3
    registration.disconnect(ids[1])
    assert expect(registration, WatcherDisconnected).connection_id == ids[1]
    eventually(lambda: registration.watcher_count("key") == 2)
    assert rest(registration) == []

"""Publishers at the endpoint, with real connections. Numbers in names: docs/endpoint-compliance.md."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from ipaddress import ip_network
from time import monotonic
from typing import Any

import gevent
import pytest

from rtmpsrv import (
    Allow,
    AudioCodec,
    AudioData,
    Deny,
    NewMediaData,
    NewPublisherConnected,
    Observe,
    PublisherRequiringApproval,
    PublishingStopped,
    RegistrationClosed,
    ScriptData,
    SecondPublisher,
    StreamId,
    StreamMetadata,
    VideoCodec,
    VideoData,
)
from rtmpsrv.protocol import amf0, messages
from tests.client import Client, keyframe
from tests.endpoint_stage import (
    APP,
    EndpointStage,
    endpoint_stage,
    eventually,
    expect,
    expect_nothing,
    next_message,
    rest,
)


@pytest.fixture
def on() -> Iterator[EndpointStage]:
    with endpoint_stage() as opened:
        yield opened


def media_for(on: EndpointStage, type_id: int, hexadecimal: str, timestamp: int = 0) -> Any:
    """Publish one message and return what the registrant gets of it."""
    registration, client, announced = on.on_air()
    client.message(type_id, bytes.fromhex(hexadecimal), timestamp, msid=1, csid=4)
    message = expect(registration, NewMediaData)
    assert message.publisher == announced.client.connection_id
    return message.data


def video_for(on: EndpointStage, hexadecimal: str, timestamp: int = 0) -> VideoData:
    data = media_for(on, messages.VIDEO, hexadecimal, timestamp)
    assert isinstance(data, VideoData)
    return data


def audio_for(on: EndpointStage, hexadecimal: str, timestamp: int = 0) -> AudioData:
    data = media_for(on, messages.AUDIO, hexadecimal, timestamp)
    assert isinstance(data, AudioData)
    return data


def refused(client: Client, key: str = "key", code: str = "NetStream.Publish.BadName") -> dict[str, Any]:
    """Ask to publish; the answer must be an error, then the end."""
    client.ask_publish(key, client.create_stream())
    status = client.expect_status(code)
    assert status["level"] == "error"
    client.expect_closed()
    return status


def test_e18_connect_to_an_unknown_app_is_refused(on: EndpointStage) -> None:
    on.publishers()
    client = on.client()
    client.shake_hands()
    client.ask_connect("other")
    client.expect_command("_error")
    client.expect_closed()


def test_e19_a_key_outside_the_registration_is_refused(on: EndpointStage) -> None:
    on.publishers("key")
    refused(on.client().connect(APP), "abc")


def test_e20_an_accepted_publisher_is_announced(on: EndpointStage) -> None:
    registration = on.publishers("key")
    on.publisher("key")
    message = expect(registration, NewPublisherConnected)
    assert message.client.stream_key == "key"
    assert message.client.rtmp_app == APP
    assert message.client.connection_id
    assert message.client.properties["tcUrl"] == f"rtmp://test/{APP}"


def test_e21_a_publisher_that_disconnects_is_reported(on: EndpointStage) -> None:
    registration, client, announced = on.on_air()
    client.close()
    assert expect(registration, PublishingStopped) == PublishingStopped(announced.client)


def test_e22_a_publisher_that_stops_but_stays_is_reported(on: EndpointStage) -> None:
    registration, client, announced = on.on_air()
    client.command("deleteStream", None, 1.0)
    assert expect(registration, PublishingStopped) == PublishingStopped(announced.client)
    client.fence()


def test_e23_video_has_its_header_taken_off(on: EndpointStage) -> None:
    data = video_for(on, "27020304050607", 5)
    assert (data.timestamp, data.data) == (5, b"\x06\x07")


def test_e24_codec_id_7_is_h264(on: EndpointStage) -> None:
    assert video_for(on, "0701000000020304").codec is VideoCodec.H264


def test_e25_packet_type_0_is_a_sequence_header(on: EndpointStage) -> None:
    assert video_for(on, "07000000000304").is_sequence_header


def test_e26_packet_type_1_is_no_sequence_header(on: EndpointStage) -> None:
    assert not video_for(on, "0701000000010304").is_sequence_header


def test_e27_frame_type_2_is_no_keyframe(on: EndpointStage) -> None:
    assert not video_for(on, "2701000000020304").is_keyframe


def test_e28_frame_type_1_is_a_keyframe(on: EndpointStage) -> None:
    assert video_for(on, "1701000000020304").is_keyframe


def test_e29_metadata_arrives_equal(on: EndpointStage) -> None:
    registration, client, announced = on.on_air()
    client.data("@setDataFrame", "onMetaData", {"width": 1920.0, "title": "all of it"})
    data = StreamMetadata({"width": 1920, "title": "all of it"})
    assert expect(registration, NewMediaData) == NewMediaData(announced.client, data)


def test_e30_audio_has_its_header_taken_off(on: EndpointStage) -> None:
    data = audio_for(on, "a0020304", 5)
    assert (data.timestamp, data.data) == (5, b"\x03\x04")


def test_e31_sound_format_10_is_aac(on: EndpointStage) -> None:
    assert audio_for(on, "a0020304").codec is AudioCodec.AAC


def test_e32_other_audio_is_never_delivered_as_aac(on: EndpointStage) -> None:
    assert audio_for(on, "01020304").codec is not AudioCodec.AAC


def test_e33_aac_packet_type_0_is_a_sequence_header(on: EndpointStage) -> None:
    assert audio_for(on, "a0000304").is_sequence_header


def test_e34_aac_packet_type_1_is_no_sequence_header(on: EndpointStage) -> None:
    assert not audio_for(on, "a0010304").is_sequence_header


def test_es1_other_video_is_delivered_as_unknown_and_whole(on: EndpointStage) -> None:
    data = video_for(on, "0801000000020304")
    assert data.codec is VideoCodec.UNKNOWN
    assert data.is_raw
    assert data.data == bytes.fromhex("0801000000020304")


def test_es2_other_audio_is_delivered_as_unknown_and_whole(on: EndpointStage) -> None:
    data = audio_for(on, "01020304")
    assert data.codec is AudioCodec.UNKNOWN
    assert data.is_raw
    assert data.data == bytes.fromhex("01020304")


def test_enhanced_video_is_named_and_whole(on: EndpointStage) -> None:
    body = b"\x91hvc1" + bytes.fromhex("00000a") + b"picture"
    data = video_for(on, body.hex(), 7)
    assert data == VideoData(
        body, 7, VideoCodec.HEVC, is_keyframe=True, composition_time_offset=10, is_raw=True
    )


def test_other_data_messages_are_delivered(on: EndpointStage) -> None:
    registration, client, _ = on.on_air()
    client.data("onCuePoint", {"name": "here"}, timestamp=9)
    data = expect(registration, NewMediaData).data
    assert data == ScriptData(amf0.encode("onCuePoint", {"name": "here"}), 9)


def test_k10_a_second_publisher_of_a_key_is_refused(on: EndpointStage) -> None:
    registration, client, announced = on.on_air()
    refused(on.client().connect(APP))
    client.audio(1, b"\xaf\x01still here")
    assert expect(registration, NewMediaData).publisher == announced.client.connection_id


def test_k11_the_second_is_accepted_when_the_first_has_left(on: EndpointStage) -> None:
    registration, client, first = on.on_air()
    client.close()
    expect(registration, PublishingStopped)
    on.publisher()
    second = expect(registration, NewPublisherConnected)
    assert second.stream_id != first.stream_id
    assert second.client.connection_id != first.client.connection_id


def test_k12_a_publisher_that_stopped_may_publish_another_key(on: EndpointStage) -> None:
    registration, client, first = on.on_air()
    client.command("deleteStream", None, 1.0)
    expect(registration, PublishingStopped)
    client.ask_publish("other", client.create_stream())
    second = expect(registration, NewPublisherConnected)
    assert second.client.stream_key == "other"
    assert second.client.connection_id == first.client.connection_id


def test_k13_a_pinned_stream_id_is_kept_and_others_differ(on: EndpointStage) -> None:
    pinned = on.publishers("a", stream_id=StreamId("x"))
    free = on.publishers("b")
    on.publisher("a")
    assert expect(pinned, NewPublisherConnected).stream_id == "x"
    ids = set()
    for _ in range(2):
        on.publisher("b").close()
        ids.add(expect(free, NewPublisherConnected).stream_id)
        expect(free, PublishingStopped)
    assert len(ids) == 2


def test_k14_an_allow_list_admits_its_networks_only(on: EndpointStage) -> None:
    options: dict[str, Any] = {"requires_approval": True}
    closed = on.publishers("a", ip_restriction=Allow((ip_network("10.0.0.0/8"),)), **options)
    open_ = on.publishers("b", ip_restriction=Allow((ip_network("127.0.0.0/8"),)))
    refused(on.client().connect(APP), "a")
    expect_nothing(closed, PublisherRequiringApproval)
    on.publisher("b")
    expect(open_, NewPublisherConnected)


def test_k15_a_deny_list_refuses_its_networks_only(on: EndpointStage) -> None:
    registration = on.watchers(ip_restriction=Deny((ip_network("127.0.0.1/32"),)))
    client = on.client().connect(APP)
    client.ask_play("key", client.create_stream())
    client.expect_status("NetStream.Play.BadName")
    client.expect_closed()
    assert rest(registration) == []
    on.watcher(source="127.0.0.2")


def test_k16_an_app_for_watchers_only_takes_no_publishers(on: EndpointStage) -> None:
    on.watchers()
    refused(on.client().connect(APP))


@pytest.mark.parametrize("mode", ["record", "append"])
def test_k26_only_live_streams_are_taken(on: EndpointStage, mode: str) -> None:
    registration = on.publishers()
    client = on.client().connect(APP)
    client.command("publish", None, "key", mode, msid=client.create_stream())
    client.expect_status("NetStream.Publish.BadName")
    client.expect_closed()
    assert rest(registration) == []


def test_k27_a_composition_time_may_be_negative(on: EndpointStage) -> None:
    assert video_for(on, "2701fffff60102").composition_time_offset == -10


def test_arguments_are_split_off_the_key(on: EndpointStage) -> None:
    registration = on.publishers("key")
    on.publisher("key?token=a%20b&x=")
    message = expect(registration, NewPublisherConnected)
    assert message.client.stream_key == "key"
    assert message.client.arguments == {"token": "a b", "x": ""}
    assert "token" not in repr(message)


def test_a_second_publisher_takes_over_where_that_is_wanted(on: EndpointStage) -> None:
    registration, first, announced = on.on_air(second_publisher=SecondPublisher.REPLACE)
    tap = on.endpoint.register(Observe(rtmp_app=APP, port=on.port))
    expect(tap, NewPublisherConnected)
    second = on.publisher()
    first.expect_closed()
    second.audio(1, b"\xaf\x01hello")
    for reader in (registration, tap):
        stopped, connected, media = (next_message(reader) for _ in range(3))
        assert stopped == PublishingStopped(announced.client)
        assert stopped.reason == "replaced by another publisher"
        assert connected.client.connection_id != announced.client.connection_id
        assert media == NewMediaData(connected.client, AudioData(b"hello", 1))
        assert rest(reader) == []


# --- better than what was observed ----------------------------------------------------------------------


def test_c08_connected_media_stopped_in_this_order_to_the_last_message(on: EndpointStage) -> None:
    registration = on.publishers()
    for _ in range(5):
        client = on.publisher()
        client.fence()  # nothing unread is left here, so the close is no reset
        for number in range(100):
            client.audio(number, b"\xaf\x01" + bytes(200))
        client.close()
        expect_order(registration, 100)


def expect_order(registration: Any, count: int) -> None:
    announced = registration.messages.get(timeout=5)
    assert isinstance(announced, NewPublisherConnected)
    for number in range(count):
        message = registration.messages.get(timeout=5)
        assert isinstance(message, NewMediaData)
        assert not isinstance(message.data, StreamMetadata)
        assert message.data.timestamp == number
        assert message.publisher == announced.client.connection_id
    last = registration.messages.get(timeout=5)
    assert last == PublishingStopped(announced.client)


def test_c14_a_registrant_that_stops_consuming_slows_its_publisher_then_is_ended() -> None:
    with endpoint_stage(queue_messages=20, queue_bytes=1 << 30, stall_s=1.0) as on:
        registration, client, _ = on.on_air()
        frame = keyframe(bytes(100_000))
        client.socket.settimeout(0.3)
        sent = 0
        with pytest.raises((TimeoutError, OSError)):  # noqa: PT012 - whenever the buffers are full
            while sent < 2000:
                client.socket.sendall(b"".join(_chunks(frame)))
                sent += 1
        assert registration.messages.qsize() < 200
        began = monotonic()
        eventually(lambda: registration.closed is not None)
        assert monotonic() - began < 3
        assert registration.closed == "the registrant stopped consuming"
        *_, stopped, closed = list(registration.messages)
        assert isinstance(stopped, PublishingStopped)
        assert isinstance(closed, RegistrationClosed)
        assert closed.reason == registration.closed


def _chunks(payload: bytes) -> list[bytes]:
    from tests.client import chunks_of

    return chunks_of(6, 0, messages.VIDEO, 1, payload)


def test_c14_an_observer_that_stops_consuming_is_ended_and_the_owner_goes_on() -> None:
    with endpoint_stage(queue_messages=20, stall_s=1.5) as on:
        registration, client, _ = on.on_air()
        tap = on.endpoint.register(Observe(rtmp_app=APP, port=on.port))
        began = monotonic()
        for number in range(60):
            client.audio(number, b"\xaf\x01")
            assert expect(registration, NewMediaData).data.timestamp == number  # type: ignore[union-attr]
        assert monotonic() - began < 1.2, "the owner waited for the observer"
        assert tap.statistics.dropped == 60 - tap.statistics.messages > 30
        gevent.sleep(1.6)
        client.audio(61, b"\xaf\x01")
        expect(registration, NewMediaData)
        assert tap.closed == "the registrant stopped consuming"
        assert registration.closed is None
        client.fence()
        *_, stopped, closed = list(tap.messages)
        assert isinstance(stopped, PublishingStopped)
        assert isinstance(closed, RegistrationClosed)


def test_c14_a_registrant_that_is_only_slow_gets_everything() -> None:
    with endpoint_stage(queue_messages=10, stall_s=1.0) as on:
        registration, client, _ = on.on_air()

        def write() -> None:
            for number in range(500):
                client.audio(number, b"\xaf\x01" + bytes(500))

        writer = gevent.spawn(write)
        for number in range(500):
            if number % 50 == 0:
                gevent.sleep(0.02)
            assert expect(registration, NewMediaData).data.timestamp == number  # type: ignore[union-attr]
        writer.get(timeout=5)
        assert registration.closed is None


def test_c14_the_queue_is_bounded_in_bytes_too() -> None:
    with endpoint_stage(queue_bytes=300_000, stall_s=30.0) as on:
        registration, client, _ = on.on_air()
        client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 100_000)

        def write() -> None:
            for number in range(200):
                client.video(number, keyframe(bytes(100_000)))

        writer = gevent.spawn(write)
        gevent.sleep(0.5)
        assert registration.messages.qsize() < 10
        for number in range(200):
            assert expect(registration, NewMediaData).data.timestamp == number  # type: ignore[union-attr]
        writer.get(timeout=5)


def test_c16_video_of_0_to_4_bytes_is_dropped(on: EndpointStage) -> None:
    registration, client, _ = on.on_air()
    for size in range(5):
        client.video(size, bytes.fromhex("17010000")[:size])
    client.video(9, bytes.fromhex("1701000000"))
    assert expect(registration, NewMediaData).data == VideoData(b"", 9, is_keyframe=True)
    client.fence()

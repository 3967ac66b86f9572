"""The endpoint's connections, taps and queue face, with real sockets; names: docs/endpoint-compliance.md."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from time import monotonic

import gevent
import pytest
from gevent.queue import Queue

from rtmpsrv import (
    ANY,
    Exact,
    ListenForPublishers,
    ListenForWatchers,
    NewMediaData,
    NewPublisherConnected,
    Observe,
    PublisherRefused,
    PublisherRequiringApproval,
    PublishingStopped,
    RegistrationClosed,
    RegistrationError,
    RegistrationFailure,
    StreamKeyBecameActive,
    StreamKeyBecameInactive,
    StreamMetadata,
    VideoData,
    WatcherDisconnected,
)
from rtmpsrv.endpoint import queue_face
from rtmpsrv.endpoint.publisher import EndpointPublication
from rtmpsrv.endpoint.watcher import EndpointPlayback
from rtmpsrv.live.player import Player
from rtmpsrv.server.session import Session
from tests.client import AAC_HEADER, AVC_HEADER, audio, keyframe
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


# --- refusals and limits --------------------------------------------------------------------------------


def test_c07_a_refused_connect_gets_its_error_before_the_close(on: EndpointStage) -> None:
    on.publishers()
    client = on.client()
    client.shake_hands()
    client.ask_connect("other")
    values = client.expect_command("_error")
    assert values[2]["code"] == "NetConnection.Connect.Rejected"
    client.expect_closed()


@pytest.mark.parametrize("command", ["publish", "play"])
def test_c07_a_refused_request_gets_its_error_before_the_close(on: EndpointStage, command: str) -> None:
    on.publishers("key")
    on.watchers("key")
    client = on.client().connect(APP)
    client.command(command, None, "other", "live", msid=client.create_stream())
    code = {"publish": "NetStream.Publish.BadName", "play": "NetStream.Play.BadName"}[command]
    assert client.expect_status(code)["level"] == "error"
    client.expect_closed()


@pytest.mark.parametrize("role", ["none", "publisher", "watcher"])
def test_c15_a_second_connect_is_refused_and_leaks_nothing(on: EndpointStage, role: str) -> None:
    publishers, watchers = on.publishers(), on.watchers()
    client = {"none": lambda: on.client().connect(APP), "publisher": on.publisher, "watcher": on.watcher}[
        role
    ]()
    client.ask_connect(APP)
    client.expect_closed()
    eventually(lambda: not publishers.publications and not watchers.watcher_count("key"))
    on.publisher()
    on.watcher()


def alive(*kinds: type) -> list[object]:
    """Return the objects of these kinds; those of tests before may be among them."""
    gc.collect()
    return [one for one in gc.get_objects() if isinstance(one, kinds)]


def test_c19_refused_attempts_leave_no_state(on: EndpointStage) -> None:
    others = alive(Session, EndpointPublication, Player)
    publishers = on.publishers("key", requires_approval=True)
    watchers = on.watchers("key")
    refused_round(on, publishers)
    gc.collect()
    before = len(gc.get_objects())
    descriptors = len(os.listdir("/proc/self/fd"))
    for _ in range(20):
        refused_round(on, publishers)
    eventually(lambda: not any(port.listener.sessions for port in on.endpoint._ports.values()))
    gevent.sleep(0.05)
    gc.collect()
    assert not publishers.publications
    assert not publishers._announced
    assert not watchers._watchers
    assert not watchers._announced
    assert len(on.endpoint._registry) == 0
    assert len(os.listdir("/proc/self/fd")) <= descriptors
    assert not [one for one in alive(Session, EndpointPublication, Player) if one not in others]
    assert len(gc.get_objects()) < before + 500


def refused_round(on: EndpointStage, publishers: object) -> None:
    for command, key in (("publish", "other"), ("play", "other"), ("publish", "key")):
        client = on.client().connect(APP)
        client.command(command, None, key, "live", msid=client.create_stream())
        if key == "key":
            next_message(publishers).reject()
            assert isinstance(next_message(publishers), PublisherRefused)
        client.expect_closed()
        client.close()
        on.clients.remove(client)


def test_c20_a_client_without_handshake_is_dropped() -> None:
    with endpoint_stage(handshake_s=0.3) as on:
        on.publishers()
        client = on.client()
        client.expect_closed(2.0)


def test_c20_a_client_without_request_is_dropped() -> None:
    with endpoint_stage(request_s=0.3) as on:
        on.publishers()
        on.client().connect(APP).expect_closed(2.0)


def test_c20_a_silent_publisher_is_dropped() -> None:
    with endpoint_stage(silence_s=0.4, ping_s=0.1) as on:
        registration, client, _ = on.on_air()
        assert "0.4 s" in expect(registration, PublishingStopped, 2.0).reason
        client.expect_closed()


def test_connections_are_limited() -> None:
    with endpoint_stage(connections=2) as on:
        on.publishers()
        on.client().connect(APP)
        on.client().connect(APP)
        on.client().expect_closed()


# --- taps -----------------------------------------------------------------------------------------------


def test_an_observer_reads_along_beside_the_owner(on: EndpointStage) -> None:
    owner = on.publishers()
    tap = on.endpoint.register(Observe(rtmp_app=APP, port=on.port))
    client = on.publisher()
    client.video(1, keyframe(b"k"))
    client.close()
    for registration in (owner, tap):
        assert isinstance(next_message(registration), NewPublisherConnected)
        assert next_message(registration).data == VideoData(b"k", 1, is_keyframe=True)
        assert isinstance(next_message(registration), PublishingStopped)


def test_a_late_observer_gets_metadata_and_headers_first(on: EndpointStage) -> None:
    owner, client, announced = on.on_air()
    client.metadata()
    client.audio(0, AAC_HEADER)
    client.video(0, AVC_HEADER)
    client.video(1, keyframe(b"missed"))
    client.fence()
    with on.endpoint.register(Observe(rtmp_app=APP, port=on.port)) as tap:
        client.audio(2, audio(b"live"))
        assert next_message(tap).client == announced.client
        kinds = [next_message(tap).data for _ in range(4)]
        assert isinstance(kinds[0], StreamMetadata)
        assert [kinds[1].is_sequence_header, kinds[2].is_sequence_header] == [True, True]
        assert kinds[3].data == b"live"
    *_, stopped, closed = list(tap.messages)
    assert stopped == PublishingStopped(announced.client)
    assert isinstance(closed, RegistrationClosed)
    expect_nothing(owner, PublishingStopped)


def test_an_observer_of_another_key_gets_nothing(on: EndpointStage) -> None:
    on.publishers()
    tap = on.endpoint.register(Observe(rtmp_app=APP, rtmp_stream_key=Exact("other"), port=on.port))
    on.publisher()
    expect_nothing(tap)
    with pytest.raises(TypeError):
        tap.disconnect(next(iter(on.endpoint._ports[on.port].publications)).publisher.connection_id)


# --- the queue face -------------------------------------------------------------------------------------


def test_the_queue_face_registers_feeds_and_removes(on: EndpointStage) -> None:
    on.publishers(app="other")
    publishers: Queue[object] = Queue()
    watchers: Queue[object] = Queue()
    media: Queue[object] = Queue()
    with queue_face.RequestQueue(on.endpoint) as face:
        face.requests.put(
            queue_face.ListenForPublishers(rtmp_app=APP, port=on.port, message_channel=publishers)
        )
        face.requests.put(
            queue_face.ListenForWatchers(
                rtmp_app=APP, port=on.port, notification_channel=watchers, media_channel=media
            )
        )
        assert next_message(publishers) == queue_face.PublisherRegistrationSuccessful()
        assert next_message(watchers) == queue_face.WatcherRegistrationSuccessful()
        losers: Queue[object] = Queue()
        face.requests.put(queue_face.ListenForPublishers(rtmp_app=APP, port=on.port, message_channel=losers))
        assert next_message(losers) == queue_face.PublisherRegistrationFailed(RegistrationFailure.CONFLICT)
        publisher, watcher = on.publisher(), on.watcher()
        expect(watchers, StreamKeyBecameActive)
        publisher.video(5, keyframe(b"through"))
        data = expect(publishers, NewMediaData).data
        media.put(queue_face.RtmpEndpointMediaMessage("key", data))
        watcher.read_until(lambda one: one.payload.endswith(b"through"))
        face.requests.put(
            queue_face.RemoveRegistration(
                registration_type=queue_face.RegistrationType.PUBLISHER,
                rtmp_app=APP,
                rtmp_stream_key=ANY,
                port=on.port,
            )
        )
        expect(publishers, PublishingStopped)
        expect(publishers, RegistrationClosed)
        media.put(StopIteration)
        expect(watchers, RegistrationClosed)
    assert rest(losers) == [StopIteration]


def test_the_queue_face_on_free_ports_closes_all_it_registered(on: EndpointStage) -> None:
    messages: Queue[object] = Queue()
    with queue_face.RequestQueue(on.endpoint) as face:
        for _ in range(2):
            face.requests.put(queue_face.ListenForPublishers(rtmp_app=APP, port=0, message_channel=messages))
        ports = {expect(messages, queue_face.PublisherRegistrationSuccessful).port for _ in range(2)}
        assert len(ports) == 2
        for port in ports:
            on.client(port=port).publish(APP, "key")
            expect(messages, NewPublisherConnected)
    assert not on.endpoint._registrations
    assert not on.endpoint._ports


def test_the_queue_face_removes_watchers_and_their_feeder(on: EndpointStage) -> None:
    watchers: Queue[object] = Queue()
    on.publishers(app="other")
    request = queue_face.ListenForWatchers(
        rtmp_app=APP, port=on.port, notification_channel=watchers, media_channel=Queue()
    )
    removal = queue_face.RemoveRegistration(
        registration_type=queue_face.RegistrationType.WATCHER, rtmp_app=APP, rtmp_stream_key=ANY, port=on.port
    )
    with queue_face.RequestQueue(on.endpoint) as face:
        for _ in range(2):  # the values are free again
            face.requests.put(request)
            expect(watchers, queue_face.WatcherRegistrationSuccessful)
            client = on.watcher()
            face.requests.put(removal)
            client.expect_closed()
            *_, closed = iter(watchers.get, StopIteration)
            assert isinstance(closed, RegistrationClosed)
            eventually(lambda: not face._feeders)
            face.requests.put(removal)


def test_the_queue_face_goes_on_after_media_that_cannot_be_sent(
    on: EndpointStage, caplog: pytest.LogCaptureFixture
) -> None:
    watchers: Queue[object] = Queue()
    media: Queue[object] = Queue()
    with queue_face.RequestQueue(on.endpoint) as face, caplog.at_level("WARNING", "rtmpsrv"):
        face.requests.put(
            queue_face.ListenForWatchers(
                rtmp_app=APP,
                rtmp_stream_key=Exact("key"),
                port=0,
                notification_channel=watchers,
                media_channel=media,
            )
        )
        on.port = expect(watchers, queue_face.WatcherRegistrationSuccessful).port
        client = on.watcher()
        media.put(b"no message")
        for key, offset in (("other", 0), ("key", 1 << 24), ("key", 0)):
            frame = VideoData(b"picture", 0, is_keyframe=True, composition_time_offset=offset)
            media.put(queue_face.RtmpEndpointMediaMessage(key, frame))
        before, _ = client.read_until(lambda one: one.payload.endswith(b"picture"))
        assert not [one for one in before if one.payload.endswith(b"picture")]
    assert "is no RtmpEndpointMediaMessage" in caplog.text
    assert "other" not in caplog.text


# --- the log --------------------------------------------------------------------------------------------


def test_keys_and_arguments_are_neither_logged_nor_shown(
    on: EndpointStage, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(1, "rtmpsrv"):
        publishers = on.publishers("s3cret", requires_approval=True)
        watchers = on.watchers("s3cret")
        seen: list[object] = []
        for answer in ("approve", "reject"):
            client = on.client().connect(APP)
            client.ask_publish("s3cret?token=s3cret", client.create_stream())
            seen.append(expect(publishers, PublisherRequiringApproval))
            getattr(seen[-1], answer)()
            seen.append(next_message(publishers))
            client.close()
        for key in ("s3cret", "s3cret-too"):
            client = on.client().connect(APP)
            client.ask_play(key, client.create_stream())
            client.fence() if key == "s3cret" else client.expect_closed()
            client.close()
        with pytest.raises(RegistrationError) as caught:
            on.publishers("s3cret")
        with pytest.raises(ValueError, match="cover") as uncovered:
            watchers.send("s3cret-too", VideoData(b"", 0))
        on.endpoint.close()
        seen += [
            publishers,
            watchers,
            *watchers.messages,
            *publishers.messages,
            caught.value,
            uncovered.value,
        ]
    assert len(caplog.messages) > 10
    assert "s3cret" not in caplog.text
    assert "s3cret" not in "".join(map(repr, seen))


# --- the end ---------------------------------------------------------------------------------------------


def counts() -> tuple[int, int]:
    """Return how many descriptors and greenlets there are."""
    gc.collect()
    greenlets = sum(isinstance(one, gevent.Greenlet) and not one.dead for one in gc.get_objects())
    return len(os.listdir("/proc/self/fd")), greenlets


def test_a_hundred_watchers_that_leave_at_once_are_a_hundred_ends_and_one_inactive(on: EndpointStage) -> None:
    registration = on.watchers()
    on.watcher().close()
    expect(registration, StreamKeyBecameInactive)
    gevent.sleep(0.05)
    before = counts()
    watchers = [gevent.spawn(on.watcher) for _ in range(100)]
    for greenlet in watchers:
        greenlet.get(timeout=10)
    for number in range(20):
        registration.send("key", VideoData(bytes(20_000), number, is_keyframe=number == 0))
    for client in on.clients:
        client.close()
    on.clients.clear()
    watchers.clear()
    ended = [expect(registration, WatcherDisconnected).connection_id for _ in range(100)]
    assert len(set(ended)) == 100
    assert next_message(registration) == StreamKeyBecameInactive("key")
    assert registration.watcher_count("key") == 0
    registration.end("key")
    assert len(on.endpoint._registry) == 0
    eventually(lambda: counts() <= before)


def test_closing_ends_clients_of_every_kind_at_once() -> None:
    with endpoint_stage(close_s=30.0) as on:
        watchers, publishers = on.watchers(), on.publishers()
        asking = on.publishers(app="asking", requires_approval=True)
        clients = [on.client(), on.client().connect(APP), on.publisher(), on.watcher()]
        waiting = on.client().connect("asking")
        waiting.ask_publish("key", waiting.create_stream())
        expect(asking, PublisherRequiringApproval)
        began = monotonic()
        on.endpoint.close()
        assert monotonic() - began < 10
        for client in (*clients, waiting):
            client.expect_closed(1.0)
        for registration in (watchers, publishers, asking):
            assert isinstance(list(registration.messages)[-1], RegistrationClosed)
        on.endpoint.close()


def test_registering_and_closing_again_and_again_leaves_nothing(on: EndpointStage) -> None:
    def once() -> None:
        with (
            on.endpoint.register(ListenForWatchers(rtmp_app=APP, port=0)) as watchers,
            on.endpoint.register(ListenForPublishers(rtmp_app=APP, port=watchers.port)),
            on.endpoint.register(Observe(rtmp_app=APP, port=watchers.port)),
        ):
            watchers.send("key", VideoData(b"picture", 0, is_keyframe=True))

    once()
    before = counts()
    for _ in range(200):
        once()
    gevent.sleep(0.05)
    assert counts() <= before
    endpoint = on.endpoint
    assert not any((endpoint._ports, endpoint._registrations, endpoint._inboxes, endpoint._observers))
    assert len(endpoint._registry) == 0
    assert len(endpoint._retired) <= 1


@pytest.mark.parametrize("keyframes", [0, 10], ids=["without", "with"])
def test_a_stream_that_nobody_watches_stays_within_the_cache(keyframes: int) -> None:
    with endpoint_stage(cache_bytes=1 << 20) as on:
        registration = on.watchers()
        for number in range(500):
            is_keyframe = bool(keyframes) and number % keyframes == 0
            registration.send("key", VideoData(bytes(50_000), number * 40, is_keyframe=is_keyframe))
            assert on.endpoint._registry.budget.used_bytes < 3 << 20


def test_nothing_is_left_of_a_closed_endpoint() -> None:
    others = alive(Session, EndpointPublication, EndpointPlayback)
    with endpoint_stage() as on:
        on.watchers()
        on.publishers()
        on.publisher()
        on.watcher()
    on.clients.clear()
    del on
    gevent.sleep(0.05)
    left = alive(Session, EndpointPublication, EndpointPlayback)
    assert not [one for one in left if one not in others]

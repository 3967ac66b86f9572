"""Clients for the tests of a program with an endpoint: they publish and watch over loopback, without ffmpeg.

    with publish(registration.port, "live", "key") as publisher:
        publisher.send(keyframe(0))

They wait through gevent, so they may be used in the endpoint's own thread, and in any other. What is sent and
read is the media of the endpoint. `rtmpsrv.client` is what they are made of, for tests of single commands.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import Any, Self

from gevent import socket as gsocket
from gevent import ssl

from .client import Client, ClientSettings, connect
from .endpoint.media_in import decode
from .endpoint.media_out import encode
from .endpoint.types import AudioData, MediaData, StreamMetadata, VideoData
from .errors import ConnectionClosed as ConnectionClosed  # for tests, which expect them
from .errors import RequestRefused as RequestRefused
from .protocol import events, messages

WAIT_S = 5.0  # for anything that the server must do

_MEDIA = {messages.AUDIO, messages.VIDEO, messages.DATA_AMF0, messages.DATA_AMF3}


def publish(
    port: int, app: str, key: str, *, host: str = "127.0.0.1", tls: ssl.SSLContext | None = None
) -> TestPublisher:
    """Return a client that is on the air; RequestRefused, with the reason, for one that is refused."""
    client = _connect(host, port, app, tls)
    try:
        client.publish(key)
    except BaseException:
        client.close()
        raise
    return TestPublisher(client)


def watch(
    port: int, app: str, key: str, *, host: str = "127.0.0.1", tls: ssl.SSLContext | None = None
) -> TestWatcher:
    """Return a client that watches, or waits for media; RequestRefused for one that is refused."""
    client = _connect(host, port, app, tls)
    try:
        client.play(key)
    except BaseException:
        client.close()
        raise
    return TestWatcher(client)


def video_header(timestamp: int = 0) -> VideoData:
    """Return a sequence header of H.264; nobody could decode with it."""
    return VideoData(
        bytes.fromhex("0142c00affe1000067010000"), timestamp, is_keyframe=True, is_sequence_header=True
    )


def keyframe(timestamp: int, content: bytes = b"picture") -> VideoData:
    """Return a message of H.264 that watchers may start at."""
    return VideoData(content, timestamp, is_keyframe=True)


def sound(timestamp: int, content: bytes = b"sound") -> AudioData:
    """Return a message of AAC."""
    return AudioData(content, timestamp)


class _TestClient:
    """One connection. A context manager that closes it."""

    __test__ = False  # for pytest, which takes the name for that of a test

    def __init__(self, client: Client) -> None:
        self.rtmp = client  # for whatever is not here

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Leave without a word, as a client that crashed. Idempotent."""
        self.rtmp.close()

    def wait_closed(self, timeout: float = WAIT_S) -> str:
        """Return what the server said last when it has closed the connection, "" for nothing."""
        with suppress(ConnectionClosed):
            while True:
                self.rtmp.read(timeout)
        inbox = self.rtmp.inbox
        ends = [one for one in inbox.answers if isinstance(one, events.PublishEnded | events.PlayEnded)]
        told = [*inbox.statuses, *ends]
        return (told[-1].description or "") if told else ""

    def _check_open(self) -> None:
        if self.rtmp.socket.fileno() < 0:
            raise ConnectionClosed("this client was closed, by close() or at the end of its `with`")


class TestPublisher(_TestClient):
    """A client that publishes."""

    def send(self, *media: MediaData) -> None:
        """Send media. Blocks while the server takes none."""
        self._check_open()
        for data in media:
            if isinstance(data, StreamMetadata):
                self.rtmp.send_data("@setDataFrame", "onMetaData", dict(data.properties))
                continue
            message = encode(data)
            if message is None:
                raise ValueError("media that is neither raw nor H.264 or AAC")
            type_id, timestamp, _msid, payload, _csid = message
            msid = self.rtmp.connection.requests.publish_msid
            self.rtmp.send_message(type_id, payload, timestamp, msid, 6 if type_id == messages.VIDEO else 4)

    def stop(self) -> None:
        """Go off the air, and stay connected; returns when the server has said so."""
        self.rtmp.stop_publishing()


class TestWatcher(_TestClient):
    """A client that watches; to iterate over it gives what it is sent, up to the end of the connection."""

    def __iter__(self) -> Iterator[MediaData]:
        with suppress(ConnectionClosed):
            while True:
                yield self.read()

    def read(self, timeout: float = WAIT_S) -> MediaData:
        """Return the next media it is sent. Raises TimeoutError, and ConnectionClosed at the end."""
        self._check_open()
        while True:
            message = self.rtmp.read(timeout)
            if message.type_id in _MEDIA and not _is_marker(message.type_id, message.payload):
                data = decode(message.type_id, message.timestamp, message.payload)
                if data is not None:
                    return data

    def stop(self) -> None:
        """Stop, and stay connected; returns when the server has said so."""
        self.rtmp.stop_playing()


def _connect(host: str, port: int, app: str, tls: Any) -> Client:
    settings = ClientSettings(connect_s=WAIT_S, answer_s=WAIT_S)
    return connect(host, port, app, settings=settings, tls=tls, create_connection=gsocket.create_connection)


def _is_marker(type_id: int, payload: bytes) -> bool:
    """Tell what every player is sent and no publisher sent: what it may do with the samples."""
    return type_id not in (messages.AUDIO, messages.VIDEO) and b"|RtmpSampleAccess" in payload[:24]

"""Media through an endpoint, in and out by `send`, real ffmpeg on both sides: not a packet may differ."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import gevent
import pytest
from gevent import ssl
from gevent.queue import Queue

from rtmpsrv import (
    ConnectionId,
    Endpoint,
    Exact,
    ListenForPublishers,
    ListenForWatchers,
    NewMediaData,
    NewPublisherConnected,
    PublishingStopped,
    StreamKeyBecameActive,
    WatcherRegistration,
)
from tests.doubles import certificates
from tests.media_files import GOP_FRAMES, Packet, current_ffmpeg, make_samples, packets_of

FFMPEG_S = 60.0


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return make_samples(tmp_path_factory.mktemp("samples"))


@pytest.fixture(scope="module")
def tls_context(tmp_path_factory: pytest.TempPathFactory) -> ssl.SSLContext:
    made = certificates.make(tmp_path_factory.mktemp("certificates"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(made.certificate, made.key)
    context.num_tickets = 0
    return context


class Remap:
    """Takes publishers of key "in" on a TLS port, and sends what they send to watchers of "out"."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.messages: Queue[object] = Queue()
        self.active = gevent.event.Event()
        self.watchers: WatcherRegistration = endpoint.register(
            ListenForWatchers(rtmp_app="watch", port=0), self.messages
        )
        self.publishers = endpoint.register(
            ListenForPublishers(rtmp_app="publish", rtmp_stream_key=Exact("in"), port=0, use_tls=True),
            self.messages,
        )
        self.ended = 0

    def run(self) -> None:
        on_air: set[ConnectionId] = set()
        for message in self.messages:
            match message:
                case NewPublisherConnected(client=client):
                    on_air.add(client.connection_id)
                case NewMediaData(publisher=publisher, data=data) if publisher in on_air:
                    self.watchers.send("out", data)
                case PublishingStopped(connection_id=publisher):
                    on_air.remove(publisher)
                    self.watchers.end("out")
                    self.ended += 1
                case StreamKeyBecameActive():
                    self.active.set()


@contextmanager
def remap(tls_context: ssl.SSLContext) -> Iterator[Remap]:
    with Endpoint("127.0.0.1", tls=tls_context) as endpoint:
        made = Remap(endpoint)
        runner = gevent.spawn(made.run)
        yield made
    runner.get(timeout=5)


def ffmpeg(*arguments: str) -> subprocess.Popen[bytes]:
    command = [current_ffmpeg(), "-v", "error", "-nostdin", "-y", *arguments]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def ended(process: subprocess.Popen[bytes]) -> int:
    try:
        return process.wait(FFMPEG_S)
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def play(made: Remap, path: Path) -> subprocess.Popen[bytes]:
    url = f"rtmp://127.0.0.1:{made.watchers.port}/watch/out"
    return ffmpeg("-i", url, "-map", "0", "-c", "copy", "-copyinkf", "-copypriorss", "1", str(path))


def hashes(packets: dict[str, list[Packet]]) -> dict[str, list[str]]:
    return {name: [packet.hash for packet in stream] for name, stream in packets.items()}


@pytest.mark.parametrize("sample", ["h264_aac", "hevc_opus", "av1_aac", "two_audio_tracks", "audio_only"])
def test_what_a_tls_publisher_sends_reaches_early_and_late_watchers_of_another_key(
    samples: dict[str, Path], sample: str, tls_context: ssl.SSLContext, tmp_path: Path
) -> None:
    early, late = tmp_path / "early.flv", tmp_path / "late.flv"
    with remap(tls_context) as made:
        players = [play(made, early)]
        assert made.active.wait(20)
        url = f"rtmps://127.0.0.1:{made.publishers.port}/publish/in"
        options = ["-map", "0", "-c", "copy", "-f", "flv", "-tls_verify", "0"]
        publisher = ffmpeg("-re", "-i", str(samples[sample]), *options, url)
        gevent.sleep(3.4)  # the late one joins inside the third or fourth second's GOP
        players.append(play(made, late))
        assert ended(publisher) == 0
        assert [ended(player) for player in players] == [0, 0]
        assert made.ended == 1
    source = hashes(packets_of(samples[sample]))
    assert hashes(packets_of(early)) == source
    got = hashes(packets_of(late))
    assert set(got) == set(source)
    for name, stream in got.items():
        assert 0 < len(stream) < len(source[name])
        assert stream == source[name][-len(stream) :], name
    if "video0" in got:
        assert len(got["video0"]) % GOP_FRAMES == 0, "it did not start at a keyframe"

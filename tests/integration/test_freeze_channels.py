"""Channels move to another relay with everybody who publishes and plays. Nothing is lost or doubled."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from rtmpsrv.protocol import messages
from tests.integration.moving import (
    APP,
    CHUNK_SIZE,
    Connection,
    House,
    codes_of,
    hear_all,
    house,
    playback_of,
)
from tests.integration.test_freeze import headers_at
from tests.unit.server.stage import eventually

BIG = 200_000  # bytes, more than small buffers take


@pytest.fixture
def opened() -> Iterator[House]:
    with house() as made:
        yield made


@pytest.fixture
def other(opened: House) -> Iterator[House]:
    with house(opened) as made:
        yield made


@pytest.fixture
def third(opened: House) -> Iterator[House]:
    with house(opened) as made:
        yield made


def behind(player: Connection) -> bool:
    return not player.player.at_boundary


def without_sound(opened: House) -> Connection:
    """A player on message stream 2 that takes no audio."""
    player = opened.connect()
    player.client.shake_hands()
    player.client.connect(APP)
    assert [player.client.create_stream() for _ in range(2)] == [1, 2]
    player.client.receive_audio(False)
    player.client.play("key", msid=2)
    return player


@pytest.mark.parametrize("size", [300, 20_000])
def test_all_kinds_of_players_and_their_publisher(
    opened: House, other: House, third: House, size: int
) -> None:
    followers = [opened.waiting() for _ in range(5)]
    laggard, paused = opened.waiting(small=True), opened.waiting()
    publisher = opened.publisher()
    publisher.start()
    hear_all((*followers, laggard, paused), publisher.mark())
    deaf = without_sound(opened)
    paused.client.pause()
    paused.hear_status("NetStream.Pause.Notify")
    publisher.some(4, size=BIG)
    eventually(lambda: behind(laggard), "being in mid-message")
    before, since = publisher.mark(), len(publisher.sent) - 1
    opened.move(other, publisher.some)
    publisher.some(size=size)
    other.move(third, lambda: publisher.some(opening=True, size=size))
    publisher.some()
    publisher.sync()
    late = third.waiting()
    last = publisher.mark()
    hear_all((*followers, deaf, paused, late), last)
    laggard.hear_to(last)
    for player in (*followers, laggard):
        assert player.frames == publisher.sent
    silent = [frame for frame in publisher.sent if frame[0] != messages.AUDIO]
    assert deaf.frames[-len(silent) + 1 :] == silent[1:]
    assert paused.frames[-2:] == [before, last]
    joint = max(number for number, frame in enumerate(publisher.sent) if frame[2][:2] == b"\x17\x01")
    assert late.frames == [*headers_at(publisher.sent[joint][1]), *publisher.sent[joint:]]
    paused.client.pause(False)
    paused.hear_status("NetStream.Unpause.Notify")
    publisher.some(opening=True)
    hear_all((paused,), publisher.mark())
    assert since < joint
    assert paused.frames[-1] == publisher.sent[-1]


def test_who_waits_plays_the_next_publication(opened: House, other: House) -> None:
    player, publisher = opened.waiting(), opened.publisher()
    publisher.start()
    player.hear_to(publisher.mark())
    publisher.client.stop_publishing()
    player.hear_status("NetStream.Play.UnpublishNotify")
    player.sync()
    opened.move(other)
    successor = other.publisher()
    successor.start()
    player.hear_to(successor.mark())
    assert player.frames[-len(successor.sent) + 2 :] == successor.sent[2:]


def test_an_ended_publication_is_read_to_its_end(opened: House, other: House) -> None:
    laggards = [opened.waiting(small=True) for _ in range(2)]
    publisher, successor = opened.publisher(), opened.publisher()
    publisher.start()
    hear_all(laggards, publisher.mark())
    publisher.some(4, size=BIG)
    for player in laggards:
        eventually(lambda player=player: behind(player))  # type: ignore[misc]
    publisher.client.stop_publishing()
    publisher.sync()
    successor.start()
    successor.sync()
    opened.move(other)
    hear_all(laggards, successor.mark())
    for player in laggards:
        assert player.frames[: len(publisher.sent)] == publisher.sent
        assert player.frames[-len(successor.sent) + 2 :] == successor.sent[2:]
        assert codes_of(player.heard).count("NetStream.Play.UnpublishNotify") == 1


def test_a_publisher_in_mid_chunk(opened: House, other: House) -> None:
    watcher, publisher = opened.waiting(), opened.publisher()
    publisher.start()
    frame = publisher.frame(messages.VIDEO, b"\x27\x01" + bytes(2 * CHUNK_SIZE))
    data = publisher.pack(frame)
    read = publisher.state.bytes_in + 777
    publisher.client.socket.sendall(data[:777])
    eventually(lambda: publisher.state.bytes_in >= read, "reading")
    opened.move(other)
    publisher.client.socket.sendall(data[777:])
    watcher.hear_to(publisher.mark())
    assert watcher.frames == publisher.sent
    assert opened.gate.kill(APP, None, "killed")
    watcher.hear_status("NetStream.Play.UnpublishNotify")
    eventually(lambda: opened.desk.ended_ids == ["id-1"], "the report")


def test_a_laggard_keeps_its_message(opened: House, other: House) -> None:
    laggard, publisher = opened.waiting(small=True), opened.publisher()
    publisher.start()
    laggard.hear_to(publisher.mark())
    publisher.some(2, size=BIG)
    eventually(lambda: behind(laggard), "being in mid-message")
    opened.move(other)
    eventually(lambda: laggard.session.outlet.waiting_bytes, "going on")
    assert playback_of(laggard.move()).rest or laggard.state.outlet.pending
    laggard.hear_to(publisher.mark())
    assert laggard.frames == publisher.sent

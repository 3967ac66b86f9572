"""One process succeeds another, with real processes: what clients of all kinds notice, which is nothing."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest

from rtmpsrv.protocol import messages
from rtmpsrv.protocol.chunks import pack
from tests.client import Client, Stage, audio, interframe, keyframe, media_of, names_of, stage
from tests.integration.lineage import Lineage, alive
from tests.server_process import START_S


@pytest.fixture
def line() -> Iterator[Lineage]:
    with Lineage() as made:
        yield made
        made.check_log()


@pytest.fixture
def on(line: Lineage) -> Iterator[Stage]:
    with stage(line.port) as opened:
        yield opened


def some(publisher: Client, begin: int, number: int = 5, *, size: int = 300) -> None:
    """Publish a keyframe, frames and audio, all different."""
    for position in range(begin, begin + number):
        content = position.to_bytes(4, "big") + bytes(size)
        video = keyframe(content) if position == begin else interframe(content)
        publisher.video(40 * position, video)
        publisher.audio(40 * position, audio(content))


# --- who has no channel -------------------------------------------------------------------------------


def test_a_connection_goes_on_wherever_its_set_up_is(line: Lineage, on: Stage) -> None:
    silent, half, shaken, connected = (on.client() for _ in range(4))
    half.send(b"\x03" + bytes(700))
    shaken.shake_hands()
    connected.connect("app")
    line.wait_for_line("Connection accepted", count=3)
    line.succeed()
    line.succeed()
    silent.publish("one")
    half.send(bytes(836))
    half.receive(1 + 2 * 1536)
    assert shaken.ask_connect("two") == shaken.expect_command("_result")[0]
    connected.ask_publish("key", connected.create_stream())
    connected.expect_status("NetStream.Publish.Start")
    line.end()


def test_who_connects_while_it_happens_is_let_in_by_the_next_one(line: Lineage, on: Stage) -> None:
    since = line.signal()
    clients = [on.client() for _ in range(20)]
    line.wait_for_line("succession: took over", since, timeout_s=START_S)
    for client in clients:
        client.connect("app")
    accepted = line.wait_for_line("Connection accepted", count=len(clients))
    numbers = {text.split("[#")[1].split("]")[0] for text in accepted}
    assert len(numbers) == len(clients), "a number was given twice"


def test_the_process_before_leaves_with_code_0_when_nothing_is_left(line: Lineage, on: Stage) -> None:
    client = on.client().connect("app")
    line.succeed()
    assert line.process.wait(START_S) == 0
    client.ask_play("key", client.create_stream())
    client.fence()
    line.end()


# --- channels -----------------------------------------------------------------------------------------


def test_a_stream_goes_on_through_three_successions_for_all_kinds_of_players(
    line: Lineage, on: Stage
) -> None:
    early = on.player("app")
    publisher = on.publisher("app")
    players = [early, *(on.player("app") for _ in range(8))]
    silent = on.client().connect("app")
    silent.command("receiveAudio", None, False, msid=1)
    silent.ask_play("k", silent.create_stream())
    some(publisher, 0)
    before = [names_of(media_of(on.passed(publisher, early)))]
    assert before[0]
    for player in (*players[1:], silent):
        player.read_until(lambda one: one.type_id == messages.VIDEO and one.timestamp == 160)
    sent = [*before[0]]
    for turn in range(1, 4):
        line.succeed()
        some(publisher, 10 * turn)
        late = on.player("app")
        assert names_of(media_of(on.passed(publisher, late)))
    heard = [names_of(media_of(on.passed(publisher, player))) for player in players]
    assert all(one[-30:] == heard[0][-30:] for one in heard), heard
    assert len(heard[0]) == 30
    assert [name for name in names_of(media_of(on.passed(publisher, silent))) if name[:5] == "audio"] == []
    assert sent
    publisher.close()
    for player in players:
        assert "NetStream.Play.UnpublishNotify" in names_of(
            player.read_until(lambda one: "StreamEOF" in names_of([one]))[0]
        )
    line.end()


def test_a_message_in_the_middle_and_a_laggard_in_the_middle(line: Lineage, on: Stage) -> None:
    publisher = on.publisher("app")
    slow = on.client(receive_buffer=4096).play("app")
    quick = on.player("app")
    for position in range(60):
        publisher.video(position, keyframe(position.to_bytes(4, "big") + bytes(60_000)))
    on.passed(publisher, quick)
    message = bytearray()
    publisher_bytes = keyframe(b"half" + bytes(5000))
    message += pack(6, 1000, messages.VIDEO, 1, publisher_bytes, 128)
    publisher.send(bytes(message[:3000]))
    line.succeed()
    publisher.send(bytes(message[3000:]))
    assert [one.payload for one in media_of(on.passed(publisher, quick))] == [publisher_bytes]
    heard = media_of(on.passed(publisher, slow))
    payloads = [one.payload for one in heard if one.timestamp]
    assert payloads[-1] == publisher_bytes
    assert [one.timestamp for one in heard[2:]] == sorted(one.timestamp for one in heard[2:])
    line.end()


def test_players_that_wait_are_started_by_a_publisher_of_the_next_process(line: Lineage, on: Stage) -> None:
    right, wrong = on.player("app", "k"), on.player("app", "x")
    line.succeed()
    publisher = on.publisher("app")
    some(publisher, 0)
    assert names_of(media_of(on.passed(publisher, right)))
    assert "NetStream.Play.BadName" in names_of(wrong.expect_closed())
    line.end()


def test_the_key_of_a_channel_and_that_it_is_taken_go_along(line: Lineage, on: Stage) -> None:
    on.publisher("app")
    line.succeed()
    second = on.client().connect("app")
    second.ask_publish("k", second.create_stream())
    second.expect_status("NetStream.Publish.BadName")
    stranger = on.client().connect("app")
    stranger.ask_play("other", stranger.create_stream())
    stranger.read_until(lambda one: "NetStream.Play.BadName" in names_of([one]))
    line.end()


# --- when it fails ------------------------------------------------------------------------------------


def test_a_successor_that_cannot_start_costs_nothing(line: Lineage, on: Stage) -> None:
    publisher, player = on.publisher("app"), on.player("app")
    since = line.signal()
    line.wait_for_line(r"succession: process \d+ was started", since)
    os.kill(line.successors[-1], signal.SIGKILL)
    line.wait_for_line("succession failed: ", since, timeout_s=START_S)
    some(publisher, 0)
    assert len(media_of(on.passed(publisher, player))) >= 10
    on.client().connect("app")
    assert alive(line.pid)
    line.lines[:] = [text for text in line.lines if "[ERROR]" not in text]
    line.succeed()
    some(publisher, 10)
    assert len(media_of(on.passed(publisher, player))) == 10
    line.end()

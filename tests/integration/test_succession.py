"""One process succeeds another, with real processes: what clients of all kinds notice, which is nothing."""

from __future__ import annotations

import re
import signal
from collections.abc import Iterator
from pathlib import Path

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


FILE = "fault"  # that tests.doubles.faulty_server reads


class FaultyLineage(Lineage):
    module = "tests.doubles.faulty_server"


@pytest.fixture
def faulty(tmp_path: Path) -> Iterator[FaultyLineage]:
    with FaultyLineage(cwd=str(tmp_path), HANDOVER_TIMEOUT_SECONDS="8") as made:
        yield made


def fail(line: FaultyLineage, tmp_path: Path, fault: str) -> None:
    (tmp_path / FILE).write_text(fault)
    line.fail()


@pytest.mark.parametrize("step", ["start", "ready", "prepared", "taken", "committed", "serving"])
def test_a_successor_that_dies_costs_at_most_what_was_committed(
    faulty: FaultyLineage, tmp_path: Path, step: str
) -> None:
    with stage(faulty.port) as on:
        publisher, player = on.publisher("app"), on.player("app")
        shaken = on.client()
        shaken.shake_hands()
        fail(faulty, tmp_path, f"{step} kill")
        if step == "serving":
            shaken.expect_closed()
            (line,) = faulty.matching("succession failed: ")
            assert "0 were lost" not in line
        else:
            assert shaken.ask_connect("two") == shaken.expect_command("_result")[0]
        if step == "serving":
            publisher.expect_closed()
            publisher, player = on.publisher("app"), on.player("app")
        some(publisher, 0)
        assert len(media_of(on.passed(publisher, player))) >= 10
        assert alive(faulty.pid)
        faulty.succeed()
        some(publisher, 10)
        assert len(media_of(on.passed(publisher, player))) == 10
    faulty.end()


@pytest.mark.parametrize("step", ["prepared", "serving"])
def test_a_successor_that_hangs_is_a_pause_of_two_seconds(
    faulty: FaultyLineage, tmp_path: Path, step: str
) -> None:
    with stage(faulty.port) as on:
        publisher, player = on.publisher("app"), on.player("app")
        fail(faulty, tmp_path, f"{step} stop")
        if step == "serving":
            publisher.expect_closed()
            publisher, player = on.publisher("app"), on.player("app")
        some(publisher, 0)
        assert len(media_of(on.passed(publisher, player))) >= 10
        assert not any(alive(pid) for pid in faulty.successors)
    faulty.end()


@pytest.mark.parametrize("step", ["slice", "commit", "serve"])
def test_when_the_old_one_dies_the_new_one_serves_with_what_it_has(
    faulty: FaultyLineage, tmp_path: Path, step: str
) -> None:
    with stage(faulty.port) as on:
        shaken = on.client()
        shaken.shake_hands()
        publisher, player = on.publisher("app"), on.player("app")
        (tmp_path / FILE).write_text(f"{step} kill")
        since = faulty.signal()
        faulty.wait_for_line("succession: took over", since, timeout_s=START_S)
        (faulty.pid,) = faulty.successors
        if step == "serve":
            assert shaken.ask_connect("two") == shaken.expect_command("_result")[0]
        else:
            shaken.expect_closed()  # who has no channel was to go last
        if step == "slice":
            publisher.expect_closed()
            player.expect_closed()
            publisher, player = on.publisher("app"), on.player("app")
        some(publisher, 0)
        assert len(media_of(on.passed(publisher, player))) >= 10
    faulty.end()


def test_a_successor_with_wrong_settings_says_so_and_the_old_one_how_it_ended(tmp_path: Path) -> None:
    with Lineage(cwd=str(tmp_path)) as line:
        (tmp_path / ".env").write_text("PLAY_ACCESS=token\n")
        since = line.signal()
        (failed,) = line.wait_for_line("succession failed", since, timeout_s=START_S)
        assert "[ERROR] succession failed: the successor ended with exit code 1, see above. This" in failed
        (why,) = line.matching("TOKEN_SECRET", since)
        assert "[ERROR]" in why


def test_a_setting_that_must_agree_moves_nobody_and_the_log_says_so(tmp_path: Path) -> None:
    settings = tmp_path / ".env"
    with Lineage(cwd=str(tmp_path)) as line, stage(line.port) as on:
        publisher, player = on.publisher("app"), on.player("app")
        settings.write_text("RTMP_CHUNK_SIZE=8192\n")
        line.succeed()
        assert line.matching(r"\[WARNING\] succession: sessions cannot move: RTMP_CHUNK_SIZE changed")
        other, viewer = on.publisher("app"), on.player("app")
        some(publisher, 0)
        assert len(media_of(on.passed(publisher, player))) >= 10
        some(other, 10)
        assert len(media_of(on.passed(other, viewer))) >= 10
        assert alive(line.process.pid)
        publisher.close()
        player.close()
        assert line.process.wait(START_S) == 0
        some(other, 20)
        assert len(media_of(on.passed(other, viewer))) == 10
        line.end()


@pytest.mark.parametrize("wrong", ["CHANNELS_FILE", "RUN_DIR"])
def test_a_successor_that_cannot_use_a_file_says_so_and_the_old_one_goes_on(
    tmp_path: Path, wrong: str
) -> None:
    bad = tmp_path / "bad"
    bad.write_text("[[channel]]\nnaem = 1\n")
    settings, why = {
        "CHANNELS_FILE": (f"CHANNELS_FILE={bad}\n", "CHANNELS_FILE: line 2: unknown key"),
        "RUN_DIR": (f"RUN_DIR={bad}\nCALLBACK_URL=http://127.0.0.1:9/\n", f"RUN_DIR: {bad} "),
    }[wrong]
    with Lineage(cwd=str(tmp_path)) as line, stage(line.port) as on:
        publisher, player = on.publisher("app"), on.player("app")
        (tmp_path / ".env").write_text(settings)
        since = line.fail()
        # They are written before the old process kills the new one, which takes some milliseconds.
        line.wait_for_line("succession failed, this process ends", since)
        assert len(line.matching(rf"\[ERROR\] {re.escape(why)}", since)) == 1
        assert not line.matching("Traceback", since)
        some(publisher, 0)
        assert len(media_of(on.passed(publisher, player))) >= 5
        assert not any(map(alive, line.successors))
        (tmp_path / ".env").unlink()
        line.succeed()
        on.passed(publisher, player)
        line.end()


def test_what_stays_is_closed_when_its_time_is_over(tmp_path: Path) -> None:
    settings = tmp_path / ".env"
    with Lineage(cwd=str(tmp_path), LINGER_SECONDS="1") as line, stage(line.port) as on:
        publisher, player = on.publisher("app"), on.player("app")
        settings.write_text("RTMP_CHUNK_SIZE=8192\n")
        line.succeed()
        assert "NetStream.Play.UnpublishNotify" in names_of(player.expect_closed())
        publisher.expect_closed()
        assert line.process.wait(START_S) == 0
        line.end()


def test_the_end_of_the_old_one_ends_an_attempt(faulty: FaultyLineage, tmp_path: Path) -> None:
    (tmp_path / FILE).write_text("ready stop")
    since = faulty.signal()
    faulty.wait_for_line(r"succession: process \d+ was started", since)
    with stage(faulty.port) as on:
        publisher = on.publisher("app")
        faulty.signal(signal.SIGTERM)
        publisher.expect_closed()
    assert faulty.process.wait(START_S) == 0
    assert not any(alive(pid) for pid in faulty.successors)


def test_a_first_process_that_stays_passes_signals_on(tmp_path: Path) -> None:
    """As process 1 of a container does."""
    with Lineage(cwd=str(tmp_path), RTMPSRV_PARENT_STAYS="YES") as line, stage(line.port) as on:
        publisher, player = on.publisher("app"), on.player("app")
        line.succeed()
        since = line.mark()
        line.process.send_signal(signal.SIGUSR2)
        line.wait_for_line(r"succession: process \d+ serves", since, timeout_s=START_S)
        line.wait_for_line(r"succession: process \d+ has left", since, timeout_s=START_S)
        some(publisher, 0)
        assert len(media_of(on.passed(publisher, player))) >= 10
        first, second = line.successors
        assert line.process.poll() is None
        assert alive(second)
        line.process.send_signal(signal.SIGHUP)
        line.wait_for_line("Settings read again", since)
        line.process.send_signal(signal.SIGTERM)
        assert line.process.wait(START_S) == 0
        publisher.expect_closed()
        assert not alive(first)
        assert not alive(second)


def test_connections_that_stay_are_counted_by_the_next_process(tmp_path: Path) -> None:
    settings = tmp_path / ".env"
    with (
        Lineage(cwd=str(tmp_path), MAX_IP_CONCURRENT_CONNECTIONS="2") as line,
        stage(line.port) as on,
    ):
        publisher, player = on.publisher("app"), on.player("app")
        settings.write_text("RTMP_CHUNK_SIZE=8192\n")
        since = line.succeed()
        line.wait_for_line("sessions stay here", since)
        refused = on.client()
        refused.expect_closed()
        line.wait_for_line("connection limit: limit of 2")
        publisher.close()
        player.close()
        assert line.process.wait(START_S) == 0
        line.wait_for_line("has left", since)
        on.publisher("app")
        line.end()

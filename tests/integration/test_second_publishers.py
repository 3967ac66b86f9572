"""Publishers whose channel is on the air already, and publishers that come back: players stay."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from itertools import pairwise
from pathlib import Path
from threading import Condition, Event, Thread
from time import monotonic
from typing import Any

import pytest

from rtmpsrv.access.second_publisher import STALLED_S
from rtmpsrv.takeover import REPLACED
from tests.access_run import REFUSED, TAKEN, AccessServer, refusal
from tests.client import AVC_HEADER, Client, Stage, describe, interframe, keyframe, names_of, stage
from tests.doubles import certificates
from tests.doubles.callback_server import Answer, CallbackServer, accept
from tests.doubles.secrets import JWT_SECRET, KEY, OTHER_KEY
from tests.integration.lineage import Lineage
from tests.integration.test_tls import TlsClient
from tests.media_files import system_tool
from tests.worker_crew import WorkerCrew

PLAYERS = 3
PACKETS = 30  # of each player, before and after
WAIT_S = 20.0  # for anything to happen on a busy machine
GAP_MS = 4000
ON_AIR_S = 0.5  # from the moment when the present one counts as stalled, and another one has asked
SOURCES = "testsrc2=size=160x90:rate=20,format=yuv420p[out0];sine=frequency=440:sample_rate=44100[out1]"
CODING = "-c:v libx264 -preset ultrafast -bf 2 -g 20 -c:a aac -b:a 64k -f flv"
UNPUBLISHED = "NetStream.Play.UnpublishNotify"


def publishing(port: int, channel: str) -> subprocess.Popen[bytes]:
    """ffmpeg as an encoder of pictures, with B-frames, and sound, in real time."""
    return subprocess.Popen(
        [
            *(system_tool("ffmpeg"), "-v", "error", "-nostdin", "-re", "-f", "lavfi", "-i", SOURCES),
            *(*CODING.split(), f"rtmp://127.0.0.1:{port}/{channel}/{KEY}"),
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


class FfmpegPlayer:
    """ffmpeg as a player that copies what it gets, packet by packet."""

    def __init__(self, port: int, channel: str) -> None:
        self.process = subprocess.Popen(
            [
                *(system_tool("ffmpeg"), "-v", "error", "-nostdin", "-probesize", "32768"),
                *(
                    "-i",
                    f"rtmp://127.0.0.1:{port}/{channel}/{KEY}",
                    "-map",
                    "0:v",
                    "-map",
                    "0:a",
                    "-c",
                    "copy",
                ),
                *("-copyinkf", "-flush_packets", "1", "-f", "framehash", "-hash", "crc32", "-"),
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self.packets: list[tuple[int, int, int]] = []  # stream, DTS, PTS in ms or samples
        self.per_second: dict[int, float] = {}
        self._changed = Condition()
        self._reader = Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            with self._changed:
                if line.startswith("#tb"):
                    number, base = line[3:].split(":")
                    above, below = base.split("/")
                    self.per_second[int(number)] = int(below) / int(above)
                elif not line.startswith("#"):
                    fields = line.split(",")
                    self.packets.append((int(fields[0]), int(fields[1]), int(fields[2])))
                self._changed.notify_all()

    def wait_for_packets(self, count: int) -> None:
        """Wait until there are so many more."""
        with self._changed:
            wanted = len(self.packets) + count
            assert self._changed.wait_for(lambda: len(self.packets) >= wanted, WAIT_S), len(self.packets)

    def steps_ms(self) -> dict[int, list[float]]:
        """Return by how much DTS grew from packet to packet, for each stream."""
        with self._changed:
            times: dict[int, list[int]] = {}
            for stream_number, dts, _ in self.packets:
                times.setdefault(stream_number, []).append(dts)
        return {
            number: [1000 * (after - before) / self.per_second[number] for before, after in pairwise(one)]
            for number, one in times.items()
        }

    def close(self) -> None:
        self.process.kill()
        self.process.wait(WAIT_S)
        self._reader.join(WAIT_S)


class Scene:
    """A channel with a real encoder and real players."""

    def __init__(self, port: int, channel: str, things: ExitStack) -> None:
        self._port, self._channel, self._things = port, channel, things
        self.players: list[FfmpegPlayer] = []

    def encoder(self) -> subprocess.Popen[bytes]:
        process = publishing(self._port, self._channel)
        self._things.callback(process.wait, WAIT_S)
        self._things.callback(process.kill)
        return process

    def watch(self) -> None:
        """Let players come, and see that they get something."""
        for _ in range(PLAYERS):
            player = FfmpegPlayer(self._port, self._channel)
            self._things.callback(player.close)
            self.players.append(player)
        self.go_on()

    def go_on(self) -> None:
        for player in self.players:
            player.wait_for_packets(PACKETS)

    def check(self) -> None:
        """Nobody had to start anew, time never went back, and the gap was short."""
        for player in self.players:
            assert player.process.poll() is None
            steps = player.steps_ms()
            assert len(steps) == 2
            for one in steps.values():
                assert min(one) > 0
                assert max(one) < GAP_MS


@pytest.fixture
def things() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


# --- real encoders ----------------------------------------------------------------------------------


def test_a_second_encoder_goes_on_for_one_that_is_stopped(things: ExitStack) -> None:
    with AccessServer(SECOND_PUBLISHER="stalled") as server:
        scene = Scene(server.port, "show", things)
        first = scene.encoder()
        scene.watch()
        since = server.mark()
        first.send_signal(signal.SIGSTOP)
        stalled_at = monotonic() + STALLED_S
        scene.encoder()
        server.wait_for_line("< publish ", count=2, timeout_s=WAIT_S)
        asked_at = monotonic()
        server.wait_for_line("publish accepted channel=show players stay", since, timeout_s=STALLED_S + 5)
        # Its own start, which nobody here can bound, is over long before the first one counts as stalled.
        assert monotonic() - max(stalled_at, asked_at) < ON_AIR_S
        scene.go_on()
        scene.check()
        server.wait_for_line(f"closed: {REPLACED}", since, timeout_s=WAIT_S)
        first.send_signal(signal.SIGCONT)
        assert first.wait(WAIT_S) != 0
        scene.go_on()
        scene.check()


def test_an_encoder_that_is_killed_and_started_again_is_waited_for(things: ExitStack) -> None:
    with (
        CallbackServer(JWT_SECRET) as backend,
        AccessServer(RECONNECT_SECONDS="10", CALLBACK_URL=backend.url, JWT_SECRET=JWT_SECRET) as server,
    ):
        scene = Scene(server.port, "show", things)
        first = scene.encoder()
        scene.watch()
        first.kill()
        assert backend.wait_for("stop", timeout_s=WAIT_S)
        scene.encoder()
        assert backend.wait_for("start", 2, timeout_s=WAIT_S)
        scene.go_on()
        scene.check()
        assert [one.event for one in backend.received] == ["start", "stop", "start"]


# --- what is said -----------------------------------------------------------------------------------


def frames(client: Client, *contents: bytes) -> None:
    """Publish a header, a keyframe and others, from time 0."""
    client.video(0, AVC_HEADER)
    for number, content in enumerate(contents):
        client.video(40 * number, (interframe if number else keyframe)(content))


def send_until(publisher: Client, over: Event) -> None:
    while not over.wait(0.02):
        publisher.video(40, interframe(b"on"))


def told_the_end(player: Client) -> None:
    player.read_until(lambda one: describe(one) == UNPUBLISHED)


def pictures(player: Client, count: int) -> list[bytes]:
    found: list[bytes] = []
    while len(found) < count:
        _, message = player.read_until(lambda one: one.type_id == 9 and one.payload[1] == 1)
        found.append(message.payload)
    return found


@pytest.fixture(scope="module")
def backend() -> Iterator[CallbackServer]:
    with CallbackServer(JWT_SECRET) as server:
        yield server


@pytest.fixture(scope="module")
def server(backend: CallbackServer) -> Iterator[AccessServer]:
    with AccessServer(
        SECOND_PUBLISHER="takeover", CALLBACK_URL=backend.url, JWT_SECRET=JWT_SECRET
    ) as running:
        yield running


@pytest.fixture
def on(server: AccessServer, backend: CallbackServer) -> Iterator[Stage]:
    backend.answer = accept
    with stage(server.port) as opened:
        yield opened


def events(backend: CallbackServer, channel: str) -> list[str]:
    return [one.event for one in backend.received if one.claims["channel"] == channel]


def test_who_is_replaced_is_told_why_and_players_nothing(on: Stage, backend: CallbackServer) -> None:
    first, player = on.client().publish("said", KEY), on.client().play("said", KEY)
    frames(first, b"0", b"1")
    assert pictures(player, 2) == [keyframe(b"0"), interframe(b"1")]
    second = on.client().publish("said", KEY)
    assert first.expect_status("NetStream.Unpublish.Success")["description"] == REPLACED
    first.expect_closed()
    frames(second, b"2", b"3")
    heard = on.passed(second, player)
    assert UNPUBLISHED not in [describe(one) for one in heard]
    assert [name for name in names_of(heard) if name.startswith("video")] == ["video 2", "video 3"]
    assert events(backend, "said") == ["start", "stop", "start"]


def test_who_has_another_key_is_refused_and_nobody_is_asked(on: Stage, backend: CallbackServer) -> None:
    first, player = on.client().publish("other", KEY), on.client().play("other", KEY)
    assert refusal(on, "other", OTHER_KEY) == TAKEN
    frames(first, b"0")
    assert pictures(player, 1) == [keyframe(b"0")]
    assert events(backend, "other") == ["start"]


def test_where_the_backend_refuses_players_are_told(on: Stage, backend: CallbackServer) -> None:
    first, player = on.client().publish("refused", KEY), on.client().play("refused", KEY)
    backend.answer = lambda received: Answer(403)
    assert refusal(on, "refused") == REFUSED
    told_the_end(player)
    first.expect_closed()
    assert events(backend, "refused") == ["start", "stop", "start"]


def test_a_publisher_that_says_nothing_is_replaced_and_one_that_sends_is_not() -> None:
    with AccessServer(SECOND_PUBLISHER="stalled") as server, stage(server.port) as on:
        first, player = on.client().publish("said", KEY), on.client().play("said", KEY)
        frames(first, b"0")
        assert pictures(player, 1) == [keyframe(b"0")]
        second = on.client().connect("said")
        second.ask_publish(KEY, second.create_stream())
        first.expect_status("NetStream.Unpublish.Success")
        second.expect_status("NetStream.Publish.Start")
        frames(second, b"1")
        assert pictures(player, 1) == [keyframe(b"1")]
        over = Event()
        sender = Thread(target=lambda: send_until(second, over), daemon=True)
        sender.start()
        try:
            assert refusal(on, "said") == TAKEN
        finally:
            over.set()
            sender.join(WAIT_S)


def test_players_are_told_when_nobody_comes_back() -> None:
    with AccessServer(RECONNECT_SECONDS="3") as server, stage(server.port) as on:
        first, player = on.client().publish("lost", KEY), on.client().play("lost", KEY)
        frames(first, b"0")
        assert pictures(player, 1) == [keyframe(b"0")]
        first.close()
        server.wait_for_line("PUBLISH END: lost")
        assert UNPUBLISHED not in [describe(one) for one in player.fence()]
        told_the_end(player)


def test_players_are_told_when_the_server_stops() -> None:
    with AccessServer(RECONNECT_SECONDS="60") as server, stage(server.port) as on:
        first, player = on.client().publish("gone", KEY), on.client().play("gone", KEY)
        on.client().publish("there", KEY)
        other = on.client().play("there", KEY)
        first.close()
        server.wait_for_line("PUBLISH END: gone")
        assert UNPUBLISHED not in [describe(one) for one in player.fence()]
        server.process.send_signal(signal.SIGTERM)
        told_the_end(player)
        told_the_end(other)
        assert server.wait() == 0


# --- a new process ----------------------------------------------------------------------------------


def test_a_new_process_knows_who_may_take_over_and_who_is_waited_for() -> None:
    with (
        Lineage(SECOND_PUBLISHER="takeover", RECONNECT_SECONDS="60") as line,
        stage(line.port) as on,
    ):
        first, player = on.client().publish("taken", KEY), on.client().play("taken", KEY)
        lost, waiting = on.client().publish("lost", KEY), on.client().play("lost", KEY)
        for publisher, watcher in ((first, player), (lost, waiting)):
            frames(publisher, b"0")
            assert pictures(watcher, 1) == [keyframe(b"0")]
        lost.close()
        line.wait_for_line("PUBLISH END: lost")
        line.succeed()
        assert refusal(on, "taken", OTHER_KEY) == TAKEN
        second, back = on.client().publish("taken", KEY), on.client().publish("lost", KEY)
        assert first.expect_status("NetStream.Unpublish.Success")["description"] == REPLACED
        for publisher, watcher in ((second, player), (back, waiting)):
            frames(publisher, b"1", b"2")
            heard = on.passed(publisher, watcher)
            assert [name for name in names_of(heard) if name.startswith(("video", UNPUBLISHED))] == [
                *("video 1", "video 2")
            ]
        line.end()
        line.check_log()


# --- several workers --------------------------------------------------------------------------------


@contextmanager
def workers(**settings: str) -> Iterator[tuple[WorkerCrew, Stage]]:
    with WorkerCrew(2, CONCURRENT_LIMIT_WHITELIST="*", **settings) as crew, stage(crew.port) as on:
        yield crew, on


def at(told: dict[str, Any], channel: str, role: str) -> list[str]:
    """Return the workers where somebody of a channel has this role, none for who has asked for nothing."""
    return [
        name
        for name, worker in told["workers"].items()
        for session in worker["sessions"]
        if (session["app"], session["role"]) == (channel, role)
    ]


def connected(crew: WorkerCrew, on: Stage, channel: str, owner: str) -> Client:
    """Return a client that has asked for nothing yet, and that another worker than this one has accepted."""
    for _ in range(100):
        client = on.client().connect(channel)
        told = crew.wait_until(lambda told: at(told, channel, ""))
        if at(told, channel, "") != [owner]:
            return client
        client.close()
        crew.wait_until(lambda told: not at(told, channel, ""))
    raise AssertionError("all connections go to one worker")


@pytest.mark.parametrize("spread", ["300", "1"])  # all move to the channel, or one stays where it is
@pytest.mark.parametrize("settings", [{"SECOND_PUBLISHER": "takeover"}, {"RECONNECT_SECONDS": "60"}], ids=str)
def test_who_goes_on_is_brought_to_the_worker_of_its_channel(settings: dict[str, str], spread: str) -> None:
    with workers(SPREAD_PLAYERS=spread, **settings) as (crew, on):
        first = on.client().publish("said", KEY)
        players = [on.client().play("said", KEY) for _ in range(PLAYERS)]
        frames(first, b"0")
        for player in players:
            assert pictures(player, 1) == [keyframe(b"0")]
        (owner,) = at(crew.describe(), "said", "publisher")
        second = connected(crew, on, "said", owner)
        if "RECONNECT_SECONDS" in settings:
            first.close()
            crew.wait_until(lambda told: not told["keeper"]["on_air"])
        second.ask_publish(KEY, second.create_stream())
        second.expect_status("NetStream.Publish.Start")
        if "SECOND_PUBLISHER" in settings:
            assert first.expect_status("NetStream.Unpublish.Success")["description"] == REPLACED
            first.expect_closed()
        frames(second, b"1", b"2")
        for player in players:
            heard = on.passed(second, player)
            assert [name for name in names_of(heard) if name.startswith(("video", UNPUBLISHED))] == [
                *("video 1", "video 2")
            ]
        assert at(crew.describe(), "said", "publisher") == [owner]


def test_who_is_on_tls_takes_over_where_it_is_and_players_come(tmp_path: Path) -> None:
    pair = certificates.make(tmp_path)
    with workers(SECOND_PUBLISHER="takeover", SSL_CERT=pair.certificate, SSL_KEY=pair.key) as (crew, on):
        first, player = on.client().publish("said", KEY), on.client().play("said", KEY)
        frames(first, b"0")
        assert pictures(player, 1) == [keyframe(b"0")]
        owners = at(crew.describe(), "said", "publisher")
        for number in range(1, 100):
            second = on.add(TlsClient(crew.secure_port)).publish("said", KEY)
            assert first.expect_status("NetStream.Unpublish.Success")["description"] == REPLACED
            frames(second, b"%d" % number)
            assert pictures(player, 1) == [keyframe(b"%d" % number)]
            owners += at(crew.describe(), "said", "publisher")
            if owners[-1] != owners[-2]:
                return
            first = second
        raise AssertionError("all connections go to one worker")

"""Faults that nobody means: what runs out, breaks off, lags or jumps harms no bystander, and passes.

Hostile clients are the business of `test_hostile`; the long run of the same kind is `scripts/soak`.
"""

from __future__ import annotations

import os
import resource
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic, sleep

import gevent
import pytest

from rtmpsrv.protocol import messages
from rtmpsrv.protocol.chunks import pack
from rtmpsrv.protocol.handshake import HANDSHAKE_SIZE
from rtmpsrv.protocol.messages import Message
from tests.client import (
    Client,
    Closed,
    Stage,
    interframe,
    keyframe,
    media_of,
    names_of,
    stage,
)
from tests.server_process import ServerProcess

pytestmark = pytest.mark.alone

MIB = 1 << 20
WRAP = 1 << 32
CHUNK = 65536  # publishers of long frames announce it
FLOOD = 2000  # connections
LATENCY_S = 2.0  # most that a frame of the bystanders may take, on a busy machine
EVERYBODY = {"CONCURRENT_LIMIT_WHITELIST": "*"}


def frame(publisher: Client, timestamp: int, payload: bytes) -> None:
    """Send video in chunks of `CHUNK` bytes."""
    publisher.send(pack(6, timestamp, messages.VIDEO, 1, payload, CHUNK))


def publisher_of(on: Stage, app: str) -> Client:
    publisher = on.publisher(app)
    publisher.send(messages.set_chunk_size(CHUNK))
    return publisher


def frames_of(received: list[Message]) -> list[Message]:
    """Return what is no sequence header."""
    return [one for one in media_of(received) if one.payload[1] != 0]


def descriptors(server: ServerProcess) -> int:
    return len(os.listdir(f"/proc/{server.process.pid}/fd"))


def memory_files_bytes(server: ServerProcess) -> int:
    """Sum the pages of the server's memory files: the log that is in files."""
    total = 0
    folder = Path(f"/proc/{server.process.pid}/fd")
    for name in os.listdir(folder):
        try:
            if os.readlink(folder / name).startswith("/memfd:rtmpsrv-log"):
                total += (folder / name).stat().st_blocks * 512
        except FileNotFoundError:
            pass  # closed meanwhile
    return total


def wait_until(reached: Callable[[], bool], what: str, timeout_s: float = 10.0) -> None:
    until = monotonic() + timeout_s
    while not reached():
        assert monotonic() < until, f"not within {timeout_s:g} s: {what}"
        sleep(0.05)


# --- descriptors ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("players", [1, 6])  # 6 are served from a memory file, which needs a descriptor
def test_a_channel_goes_on_while_descriptors_are_exhausted(players: int) -> None:
    with (
        ServerProcess(shell_prefix="ulimit -S -n 64; ulimit -H -n 64;", **EVERYBODY) as server,
        stage(server.port) as on,
    ):
        publisher = publisher_of(on, "app")
        watching = [on.player("app") for _ in range(players)]
        for player in watching:
            on.passed(publisher, player)
        before = descriptors(server)
        with stage(server.port) as others:
            for _ in range(70):
                others.client().send(b"\x03")
            server.wait_for_line(r"\[ERROR\] accept failed")
            for number in range(30):
                kind = interframe if number % 5 else keyframe
                payload = kind(b"%d" % number + bytes(30_000))
                frame(publisher, number, payload)
                for player in watching:
                    _, message = player.read_until(lambda one: one.type_id == messages.VIDEO)
                    assert message.payload == payload
        server.wait_for_line("closed: closed by the peer", count=70)
        late = on.player("app")  # from the cache of that time
        first = frames_of(on.passed(publisher, late))[:1]
        assert [one.payload[:3] for one in first] == [keyframe(b"25")[:3]]
        late.close()
        server.wait_for_line("PLAY STOP: app", count=1)
        wait_until(lambda: descriptors(server) <= before + 2, f"{before} descriptors again, and a log file")
        assert server.matching("Traceback") == []
        assert server.stop() == 0


# --- memory ---------------------------------------------------------------------------------------------


def fill(on: Stage, publisher: Client, count: int, first: int = 0) -> None:
    """Publish a keyframe and `count` - 1 frames of 100 kB after it."""
    for number in range(first, first + count):
        kind = interframe if number > first else keyframe
        frame(publisher, 40 * number, kind(b"%03d" % number + bytes(100_000)))
    publisher.fence()


def test_of_equal_caches_the_oldest_goes_first_when_all_are_full() -> None:
    settings = {"GOP_CACHE_TOTAL_MB": "4", "GOP_CACHE_SIZE_MB": "256"} | EVERYBODY
    with ServerProcess(**settings) as server, stage(server.port) as on:
        oldest, middle, newest = publishers = [publisher_of(on, f"app{i}") for i in range(3)]
        watching = [on.player(f"app{i}") for i in range(3)]
        # Memory is given back by the segment, so that of the first GOP here may be held on for the second.
        for publisher, player, frames in zip(publishers, watching, (14, 14, 3), strict=True):
            fill(on, publisher, frames)  # 0.1 MB each
            assert len(frames_of(on.passed(publisher, player))) == frames
        fill(on, newest, 14, first=12)
        assert len(frames_of(on.passed(newest, watching[2]))) == 14
        started = [len(frames_of(on.passed(publishers[i], on.player(f"app{i}")))) for i in range(3)]
        assert started == [0, 14, 14], "messages from the caches, oldest channel first"
        joiner = on.player("app0")
        fill(on, oldest, 2, first=50)
        assert [one.payload[5:8] for one in frames_of(on.passed(oldest, joiner))] == [b"050", b"051"]
        assert len(frames_of(on.passed(oldest, watching[0]))) == 2
        assert memory_files_bytes(server) < 4 * MIB + 3 * MIB  # and a message
        assert middle.fence() == []
        server.check_log()


def test_the_cache_of_a_publisher_that_left_is_given_back() -> None:
    settings = {"GOP_CACHE_TOTAL_MB": "4"} | EVERYBODY
    with ServerProcess(**settings) as server, stage(server.port) as on:
        for channel in ("gone1", "gone2", "gone3"):
            publisher = publisher_of(on, channel)
            waiting = on.player(channel)  # keeps the channel, which waits for the next publisher
            fill(on, publisher, 12)
            on.passed(publisher, waiting)
            publisher.close()
            waiting.expect_status("NetStream.Play.UnpublishNotify")
        publisher = publisher_of(on, "app")
        fill(on, publisher, 15)
        assert len(frames_of(on.passed(publisher, on.player("app")))) == 15
        server.check_log()


def test_laggards_and_caches_of_several_channels_stay_within_the_total() -> None:
    total_mb, channels, rounds = 8, 4, 12
    settings = {
        "GOP_CACHE_TOTAL_MB": str(total_mb),
        "PLAYER_MAX_LAG_MB": "256",  # so that only the total bounds them
        "PLAYER_MAX_LAG_SECONDS": "600",
    }
    with ServerProcess(**settings | EVERYBODY) as server, stage(server.port) as on:
        publishers = [publisher_of(on, f"app{i}") for i in range(channels)]
        good = [on.player(f"app{i}") for i in range(channels)]
        lagging = [on.client(receive_buffer=4096).play(f"app{i}") for i in range(channels)]
        for publisher, player in zip(publishers, good, strict=True):
            on.passed(publisher, player)
        memory_kib = server.memory_kib()
        most = 0
        for turn in range(rounds):  # 1 MB a channel and turn: 48 MB
            for publisher, player in zip(publishers, good, strict=True):
                fill(on, publisher, 10, first=10 * turn)
                received = [one.payload[5:8] for one in frames_of(on.passed(publisher, player))]
                assert received == [b"%03d" % number for number in range(10 * turn, 10 * turn + 10)]
                most = max(most, memory_files_bytes(server))
        assert most <= (total_mb + 1) * MIB
        # Beside the files: what is collected before it is written, at most the same total, and buffers.
        assert server.memory_kib() - memory_kib < (2 * total_mb + 16) * 1024
        for publisher, player in zip(publishers, lagging, strict=True):
            numbers = [int(one.payload[5:8]) for one in frames_of(on.passed(publisher, player))]
            assert numbers == sorted(set(numbers))
            assert len(numbers) < 10 * rounds, "it was to skip"
        server.check_log()


# --- networks -------------------------------------------------------------------------------------------


def test_a_publisher_whose_network_vanishes_ends_and_players_are_told() -> None:
    settings = {"IDLE_TIMEOUT_SECONDS": "2", "PING_INTERVAL_SECONDS": "1"}
    with ServerProcess(**settings | EVERYBODY) as server, stage(server.port) as on:
        publisher = on.publisher("app")
        publisher.video(0, keyframe(b"a"))
        player = on.player("app")
        on.passed(publisher, player)
        silent_since = monotonic()  # neither a byte nor a FIN from now on
        received: list[Message] = []
        while "StreamEOF" not in names_of(received):
            received += player.fence()
            assert monotonic() - silent_since < 6
            sleep(0.1)
        assert 1.5 < monotonic() - silent_since < 5
        assert [name for name in names_of(received) if name != "Ping"] == [
            "NetStream.Play.UnpublishNotify",
            "StreamEOF",
        ]
        assert len(server.wait_for_line("PUBLISH END: app, reason=sent nothing for 2 s")) == 1
        following = on.publisher("app", headers=False)  # the channel is free again
        following.video(5, keyframe(b"b"))
        assert names_of(media_of(on.passed(following, player))) == ["video b"]
        server.check_log()


@contextmanager
def descriptors_allowed(count: int) -> Iterator[None]:
    """Raise this process's own limit for a while."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert hard == resource.RLIM_INFINITY or hard >= count, f"the hard limit of {hard} open files is too low"
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, count), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_two_thousand_connections_in_a_second_are_served_and_forgotten() -> None:
    with (
        descriptors_allowed(FLOOD + 200),
        ServerProcess(**EVERYBODY) as server,
        stage(server.port) as on,
    ):
        publisher = on.publisher("app")
        player = on.player("app")
        on.passed(publisher, player)
        before = descriptors(server)
        sockets: list[socket.socket] = []
        try:
            began = monotonic()
            for _ in range(FLOOD):
                sockets.append(socket.create_connection(("127.0.0.1", server.port), timeout=20))
                sockets[-1].sendall(b"\x03" + bytes(HANDSHAKE_SIZE))
            flooded_s = monotonic() - began
            assert flooded_s < 5, "the machine is too slow for this test"
            publisher.video(1, keyframe(b"amid"))
            assert names_of(media_of(on.passed(publisher, player))) == ["video amid"]
            for one in sockets:
                answer = b""
                while len(answer) < 1 + 2 * HANDSHAKE_SIZE:
                    more = one.recv(1 + 2 * HANDSHAKE_SIZE)
                    assert more, "closed by the server"
                    answer += more
            assert descriptors(server) == before + FLOOD
        finally:
            for one in sockets:
                one.close()
        server.wait_for_line("closed: closed by the peer", count=FLOOD, timeout_s=20)
        wait_until(lambda: descriptors(server) == before, f"{before} descriptors again")
        publisher.video(2, keyframe(b"after"))
        assert names_of(media_of(on.passed(publisher, player))) == ["video after"]
        server.check_log()


# --- clocks ---------------------------------------------------------------------------------------------

CLOCKS = {
    "jumps": [0, 40, 5_000_000, 5_000_040, 80, 120, 0, 3_000_000_000, 40],
    "passes 2^24": [0xFFFFFF - 41, 0xFFFFFF - 1, 0xFFFFFF, 0x1000000, 0x1000000 + 40],
    "passes 2^31": [(1 << 31) - 60, (1 << 31) - 20, 1 << 31, (1 << 31) + 20],
    "wraps at 2^31": [(1 << 31) - 60, (1 << 31) - 20, 20, 60],
    "wraps at 2^32": [WRAP - 60, WRAP - 20, WRAP - 1, 0, 20, 60],
}


@pytest.mark.parametrize("clock", CLOCKS)
def test_a_publishers_clock_arrives_as_it_is_and_joiners_start_behind_it(
    clock_server: ServerProcess, clock: str
) -> None:
    stamps = CLOCKS[clock]
    channel = clock.translate({ord(" "): "_", ord("^"): "-"})
    with stage(clock_server.port) as on:
        publisher = on.publisher(channel)
        watching = [on.player(channel) for _ in range(5)]
        for player in watching:
            on.passed(publisher, player)
        for number, stamp in enumerate(stamps):
            publisher.video(stamp, (interframe if number else keyframe)(b"v%d" % number))
            publisher.audio(stamp, b"\xaf\x01a%d" % number)
        expected = [
            (stamp, f"{kind}{n}") for n, stamp in enumerate(stamps) for kind in ("video v", "audio a")
        ]
        joiner = on.player(channel)  # from the keyframe before the jump
        for player in [*watching, joiner]:
            received = frames_of(on.passed(publisher, player))
            assert list(zip([one.timestamp for one in received], names_of(received), strict=True)) == expected
        last = (stamps[-1] + 40) % WRAP
        publisher.video(last, keyframe(b"next"))
        for player in [*watching, joiner, on.player(channel)]:
            received = frames_of(on.passed(publisher, player))
            assert [(one.timestamp, one.payload[5:]) for one in received] == [(last, b"next")]


@pytest.fixture(scope="module")
def clock_server() -> Iterator[ServerProcess]:
    with ServerProcess(**EVERYBODY) as running:
        yield running
        running.check_log()


# --- players that stop reading --------------------------------------------------------------------------

GOP = 10  # frames
REST_S = 0.01  # between frames
FRAME = bytes(20_000)


def numbers_from(player: Client, until: int) -> list[tuple[int, bool]]:
    """Read on to frame `until`; return the number of each frame and whether it is a keyframe."""
    found: list[tuple[int, bool]] = []
    while not found or found[-1][0] < until:
        found += [(int(one.payload[5:11]), one.payload[0] == 0x17) for one in frames_of([player.read()])]
    return found


def test_players_that_stop_reading_skip_or_go_and_twenty_others_lose_nothing() -> None:
    settings = {"PLAYER_MAX_LAG_SECONDS": "1", "PLAYER_MAX_LAG_MB": "2", "PLAYER_STALL_SECONDS": "4"}
    with ServerProcess(**settings | EVERYBODY) as server, stage(server.port) as on:
        publisher = publisher_of(on, "app")
        good = [on.player("app") for _ in range(20)]
        slow = on.client(receive_buffer=4096).play("app")
        dead = on.client(receive_buffer=4096).play("app")
        for player in good:
            on.passed(publisher, player)
        state = {"sent": 0, "last": 1 << 30}

        def publish() -> None:
            while state["sent"] <= state["last"]:
                number = state["sent"]
                kind = interframe if number % GOP else keyframe
                frame(publisher, 10 * number, kind(b"%06d" % number + FRAME))
                state["sent"] = number + 1
                sleep(REST_S)

        slowest_s = [0.0]

        def watch(player: Client) -> list[int]:
            numbers: list[int] = []
            while not numbers or numbers[-1] < state["last"]:
                for one in frames_of([player.read()]):
                    numbers.append(int(one.payload[5:11]))
                    if state["sent"] > numbers[-1] + LATENCY_S / REST_S:
                        slowest_s[0] = LATENCY_S
            return numbers

        memory_kib = server.memory_kib() + memory_files_bytes(server) // 1024
        publishing = gevent.spawn(publish)
        watching = [gevent.spawn(watch, player) for player in good]
        try:
            sleep(2.5)
            resumed_at = state["sent"]
            skipped = gevent.spawn(numbers_from, slow, resumed_at + 50).get(timeout=10)
            server.wait_for_line("closed: took nothing for 4 s", timeout_s=10)
            grown_kib = server.memory_kib() + memory_files_bytes(server) // 1024 - memory_kib
        finally:
            state["last"] = state["sent"] + 20
            gevent.joinall(watching, timeout=10)
            publishing.join(timeout=10)
        assert [one.value for one in watching] == [list(range(state["last"] + 1))] * 20
        assert slowest_s == [0.0]
        assert grown_kib < 16 * 1024
        gaps = [i for i in range(1, len(skipped)) if skipped[i][0] != skipped[i - 1][0] + 1]
        assert gaps, "it was to skip"
        for i in gaps:
            assert skipped[i][0] > skipped[i - 1][0]
            assert skipped[i][1], f"frame {skipped[i][0]} after a gap is no keyframe"
        with pytest.raises(Closed):
            numbers_from(dead, 1 << 30)
        # It skips too: what it holds on to is bounded though it takes nothing.
        assert len(server.matching(r"PLAY STOP: app, reason=took nothing for 4 s skipped=[1-9]")) == 1
        slow.close()
        server.wait_for_line(r"PLAY STOP: app, reason=(closed by the peer|connection lost.*) skipped=[1-9]")
        assert server.matching("player was too far behind: .* jumps to a keyframe")
        server.check_log()

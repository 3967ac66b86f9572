"""Hostile clients: each loses its own connection, with one clear line in the log, and harms nobody.

All tests share one server. A publisher and a player of it exchange numbered frames from the first test to
the last; each test ends by making sure that they still do, without loss.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import count
from threading import Event, Thread
from time import monotonic, sleep

import pytest

from rtmpsrv.protocol import amf0, messages
from rtmpsrv.protocol.chunks import basic_header, pack
from rtmpsrv.protocol.handshake import HANDSHAKE_SIZE
from tests.client import Client, Closed, Stage, keyframe, media_of, stage
from tests.server_process import ServerProcess

pytestmark = pytest.mark.alone

HANDSHAKE_S = 2
SETUP_S = 4
IDLE_S = 10
LIMIT = 6  # connections from one address
FLOOD_SOURCE = "127.0.0.9"  # 127.0.0.1 is free of the limit
LATENCY_S = 3.0  # most that a frame of the bystanders may take, on a busy machine; below SETUP_S
FRAME_REST_S = 0.01

STRICT_ARRAY_BOMB = b"\x0a\xff\xff\xff\xff"
ECMA_ARRAY_BOMB = b"\x08\xff\xff\xff\xff" + b"\x00\x01a\x05" * 12_000
EMPTY_ARRAYS = b"\x0a\x00\x00\x2e\xe0" + b"\x0a\x00\x00\x00\x00" * 12_000
LONG_STRING_BOMB = b"\x0c\xff\xff\xff\xffabc"


class Bystanders(Thread):
    """A publisher and its player, busy in a thread of their own."""

    def __init__(self, port: int) -> None:
        super().__init__(daemon=True)
        self.frames = 0
        self.slowest_s = 0.0
        self.failure: str | None = None
        self._stage = Stage(port)
        self._publisher = self._stage.publisher("bystanders")
        self._player = self._stage.player("bystanders")
        self._stage.passed(self._publisher, self._player)
        self._over = Event()
        self._progress = Event()

    def run(self) -> None:
        next_fence = 0.0
        try:
            while not self._over.wait(FRAME_REST_S):
                payload = keyframe(b"%d" % self.frames)
                began = monotonic()
                self._publisher.video(self.frames * 10, payload)
                received: list[bytes] = []
                while not received:  # pings may come between
                    received = [one.payload for one in media_of([self._player.read(LATENCY_S)])]
                assert received == [payload], received
                self.slowest_s = max(self.slowest_s, monotonic() - began)
                self.frames += 1
                self._progress.set()
                if monotonic() > next_fence:  # the player must not be taken for idle
                    next_fence = monotonic() + 1
                    assert media_of(self._publisher.fence() + self._player.fence()) == []
        except (AssertionError, OSError, Closed) as exc:
            self.failure = f"frame {self.frames}: {exc!r}"
            self._progress.set()

    def check(self) -> None:
        """Wait for three more frames to pass."""
        wanted = self.frames + 3
        while self.frames < wanted:
            self._progress.clear()
            assert self.failure is None, self.failure
            assert self._progress.wait(2 * LATENCY_S)
        assert self.failure is None, self.failure

    def stop(self) -> None:
        self._over.set()
        self.join(2 * LATENCY_S)
        self._stage.close()


@pytest.fixture(scope="module")
def server() -> Iterator[ServerProcess]:
    settings = {
        "HANDSHAKE_TIMEOUT_SECONDS": str(HANDSHAKE_S),
        "SETUP_TIMEOUT_SECONDS": str(SETUP_S),
        "IDLE_TIMEOUT_SECONDS": str(IDLE_S),
        "PING_INTERVAL_SECONDS": "1",
        "MAX_IP_CONCURRENT_CONNECTIONS": str(LIMIT),
        "CONCURRENT_LIMIT_WHITELIST": "127.0.0.1",
        "MAX_MESSAGE_MB": "2",
    }
    with ServerProcess(**settings) as running:
        yield running
        running.check_log()


@pytest.fixture(scope="module")
def bystanders(server: ServerProcess) -> Iterator[Bystanders]:
    pair = Bystanders(server.port)
    pair.start()
    try:
        yield pair
        pair.check()
    finally:
        pair.stop()


@pytest.fixture
def on(server: ServerProcess, bystanders: Bystanders) -> Iterator[Stage]:
    with stage(server.port) as opened:
        yield opened
    bystanders.check()


_channels = count(1)


_addresses = count(1)


def stranger(on: Stage) -> Client:
    """Connect from an address that was never refused: refusals of one address come slower and slower."""
    high, low = divmod(next(_addresses), 256)
    return on.client(source=f"127.1.{high}.{low}")


def phases() -> dict[str, Callable[[Stage], Client]]:
    """How far a client behaves before it turns hostile."""

    def shaken(on: Stage) -> Client:
        client = stranger(on)
        client.shake_hands()
        return client

    def connected(on: Stage) -> Client:
        return stranger(on).connect(f"channel{next(_channels)}")

    def publishing(on: Stage) -> Client:
        return stranger(on).publish(f"channel{next(_channels)}")

    def waiting(on: Stage) -> Client:
        return stranger(on).play(f"channel{next(_channels)}")

    def playing(on: Stage) -> Client:
        return stranger(on).play("bystanders")

    found = (shaken, connected, publishing, waiting, playing)
    return {step.__name__: step for step in found}


PHASES = phases()


def expect_end(server: ServerProcess, client: Client, pattern: str, since: int) -> None:
    """The client must be closed, and its session must say so in one line, and nothing worse."""
    try:
        client.expect_closed()
    finally:
        client.close()
    (line,) = server.wait_for_line(rf"closed: {pattern}", since)
    number = re.search(r"\[#(\d+)\]", line)
    assert number is not None
    lines = server.session_lines(int(number[1]))
    assert lines[-1] == line
    assert [one for one in lines if "closed: " in one] == [line]
    assert all("[INFO]" in one for one in lines)


# --- handshake ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("c0", [0, 2, 6, 0x16, ord("G"), 255])
def test_a_wrong_version_closes_at_once(on: Stage, server: ServerProcess, c0: int) -> None:
    since = server.mark()
    client = on.client()
    client.send(bytes((c0,)))
    expect_end(server, client, f"protocol error: handshake version {c0}, only 3 is spoken here", since)


@pytest.mark.parametrize("sent", [1, 700, 1536, 1537, 1537 + 1535])
def test_a_truncated_handshake_is_forgotten(on: Stage, server: ServerProcess, sent: int) -> None:
    since = server.mark()
    client = on.client()
    client.send((b"\x03" + bytes(2 * HANDSHAKE_SIZE))[:sent])
    if sent > HANDSHAKE_SIZE:
        client.receive(1 + 2 * HANDSHAKE_SIZE)
    client.close()
    server.wait_for_line(rf"closed: (closed by the peer|connection lost: .*), in={sent} ", since)


def test_silence_and_dripping_end_at_the_deadlines(on: Stage, server: ServerProcess) -> None:
    """A byte now and then keeps the idle timeout away; the deadlines of handshake and set-up still hold."""
    since = server.mark()
    began = monotonic()
    mute, drip = on.client(), on.client()
    drip.send(b"\x03")
    slow, slow_connected = PHASES["shaken"](on), PHASES["connected"](on)
    # One command that never ends, and a client that is busy with harmless things.
    command = pack(3, 0, messages.COMMAND_AMF0, 0, amf0.encode("connect", 1.0, {"app": "x" * 100}))
    ended: dict[str, float] = {}
    drops = {
        "mute": (mute, b""),
        "drip": (drip, b"x"),
        "slow": (slow, command),
        "slow_connected": (slow_connected, messages.user_control(messages.SET_BUFFER_LENGTH, 0)),
    }
    position = 0
    while len(ended) < len(drops):
        for name, (client, data) in drops.items():
            if name in ended:
                continue
            try:
                if data:
                    start = position % len(data) if name == "slow_connected" else position
                    client.send(data[start : start + 1])
                client.read(0.05)
            except TimeoutError:
                continue
            except (Closed, OSError):
                ended[name] = monotonic() - began
        position += 1
        assert monotonic() - began < 10, f"still there: {drops.keys() - ended.keys()}"
    assert min(ended["mute"], ended["drip"]) > HANDSHAKE_S - 0.1
    assert max(ended["mute"], ended["drip"]) < HANDSHAKE_S + 1.5
    assert min(ended["slow"], ended["slow_connected"]) > SETUP_S - 0.1
    assert max(ended["slow"], ended["slow_connected"]) < SETUP_S + 1.5
    server.wait_for_line(f"closed: no handshake within {HANDSHAKE_S} s", since, count=2)
    server.wait_for_line(f"closed: neither publish nor play within {SETUP_S} s", since, count=2)


# --- AMF ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("phase", ["shaken", "connected"])
def test_amf_100000_deep_is_refused_by_its_length_before_publishing(
    on: Stage, server: ServerProcess, phase: str
) -> None:
    since = server.mark()
    client = PHASES[phase](on)
    payload = amf0.encode("connect", 1.0) + b"\x03\x00\x01a" * 100_000
    client.send(pack(3, 0, messages.COMMAND_AMF0, 0, payload)[:5000])
    expect_end(
        server, client, rf"protocol error: message of type 20 and {len(payload)} bytes, limit 16384", since
    )


@pytest.mark.parametrize(
    "value", [b"\x03\x00\x01a", b"\x08\x00\x00\x00\x01\x00\x01a", b"\x0a\x00\x00\x00\x01"]
)
def test_amf_100000_deep_is_refused_by_its_depth_afterwards(
    on: Stage, server: ServerProcess, value: bytes
) -> None:
    since = server.mark()
    client = PHASES["publishing"](on)
    client.send(messages.set_chunk_size(1 << 20))
    payload = amf0.encode("connect", 1.0) + value * 100_000
    client.send(pack(3, 0, messages.COMMAND_AMF0, 0, payload, 1 << 20))
    expect_end(server, client, "protocol error: .*, limit 64", since)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (ECMA_ARRAY_BOMB, "more than 10000 AMF values|bytes, limit 16384"),
        (EMPTY_ARRAYS, "more than 10000 AMF values|bytes, limit 16384"),
    ],
    ids=["ecma array", "many arrays"],
)
@pytest.mark.parametrize("phase", ["shaken", "connected", "publishing", "playing"])
def test_amf_bombs_close(on: Stage, server: ServerProcess, phase: str, value: bytes, said: str) -> None:
    since = server.mark()
    client = PHASES[phase](on)
    payload = amf0.encode("anything", 1.0) + value
    client.message(messages.COMMAND_AMF0, payload)
    expect_end(server, client, rf"protocol error: .*({said})", since)


@pytest.mark.parametrize("value", [STRICT_ARRAY_BOMB, LONG_STRING_BOMB], ids=["strict array", "long string"])
@pytest.mark.parametrize("phase", ["shaken", "connected", "publishing", "playing"])
def test_amf_that_claims_more_than_there_is_ends_its_command(on: Stage, phase: str, value: bytes) -> None:
    client = PHASES[phase](on)
    client.message(messages.COMMAND_AMF0, amf0.encode("anything", 1.0) + value)
    assert client.expect_command("_result") == [1.0, None, None]


def test_broken_data_messages_of_a_publisher_are_relayed_unread(on: Stage) -> None:
    client = PHASES["publishing"](on)
    for value in (STRICT_ARRAY_BOMB, ECMA_ARRAY_BOMB, LONG_STRING_BOMB, b"\x03\x00\x01a" * 16_000):
        for name in ("@setDataFrame", "onMetaData"):
            payload = amf0.encode(name) + amf0.encode("onMetaData") + value
            client.message(messages.DATA_AMF0, payload, 0, 1, 4)
    assert client.fence() == []


# --- chunks ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("type_id", [8, 9, 18, 20, 22])
@pytest.mark.parametrize("phase", ["shaken", "connected", "waiting"])
def test_a_message_of_16_mib_is_refused_at_its_header(
    on: Stage, server: ServerProcess, phase: str, type_id: int
) -> None:
    since = server.mark()
    client = PHASES[phase](on)
    client.send(b"\x04\0\0\0\xff\xff\xff" + bytes((type_id,)) + b"\0\0\0\0" + bytes(128))
    limit = 16384 if type_id in (messages.DATA_AMF0, messages.COMMAND_AMF0) else 65536
    said = f"protocol error: message of type {type_id} and 16777215 bytes, limit {limit}"
    expect_end(server, client, said, since)


def test_a_publishers_message_over_its_own_limit_is_refused(on: Stage, server: ServerProcess) -> None:
    since = server.mark()
    client = PHASES["publishing"](on)
    client.send(b"\x04\0\0\0\x20\x00\x01\x09\x01\0\0\0")
    expect_end(server, client, "protocol error: message of type 9 and 2097153 bytes, limit 2097152", since)


@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize("size", [0, 1 << 31, (1 << 32) - 1])
def test_impossible_chunk_sizes_close(on: Stage, server: ServerProcess, phase: str, size: int) -> None:
    since = server.mark()
    client = PHASES[phase](on)
    client.send(messages.set_chunk_size(size))
    expect_end(server, client, f"protocol error: chunk size {size}, limits 1 to 2147483647", since)


def test_chunks_of_one_byte_are_only_slow(on: Stage) -> None:
    publisher = on.publisher("onebyte")
    player = on.player("onebyte")
    on.passed(publisher, player)
    publisher.send(messages.set_chunk_size(1))
    payload = keyframe(random.Random(1).randbytes(20_000))
    publisher.send(pack(6, 40, messages.VIDEO, 1, payload, 1))
    message = player.read_until(lambda one: one.type_id == messages.VIDEO)[1]
    assert message.payload == payload


@pytest.mark.parametrize("phase", ["shaken", "publishing"])
def test_many_unfinished_messages_at_once_close(on: Stage, server: ServerProcess, phase: str) -> None:
    since = server.mark()
    client = PHASES[phase](on)
    try:
        for csid in range(64, 264):
            client.send(pack(csid, 0, messages.AUDIO, 1, bytes(200))[:141])  # the first of two chunks
    except OSError:
        pass  # closed by then
    expect_end(server, client, r"protocol error: chunk stream \d+ is one more than the limit 96", since)


@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize("csid", [63, 319, 65599])
def test_a_continuation_of_nothing_closes(on: Stage, server: ServerProcess, phase: str, csid: int) -> None:
    since = server.mark()
    client = PHASES[phase](on)
    client.send(basic_header(3, csid))
    expect_end(server, client, f"protocol error: type 3 chunk on unknown chunk stream {csid}", since)


def test_unfinished_messages_are_bounded_together(on: Stage, server: ServerProcess) -> None:
    since = server.mark()
    client = PHASES["shaken"](on)
    try:
        client.send(messages.set_chunk_size(60_000))
        for csid in range(10, 30):  # each begun, none finished
            client.send(pack(csid, 0, messages.AUDIO, 1, bytes(65_000), 60_000)[:60_012])
    except OSError:
        pass  # closed by then
    expect_end(server, client, r"protocol error: \d+ bytes in unfinished messages, limit 262144", since)


# --- numbers --------------------------------------------------------------------------------------------


def test_a_flood_from_one_address_is_cut_at_its_limit(on: Stage, server: ServerProcess) -> None:
    since = server.mark()
    clients = [on.client(source=FLOOD_SOURCE) for _ in range(60)]
    refused = server.wait_for_line(
        f"Rejected request from {FLOOD_SOURCE} due to connection limit: limit of {LIMIT} ", since, 60 - LIMIT
    )
    assert len(refused) == 60 - LIMIT
    on.client().connect("other")  # other addresses do not notice
    for client in clients:
        with suppress(OSError):
            client.send(b"\x03")  # who says nothing is not worth a line
        client.close()
    server.wait_for_line(r"closed: (closed by the peer|connection lost)", since, LIMIT)
    on.client(source=FLOOD_SOURCE).connect("again")


@pytest.mark.parametrize("phase", ["shaken", "connected"])
def test_questions_without_reading_the_answers_are_bounded(
    on: Stage, server: ServerProcess, phase: str
) -> None:
    since = server.mark()
    client = PHASES[phase](on)
    question = pack(3, 0, messages.COMMAND_AMF0, 0, amf0.encode("getStreamLength", 1.0, None, "k"))
    try:
        while True:
            client.send(question * 500)
            sleep(0)  # where threads are greenlets, the bystanders' has to run too
    except OSError:
        pass  # closed, or the server reads no more
    (line,) = server.wait_for_line(
        r"closed: (\d+ bytes of answers not read|protocol error: (\d+ bytes of answers|more messages))",
        since, timeout_s=SETUP_S + 3,
    )  # fmt: skip
    assert "[INFO]" in line


def test_streams_without_end_are_refused(on: Stage, server: ServerProcess) -> None:
    since = server.mark()
    client = PHASES["connected"](on)
    for number in range(65):
        client.command("createStream", None, transaction=float(number + 2))
    expect_end(server, client, "protocol error: message stream asked for, limit 64", since)


# --- garbage --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("phase", PHASES)
def test_garbage_closes_at_every_phase(on: Stage, server: ServerProcess, phase: str, seed: int) -> None:
    since = server.mark()
    client = PHASES[phase](on)
    noise = random.Random(f"{phase} {seed}")
    try:
        for _ in range(64):
            client.send(noise.randbytes(1024))
    except OSError:
        pass  # closed by then
    expect_end(server, client, "protocol error: ", since)


@pytest.mark.parametrize("phase", PHASES)
def test_commands_of_garbage_close_or_are_ignored(on: Stage, server: ServerProcess, phase: str) -> None:
    noise = random.Random(phase)
    names = [
        "connect",
        "createStream",
        "publish",
        "play",
        "pause",
        "receiveAudio",
        "deleteStream",
        "FCPublish",
        "",
    ]
    for _ in range(40):
        since = server.mark()
        client = PHASES[phase](on)
        values = [noise.choice([None, True, float("nan"), -1e300, "", "x" * 300, {}, [1.0], {"app": 1.0}])
                  for _ in range(noise.randrange(4))]  # fmt: skip
        payload = amf0.encode(noise.choice(names), noise.choice([0.0, float("inf"), "id"]), *values)
        client.message(messages.COMMAND_AMF0, payload, msid=noise.choice([0, 1, 0xFFFFFFFF]))
        try:
            client.fence()
        except Closed:
            client.close()
            server.wait_for_line("closed: (protocol error: |.* refused: )", since)
        client.close()

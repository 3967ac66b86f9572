"""What fuzzing does to the protocol core: any bytes, whole and in pieces; only a protocol error may come out.

Deterministic: a case is a function of its seed, so a failure is reported, and repeated, by its number.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from typing import Any

from rtmpsrv.errors import RemoteProtocolError
from rtmpsrv.protocol import amf0, events, messages
from rtmpsrv.protocol.chunks import MAX_CHUNK_STREAMS, Limits, basic_header, pack
from rtmpsrv.protocol.connection import MAX_MESSAGE_STREAMS, MAX_MESSAGES_BEFORE_ROLE, ServerConnection
from rtmpsrv.protocol.link import MAX_PENDING_OUTPUT, MESSAGES_PER_CALL
from rtmpsrv.protocol.state import Phase
from tests.vectors import load

HANDSHAKE = b"\3" + bytes(2 * 1536)
MAX_CASE_BYTES = 4096  # of chunks
USUAL_CASE_BYTES = 700  # of nine in ten cases, so that most take a few milliseconds
MEDIA_LIMIT = 1 << 20  # bytes, of a publisher
LONGEST_HEADER = 3 + 11 + 4

_ANSWERS: dict[type, Callable[[], tuple[events.Event, ...]]] = {
    events.ConnectAsked: lambda: (events.ConnectAccepted(),),
    events.PublishAsked: lambda: (events.PublishAccepted("started"),),
    events.PublishStopAsked: lambda: (events.PublishEnded("ended"),),
    events.PlayAsked: lambda: (events.PlayAccepted(),),
    events.PlayStopAsked: lambda: (events.PlayEnded("stopped"),),
}
_REFUSALS: dict[type, Callable[[], tuple[events.Event, ...]]] = {
    **_ANSWERS,
    events.ConnectAsked: lambda: (events.ConnectRejected("code", "text"),),
    events.PublishAsked: lambda: (events.PublishRefused("code", "text"),),
    events.PlayAsked: lambda: (events.PlayAccepted(), events.PlayRefused("code", "text")),
}
_NAMES = (
    "connect", "createStream", "publish", "play", "pause", "pauseRaw", "receiveAudio", "receiveVideo",
    "deleteStream", "closeStream", "releaseStream", "FCPublish", "FCUnpublish", "FCSubscribe",
    "getStreamLength", "_checkbw", "@setDataFrame", "_result", "",
)  # fmt: skip
_VALUES: tuple[Any, ...] = (
    None, True, False, 0.0, 1.0, -1.5, float("nan"), float("inf"), "", "key", "live", {}, {"app": "live"},
    {"app": 1.0, "objectEncoding": "x"}, [1.0, [None]],
)  # fmt: skip


def check(connection: ServerConnection) -> None:
    """Raise AssertionError when the connection holds more than it may, or what makes no sense."""
    reader = connection.reader
    partials = [(s.partial, s.length) for s in reader.streams.values() if s.partial is not None]
    assert all(0 <= len(partial) <= length for partial, length in partials)
    assert reader.partial_bytes == sum(len(partial) for partial, _ in partials)
    assert reader.partial_bytes <= reader.limits.partial_bytes
    assert len(reader.streams) <= MAX_CHUNK_STREAMS
    assert len(reader.tail) < LONGEST_HEADER or connection.backlog
    assert (reader.current is None) == (reader.chunk_left == 0)
    assert 1 <= reader.chunk_size <= 0x7FFFFFFF
    assert len(connection.handshake_buffer) <= 1536
    assert len(connection.live_streams) <= MAX_MESSAGE_STREAMS
    assert connection.held_bytes >= reader.partial_bytes + len(connection.handshake_buffer)
    assert connection.messages_before_role <= MAX_MESSAGES_BEFORE_ROLE
    assert connection.outbox_bytes == sum(map(len, connection.outbox)) <= MAX_PENDING_OUTPUT


def drive(
    pieces: Iterable[bytes], refuses: bool = False, most: int = MESSAGES_PER_CALL, stops: bool = False
) -> tuple[list[Any], bool]:
    """Feed a connection and answer it; return its events, runs of media joined, and whether it raised.

    At most `most` messages are taken at once; or one event, if it `stops` there.
    """
    connection = ServerConnection(4096, publisher_limits=Limits(media_bytes=MEDIA_LIMIT))
    answers = _REFUSALS if refuses else _ANSWERS
    seen: list[Any] = []
    try:
        for piece in pieces:
            connection.receive_data(piece)
            while connection.backlog:
                work = connection.work
                for event in connection.events(most):
                    seen += event if isinstance(event, list) else [event]
                    for answer in answers.get(type(event), tuple)():
                        connection.send(answer)
                    if stops:
                        break
                assert connection.work >= work
                check(connection)
            check(connection)
            connection.data_to_send()
            if connection.phase is Phase.CLOSED:
                break
    except RemoteProtocolError:
        return seen, True
    return seen, False


def check_case(data: bytes, seed: int) -> None:
    """Feed one input whole, byte by byte and at random cuts; what comes out must not depend on the cuts."""
    chance = random.Random(seed)
    refuses = chance.random() < 0.1
    edges = sorted(chance.choices(range(len(data) + 1), k=8))
    # The handshake byte by byte tells little and takes long: only now and then.
    start = len(HANDSHAKE) if data.startswith(HANDSHAKE) and seed % 16 else 0
    single = drive([data[:start], *(data[at : at + 1] for at in range(start, len(data)))], refuses)
    cut = drive((data[a:b] for a, b in zip([0, *edges], [*edges, len(data)], strict=True)), refuses)
    whole = drive([data], refuses)
    few = drive([data], refuses, most=1 + seed % 3, stops=seed % 2 == 0)
    # An error takes with it what its run of messages had before it; how long runs are depends on the cuts.
    for longer, shorter in ((single, cut), (single, whole), (few, whole)):
        assert repr(longer[0][: len(shorter[0])]) == repr(shorter[0])
        assert longer[1] == shorter[1]
        assert longer[1] or len(longer[0]) == len(shorter[0])


# --- inputs ---------------------------------------------------------------------------------------


def captures() -> list[bytes]:
    """The chunks of real clients, cut to the length of a case."""
    return [
        bytes.fromhex(capture["client_to_server_hex"])[len(HANDSHAKE) :][:MAX_CASE_BYTES]
        for capture in load("captures")["captures"]
    ]


def case(seed: int, corpus: list[bytes]) -> bytes:
    """Make the input of a seed: nothing but noise, a mutated capture, or messages from the dictionary."""
    chance = random.Random(seed)
    kind = chance.random()
    if kind < 0.05:
        return chance.randbytes(chance.randrange(200))
    if kind < 0.1:
        return HANDSHAKE[: chance.randrange(len(HANDSHAKE))] + chance.randbytes(chance.randrange(2000))
    if kind < 0.2:
        return HANDSHAKE + chance.randbytes(chance.randrange(500))
    data = chance.choice(corpus) if kind < 0.6 else b"".join(_messages(chance))
    data = data[: MAX_CASE_BYTES if chance.random() < 0.1 else USUAL_CASE_BYTES]
    return HANDSHAKE + (_mutated(data, chance) if chance.random() < 0.8 else data)


def _mutated(data: bytes, chance: random.Random) -> bytes:
    changed = bytearray(data)
    for _ in range(chance.choice((1, 1, 2, 5, 20))):
        if not changed:
            break
        at = chance.randrange(len(changed))
        match chance.randrange(5):
            case 0:
                changed[at] ^= 1 << chance.randrange(8)
            case 1:
                changed[at] = chance.choice((0, 1, 2, 3, 0x7F, 0x80, 0xC0, 0xFF))
            case 2:
                del changed[at : at + chance.randrange(1, 9)]
            case 3:
                changed[at:at] = chance.randbytes(chance.randrange(1, 9))
            case _:
                end = at + chance.randrange(1, 200)
                changed[at:at] = changed[at:end]
    return bytes(changed[:MAX_CASE_BYTES])


def _messages(chance: random.Random) -> Iterable[bytes]:
    if chance.random() < 0.9:
        yield pack(3, 0, 20, 0, amf0.encode("connect", 1.0, {"app": "live"}))
    for _ in range(chance.randrange(12)):
        match chance.randrange(6):
            case 0 | 1:
                name, count = chance.choice(_NAMES), chance.randrange(4)
                values = [chance.choice(_VALUES) for _ in range(count)]
                body = amf0.encode(name, chance.choice((0.0, 1.0, 5.0)), None, *values)
                yield pack(3, 0, chance.choice((20, 20, 17)), chance.randrange(3), body)
            case 2:
                kind, body = chance.choice((1, 2, 3, 4, 5, 6)), chance.randbytes(chance.choice((2, 4, 6, 10)))
                yield pack(2, 0, kind, 0, body)
            case 3:
                number = chance.choice((1, 2, 128, 200, 4096, 0x7FFFFFFF)).to_bytes(4, "big")
                yield pack(2, 0, chance.choice((1, 2, 5)), 0, number)
            case 4:
                kind = chance.choice((8, 9, 15, 18, 22))
                time = chance.choice((0, 1, 0xFFFFFF, 0xFFFFFFFF))
                yield pack(
                    chance.choice((4, 70, 400)), time, kind, 1, chance.randbytes(chance.randrange(400))
                )
            case _:
                yield basic_header(chance.randrange(4), chance.choice((2, 3, 4, 6, 70, 400)))
    yield messages.user_control(messages.PING_REQUEST, 1)

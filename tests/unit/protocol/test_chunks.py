from __future__ import annotations

import hashlib
import itertools
import pickle
import random
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtmpsrv.errors import LocalProtocolError, RemoteProtocolError
from rtmpsrv.protocol.chunks import (
    BULK_CHUNKS,
    CHUNKS_PER_UNIT,
    MAX_CHUNK_STREAMS,
    MAX_MESSAGE_LENGTH,
    ChunkReader,
    Limits,
    basic_header,
    pack,
)
from tests.client import chunks_of
from tests.vectors import load, name_of

VECTORS = load("chunk")
DECIDABLE = [vector for vector in VECTORS["read"] if not vector.get("ambiguous")]
CAPTURES = load("captures")["captures"]
HANDSHAKE_BYTES = 3073  # C0, C1, C2

Message = tuple[int, int, int, bytes, int]


def pieces(data: bytes, size: int) -> Iterator[bytes]:
    for start in range(0, len(data), size):
        yield data[start : start + size]


def read(reader: ChunkReader, data: bytes, size: int | None = None) -> list[Message]:
    """Feed `data` whole or in pieces; what the reader holds must make sense all the time."""
    messages: list[Message] = []
    for piece in pieces(data, size or len(data) or 1):
        messages += reader.feed(piece)
        check_invariants(reader)
    return messages


def check_invariants(reader: ChunkReader) -> None:
    partials = [(s.partial, s.length) for s in reader.streams.values() if s.partial is not None]
    assert all(0 <= len(partial) <= length for partial, length in partials)
    assert reader.partial_bytes == sum(len(partial) for partial, _ in partials)
    assert reader.partial_bytes <= reader.limits.partial_bytes
    assert len(reader.streams) <= MAX_CHUNK_STREAMS
    assert len(reader.tail) < 18  # the longest header


def check_messages(messages: list[Message], expected: list[dict[str, Any]]) -> None:
    assert [
        (type_id, timestamp, msid, len(payload), hashlib.sha256(payload).hexdigest(), csid)
        for type_id, timestamp, msid, payload, csid in messages
    ] == [(e["type"], e["timestamp"], e["msid"], e["length"], e["sha256"], e["csid"]) for e in expected]


# --- vectors --------------------------------------------------------------------------------------


@pytest.mark.parametrize("vector", VECTORS["basic_header"], ids=lambda v: f"{v['fmt']}-{v['csid']}")
def test_basic_header_has_its_shortest_form(vector: dict[str, Any]) -> None:
    if "canonical_hex" in vector:
        assert basic_header(vector["fmt"], vector["csid"]).hex() == vector["canonical_hex"]


@pytest.mark.parametrize("vector", VECTORS["basic_header"], ids=lambda v: f"{v['fmt']}-{v['csid']}")
def test_basic_header_is_read_in_both_forms(vector: dict[str, Any]) -> None:
    header = bytes.fromhex(vector.get("canonical_hex") or vector["alt_hex"])
    csid, fmt = vector["csid"], vector["fmt"]
    rest = bytes(3) + b"\0\0\1" + b"\x09" + bytes(4) + b"x"
    data = header + rest if fmt == 0 else basic_header(0, csid) + rest + header + b"x"
    messages = ChunkReader().feed(data)
    assert [message[4] for message in messages] == [csid] * (1 if fmt == 0 else 2)


@pytest.mark.parametrize("csid", [-1, 0, 1, 65600])
def test_chunk_stream_ids_that_do_not_exist_are_our_bug(csid: int) -> None:
    with pytest.raises(LocalProtocolError):
        basic_header(0, csid)


@pytest.mark.parametrize("size", [None, 1, 7], ids=["whole", "byte_by_byte", "pieces_of_7"])
@pytest.mark.parametrize("vector", DECIDABLE, ids=name_of)
def test_vector_is_read(vector: dict[str, Any], size: int | None) -> None:
    reader = ChunkReader(chunk_size=vector["chunk_size"])
    check_messages(read(reader, bytes.fromhex(vector["bytes"]), size), vector["messages"])


def test_undecidable_vectors_raise_nothing_but_protocol_errors() -> None:
    for vector in VECTORS["read"]:
        if vector.get("ambiguous"):
            reader = ChunkReader(chunk_size=vector["chunk_size"])
            try:
                read(reader, bytes.fromhex(vector["bytes"]), 1)
            except RemoteProtocolError:
                continue


@pytest.mark.parametrize("vector", VECTORS["write"], ids=name_of)
def test_vector_is_written(vector: dict[str, Any]) -> None:
    payload = bytes.fromhex(vector["payload"])
    data = pack(
        vector["csid"], vector["timestamp"], vector["type"], vector["msid"], payload, vector["chunk_size"]
    )
    assert data.hex() == vector["bytes"]


ERRORS = {vector["name"]: bytes.fromhex(vector["bytes"]) for vector in VECTORS["errors"]}
TOLERATED = {"unknown_message_type", "length_16MiB_minus_1_header_only"}


@pytest.mark.parametrize("size", [None, 1])
@pytest.mark.parametrize("name", sorted(ERRORS.keys() - TOLERATED))
def test_malformed_chunks_are_refused(name: str, size: int | None) -> None:
    with pytest.raises(RemoteProtocolError):
        read(ChunkReader(), ERRORS[name], size)


def test_unknown_message_type_is_delivered_for_others_to_judge() -> None:
    assert [m[0] for m in ChunkReader().feed(ERRORS["unknown_message_type"])] == [99, 20]


def test_unknown_message_type_is_refused_above_the_last_allowed() -> None:
    with pytest.raises(RemoteProtocolError, match="message type 99, limit 22"):
        ChunkReader(last_message_type=22).feed(ERRORS["unknown_message_type"])


def test_announced_length_allocates_nothing() -> None:
    reader = ChunkReader()
    assert reader.feed(ERRORS["length_16MiB_minus_1_header_only"]) == []
    assert reader.partial_bytes == 0


# --- captures of real clients ---------------------------------------------------------------------


def capture_bytes(capture: dict[str, Any]) -> bytes:
    return bytes.fromhex(capture["client_to_server_hex"])[HANDSHAKE_BYTES:]


@pytest.mark.parametrize("size", [None, 1, 7], ids=["whole", "byte_by_byte", "pieces_of_7"])
@pytest.mark.parametrize("capture", CAPTURES, ids=name_of)
def test_capture_is_read(capture: dict[str, Any], size: int | None) -> None:
    check_messages(read(ChunkReader(), capture_bytes(capture), size), capture["messages"])


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("capture", CAPTURES, ids=name_of)
def test_capture_is_read_at_random_cuts(capture: dict[str, Any], seed: int) -> None:
    data = capture_bytes(capture)
    random_source = random.Random(seed)
    cuts = sorted(random_source.sample(range(len(data)), 20))
    reader, messages = ChunkReader(), []
    for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True):
        messages += reader.feed(data[start:end])
        check_invariants(reader)
    check_messages(messages, capture["messages"])


# --- the extended timestamp -----------------------------------------------------------------------


def extended_message(joint_field: bytes, timestamp: int = 0x1000000, first: int = 7) -> bytes:
    payload = bytes((first,)) * 300
    parts = chunks_of(6, timestamp, 9, 1, payload)
    return parts[0] + b"".join(b"\xc6" + joint_field + part[5:] for part in parts[1:])


def test_a_peer_that_repeated_the_timestamp_is_not_judged_anew() -> None:
    repeated = (0x1000000).to_bytes(4, "big")
    reader = ChunkReader()
    data = extended_message(repeated) + extended_message(repeated) + extended_message(repeated, first=0)
    assert [m[3] for m in read(reader, data)] == [b"\7" * 300, b"\7" * 300, bytes(300)]


def test_a_peer_that_left_the_timestamp_out_is_not_judged_anew() -> None:
    data = extended_message(b"") + extended_message(b"", timestamp=0x07070707)
    for size in (None, 1, 5):
        assert [m[3] for m in read(ChunkReader(), data, size)] == [b"\7" * 300] * 2


def test_zeros_in_place_of_the_timestamp_are_read_to_the_end() -> None:
    data = extended_message(bytes(4)) * 3
    for size in (None, 1, 5):
        assert [m[3] for m in read(ChunkReader(), data, size)] == [b"\7" * 300] * 3


def test_timestamp_left_out_by_a_peer_that_wrote_zeros_is_payload() -> None:
    data = extended_message(bytes(4)) + extended_message(b"")
    for size in (None, 1, 5):
        assert [m[3] for m in read(ChunkReader(), data, size)] == [b"\7" * 300] * 2


# --- limits ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("type_id", [8, 9, 22])
def test_media_is_refused_one_byte_past_its_limit(type_id: int) -> None:
    limits = Limits(media_bytes=1000, command_bytes=10)
    assert len(ChunkReader(limits=limits).feed(pack(6, 0, type_id, 1, bytes(1000)))) == 1
    with pytest.raises(RemoteProtocolError, match="1001 bytes, limit 1000"):
        ChunkReader(limits=limits).feed(pack(6, 0, type_id, 1, bytes(1001)))


@pytest.mark.parametrize("type_id", [15, 17, 18, 20])
def test_commands_are_refused_one_byte_past_their_limit(type_id: int) -> None:
    limits = Limits(media_bytes=10, command_bytes=1000)
    assert len(ChunkReader(limits=limits).feed(pack(3, 0, type_id, 0, bytes(1000)))) == 1
    with pytest.raises(RemoteProtocolError, match="1001 bytes, limit 1000"):
        ChunkReader(limits=limits).feed(pack(3, 0, type_id, 0, bytes(1001)))


@pytest.mark.parametrize("type_id", [3, 4, 5, 6])
def test_control_messages_are_short(type_id: int) -> None:
    assert len(ChunkReader().feed(pack(2, 0, type_id, 0, bytes(64)))) == 1
    with pytest.raises(RemoteProtocolError, match="65 bytes, limit 64"):
        ChunkReader().feed(pack(2, 0, type_id, 0, bytes(65)))


@pytest.mark.parametrize("chunk_size", [128, 4096])
def test_message_over_the_limit_behind_another_is_judged_when_that_one_was_acted_on(chunk_size: int) -> None:
    reader = ChunkReader(chunk_size=chunk_size, limits=Limits(media_bytes=200))
    data = pack(3, 0, 20, 0, b"publish", chunk_size) + pack(6, 7, 9, 1, bytes(300), chunk_size)
    assert reader.read(data) == [(20, 0, 0, b"publish", 3)]
    assert not reader.starved
    refusing = pickle.loads(pickle.dumps(reader))
    with pytest.raises(RemoteProtocolError, match="300 bytes, limit 200"):
        refusing.read(b"")
    reader.limits = Limits(media_bytes=300)
    assert reader.read(b"") == [(9, 7, 1, bytes(300), 6)]
    assert reader.starved


def test_limit_holds_for_a_length_that_a_type_3_chunk_repeats() -> None:
    reader = ChunkReader(limits=Limits(media_bytes=100))
    reader.feed(pack(6, 0, 9, 1, bytes(100)))
    reader.limits = Limits(media_bytes=99)
    with pytest.raises(RemoteProtocolError, match="100 bytes, limit 99"):
        reader.feed(b"\xc6" + bytes(100))


def test_unfinished_messages_are_refused_one_byte_past_their_limit() -> None:
    reader = ChunkReader(limits=Limits(partial_bytes=256))
    reader.feed(chunks_of(4, 0, 9, 1, bytes(1000))[0])
    reader.feed(chunks_of(5, 0, 9, 1, bytes(1000))[0])
    assert reader.partial_bytes == 256
    with pytest.raises(RemoteProtocolError, match="257 bytes in unfinished messages, limit 256"):
        reader.feed(chunks_of(6, 0, 9, 1, bytes(1000))[0][:13])


def test_unfinished_chunk_streams_are_refused_one_past_their_limit() -> None:
    reader = ChunkReader()
    for csid in range(2, 2 + MAX_CHUNK_STREAMS):
        reader.feed(chunks_of(csid, 0, 9, 1, bytes(200))[0])
    with pytest.raises(RemoteProtocolError, match="one more than the limit"):
        reader.feed(pack(2 + MAX_CHUNK_STREAMS, 0, 9, 1, b"x"))


@pytest.mark.parametrize("size", [None, 1])
def test_the_longest_idle_chunk_stream_makes_room(size: int | None) -> None:
    last = 2 + MAX_CHUNK_STREAMS
    again = bytes((0xC0 | 2,)) + b"y"  # type 3: goes on as before
    data = b"".join(pack(csid, 5, 9, 1, b"x") for csid in range(2, last)) + again
    reader = ChunkReader()
    messages = read(reader, data + pack(last, 0, 9, 1, b"x") + again, size)
    assert [message[3] for message in messages[-3:]] == [b"y", b"x", b"y"]
    assert set(reader.streams) == {2, *range(4, last + 1)}


def continued(fmt: int, stamp: bytes, msid: int = 1, extended: bytes = b"") -> bytes:
    """Return a message of 300 bytes whose later chunks have headers of a type."""
    payload = bytes(range(150)) * 2
    fields = (b"\0\1\x2c\x09" + msid.to_bytes(4, "little"))[: (8, 4, 0)[fmt]]
    header = basic_header(fmt, 6) + stamp + fields + extended
    first = chunks_of(6, 40, 9, 1, payload)[0]
    return first + header + payload[128:256] + header + payload[256:]


@pytest.mark.parametrize("size", [None, 1])
@pytest.mark.parametrize("fmt", [0, 1, 2])
@pytest.mark.parametrize(("stamp", "extended"), [("000000", ""), ("000028", ""), ("ffffff", "01000000")])
def test_message_goes_on_in_chunks_with_its_own_header(
    fmt: int, stamp: str, extended: str, size: int | None
) -> None:
    data = continued(fmt, bytes.fromhex(stamp), extended=bytes.fromhex(extended))
    reader = ChunkReader()
    following = pack(6, 80, 9, 1, b"next")
    assert read(reader, data + following, size) == [
        (9, 40, 1, bytes(range(150)) * 2, 6),
        (9, 80, 1, b"next", 6),
    ]


def test_header_inside_a_message_changes_no_delta() -> None:
    reader = ChunkReader()
    read(reader, pack(6, 0, 9, 1, b"first") + b"\x46\0\0\x28\0\0\xc8\x09" + bytes(128))
    read(reader, b"\x86\0\0\0" + bytes(72))
    assert read(reader, b"\xc6" + bytes(128) + b"\xc6" + bytes(72)) == [(9, 80, 1, bytes(200), 6)]


def test_message_of_another_message_stream_inside_a_message_is_refused() -> None:
    with pytest.raises(RemoteProtocolError, match="a message begins inside another"):
        read(ChunkReader(), continued(0, bytes(3), msid=2))


def test_message_longer_than_its_field_is_our_bug() -> None:
    assert len(pack(6, 0, 9, 1, bytes(MAX_MESSAGE_LENGTH), 1 << 24)) == 12 + MAX_MESSAGE_LENGTH
    with pytest.raises(LocalProtocolError):
        pack(6, 0, 9, 1, bytes(MAX_MESSAGE_LENGTH + 1))


# --- reading in pieces ----------------------------------------------------------------------------


def test_a_run_has_so_many_messages_at_most() -> None:
    reader = ChunkReader()
    data = pack(6, 0, 9, 1, b"v") * 5 + pack(6, 0, 9, 1, b"w" * 300)
    assert [len(reader.read(data, 2)), reader.cost, reader.starved] == [2, 2, False]
    assert [len(reader.read(b"", 3)), reader.cost, reader.starved] == [3, 3, False]
    assert [len(reader.read(b"", 1)), reader.cost, reader.starved] == [1, 1, True]
    assert (reader.read(b""), reader.cost, reader.tail) == ([], 0, b"")


@pytest.mark.parametrize("length", [10, 300])
@pytest.mark.parametrize("type_id", [3, 4, 15, 17, 18, 20, 22, 99])
def test_a_run_ends_behind_what_is_neither_audio_nor_video(type_id: int, length: int) -> None:
    length = min(length, 64) if type_id < 8 else length
    data = pack(4, 0, 8, 1, b"a") + pack(3, 0, type_id, 1, bytes(length)) + pack(6, 0, 9, 1, b"v")
    reader = ChunkReader()
    assert [message[0] for message in reader.read(data)] == [8, type_id]
    assert [message[0] for message in reader.read(b"")] == [9]


def test_bytes_that_come_while_others_wait_are_read_behind_them() -> None:
    reader = ChunkReader()
    reader.read(pack(6, 0, 9, 1, b"u") * 3 + pack(6, 0, 9, 1, b"v")[:5], 1)
    messages = reader.read(pack(6, 0, 9, 1, b"v")[5:])
    assert [message[3] for message in messages] == [b"u", b"u", b"v"]


def test_many_small_chunks_cost_as_much_as_messages() -> None:
    reader = ChunkReader(chunk_size=1)
    payload = bytes(range(200))
    assert [len(reader.read(pack(70, 0, 9, 1, payload, 1))), reader.cost] == [1, 1 + 200 // CHUNKS_PER_UNIT]


def test_small_chunks_of_one_call_are_bounded() -> None:
    reader = ChunkReader(chunk_size=1)
    data = pack(70, 0, 9, 1, bytes(3 * CHUNKS_PER_UNIT), 1)
    assert [reader.read(data, 1), reader.partial_bytes, reader.starved] == [[], CHUNKS_PER_UNIT, False]
    assert [reader.read(b"", 1), reader.partial_bytes, reader.starved] == [[], 2 * CHUNKS_PER_UNIT, False]
    assert len(reader.read(b"", 1)) == 1


def test_long_runs_of_small_chunks_are_read_in_steps() -> None:
    payload = random.Random(1).randbytes(2 * BULK_CHUNKS + 10)
    reader = ChunkReader(chunk_size=1)
    assert reader.feed(pack(6, 0, 9, 1, payload, 1)) == [(9, 0, 1, payload, 6)]
    assert reader.cost == 1


# --- control messages that the reader obeys -------------------------------------------------------


@pytest.mark.parametrize(("size", "accepted"), [(0, False), (1, True), (0x7FFFFFFF, True), (1 << 31, False)])
def test_chunk_size_has_limits(size: int, accepted: bool) -> None:
    reader = ChunkReader()
    data = pack(2, 0, 1, 0, size.to_bytes(4, "big"))
    if accepted:
        reader.feed(data)
        assert reader.chunk_size == size
    else:
        with pytest.raises(RemoteProtocolError, match="chunk size"):
            reader.feed(data)


def test_abort_frees_what_was_read_of_the_message() -> None:
    reader = ChunkReader()
    first, *_ = chunks_of(6, 5, 9, 1, bytes(300))
    reader.feed(first + pack(2, 0, 2, 0, (6).to_bytes(4, "big")))
    assert reader.partial_bytes == 0
    assert [m[3] for m in reader.feed(pack(6, 9, 9, 1, b"new"))] == [b"new"]


def test_abort_without_a_whole_body_is_refused() -> None:
    with pytest.raises(RemoteProtocolError, match="needs 4"):
        ChunkReader().feed(pack(2, 0, 2, 0, b"\0\0\0"))


def test_message_type_0_means_nothing_and_harms_nothing() -> None:
    assert [m[0] for m in ChunkReader().feed(pack(3, 0, 0, 0, b"") + pack(3, 0, 20, 0, b"x"))] == [0, 20]


# --- runs of small chunks, read in bulk -----------------------------------------------------------


@pytest.mark.parametrize("length", [1, 127, 128, 129, 255, 256, 257, 640, 1000, 1280])
@pytest.mark.parametrize("csid", [6, 70, 400])
def test_runs_of_small_chunks_are_read(length: int, csid: int) -> None:
    payload = random.Random(length).randbytes(length)
    data = pack(csid, 40, 9, 1, payload) + pack(csid, 80, 9, 1, payload[::-1])
    for size in (None, 1, 129, 130, 300):
        assert read(ChunkReader(), data, size) == [(9, 40, 1, payload, csid), (9, 80, 1, payload[::-1], csid)]


def test_run_ends_where_another_stream_interleaves() -> None:
    video = chunks_of(6, 0, 9, 1, b"v" * 1000)
    audio = pack(4, 0, 8, 1, b"a" * 90)
    for at in range(1, len(video)):
        data = b"".join(video[:at]) + audio + b"".join(video[at:])
        assert {m[0]: m[3] for m in read(ChunkReader(), data)} == {8: b"a" * 90, 9: b"v" * 1000}


# --- any messages, at any chunk size, cut anywhere ------------------------------------------------

MESSAGES = st.lists(
    st.tuples(
        st.sampled_from((8, 9, 15, 18, 20)),
        st.sampled_from((0, 1, 0xFFFFFE, 0xFFFFFF, 0x1000000, 0xFFFFFFFF)) | st.integers(0, 0xFFFFFFFF),
        st.integers(0, 0xFFFFFFFF),
        st.binary(max_size=400),
        st.sampled_from((2, 3, 4, 63, 64, 319, 320, 65599)),
    ),
    max_size=12,
)
CHUNK_SIZES = st.sampled_from((1, 2, 3, 7, 127, 128, 129, 4096))


def cut(data: bytes, cuts: list[int]) -> Iterator[bytes]:
    edges = [0, *sorted(c % (len(data) + 1) for c in cuts), len(data)]
    for start, end in itertools.pairwise(edges):
        yield data[start:end]


def feed_cut(data: bytes, cuts: list[int], reader: ChunkReader) -> list[Message]:
    messages: list[Message] = []
    for piece in cut(data, cuts):
        messages += reader.feed(piece)
        check_invariants(reader)
    return messages


@given(MESSAGES, CHUNK_SIZES, st.lists(st.integers(0, 1 << 16), max_size=20))
def test_any_messages_come_back_equal(messages: list[Message], chunk_size: int, cuts: list[int]) -> None:
    data = b"".join(pack(csid, ts, kind, msid, body, chunk_size) for kind, ts, msid, body, csid in messages)
    assert feed_cut(data, cuts, ChunkReader(chunk_size)) == messages


@given(MESSAGES, CHUNK_SIZES, st.lists(st.integers(0, 1 << 16), max_size=20), st.randoms())
def test_any_interleaved_messages_come_back_in_order_of_completion(
    messages: list[Message], chunk_size: int, cuts: list[int], chance: random.Random
) -> None:
    # One queue of chunks per chunk stream: within one, messages follow each other.
    queues: dict[int, list[tuple[bytes, Message | None]]] = {}
    for message in messages:
        kind, timestamp, msid, payload, csid = message
        chunks = chunks_of(csid, timestamp, kind, msid, payload, chunk_size)
        done: list[Message | None] = [None] * (len(chunks) - 1) + [message]
        queues.setdefault(csid, []).extend(zip(chunks, done, strict=True))
    data, expected = b"", []
    while queues:
        csid = chance.choice(sorted(queues))
        chunk, completed = queues[csid].pop(0)
        data += chunk
        if completed is not None:
            expected.append(completed)
        if not queues[csid]:
            del queues[csid]
    assert feed_cut(data, cuts, ChunkReader(chunk_size)) == expected


def test_reader_goes_on_after_a_pickle_between_any_two_bytes() -> None:
    data = b"".join(
        (pack(70, 0x1000000, 9, 1, bytes(300)), pack(4, 1, 8, 1, b"abc"), pack(6, 2, 9, 1, b"v" * 300))
    )
    expected = ChunkReader().feed(data)
    reader, messages = ChunkReader(), []
    for piece in pieces(data, 1):
        messages += reader.feed(piece)
        reader = pickle.loads(pickle.dumps(reader))
    assert messages == expected

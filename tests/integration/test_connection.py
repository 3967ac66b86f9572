"""From accept to chunks, against a running server. Numbers in names: docs/compliance.md."""

from __future__ import annotations

import hmac
import os
from collections.abc import Iterator
from itertools import count, pairwise, zip_longest
from time import monotonic

import pytest

from rtmpsrv.protocol import amf0, messages
from rtmpsrv.protocol.chunks import pack
from rtmpsrv.protocol.handshake import HANDSHAKE_SIZE
from tests.client import (
    Client,
    Closed,
    Stage,
    audio,
    chunks_of,
    describe,
    interframe,
    keyframe,
    media_of,
    names_of,
    stage,
)  # fmt: skip
from tests.server_process import ServerProcess

CLIENT_PHRASE = b"Genuine Adobe Flash Player 001"
SERVER_PHRASE = b"Genuine Adobe Flash Media Server 001"
PHRASE_TAIL = bytes.fromhex("f0eec24a8068bee82e00d0d1029e7e576eec5d2d29806fab93b8e636cfeb31ae")

_numbers = count(1)


@pytest.fixture(scope="module")
def server() -> Iterator[ServerProcess]:
    with ServerProcess(CONCURRENT_LIMIT_WHITELIST="*") as running:
        yield running
        running.check_log()


@pytest.fixture
def on(server: ServerProcess) -> Iterator[Stage]:
    with stage(server.port) as opened:
        yield opened


@pytest.fixture
def channel() -> str:
    return f"channel{next(_numbers)}"


# --- handshake ------------------------------------------------------------------------------------------


def test_s18_the_simple_handshake_answers_3073_bytes_with_an_echo_of_c1(on: Stage) -> None:
    c1 = bytes(8) + os.urandom(HANDSHAKE_SIZE - 8)
    s1, s2 = on.client().shake_hands(c1)
    assert s2 == c1
    assert s1[4:8] == bytes(4)
    assert s1[8:] != c1[8:]  # random, not the copy that the reference sends


def _signed(packet: bytes, base: int, phrase: bytes) -> tuple[int, bytes]:
    """Return where the digest belongs in a C1 or S1, and the right one."""
    at = sum(packet[base - 4 : base]) % 728 + base
    return at, hmac.digest(phrase, packet[:at] + packet[at + 32 :], "sha256")


@pytest.mark.parametrize("base", [pytest.param(12, id="scheme 0"), pytest.param(776, id="scheme 1")])
def test_s19_s20_a_signed_c1_is_answered_by_signatures_of_its_scheme(on: Stage, base: int) -> None:
    c1 = bytes(4) + b"\x80\x00\x07\x02" + os.urandom(HANDSHAKE_SIZE - 8)
    at, digest = _signed(c1, base, CLIENT_PHRASE)
    c1 = c1[:at] + digest + c1[at + 32 :]
    s1, s2 = on.client().shake_hands(c1)
    assert s1[4:8] == bytes((1, 2, 3, 4))
    at, right = _signed(s1, base, SERVER_PHRASE)
    assert s1[at : at + 32] == right
    key = hmac.digest(SERVER_PHRASE + PHRASE_TAIL, digest, "sha256")
    assert s2[-32:] == hmac.digest(key, s2[:-32], "sha256")


def test_s21_another_version_than_3_is_closed(on: Stage, server: ServerProcess) -> None:
    since = server.mark()
    client = on.client()
    client.send(b"\x06" + bytes(HANDSHAKE_SIZE))
    with pytest.raises(Closed):
        client.receive(1)
    server.wait_for_line("closed: protocol error: handshake version 6", since)


# --- slots ----------------------------------------------------------------------------------------------


def test_s22_the_fifth_connection_of_an_address_is_closed_without_data() -> None:
    with ServerProcess() as server, stage(server.port) as on:
        first, *_others = clients = [on.client() for _ in range(4)]
        for client in clients:
            client.send(b"\x03")
        server.wait_for_line("Connection accepted from 127.0.0.1", count=4)
        with pytest.raises(Closed):
            on.client().receive(1)
        first.close()
        server.wait_for_line(r"\[#1\] \[INFO\] closed: closed by the peer")
        on.client().connect("app")
        refusals = server.matching(
            r"Rejected request from 127.0.0.1 due to connection limit: .*\(MAX_IP_CONCURRENT_CONNECTIONS, "
        )
        assert len(refusals) == 1
        assert "[SERVER:TCP] [INFO]" in refusals[0]
        server.check_log()


def test_s23_addresses_of_the_whitelist_have_no_limit(on: Stage) -> None:
    for client in [on.client() for _ in range(10)]:
        client.shake_hands()


def test_s24_failed_handshakes_give_their_slots_back() -> None:
    with ServerProcess() as server:
        for number in range(1, 11):
            with Client(server.port) as client:
                client.send(b"\x16\x03\x01")  # how TLS begins
                with pytest.raises(Closed):
                    client.receive(1)
            server.wait_for_line(rf"\[#{number}\] .*closed: protocol error: handshake version 22")
        with Client(server.port) as client:
            client.connect("app")


# --- time -----------------------------------------------------------------------------------------------


def test_s25_a_silent_client_is_closed_at_any_stage() -> None:
    with ServerProcess(IDLE_TIMEOUT_SECONDS="1", CONCURRENT_LIMIT_WHITELIST="*") as server:
        with stage(server.port) as on:
            stages = [on.client() for _ in range(6)]
            began = monotonic()
            _, in_handshake, shaken, connected, publishing, waiting = stages
            in_handshake.send(b"\x03" + bytes(700))
            shaken.shake_hands()
            connected.connect("app")
            publishing.publish("app1")
            waiting.play("app2")
            for client in stages:
                assert client.expect_closed() == []
            assert 0.9 < monotonic() - began < 4
        lines = server.wait_for_line("closed: sent nothing for 1 s", count=6)
        assert len(lines) == 6


def test_s26_s27_pings_come_after_connect_and_only_then() -> None:
    with (
        ServerProcess(PING_INTERVAL_SECONDS="1", IDLE_TIMEOUT_SECONDS="20") as server,
        stage(server.port) as on,
    ):
        mute = on.client()
        mute.shake_hands()
        client = on.client().connect("app")
        connected_at = monotonic()
        pings = [client.read() for _ in range(2)]
        assert 1.8 < monotonic() - connected_at < 3.5
        for ping, at_ms in zip(pings, (1000, 2000), strict=True):
            assert describe(ping) == "Ping"
            assert (ping.csid, ping.msid, len(ping.payload)) == (2, 0, 6)
            stamp = int.from_bytes(ping.payload[2:], "big")
            assert at_ms - 100 <= stamp < at_ms + 900
            assert ping.timestamp == stamp
        assert mute.fence() == []


# --- chunks ---------------------------------------------------------------------------------------------


def test_s28_acknowledgements_carry_the_running_count(on: Stage, channel: str) -> None:
    client = on.client().publish(channel)
    client.send(messages.window_ack_size(10000))
    for number in range(20):
        client.audio(number, audio(bytes(2000)))
        # Each answered, so that the server cannot read more than this before it counts.
        client.waiting.extend(client.fence())
    acknowledged = [
        int.from_bytes(one.payload, "big") for one in client.waiting if describe(one) == "Acknowledgement"
    ]
    assert acknowledged == sorted(set(acknowledged))
    assert client.written - 10000 < acknowledged[-1] <= client.written
    assert len(acknowledged) >= client.written // 10000
    steps = [b - a for a, b in pairwise(acknowledged)]
    assert all(5000 <= step <= 10000 + 2100 for step in steps), steps


@pytest.mark.parametrize("size", [1, 127, 128, 4096, 65536, 65537, 0x7FFFFFFF])
def test_s29_chunk_sizes_up_to_31_bits_are_used_for_what_follows(on: Stage, size: int) -> None:
    client = on.client()
    client.shake_hands()
    client.send(messages.set_chunk_size(size))
    payload = amf0.encode("createStream", 1.0, None, "x" * 300)
    client.send(pack(3, 0, messages.COMMAND_AMF0, 0, payload, size))
    client.send(pack(2, 0, messages.USER_CONTROL, 0, b"\x00\x06test", size))
    assert client.expect_command("_result") == [1.0, None, 1.0]
    assert client.read().payload == b"\x00\x07test"


@pytest.mark.parametrize("size", [0, 0x80000080])
def test_s29_other_chunk_sizes_close(on: Stage, server: ServerProcess, size: int) -> None:
    since = server.mark()
    client = on.client()
    client.shake_hands()
    client.send(messages.set_chunk_size(size))
    assert client.expect_closed() == []
    server.wait_for_line(rf"closed: protocol error: chunk size {size}, limits 1 to 2147483647", since)


def test_s30_message_type_23_closes(on: Stage, server: ServerProcess) -> None:
    since = server.mark()
    client = on.client()
    client.shake_hands()
    client.message(22, b"")
    client.fence()
    client.message(23, b"x")
    assert client.expect_closed() == []
    server.wait_for_line("closed: protocol error: message type 23, limit 22", since)


@pytest.mark.parametrize(
    "csids",
    [
        pytest.param([*range(10, 18)], id="s31 eight"),
        pytest.param([64, 319, 320, 65599], id="s32 long ids"),
        pytest.param([5, 69, 64 + 5 * 256, 69 + 256], id="s32 ids that share bytes"),
    ],
)
def test_s31_s32_interleaved_chunk_streams_are_reassembled(on: Stage, channel: str, csids: list[int]) -> None:
    publisher = on.publisher(channel, headers=False)
    player = on.player(channel)
    on.passed(publisher, player)
    sent = {
        csid: audio(f"{csid} ".encode() + bytes((csid & 255,)) * (300 + 100 * i))
        for i, csid in enumerate(csids)
    }
    streams = [chunks_of(csid, csid, messages.AUDIO, 1, payload) for csid, payload in sent.items()]
    publisher.send(b"".join(chunk for turn in zip_longest(*streams, fillvalue=b"") for chunk in turn))
    received = media_of(on.passed(publisher, player))
    assert {one.timestamp: one.payload for one in received} == sent
    assert len(received) == len(sent)


@pytest.mark.parametrize("timestamp", [0xFFFFFE, 0xFFFFFF, 0x1000000, 0xFFFFFFFF])
def test_s33_extended_timestamps_keep_payloads_in_sync(on: Stage, channel: str, timestamp: int) -> None:
    publisher = on.publisher(channel, headers=False)
    player = on.player(channel)
    on.passed(publisher, player)
    payload = keyframe(os.urandom(10000))  # many type 3 chunks on both ways
    publisher.video(timestamp, payload)
    (received,) = media_of(on.passed(publisher, player))
    assert (received.timestamp, received.payload) == (timestamp, payload)


def test_s34_messages_inside_each_other_keep_their_own_timestamps(on: Stage, channel: str) -> None:
    publisher = on.publisher(channel, headers=False)
    player = on.player(channel)
    on.passed(publisher, player)
    first, *rest = chunks_of(6, 1000, messages.VIDEO, 1, keyframe(b"v" * 400))
    publisher.send(first + b"".join(chunks_of(4, 1023, messages.AUDIO, 1, audio(b"a"))) + b"".join(rest))
    received = media_of(on.passed(publisher, player))
    assert [(one.type_id, one.timestamp) for one in received] == [(8, 1023), (9, 1000)]


def test_s35_deeply_nested_amf_closes_that_connection_only(on: Stage, server: ServerProcess) -> None:
    since = server.mark()
    other = on.client().connect("app")
    client = on.client()
    client.shake_hands()
    payload = amf0.encode("connect", 1.0) + b"\x03\x00\x01a" * 3000
    client.message(messages.COMMAND_AMF0, payload)
    assert client.expect_closed() == []
    server.wait_for_line("closed: protocol error: .*limit 64", since)
    other.fence()


def test_s35_a_nesting_of_100000_is_refused_by_its_length(on: Stage, server: ServerProcess) -> None:
    since = server.mark()
    client = on.client()
    client.shake_hands()
    payload = amf0.encode("connect", 1.0) + b"\x03\x00\x01a" * 100_000
    client.send(chunks_of(3, 0, messages.COMMAND_AMF0, 0, payload)[0])
    assert client.expect_closed() == []
    server.wait_for_line(
        rf"closed: protocol error: message of type 20 and {len(payload)} bytes, limit", since
    )


def test_s36_timestamps_may_pass_two_to_the_32(on: Stage, channel: str) -> None:
    publisher = on.publisher(channel, headers=False)
    player = on.player(channel)
    on.passed(publisher, player)
    clock = (1 << 32) - 60
    publisher.video(clock, keyframe(b"0"))
    for number in range(1, 5):  # type 1 chunks: a delta of 40 ms
        body = interframe(b"%d" % number)
        publisher.send(bytes((0x46,)) + b"\0\0\x28" + len(body).to_bytes(3, "big") + b"\x09" + body)
    received = media_of(on.passed(publisher, player))
    assert [one.timestamp for one in received] == [(clock + 40 * i) % (1 << 32) for i in range(5)]
    assert names_of(received) == [f"video {i}" for i in range(5)]

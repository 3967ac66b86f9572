"""Publishers and players on channels, against a running server. Numbers in names: docs/compliance.md."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from time import monotonic

import pytest

from rtmpsrv.protocol import amf0, messages
from rtmpsrv.protocol.chunks import pack
from tests.client import (
    AAC_HEADER,
    AVC_HEADER,
    Client,
    Stage,
    audio,
    describe,
    interframe,
    keyframe,
    media_of,
    names_of,
    stage,
    values_of,
)
from tests.server_process import ServerProcess

START = ["StreamBegin", "NetStream.Play.Reset", "NetStream.Play.Start", "|RtmpSampleAccess"]
HEADERS = ["onMetaData", "audio header", "video header"]
NEW_AVC_HEADER = AVC_HEADER + b"another"
EVERYBODY = {"CONCURRENT_LIMIT_WHITELIST": "*"}
OVERHEAD = 65  # bytes that the reference counts for each cached message

_numbers = count(1)


@pytest.fixture(scope="module")
def server() -> Iterator[ServerProcess]:
    with ServerProcess(**EVERYBODY) as running:
        yield running
        running.check_log()


@pytest.fixture(scope="module")
def uncached() -> Iterator[ServerProcess]:
    with ServerProcess(GOP_CACHE_SIZE_MB="0", **EVERYBODY) as running:
        yield running
        running.check_log()


@pytest.fixture(scope="module")
def whole_streams() -> Iterator[ServerProcess]:
    with ServerProcess(GOP_CACHE_MODE="stream", GOP_CACHE_SIZE_MB="1", **EVERYBODY) as running:
        yield running
        running.check_log()


@pytest.fixture
def on(server: ServerProcess) -> Iterator[Stage]:
    with stage(server.port) as opened:
        yield opened


@pytest.fixture
def on_uncached(uncached: ServerProcess) -> Iterator[Stage]:
    with stage(uncached.port) as opened:
        yield opened


@pytest.fixture
def on_whole(whole_streams: ServerProcess) -> Iterator[Stage]:
    with stage(whole_streams.port) as opened:
        yield opened


@pytest.fixture
def channel() -> str:
    return f"channel{next(_numbers)}"


def send_gop(publisher: Client, name: str, start: int, frames: int = 3) -> None:
    """Send a keyframe, and after it an audio and a video message every 40 ms."""
    publisher.video(start, keyframe(f"{name}.0".encode()))
    for number in range(1, frames):
        publisher.audio(start + 40 * number - 5, audio(f"{name}.{number}".encode()))
        publisher.video(start + 40 * number, interframe(f"{name}.{number}".encode()))
    publisher.fence()


# --- who may play ---------------------------------------------------------------------------------------


def test_s14_without_a_whitelist_everybody_may_play_and_the_log_says_so(
    on: Stage, server: ServerProcess, channel: str
) -> None:
    publisher = on.publisher(channel)
    player = on.client(source="127.0.0.2").play(channel)
    on.passed(publisher, player)
    assert len(server.matching("Play policy: every address may play")) == 1


@pytest.mark.parametrize(
    "settings",
    [
        pytest.param({"RTMP_PLAY_WHITELIST": "127.0.0.1"}, id="ipv4"),
        pytest.param({"RTMP_PLAY_WHITELIST": "127.0.0.1", "BIND_ADDRESS": "::"}, id="mapped to ipv6"),
        pytest.param({"PLAY_ALLOWED_FROM": "127.0.0.1"}, id="s15 alias"),
    ],
)
def test_s15_s16_only_addresses_of_the_play_whitelist_may_play(settings: dict[str, str]) -> None:
    with ServerProcess(**settings) as server, stage(server.port) as on:
        assert len(server.matching("Play policy: only 127.0.0.1(/32)? may play")) == 1
        publisher = on.publisher("app")
        on.passed(publisher, on.player("app"))
        stranger = on.client(source="127.0.0.2").connect("app")
        stranger.ask_play("k")
        status = stranger.expect_status("NetStream.Play.BadName")
        assert status["description"] == "Your net address is not whitelisted for playing"
        assert status["level"] == "error"
        assert stranger.expect_closed() == []
        server.check_log()


# --- joining --------------------------------------------------------------------------------------------


def test_s55_a_joiner_gets_start_headers_cache_and_live_media_in_order(on: Stage, channel: str) -> None:
    publisher = on.publisher(channel)
    send_gop(publisher, "old", 1000)
    send_gop(publisher, "new", 2000)
    player = on.player(channel)
    publisher.video(2120, interframe(b"live"))
    received = on.passed(publisher, player)
    cached = ["video new.0", "audio new.1", "video new.1", "audio new.2", "video new.2"]
    assert names_of(received) == [*START, *HEADERS, *cached, "video live"]
    statuses = [values_of(one)[3] for one in received[1:3]]
    assert [(one["level"], one["description"]) for one in statuses] == [
        ("status", "Playing and resetting stream."),
        ("status", "Started playing stream."),
    ]
    assert values_of(received[3]) == ["|RtmpSampleAccess", False, False]
    assert [one.payload for one in received[5:7]] == [AAC_HEADER, AVC_HEADER]


def test_s55_headers_in_the_other_order_are_sent_audio_first(on: Stage, channel: str) -> None:
    publisher = on.publisher(channel, headers=False)
    publisher.video(0, AVC_HEADER)
    publisher.audio(0, AAC_HEADER)
    publisher.metadata()
    publisher.fence()
    assert names_of(on.passed(publisher, on.player(channel))) == START + HEADERS


@pytest.mark.parametrize("msid", [1, 2, 5])
def test_s56_everything_is_sent_on_the_players_message_stream(on: Stage, channel: str, msid: int) -> None:
    publisher = on.publisher(channel)
    send_gop(publisher, "a", 1000)
    player = on.client().connect(channel)
    player.ask_play("k", msid)
    player.fence()  # drops what it was sent so far
    send_gop(publisher, "b", 2000)
    received = on.passed(publisher, player)
    assert names_of(media_of(received))[-5:] == [
        "video b.0", "audio b.1", "video b.1", "audio b.2", "video b.2",
    ]  # fmt: skip
    assert {one.msid for one in received} == {msid}


def test_s56_the_start_is_sent_there_too_but_for_sample_access(on: Stage, channel: str) -> None:
    publisher = on.publisher(channel)
    send_gop(publisher, "a", 1000)
    player = on.client().connect(channel)
    player.ask_play("k", 3)
    received = on.passed(publisher, player)
    begin, sample_access = received[0], received[3]
    assert begin.payload == bytes.fromhex("0000 00000003")
    assert describe(sample_access) == "|RtmpSampleAccess"
    assert (begin.msid, sample_access.msid) == (0, 0)
    assert {one.msid for one in received if one not in (begin, sample_access)} == {3}


def test_s57_replayed_headers_have_the_time_of_the_media_and_metadata_0(on: Stage, channel: str) -> None:
    publisher = on.publisher(channel)
    publisher.audio(5000, AAC_HEADER + b"\x56")
    publisher.video(5000, NEW_AVC_HEADER)
    send_gop(publisher, "a", 5000, frames=2)
    player = on.player(channel)
    publisher.video(5080, interframe(b"live"))
    received = on.passed(publisher, player)[len(START) :]
    assert [(describe(one), one.timestamp) for one in received] == [
        ("onMetaData", 0),
        ("audio header", 5000),
        ("video header", 5000),
        ("video a.0", 5000),
        ("audio a.1", 5035),
        ("video a.1", 5040),
        ("video live", 5080),
    ]


def test_s58_cache_no_starts_video_at_the_next_keyframe(on: Stage, channel: str) -> None:
    publisher = on.publisher(channel)
    send_gop(publisher, "old", 1000)
    player = on.player(channel, "k?cache=no")
    publisher.video(1120, interframe(b"old.3"))
    publisher.audio(1125, audio(b"old.4"))
    send_gop(publisher, "new", 2000, frames=2)
    received = names_of(on.passed(publisher, player))
    assert received == [*START, *HEADERS, "audio old.4", "video new.0", "audio new.1", "video new.1"]


def test_s59_cache_clear_gives_the_whole_stream_once(on_whole: Stage, channel: str) -> None:
    publisher = on_whole.publisher(channel)
    send_gop(publisher, "1", 1000, frames=2)
    send_gop(publisher, "2", 2000, frames=2)
    first, second = (["video 1.0", "audio 1.1", "video 1.1"], ["video 2.0", "audio 2.1", "video 2.1"])

    def joiner(key: str) -> list[str]:
        received = names_of(on_whole.passed(publisher, on_whole.player(channel, key)))
        assert received[:7] == START + HEADERS
        return [name for name in received[7:] if name.startswith(("audio", "video"))]

    assert joiner("k") == second
    assert joiner("k?cache=clear") == first + second
    assert joiner("k?cache=clear") == second
    assert joiner("k") == second
    send_gop(publisher, "3", 3000, frames=1)
    assert joiner("k?cache=clear") == ["video 3.0"]


def test_s60_without_a_cache_headers_and_metadata_still_come(on_uncached: Stage, channel: str) -> None:
    publisher = on_uncached.publisher(channel)
    send_gop(publisher, "a", 1000)
    player = on_uncached.player(channel)
    assert names_of(on_uncached.passed(publisher, player)) == START + HEADERS
    publisher.video(1120, interframe(b"a.3"))
    send_gop(publisher, "b", 2000, frames=1)
    assert names_of(on_uncached.passed(publisher, player)) == ["video b.0"]


def test_s61_a_new_avc_header_empties_the_cache_and_reaches_players(on: Stage, channel: str) -> None:
    publisher = on.publisher(channel)
    watching = on.player(channel)
    on.passed(publisher, watching)
    send_gop(publisher, "old", 1000)
    on.passed(publisher, watching)
    publisher.video(2000, NEW_AVC_HEADER)
    (live,) = on.passed(publisher, watching)
    assert (live.payload, live.timestamp) == (NEW_AVC_HEADER, 2000)
    joiner = on.player(channel)
    received = on.passed(publisher, joiner)
    assert names_of(received)[:7] == START + HEADERS
    assert [one.payload for one in media_of(received)] == [AAC_HEADER, NEW_AVC_HEADER]
    send_gop(publisher, "new", 2000, frames=1)
    assert names_of(on.passed(publisher, joiner)) == ["video new.0"]


def test_s62_s63_eviction_takes_the_oldest_and_leaves_a_keyframe_first(on_whole: Stage, channel: str) -> None:
    publisher = on_whole.publisher(channel)
    for number in range(10):
        publisher.video(1000 * number, keyframe(b"%d" % number + bytes(100_000)))
        for part in range(4):
            publisher.video(1000 * number + part, interframe(b"%d.%d" % (number, part) + bytes(20_000)))
    publisher.fence()
    received = on_whole.passed(publisher, on_whole.player(channel, "k?cache=clear"))
    cached = media_of(received)[2:]
    assert sum(len(one.payload) + OVERHEAD for one in cached) <= 1 << 20
    assert len(cached) == 25  # five GOPs of 180 kB
    assert cached[0].payload[:7] == keyframe(b"5\0")
    assert cached[-1].payload[:8] == interframe(b"9.3")


def test_s62_s63_a_gop_over_the_limit_is_not_cached_at_all(on_whole: Stage, channel: str) -> None:
    publisher = on_whole.publisher(channel)
    publisher.video(1000, keyframe(b"big" + bytes(600_000)))
    publisher.video(1040, interframe(b"big" + bytes(600_000)))
    publisher.fence()
    player = on_whole.player(channel)
    publisher.video(1080, interframe(b"more"))
    send_gop(publisher, "next", 2000, frames=1)
    assert names_of(on_whole.passed(publisher, player)) == [*START, *HEADERS, "video next.0"]


# --- waiting --------------------------------------------------------------------------------------------


def test_s64_a_player_without_publisher_gets_nothing_and_stays(on: Stage, channel: str) -> None:
    player = on.player(channel)
    assert not player.waiting
    assert player.fence() == []


def test_s65_a_waiting_player_is_started_by_its_publisher(on: Stage, channel: str) -> None:
    player = on.player(channel)
    publisher = on.publisher(channel)
    send_gop(publisher, "a", 1000, frames=2)
    received = names_of(on.passed(publisher, player))
    assert received == [*START, *HEADERS, "video a.0", "audio a.1", "video a.1"]


def test_s66_a_waiting_player_with_another_key_is_refused(on: Stage, channel: str) -> None:
    player, good = on.player(channel, "wrong"), on.player(channel)
    publisher = on.publisher(channel)
    send_gop(publisher, "a", 1000)
    (status,) = player.expect_closed()
    information = {
        "level": "error",
        "code": "NetStream.Play.BadName",
        "description": "Invalid stream key provided: the publisher has another one",
    }
    assert values_of(status) == ["onStatus", 0.0, None, information]
    assert status.msid == 1
    assert names_of(on.passed(publisher, good))[: len(START)] == START


def test_s67_s68_players_outlive_their_publisher_and_get_the_next(on: Stage, channel: str) -> None:
    publisher = on.publisher(channel)
    player = on.player(channel)
    send_gop(publisher, "a", 1000, frames=1)
    on.passed(publisher, player)
    publisher.close()
    status = player.expect_status("NetStream.Play.UnpublishNotify")
    assert (status["level"], status["description"]) == ("status", "stream is now unpublished.")
    assert status["msid"] == 1
    end = player.read()
    assert (describe(end), end.payload[2:]) == ("StreamEOF", (1).to_bytes(4, "big"))
    assert player.fence() == []
    second = on.publisher(channel)
    send_gop(second, "b", 50, frames=1)
    assert names_of(on.passed(second, player)) == [*START, *HEADERS, "video b.0"]


def test_s68_a_next_publisher_with_another_key_refuses_them(on: Stage, channel: str) -> None:
    publisher = on.publisher(channel)
    player = on.player(channel)
    publisher.close()
    player.expect_status("NetStream.Play.Reset")
    player.expect_status("NetStream.Play.Start")
    player.expect_status("NetStream.Play.UnpublishNotify")
    on.publisher(channel, "another")
    player.expect_status("NetStream.Play.BadName")
    player.expect_closed()


# --- commands of players --------------------------------------------------------------------------------


def test_s69_a_paused_player_gets_no_media(on: Stage, channel: str) -> None:
    publisher = on.publisher(channel)
    player = on.player(channel)
    send_gop(publisher, "a", 1000)
    on.passed(publisher, player)
    player.command("pause", None, True, 1000.0, msid=1)
    end, status = player.fence()
    assert names_of([end, status]) == ["StreamEOF", "NetStream.Pause.Notify"]
    assert values_of(status)[3]["description"] == "Paused live"
    send_gop(publisher, "b", 2000)
    publisher.metadata()
    assert names_of(on.passed(publisher, player)) == ["onMetaData"]
    player.command("pause", None, True, 1000.0, msid=1)
    assert player.fence() == []


def test_s70_resuming_brings_headers_then_video_from_a_keyframe_on(on: Stage, channel: str) -> None:
    publisher = on.publisher(channel)
    player = on.player(channel)
    send_gop(publisher, "a", 1000)
    on.passed(publisher, player)
    player.command("pause", None, True, 1000.0, msid=1)
    player.fence()
    player.command("pause", None, False, 1000.0, msid=1)
    received = player.fence()
    assert names_of(received) == ["StreamBegin", "audio header", "video header", "NetStream.Unpause.Notify"]
    assert values_of(received[-1])[3]["description"] == "Unpaused live"
    assert [one.timestamp for one in received[1:3]] == [1080, 1080]
    publisher.video(1120, interframe(b"a.3"))
    send_gop(publisher, "b", 2000, frames=2)
    received = on.passed(publisher, player)
    assert names_of(received) == ["video b.0", "audio b.1", "video b.1"]


def test_s71_resuming_without_publisher_is_answered(on: Stage, channel: str) -> None:
    player = on.player(channel)
    player.command("pause", None, True, 0.0, msid=1)
    assert names_of(player.fence()) == ["StreamEOF", "NetStream.Pause.Notify"]
    player.command("pause", None, False, 0.0, msid=1)
    assert names_of(player.fence()) == ["StreamBegin", "NetStream.Unpause.Notify"]


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize(("name", "left"), [("receiveAudio", "video"), ("receiveVideo", "audio")])
def test_s72_audio_or_video_can_be_switched_off(
    on: Stage, channel: str, when: str, name: str, left: str
) -> None:
    publisher = on.publisher(channel)
    player = on.client().connect(channel)
    if when == "before":
        player.command(name, None, False, msid=1)
    player.ask_play("k")
    on.passed(publisher, player)
    if when == "after":
        player.command(name, None, False, msid=1)
        player.fence()
    send_gop(publisher, "a", 1000)
    publisher.metadata()
    received = names_of(on.passed(publisher, player))
    assert {one.split()[0] for one in received} == {left, "onMetaData"}
    assert len(received) == (4 if left == "video" else 3)
    player.command(name, None, True, msid=1)
    player.fence()
    send_gop(publisher, "b", 2000)
    assert len(media_of(on.passed(publisher, player))) == 5


@pytest.mark.parametrize("command", ["deleteStream", "closeStream"])
def test_s73_a_player_can_stop_and_play_again(on: Stage, channel: str, command: str) -> None:
    publisher = on.publisher(channel)
    player = on.player(channel)
    on.passed(publisher, player)
    stop(player, command)
    status = player.expect_status("NetStream.Play.Stop")
    assert (status["level"], status["description"]) == ("status", "Stopped playing stream.")
    send_gop(publisher, "a", 1000)
    assert player.fence() == []
    player.ask_play("k")
    assert names_of(on.passed(publisher, player))[:7] == START + HEADERS


def stop(client: Client, command: str) -> None:
    if command == "deleteStream":
        client.command(command, None, 1.0)
    else:
        client.command(command, None, msid=1)


@pytest.mark.parametrize("command", ["deleteStream", "closeStream"])
def test_s74_s75_a_publisher_can_stop_and_publish_again(
    on: Stage, server: ServerProcess, channel: str, command: str
) -> None:
    publisher = on.publisher(channel)
    player = on.player(channel)
    on.passed(publisher, player)
    stop(publisher, command)
    status = publisher.expect_status("NetStream.Unpublish.Success")
    assert (status["level"], status["description"]) == ("status", f"/{channel}/k is now unpublished.")
    assert status["msid"] == 1
    assert names_of(player.fence()) == ["NetStream.Play.UnpublishNotify", "StreamEOF"]
    stop(publisher, command)
    assert publisher.fence() == []
    assert len(server.wait_for_line(f"PUBLISH END: {channel},")) == 1
    publisher.ask_publish("k")
    publisher.expect_status("NetStream.Publish.Start")
    publisher.video(0, AVC_HEADER)
    send_gop(publisher, "again", 1000, frames=1)
    received = on.passed(publisher, player)
    assert names_of(received) == [*START, "video header", "video again.0"]
    publisher.close()
    player.expect_status("NetStream.Play.UnpublishNotify")
    assert len(server.wait_for_line(f"PUBLISH END: {channel},", count=2)) == 2


# --- media ----------------------------------------------------------------------------------------------


def test_s76_metadata_reaches_players_at_time_0_on_chunk_stream_6(on: Stage, channel: str) -> None:
    publisher = on.publisher(channel)
    players = [on.player(channel) for _ in range(2)]
    for player in players:
        on.passed(publisher, player)
        player.fence()
    publisher.data("@setDataFrame", "onMetaData", {"title": "other", "width": 320.0}, timestamp=7000)
    for player in players:
        received = on.passed(publisher, player)
        metadata = next(one for one in received if describe(one) == "onMetaData")
        assert (metadata.type_id, metadata.csid, metadata.timestamp, metadata.msid) == (18, 6, 0, 1)
        assert amf0.decode(metadata.payload) == ["onMetaData", {"title": "other", "width": 320.0}]


def test_s77_chunk_streams_towards_players_are_fixed(on: Stage, channel: str) -> None:
    publisher = on.publisher(channel)
    player = on.player(channel)
    on.passed(publisher, player)
    publisher.audio(10, audio(b"a"), csid=20)
    publisher.video(20, keyframe(b"v"), csid=21)
    received = on.passed(publisher, player)
    assert [(describe(one), one.csid) for one in received] == [("audio a", 4), ("video v", 5)]


def test_s78_a_player_that_stops_reading_harms_nobody_and_is_dropped() -> None:
    with ServerProcess(PLAYER_STALL_SECONDS="1", **EVERYBODY) as server, stage(server.port) as on:
        publisher = on.publisher("app")
        publisher.send(messages.set_chunk_size(65536))
        stalled = on.client(receive_buffer=4096).play("app")
        player = on.player("app")
        on.passed(publisher, player)
        memory_kib = server.memory_kib()
        began = monotonic()
        sent = 0
        dropped_at: float | None = None
        body = bytes(50_000)
        while dropped_at is None or sent % 50:
            payload = (interframe if sent % 10 else keyframe)(b"%06d" % sent + body)
            sent_at = monotonic()
            publisher.send(pack(6, 10 * sent, messages.VIDEO, 1, payload, 65536))
            received = player.read(timeout_s=1.0)
            assert received.payload[5:11] == b"%06d" % sent  # nothing is missing
            assert monotonic() - sent_at < 1
            sent += 1
            if dropped_at is None and server.matching("closed: took nothing for 1 s"):
                dropped_at = monotonic()
            assert monotonic() - began < 15, "the stalled player is still there"
        assert server.memory_kib() - memory_kib < 48 * 1024  # lag limit 8 MiB, and what the kernel holds
        assert len(server.wait_for_line("PLAY STOP: app, reason=took nothing for 1 s")) == 1
        stalled.close()
        server.check_log()


@pytest.mark.parametrize("fourcc", [b"hvc1", b"av01"])
def test_s79_enhanced_sequence_starts_are_replayed_without_a_cache(
    on_uncached: Stage, channel: str, fourcc: bytes
) -> None:
    publisher = on_uncached.publisher(channel, headers=False)
    sequence_start = b"\x90" + fourcc + b"configuration"
    publisher.video(0, sequence_start)
    publisher.video(0, b"\x93" + fourcc + b"keyframe")
    publisher.fence()
    player = on_uncached.player(channel)
    publisher.video(40, b"\xa3" + fourcc + b"interframe")
    publisher.video(80, b"\x93" + fourcc + b"keyframe 2")
    media = media_of(on_uncached.passed(publisher, player))
    assert [one.payload for one in media] == [sequence_start, b"\x93" + fourcc + b"keyframe 2"]


def test_s80_short_messages_are_relayed_and_do_no_harm(on: Stage, channel: str) -> None:
    publisher = on.publisher(channel)
    player = on.player(channel)
    on.passed(publisher, player)
    short = [(8, b"\xaf\x01"), (8, b"\xaf"), (8, b""), (9, b"\x27"), (9, b""), (9, b"\x17\x01")]
    for type_id, payload in short:
        publisher.message(type_id, payload, 100, 1, 4)
    received = on.passed(publisher, player)
    assert [(one.type_id, one.payload) for one in received] == short

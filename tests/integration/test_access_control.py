"""Who may publish, asked of a control server as in docs/control.md. Numbers in names: docs/compliance.md."""

from __future__ import annotations

import re
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from time import monotonic
from typing import Any

import pytest
from gevent.event import Event

from tests.access_run import REFUSED, AccessServer, Encoder, ask, pictures, refusal, refusal_of
from tests.client import Stage, interframe, keyframe, media_of, names_of, stage, values_of
from tests.doubles import certificates, tokens
from tests.doubles.callback_server import CallbackServer
from tests.doubles.control_server import ControlServer, Link, Message
from tests.doubles.secrets import CONTROL_SECRET, JWT_SECRET, KEY, OTHER_KEY
from tests.media_files import current_ffmpeg, parse_hashes

ENDED = ["NetStream.Play.UnpublishNotify", "StreamEOF"]
HEARTBEAT_S = 20.0
RECONNECT_S = 15.0  # the longest wait between two attempts is 10 s
CONTROL: dict[str, str] = {"CONTROL_USE": "YES", "CONTROL_SECRET": CONTROL_SECRET}


@dataclass(frozen=True)
class Quiet:
    control: ControlServer
    link: Link
    since: float


@pytest.fixture(scope="module", autouse=True)
def quiet() -> Iterator[Quiet]:
    """Open a link that nothing happens on while the other tests run, for the heartbeats."""
    with (
        ControlServer(CONTROL_SECRET, heartbeat_s=HEARTBEAT_S) as control,
        AccessServer(CONTROL_BASE_URL=control.url, **CONTROL),
    ):
        yield Quiet(control, control.wait_for_link(), monotonic())


@pytest.fixture(scope="module")
def control() -> Iterator[ControlServer]:
    with ControlServer(CONTROL_SECRET) as running:
        yield running


@pytest.fixture(scope="module")
def backend() -> Iterator[CallbackServer]:
    with CallbackServer(JWT_SECRET) as running:
        yield running


@pytest.fixture(scope="module")
def server(control: ControlServer, backend: CallbackServer) -> Iterator[AccessServer]:
    with AccessServer(
        CONTROL_BASE_URL=control.url + "/base",
        CONTROL_REQUEST_TIMEOUT_SECONDS="2",
        EXTERNAL_IP="192.0.2.7",
        EXTERNAL_PORT="11935",
        EXTERNAL_SSL="YES",
        CALLBACK_URL=backend.url,
        JWT_SECRET=JWT_SECRET,
        **CONTROL,
    ) as running:
        yield running


@pytest.fixture
def on(server: AccessServer, control: ControlServer) -> Iterator[Stage]:
    control.wait_for_link()
    control.blank, control.newline = True, "\n"
    with stage(server.port, strangers=True) as opened:
        yield opened


@pytest.fixture
def channel(request: pytest.FixtureRequest) -> str:
    return re.sub(r"[^0-9A-Za-z_-]", "-", request.node.name)[:100]


def of(channel: str) -> dict[str, str]:
    return {"Stream-Channel": channel}


def stream_id_of(control: ControlServer, channel: str) -> str:
    return next(link.channels[channel] for link in control.links if channel in link.channels)


def settled(on: Stage, control: ControlServer) -> None:
    """Wait until the server has dealt with every message so far: they are taken in order."""
    publisher = on.publisher("settled", KEY)
    control.kill("settled")
    publisher.expect_closed()


def test_s94_s95_path_token_and_headers(on: Stage, control: ControlServer, server: AccessServer) -> None:
    link = control.links[0]
    assert [path for _at, path, _status in control.attempts] == ["/ws/control/rtmp"]
    claims = tokens.verify(link.headers["x-control-auth-token"], CONTROL_SECRET)
    assert claims == {"sub": "rtmp-control", "iat": claims["iat"], "exp": claims["iat"] + 3600}
    assert link.external == ("192.0.2.7", 11935, True)
    assert link.headers["x-ssl-use"] == "true"


def test_s95_unset_external_headers_are_absent(quiet: Quiet) -> None:
    sent = set(quiet.link.headers)
    assert not sent & {"x-external-ip", "x-custom-port", "x-ssl-use"}
    assert "x-control-auth-token" in sent


def test_s97_s100_request_and_end_and_no_callback(
    on: Stage, control: ControlServer, backend: CallbackServer, channel: str
) -> None:
    publisher, player = on.publisher_and_player(channel, KEY)
    (asked,) = control.wait_for("PUBLISH-REQUEST", where=of(channel))
    assert asked.parameters == of(channel) | {
        "Request-ID": asked["Request-ID"],
        "Stream-Key": KEY,
        "User-IP": publisher.socket.getsockname()[0],
    }
    assert int(asked["Request-ID"]) > 0
    stream_id = stream_id_of(control, channel)
    publisher.close()
    assert names_of([player.read(), player.read()]) == ENDED
    (ended,) = control.wait_for("PUBLISH-END", where=of(channel))
    assert ended.parameters == of(channel) | {"Stream-ID": stream_id}
    settled(on, control)
    assert len(control.wait_for("PUBLISH-END", where=of(channel))) == 1
    assert backend.received == []
    assert backend.refused == []


def test_s98_ffmpeg_is_accepted_or_denied(
    on: Stage, control: ControlServer, server: AccessServer, channel: str
) -> None:
    assert refusal(on, f"deny-{channel}") == REFUSED
    with Encoder(server.port, "deny-ffmpeg") as denied:
        assert denied.ended()[0] != 0
    with Encoder(server.port, channel) as encoder:
        assert control.wait_for("PUBLISH-REQUEST", where=of(channel), timeout_s=15)
        pictures(on.player(channel, KEY), 3)
        encoder.leave()
    assert len(control.wait_for("PUBLISH-END", where=of(channel))) == 1
    assert control.messages("PUBLISH-END")[0]["Stream-Channel"] != "deny-ffmpeg"


def test_s98_a_channel_that_is_open_elsewhere_is_denied(
    on: Stage, control: ControlServer, channel: str
) -> None:
    control.links[0].channels[channel] = "on another server"
    assert refusal(on, channel) == REFUSED


@pytest.mark.parametrize("newline", ["\n", "\r\n"], ids=["LF", "CRLF"])
@pytest.mark.parametrize("blank", [True, False])
def test_s99_both_spellings_of_answers(
    on: Stage, control: ControlServer, channel: str, blank: bool, newline: str
) -> None:
    control.blank, control.newline = blank, newline
    publisher, player = on.publisher_and_player(channel, KEY)
    assert refusal(on, f"deny-{channel}") == REFUSED
    control.kill(channel, stream_id_of(control, channel))
    publisher.expect_closed()
    assert names_of([player.read(), player.read()]) == ENDED


@pytest.mark.parametrize("named", ["id", "*", "", None])
def test_s101_stream_kill(
    on: Stage, control: ControlServer, server: AccessServer, channel: str, named: str | None
) -> None:
    publisher, player = on.publisher_and_player(channel, KEY)
    stream_id = stream_id_of(control, channel)
    control.kill(channel, "another")
    control.kill(f"{channel}-other")
    settled(on, control)
    assert on.passed(publisher, player) == []
    control.kill(channel, stream_id if named == "id" else named)
    publisher.expect_closed()
    control.kill(channel)
    assert names_of([player.read(), player.read()]) == ENDED
    server.wait_for_line("closed: killed by the control server")
    settled(on, control)
    (ended,) = control.wait_for("PUBLISH-END", where=of(channel))
    assert ended["Stream-ID"] == stream_id


def test_s101_a_kill_in_one_write_with_the_accept_is_not_lost(
    on: Stage, control: ControlServer, channel: str
) -> None:
    def accept_and_kill(link: Link, request: Message) -> None:
        control.accept(link, request)
        control.kill(channel)

    usual, control.answer = control.answer, accept_and_kill
    try:
        ask(on, channel).expect_closed()
    finally:
        control.answer = usual
    assert len(control.wait_for("PUBLISH-END", where=of(channel))) == 1
    on.publisher_and_player(channel, KEY)


def test_s105_no_answer_refuses_and_a_late_accept_is_taken_back(
    on: Stage, control: ControlServer, server: AccessServer, channel: str
) -> None:
    name = f"mute-{channel}"
    assert refusal(on, name) == REFUSED  # CONTROL_REQUEST_TIMEOUT_SECONDS=2
    (request,) = control.wait_for("PUBLISH-REQUEST", where=of(name))
    stream_id = control.accept(control.links[0], request)
    (ended,) = control.wait_for("PUBLISH-END", where=of(name))
    assert ended["Stream-ID"] == stream_id


def test_a_publisher_that_left_while_asking_gets_its_end(
    on: Stage, control: ControlServer, channel: str
) -> None:
    name = f"mute-{channel}"
    client = ask(on, name)
    (request,) = control.wait_for("PUBLISH-REQUEST", where=of(name))
    client.close()
    control.accept(control.links[0], request)
    assert len(control.wait_for("PUBLISH-END", where=of(name))) == 1


def test_a_lost_race_is_reported_once(on: Stage, control: ControlServer, channel: str) -> None:
    held: list[tuple[Link, Message]] = []
    both = Event()

    def hold(link: Link, request: Message) -> None:
        held.append((link, request))
        if len(held) == 2:
            both.set()

    usual, control.answer = control.answer, hold
    try:
        clients = [ask(on, channel), ask(on, channel)]
        assert both.wait(5)
    finally:
        control.answer = usual
    ids = [control.accept(link, request) for link, request in held]
    assert control.wait_for("PUBLISH-END", where=of(channel))
    codes = []
    for one in clients:
        _, message = one.read_until(lambda got: b"onStatus" in got.payload)
        codes.append(values_of(message)[3]["code"])
    assert sorted(codes) == ["NetStream.Publish.BadName", "NetStream.Publish.Start"]
    on.passed(clients[codes.index("NetStream.Publish.Start")], on.player(channel, KEY))
    assert len(control.wait_for("PUBLISH-END", where=of(channel))) == 1
    control.kill(channel)
    ended = control.wait_for("PUBLISH-END", 2, where=of(channel))
    assert sorted(one["Stream-ID"] for one in ended) == sorted(ids)


def test_malformed_frames_are_survived(on: Stage, control: ControlServer, channel: str) -> None:
    publisher, player = on.publisher_and_player(channel, KEY)
    frames: list[Any] = [
        *("", "\n\n", "PUBLISH-ACCEPT", "PUBLISH-ACCEPT\nRequest-ID: x", "PUBLISH-DENY\nRequest-ID:"),
        *("PUBLISH-ACCEPT\nRequest-ID: 99999\nStream-ID: x", "NONSENSE\na: b", b"\x00\xff", "STREAM-KILL"),
        *("ERROR\nError-Code: X\nError-Message: y", "STREAM-KILL\n\nStream-Channel: " + channel),
    ]
    for frame in frames:
        control.send_text(control.links[0], frame)
    settled(on, control)
    assert on.passed(publisher, player) == []
    assert len(control.links) == 1


@pytest.mark.parametrize("plays", ["before the accept", "after six keyframes"])
def test_the_encoder_gets_the_stream_from_its_first_message(
    on: Stage, control: ControlServer, channel: str, plays: str
) -> None:
    accepted = Event()

    def accept_later(link: Link, request: Message) -> None:
        assert accepted.wait(5)
        control.accept(link, request)

    usual, control.answer = control.answer, accept_later
    try:
        publisher = ask(on, channel)
        probe, encoder = on.player(channel, KEY), on.client()
        if plays == "before the accept":
            encoder.play(channel, f"{KEY}?cache=clear")
        accepted.set()
        publisher.expect_status("NetStream.Publish.Start")
    finally:
        control.answer = usual
    publisher.metadata()
    sent = []
    for number in range(30):  # a cache of one GOP would not hold the beginning
        sent.append((keyframe if number % 5 == 0 else interframe)(b"%d" % number))
        publisher.video(number * 40, sent[-1])
    probe.read_until(lambda one: one.payload == sent[0])
    probe.close()
    if plays != "before the accept":
        ordinary = media_of(on.passed(publisher, on.player(channel, KEY)))
        assert [one.payload for one in ordinary] == sent[-5:]
        encoder.play(channel, f"{KEY}?cache=clear")
    assert [one.payload for one in media_of(on.passed(publisher, encoder))] == sent


def test_ffmpeg_as_hls_encoder_probes_and_plays_from_the_first_picture(
    on: Stage, server: AccessServer, channel: str
) -> None:
    url = f"rtmp://127.0.0.1:{server.port}/{channel}/{KEY}"
    ffmpeg = (current_ffmpeg(), "-v", "error", "-nostdin", "-i")
    with Encoder(server.port, channel):
        pictures(on.player(channel, KEY), 12)  # the second keyframe has passed
        probe = [*ffmpeg, url, "-frames:v", "1", "-c", "copy", "-f", "null", "-"]
        subprocess.run(probe, check=True, timeout=30)
        copy = ("-copyts", "-frames:v", "25", "-c", "copy", "-f", "framehash", "-")
        pulled = subprocess.run(
            [*ffmpeg, f"{url}?cache=clear", *copy], check=True, timeout=30, capture_output=True, text=True
        )
    (packets,) = parse_hashes(pulled.stdout).values()
    assert [packet.dts for packet in packets] == list(range(0, 2500, 100))


def test_s102_s104_a_dropped_link_ends_publishers_for_good(
    on: Stage, control: ControlServer, server: AccessServer, channel: str
) -> None:
    publisher, player = on.publisher_and_player(channel, KEY)
    pending = ask(on, f"mute-{channel}")
    control.wait_for("PUBLISH-REQUEST", where=of(f"mute-{channel}"))
    before, since = len(control.links), server.mark()
    last_request = int(control.messages("PUBLISH-REQUEST")[-1]["Request-ID"])
    control.drop()
    publisher.expect_closed()
    assert names_of([player.read(), player.read()]) == ENDED
    assert refusal_of(pending) == REFUSED
    server.wait_for_line("closed: control link lost")
    link = control.wait_for_link(before + 1, RECONNECT_S)
    server.wait_for_line("Connected: ws", since)
    again = on.publisher(channel, KEY)
    assert "NetStream.Play.Start" in names_of(on.passed(again, player))
    again.close()
    assert control.wait_for("PUBLISH-END", where=of(channel))
    kinds = [one.kind for one in link.received if one.kind != "HEARTBEAT"]
    assert kinds == ["PUBLISH-REQUEST", "PUBLISH-END"]  # nothing of the old link's publisher
    assert int(link.received[0]["Request-ID"]) > last_request


def test_s103_s104_the_control_server_is_killed_and_restarted_in_mid_stream() -> None:
    with (
        ControlServer(CONTROL_SECRET) as control,
        AccessServer(CONTROL_BASE_URL=control.url, **CONTROL) as server,
        stage(server.port) as on,
    ):
        control.wait_for_link()
        with Encoder(server.port, "news") as encoder:
            player = on.player("news", KEY)
            pictures(player, 3)
            control.stop()
            assert encoder.ended()[0] != 0
        player.read_until(lambda one: names_of([one]) == ENDED[:1])
        assert refusal(on, "news") == REFUSED  # at once: the request timeout is 20 s
        with Encoder(server.port, "news") as retry:
            assert retry.ended()[0] != 0
        control.start()
        control.wait_for_link(2, RECONNECT_S)
        with Encoder(server.port, "news"):
            player.read_until(lambda one: names_of([one]) == ["NetStream.Play.Start"], 15)
            pictures(player, 3)
            assert server.stop() == 0
        (ended,) = control.messages("PUBLISH-END")
        assert ended["Stream-Channel"] == "news"
        assert not control.links[1].channels


def test_s103_without_an_address_every_publisher_is_refused() -> None:
    with AccessServer(**CONTROL) as server, stage(server.port) as on:
        server.wait_for_line(r"\[ERROR\] CONTROL_BASE_URL is not set")
        assert refusal(on, "news", OTHER_KEY) == REFUSED


def test_s106_wss_is_used_and_the_certificate_is_verified(tmp_path: Path) -> None:
    certs = certificates.make(tmp_path)
    with ControlServer(CONTROL_SECRET, certs) as control:
        with (
            AccessServer(CONTROL_BASE_URL=control.url, CONTROL_CA=certs.ca, **CONTROL) as server,
            stage(server.port) as on,
        ):
            control.wait_for_link()
            on.publisher("secure", KEY).close()
            assert control.wait_for("PUBLISH-END")
        with AccessServer(CONTROL_BASE_URL=control.url, **CONTROL) as server, stage(server.port) as on:
            server.wait_for_line(r"\[ERROR\] Cannot connect")
            assert refusal(on, "secure") == REFUSED
            assert len(control.links) == 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_s117_a_signal_sends_an_end_for_each_publisher(number: signal.Signals) -> None:
    with ControlServer(CONTROL_SECRET) as control:
        with AccessServer(CONTROL_BASE_URL=control.url, **CONTROL) as server, stage(server.port) as on:
            control.wait_for_link()
            for channel in range(20):
                on.publisher(f"live{channel}", KEY)
            assert server.stop(number) == 0
        assert control.wait_for_loss(control.links[0])
        ended = sorted(one["Stream-Channel"] for one in control.messages("PUBLISH-END"))
        assert ended == sorted(f"live{channel}" for channel in range(20))


def test_s107_a_failed_connection_is_tried_again_more_slowly() -> None:
    with ControlServer("another secret") as control:
        with AccessServer(CONTROL_BASE_URL=control.url, **CONTROL) as server:
            server.wait_for_line(r"Cannot connect: .*403, next attempt in", count=3, timeout_s=RECONNECT_S)
        times = [at for at, _path, status in control.attempts if status == 403]
        waits = [after - before for before, after in pairwise(times)]
        assert 0.7 < waits[0] < waits[1]  # 0.8 to 1 s, then 1.6 to 2 s, up to 10


def test_s96_a_heartbeat_goes_out_every_20_s(quiet: Quiet) -> None:
    """The last test of the module: most of the time has passed during the others."""
    beats = [one.at for one in quiet.control.wait_for("HEARTBEAT", 2, 2 * HEARTBEAT_S + 5)]
    assert beats[0] - quiet.since == pytest.approx(HEARTBEAT_S, abs=5)
    assert beats[1] - beats[0] == pytest.approx(HEARTBEAT_S, abs=5)

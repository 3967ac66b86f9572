"""Players, and those that are neither yet, move while the stream goes on. Nothing is lost or doubled."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import partial

import gevent
import pytest

from rtmpsrv.errors import CannotMove, RequestRefused
from rtmpsrv.protocol import events, messages
from rtmpsrv.protocol.state import Phase
from rtmpsrv.server.certificates import PairContents, check_pair
from rtmpsrv.server.session_state import SessionState
from rtmpsrv.server.tls import make_context
from tests.client import AAC_HEADER, AVC_HEADER, keyframe
from tests.doubles.pairs import issue
from tests.integration.moving import (
    APP,
    KEY,
    Connection,
    Frame,
    House,
    codes_of,
    hear_all,
    house,
    is_pong,
    playback_of,
)
from tests.unit.server.stage import PATIENCE_S, eventually

HANDSHAKE_SIZE = 1536
EXTENDED_HEADER = 16  # bytes of a type 0 chunk's header with one byte of chunk stream id
BIG = 200_000  # bytes, more than small buffers take


@pytest.fixture
def opened() -> Iterator[House]:
    with house() as made:
        yield made


# --- players ------------------------------------------------------------------------------------------


def headers_at(timestamp: int) -> list[Frame]:
    """The headers as the server repeats them."""
    return [(messages.AUDIO, timestamp, AAC_HEADER), (messages.VIDEO, timestamp, AVC_HEADER)]


def follows(player: Connection) -> bool:
    output = player.player.output
    return output is not None and output.audience.follows(player.player)


@pytest.mark.parametrize("crowd", [1, 5], ids=["joined", "sendfile"])
def test_a_follower(opened: House, crowd: int) -> None:
    still, *moved = [opened.waiting() for _ in range(1 + crowd)]
    publisher = opened.publisher()
    publisher.start()
    for turn in range(8):
        publisher.some(size=300 if turn % 2 else 20_000, opening=turn == 4)
        hear_all((still, *moved), publisher.mark())
        for player in moved:
            eventually(partial(follows, player), "following")
            bytes_out = player.session.describe()["bytes_out"]
            player.move(publisher.some)
            assert player.session.describe()["bytes_out"] >= bytes_out
    last = publisher.mark()
    for player in (still, *moved):
        player.hear_to(last)
        assert player.frames == publisher.sent
        assert player.heard == still.heard


def until_stuck(player: Connection) -> None:
    eventually(lambda: not player.player.at_boundary, "being in mid-message")


def test_a_laggard_in_mid_message(opened: House) -> None:
    laggard, publisher = opened.waiting(small=True), opened.publisher()
    publisher.start()
    laggard.hear_to(publisher.mark())
    publisher.some(4, size=BIG)
    until_stuck(laggard)
    state = laggard.move(publisher.some)
    assert playback_of(state).rest
    eventually(lambda: laggard.session.outlet.waiting_bytes, "going on")
    assert laggard.move(publisher.some).outlet.pending
    laggard.move()
    laggard.move()  # before it went on
    for _ in range(8):
        laggard.hear(lambda _: True)
        laggard.move(publisher.some)
    laggard.hear_to(publisher.mark())
    assert laggard.frames == publisher.sent


def gap(heard: list[Frame], sent: list[Frame]) -> slice:
    """Return what of the frames sent is missing, in one piece, among those heard."""
    begin = next(number for number, frame in enumerate(sent) if frame != heard[number])
    return slice(begin, begin + len(sent) - len(heard))


def test_a_laggard_that_has_jumped() -> None:
    with house(lag_bytes=2 * BIG) as opened:
        laggard, publisher = opened.waiting(small=True), opened.publisher()
        publisher.start()
        laggard.hear_to(publisher.mark())
        publisher.some(1, size=BIG)
        until_stuck(laggard)
        with gevent.Timeout(PATIENCE_S):
            while not laggard.player.state.jumps:
                publisher.some(2, opening=True, size=BIG // 2)
                publisher.sync()
        assert not laggard.player.at_boundary
        state = playback_of(laggard.move(publisher.some))
        assert state.rest
        eventually(lambda: laggard.session.outlet.waiting_bytes, "going on")
        assert laggard.move(publisher.some).outlet.pending
        laggard.hear_to(publisher.mark())
        missing = gap(laggard.frames, publisher.sent)
        assert laggard.frames == publisher.sent[: missing.start] + publisher.sent[missing.stop :]
        # It may have jumped once more on its way.
        assert len(publisher.sent[missing]) == laggard.player.state.skipped_messages >= state.skipped_messages
        assert publisher.sent[missing.stop][2].startswith(keyframe(b""))


def in_step(both: tuple[Connection, Connection], do: Callable[[Connection], object]) -> None:
    for player in both:
        do(player)


def test_a_paused_player(opened: House) -> None:
    both = moved, still = opened.waiting(), opened.waiting()
    publisher = opened.publisher()
    publisher.start()
    for _ in range(2):
        hear_all(both, publisher.mark())
        in_step(both, lambda player: player.client.pause())
        in_step(both, lambda player: player.hear_status("NetStream.Pause.Notify"))
        publisher.some()
        first = publisher.mark()
        moved.move(lambda: publisher.some(opening=True))
        publisher.some()
        second = publisher.mark()
        hear_all(both, second)
        assert moved.frames[-2:] == [first, second]
        in_step(both, lambda player: player.client.pause(False))
        in_step(both, lambda player: player.hear_status("NetStream.Unpause.Notify"))
        publisher.some()
        assert playback_of(moved.move()).needs_keyframe
        third = publisher.mark()
        publisher.some(opening=True)
        hear_all(both, publisher.mark())
        sent, begun = publisher.sent, publisher.sent.index(second)
        waited = sent[begun + 1 : sent.index(third)]
        new = [*(one for one in waited if one[0] == messages.AUDIO), *sent[sent.index(third) :]]
        assert moved.frames[-len(new) - 2 :] == [*headers_at(sent[begun - 1][1]), *new]
    assert moved.heard == still.heard


def test_a_player_on_another_message_stream_without_audio(opened: House) -> None:
    both = moved, still = opened.connect(), opened.connect()
    publisher = opened.publisher()
    publisher.start()
    for player in both:
        player.client.shake_hands()
        player.client.connect(APP)
        assert [player.client.create_stream() for _ in range(2)] == [1, 2]
        player.client.receive_audio(False)
        player.client.play(KEY, msid=2)
    for turn in range(6):
        publisher.some(size=300 if turn % 2 else 20_000, opening=turn == 3)
        hear_all(both, publisher.mark())
        moved.move(publisher.some)
    hear_all(both, publisher.mark())
    video = [frame for frame in publisher.sent if frame[0] != messages.AUDIO]
    moved.client.receive_audio(True)
    moved.sync()
    moved.move()
    begun = len(publisher.sent)
    publisher.some()
    hear_all(both, publisher.mark())
    at_start, later = headers_at(video[1][1]), headers_at(publisher.sent[begun - 2][1])
    assert moved.frames == [*at_start, *video[1:], later[0], *publisher.sent[begun:]]
    assert [one for one in moved.frames[2:] if one[0] != messages.AUDIO] == still.frames[2:]
    assert {message.msid for message in moved.heard if message.type_id in (8, 9)} == {2}


@pytest.mark.parametrize("when", ["before", "meanwhile", "after"])
def test_a_waiting_player(opened: House, when: str) -> None:
    both = moved, still = opened.waiting(), opened.waiting()
    publisher = opened.publisher()
    if when == "before":  # a publication that is over
        publisher.start()
        hear_all(both, publisher.mark())
        publisher.client.stop_publishing()
        in_step(both, lambda player: player.hear_status("NetStream.Play.UnpublishNotify"))
        in_step(both, lambda player: player.sync())
    assert playback_of(moved.move(publisher.start if when == "meanwhile" else lambda: None)).waiting
    if when != "meanwhile":
        publisher.start()
    hear_all(both, publisher.mark())
    assert still.frames == publisher.sent
    assert moved.frames[-len(publisher.sent) + 2 :] == publisher.sent[2:]
    assert codes_of(moved.heard) == codes_of(still.heard)


@pytest.mark.parametrize("meanwhile", [False, True])
def test_a_waiting_player_with_a_wrong_key(opened: House, meanwhile: bool) -> None:
    player, publisher = opened.waiting(), opened.publisher()
    if meanwhile:
        player.move(lambda: publisher.start("another"))
    else:
        player.move()
        publisher.start("another")
    publisher.some()
    with pytest.raises(RequestRefused):
        player.hear(lambda _: False)


def test_the_only_player_of_a_channel_may_wait(opened: House) -> None:
    player = opened.waiting()
    player.move()
    player.sync()
    publisher = opened.publisher()
    publisher.start()
    player.hear_to(publisher.mark())
    assert player.frames == publisher.sent


@pytest.mark.parametrize("alone", [True, False])
def test_a_player_whose_publisher_is_another_one_meanwhile(opened: House, alone: bool) -> None:
    player, publisher, successor = opened.waiting(), opened.publisher(), opened.publisher()
    company = [] if alone else [opened.waiting()]
    publisher.start()
    player.hear_to(publisher.mark())

    def change() -> None:
        publisher.client.stop_publishing()
        successor.start()
        successor.some()

    player.move(change)
    hear_all((player, *company), successor.mark())
    assert player.frames[: len(publisher.sent)] == publisher.sent
    assert player.frames[-len(successor.sent) + 2 :] == successor.sent[2:]
    assert "NetStream.Play.UnpublishNotify" in codes_of(player.heard)


# --- handshakes, answers, TLS -------------------------------------------------------------------------


@pytest.mark.parametrize("cut", [None, 0, 1, 800, 1 + HANDSHAKE_SIZE, 2 + HANDSHAKE_SIZE, 2500])
def test_a_handshake(opened: House, cut: int | None) -> None:
    publisher, player = opened.publisher(), opened.connect()
    publisher.start()
    if cut is None:
        player.move()  # before it began
        cut = 0
    client, hello_size = player.client, 1 + HANDSHAKE_SIZE
    client.connection.send(events.ClientHello())
    hello = client.connection.data_to_send()
    assert player.send_cut(hello, min(cut, hello_size)).shaking_hands
    while client.connection.phase is not Phase.OPEN:
        client.take(client.socket.recv(65536))
    echo = client.connection.data_to_send()
    player.send_cut(echo, max(0, cut - hello_size))
    client.connect(APP)
    client.play(KEY)
    player.hear_to(publisher.mark())
    assert player.frames[2:] == publisher.sent[2:]


def test_a_player_with_answers_waiting(opened: House) -> None:
    laggard, publisher = opened.waiting(small=True), opened.publisher()
    publisher.start()
    laggard.hear_to(publisher.mark())
    heard = len(laggard.heard)
    publisher.some(2, size=BIG)
    until_stuck(laggard)
    states: list[SessionState] = []
    for number in range(1, 5):
        read = laggard.state.bytes_in
        laggard.client.ping(number)
        eventually(lambda read=read: laggard.state.bytes_in > read)  # type: ignore[misc]
        states.append(laggard.move(publisher.some))
        eventually(lambda: laggard.session.outlet.waiting_bytes)
    assert [len(state.outlet.answers) for state in states] == [1, 2, 3, 4]
    laggard.hear_to(publisher.mark())
    assert laggard.frames == publisher.sent
    pongs = [message.payload[2:] for message in laggard.heard[heard:] if is_pong(message)]
    assert pongs == [number.to_bytes(4, "big") for number in range(1, 5)]


def test_tls_stays_and_goes_on(opened: House) -> None:
    issued = issue()
    context = make_context(check_pair(PairContents(issued.chain, issued.key), datetime.now(UTC)))
    player, publisher = opened.waiting(tls=context), opened.publisher()
    publisher.start()
    for _ in range(3):
        player.hear_to(publisher.mark())
        with pytest.raises(CannotMove, match="TLS"):
            player.session.freeze()
        publisher.some()
    player.hear_to(publisher.mark())
    assert player.frames == publisher.sent

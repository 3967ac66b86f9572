"""Attacks of few bytes that make the server hold much."""

from __future__ import annotations

import threading
from contextlib import suppress

from rtmpsrv.protocol import amf0, messages

from .attacker import Attack
from .cases import attack
from .wire import NO_CHUNKS, Closed, Connection, command, head, whole

MIB = 1 << 20
NAMES = 16  # of metadata
TRACKS = 256
LITTLE = 4096  # bytes of receive buffer of those that read nothing
HALF_MESSAGE = 0x7FFF00
AUDIO = whole(messages.AUDIO, b"\xaf\x01")
TICK_S = 0.25
STUFFING_S = 1.0


class Stuffed:
    """A publisher of 16 MiB of metadata and a header of 1 MiB, which every player is to get first."""

    def __init__(self, this: Attack, app: str) -> None:
        """Publish as much of it as the server takes in a moment; the rest goes out beside what follows."""
        self._this = this
        self._publisher = this.publisher(app)
        self._stuffing = threading.Thread(target=self._stuff, daemon=True)
        self._stuffing.start()
        self._stuffing.join(STUFFING_S)

    def tick(self) -> None:
        """Publish a little audio, once all that came before is gone."""
        if not self._stuffing.is_alive():
            with self._this.may_be_cut():
                self._publisher.send(AUDIO)
                self._publisher.discard()
        threading.Event().wait(TICK_S)

    def hold(self) -> None:
        """Stay until the time is up."""
        while not self._this.over:
            self.tick()

    def _stuff(self) -> None:
        with suppress(Closed, OSError):
            self._publisher.send(whole(messages.VIDEO, b"\x17\0\0\0\0" + b"h" * (MIB - 64)))
            for number in range(NAMES):
                value = amf0.encode("@setDataFrame", f"m{number}", "z" * (MIB - 64))
                self._publisher.send(whole(messages.DATA_AMF0, value))


def replay(connection: Connection, times: int) -> None:
    """Leave and begin to play so many times, without reading anything."""
    each = command("closeStream", None, msid=1) + command("play", None, "k", msid=1)
    connection.send(messages.set_chunk_size(NO_CHUNKS) + each * times)


def play_loop(this: Attack, players: int, *, secure: bool = False) -> None:
    """Let players that read nothing leave and come back thirty times."""
    app = this.app()
    publisher = Stuffed(this, app)
    for _ in range(players):
        with this.may_be_cut():
            replay(this.player(app, receive_buffer=LITTLE, secure=secure), 30)
    publisher.hold()


@attack()
def play_loop_of_1(this: Attack) -> None:
    """Play and leave thirty times on one connection that reads nothing, before much metadata."""
    play_loop(this, 1)


@attack()
def play_loop_of_3(this: Attack) -> None:
    """Play and leave thirty times on three connections that read nothing, before much metadata."""
    play_loop(this, 3)


@attack()
def play_loop_of_10(this: Attack) -> None:
    """Play and leave thirty times on ten connections that read nothing, before much metadata."""
    play_loop(this, 10)


@attack()
def play_loop_by_tls(this: Attack) -> None:
    """Play and leave thirty times on three RTMPS connections that read nothing, before much metadata."""
    play_loop(this, 3, secure=True)


@attack()
def play_loop_then_close(this: Attack) -> None:
    """Play and leave thirty times, reading nothing, then close; one connection after the other."""
    app = this.app()
    publisher = Stuffed(this, app)
    while not this.over:
        with this.may_be_cut():
            player = this.player(app, receive_buffer=LITTLE)
            replay(player, 30)
            publisher.tick()
            player.close()


@attack()
def players_that_read_nothing(this: Attack) -> None:
    """Join with thirty players that read nothing, before much metadata."""
    app = this.app()
    publisher = Stuffed(this, app)
    for _ in range(30):
        with this.may_be_cut():
            this.player(app, receive_buffer=LITTLE)
    publisher.hold()


@attack()
def video_switched_on_and_off(this: Attack) -> None:
    """Switch video off and on sixty times on three connections that read nothing, after a long header."""
    app = this.app()
    publisher = Stuffed(this, app)
    each = b"".join(command("receiveVideo", None, wanted, msid=1) for wanted in (False, True))
    for _ in range(3):
        with this.may_be_cut():
            player = this.player(app, receive_buffer=LITTLE)
            player.send(messages.set_chunk_size(NO_CHUNKS) + each * 60)
    publisher.hold()


@attack()
def unfinished_messages(this: Attack) -> None:
    """Publish on many connections two messages of 16 MB each that are never finished."""
    publishers = [this.publisher() for _ in range(20 if this.is_long else 10)]
    half = b"\x27" * HALF_MESSAGE
    for publisher in publishers:
        with this.may_be_cut():
            publisher.send(messages.set_chunk_size(HALF_MESSAGE))
            for csid in (6, 7):
                publisher.send(head(messages.VIDEO, 0xFFFFFF, csid) + half + bytes((0xC0 | csid,)) + half)
    this.watch(publishers)


@attack()
def metadata_under_many_names(this: Attack) -> None:
    """Publish metadata under ever new names."""
    values = (amf0.encode("@setDataFrame", f"m{number}", "z" * 1000) for number in range(20_000))
    this.flood([this.publisher()], b"".join(whole(messages.DATA_AMF0, value) for value in values))


@attack()
def headers_of_many_codecs(this: Attack) -> None:
    """Publish long sequence headers of ever new tracks and codecs."""
    codecs = (b"hvc1", b"av01", b"vp09", b"vvc1")
    pieces = (b"\x96\x00" + codecs[track % 4] + bytes((track,)) + b"h" * 500_000 for track in range(TRACKS))
    this.flood([this.publisher()], b"".join(whole(messages.VIDEO, piece) for piece in pieces))


@attack()
def pings_whose_answers_nobody_reads(this: Attack) -> None:
    """Ask for pongs on three players of the good stream that read nothing."""
    players = [this.player("good", receive_buffer=LITTLE) for _ in range(3)]
    this.flood(players, messages.user_control(messages.PING_REQUEST, 7), reads=False)


@attack()
def players_that_stop_reading(this: Attack) -> None:
    """Play a stream of 80 Mbit/s with ten players that read nothing, so that all fall behind."""
    app = this.app()
    publisher = this.publisher(app)
    for _ in range(10):
        this.player(app, receive_buffer=LITTLE)
    frames = [
        whole(messages.VIDEO, (b"\x27" if n else b"\x17") + b"\x01\0\0\0" + bytes(10_000)) for n in range(50)
    ]
    this.flood([publisher], b"".join(frames), rate=10_000_000)

"""Attacks by connections: many, short, half-open, or all behind at once."""

from __future__ import annotations

from rtmpsrv.protocol import messages

from .attack_memory import LITTLE
from .attacker import Attack
from .cases import attack
from .wire import HANDSHAKE_SIZE, Connection, whole

HALF_OPEN = 300
SIDE_BY_SIDE = 4


@attack()
def connections_of_no_byte(this: Attack) -> None:
    """Connect and leave, four side by side."""
    this.together(SIDE_BY_SIDE, lambda: this.open().close())


@attack()
def connections_of_one_wrong_byte(this: Attack) -> None:
    """Connect, send a byte that is no RTMP, wait for the end, four side by side."""

    def once() -> None:
        connection = this.open()
        connection.send(b"\x06")
        with this.may_be_cut():
            connection.receive()
        connection.close()

    this.together(SIDE_BY_SIDE, once)


@attack()
def handshakes(this: Attack) -> None:
    """Shake hands and leave, four side by side."""
    this.together(SIDE_BY_SIDE, lambda: this.open().shake().close())


@attack()
def half_handshakes(this: Attack) -> None:
    """Hold three hundred connections in the middle of the handshake, each fed a byte at a time."""
    held: list[Connection] = []
    with this.may_be_cut():
        for _ in range(HALF_OPEN):
            held.append(this.open())
            held[-1].send(b"\x03" + bytes(HANDSHAKE_SIZE // 2))
    this.flood(held, b"\0", rate=HALF_OPEN)


@attack()
def joins(this: Attack) -> None:
    """Join the good stream and leave at once, four side by side."""
    this.together(SIDE_BY_SIDE, lambda: this.player("good").close())


@attack()
def waiting_players(this: Attack) -> None:
    """Wait for ever new channels that nobody publishes, four side by side."""
    this.together(SIDE_BY_SIDE, lambda: this.player(this.app()).close())


@attack()
def half_of_the_players_fall_behind_at_once(this: Attack) -> None:
    """Play on many connections of which half read nothing, and publish frames that they cannot take."""
    app = this.app()
    publisher = this.publisher(app)
    count = 150 if this.is_long else 75
    reading = [this.player(app) for _ in range(count)]
    for _ in range(count):
        this.player(app, receive_buffer=LITTLE)
    frame = whole(messages.VIDEO, b"\x17\x01\0\0\0" + bytes(200_000))
    this.flood([publisher], frame, readers=reading, rate=400_000)

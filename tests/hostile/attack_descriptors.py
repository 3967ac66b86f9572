"""Attacks that use up descriptors: a keyframe may begin a segment of the log, and a segment is a file."""

from __future__ import annotations

from rtmpsrv.protocol import messages

from .attack_memory import LITTLE
from .attacker import Attack
from .cases import Surroundings, attack
from .wire import Connection, again, head, whole

KEYFRAME = b"\x12"  # of one byte
BYTES_PER_S = 8000  # two for each keyframe
STREAM = Surroundings((("GOP_CACHE_MODE", "stream"), ("GOP_CACHE_SIZE_MB", "16")))


def keyframes(this: Attack, publisher: Connection, watching: Connection) -> None:
    """Send keyframes of one byte, slowly."""
    publisher.send(head(messages.VIDEO, 1) + KEYFRAME)
    this.flood([publisher], (again() + KEYFRAME), readers=[watching], rate=BYTES_PER_S)


@attack()
def keyframes_behind_a_player_that_lags(this: Attack) -> None:
    """Send 1-byte keyframes while a player that reads nothing holds on to old ones."""
    app = this.app()
    publisher = this.publisher(app)
    publisher.send(whole(messages.VIDEO, b"\x17\x01\0\0\0" + b"k" * 5_000_000, csid=6))
    this.player(app, receive_buffer=LITTLE)
    keyframes(this, publisher, this.player(app, msid=2))


@attack(STREAM)
def keyframes_kept_from_the_beginning(this: Attack) -> None:
    """Send 1-byte keyframes where a channel keeps all since its beginning."""
    app = this.app()
    publisher = this.publisher(app)
    keyframes(this, publisher, this.player(app, msid=2))

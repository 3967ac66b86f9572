"""What is done to the process as a whole: its log is not read, it is stopped, its files may not grow."""

from __future__ import annotations

from rtmpsrv.protocol import messages

from .attack_connections import connections_of_one_wrong_byte
from .attacker import Attack
from .cases import PLAIN, Case, Surroundings, add, attack
from .verdict import EVERYTHING, TIMES, Over
from .wire import whole

IDLE_S = 2
UNREAD = Surroundings(log_is_read=False)
IMPATIENT = Surroundings((("IDLE_TIMEOUT_SECONDS", str(IDLE_S)), ("PING_INTERVAL_SECONDS", "1")))
SHORT_FILES = Surroundings(file_bytes=1 << 20)

add(Case("nothing", "Nobody attacks: the good stream must be good by itself.", None, PLAIN, attack_s=1.5))
add(
    Case(
        "stopped_for_longer_than_the_idle_time",
        "The process is stopped, as by a suspended machine, for twice the idle time.",
        None,
        IMPATIENT,
        attack_s=2 * IDLE_S,
        long_attack_s=3 * IDLE_S,
        judged=EVERYTHING - TIMES - {Over.JOIN},
        pauses=True,
    )
)


@attack(UNREAD, must_end=True)
def log_that_nobody_reads(this: Attack) -> None:
    """Fill a pipe that nobody reads with the lines of connections of one wrong byte."""
    connections_of_one_wrong_byte(this)


# A fault of ours, not of the peer that it costs the connection: an ERROR, whose traceback is wanted.
@attack(SHORT_FILES, judged=EVERYTHING - {Over.LOG}, not_logged=r"\[INFO\].*(File too large|No space left)")
def files_that_cannot_grow(this: Attack) -> None:
    """Publish a GOP for which there is no space, to six players, where files may not exceed 1 MiB."""
    app = this.app()
    publisher = this.publisher(app)
    watching = [this.player(app) for _ in range(6)]
    frames = [
        whole(messages.VIDEO, (b"\x27" if n else b"\x17") + b"\x01\0\0\0" + bytes(50_000)) for n in range(40)
    ]
    this.flood([publisher], b"".join(frames), readers=watching, rate=2_000_000)

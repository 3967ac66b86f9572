"""Attacks by commands: each is allowed, and comes again and again."""

from __future__ import annotations

from collections.abc import Callable

from rtmpsrv.protocol import amf0, messages

from .attacker import Attack
from .cases import attack
from .wire import Connection, command, message, whole

OBJECTS = 3900  # take 15.6 KB
GUESSERS = 30  # connections side by side
MOST_GUESSES_PER_S = 40  # from one address: refusals are slowed, by up to seconds


def over_and_over(this: Attack, count: int, make: Callable[[], Connection], *commands: bytes) -> None:
    """Send the same commands again and again on so many connections, which come back when they are cut."""

    def once() -> None:
        this.flood([make()], b"".join(commands))

    this.together(count, once)


@attack()
def connections_with_many_properties(this: Attack) -> None:
    """Connect hundreds of times with 16 KB of empty objects as a property, and stay."""
    objects: list[dict[str, object]] = [{} for _ in range(OBJECTS)]
    for _ in range(450 if this.is_long else 200):
        connection = this.open().shake()
        connection.send(command("connect", {"app": this.app(), "objects": objects}))
        connection.answer("_result")
        if this.over:
            break
    this.watch()


@attack()
def streams_created_and_deleted(this: Attack) -> None:
    """Create and delete message streams, on a connection that comes back when it is cut."""
    data = command("createStream", None, transaction=3.0) + command("deleteStream", None, 1.0)
    over_and_over(this, 2, lambda: this.open().connect(this.app()), data)


@attack()
def streams_created_and_deleted_by_players(this: Attack) -> None:
    """Create and delete message streams while playing the good stream."""
    data = command("createStream", None, transaction=3.0) + command("deleteStream", None, 2.0)
    over_and_over(this, 2, lambda: this.player("good"), data)


@attack()
def published_and_unpublished(this: Attack) -> None:
    """Publish and unpublish in turns, with a header in between and a player that waits."""
    app = this.app()
    connection = this.publisher(app)
    watching = [this.player(app) for _ in range(3)]
    header = whole(messages.VIDEO, b"\x17\0\0\0\0" + bytes(40))
    publish = command("publish", None, "k", "live", msid=1)
    this.flood([connection], (header + command("closeStream", None, msid=1) + publish), readers=watching)


@attack()
def published_by_connections_that_come_back(this: Attack) -> None:
    """Connect, publish a header and a keyframe, and vanish, on four connections side by side."""
    media = whole(messages.VIDEO, b"\x17\0\0\0\0" + bytes(40)) + whole(messages.VIDEO, b"\x17\x01\0\0\0k")

    def once() -> None:
        connection = this.publisher()
        connection.send(media)
        connection.close()

    this.together(4, once)


@attack()
def played_and_left(this: Attack) -> None:
    """Play the good stream and leave it in turns, reading all that comes, on three connections."""
    data = command("closeStream", None, msid=1) + command("play", None, "k", msid=1)
    over_and_over(this, 3, lambda: this.player("good"), data)


@attack()
def played_and_left_by_thirty(this: Attack) -> None:
    """Play the good stream and leave it in turns on thirty connections, on message stream 2."""
    data = command("closeStream", None, msid=2) + command("play", None, "k", msid=2)
    over_and_over(this, 30, lambda: this.player("good", msid=2), data)


@attack()
def paused_and_unpaused(this: Attack) -> None:
    """Pause and unpause on four players of the good stream."""
    data = command("pause", None, True, 0.0, msid=1) + command("pause", None, False, 0.0, msid=1)
    over_and_over(this, 4, lambda: this.player("good"), data)


@attack()
def switched_off_and_on(this: Attack) -> None:
    """Switch audio and video off and on, on four players of the good stream."""
    data = b"".join(
        command(name, None, wanted, msid=1)
        for wanted in (False, True)
        for name in ("receiveAudio", "receiveVideo")
    )
    over_and_over(this, 4, lambda: this.player("good"), data)


@attack()
def commands_that_nobody_knows(this: Attack) -> None:
    """Send unknown commands, and known ones that do nothing, on four players of the good stream."""
    names = ("x", "seek", "getStreamLength", "FCSubscribe", "releaseStream", "_checkbw", "y" * 60)
    data = b"".join(command(name, None, "k", msid=1, transaction=5.0) for name in names)
    over_and_over(this, 4, lambda: this.player("good"), data)


@attack()
def metadata(this: Attack) -> None:
    """Publish metadata again and again, to three players."""
    app = this.app()
    publisher = this.publisher(app)
    watching = [this.player(app) for _ in range(3)]
    values = [amf0.encode("@setDataFrame", "onMetaData", {"width": float(n)}) for n in range(16)]
    data = b"".join(whole(messages.DATA_AMF0, value) for value in values)
    if this.flood([publisher], data, readers=watching):
        this.complain("the publisher was cut")


@attack()
def metadata_set_and_cleared(this: Attack) -> None:
    """Set and clear metadata in turns."""
    value = amf0.encode("@setDataFrame", "onMetaData", {"width": 640.0})
    data = whole(messages.DATA_AMF0, value) + whole(
        messages.DATA_AMF0, amf0.encode("@clearDataFrame", "onMetaData")
    )
    this.flood([this.publisher()], data)


@attack()
def shared_objects(this: Attack) -> None:
    """Send shared objects, which mean nothing here."""
    data = whole(messages.SHARED_OBJECT_AMF0, bytes(20), 0) + whole(messages.SHARED_OBJECT_AMF3, bytes(20), 0)
    this.flood([this.publisher()], data)


@attack()
def connected_again_and_again(this: Attack) -> None:
    """Send connect on connections that are connected, and come back when that closes them."""
    each = message(messages.COMMAND_AMF0, amf0.encode("connect", 1.0, {"app": "again"}), 0, csid=3)
    over_and_over(this, 4, lambda: this.open().connect(this.app()), each)


@attack()
def published_where_somebody_publishes(this: Attack) -> None:
    """Ask to publish on the channel of the good stream, four side by side."""

    def once() -> None:
        connection = this.open().connect("good")
        connection.command("publish", None, "other", "live", msid=connection.create_stream())
        with this.may_be_cut():
            connection.status()
        connection.close()

    this.together(4, once)


@attack()
def names_that_are_refused(this: Attack) -> None:
    """Publish and play under names that are not allowed, four side by side, which is a log line each."""

    def once() -> None:
        connection = this.open().connect(this.app())
        connection.command("publish", None, "a b\n" * 50, "live", msid=connection.create_stream())
        with this.may_be_cut():
            connection.status()
        connection.close()

    this.together(4, once)


@attack()
def keys_guessed(this: Attack) -> None:
    """Try one key after the other on the good stream, on thirty connections of one address."""
    guesses = [0]

    def once() -> None:
        connection = this.open()
        try:
            connection.play("good", f"guess{guesses[0]}")
            if not connection.status().startswith("NetStream.Play.Start"):
                guesses[0] += 1
        finally:
            connection.close()

    this.together(GUESSERS, once)
    if guesses[0] > MOST_GUESSES_PER_S * this.attack_s:
        this.complain(f"{guesses[0] / this.attack_s:.0f} keys a second could be tried")

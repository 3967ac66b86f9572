"""Attacks by control messages and by the way in which messages are cut."""

from __future__ import annotations

from rtmpsrv.protocol import messages
from rtmpsrv.protocol.chunks import basic_header, pack

from .attacker import Attack
from .cases import attack
from .wire import NO_CHUNKS, Connection, again, head, whole

FRAME = b"\x27\x01\x00\x00\x00" + bytes(20_000)


def publishing(this: Attack, data: bytes, *, chunk_size: int = NO_CHUNKS) -> None:
    """Send it over and over as a publisher, who may be slowed but not cut."""
    publisher = this.publisher()
    publisher.send(messages.set_chunk_size(chunk_size))
    if this.flood([publisher], data):
        this.complain("the publisher was cut")


def playing(this: Attack, data: bytes, count: int = 4) -> None:
    """Send it over and over as players of the good stream, who may be cut, and come back."""
    this.together(count, lambda: _as_player(this, data))


def _as_player(this: Attack, data: bytes) -> None:
    this.flood([this.player("good")], data)


@attack()
def chunks_of_one_byte(this: Attack) -> None:
    """Publish frames in chunks of one byte."""
    publishing(this, pack(6, 0, messages.VIDEO, 1, FRAME, 1), chunk_size=1)


@attack()
def chunks_of_one_byte_on_many_connections(this: Attack) -> None:
    """Publish frames in chunks of one byte on eight connections."""
    publishers = [this.publisher() for _ in range(8)]
    for publisher in publishers:
        publisher.send(messages.set_chunk_size(1))
    this.flood(publishers, pack(6, 0, messages.VIDEO, 1, FRAME, 1))


@attack()
def bytes_one_by_one(this: Attack) -> None:
    """Publish frames on four connections, each byte in a TCP segment of its own."""
    publishers = [this.publisher() for _ in range(4)]
    data = whole(messages.VIDEO, FRAME, csid=6)
    places = [iter(data) for _ in publishers]
    while not this.over:
        for number, publisher in enumerate(publishers):
            byte = next(places[number], None)
            if byte is None:
                places[number] = iter(data)
                publisher.discard()
            else:
                publisher.send(bytes((byte,)))


@attack()
def chunks_that_take_turns(this: Attack) -> None:
    """Publish messages on ninety chunk streams in chunks of one byte that take turns."""
    csids = range(70, 160)
    data = b"".join(basic_header(0, csid) + head(messages.AUDIO, 40)[1:] + b"\xaf" for csid in csids)
    data += b"".join(basic_header(3, csid) + b"\x01" for csid in csids) * 39
    publishing(this, data, chunk_size=1)


@attack()
def chunk_sizes(this: Attack) -> None:
    """Announce another chunk size again and again."""
    publishing(this, (messages.set_chunk_size(4096) + messages.set_chunk_size(128)))


@attack()
def aborts(this: Attack) -> None:
    """Begin a message and abort it again and again."""
    begin = head(messages.VIDEO, 5000, csid=6) + bytes(128)
    data = begin + messages.control(messages.ABORT, (6).to_bytes(4, "big"))
    publishing(this, data, chunk_size=128)


@attack()
def acknowledgements_of_a_publisher(this: Attack) -> None:
    """Send acknowledgements as fast as they are taken, as a publisher."""
    publishing(this, messages.acknowledgement(1))


@attack()
def acknowledgements_of_players(this: Attack) -> None:
    """Send acknowledgements as fast as they are taken, as players."""
    playing(this, messages.acknowledgement(1))


@attack()
def windows(this: Attack) -> None:
    """Announce windows of one byte again and again, so that acknowledgements are due all the time."""
    publishing(this, (messages.window_ack_size(1) + messages.set_peer_bandwidth(1, 2)))


@attack()
def pings_of_a_publisher(this: Attack) -> None:
    """Ask for pongs as fast as they come, as a publisher."""
    publishing(this, messages.user_control(messages.PING_REQUEST, 7))


@attack()
def pings_of_a_publisher_that_reads_nothing(this: Attack) -> None:
    """Ask for pongs as a publisher that takes none."""
    publisher = this.open(receive_buffer=4096).publish(this.app())
    this.flood([publisher], messages.user_control(messages.PING_REQUEST, 7), reads=False)


@attack()
def pings_of_players(this: Attack) -> None:
    """Ask for pongs as fast as they come, as players."""
    playing(this, messages.user_control(messages.PING_REQUEST, 7))


@attack()
def user_control_of_all_kinds(this: Attack) -> None:
    """Send user control messages of all kinds, known and unknown, as players."""
    playing(this, b"".join(messages.user_control(event, 1) for event in (0, 1, 2, 3, 4, 7, 8, 31, 32)))


@attack()
def pings_before_connect(this: Attack) -> None:
    """Ask for pongs before connect, on connections that come back."""

    def once() -> None:
        connection = this.open().shake()
        this.flood([connection], messages.user_control(messages.PING_REQUEST, 7))
        connection.close()

    this.together(4, once)


@attack()
def times_that_jump(this: Attack) -> None:
    """Publish tiny keyframes and audio whose times jump, most of them in the extended field."""
    stamps = [0, 0xFFFFFFFF, 1 << 31, 5, 0xFFFFFF, 40, 0x80000001, 0xFFFFFE]
    data = b"".join(
        pack(6, stamp, messages.VIDEO, 1, b"\x17\x01\0\0\0k")
        + pack(4, stamp, messages.AUDIO, 1, b"\xaf\x01a")
        for stamp in stamps
    )
    app = this.app()
    publisher = this.publisher(app)
    watching = [this.player(app) for _ in range(3)]
    this.flood([publisher], data, readers=watching)


@attack()
def messages_of_other_streams(this: Attack) -> None:
    """Publish audio on message streams that do not exist."""
    data = b"".join(whole(messages.AUDIO, b"\xaf\x01", msid) for msid in (0, 2, 77, 0xFFFFFFFF))
    publishing(this, data)


@attack()
def a_frame_rate_beyond_sense(this: Attack) -> None:
    """Publish proper small frames as fast as they are taken, to three players."""
    app = this.app()
    publisher: Connection = this.publisher(app)
    watching = [this.player(app) for _ in range(3)]
    key = whole(messages.VIDEO, b"\x17\x01\0\0\0" + bytes(100), csid=6)
    begin = whole(messages.VIDEO, b"\x27\x01\0\0\0" + bytes(100), csid=6)
    rest = (again(6) + b"\x27\x01\0\0\0" + bytes(100)) * 58
    if this.flood([publisher], (key + begin + rest), readers=watching):
        this.complain("the publisher was cut")

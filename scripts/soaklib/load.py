"""Publishers and players that come, behave well or badly, and go, at random. One greenlet each."""

from __future__ import annotations

import random
import re
import socket
import struct
from collections import Counter
from collections.abc import Callable
from time import monotonic

import gevent
from benchlib.rtmpclient import (
    MEDIA,
    TYPE_ACK,
    TYPE_AUDIO,
    TYPE_COMMAND,
    TYPE_DATA,
    TYPE_USER_CONTROL,
    TYPE_VIDEO,
    Client,
    ClientError,
    Target,
    amf_encode,
    pack_message,
)
from benchlib.scenarios import Scenario
from benchlib.stream import AAC_HEADER, AUDIO_CSID, AVC_HEADER, VIDEO_CSID, stamp, stamp_of, templates
from gevent.select import select

CHANNELS_SHARED = 0.8  # players that choose among the first fifth of the channels
STAY_S = (0.5, 25.0)
AWAY_S = (0.0, 4.0)
NAP_S = (1.0, 14.0)  # of a player that stops reading
SLICE_S = 0.25  # between looks at the clock
UNSURE_S = 3.0  # after media were switched off and on, for gaps to be expected
HEAD_BYTES = 32
PING = 6
LINGER_RESET = struct.pack("ii", 1, 0)  # close with RST


class Load:
    """All clients of a run, and what they saw."""

    def __init__(self, target: Target, publishers: int, players: int, seed: int) -> None:
        """Start nobody yet."""
        self.seen: Counter[str] = Counter()
        self._target = target
        self._publishers = publishers
        self._players = players
        self._scenario = Scenario(bitrate_mbit=0.3, fps=25, gop_s=1.0)
        self._random = random.Random(seed)
        self._until = 0.0

    def run(self, seconds: float) -> None:
        """Let everybody come and go for so long; returns when the last one has left."""
        self._until = monotonic() + seconds
        slots: list[Callable[[random.Random], None]] = [
            *(lambda dice, n=n: self._publish(dice, n) for n in range(self._publishers)),
            *[self._play] * self._players,
        ]
        greenlets = [gevent.spawn(self._come_and_go, one, self._random.random()) for one in slots]
        gevent.joinall(greenlets, raise_error=True)

    def _come_and_go(self, visit: Callable[[random.Random], None], seed: float) -> None:
        dice = random.Random(seed)
        while monotonic() < self._until:
            gevent.sleep(min(dice.uniform(*AWAY_S), max(0.0, self._until - monotonic())))
            if monotonic() < self._until:
                try:
                    visit(dice)
                except (ClientError, OSError) as exc:
                    self.seen[_named(exc)] += 1

    # --- publishers -------------------------------------------------------------------------------

    def _publish(self, dice: random.Random, channel: int) -> None:
        size = dice.choice((128, 4096, 65536))
        client = Client(self._target, channel)
        try:
            client.command_connect(size)
            client.command_publish()
            client.wait_for_consent()
            self.seen["published"] += 1
            self._stream(client, dice, size)
            self._end(client, dice, size)
        finally:
            client.close()

    def _stream(self, client: Client, dice: random.Random, size: int) -> None:
        messages = templates(_with_chunks(self._scenario, size))
        metadata = amf_encode("@setDataFrame", "onMetaData", {"width": 1280, "height": 720})
        client.sock.sendall(
            pack_message(4, TYPE_DATA, 1, metadata, size)
            + pack_message(VIDEO_CSID, TYPE_VIDEO, 1, AVC_HEADER, size)
            + pack_message(AUDIO_CSID, TYPE_AUDIO, 1, AAC_HEADER, size)
        )
        start = monotonic()
        end = min(self._until, start + dice.uniform(*STAY_S))
        gop = round(self._scenario.fps * self._scenario.gop_s)
        number = 0
        while monotonic() < end:
            timestamp = int(number * 1000 / self._scenario.fps)
            for type_id, message in (
                (TYPE_VIDEO, messages.inter if number % gop else messages.keyframe),
                (TYPE_AUDIO, messages.audio),
            ):
                stamp(message, type_id, timestamp, 0, number)
                client.sock.sendall(message)
            number += 1
            if not number % gop:
                _discard(client)
            gevent.sleep(max(0.0, start + number / self._scenario.fps - monotonic()))

    def _end(self, client: Client, dice: random.Random, size: int) -> None:
        how = dice.choice(("close", "reset", "delete", "unpublish", "half", "garbage"))
        self.seen[f"publisher: {how}"] += 1
        if how == "delete":
            body = amf_encode("deleteStream", 9, None, 1)
            client.sock.sendall(pack_message(3, TYPE_COMMAND, 0, body, size))
        elif how == "unpublish":
            body = amf_encode("FCUnpublish", 9, None, client.stream_name)
            client.sock.sendall(pack_message(3, TYPE_COMMAND, 0, body, size))
        elif how == "half":
            client.sock.sendall(pack_message(VIDEO_CSID, TYPE_VIDEO, 1, bytes(9000), size)[:5000])
        elif how == "garbage":
            client.sock.sendall(dice.randbytes(3000))
        elif how == "reset":
            _reset_on_close(client)
        if dice.random() < 0.5:
            gevent.sleep(0.2)

    # --- players ----------------------------------------------------------------------------------

    def _play(self, dice: random.Random) -> None:
        most = max(1, self._publishers // 5) if dice.random() < CHANNELS_SHARED else self._publishers
        lazy = dice.random() < 0.1
        buffer = 16_384 if lazy else 262_144
        client = Client(self._target, dice.randrange(most), HEAD_BYTES, receive_buffer=buffer)
        try:
            if dice.random() < 0.03:
                self.seen["player: gone in the handshake"] += 1
                return
            client.command_connect()
            client.command_play()
            self.seen["played"] += 1
            self._watch(client, dice, lazy)
            if dice.random() < 0.3:
                _reset_on_close(client)
            elif dice.random() < 0.3:
                body = amf_encode("deleteStream", 9, None, 1)
                client.sock.sendall(pack_message(3, TYPE_COMMAND, 0, body))
        finally:
            client.close()

    def _watch(self, client: Client, dice: random.Random, lazy: bool) -> None:
        end = min(self._until, monotonic() + dice.uniform(*STAY_S))
        last: dict[int, int] = {}
        received = 0
        unsure_until = 0.0
        while monotonic() < end:
            if lazy and dice.random() < 0.02:
                self.seen["player: nap"] += 1
                gevent.sleep(min(dice.uniform(*NAP_S), max(0.0, end - monotonic())))
            elif dice.random() < 0.002:
                self._change_mind(client, dice)
                unsure_until = monotonic() + UNSURE_S
            if not _readable(client, SLICE_S):
                continue
            for type_id, length, head in client.messages():
                received += length
                if type_id == TYPE_USER_CONTROL and int.from_bytes(head[:2], "big") == PING:
                    client.sock.sendall(pack_message(2, TYPE_USER_CONTROL, 0, b"\0\7" + head[2:6]))
                elif type_id == TYPE_COMMAND:
                    last.clear()  # another publisher, a pause
                    self.seen["player: told the end"] += b"UnpublishNotify" in head
                elif type_id in MEDIA and (found := stamp_of(type_id, head)) is not None:
                    before = last.get(type_id)
                    last[type_id] = found[1]
                    if before is not None and found[1] != before + 1 and monotonic() > unsure_until:
                        self.seen["lazy player: gap" if lazy else "good player: gap"] += 1
        client.sock.sendall(pack_message(2, TYPE_ACK, 0, struct.pack(">I", received)))

    def _change_mind(self, client: Client, dice: random.Random) -> None:
        name = dice.choice(("pause", "receiveAudio", "receiveVideo"))
        self.seen[f"player: {name}"] += 1
        for value in (name == "pause", name != "pause"):
            body = amf_encode(name, 0, None, value, *([0] if name == "pause" else []))
            client.sock.sendall(pack_message(8, TYPE_COMMAND, 1, body))
            gevent.sleep(dice.uniform(0.0, 0.5))


def _with_chunks(scenario: Scenario, size: int) -> Scenario:
    return Scenario(
        bitrate_mbit=scenario.bitrate_mbit, fps=scenario.fps, gop_s=scenario.gop_s, chunk_size=size
    )


def _discard(client: Client) -> None:
    """Throw away what the server says to a publisher."""
    if _readable(client, 0.0) and not client.raw.recv(65536):
        raise ClientError("closed by the server")


def _readable(client: Client, timeout_s: float) -> bool:
    return bool(select([client.raw], [], [], timeout_s)[0])


def _reset_on_close(client: Client) -> None:
    client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_RESET)


def _named(exc: Exception) -> str:
    """Tell failures apart by kind, not by channel."""
    found = re.search(r"closed[a-z ]*|Net[A-Za-z.]+|Errno \d+|timed out", str(exc))
    return f"failure: {found[0] if found else exc}"

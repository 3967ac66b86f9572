"""The chunk stream: bytes to messages and back (RTMP 1.0 section 5.3). No commands, no AMF, no I/O.

The reader is a state machine over whatever bytes arrived, in plain attributes: it can be pickled in the
middle of a chunk. It acts by itself on the two messages that change how bytes are read (Set Chunk Size,
Abort) and delivers all, in order of completion. `read` is longer than a function should be: it runs once
per chunk of every publisher, and a call per header field costs more than the parsing.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from struct import Struct
from typing import Final

from ..errors import LocalProtocolError, RemoteProtocolError
from ..pickling import Reduced, by_fields
from . import extended as extended_field
from .chunk_stream import LARGE_CHUNK, ChunkStream, joined, make_room

DEFAULT_CHUNK_SIZE: Final = 128  # bytes, both directions, RTMP 1.0 section 5.4.1
MAX_CHUNK_SIZE: Final = 0x7FFFFFFF  # bytes; a top bit is an error. Clients do send 134217728
MAX_CHUNK_STREAMS: Final = 96  # with state, per connection; clients use up to 8, some new ones each time
MAX_MESSAGE_LENGTH: Final = 0xFFFFFF  # bytes, the 24-bit length field
EXTENDED: Final = 0xFFFFFF  # 24-bit timestamp field that announces an extended one
MAX_RUN: Final = 1 << 30  # messages of one `read`: as many as there are
CHUNKS_PER_UNIT: Final = 16  # chunks read one by one that cost as much as a message
BULK_CHUNKS: Final = 1024  # looked at in one step; those that do not belong there were for nothing

_SET_CHUNK_SIZE: Final = 1
_ABORT: Final = 2
_AUDIO: Final = 8
_VIDEO: Final = 9
_CONTROL_TYPES: Final = frozenset((1, 2, 3, 4, 5, 6))
_MEDIA_TYPES: Final = frozenset((8, 9, 22))
_MSID: Final = Struct("<I")  # the only number that is little-endian
_FIRST_TAILS: Final = [bytes((kind,)) + _MSID.pack(1) for kind in range(256)]  # of stream 1, as in logs
_CONTROL_BODY_LIMIT: Final = 64  # bytes; the longest known control body has 44


@dataclass(slots=True)
class Limits:
    """What a peer may make the reader hold, in bytes; tightened before a peer is known, widened after."""

    media_bytes: int = MAX_MESSAGE_LENGTH
    command_bytes: int = 1 << 20
    partial_bytes: int = 2 * MAX_MESSAGE_LENGTH

    def __reduce__(self) -> Reduced:
        return by_fields(self)


@dataclass(slots=True)
class ChunkReader:
    """Reassemble messages from chunks. All fields together are the state; pickle it at any time."""

    chunk_size: int = DEFAULT_CHUNK_SIZE
    limits: Limits = field(default_factory=Limits)
    last_message_type: int = 255  # types above are refused when their header is read
    streams: dict[int, ChunkStream] = field(default_factory=dict)
    tail: bytes = b""  # received and not parsed, from `position` on
    position: int = 0
    starved: bool = True  # nothing more can be read before bytes come
    taken: int = 0  # messages so far
    cost: int = 0  # of the last `read`: messages, and chunks by their number
    current: ChunkStream | None = None  # the stream whose chunk payload is being read
    chunk_left: int = 0  # bytes of that payload still to come
    partial_bytes: int = 0  # payload held in unfinished messages, all streams
    dialect: int = extended_field.UNKNOWN

    def __reduce__(self) -> Reduced:
        return by_fields(self)

    def feed(self, data: bytes) -> list[tuple[int, int, int, bytes, int]]:
        """Take received bytes; return all messages they complete, as `read` does in runs."""
        messages = self.read(data)
        while not self.starved:
            messages += self.read(b"")
        return messages

    def read(self, data: bytes, most: int = MAX_RUN) -> list[tuple[int, int, int, bytes, int]]:
        """Take received bytes; return the next run of messages: (type, timestamp, msid, payload, csid).

        A run ends behind a message that is neither audio nor video, so that the caller can act on it before
        what follows is judged, and after `most` messages or a like amount of work. While it is not `starved`,
        `read(b"")` goes on. Set Chunk Size and Abort were obeyed when they are returned. Never blocks.
        Raises RemoteProtocolError on anything no peer may send; the reader is unusable afterwards.
        """
        position = 0
        if self.tail:
            if data:
                data = self.tail[self.position :] + data
            else:
                data = self.tail
                position = self.position
        messages: list[tuple[int, int, int, bytes, int]] = []
        end = len(data)
        streams = self.streams
        media_limit = self.limits.media_bytes
        chunks = 0
        starved = True
        while position < end:
            stream = self.current
            if stream is None:
                # --- basic header -------------------------------------------------------------
                start = position
                first = data[position]
                position += 1
                csid = first & 63
                if csid < 2:
                    if end - position < csid + 1:
                        position = start
                        break
                    position += csid + 1
                    csid = 64 + data[start + 1] + (256 * data[start + 2] if csid else 0)
                fmt = first >> 6
                stream = streams.get(csid)
                if fmt == 3:
                    if stream is None:
                        raise RemoteProtocolError(f"type 3 chunk on unknown chunk stream {csid}")
                    if stream.extended:
                        taken, self.dialect = extended_field.judge(
                            self.dialect, stream.extended_value, data[position : position + 4]
                        )
                        if taken < 0:
                            position = start
                            break
                        position += taken
                    if stream.partial is None:
                        stream.timestamp = (stream.timestamp + stream.delta) & 0xFFFFFFFF
                else:
                    size = (11, 7, 3)[fmt]
                    if end - position < size:
                        position = start
                        break
                    stamp = data[position] << 16 | data[position + 1] << 8 | data[position + 2]
                    extended = stamp == EXTENDED
                    if extended:
                        if end - position < size + 4:
                            position = start
                            break
                        stamp = int.from_bytes(data[position + size : position + size + 4], "big")
                    if stream is None:
                        stream = self._open_stream(csid, fmt)
                    if stream.partial is None:
                        if fmt != 2:
                            stream.length = (
                                data[position + 3] << 16 | data[position + 4] << 8 | data[position + 5]
                            )
                            stream.type_id = data[position + 6]
                        if fmt == 0:
                            stream.msid = int.from_bytes(data[position + 7 : position + 11], "little")
                            stream.timestamp = stamp
                        else:
                            stream.timestamp = (stream.timestamp + stamp) & 0xFFFFFFFF
                        stream.delta = stamp
                    # Some hardware repeats the header inside a message, where only type 3 should be.
                    elif not stream.continued_by(data[position + 3 : position + size]):
                        raise RemoteProtocolError(f"chunk stream {csid}: a message begins inside another")
                    stream.extended = extended
                    stream.extended_value = stamp
                    position += size + 4 if extended else size
                if stream.partial is None:
                    stream.used = self.taken + len(messages)
                    length = stream.length
                    type_id = stream.type_id
                    if length > media_limit or type_id not in (_AUDIO, _VIDEO):
                        self._check_length(stream)
                    # The common case: a whole message, already here.
                    whole = None
                    if length <= self.chunk_size and end - position >= length:
                        whole = data[position : position + length]
                        position += length
                    elif self.chunk_size >= LARGE_CHUNK and not stream.extended:
                        whole, position = joined(data, position, length, self.chunk_size, csid)
                    if whole is not None:
                        messages.append((type_id, stream.timestamp, stream.msid, whole, csid))
                        if type_id in (_AUDIO, _VIDEO):
                            if len(messages) < most:
                                continue
                        elif type_id < 3:
                            self._obey(type_id, whole)
                        starved = position >= end
                        break
                    stream.partial = bytearray()
                    self.chunk_left = min(length, self.chunk_size)
                else:
                    self.chunk_left = min(stream.length - len(stream.partial), self.chunk_size)
                self.current = stream
            # --- payload of the current chunk -------------------------------------------------
            partial = stream.partial
            assert partial is not None, "a chunk's payload belongs to a message"
            take = min(self.chunk_left, end - position)
            partial += data[position : position + take]
            self.partial_bytes += take
            position += take
            self.chunk_left -= take
            if self.chunk_left:
                self._check_partial()
                break
            if len(partial) < stream.length and not stream.extended:
                position = self._take_run(stream, partial, data, position, end)
            self.current = None
            chunks += 1
            if len(partial) >= stream.length:
                stream.partial = None
                self.partial_bytes -= len(partial)
                payload = bytes(partial)
                type_id = stream.type_id
                messages.append((type_id, stream.timestamp, stream.msid, payload, stream.csid))
                if type_id < 3:
                    self._obey(type_id, payload)
                if type_id not in (_AUDIO, _VIDEO) or len(messages) >= most:
                    starved = position >= end
                    break
            else:
                self._check_partial()
            if chunks >= most * CHUNKS_PER_UNIT:
                starved = position >= end
                break
        self.starved = starved
        self.cost = len(messages) + chunks // CHUNKS_PER_UNIT
        self.taken += len(messages)
        if position >= end:
            self.tail = b""
        elif starved:  # an unfinished header, of at most 17 bytes
            self.tail = data[position:]
            self.position = 0
        else:
            self.tail = data
            self.position = position
        return messages

    def _take_run(self, stream: ChunkStream, partial: bytearray, data: bytes, position: int, end: int) -> int:
        """Take whole type 3 chunks of one message in bulk; return the new position.

        Publishers that stay at 128 bytes (librtmp, GStreamer) need 80 chunks for one frame: the headers are
        checked with one strided slice and removed with one strided delete.
        """
        csid = stream.csid
        if csid > 63:
            return position
        header = 0xC0 | csid
        size = self.chunk_size
        step = size + 1
        before = len(partial)
        while position < end and data[position] == header:
            missing = stream.length - len(partial)
            whole = min(missing // size, (end - position) // step, BULK_CHUNKS)
            span = whole * step
            last = missing - whole * size
            if 0 < last < size and end - position > span + last:
                span += 1 + last  # the shorter last chunk is here as well
                whole += 1
            if not whole:
                break
            headers = data[position : position + span : step]
            same = len(headers) - len(headers.lstrip(bytes((header,))))
            if same < whole:
                span = same * step  # another stream interleaves there
            run = bytearray(data[position : position + span])
            del run[::step]
            partial += run
            position += span
        self.partial_bytes += len(partial) - before
        return position

    def _open_stream(self, csid: int, fmt: int) -> ChunkStream:
        if fmt == 2:
            raise RemoteProtocolError(f"type 2 chunk on unknown chunk stream {csid}")
        # A type 1 chunk on a fresh stream is how librtmp answers pings: time and message stream are 0.
        if len(self.streams) >= MAX_CHUNK_STREAMS and not make_room(self.streams):
            raise RemoteProtocolError(f"chunk stream {csid} is one more than the limit {MAX_CHUNK_STREAMS}")
        stream = self.streams[csid] = ChunkStream(csid)
        return stream

    def _check_length(self, stream: ChunkStream) -> None:
        type_id = stream.type_id
        if type_id in _MEDIA_TYPES:
            limit = self.limits.media_bytes
        elif type_id in _CONTROL_TYPES:
            limit = _CONTROL_BODY_LIMIT
        else:
            limit = self.limits.command_bytes
        if stream.length > limit:
            raise RemoteProtocolError(f"message of type {type_id} and {stream.length} bytes, limit {limit}")
        if type_id > self.last_message_type:
            raise RemoteProtocolError(f"message type {type_id}, limit {self.last_message_type}")

    def _check_partial(self) -> None:
        if self.partial_bytes > self.limits.partial_bytes:
            raise RemoteProtocolError(
                f"{self.partial_bytes} bytes in unfinished messages, limit {self.limits.partial_bytes}"
            )

    def _obey(self, type_id: int, body: bytes) -> None:
        """Act on Set Chunk Size and Abort, which change how the next byte is read."""
        if type_id not in (_SET_CHUNK_SIZE, _ABORT):  # 0 is no type: ignored like others that are unknown
            return
        if len(body) < 4:
            raise RemoteProtocolError(f"control message type {type_id} of {len(body)} bytes, needs 4")
        value = int.from_bytes(body[:4], "big")
        if type_id == _SET_CHUNK_SIZE:
            if not 1 <= value <= MAX_CHUNK_SIZE:
                raise RemoteProtocolError(f"chunk size {value}, limits 1 to {MAX_CHUNK_SIZE}")
            self.chunk_size = value
        else:
            stream = self.streams.get(value)
            if stream is not None and stream.partial is not None:
                self.partial_bytes -= len(stream.partial)
                stream.partial = None


def basic_header(fmt: int, csid: int) -> bytes:
    """Encode a basic header in its shortest form; `csid` from 2 to 65599."""
    if 2 <= csid <= 63:
        return bytes((fmt << 6 | csid,))
    if 64 <= csid <= 319:
        return bytes((fmt << 6, csid - 64))
    if 320 <= csid <= 65599:
        return bytes((fmt << 6 | 1, (csid - 64) & 255, (csid - 64) >> 8))
    raise LocalProtocolError(f"chunk stream id {csid}, limits 2 to 65599")


def pack(
    csid: int, timestamp: int, type_id: int, msid: int, payload: bytes, chunk_size: int = DEFAULT_CHUNK_SIZE
) -> bytes:
    """Frame a message as one type 0 chunk and type 3 continuations; depends on nothing sent before.

    `timestamp` in ms, 0 to 2^32-1; from 0xFFFFFF on it goes into the extended field of every chunk: FFmpeg
    and rtmpdump need it on type 3 chunks too. At most 0xFFFFFF bytes of payload.
    """
    length = len(payload)
    if length > MAX_MESSAGE_LENGTH:
        raise LocalProtocolError(f"message of {length} bytes, limit {MAX_MESSAGE_LENGTH}")
    stamp, extended = timestamp, b""
    if timestamp >= EXTENDED:
        stamp, extended = EXTENDED, timestamp.to_bytes(4, "big")
    header = ((csid & 63) << 48 | stamp << 24 | length).to_bytes(7, "big")
    if csid > 63:
        header = basic_header(0, csid) + header[1:]
    header += _FIRST_TAILS[type_id] if msid == 1 else bytes((type_id,)) + _MSID.pack(msid)
    header += extended
    if length <= chunk_size:
        return header + payload
    joint = (basic_header(3, csid) if csid > 63 else (0xC0 | csid).to_bytes(1, "big")) + extended
    parts = [header, payload[:chunk_size]]
    for position in range(chunk_size, length, chunk_size):
        parts.append(joint)
        parts.append(payload[position : position + chunk_size])
    return b"".join(parts)

"""A player: a position in the log of an output. Moves bytes from the log to its sink, never blocks.

A player that has been sent everything is a *follower*: the output's flush sends to it directly and its
position is the output's. One whose socket was full, or that just joined, *catches up* from its own position
in the greenlet of its sink, by `sendfile` where the sink can. One that wants only part of the messages
(paused, audio or video off, waiting for a keyframe, another message stream than 1) *walks* the index.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from ..pickling import Reduced, by_fields
from . import facts
from .framing import SHARED_MSID
from .header_history import Headers
from .segment import AUDIO, DATA, HEADER, KEYFRAME, VIDEO, Segment, frame_kinds
from .sink import Sink as Sink

if TYPE_CHECKING:
    from .log import Log
    from .output import Output

STEP_BYTES: Final = 256 * 1024  # most that one step moves, so that one player's catching up stays short
COPY_BYTES: Final = 64 * 1024  # most that a step copies, where it cannot send from the file
WALK_MESSAGES: Final = 256  # most that one step looks at in the index

EVERYTHING: Final = AUDIO | VIDEO | DATA
FLV: Final = "flv"  # the form of a player that gets an FLV stream and nothing else
_BEFORE_KEYFRAME: Final = AUDIO | DATA | HEADER  # that is not held back while video waits


@dataclass(slots=True)
class PlayerState:
    """All that is known of a player but its log and its sink: numbers and texts. Pickles."""

    msid: int = SHARED_MSID
    key: str | None = field(default=None, repr=False)  # the key it plays with; None: none needed
    cache: str = ""  # "no": start at the next keyframe; "clear": at the beginning of what is kept
    wants: int = EVERYTHING  # what it asked to receive
    paused: bool = False
    mask: int = EVERYTHING  # what it is sent
    needs_keyframe: bool = False
    waiting: bool = True  # no publisher, or not started yet
    publication: int = 0  # of the channel, in whose log the position is
    position: int = 0  # what it was sent, or skipped, so far
    allowance_bytes: int = 0  # how far behind it may be
    allowance_s: float = 0.0
    skipped_messages: int = 0
    jumps: int = 0
    rest: bytes = field(default=b"", repr=False)  # of a begun message, of a frozen player
    then: bytes = field(default=b"", repr=False)  # to be sent behind it and what waits, before the position
    form: str = ""  # "": chunks of RTMP
    announced: int = 0  # kinds of media that an FLV header said would come

    def __reduce__(self) -> Reduced:
        return by_fields(self)

    @property
    def is_plain(self) -> bool:
        """Whether it gets every byte of the log as it is."""
        return self.mask == EVERYTHING and not self.needs_keyframe and self.msid == SHARED_MSID


class Player:
    """One player of one channel: its state, where it reads, and where it writes. Never blocks."""

    __slots__ = ("_log", "_rest", "_segment", "_then", "has_rest", "output", "sink", "state")

    def __init__(self, sink: Sink, state: PlayerState) -> None:
        self.sink = sink
        self.state = state
        self.output: Output | None = None  # that it was started by; its channel's, or one that ended since
        self._log: Log | None = None  # None while the output holds its place
        self._segment: Segment | None = None  # that the position was in
        self._rest: tuple[Segment, int, int] | None = None  # of a message begun before a jump
        self._then = state.then  # what follows it
        self.has_rest = bool(
            state.rest or state.then
        )  # something must be sent before what is at the position

    # --- called by the output and the channel -----------------------------------------------------

    @property
    def position(self) -> int:
        """Where it reads in the log, while the output does not hold its place."""
        return self.state.position

    @property
    def has_cursor(self) -> bool:
        """Whether it reads by itself: a laggard."""
        return self._log is not None

    def next_time(self, wants: int, waits: bool) -> int:
        """Return the timestamp of the first frame that it will be sent, as far as that is known; else 0."""
        output = self.output
        if output is None:
            return 0
        log = output.log
        place = log.next_boundary(self.state.position) if self.has_cursor else log.flushed
        return log.time_from(place, frame_kinds(wants, waits))

    def start(self, output: Output, position: int, allowance_bytes: int, allowance_s: float) -> None:
        """Begin to read; how far behind it may be includes what lay before it at that moment."""
        state = self.state
        state.waiting = False
        state.publication = output.publication
        state.allowance_bytes, state.allowance_s = allowance_bytes, allowance_s
        self.output = output
        self.take_cursor(output.log, position)

    def take_cursor(self, log: Log, position: int) -> None:
        """Read by itself from a position on."""
        self._log = log
        self._segment = None
        self.state.position = position

    def give_cursor(self) -> None:
        """Let the output hold its place: it was sent everything."""
        self._log = None
        self._segment = None

    def finish(self, waits: bool = True) -> None:
        """Read no more of a publication, or not yet; a begun message is completed, since others follow it."""
        if rest := self._take_rest():
            self.sink.offer(rest)
        self.state.waiting = waits

    def end(self) -> None:
        """End the connection with what was read: an FLV stream cannot go on with another publication."""
        self.finish(waits=False)
        self.sink.end_when_empty()

    def allow(self, allowance_bytes: int, allowance_s: float) -> None:
        """Set how far behind it may be from now on."""
        self.state.allowance_bytes, self.state.allowance_s = allowance_bytes, allowance_s

    def announce(self, kinds: int) -> None:
        """Take note of the kinds of media that it is told of; others must not come."""
        self.state.announced = kinds

    def place(self, position: int) -> None:
        """Set where it goes on, before it is started."""
        self.state.position = position

    def filter(self, wants: int, paused: bool) -> None:
        """Choose what it is sent."""
        state = self.state
        state.wants, state.paused = wants, paused
        state.mask = DATA if paused else wants
        if not state.mask & VIDEO:
            state.needs_keyframe = False

    def await_keyframe(self, needs: bool) -> None:
        """Set whether to hold back video until a keyframe; audio goes on."""
        self.state.needs_keyframe = needs and bool(self.state.mask & VIDEO)

    def jump(self, position: int, then: bytes) -> int:
        """Leave out what lies before a boundary ahead, but for the rest of a begun message; then send `then`.

        Returns where what it leaves out begins.
        The rest is sent from its segment, which stays for it, so nothing is copied and held meanwhile.
        """
        log, state = self._log, self.state
        assert log is not None, "only a player with a cursor of its own can jump"
        begun = log.next_boundary(state.position)
        if begun > state.position:
            segment = log.segment_at(state.position)
            self._rest = segment, state.position - segment.base, begun - segment.base
        self._then = then
        self.has_rest = self._rest is not None or bool(state.rest or then)
        state.skipped_messages += log.number_at(position) - log.number_at(begun)
        state.jumps += 1
        self.take_cursor(log, position)
        return begun

    def changed_headers(self, target: int) -> bytes:
        """Return the headers that it needs at a place ahead and was not sent."""
        log, output, state = self._log, self.output, self.state
        assert log is not None, "only a player with a cursor of its own can jump"
        assert output is not None, "a player with a cursor was started by an output"
        known: Headers = ()
        if not self.has_rest:
            place = log.next_boundary(state.position)
            known = log.headers.at(place) if log.headers.remembers(place) else ()
        changed = tuple([header for header in log.headers.at(target) if header not in known])
        time = log.time_from(target, frame_kinds(state.mask, state.needs_keyframe))
        return output.framing.headers(changed, time, state.msid)

    def let_go(self, copies: dict[int, Segment]) -> None:
        """Hold no segment for the message begun in it, but a copy of that message, which players share."""
        self._segment = None
        if self._rest is not None and len(self._rest[0].offsets) > 1:
            segment, begin, end = self._rest
            number = segment.message_at(begin)
            first = segment.offset_of(number)
            if segment.base + first not in copies:
                copies[segment.base + first] = segment.copy_of(number)
            self._rest = copies[segment.base + first], begin - first, end - first

    def freeze(self) -> PlayerState:
        """Return the state, with what must be sent before its position. The player is dead afterwards."""
        then, self._then = self._then, b""
        places = self.output.places if self.output is not None else None
        self.state.rest, self.state.then = self._take_rest(), then
        if places is not None:  # where its bytes are means nothing to another process
            self.state.position = places.source_of(self.state.position)
        return self.state

    # --- called by the sink -----------------------------------------------------------------------

    @property
    def at_boundary(self) -> bool:
        """Whether other messages may be written now."""
        if self._log is None:
            return True
        return self._rest is None and not self.state.rest and self._log.is_boundary(self.state.position)

    @property
    def uncounted_bytes(self) -> int:
        """Bytes that the fast lane has sent and the sink was not told of yet."""
        return self.output.audience.followed_bytes(self) if self.output is not None else 0

    def fall_behind(self) -> None:
        """Take media from a cursor of its own from now on: the sink has something to write first."""
        if self.output is not None and self._log is None:
            self.output.fall_behind(self)

    def step(self, to_boundary: bool) -> bool | None:
        """Send some of the log; no further than the next message boundary if so asked.

        True: moved, there may be more. False: the socket is full. None: nothing left to send now.
        """
        log = self._log
        if log is None:
            return None
        if self.has_rest:
            return self._complete()
        state = self.state
        position = state.position
        if log.flushed - position > state.allowance_bytes and self.skip_if_behind():
            return True
        if position >= log.flushed:
            return self._caught_up()
        segment = self._segment
        if segment is None or position >= segment.base + segment.size:
            self._segment = segment = log.segment_at(position)
        offset = position - segment.base
        limit = min(log.flushed - segment.base, segment.size)
        if to_boundary or not state.is_plain:
            boundary = segment.next_boundary(offset)
            if boundary == offset:
                return self._walk(segment, offset, limit)
            limit = boundary
        count = limit - offset
        if count > STEP_BYTES:
            count = STEP_BYTES
        return self._send(segment, offset, count)

    def skip_if_behind(self) -> bool:
        """Jump if the cursor is further behind than it may be; its socket may be full for long."""
        return self.output is not None and self.output.skip_if_behind(self)

    def describe(self) -> dict[str, Any]:
        """Return what an operator wants to know."""
        return facts.of_player(self)

    # --- private ----------------------------------------------------------------------------------

    def _caught_up(self) -> bool | None:
        output = self.output
        assert output is not None, "a player with a cursor was started by an output"
        if self.state.position > output.log.flushed and not output.log.closed:
            output.await_log(self)
            return None
        output.arrived(self)
        return True if self._log is not None or self.state.waiting else None

    def _send(self, segment: Segment, offset: int, count: int) -> bool:
        if self.sink.socket is not None and (fd := segment.file()) >= 0:
            sent = self.sink.sendfile(fd, offset, count)
            self.state.position += sent
            return sent == count
        data = segment.read(offset, min(count, COPY_BYTES))
        self.state.position += len(data)
        return self.sink.offer(data)

    def _complete(self) -> bool:
        """Send what must come before the position."""
        state = self.state
        if state.rest:
            data, state.rest = state.rest, b""
        elif self._rest is not None:
            segment, begin, end = self._rest
            data = segment.read(begin, min(end - begin, COPY_BYTES))
            begin += len(data)
            self._rest = (segment, begin, end) if begin < end else None
        else:
            data, self._then = self._then, b""
        self.has_rest = self._rest is not None or bool(self._then)
        return self.sink.offer(data)

    def _take_rest(self) -> bytes:
        """Return what is left of a begun message, and what must follow it; let go of all else."""
        state, log = self.state, self._log
        rest = state.rest
        if self._rest is not None:
            segment, begin, end = self._rest
            rest += segment.read(begin, end - begin)
        elif log is not None:
            boundary = log.next_boundary(state.position)
            rest += log.read(state.position, boundary)
            state.position = boundary
        rest += self._then
        state.rest, self._rest, self._then, self.has_rest = b"", None, b"", False
        self._log, self._segment, self.output = None, None, None
        return rest

    def _walk(self, segment: Segment, offset: int, limit: int) -> bool:
        """Send the wanted messages from a boundary on; ends early where the fast lane can take over."""
        output, state = self.output, self.state
        assert output is not None, "a player with a cursor was started by an output"
        number = segment.message_at(offset)
        flags = segment.flags
        wanted: list[tuple[int, int]] = []  # begin and end
        begin = offset
        for _ in range(WALK_MESSAGES):
            if offset >= limit or offset - begin > COPY_BYTES:
                break
            kind = flags[number]
            number += 1
            end = segment.offset_of(number)
            if state.needs_keyframe and kind & KEYFRAME:
                state.needs_keyframe = False
                if state.is_plain:
                    break
            if kind & (_BEFORE_KEYFRAME if state.needs_keyframe else EVERYTHING) and kind & state.mask:
                wanted.append((offset, end))
            offset = end
        state.position = segment.base + offset
        if not wanted:
            return True
        first = wanted[0][0]
        data = segment.read(first, wanted[-1][1] - first)
        readdress = output.framing.readdressed
        parts = [readdress(data[one - first : end - first], state.msid) for one, end in wanted]
        return self.sink.offer(b"".join(parts))

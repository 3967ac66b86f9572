"""A cursor over what a channel's publishers send, message by message: for MP4, HLS and recordings.

Whoever reads is told when there is more, and takes it when it likes; it may fall behind only so far. It
outlives publications. Never blocks.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

from ..protocol import messages
from .clock import Clock
from .header_history import Headers
from .lock import NOBODYS, lock_of
from .log import Log
from .segment import AUDIO, DATA, VIDEO

if TYPE_CHECKING:
    from .beside import Beside
    from .channel import Channel
    from .output import Output

# How far a reading may be behind, as a player.
LAG_BYTES: Final = 8 << 20
LAG_S: Final = 10.0
MAX_BATCH_BYTES: Final = 1 << 20  # read at one go; one message may be more

_TYPES: Final = {AUDIO: messages.AUDIO, VIDEO: messages.VIDEO, DATA: messages.DATA_AMF0}
_KINDS: Final = AUDIO | VIDEO | DATA

Message = tuple[int, int, int, bytes, float]  # type id, flags of the index, timestamp, payload, arrival
Place = tuple[int, int]  # publication and position: means the same in all processes
NOWHERE: Final = (0, 0)


@dataclass(frozen=True, slots=True)
class Began:
    """A publication is read from a place on; metadata is the newest."""

    publication: int
    headers: Headers
    metadata: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Batch:
    """Messages in order, with the same headers in force before each but those that are among them."""

    messages: list[Message]


@dataclass(frozen=True, slots=True)
class Lost:
    """So much was left out: the reading was too far behind. It goes on at a keyframe, if there was one."""

    messages: int
    size: int


@dataclass(frozen=True, slots=True)
class Spliced:
    """From here on it is another publisher, at the time of the one before."""

    headers: Headers


@dataclass(frozen=True, slots=True)
class Over:
    """A publication is over, and was read to its end."""

    publication: int


Item = Began | Batch | Lost | Spliced | Over


class Reading:
    """Made by `Channel.subscribe`. One greenlet reads; the channel tells it what happens."""

    __slots__ = (
        "_beside", "_channel", "_clock", "_items", "_lag_bytes", "_lag_s", "_metadata",
        "_output", "_place", "_rest_lock", "_rest_spliced_at", "_spliced_at", "gives_way", "is_closed",
        "lock", "notify", "position",
    )  # fmt: skip

    def __init__(
        self, channel: Channel, clock: Clock, notify: Callable[[], None], place: Place = NOWHERE
    ) -> None:
        """`notify` is called when there may be something to read; must neither block, raise nor call back.

        `place` is where it goes on, as soon as that is there.
        """
        self._clock = clock
        self.notify = notify
        self.position = 0  # in the log of the publication that is read
        self.is_closed = False  # by its reader; or the channel is another process's now
        self.lock: bytes | None = NOBODYS  # of the publisher, since the last Began or Spliced
        self._channel = channel
        self.allow(LAG_BYTES, LAG_S)
        self._output: Output | None = None  # that is read
        self._beside: Beside | None = None  # of it
        self._place = place  # where it was when the channel moved, or is to begin
        self._items: list[Item] = []  # to be told before messages
        self._spliced_at: int | None = None  # the last splice that was told
        self._rest_spliced_at: int | None = None  # the last one there is, of a publication that is over
        self._rest_lock: bytes | None = NOBODYS  # and of its last publisher
        self._metadata: tuple[bytes, ...] = ()  # and what was its last

    # --- whoever reads ----------------------------------------------------------------------------

    def read(self, most: int = 256) -> Item | None:
        """Return what comes next, so many messages at most; None: nothing now."""
        output = self._output
        if output is not None and not output.log.closed:
            self.skip_if_behind(output.log, self._clock.now())
        if self._items:
            return self._items.pop(0)
        if output is None:
            return None
        log = output.log
        limit = log.flushed
        spliced_at = self._newest_splice()
        if spliced_at is not None and spliced_at != self._spliced_at:
            if self.position >= spliced_at:
                self._spliced_at = spliced_at
                is_newest = output is self._channel.output
                self.lock = lock_of(self._channel.contents.key) if is_newest else self._rest_lock
                return Spliced(self.headers)
            limit = min(limit, spliced_at)
        if self.position < limit:
            return self._batch(output, limit, most)
        if not log.closed:
            return None
        self._leave()
        following = self._channel.output
        if following is not None:
            self.begin(following)
        return Over(output.publication)

    def allow(self, lag_bytes: int, lag_s: float, gives_way: bool = True) -> None:
        """Set how far behind it may be, and whether it is to skip before others lose a cache."""
        self._lag_bytes, self._lag_s, self.gives_way = lag_bytes, lag_s, gives_way

    @property
    def headers(self) -> Headers:
        """The headers in force at what is read next."""
        return self._output.log.headers.at(self.position) if self._output is not None else ()

    @property
    def metadata(self) -> tuple[bytes, ...]:
        """The newest data messages that joiners must get, such as onMetaData; AMF0."""
        if self._output is not None and self._output is not self._channel.output:
            return self._metadata
        return self._channel.contents.preamble.stored()

    @property
    def place(self) -> Place:
        """Where it is or was, for another process to go on from; zeros where it reads nothing."""
        return (self._output.publication, self.position) if self._output is not None else self._place

    def close(self) -> None:
        """Read no more. Idempotent."""
        if not self.is_closed:
            self.is_closed = True
            self._leave()
            self._channel.readings.remove(self)

    # --- called by the channel and its outputs ----------------------------------------------------

    def begin(self, output: Output, position: int | None = None) -> None:
        """Read a publication, unless another one is not read yet; from a boundary, or where joiners start."""
        if self._output is not None:
            return
        if position is None and self._place[0] == output.publication:
            position = self._place[1]
        self._place = NOWHERE
        log, contents = output.log, self._channel.contents
        self._output = output
        self._rest_spliced_at, self._metadata = None, ()
        self._rest_lock = NOBODYS
        self.lock = lock_of(contents.key) if output is self._channel.output else NOBODYS
        output.flush()
        self._beside = self._channel.beside(output)
        self._beside.add(self)
        goes_on = position is not None and log.begin <= position <= log.end and log.is_boundary(position)
        if position is not None and goes_on:
            self.position = position
        else:
            self.position = contents.joints.joint(log, self._clock.now())
            self._items.append(Began(output.publication, self.headers, self.metadata))
        spliced_at = contents.spliced_at
        if spliced_at is None or self.position > spliced_at or not goes_on:
            self._spliced_at = spliced_at

    def over(self) -> None:
        """Take note of what only its contents know of a publication that is over."""
        contents = self._channel.contents
        self._rest_spliced_at, self._metadata = contents.spliced_at, contents.preamble.stored()
        self._rest_lock = lock_of(contents.key)

    def skip_if_behind(self, log: Log, now: float) -> None:
        """Go to the newest keyframe if it is further behind than it may be; or, far behind, to the end."""
        arrival = log.arrival_at(self.position)
        late_s = now - arrival if arrival is not None else 0.0
        behind = log.end - self.position
        if behind > self._lag_bytes or late_s > self._lag_s:
            self.skip(log, behind > 2 * self._lag_bytes or late_s > 2 * self._lag_s)

    def skip(self, log: Log, to_the_end: bool) -> None:
        """Go to the newest keyframe ahead, or else to the end."""
        keyframe = log.keyframe
        if keyframe is not None and self.position < keyframe <= log.flushed:
            target = keyframe
        elif to_the_end and self.position < log.flushed:
            target = log.flushed
        else:
            return
        count = log.number_at(target) - log.number_at(self.position)
        size = target - self.position
        last = self._items[-1] if self._items else None
        if isinstance(last, Lost):  # that nobody has been told yet
            self._items.pop()
            count, size = count + last.messages, size + last.size
        self._items.append(Lost(count, size))
        self.position = target

    def moved(self) -> None:
        """The channel is another process's now, which may go on from `place`. Idempotent.

        What was left out before is still told.
        """
        if not self.is_closed:
            self.is_closed = True
            self._place, beside = self.place, self._beside
            self._output = self._beside = None
            if beside is not None:
                beside.remove(self)
            self.notify()

    # --- private ----------------------------------------------------------------------------------

    def _newest_splice(self) -> int | None:
        channel = self._channel
        return channel.contents.spliced_at if self._output is channel.output else self._rest_spliced_at

    def _batch(self, output: Output, limit: int, most: int) -> Batch:
        """Read messages up to a place, a change of headers, or the end of a segment."""
        log, position = output.log, self.position
        changes = [place for place, _ in log.headers.since(position + 1)]
        limit = min([limit, *changes])
        segment, offset, size = log.parts(position, limit)[0]
        first, until = segment.message_at(offset), segment.message_at(offset + size)
        until = min(until, first + most)
        begins = [segment.offset_of(number) - offset for number in range(first, until + 1)]
        while len(begins) > 2 and begins[-1] > MAX_BATCH_BYTES:
            begins.pop()
        data = segment.read(offset, begins[-1])
        found: list[Message] = []
        for place in range(len(begins) - 1):
            number = first + place
            flags = segment.flags[number]
            payload = output.framing.payload(data[begins[place] : begins[place + 1]])
            time, arrival = segment.timestamps[number], segment.arrivals[number]
            found.append((_TYPES[flags & _KINDS], flags, time, payload, arrival))
        self.position = position + begins[-1]
        return Batch(found)

    def _leave(self) -> None:
        """Let go of what was read."""
        beside, self._beside, self._output = self._beside, None, None
        self._items.clear()
        if beside is not None:
            beside.remove(self)
            self._channel.drop_ended()


class Guest(Protocol):
    """Somebody who watches a channel, whoever reads that for it."""

    def began(self) -> None:
        """A publication begins, whose key may be another one. Must neither block, raise nor call back."""


class Readings:
    """All of one channel, which they keep in being; and its guests. Changed by the channel and by those."""

    __slots__ = ("_forget", "_guests", "_readings", "sent_bytes")

    def __init__(self, forget: Callable[[], None]) -> None:
        """`forget` is called when the channel may be of no use any more."""
        self._forget = forget
        self._readings: dict[Reading, None] = {}
        self._guests: dict[Guest, None] = {}
        self.sent_bytes = 0  # to guests who have left

    def __len__(self) -> int:
        return len(self._readings) + len(self._guests)

    @property
    def are_open(self) -> bool:
        """Whether anybody reads."""
        return bool(self._readings)

    def open(self, reading: Reading) -> Reading:
        """Take note of a new one."""
        self._readings[reading] = None
        return reading

    def begin(self, output: Output) -> None:
        """Let all read a new publication that have read the one before."""
        for reading in list(self._readings):
            reading.begin(output)
            reading.notify()
        for guest in list(self._guests):
            guest.began()

    def welcome(self, guest: Guest) -> None:
        """Let a guest know of each publication."""
        self._guests[guest] = None

    def dismiss(self, guest: Guest) -> None:
        """Forget a guest. Idempotent."""
        if guest in self._guests:
            del self._guests[guest]
            self._forget()

    def count(self, sent_bytes: int) -> None:
        """Count what a guest was sent who leaves."""
        self.sent_bytes += sent_bytes

    def remove(self, reading: Reading) -> None:
        """Forget one."""
        self._readings.pop(reading, None)
        self._forget()

    def hand_over(self) -> None:
        """Another process is the owner now: who reads may do so again from its place, here or there."""
        for reading in list(self._readings):
            reading.moved()
        self._readings.clear()

    def moved(self) -> None:
        """The channel is another process's now."""
        self.hand_over()
        self._guests.clear()

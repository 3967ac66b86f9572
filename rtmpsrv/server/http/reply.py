"""An answer, as handlers give it: whole, as a stream of bytes, or as a WebSocket. Its methods may block.

PeerLost is raised wherever the viewer is found to be gone. A handler lets it pass.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from time import monotonic
from typing import Final, Protocol

import gevent
from gevent.event import Event

from ...errors import PeerLost
from . import answers
from .answers import Headers
from .errand import Errand
from .frames import BINARY, CONTINUATION, NORMAL, TEXT, VERSION, acceptance, frame
from .head import BadRequest, Head

UPGRADE: Final = 101
NO_BODY: Final = frozenset((204, 304))
MAX_JOINED_BYTES: Final = 65536
MAX_PIECE_BYTES: Final = 128 << 10  # of a stream, that is put as a whole: pings go between two
FOR_EVER_S: Final = 1e9
FIRST_LOOK_S: Final = 1.0  # whether a viewer that waits for an answer is there; then ever less often
LOOK_EVERY_S: Final = 1.0


class Answered(PeerLost):
    """Nothing more is to be sent: only the head was asked for. To handlers the viewer has left."""


class Writer(Protocol):
    """The connection, as an answer sees it."""

    left: Event
    errand: Errand

    def has_left(self) -> bool:
        """Tell whether the viewer is gone, where nobody reads. Never blocks."""

    def put(self, data: bytes, head: bytes = b"") -> None:
        """Send bytes, and a head before them; blocks while too many wait. Raises PeerLost."""

    def converse(self, heard: Callable[[str], None]) -> None:
        """Take note that a WebSocket begins, and who gets the texts that come."""

    def listen(self) -> None:
        """Look from now on for what the viewer says, and whether it leaves. Idempotent, never blocks."""

    def say_goodbye(self, code: int, why: str) -> None:
        """End a WebSocket."""


class Reply:
    """The answer to one request."""

    def __init__(
        self,
        writer: Writer,
        head: Head,
        shared: Headers,
        *,
        keeps: bool,
        told: Callable[[int], None] = lambda status: None,
    ) -> None:
        """`shared` are headers that it has in any case; `keeps`: the connection may go on behind it.

        `told` gets the status.
        """
        self.heard: Callable[[str], None] | None = None  # gets texts of a WebSocket; must not block
        self.begun = False
        self.keeps = keeps
        self._writer = writer
        self._told = told
        self._head = head
        self._shared = list(shared)
        self._wants_body = head.method != "HEAD"
        self._chunked = False
        self._is_websocket = False
        self._finished = False

    @property
    def left(self) -> Event:
        """Set as soon as the viewer of a stream has left, or may watch no more."""
        return self._writer.left

    def send(
        self,
        status: int,
        body: bytes | Sequence[bytes] = b"",
        type: str = answers.TEXT,
        headers: Headers = (),
    ) -> None:
        """Send all there is, which may come in pieces; the connection goes on."""
        pieces = [body] if isinstance(body, bytes) else body
        given = list(headers)
        if status not in NO_BODY:
            given += [("Content-Type", type), ("Content-Length", str(sum(map(len, pieces))))]
        runs = _runs(pieces if self._wants_body and status not in NO_BODY else ())
        self._begin(status, given, next(runs, b""))
        self._finished = True
        for run in runs:
            self._writer.put(run)

    def begin(self, status: int, type: str, headers: Headers = (), *, chunked: bool = True) -> None:
        """Begin a stream: in chunks, where the viewer can read them, or until the connection ends.

        Raises Answered where only the head was asked for.
        """
        self.keeps = False
        self._chunked = chunked and not self._head.is_old
        given = [*headers, ("Content-Type", type), *answers.OF_STREAMS]
        if self._chunked:
            given.append(("Transfer-Encoding", "chunked"))
        self._begin(status, given)
        if not self._wants_body:
            raise Answered("only the head was asked for")

    def accept(self) -> None:
        """Begin a WebSocket. Raises BadRequest where none was asked for as it must be."""
        headers = self._head.headers
        proof = acceptance(headers.get("sec-websocket-key", ""))
        wishes = [one.strip().lower() for one in headers.get("connection", "").split(",")]
        if proof is None or self._head.method != "GET" or "upgrade" not in wishes:
            raise BadRequest(400, "This is no request for a WebSocket")
        if headers.get("sec-websocket-version", "") != VERSION:
            raise BadRequest(426, f"There is version {VERSION} of WebSockets only")
        offered = headers.get("sec-websocket-protocol", "").split(",")[0].strip()
        given = [("Upgrade", "websocket"), ("Connection", "Upgrade"), ("Sec-WebSocket-Accept", proof)]
        if offered:  # else a browser fails
            given.append(("Sec-WebSocket-Protocol", offered))
        self.begun, self.keeps, self._is_websocket = True, False, True
        try:
            data = answers.head(UPGRADE, given)
        except ValueError as exc:
            raise BadRequest(400, "This is no request for a WebSocket") from exc
        self._told(UPGRADE)
        self._writer.put(data)
        self._writer.converse(lambda text: self.heard(text) if self.heard is not None else None)

    def write(self, data: bytes) -> None:
        """Send a piece of a stream, or a binary message. Blocks while too much waits; raises PeerLost."""
        self._check()
        if not (self._is_websocket or self._chunked):
            self._writer.put(data)
            return
        # Piece by piece: no viewer has a copy of its own of what is large, and none is broken by a ping.
        for at in range(0, len(data), MAX_PIECE_BYTES):  # of nothing none: an empty chunk is the last
            piece = data[at : at + MAX_PIECE_BYTES]
            if self._is_websocket:
                is_last = at + MAX_PIECE_BYTES >= len(data)
                opcode = CONTINUATION if at else BINARY
                self._writer.put(frame(opcode, len(piece), is_last=is_last) + piece)
            else:
                self._writer.put(b"%x\r\n%b\r\n" % (len(piece), piece))

    def write_text(self, text: str) -> None:
        """Send a message of text over a WebSocket. As `write`."""
        self._check()
        assert self._is_websocket, "texts are for WebSockets"
        data = text.encode()
        self._writer.put(frame(TEXT, len(data)) + data)

    def finish(self) -> None:
        """End the stream as whole. Idempotent."""
        if self.begun and not self._finished:
            self._finished = True
            if self._is_websocket:
                self._writer.say_goodbye(NORMAL, "the stream is over")
            elif self._chunked:
                self._writer.put(b"0\r\n\r\n")

    def close(self, code: int, why: str) -> None:
        """End a WebSocket with a code and a reason. Idempotent."""
        if not self._finished:
            self._finished = True
            self._writer.say_goodbye(code, why)

    def wait(self, event: Event, timeout_s: float | None = None) -> bool:
        """Wait for an event; False when it did not come in time. Raises PeerLost when the viewer left.

        Before the answer has begun the request may go to another process meanwhile, unless something was
        granted to its viewer; and AccessDenied is raised where that was for another publisher.
        """

        def wait() -> None:
            self._wait(event, timeout_s)

        if self.begun:
            self._writer.listen()
        if event.is_set():
            pass
        elif self.begun:
            wait()
        else:
            self._writer.errand.travel(wait)
        if self.left.is_set():
            raise self._writer.errand.why_over()
        return event.is_set()

    def _wait(self, event: Event, timeout_s: float | None) -> None:
        """Wait, and see whether the viewer is there. Raises PeerLost."""
        until = monotonic() + (timeout_s if timeout_s is not None else FOR_EVER_S)
        look_s = FIRST_LOOK_S
        while not event.is_set() and not self.left.is_set() and (rest_s := until - monotonic()) > 0:
            # Before the answer nobody reads: what comes may be the next request.
            gevent.wait([event, self.left], timeout=rest_s if self.begun else min(rest_s, look_s), count=1)
            look_s = min(2 * look_s, LOOK_EVERY_S)
            if not self.begun and not event.is_set() and self._writer.has_left():
                raise PeerLost("the viewer left")

    def _check(self) -> None:
        self._writer.listen()
        if self.left.is_set():
            raise self._writer.errand.why_over()

    def _begin(self, status: int, headers: list[tuple[str, str]], first: bytes = b"") -> None:
        """Send the head, and what is joined to it so that it goes out in one go."""
        assert not self.begun, "one answer for one request"
        self.begun = True
        connection = ("Connection", "keep-alive" if self.keeps else "close")
        self._told(status)
        head = answers.known_head(status, (*headers, *self._shared, connection))
        if len(first) > MAX_JOINED_BYTES:
            self._writer.put(first, head)
        else:
            self._writer.put(head + first)


def _runs(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Join small pieces to go out together, not before they are wanted; large ones are not copied."""
    run: list[bytes] = []
    size = 0
    for piece in pieces:
        if size and size + len(piece) > MAX_JOINED_BYTES:
            yield b"".join(run)
            run, size = [], 0
        if len(piece) > MAX_JOINED_BYTES:
            yield piece
        else:
            run.append(piece)
            size += len(piece)
    if size:
        yield b"".join(run)

"""The TLS side of a connection of RTMPS or HTTPS. What is behind it goes on as with plain TCP."""

from __future__ import annotations

import contextlib
import errno
import os
import weakref
from collections.abc import Sequence
from time import monotonic
from typing import Any

from gevent import socket as gsocket
from gevent import ssl

from .barren import Barren
from .held import TLS, Held
from .tls_records import DATA, MAX_RECORD_BYTES, Records
from .transport import coalesce, has_left, has_unread, limit_unsent

RECORD_BYTES = 16384  # most that a TLS record carries, RFC 8446 5.1
# Most with data that one read decrypts: a peer may send one for each byte, and each costs some 5 us.
RECORDS_PER_READ = 64
TAKEN_BYTES = MAX_RECORD_BYTES  # most that is taken from the socket ahead of OpenSSL
# Of a client's handshake: most say 2 KiB in four records. OpenSSL takes a hello of 128 KiB, in one byte each.
MAX_HANDSHAKE_BYTES = 32768
MAX_HANDSHAKE_RECORDS = 256
MAX_UNSENT_BYTES = RECORD_BYTES + 4096  # of data, and of records that answer those without data


class TlsTransport:
    """A TLS connection as a session and its outlet see it.

    OpenSSL gets records from here, one by one, not from the socket: one call of it goes on over those that
    carry no data (changes of keys) as long as there are any, and a peer can send them faster than they are
    worked through.
    """

    can_sendfile = False
    can_move = False  # its keys are inside OpenSSL

    def __init__(self, sock: gsocket.socket, context: ssl.SSLContext, budget: Held) -> None:
        """Take over a socket on which nobody has said anything yet; `shake_hands` comes first."""
        self.has_more = False
        self._socket = sock
        self._fd: int = sock.fileno()
        self._budget = budget
        self._held = 0  # bytes, as the budget knows it
        self._records = Records()  # that OpenSSL has not got yet
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()  # empty but for calls of it
        self._tls: Any = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        vars(self._tls)["_sslsock"] = weakref.ref(self._tls)  # gevent gives it to `sni_callback`
        self._inside = 0  # bytes of the peer's that OpenSSL may hold
        self._is_drained = False  # in this read: the socket had no more
        self._is_over = False  # the peer has said goodbye
        self._barren = Barren()
        self._unsent = b""  # of what OpenSSL has made
        self._begun = 0  # bytes of data in it, which were not counted as written yet
        self._said_goodbye = False
        self._failure: OSError | None = None  # came behind bytes, or from us; the next read reports it

    def shake_hands(self) -> None:
        """Do the handshake; the socket does not block afterwards. Blocks without end. Raises OSError."""
        for _ in range(MAX_HANDSHAKE_RECORDS):
            is_over = self._shake_hands_on()
            self._socket.sendall(self._outgoing.read())
            if is_over:
                self._inside, self.has_more = 0, self._is_ahead
                self._count()
                self._socket.settimeout(0.0)
                return
            self._await_record()
            if self._inside > MAX_HANDSHAKE_BYTES:
                break
        # The socket need not be waited for, so nobody else would run.
        raise ConnectionAbortedError(errno.ECONNABORTED, "too long")

    def _shake_hands_on(self) -> bool:
        """Do what can be done with what has come; True when that was all. Raises OSError."""
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            return False
        except ssl.SSLError:
            with contextlib.suppress(OSError):  # the peer was faster
                self._socket.sendall(self._outgoing.read())  # what is wrong
            raise
        return True

    def _await_record(self) -> None:
        """Give OpenSSL the next record of the handshake, or the end. Blocks. Raises OSError."""
        while not (record := self._records.take()):
            self._count()
            try:
                data = self._socket.recv(TAKEN_BYTES - len(self._records))
            except OSError:
                self._raise_failure()  # it has ended the wait
                raise
            if not data:
                self._give_end()
                return
            self._records.add(data)
        self._inside += len(record)  # it keeps a message until all of that is there
        self._incoming.write(record)

    # --- the writing side -------------------------------------------------------------------------

    def write(self, data: bytes | memoryview) -> int:
        """Write what is taken now; 0 when the socket is full. Raises OSError when it is dead.

        A record that was begun must be offered again with the same first bytes: its rest is held here, and
        it counts as written only then. Records are made one by one, so that what is complete counts.
        """
        tls = self._tls
        if tls is None:
            raise BrokenPipeError("closed")
        view, done = memoryview(data), 0
        while self._send():
            done, self._begun = done + self._begun, 0
            if done >= len(view):
                break
            self._begun = tls.write(view[done : done + RECORD_BYTES])
            self._unsent = self._outgoing.read()
        if self._unsent or self._held:
            self._count()
        return done

    def write_together(self, pieces: Sequence[bytes | memoryview]) -> int:
        """Write some, one by one, as far as they are taken."""
        done = 0
        for piece in pieces:
            done += (taken := self.write(piece))
            if taken < len(piece):
                break
        return done

    def _send(self) -> bool:
        """Send what is left of what was made; False when the socket is full. Raises OSError."""
        if self._unsent:
            try:
                sent = os.write(self._fd, self._unsent)
            except BlockingIOError:
                return False
            self._unsent = self._unsent[sent:]
        return not self._unsent

    def fileno(self) -> int:
        return self._fd

    def coalesce(self) -> None:
        """Let the kernel hold small writes back."""
        coalesce(self._socket)

    def limit_unsent(self, count: int) -> bool:
        """Let the kernel take no more than so many bytes that it cannot send yet; False where it cannot."""
        return limit_unsent(self._socket, count)

    # --- the reading side -------------------------------------------------------------------------

    def read(self, count: int) -> bytes:
        """Take what is there, up to `count` bytes; b"" at the end. Raises BlockingIOError, or OSError.

        One read of OpenSSL gives no more than a record. Publishers are read seldom when there are many, so
        each time must bring what has arrived; `has_more` tells when it did not, or when the end was found
        behind it: that was taken from the socket, which says no more until the peer closes TCP.
        """
        self.has_more = False
        if self._said_goodbye:
            # What the peer still sends is thrown away: no need to decrypt it, nor would OpenSSL.
            return self._socket.recv(count)
        if self._tls is None:
            raise BrokenPipeError("closed")
        self._raise_failure()
        self._is_drained = False
        pieces: list[bytes] = []
        try:
            for _ in range(RECORDS_PER_READ):
                piece = self._next_piece(count)
                if not piece:
                    self.has_more = bool(pieces)  # the end; what came before it goes first
                    break
                pieces.append(piece)
                count -= len(piece)
                if not count:
                    self.has_more = self._is_ahead
                    break
            else:
                self.has_more = self._is_ahead or has_unread(self._socket)  # who rests would not look
        except BlockingIOError:
            if not pieces:
                raise
        except ssl.SSLEOFError:
            self.has_more = bool(pieces)  # the end, without a goodbye
        except OSError as exc:
            if not pieces:
                raise
            # Asked again, OpenSSL would tell of an end without a reason.
            self._failure, self.has_more = exc.with_traceback(None), True
        finally:
            self._inside = RECORD_BYTES if self.has_more else 0
            self._count()
        return b"".join(pieces)

    def _next_piece(self, count: int) -> bytes:
        """Return data of one record, b"" at the end; from the socket, if need be. Raises as `read`."""
        tls, size = self._tls, 0
        while True:
            if not (tls.pending() or self._is_over):
                size = self._feed()
            try:
                piece: bytes = tls.read(count)
            except ssl.SSLWantReadError:  # it carried none
                self._answer()
                if size:
                    self._count_barren(size)
                continue
            self._is_over = not piece
            return piece

    def _feed(self) -> int:
        """Give OpenSSL the next record, or the end; return the size of one that may carry data, otherwise 0.

        Raises BlockingIOError when there is none, or OSError.
        """
        record = self._records.take()
        if not record:
            if self._is_drained:
                raise BlockingIOError
            wanted = TAKEN_BYTES - len(self._records)
            data = os.read(self._fd, wanted)
            if not data:
                self._give_end()
                return 0
            self._is_drained = len(data) < wanted
            self._records.add(data)
            record = self._records.take()
            if not record:
                raise BlockingIOError
        is_data = record[0] == DATA
        if not is_data:
            self._count_barren(len(record))  # before it is worked through
        self._incoming.write(record)
        return len(record) if is_data else 0

    def _count_barren(self, size: int) -> None:
        if self._barren.came(size, monotonic()):
            raise ConnectionAbortedError(errno.ECONNABORTED, "too many TLS records without data")

    def _give_end(self) -> None:
        """Let OpenSSL know that the peer sends no more. Idempotent."""
        if rest := self._records.take_rest():
            self._incoming.write(rest)
        self._incoming.write_eof()

    def _raise_failure(self) -> None:
        """Raise what the next read has to report, once."""
        if self._failure is not None:
            failure, self._failure = self._failure, None
            try:
                raise failure
            finally:
                del failure  # it would keep this frame, and itself, for the collector

    def _answer(self) -> None:
        """Send what OpenSSL says to what it has read: that keys were changed. Raises OSError."""
        self._unsent += self._outgoing.read()
        if not self._send() and len(self._unsent) > MAX_UNSENT_BYTES:
            raise ConnectionAbortedError(errno.ECONNABORTED, "answers of TLS are not read")

    @property
    def _is_ahead(self) -> bool:
        """Whether more was taken from the socket than was read."""
        return bool(len(self._records) or self._tls.pending())

    def _count(self) -> None:
        """Let the process count what waits until the next call."""
        self._hold(self._records.held_bytes + self._inside + len(self._unsent))

    def _hold(self, count: int) -> None:
        if count != self._held:
            self._held = count
            self._budget.hold(TLS, self, count)

    def has_left(self) -> bool:
        """Tell whether the peer has closed its side, though unread bytes may hide that. Never raises."""
        return has_left(self._socket)

    def has_unread(self) -> bool:
        """Tell whether bytes are there that were not read, which may hide the end. Never raises."""
        return self.has_more or has_unread(self._socket)

    # --- the end ----------------------------------------------------------------------------------

    def drop(self, reason: str) -> None:
        """End it, since it holds too much; whoever reads is told why. From any greenlet; never blocks."""
        self._failure = ConnectionAbortedError(errno.ECONNABORTED, reason)
        with contextlib.suppress(OSError):  # the peer was faster
            self._socket.shutdown(gsocket.SHUT_RDWR)

    def shutdown(self, how: int = gsocket.SHUT_RDWR) -> None:
        """Say goodbye, then end the directions of TCP. Idempotent; never raises, never blocks."""
        self._say_goodbye()
        with contextlib.suppress(OSError):  # the peer was faster
            self._socket.shutdown(how)

    def close(self) -> None:
        """Say goodbye if that was not done, and free everything."""
        self._say_goodbye()
        self._tls = self._failure = None  # whose frames know this transport
        self._hold(0)
        self._socket.close()

    def _say_goodbye(self) -> None:
        """Send close_notify, without which clients report a truncated stream; if there is room for it."""
        if not self._said_goodbye and self._tls is not None:
            self._said_goodbye = True
            with contextlib.suppress(OSError):  # mostly raised: the peer's own goodbye is not waited for
                self._tls.unwrap()
            self._unsent += self._outgoing.read()
            with contextlib.suppress(OSError):
                self._send()

"""Values and descriptors between two of our processes, over a Unix stream socket.

Both ends belong to one user and one installation, whose versions may differ. What a message means is decided
elsewhere. Cooperates with other greenlets; nothing but `flush` and `receive` blocks.
"""

from __future__ import annotations

import array
import io
import os
import pickle
import socket
import struct
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from posix import close  # that of `os` is replaced by gevent's, which asks the hub each time
from typing import Any, Final

import gevent
from gevent import socket as gsocket
from gevent.event import Event

from rtmpsrv.pickling import rebuild

_HEADER: Final = struct.Struct("!II")  # bytes of the pickle, number of descriptors
BATCH: Final = 250  # descriptors of one call; the kernel takes 253
MAX_MESSAGE_BYTES: Final = 1 << 30
MAX_WAITING_BYTES: Final = 256 << 20  # that the other end has not read yet; then it is given up
_CREDENTIALS: Final = struct.Struct("3i")  # process, user, group
_RECEIVE_BYTES: Final = 1 << 20
# What a pickle may name beside our own classes: nothing that does anything by being called.
_HARMLESS: Final = frozenset(
    {("builtins", "set"), ("builtins", "frozenset"), ("builtins", "bytearray"), ("collections", "deque")}
)


class WireLost(ConnectionError):
    """The other end is gone, or what it sent is no message."""


class _Unpickler(pickle.Unpickler):
    """Builds values: our classes, and what makes them again; calls nothing else that has a name."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in _HARMLESS:
            return super().find_class(module, name)
        if module.partition(".")[0] == "rtmpsrv" and "." not in name:  # no way through our modules to others
            found = super().find_class(module, name)
            if isinstance(found, type) or found is rebuild:
                return found
        raise pickle.UnpicklingError(f"{module}.{name} may not be sent")


class _Plain(pickle.Unpickler):
    """Builds numbers, texts, bytes and what holds them."""

    def find_class(self, module: str, name: str) -> Any:
        raise pickle.UnpicklingError(f"{module}.{name} may not be sent by this process")


class Wire:
    """One end. Any greenlet may `post`; one at a time may `receive`. The owner closes it."""

    def __init__(
        self,
        sock: gsocket.socket,
        *,
        max_waiting_bytes: int = MAX_WAITING_BYTES,
        max_message_bytes: int = MAX_MESSAGE_BYTES,
        is_trusted: bool = True,
    ) -> None:
        """Take over a connected socket of the family AF_UNIX.

        One that is not trusted, since others may have got hold of it, sends plain values only.
        """
        self._socket = sock
        self._max_waiting_bytes = max_waiting_bytes
        self._max_message_bytes = max_message_bytes
        self._is_trusted = is_trusted
        self._waiting: deque[tuple[bytes, list[int]]] = deque()  # descriptors of our own
        self._waiting_bytes = 0
        self._written = Event()
        self._written.set()
        self._writer: gevent.Greenlet[[], None] | None = None
        self.lost: str | None = None  # why nothing more is sent

    @property
    def peer(self) -> int:
        """The process that listened, for who has connected to it. Raises OSError."""
        found = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
        pid: int = _CREDENTIALS.unpack(found)[0]
        return pid

    @property
    def waiting_bytes(self) -> int:
        """How much was not handed to the kernel yet."""
        return self._waiting_bytes

    def post(self, value: object, fds: Sequence[int] = ()) -> bool:
        """Send a value that pickles, and copies of descriptors; False when the wire is lost. Never blocks."""
        if self.lost is not None:
            return False
        data = pickle.dumps(value, pickle.HIGHEST_PROTOCOL)
        if self._waiting and self._waiting_bytes + len(data) > self._max_waiting_bytes:
            self._lose(f"{self._waiting_bytes} bytes not read by the other process")
            return False
        self._waiting.append((data, [os.dup(fd) for fd in fds]))
        self._waiting_bytes += len(data)
        if self._writer is None:
            self._written.clear()
            self._writer = gevent.spawn(self._write_all)
        return True

    def flush(self, timeout_s: float) -> bool:
        """Wait until everything was handed to the kernel; False when it was not. Blocks up to `timeout_s`."""
        return bool(self._written.wait(timeout_s)) and self.lost is None

    def receive(self, timeout_s: float | None = None) -> tuple[Any, list[int]]:
        """Return the next value, and descriptors that are the caller's. Blocks.

        Raises WireLost at the end, for what is no message, and after `timeout_s`.
        """
        fds: list[int] = []
        too_slow = WireLost(f"nothing within {timeout_s:g} s") if timeout_s is not None else None
        try:
            with gevent.Timeout(timeout_s, too_slow):
                size, count = _HEADER.unpack(self._read(_HEADER.size))
                if size > self._max_message_bytes:
                    raise WireLost(f"message of {size} bytes, limit {self._max_message_bytes}")
                if count and not self._is_trusted:
                    raise WireLost("descriptors that nobody wants")
                while len(fds) < count:
                    fds += self._read_descriptors(min(BATCH, count - len(fds)))
                data = self._read(size)
            return (_Unpickler if self._is_trusted else _Plain)(io.BytesIO(data)).load(), fds
        except BaseException as exc:
            for fd in fds:
                close(fd)
            if isinstance(exc, WireLost):
                raise
            if self.lost is not None and isinstance(exc, OSError):  # closed here, while this waited
                raise WireLost(self.lost) from exc
            if isinstance(
                exc, (OSError, pickle.UnpicklingError, EOFError, AttributeError, ImportError, ValueError)
            ):
                raise WireLost(str(exc) or type(exc).__name__) from exc
            raise

    def close(self, reason: str = "closed") -> None:
        """End the connection; what was not written is thrown away. Idempotent."""
        self._lose(reason)
        if self._writer is not None:
            self._writer.kill()
        self._socket.close()

    # --- private ----------------------------------------------------------------------------------

    def _lose(self, reason: str) -> None:
        if self.lost is not None:
            return
        self.lost = reason
        with suppress(OSError):  # the other end was faster
            self._socket.shutdown(socket.SHUT_RDWR)
        while self._waiting:
            for fd in self._waiting.popleft()[1]:
                close(fd)
        self._waiting_bytes = 0
        self._written.set()

    def _write_all(self) -> None:
        try:
            while self._waiting:
                data, fds = self._waiting[0]
                self._socket.sendall(_HEADER.pack(len(data), len(fds)))
                for begin in range(0, len(fds), BATCH):
                    self._write_descriptors(fds[begin : begin + BATCH])
                self._socket.sendall(data)
                if self.lost is not None:
                    return
                self._waiting.popleft()
                self._waiting_bytes -= len(data)
                for fd in fds:
                    close(fd)
        except OSError as exc:
            self._lose(exc.strerror or str(exc))
        finally:
            self._writer = None
            if not self._waiting:
                self._written.set()

    def _write_descriptors(self, fds: list[int]) -> None:
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))]
        while True:
            try:
                self._socket.sendmsg([b"\0"], rights)
                return
            except BlockingIOError:
                gsocket.wait_write(self._socket.fileno())

    def _read(self, count: int) -> bytes:
        pieces = []
        while count:
            piece = self._socket.recv(min(count, _RECEIVE_BYTES))
            if not piece:
                raise WireLost("closed by the other process")
            pieces.append(piece)
            count -= len(piece)
        return b"".join(pieces)

    def _read_descriptors(self, count: int) -> list[int]:
        while True:
            try:
                data, control, flags, _address = self._socket.recvmsg(
                    1, socket.CMSG_SPACE(count * 4), socket.MSG_CMSG_CLOEXEC
                )
                break
            except BlockingIOError:
                gsocket.wait_read(self._socket.fileno())
        found = array.array("i")
        for level, kind, payload in control:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                found.frombytes(payload[: len(payload) - len(payload) % found.itemsize])
        if not data or flags & socket.MSG_CTRUNC or len(found) != count:
            for fd in found:
                close(fd)
            raise WireLost("closed by the other process" if not data else "descriptors were lost on the way")
        return found.tolist()

"""RTMPS: the TLS side of a listener and of a connection. The session behind it is that of plain RTMP."""

from __future__ import annotations

import contextlib
from itertools import count
from time import monotonic
from typing import Any

import gevent
from gevent import socket as gsocket
from gevent import ssl

from .. import log
from ..errors import CertificateError
from .certificates import CertificatePair
from .clock import ReadPacer
from .host import Host
from .listener import Listener, Slots
from .outlet import Transport, coalesce
from .session import SessionSettings

RECORD_BYTES = 16384  # most that a TLS record carries, RFC 8446 5.1


def make_context(pair: CertificatePair) -> ssl.SSLContext:
    """Return the settings of new connections. Raises CertificateError when OpenSSL refuses the pair.

    Each pair gets a context of its own: one context keeps a certificate per kind of key, so that after a
    change from RSA to ECDSA it would go on showing the old one to some clients.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.num_tickets = 0  # librtmp with GnuTLS takes a session ticket of TLS 1.3 for an error
    context.options |= ssl.OP_NO_RENEGOTIATION  # so that a write never has to wait for a read
    try:
        with pair.files() as (chain_path, key_path):
            context.load_cert_chain(chain_path, key_path)
    except ssl.SSLError as exc:
        raise CertificateError(f"OpenSSL refuses the pair: {_reason(exc)}") from exc
    return context


class TlsTransport:
    """A TLS connection as a session and its outlet see it: reads wait, writes never do."""

    can_sendfile = False

    def __init__(self, sock: Any) -> None:
        """Take over gevent's SSLSocket, whose handshake is over. The stubs show the standard library's."""
        self._socket: Any = sock
        self._tls: Any = self._socket._sslobj
        self._fd: int = sock.fileno()
        self._said_goodbye = False

    # --- the writing side -------------------------------------------------------------------------

    def write(self, data: bytes | memoryview) -> int:
        """Write what is taken now; 0 when the socket is full. Raises OSError when it is dead.

        A record that was begun must be offered again with the same first bytes: OpenSSL holds its rest and
        counts it as written only then. Records are offered one by one, so that what is complete counts.
        """
        tls = self._tls
        if tls is None:
            raise BrokenPipeError("closed")
        view = memoryview(data)
        done = 0
        try:
            while done < len(view):
                done += tls.write(view[done : done + RECORD_BYTES])
        except ssl.SSLWantWriteError:
            pass  # the socket is full
        return done

    def fileno(self) -> int:
        return self._fd

    def coalesce(self) -> None:
        """Let the kernel hold small writes back."""
        coalesce(self._socket)

    # --- the reading side -------------------------------------------------------------------------

    def recv_into(self, buffer: memoryview | bytearray) -> int:
        """Wait for bytes, within the timeout, and take all that are there; 0 at the end.

        BlockingIOError with a timeout of 0 and nothing there.

        One read of OpenSSL gives no more than a record. Sessions rest between reads when there are many
        publishers, so each must bring what has arrived.
        """
        if self._said_goodbye:
            # What the peer still sends is thrown away: no need to decrypt it, nor would OpenSSL.
            rest: int = gsocket.socket.recv_into(self._socket, buffer)
            return rest
        try:
            received: int = self._socket.recv_into(buffer)
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError) as exc:
            raise BlockingIOError from exc
        view = memoryview(buffer)
        tls = self._tls
        while 0 < received < len(view) and tls is not None:
            try:
                more = tls.read(len(view) - received, view[received:])
            except OSError:
                break  # nothing more yet; if it is an end or an error, the next call tells
            if not more:
                break
            received += more
        return received

    def settimeout(self, timeout_s: float | None) -> None:
        """Set how long `recv_into` waits."""
        self._socket.settimeout(timeout_s)

    def setsockopt(self, level: int, option: int, value: int) -> None:
        """Set an option of the TCP socket."""
        self._socket.setsockopt(level, option, value)

    def getsockopt(self, level: int, option: int, size: int) -> bytes:
        """Read an option of the TCP socket."""
        value: bytes = self._socket.getsockopt(level, option, size)
        return value

    # --- the end ----------------------------------------------------------------------------------

    def shutdown(self, how: int = gsocket.SHUT_RDWR) -> None:
        """Say goodbye, then end the directions of TCP. Idempotent; never raises, never blocks."""
        self._say_goodbye()
        with contextlib.suppress(OSError):  # the peer was faster
            # Not SSLSocket.shutdown: it takes TLS away from under a reader that waits.
            gsocket.socket.shutdown(self._socket, how)

    def close(self) -> None:
        """Say goodbye if that was not done, and free everything."""
        self._say_goodbye()
        self._tls = None
        self._socket.close()

    def _say_goodbye(self) -> None:
        """Send close_notify, without which clients report a truncated stream; if there is room for it."""
        if not self._said_goodbye and self._tls is not None:
            self._said_goodbye = True
            with contextlib.suppress(OSError):  # always raised: the peer's own goodbye is not waited for
                self._tls.shutdown()


class TlsListener(Listener):
    """One RTMPS port. The handshake runs in the connection's greenlet and shares its deadline with RTMP's."""

    prefix = "SERVER:TLS"
    secure = True

    def __init__(
        self,
        address: str,
        port: int,
        host: Host,
        settings: SessionSettings,
        slots: Slots,
        pacer: ReadPacer,
        numbers: count[int],
        context: ssl.SSLContext,
    ) -> None:
        self.context = context  # of new connections; may be replaced at any time
        self._handshakes: set[Any] = set()  # greenlets
        self._last_failure = ""
        self._failures = log.RateLimited(
            lambda n: self.log.info("TLS handshakes failed: %d, the last with %s", n, self._last_failure)
        )
        super().__init__(address, port, host, settings, slots, pacer, numbers)

    def stop_sessions(self, reason: str, timeout_s: float) -> bool:
        """End all sessions, and handshakes at once; True when all were over in time."""
        gevent.killall(list(self._handshakes), block=False)
        return super().stop_sessions(reason, timeout_s)

    def _open(self, sock: gsocket.socket, address: str, accepted_at: float) -> tuple[Any, Transport] | None:
        """Do the handshake; None when it failed, which was logged, and the socket is closed."""
        limit_s = self._settings.handshake_s
        left_s = max(0.0, accepted_at + limit_s - monotonic())
        current = gevent.getcurrent()
        tls: Any = None  # an SSLSocket
        opened: TlsTransport | None = None
        self._handshakes.add(current)
        try:
            # Not the socket's own timeout: that starts again with each byte of a slow peer.
            with gevent.Timeout(left_s, TimeoutError(f"no TLS handshake within {limit_s:g} s")):
                tls = self.context.wrap_socket(sock, server_side=True, do_handshake_on_connect=False)
                tls.do_handshake()
            opened = TlsTransport(tls)
        except OSError as exc:
            self._last_failure = f"{address}: {_reason(exc)}"
            self.log.debug("TLS handshake failed with %s", self._last_failure)
            self._failures.add()
        finally:
            self._handshakes.discard(current)
            if opened is None:
                (tls or sock).close()
        return (opened, opened) if opened is not None else None


def _reason(exc: OSError) -> str:
    if isinstance(exc, ssl.SSLEOFError):
        return "closed by the peer"
    reason = getattr(exc, "reason", None)  # of SSLError, such as NO_SHARED_CIPHER
    return reason.replace("_", " ").lower() if reason else exc.strerror or str(exc)

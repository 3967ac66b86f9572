"""RTMPS: the TLS side of a listener. The session behind it is that of plain RTMP."""

from __future__ import annotations

from time import monotonic

import gevent
from gevent import socket as gsocket
from gevent import ssl

from .. import log
from ..errors import CertificateError
from .certificates import CertificatePair
from .host import Host
from .listener import Listener
from .parts import ServerParts
from .tally import TLS
from .tls_transport import TlsTransport

MAX_PLAIN_BYTES = 4096  # that are read of a request without TLS


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


class TlsListener(Listener):
    """One RTMPS port. The handshake runs in the connection's greenlet and shares its deadline with RTMP's."""

    prefix = "SERVER:TLS"
    secure = True
    plain_answer = b""  # to who speaks no TLS, and in the letters of HTTP

    def __init__(
        self,
        address: str,
        port: int,
        host: Host,
        parts: ServerParts,
        context: ssl.SSLContext | None,
        descriptor: int | None = None,
    ) -> None:
        """Show the certificate of `context`, which must be there at `start`; for the rest see `Listener`."""
        self.context = context  # of new connections; may be replaced at any time
        self._last_failure = ""
        self._failures = log.RateLimited(
            lambda n: self.log.info("TLS handshakes failed: %d, the last with %s", n, self._last_failure)
        )
        super().__init__(address, port, host, parts, descriptor)

    def _open(self, sock: gsocket.socket, address: str, accepted_at: float) -> TlsTransport | None:
        """Do the handshake; None when it failed, which was logged, and the socket is closed."""
        limit_s = self._parts.settings.handshake_s
        left_s = max(0.0, accepted_at + limit_s - monotonic())
        current = gevent.getcurrent()
        transport: TlsTransport | None = None
        opened: TlsTransport | None = None
        self._beginning.add(current)
        try:
            # Not the socket's own timeout: that starts again with each byte of a slow peer.
            with gevent.Timeout(left_s, TimeoutError(f"no TLS handshake within {limit_s:g} s")):
                first = _first_byte(sock)
                if not first:
                    self.log.debug("%s connected and left without a byte", address)
                    return None
                if self.plain_answer and first.isalpha():
                    sock.recv(MAX_PLAIN_BYTES)  # what is unread at a close takes the answer with it
                    sock.sendall(self.plain_answer)
                    raise ConnectionError("plain HTTP")
                assert self.context is not None, "nobody listens without one"
                transport = TlsTransport(sock, self.context, self._parts.budget)
                transport.shake_hands()
            opened = transport
        except OSError as exc:
            self._last_failure = f"{address}: {_reason(exc)}"
            self.log.debug("TLS handshake failed with %s", self._last_failure)
            self._failures.add()
            self._parts.tally.handshake_failed(TLS)
        finally:
            self._beginning.discard(current)
            if opened is None:
                (transport or sock).close()
        return opened


def _first_byte(sock: gsocket.socket) -> bytes:
    """Wait for the first byte, and leave it there; nothing when the peer leaves without one, as probes do."""
    try:
        return sock.recv(1, gsocket.MSG_PEEK)
    except ConnectionError:
        return b""


def _reason(exc: OSError) -> str:
    if isinstance(exc, ssl.SSLEOFError):
        return "closed by the peer"
    reason = getattr(exc, "reason", None)  # of SSLError, such as NO_SHARED_CIPHER
    return reason.replace("_", " ").lower() if reason else exc.strerror or str(exc)

"""Whose certificates are trusted where this server is the client: callback and control server.

What the system trusts, `SSL_CERT_FILE` and `SSL_CERT_DIR` included, as in every program of OpenSSL, and the
operator's own file on top. Redis does the same by itself.
"""

from __future__ import annotations

import os
import ssl
from pathlib import Path

from rtmpsrv.files import open_regular

Stamp = tuple[tuple[int, int, int] | None, ...]


class Trust:
    """Makes the contexts of TLS clients. Reading what a system trusts takes 30 ms, so one is kept."""

    def __init__(self, ca: str = "") -> None:
        """Trust the certificates in the file `ca` too."""
        self._ca = ca
        self._context: ssl.SSLContext | None = None
        self._stamp: Stamp = ()

    def context(self) -> ssl.SSLContext:
        """Give the context for the next connection; a file that has changed is read again.

        Raises OSError when the operator's file cannot be read or holds no certificate.
        """
        system = ssl.get_default_verify_paths()
        stamp = _stamp(self._ca), _stamp(system.cafile)
        if self._context is None or stamp != self._stamp:
            check_files(self._ca)
            context = ssl.create_default_context()
            if not _holds_any(system):
                import certifi  # what requests would trust; for systems without a store

                context.load_verify_locations(certifi.where())
            if self._ca:
                context.load_verify_locations(self._ca)
            self._context, self._stamp = context, stamp
        return self._context


def check_files(ca: str) -> None:
    """See that no file is one that OpenSSL would wait for, and all clients with it. Raises OSError."""
    if ca:
        open_regular(ca).close()
    system = ssl.get_default_verify_paths()
    path = os.environ.get(system.openssl_cafile_env, system.openssl_cafile)
    if Path(path).is_fifo():
        open_regular(path)


def _holds_any(system: ssl.DefaultVerifyPaths) -> bool:
    """Tell whether there is a file of trusted certificates, or a folder with something in it."""
    return bool(system.cafile) or bool(system.capath and os.listdir(system.capath))


def _stamp(path: str | None) -> tuple[int, int, int] | None:
    try:
        found = os.stat(path or "")
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size

"""The port of viewers by HTTPS. Imported where it is wanted: it loads OpenSSL and cryptography, 10 MB."""

from __future__ import annotations

from typing import Final

from ..tls import TlsListener
from .answers import TEXT, head
from .listener import HttpListener

_NO_TLS: Final = b"This port speaks HTTPS: begin the address with https://\n"
_OF_NO_TLS: Final = (
    ("Content-Type", TEXT),
    ("Content-Length", str(len(_NO_TLS))),
    ("Connection", "close"),
)


class HttpsListener(HttpListener, TlsListener):
    """The port with TLS."""

    prefix = "SERVER:HTTPS"
    plain_answer = head(400, _OF_NO_TLS) + _NO_TLS

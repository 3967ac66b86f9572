"""The sending side of a TLS 1.3 client, record by record: for what no library sends (RFC 8446, 5.2, 7.1)."""

from __future__ import annotations

import hashlib
import hmac
from pathlib import Path

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

_DATA, _HANDSHAKE = b"\x17", b"\x16"
_TAG_BYTES = 16
_HASHES = {"TLS_AES_256_GCM_SHA384": ("sha384", 32), "TLS_AES_128_GCM_SHA256": ("sha256", 16)}


class Records:
    """Makes records in the name of a client that has shaken hands, and has sent nothing since."""

    def __init__(self, key_log: Path, cipher: str) -> None:
        """`key_log` is what the client was told to write its secrets to."""
        lines = [line.split() for line in key_log.read_text().splitlines()]
        self._secret = next(bytes.fromhex(line[2]) for line in lines if line[0] == "CLIENT_TRAFFIC_SECRET_0")
        self._hash, self._key_bytes = _HASHES[cipher]
        self._begin()

    def data(self, payload: bytes, padding: int = 0) -> bytes:
        """Return a record of application data."""
        return self._record(payload + _DATA + bytes(padding))

    def change(self, *, asks: bool = False, padding: int = 0) -> bytes:
        """Return a record that changes the keys, and asks the server to change its own."""
        record = self._record(b"\x18\0\0\1" + bytes([asks]) + _HANDSHAKE + bytes(padding))
        self._secret = self._expand(b"traffic upd", len(self._secret))
        self._begin()
        return record

    def _begin(self) -> None:
        self._aead, self._iv = AESGCM(self._expand(b"key", self._key_bytes)), self._expand(b"iv", 12)
        self._number = 0

    def _record(self, inner: bytes) -> bytes:
        head = b"\x17\x03\x03" + (len(inner) + _TAG_BYTES).to_bytes(2, "big")
        nonce = (int.from_bytes(self._iv, "big") ^ self._number).to_bytes(12, "big")
        self._number += 1
        return head + self._aead.encrypt(nonce, inner, head)

    def _expand(self, label: bytes, size: int) -> bytes:
        full = b"tls13 " + label
        info = size.to_bytes(2, "big") + bytes([len(full)]) + full + b"\0"
        return hmac.new(self._secret, info + b"\1", getattr(hashlib, self._hash)).digest()[:size]

"""Reading a certificate chain and its key, and checking them before a TLS server takes them into use.

The files are read once; what was checked is what is loaded, from private memory files, however the files
of the operator change meanwhile. What no server can use is an error; what clients may object to, or what
looks like half a renewal, is a flaw: whoever installs the pair decides, since a flawed pair is better than
none but must not replace one that works. Blocks only for reading small local files.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key
from OpenSSL import SSL

from ..errors import CertificateError
from ..files import open_regular

MAX_FILE_BYTES = 1 << 20  # a chain with key is about 10 KiB
MAX_CERTIFICATES = 10  # of a chain; with a root there are 4 at most, and cross-signed ones
# Of a chain as it is sent. OpenSSL's clients take 100 KB (SSL_MAX_CERT_LIST_DEFAULT), others less.
MAX_CHAIN_BYTES = 1 << 16
READ_ATTEMPTS = 3  # when the files change while they are read

_BOUNDARY = re.compile(rb"-----(BEGIN|END) ([A-Z0-9 ]+)-----[ \t]*")
_CERTIFICATE = "CERTIFICATE"
_KEYS = {"PRIVATE KEY", "RSA PRIVATE KEY", "EC PRIVATE KEY"}
_ENCRYPTED = "ENCRYPTED PRIVATE KEY"
_IGNORED = {"EC PARAMETERS", "DH PARAMETERS"}  # `openssl ecparam -genkey` writes the former before the key


@dataclass(frozen=True, slots=True)
class PairContents:
    """What the two files held."""

    chain: bytes = field(repr=False)
    key: bytes = field(repr=False)

    @property
    def digest(self) -> bytes:
        """Identifies the contents without keeping them."""
        parts = hashlib.sha256(self.chain).digest() + hashlib.sha256(self.key).digest()
        return hashlib.sha256(parts).digest()


@dataclass(frozen=True, slots=True)
class CertificatePair:
    """A chain and a key that a server can use."""

    chain: bytes = field(repr=False)  # PEM, the server's own certificate first
    key: bytes = field(repr=False)  # PEM
    serial: int
    subject: str
    not_after: datetime  # of the certificate in the chain that expires first
    flaws: tuple[str, ...] = ()  # what speaks against it

    def days_left(self, now: datetime) -> int:
        """Return whole days to expiry, negative after it."""
        return (self.not_after - now) // timedelta(days=1)

    @contextlib.contextmanager
    def files(self) -> Iterator[tuple[str, str]]:
        """Give paths from which OpenSSL can load exactly these bytes, inside the `with`."""
        with contextlib.ExitStack() as undo:
            yield _private_file(self.chain, undo), _private_file(self.key, undo)


def read_pair(chain_path: str, key_path: str) -> PairContents:
    """Read both files. Raises CertificateError when one cannot be read, or they keep changing."""
    chain = _read(chain_path)
    for _ in range(READ_ATTEMPTS):
        key = _read(key_path)
        again = _read(chain_path)
        if again == chain:
            return PairContents(chain, key)
        chain = again
    raise CertificateError(f"{chain_path} changed while it was read")


def check_pair(contents: PairContents, now: datetime) -> CertificatePair:
    """Check that a TLS server can use a pair. Raises CertificateError with what is wrong beyond flaws."""
    flaws: list[str] = []
    chain, keys = _parse_chain(contents.chain, flaws), _parse_keys(contents.key, flaws)
    key_pem = _matching_key(chain, keys)
    flaws += _flaws_of_dates(chain, now)
    flaws += _flaws_of_links(chain)
    leaf = chain[0]
    pair = CertificatePair(
        b"".join(certificate.public_bytes(Encoding.PEM) for certificate in chain),
        key_pem,
        leaf.serial_number,
        leaf.subject.rfc4514_string(),
        min(certificate.not_valid_after_utc for certificate in chain),
        tuple(flaws),
    )
    _check_with_openssl(pair)
    return pair


# --- reading ------------------------------------------------------------------------------------------


def _read(path: str) -> bytes:
    try:
        with open_regular(path) as file:
            data = file.read(MAX_FILE_BYTES + 1)
    except (OSError, ValueError) as exc:
        raise CertificateError(f"{path} cannot be read: {getattr(exc, 'strerror', None) or exc}") from exc
    if len(data) > MAX_FILE_BYTES:
        raise CertificateError(f"{path} is longer than {MAX_FILE_BYTES} bytes")
    return data


def _sections(data: bytes, what: str) -> Iterator[tuple[str, bytes]]:
    """Split PEM into (label, text) pairs; words between sections are allowed (RFC 7468 5.2)."""
    label: str | None = None
    begin = 0
    position = 0
    for number, line in enumerate(data.splitlines(keepends=True), 1):
        start, position = position, position + len(line)
        if not line.startswith(b"-----"):
            continue
        boundary = _BOUNDARY.fullmatch(line.rstrip(b"\r\n"))
        if boundary is None:
            raise CertificateError(f"{what}: malformed PEM in line {number}")
        kind, found = boundary[1], boundary[2].decode()
        if kind == b"BEGIN" and label is None:
            label, begin = found, start
        elif kind == b"END" and label == found:
            yield found, data[begin:position]
            label = None
        else:
            raise CertificateError(f"{what}: PEM sections do not match in line {number}")
    if label is not None:
        raise CertificateError(f"{what}: the last PEM section, {label}, has no end")


def _parse_chain(data: bytes, flaws: list[str]) -> list[x509.Certificate]:
    """Take the certificates of a file; a key beside them, as in combined files, is left alone."""
    chain: list[x509.Certificate] = []
    chain_bytes = 0
    for label, text in _sections(data, "certificate file"):
        if label == _CERTIFICATE:
            try:
                certificate = x509.load_pem_x509_certificate(text)
                # Parses what is used later on: a key of an unknown kind or a broken name is found here.
                _spki(certificate.public_key())
                certificate.subject.rfc4514_string()
                certificate.issuer.rfc4514_string()
            except (ValueError, UnsupportedAlgorithm, x509.InvalidVersion) as exc:
                raise CertificateError(f"certificate {len(chain) + 1} cannot be parsed") from exc
            chain.append(certificate)
            chain_bytes += len(certificate.public_bytes(Encoding.DER))
            if chain_bytes > MAX_CHAIN_BYTES:
                raise CertificateError(
                    f"certificate file: {len(chain)} certificates have {chain_bytes} bytes, "
                    f"limit {MAX_CHAIN_BYTES}: more than clients take"
                )
        elif label not in _KEYS | _IGNORED | {_ENCRYPTED}:
            flaws.append(f"certificate file: unexpected PEM section {label}")
    if not chain:
        raise CertificateError("certificate file: no certificate in it")
    if len(chain) > MAX_CERTIFICATES:
        flaws.append(f"certificate file: {len(chain)} certificates in it, limit {MAX_CERTIFICATES}")
    return chain


def _parse_keys(data: bytes, flaws: list[str]) -> list[bytes]:
    """Take the private keys of a file, there should be one; certificates beside it are left alone."""
    keys = []
    for label, text in _sections(data, "key file"):
        if label == _ENCRYPTED or (label in _KEYS and b"ENCRYPTED" in text):
            raise CertificateError("key file: the key is encrypted with a passphrase")
        if label in _KEYS:
            keys.append(text)
        elif label != _CERTIFICATE and label not in _IGNORED:
            flaws.append(f"key file: unexpected PEM section {label}")
    if not keys:
        raise CertificateError("key file: no private key in it")
    if len(keys) > 1:
        flaws.append(f"key file: {len(keys)} private keys in it, expected 1")
    return keys


# --- checking -----------------------------------------------------------------------------------------


def _matching_key(chain: list[x509.Certificate], keys: list[bytes]) -> bytes:
    """Return the key of the first certificate."""
    owned = [_spki(certificate.public_key()) for certificate in chain]
    public = [_public_half(key) for key in keys]
    if owned[0] in public:
        return keys[public.index(owned[0])]
    for number, one in enumerate(owned, 1):
        if one in public:
            raise CertificateError(
                f"the private key matches certificate {number} of the chain; the server's own must be first"
            )
    raise CertificateError("the private key does not match the certificate")


def _public_half(key_pem: bytes) -> bytes:
    try:
        return _spki(load_pem_private_key(key_pem, None).public_key())
    except (ValueError, TypeError, UnsupportedAlgorithm):
        # Without the cause: nothing about a private key gets near a traceback.
        raise CertificateError("key file: the private key cannot be parsed") from None


def _spki(key: object) -> bytes:
    public_bytes = getattr(key, "public_bytes")  # noqa: B009 - a union of kinds, some without this method
    data: bytes = public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return data


def _flaws_of_dates(chain: list[x509.Certificate], now: datetime) -> Iterator[str]:
    for number, certificate in enumerate(chain, 1):
        begin, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
        if now > end:
            yield f"certificate {number} expired on {end:%Y-%m-%d %H:%M} UTC"
        if now < begin:
            yield f"certificate {number} is not valid before {begin:%Y-%m-%d %H:%M} UTC"


def _flaws_of_links(chain: list[x509.Certificate]) -> Iterator[str]:
    """See that each certificate was issued by the next one in the file."""
    for number, (certificate, issuer) in enumerate(pairwise(chain), 1):
        try:
            if certificate == issuer:
                raise ValueError("a copy, though one that signed itself is its own issuer")
            certificate.verify_directly_issued_by(issuer)
        except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
            yield (
                f"certificate {number} was not issued by number {number + 1}: "
                "wrong order, one is missing, or one too many"
            )


def _check_with_openssl(pair: CertificatePair) -> None:
    """Let OpenSSL have the last word: it also knows what is too weak to be used."""
    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    try:
        with pair.files() as (chain_path, key_path):
            context.use_certificate_chain_file(chain_path)
            context.use_privatekey_file(key_path)
            context.check_privatekey()
    except SSL.Error as exc:
        reasons = ", ".join(str(entry[-1]) for entry in exc.args[0]) if exc.args else ""
        raise CertificateError(f"OpenSSL refuses the pair: {reasons or 'no reason given'}") from exc


def _private_file(data: bytes, undo: contextlib.ExitStack) -> str:
    """Give the path of a file that holds `data`, which no other user can read, until `undo` is closed."""
    if hasattr(os, "memfd_create") and Path("/proc/self/fd").is_dir():
        fd = os.memfd_create("rtmpsrv-tls", os.MFD_CLOEXEC)
        undo.callback(os.close, fd)
        os.write(fd, data)  # memory: takes all at once
        return f"/proc/self/fd/{fd}"
    # macOS, or no /proc: a folder of mode 0700.
    path = Path(undo.enter_context(tempfile.TemporaryDirectory())) / "pem"
    path.write_bytes(data)
    return str(path)

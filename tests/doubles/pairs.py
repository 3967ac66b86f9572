"""Certificates of all sorts for tests of RTMPS: good, expired, in chains, of RSA and ECDSA keys."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from itertools import count
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey

_serials = count(1001)


@cache
def _rsa_key(number: int) -> rsa.RSAPrivateKey:
    """Make keys once a run: each takes a good part of a second."""
    return rsa.generate_private_key(65537, 2048)


def new_key(kind: str = "ecdsa") -> Key:
    if kind == "rsa":
        return _rsa_key(0)
    return ec.generate_private_key(ec.SECP256R1())


@dataclass(frozen=True)
class Issued:
    """A certificate with its key; `issuer` is None for one that signed itself."""

    certificate: x509.Certificate
    private_key: Key
    issuer: Issued | None = None

    @property
    def serial(self) -> int:
        return self.certificate.serial_number

    @property
    def pem(self) -> bytes:
        """The certificate alone."""
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    @property
    def chain(self) -> bytes:
        """The certificate and those that signed it, without the root."""
        above = self.issuer
        return self.pem + (above.chain if above is not None and above.issuer is not None else b"")

    @property
    def key(self) -> bytes:
        return self.key_as(serialization.PrivateFormat.PKCS8)

    def key_as(self, form: serialization.PrivateFormat, passphrase: bytes = b"") -> bytes:
        hidden: serialization.KeySerializationEncryption = serialization.NoEncryption()
        if passphrase:
            hidden = serialization.BestAvailableEncryption(passphrase)
        return self.private_key.private_bytes(serialization.Encoding.PEM, form, hidden)

    def write(self, folder: Path) -> tuple[Path, Path]:
        """Write `fullchain.pem` and `privkey.pem`."""
        folder.mkdir(parents=True, exist_ok=True)
        chain, key = folder / "fullchain.pem", folder / "privkey.pem"
        chain.write_bytes(self.chain)
        key.write_bytes(self.key)
        return chain, key


def issue(
    issuer: Issued | None = None,
    *,
    name: str = "localhost",
    kind: str = "ecdsa",
    ca: bool = False,
    begins: timedelta = timedelta(hours=-1),
    ends: timedelta = timedelta(days=60),
) -> Issued:
    """Make a certificate for loopback; it signs itself when there is no issuer."""
    key = new_key(kind)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    signer = issuer.private_key if issuer is not None else key
    now = datetime.now(UTC)
    names = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.certificate.subject if issuer is not None else subject)
        .public_key(key.public_key())
        .serial_number(next(_serials))
        .not_valid_before(now + begins)
        .not_valid_after(now + ends)
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False
        )
        .sign(signer, hashes.SHA256())
    )
    return Issued(certificate, key, issuer)


def issue_chain(kind: str = "ecdsa") -> Issued:
    """Make a certificate under an intermediate under a root."""
    root = issue(name="root of a test", ca=True)
    return issue(issue(root, name="intermediate of a test", ca=True), kind=kind)

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import gevent
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from rtmpsrv.errors import CertificateError
from rtmpsrv.server import certificates
from rtmpsrv.server.certificates import CertificatePair, PairContents, check_pair, read_pair
from rtmpsrv.server.tls import make_context
from tests.doubles.pairs import Issued, issue, issue_chain

PKCS8 = serialization.PrivateFormat.PKCS8
TRADITIONAL = serialization.PrivateFormat.TraditionalOpenSSL


def check(chain: bytes, key: bytes) -> CertificatePair:
    return check_pair(PairContents(chain, key), datetime.now(UTC))


@pytest.mark.parametrize("kind", ["rsa", "ecdsa"])
@pytest.mark.parametrize("form", [PKCS8, TRADITIONAL])
def test_a_pair_that_signed_itself_is_good(kind: str, form: serialization.PrivateFormat) -> None:
    issued = issue(kind=kind)
    pair = check(issued.pem, issued.key_as(form))
    assert (pair.chain, pair.serial, pair.subject) == (issued.pem, issued.serial, "CN=localhost")
    assert pair.flaws == ()


def test_a_chain_with_an_intermediate_is_good_with_and_without_its_root() -> None:
    leaf = issue_chain()
    assert leaf.issuer is not None
    assert leaf.issuer.issuer is not None
    assert check(leaf.chain, leaf.key).chain == leaf.chain
    whole = leaf.chain + leaf.issuer.issuer.pem
    assert check(whole, leaf.key).chain == whole


def test_words_between_sections_and_other_ends_of_line_are_allowed() -> None:
    leaf = issue_chain()
    text = b"Bag Attributes\n    friendlyName: x\n" + leaf.chain + b"-- the end --\n"
    assert check(text.replace(b"\n", b"\r\n"), leaf.key).chain == leaf.chain


def test_a_combined_file_serves_as_both() -> None:
    leaf = issue_chain()
    both = leaf.key + leaf.chain
    pair = check(both, both)
    assert pair.chain == leaf.chain
    assert pair.key == leaf.key


def test_parameters_before_an_elliptic_key_are_ignored() -> None:
    issued = issue()
    parameters = b"-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n"
    check(issued.pem, parameters + issued.key_as(TRADITIONAL))


def _tampered(pem: bytes) -> bytes:
    lines = pem.split(b"\n")
    lines[1] = b"AAAA" + lines[1][4:]
    return b"\n".join(lines)


BAD: dict[str, tuple[str, object]] = {
    "empty certificate file": ("no certificate", lambda leaf: (b"", leaf.key)),
    "empty key file": ("no private key", lambda leaf: (leaf.chain, b"")),
    "two keys of others": ("does not match", lambda leaf: (leaf.chain, issue().key + issue().key)),
    "key of another": ("does not match", lambda leaf: (leaf.chain, issue().key)),
    "wrong order": ("matches certificate 2", lambda leaf: (leaf.issuer.pem + leaf.pem, leaf.key)),
    "broken certificate": ("certificate 1 cannot be parsed", lambda leaf: (_tampered(leaf.pem), leaf.key)),
    "broken intermediate": (
        "certificate 2 cannot be parsed",
        lambda leaf: (leaf.pem + _tampered(leaf.issuer.pem), leaf.key),
    ),
    "broken key": ("key cannot be parsed", lambda leaf: (leaf.chain, _tampered(leaf.key))),
    "truncated certificate": ("has no end", lambda leaf: (leaf.pem[:-40], leaf.key)),
    "truncated key": ("has no end", lambda leaf: (leaf.chain, leaf.key[:-40])),
    "sections inside each other": ("do not match", lambda leaf: (leaf.pem[:-26] + leaf.pem, leaf.key)),
    "an end alone": ("do not match", lambda leaf: (b"-----END CERTIFICATE-----\n" + leaf.pem, leaf.key)),
    "malformed boundary": ("malformed PEM in line 1", lambda leaf: (b"-----BEGIN\n" + leaf.pem, leaf.key)),
    "files swapped": ("no certificate", lambda leaf: (leaf.key, leaf.chain)),
    "more than clients take": (
        "limit 65536",
        lambda leaf: (leaf.chain + 900 * leaf.issuer.issuer.pem, leaf.key),
    ),
    "passphrase": ("passphrase", lambda leaf: (leaf.chain, leaf.key_as(PKCS8, b"secret"))),
    "passphrase, old": ("passphrase", lambda leaf: (leaf.chain, leaf.key_as(TRADITIONAL, b"secret"))),
    "request": (
        "no certificate",
        lambda leaf: (leaf.pem.replace(b"CERTIFICATE", b"CERTIFICATE REQUEST"), leaf.key),
    ),
    "key of OpenSSH": (
        "no private key",
        lambda leaf: (leaf.chain, leaf.key_as(serialization.PrivateFormat.OpenSSH)),
    ),
}

FLAWED: dict[str, tuple[str, object]] = {
    "two keys": ("2 private keys", lambda leaf: (leaf.chain, issue().key + leaf.key)),
    "intermediate of another": ("not issued by", lambda leaf: (leaf.pem + issue(ca=True).pem, leaf.key)),
    "a certificate twice": ("not issued by", lambda leaf: (leaf.pem + leaf.chain, leaf.key)),
    "a copy of the root": (
        "3 was not issued by number 4",
        lambda leaf: (leaf.chain + 2 * leaf.issuer.issuer.pem, leaf.key),
    ),
    "a request beside it": (
        "unexpected PEM section CERTIFICATE REQUEST",
        lambda leaf: (leaf.chain + leaf.pem.replace(b"CERTIFICATE", b"CERTIFICATE REQUEST"), leaf.key),
    ),
    "another kind of key beside it": (
        "unexpected PEM section OPENSSH PRIVATE KEY",
        lambda leaf: (leaf.chain, leaf.key_as(serialization.PrivateFormat.OpenSSH) + leaf.key),
    ),
}


@pytest.mark.parametrize("case", FLAWED)
def test_what_can_be_served_all_the_same_is_a_flaw(case: str) -> None:
    flaw, spoil = FLAWED[case]
    leaf = issue_chain()
    pair = check(*spoil(leaf))  # type: ignore[operator]
    assert [flaw in found for found in pair.flaws] == [True]
    assert (pair.key, pair.serial) == (leaf.key, leaf.serial)
    make_context(pair)


@pytest.mark.parametrize("case", BAD)
def test_a_bad_pair_is_refused_with_the_reason(case: str) -> None:
    reason, spoil = BAD[case]
    leaf = issue_chain()
    with pytest.raises(CertificateError, match=reason) as caught:
        check(*spoil(leaf))  # type: ignore[operator]
    assert leaf.key.split(b"\n")[1].decode() not in str(caught.value)


@pytest.mark.parametrize(
    ("begins", "ends", "reason"),
    [(-2, -1, "certificate 1 expired on"), (1, 2, "certificate 1 is not valid before")],
)
def test_a_date_that_is_wrong_is_a_flaw(begins: int, ends: int, reason: str) -> None:
    issued = issue(begins=timedelta(days=begins), ends=timedelta(days=ends))
    (flaw,) = check(issued.pem, issued.key).flaws
    assert flaw.startswith(reason)


def test_a_chain_may_have_so_many_certificates_and_no_more() -> None:
    leaf = issue(name="root", ca=True)
    for number in range(certificates.MAX_CERTIFICATES - 1):
        leaf = issue(leaf, name=str(number), ca=True)
    assert leaf.issuer is not None
    chain = leaf.chain + _root(leaf).pem
    assert check(chain, leaf.key).flaws == ()
    longer = issue(leaf)
    (flaw,) = check(longer.pem + chain, longer.key).flaws
    assert flaw == "certificate file: 11 certificates in it, limit 10"


def _root(issued: Issued) -> Issued:
    return issued if issued.issuer is None else _root(issued.issuer)


def test_a_chain_may_have_so_many_bytes_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    leaf = issue_chain()
    assert leaf.issuer is not None
    sent = sum(len(one.certificate.public_bytes(serialization.Encoding.DER)) for one in (leaf, leaf.issuer))
    monkeypatch.setattr(certificates, "MAX_CHAIN_BYTES", sent)
    assert check(leaf.chain, leaf.key).flaws == ()
    monkeypatch.setattr(certificates, "MAX_CHAIN_BYTES", sent - 1)
    with pytest.raises(CertificateError, match=f"2 certificates have {sent} bytes, limit {sent - 1}"):
        check(leaf.chain, leaf.key)


def test_dates_of_the_whole_chain_count() -> None:
    root = issue(ca=True)
    middle = issue(root, name="m", ca=True, begins=timedelta(days=-2), ends=timedelta(hours=-1))
    leaf = issue(middle)
    (flaw,) = check(leaf.chain, leaf.key).flaws
    assert flaw.startswith("certificate 2 expired")
    short = issue(root, name="m", ca=True, ends=timedelta(days=3, hours=1))
    leaf = issue(short)
    pair = check(leaf.chain, leaf.key)
    now = datetime.now(UTC)
    assert pair.days_left(now) == 3
    assert pair.days_left(now + timedelta(days=4)) == -1


def test_what_openssl_finds_too_weak_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    weak = rsa.generate_private_key(65537, 1024)
    monkeypatch.setattr("tests.doubles.pairs.new_key", lambda kind: weak)
    issued = issue()
    with pytest.raises(CertificateError, match=r"OpenSSL refuses the pair: .*too small"):
        check(issued.pem, issued.key)


def test_serials_and_keys_do_not_show_in_the_repr() -> None:
    issued = issue()
    contents = PairContents(issued.pem, issued.key)
    assert "KEY" not in repr(contents)
    assert "KEY" not in repr(check(issued.pem, issued.key))


def _stored(folder: Path, issued: Issued) -> tuple[str, str]:
    chain, key = issued.write(folder)
    return str(chain), str(key)


def test_files_are_read_and_told_apart_by_what_they_hold(tmp_path: Path) -> None:
    issued = issue()
    paths = _stored(tmp_path, issued)
    first = read_pair(*paths)
    assert (first.chain, first.key) == (issued.pem, issued.key)
    assert read_pair(*paths).digest == first.digest
    other = read_pair(*_stored(tmp_path, issue()))
    assert other.digest != first.digest
    assert PairContents(b"ab", b"c").digest != PairContents(b"a", b"bc").digest


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    chain, key = _stored(tmp_path, issue())
    with pytest.raises(CertificateError, match=r"/nowhere cannot be read: No such file"):
        read_pair("/nowhere", key)
    with pytest.raises(CertificateError, match="Is a directory"):
        read_pair(chain, str(tmp_path))


@pytest.mark.parametrize("which", [0, 1])
def test_a_named_pipe_is_refused_at_once(tmp_path: Path, which: int) -> None:
    paths = _stored(tmp_path, issue())
    os.unlink(paths[which])
    os.mkfifo(paths[which])
    with (
        gevent.Timeout(5),
        pytest.raises(CertificateError, match="pem cannot be read: it is not a regular file"),
    ):
        read_pair(*paths)


def test_a_huge_file_is_refused(tmp_path: Path) -> None:
    _, key = _stored(tmp_path, issue())
    exact, longer = tmp_path / "exact", tmp_path / "longer"
    exact.write_bytes(bytes(certificates.MAX_FILE_BYTES))
    longer.write_bytes(bytes(certificates.MAX_FILE_BYTES + 1))
    assert len(read_pair(str(exact), key).chain) == certificates.MAX_FILE_BYTES
    with pytest.raises(CertificateError, match="longer than 1048576 bytes"):
        read_pair(str(longer), key)


def test_a_pair_that_is_replaced_while_it_is_read_is_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = _stored(tmp_path, issue())
    new = issue()
    read = certificates._read
    reads = 0

    def slow_read(path: str) -> bytes:
        nonlocal reads
        reads += 1
        data = read(path)
        if reads == 1:
            new.write(tmp_path)
        return data

    monkeypatch.setattr(certificates, "_read", slow_read)
    contents = read_pair(*paths)
    assert (contents.chain, contents.key) == (new.pem, new.key)


def test_a_certificate_that_keeps_changing_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    values = iter(range(100))
    monkeypatch.setattr(certificates, "_read", lambda path: b"%d" % next(values))
    with pytest.raises(CertificateError, match="changed while it was read"):
        read_pair("chain", "key")


@pytest.mark.parametrize("in_memory", [True, False])
def test_checked_bytes_can_be_loaded_from_files_that_go_away(
    in_memory: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not in_memory:
        monkeypatch.delattr("os.memfd_create")
    issued = issue()
    pair = check(issued.pem, issued.key)
    with pair.files() as paths:
        assert Path(paths[0]).read_bytes() == issued.pem
        assert Path(paths[1]).read_bytes() == issued.key
        x509.load_pem_x509_certificate(Path(paths[0]).read_bytes())
        if not in_memory:
            assert all(Path(path).parent.stat().st_mode & 0o077 == 0 for path in paths)
    if not in_memory:
        assert not any(Path(path).exists() for path in paths)

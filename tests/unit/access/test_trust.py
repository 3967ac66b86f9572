from __future__ import annotations

import os
import ssl
import subprocess
from pathlib import Path

import gevent
import pytest

from rtmpsrv.access.trust import Trust
from tests.doubles.pairs import Issued, issue


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give a folder for trusted certificates; what the machine trusts is out of the way."""
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "system.pem"))
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path / "system"))
    return tmp_path


def authority(path: Path) -> Issued:
    """Write the certificate of a new authority."""
    issued = issue(name=path.stem, ca=True)
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(issued.pem)
    return issued


def believed(context: ssl.SSLContext, signer: Issued, folder: Path) -> bool:
    """Tell whether a client with this context believes a server whose certificate `signer` signed."""
    chain, key = issue(signer).write(folder / "server")
    own = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    own.load_cert_chain(chain, key)
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = context.wrap_bio(to_client, to_server, server_hostname="localhost")
    server = own.wrap_bio(to_server, to_client, server_side=True)
    for side in (client, server, client):
        try:
            side.do_handshake()
        except ssl.SSLWantReadError:
            continue
        except ssl.SSLCertVerificationError:
            return False
    return True


def test_the_file_of_the_system_is_trusted_and_nobody_else(folder: Path) -> None:
    known = authority(folder / "system.pem")
    context = Trust().context()
    assert believed(context, known, folder)
    assert not believed(context, issue(name="stranger", ca=True), folder)


def test_the_folder_of_the_system_is_trusted(folder: Path) -> None:
    known = authority(folder / "system" / "one.pem")
    printed = subprocess.run(
        ["openssl", "x509", "-hash", "-noout", "-in", folder / "system" / "one.pem"],
        capture_output=True,
        text=True,
        check=True,
    )
    (folder / "system" / f"{printed.stdout.strip()}.0").symlink_to("one.pem")
    assert believed(Trust().context(), known, folder)


def test_the_operators_file_is_trusted_on_top(folder: Path) -> None:
    known, own = authority(folder / "system.pem"), authority(folder / "own.pem")
    context = Trust(str(folder / "own.pem")).context()
    assert believed(context, known, folder)
    assert believed(context, own, folder)


def test_without_a_store_of_the_system_public_authorities_are_trusted(folder: Path) -> None:
    assert len(Trust().context().get_ca_certs()) > 50
    (folder / "system").mkdir()  # empty
    assert len(Trust().context().get_ca_certs()) > 50


def test_names_and_certificates_are_always_checked(folder: Path) -> None:
    context = Trust().context()
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)


@pytest.mark.parametrize("name", ["system.pem", "own.pem"])
def test_a_named_pipe_is_refused_at_once(folder: Path, name: str) -> None:
    authority(folder / "system.pem")
    authority(folder / "own.pem")
    trust = Trust(str(folder / "own.pem"))
    trust.context()
    (folder / name).unlink()
    os.mkfifo(folder / name)
    with gevent.Timeout(5), pytest.raises(OSError, match="is not a regular file"):
        trust.context()


def test_the_file_of_the_system_may_be_none(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", "/dev/null")
    assert Trust().context()


def test_a_context_is_kept_until_a_file_changes(folder: Path) -> None:
    authority(folder / "system.pem")
    trust = Trust(str(folder / "own.pem"))
    with pytest.raises(OSError):  # noqa: PT011 - of the kinds that there are, any will do
        trust.context()
    authority(folder / "own.pem")
    first = trust.context()
    assert trust.context() is first
    (folder / "own.pem").unlink()
    new = authority(folder / "own.pem")
    assert believed(trust.context(), new, folder)
    (folder / "own.pem").write_text("no certificate")
    with pytest.raises(ssl.SSLError):
        trust.context()

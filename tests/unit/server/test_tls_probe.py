from __future__ import annotations

from pathlib import Path

import pytest
from gevent import ssl

from rtmpsrv.server.tls_probe import can_serve
from tests.doubles import certificates


def test_a_context_with_a_certificate_can_serve(tmp_path: Path) -> None:
    made = certificates.make(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(made.certificate, made.key)
    assert can_serve(context)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    assert can_serve(context)


def test_a_context_that_asks_clients_for_certificates_can_serve(tmp_path: Path) -> None:
    made = certificates.make(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(made.certificate, made.key)
    context.load_verify_locations(made.ca)
    context.verify_mode = ssl.CERT_REQUIRED
    assert can_serve(context)


@pytest.mark.parametrize("kind", [ssl.PROTOCOL_TLS_SERVER, ssl.PROTOCOL_TLS_CLIENT])
def test_a_context_without_a_certificate_or_for_clients_cannot(kind: int) -> None:
    assert not can_serve(ssl.SSLContext(kind))


def test_a_context_that_chooses_by_name_is_given_the_benefit_of_the_doubt() -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.sni_callback = lambda *arguments: None
    assert can_serve(context)

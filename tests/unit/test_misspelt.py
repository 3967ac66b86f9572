from __future__ import annotations

import pytest

from rtmpsrv.config import KNOWN
from rtmpsrv.misspelt import misspelt


def found(**environ: str) -> list[str]:
    return list(misspelt(environ, KNOWN))


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("RTMP_PROT", "RTMP_PORT"),
        ("RTMPPORT", "RTMP_PORT"),
        ("rtmp_port", "RTMP_PORT"),
        ("SSL_CERTIFICATE", "SSL_CERT"),
        ("SSL_KEY_FILE", "SSL_KEY"),
        ("MAX_IP_CONNECTIONS", "MAX_IP_CONCURRENT_CONNECTIONS"),
        ("MAX_CONNECTION", "MAX_CONNECTIONS"),
        ("IDLE_TIMEOUT", "IDLE_TIMEOUT_SECONDS"),
        ("CALBACK_URL", "CALLBACK_URL"),
        ("REDIS_PASS", "REDIS_PASSWORD"),
        ("GOP_CACHE_SIZE", "GOP_CACHE_SIZE_MB"),
        ("PLAY_WHITELIST", "RTMP_PLAY_WHITELIST"),
        ("PLAY_ALLOWED_FORM", "PLAY_ALLOWED_FROM"),
    ],
)
def test_a_name_near_to_a_settings_is_told_with_that(name: str, nearest: str) -> None:
    assert found(**{name: "x"}) == [f"{name} is no setting and is ignored; the nearest is {nearest}"]


@pytest.mark.parametrize(
    "name",
    [
        "PATH", "HOME", "LOGNAME", "HOSTNAME", "PORT", "LANG", "HTTP_PROXY", "MAX_CLIENTS", "REQUEST_TIMEOUT",
        "SSL_CERT_FILE", "SSL_CERT_DIR", "SSLKEYLOGFILE", "RTMPSRV_COMPILE", "PYTHONUNBUFFERED",
        "REDIS_SERVICE_HOST", "RTMP_SERVICE_PORT", "RTMP_PORT_1935_TCP_ADDR", "REDIS_ENV_VERSION",
        "RTMP_P\u00f6rt",
    ],
)  # fmt: skip
def test_names_of_others_are_left_alone(name: str) -> None:
    assert found(**{name: "x"}) == []


def test_settings_aliases_and_what_is_empty_are_left_alone() -> None:
    assert found(**dict.fromkeys(KNOWN, "x")) == []
    assert found(RTMP_PROT="") == []


def test_no_value_is_shown() -> None:
    (line,) = found(JWT_SECERT="Kleinod")
    assert "Kleinod" not in line

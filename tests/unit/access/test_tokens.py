from __future__ import annotations

import time

import pytest

from rtmpsrv.access.tokens import callback_token, control_token, sign
from tests.doubles.secrets import JWT_SECRET, KEY
from tests.doubles.tokens import BadToken, verify


def token(**changes: object) -> str:
    arguments: dict[str, object] = {
        "secret": JWT_SECRET,
        "subject": "",
        "channel": "news",
        "key": KEY,
        "client_ip": "::ffff:10.0.0.1",
        "stream_id": None,
        "rtmp_host": "",
        "rtmp_port": 1935,
    }
    return callback_token("start", **(arguments | changes))  # type: ignore[arg-type]


def test_s81_all_ten_claims_have_their_exact_types() -> None:
    now = time.time()
    assert verify(token(now=now), JWT_SECRET) == {
        "sub": "rtmp_event",
        "iat": int(now),
        "exp": int(now) + 120,
        "event": "start",
        "channel": "news",
        "key": KEY,
        "client_ip": "::ffff:10.0.0.1",
        "stream_id": None,
        "rtmp_port": 1935,
        "rtmp_host": "",
    }


def test_s82_subject_is_custom() -> None:
    assert verify(token(subject="x"), JWT_SECRET)["sub"] == "x"


@pytest.mark.parametrize("secret", ["", "a", "a" * 100, "ä€"])
def test_any_secret_signs_an_empty_one_too(secret: str) -> None:
    assert verify(token(secret=secret), secret)["channel"] == "news"


def test_another_secret_does_not_verify() -> None:
    for secret in ("", "other"):
        with pytest.raises(BadToken):
            verify(token(), secret)
    with pytest.raises(BadToken):
        verify(token(secret=""), JWT_SECRET)


def test_s94_control_token_lives_an_hour() -> None:
    claims = verify(control_token(JWT_SECRET), JWT_SECRET)
    assert claims == {"sub": "rtmp-control", "iat": claims["iat"], "exp": claims["iat"] + 3600}


def test_tokens_have_no_padding_and_three_parts() -> None:
    for secret in ("", JWT_SECRET):
        assert sign({"a": 1}, secret).count(".") == 2
        assert "=" not in sign({"a": 1}, secret)

"""Which tokens are taken, for whom, and what is said about the others."""

from __future__ import annotations

import base64
import json
import time
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from rtmpsrv.access.names import MAX_SECRET_BYTES
from rtmpsrv.access.stream_tokens import (
    MAX_PATTERNS,
    SecretKey,
    StreamTokens,
    TokenClaims,
    TokenKey,
    TokenRefused,
    make_token,
)

SECRET = "token-secret-Qn4-that-is-long-enough"
NOW = int(time.time())
GOOD: dict[str, Any] = {"exp": NOW + 3600, "channel": "live/*", "action": "publish"}


def read(
    claims: dict[str, Any], *, secret: str = SECRET, action: str = "publish", channel: str = "live/alice"
) -> TokenClaims:
    return StreamTokens(SecretKey(SECRET)).read(make_token(claims, secret), action, channel)


def why_not(claims: dict[str, Any], **how: Any) -> str:
    with pytest.raises(TokenRefused) as caught:
        read(claims, **how)
    return str(caught.value)


def raw(header: object, payload: object, signature: bytes = b"") -> str:
    parts = (*(json.dumps(one).encode() for one in (header, payload)), signature)
    return ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts)


@pytest.mark.parametrize(
    ("changes", "wanted"),
    [
        ({}, TokenClaims(NOW + 3600)),
        ({"sub": "bob"}, TokenClaims(NOW + 3600, "bob")),
        ({"nbf": NOW - 1, "iat": NOW + 1000, "aud": "somebody", "iss": "x"}, TokenClaims(NOW + 3600)),
        ({"channel": ["a", "live/alice"], "action": ["play", "publish"]}, TokenClaims(NOW + 3600)),
        ({"limits": {"max_bitrate": 5, "max_seconds": 6}}, TokenClaims(NOW + 3600, "", 5, 6)),
        ({"limits": {"max_seconds": 6}}, TokenClaims(NOW + 3600, "", 0, 6)),
    ],
)
def test_good_tokens(changes: dict[str, Any], wanted: TokenClaims) -> None:
    assert read(GOOD | changes) == wanted


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"exp": NOW - 1}, "the token has run out"),
        ({"nbf": NOW + 3000}, "the token is not valid yet"),
        ({"exp": None}, "the token does not say when it runs out"),
        ({"exp": "soon"}, "the token is not genuine"),
        ({"action": "play"}, "the token is not for publish"),
        ({"action": None}, "the token is not for publish"),
        ({"channel": "live/bob"}, "the token is for another channel"),
        ({"channel": None}, "the token is for another channel"),
        ({"channel": [1, {}]}, "the token is for another channel"),
        ({"channel": "live"}, "the token is for another channel"),
        ({"channel": [*["x"] * MAX_PATTERNS, "*"]}, "the token is for another channel"),
        ({"limits": 5}, "the token has limits that are not known"),
        ({"limits": {"max_fps": 5}}, "the token has limits that are not known"),
        ({"limits": {"max_bitrate": "5"}}, "the token has limits that are no numbers"),
        ({"limits": {"max_bitrate": True}}, "the token has limits that are no numbers"),
        ({"limits": {"max_bitrate": -1}}, "the token has limits that are no numbers"),
    ],
)
def test_tokens_that_grant_nothing(changes: dict[str, Any], why: str) -> None:
    claims = GOOD | changes
    assert why_not({name: value for name, value in claims.items() if value is not None}) == why


def test_a_token_of_another_secret_is_refused() -> None:
    assert why_not(GOOD, secret="another-secret-that-is-long-enough-too") == "the token is not genuine"


@pytest.mark.parametrize(
    ("token", "why"),
    [
        ("", "no token was given"),
        ("junk", "the token is not genuine"),
        ("a.b.c", "the token is not genuine"),
        ("x" * (MAX_SECRET_BYTES + 1), "the token is not genuine"),
        (raw({"alg": "none"}, GOOD), "the token is not genuine"),
        (raw({"alg": "HS256"}, GOOD), "the token is not genuine"),
        (raw({"alg": "HS256", "kid": 5}, GOOD), "the token is not genuine"),
        (raw([], GOOD), "the token is not genuine"),
        (base64.urlsafe_b64encode(b"[" * 2500).decode() + ".e30.", "the token is not genuine"),
    ],
    ids=lambda value: None if len(value) < 30 else "",  # a token of now differs from process to process
)
def test_what_is_no_token_of_ours(token: str, why: str) -> None:
    with pytest.raises(TokenRefused, match=f"^{why}$"):
        StreamTokens(SecretKey(SECRET)).read(token, "publish", "live/alice")


class Ring:
    """One key, for all that ask."""

    def __init__(self, algorithm: str, key: object) -> None:
        self.key = TokenKey(algorithm, key)
        self.asked: list[str] = []

    def find(self, key_id: str) -> TokenKey:
        self.asked.append(key_id)
        return self.key


def test_the_key_says_by_which_algorithm() -> None:
    private = rsa.generate_private_key(65537, 2048)
    ring = Ring("RS256", private.public_key())
    tokens = StreamTokens(ring)
    signed = jwt.encode(GOOD, private, "RS256", headers={"kid": "one"})
    assert tokens.read(signed, "publish", "live/a").until == NOW + 3600
    for other in (
        jwt.encode(GOOD, private, "RS512"),
        jwt.encode(GOOD, SECRET, "HS256"),
        jwt.encode(GOOD, ec.generate_private_key(ec.SECP256R1()), "ES256"),
    ):
        with pytest.raises(TokenRefused, match="not genuine"):
            tokens.read(other, "publish", "live/a")
    assert ring.asked == ["one", "", "", ""]


def test_one_that_was_genuine_needs_no_key_again_but_still_runs_out() -> None:
    class NoKeys:
        def find(self, key_id: str) -> TokenKey:
            raise AssertionError("nobody asks for keys again")

    tokens = StreamTokens(NoKeys())
    good = make_token(GOOD, "some secret that is not here any more")
    assert tokens.read(good, "publish", "live/alice", again=True) == TokenClaims(NOW + 3600)
    for changes, why in (({"exp": NOW - 1}, "run out"), ({"channel": "x"}, "another channel")):
        with pytest.raises(TokenRefused, match=why):
            tokens.read(make_token(GOOD | changes, "x"), "publish", "live/alice", again=True)
    with pytest.raises(TokenRefused, match="not genuine"):
        tokens.read("junk", "publish", "live/alice", again=True)

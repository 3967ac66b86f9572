"""Key sets: which keys are taken, and how they are fetched from a server that fails."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

from rtmpsrv import log
from rtmpsrv.access import jwks
from rtmpsrv.access.backoff import Backoff
from rtmpsrv.access.jwks import MAX_KEYS, KeyFetcher, KeyRing, read_keys
from rtmpsrv.access.stream_tokens import StreamTokens, TokenRefused
from rtmpsrv.errors import ConfigError
from rtmpsrv.server.turns import Turns
from tests.doubles.key_server import KeyServer
from tests.unit.access.conftest import LogLines
from tests.waiting import eventually

RSA = rsa.generate_private_key(65537, 2048)
SHORT_RSA = rsa.generate_private_key(65537, 1024)
EC = ec.generate_private_key(ec.SECP256R1())
LONG_EC = ec.generate_private_key(ec.SECP384R1())


def rsa_key(private: rsa.RSAPrivateKey = RSA, **more: Any) -> dict[str, Any]:
    return dict(RSAAlgorithm.to_jwk(private.public_key(), as_dict=True)) | more


def ec_key(private: ec.EllipticCurvePrivateKey = EC, **more: Any) -> dict[str, Any]:
    return dict(ECAlgorithm.to_jwk(private.public_key(), as_dict=True)) | more


def key_set(*keys: Any) -> bytes:
    return json.dumps({"keys": keys}).encode()


def token(key: Any = RSA, algorithm: str = "RS256", kid: str = "") -> str:
    claims = {"exp": time.time() + 60, "channel": "*", "action": "play"}
    return jwt.encode(claims, key, algorithm, headers={"kid": kid} if kid else None)


def test_each_kind_of_key_is_for_its_algorithm() -> None:
    found = read_keys(key_set(rsa_key(kid="a", use="sig", alg="RS256"), ec_key(kid="b")))
    assert {name: one.algorithm for name, one in found.items()} == {"a": "RS256", "b": "ES256"}
    ring = KeyRing()
    ring.replace(found)
    for signed in (token(kid="a"), token(EC, "ES256", "b")):
        assert StreamTokens(ring).read(signed, "play", "x").subject == ""
    with pytest.raises(TokenRefused, match="not genuine"):
        StreamTokens(ring).read(token(kid="b"), "play", "x")


def test_a_private_key_in_the_set_checks_too() -> None:
    ring = KeyRing()
    ring.replace(read_keys(key_set(dict(RSAAlgorithm.to_jwk(RSA, as_dict=True)))))
    assert StreamTokens(ring).read(token(), "play", "x").until > time.time()


@pytest.mark.parametrize(
    "useless",
    [
        rsa_key(use="enc"),
        rsa_key(alg="RS512"),
        rsa_key(SHORT_RSA),
        rsa_key(n="!"),
        {name: value for name, value in rsa_key().items() if name != "e"},
        ec_key(LONG_EC),
        {"kty": "oct", "k": "c2VjcmV0"},
        {},
        5,
    ],
)
def test_keys_that_are_of_no_use_are_left_out(useless: Any) -> None:
    with pytest.raises(ConfigError, match="no key for RS256 or ES256"):
        read_keys(key_set(useless))
    assert set(read_keys(key_set(useless, ec_key(kid="b", kty="EC")))) == {"b"}


@pytest.mark.parametrize("data", [b"", b"junk", b"[]", b"{}", b'{"keys": 5}', b"[" * 100_000, b"\xff"])
def test_what_is_no_key_set(data: bytes) -> None:
    with pytest.raises(ConfigError, match="not a JSON Web Key Set"):
        read_keys(data)


def test_no_more_keys_are_read_than_anybody_has() -> None:
    keys = [ec_key(kid=str(number)) for number in range(MAX_KEYS + 1)]
    assert len(read_keys(key_set(*keys))) == MAX_KEYS


def test_a_key_without_a_name_is_found_by_tokens_without_one() -> None:
    ring = KeyRing()
    with pytest.raises(TokenRefused, match="could not be fetched yet"):
        ring.find("")
    ring.replace(read_keys(key_set(ec_key(kid="a"))))
    assert ring.find("") is ring.find("a")
    with pytest.raises(TokenRefused, match="unknown key"):
        ring.find("b")
    ring.replace(read_keys(key_set(ec_key(kid="a"), rsa_key(kid=5))))
    assert ring.find("").algorithm == "RS256"


def test_a_missing_key_may_have_come_meanwhile() -> None:
    ring = KeyRing(lambda: ring.replace(read_keys(key_set(ec_key(kid="a")))))
    assert ring.find("a").algorithm == "ES256"


Fetch = Callable[[KeyServer], KeyFetcher]


@pytest.fixture
def fetch() -> Iterator[Fetch]:
    """Fetch from a server, with short waits between attempts."""
    made: list[KeyFetcher] = []

    def begin(server: KeyServer) -> KeyFetcher:
        made.append(KeyFetcher(server.url, log.get("ACCESS"), Turns(), backoff=Backoff(0.01, 0.02)))
        made[-1].start()
        made[-1].start()
        return made[-1]

    yield begin
    for one in made:
        one.close()


def test_the_first_client_waits_for_the_keys(fetch: Fetch) -> None:
    with KeyServer() as server:
        server.body = key_set(ec_key(kid="a"))
        fetcher = fetch(server)
        assert fetcher.ring.find("a").algorithm == "ES256"
        with pytest.raises(TokenRefused, match="unknown key"):
            fetcher.ring.find("b")
        assert server.asked == 1, "no client makes it ask again and again"


def test_a_new_key_is_fetched_when_a_token_names_it(fetch: Fetch, monkeypatch: pytest.MonkeyPatch) -> None:
    with KeyServer() as server:
        server.body = key_set(ec_key(kid="a"))
        fetcher = fetch(server)
        fetcher.ring.find("a")
        monkeypatch.setattr(jwks, "SOONEST_S", 0.0)
        server.body = key_set(ec_key(kid="b"))
        assert fetcher.ring.find("b").algorithm == "ES256"
        with pytest.raises(TokenRefused):
            fetcher.ring.find("a")
        before = server.asked
        fetcher.ask()
        eventually(lambda: server.asked > before)


@pytest.mark.parametrize(
    ("status", "body", "said"),
    [
        (500, b"", "status 500"),
        (302, b"", "status 302"),
        (200, b"junk", "not a JSON Web Key Set"),
        (200, b"x" * 1_000_000, "ChunkedEncodingError: an answer of more than 65536 bytes"),
    ],
)
def test_a_server_that_fails_is_asked_again_and_the_old_keys_stay(
    fetch: Fetch, log_lines: LogLines, status: int, body: bytes, said: str
) -> None:
    with KeyServer() as server:
        server.status, server.body = status, body
        fetcher = fetch(server)
        eventually(lambda: log_lines.count(f"TOKEN_JWKS_URL: {said}"))
        assert log_lines.count("no token can be checked until there are keys")
        server.status, server.body = 200, key_set(ec_key(kid="a"))
        eventually(lambda: log_lines.count("TOKEN_JWKS_URL: 1 keys"))
        server.status, server.body = status, body
        fetcher.ask()
        eventually(lambda: log_lines.count("the old keys stay in use"))
        assert fetcher.ring.find("a").algorithm == "ES256"


def test_a_server_that_is_silent_or_gone_is_asked_again(
    fetch: Fetch, log_lines: LogLines, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jwks, "ANSWER_S", 0.05)
    monkeypatch.setattr(jwks, "WAIT_S", 0.05)
    with KeyServer() as server:
        server.body = None
        fetcher = fetch(server)
        eventually(lambda: server.asked >= 2)
        assert log_lines.count("no token can be checked")
        with pytest.raises(TokenRefused, match="could not be fetched yet"):
            fetcher.ring.find("a")
    before = log_lines.count("next attempt")
    eventually(lambda: log_lines.count("next attempt") > before)

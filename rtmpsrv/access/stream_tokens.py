"""The signed tokens that publishers and players show: whether they are genuine, for whom, and for how long.

Makes and checks JSON web tokens; which keys there are is the business of others. What signs is known before a
token is read: a token never chooses its algorithm. Texts of the library are told to nobody.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, NamedTuple, Protocol

import jwt

from rtmpsrv.access.names import is_token
from rtmpsrv.access.terms import NO_LIMIT

PUBLISH, PLAY = "publish", "play"
ACTIONS = (PUBLISH, PLAY)
MAX_PATTERNS = 64  # of channels, in one token
LIMITS = ("max_bitrate", "max_seconds")
HMAC = "HS256"

_RAISED = (jwt.PyJWTError, ValueError, TypeError, OverflowError, RecursionError)
# Options of the library, whose type is not the same in all its versions.
_ALWAYS = {"require": ["exp"], "verify_aud": False, "verify_iss": False, "verify_iat": False}
_GENUINE: Any = _ALWAYS | {"verify_signature": True}
_SHOWN_BEFORE: Any = _ALWAYS | {"verify_signature": False, "verify_exp": True, "verify_nbf": True}


class TokenRefused(Exception):
    """A token is of no use; the text says why, and quotes nothing of it."""


class TokenKey(NamedTuple):
    """A key with the one algorithm that it is for."""

    algorithm: str
    key: Any  # as the library wants it


class TokenKeys(Protocol):
    """Who knows the keys."""

    def find(self, key_id: str) -> TokenKey:
        """Return the key of that id, "" for a token that names none. May block. Raises TokenRefused."""


class SecretKey:
    """One secret for all tokens (HS256)."""

    def __init__(self, secret: str) -> None:
        self._key = TokenKey(HMAC, secret.encode())

    def find(self, key_id: str) -> TokenKey:
        """Return the secret, whatever the token calls it. Never blocks."""
        return self._key


@dataclass(frozen=True, slots=True)
class TokenClaims:
    """What a genuine token grants its holder on one channel."""

    until: float  # wall clock, s
    subject: str = ""
    max_bitrate: int = NO_LIMIT  # bits per second
    max_seconds: int = NO_LIMIT


class StreamTokens:
    """Reads the tokens of this server's clients."""

    def __init__(self, keys: TokenKeys) -> None:
        self._keys = keys

    def read(self, token: str, action: str, channel: str, *, again: bool = False) -> TokenClaims:
        """Return what a token grants. Raises TokenRefused. May block as the keys do.

        With `again` it was found genuine before, by whatever keys there were then: its times and claims are
        looked at only, which never blocks.
        """
        if not token:
            raise TokenRefused("no token was given")
        if not is_token(token):
            raise TokenRefused("the token is not genuine")
        claims = self._decode(token, again)
        if action not in _texts(claims.get("action")):
            raise TokenRefused(f"the token is not for {action}")
        if not any(fnmatchcase(channel, pattern) for pattern in _texts(claims.get("channel"))[:MAX_PATTERNS]):
            raise TokenRefused("the token is for another channel")
        subject = claims.get("sub")
        return TokenClaims(
            float(claims["exp"]),
            subject if isinstance(subject, str) else "",
            *_limits(claims.get("limits", {})),
        )

    def _decode(self, token: str, again: bool) -> dict[str, Any]:
        try:
            if again:
                return dict(jwt.decode(token, options=_SHOWN_BEFORE))
            key_id = jwt.get_unverified_header(token).get("kid", "")
        except jwt.ExpiredSignatureError:
            raise TokenRefused("the token has run out") from None
        except _RAISED:
            raise TokenRefused("the token is not genuine") from None
        found = self._keys.find(key_id if isinstance(key_id, str) else "")
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of short keys: the operator is told at the start
                return dict(jwt.decode(token, found.key, algorithms=[found.algorithm], options=_GENUINE))
        except jwt.ExpiredSignatureError:
            raise TokenRefused("the token has run out") from None
        except jwt.ImmatureSignatureError:
            raise TokenRefused("the token is not valid yet") from None
        except jwt.MissingRequiredClaimError:
            raise TokenRefused("the token does not say when it runs out") from None
        except _RAISED:
            raise TokenRefused("the token is not genuine") from None


def make_token(claims: Mapping[str, Any], secret: str) -> str:
    """Return claims as a token signed by the secret (HS256)."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return jwt.encode(dict(claims), secret, algorithm=HMAC)


def _texts(claim: object) -> list[str]:
    """Return the texts of a claim that may be one or several."""
    several = claim if isinstance(claim, list) else [claim]
    return [one for one in several if isinstance(one, str)]


def _limits(claim: object) -> tuple[int, ...]:
    """Return the limits in the order of LIMITS; who wrote one that is not known relies on it."""
    if not isinstance(claim, dict) or not set(claim) <= set(LIMITS):
        raise TokenRefused("the token has limits that are not known")
    values = [claim.get(name, NO_LIMIT) for name in LIMITS]
    if any(type(value) is not int or value < 0 for value in values):
        raise TokenRefused("the token has limits that are no numbers")
    return tuple(values)

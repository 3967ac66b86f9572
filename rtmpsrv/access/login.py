"""The login of encoders, OBS's "use authentication": `authmod=adobe`, without a state on this side. Pure.

A client comes three times, on a new connection each: it is told that a login is wanted; it names a user and
is given a challenge; it answers that. What it shows is in the query behind the app. The challenge is signed,
and the client sends it back as `opaque`, so whoever knows the secret can check it.

The digests are MD5 of texts, base64 among them, as the clients have it: this keeps a password off the wire,
and is no protection against somebody who listens. Passwords must be known as they are.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from rtmpsrv.errors import AccessDenied, LoginAsked

REJECTED = "NetConnection.Connect.Rejected"
# Clients look for these words in the description; a second connection that reads the first of them gives up.
LOGIN_WANTED = "[ AccessManager.Reject ] : [ code=403 need auth; authmod=adobe ] : "
CHALLENGED = "[ AccessManager.Reject ] : [ authmod=adobe ] : ?reason=needauth"
NO_SUCH_USER = "[ AccessManager.Reject ] : [ authmod=adobe ] : ?reason=nosuchuser"
FAILED = "[ AccessManager.Reject ] : [ authmod=adobe ] : ?reason=authfailed"

VALID_S = 60  # from the second connection to the third; clients need as long as a connection takes
MAX_USER = 64  # characters; FFmpeg reads 200 of the whole challenge
MAX_PARAMETERS = 32
SIGNATURE_BYTES = 10
NONCE_BYTES = 4
_TIME_BYTES = 4
_SALT_BYTES = 6


@dataclass(frozen=True, slots=True)
class Login:
    """What a client shows: on its second connection a user, on its third a response."""

    user: str
    challenge: str = field(default="", repr=False)  # the client's own
    response: str = field(default="", repr=False)
    opaque: str = field(default="", repr=False)


def read_login(query: str) -> Login | None:
    """Return the login in the query behind an app; None where there is none.

    Clients append it, with a `?` of its own where the app had a query before, and decode or encode nothing.
    """
    if "authmod=adobe" not in query:
        return None
    found: dict[str, str] = {}
    for pair in query.replace("?", "&").split("&", MAX_PARAMETERS)[:MAX_PARAMETERS]:
        name, _mark, value = pair.partition("=")
        found[name] = value
    if found.get("authmod") != "adobe":
        return None
    return Login(
        found.get("user", ""), found.get("challenge", ""), found.get("response", ""), found.get("opaque", "")
    )


class Challenges:
    """Makes challenges and recognises them, by a secret that all who do so share."""

    def __init__(self, secret: bytes, nonce: Callable[[int], bytes] = os.urandom) -> None:
        self._secret = hashlib.sha256(b"rtmpsrv login\0" + secret).digest()
        self._nonce = nonce

    def salt(self, user: str) -> str:
        """Return what is hashed with a user's password; always the same."""
        return _text(self._sign(b"salt", user)[:_SALT_BYTES])

    def make(self, user: str, now: float) -> str:
        """Return a challenge for a user, on the wall clock."""
        head = int(now + VALID_S).to_bytes(_TIME_BYTES, "big") + self._nonce(NONCE_BYTES)
        return _text(head + self._sign(head, user)[:SIGNATURE_BYTES])

    def is_ours(self, opaque: str, user: str) -> bool:
        """Tell whether a challenge was made for this user, at any time."""
        data = _bytes(opaque)
        head, signature = data[:-SIGNATURE_BYTES], data[-SIGNATURE_BYTES:]
        return hmac.compare_digest(signature, self._sign(head, user)[:SIGNATURE_BYTES])

    def is_over(self, opaque: str, now: float) -> bool:
        """Tell whether one of our challenges is too old."""
        return int.from_bytes(_bytes(opaque)[:_TIME_BYTES], "big") < now

    def proves(self, login: Login, password: str) -> bool:
        """Tell whether a client that was challenged knows a password. The time taken tells nothing."""
        if not login.response or not self.is_ours(login.opaque, login.user):
            return False
        expected = response(login.user, self.salt(login.user), password, login.opaque, login.challenge)
        return hmac.compare_digest(expected.encode(), login.response.encode("utf-8", "surrogatepass"))

    def ask(self, login: Login | None, passwords: Sequence[str], now: float) -> None:
        """Return if a client has logged in by one of its user's passwords.

        Else raises LoginAsked for its next step, or AccessDenied.
        """
        if login is None:
            raise LoginAsked(REJECTED, LOGIN_WANTED)
        if not passwords:
            raise AccessDenied(REJECTED, NO_SUCH_USER, "CHANNELS_FILE")
        ours = self.is_ours(login.opaque, login.user)
        if not login.response or (ours and self.is_over(login.opaque, now)):
            opaque = self.make(login.user, now)
            # The same once more as `challenge`, which clients hash where they know no `opaque`.
            asked = f"&user={login.user}&salt={self.salt(login.user)}&challenge={opaque}&opaque={opaque}"
            raise LoginAsked(REJECTED, CHALLENGED + asked)
        # A list, not a generator: every one is tried.
        if not any([self.proves(login, password) for password in passwords]):  # noqa: C419
            raise AccessDenied(REJECTED, FAILED, "CHANNELS_FILE", login.user)

    def _sign(self, data: bytes, user: str) -> bytes:
        return hmac.digest(self._secret, data + b"\0" + user.encode("utf-8", "surrogatepass"), "sha256")


def response(user: str, salt: str, password: str, opaque: str, challenge: str) -> str:
    """Return what a client answers: `challenge` is its own, `opaque` or the server's challenge ours."""
    first = _md5(f"{user}{salt}{password}")
    return _md5(f"{first}{opaque}{challenge}")


def _md5(text: str) -> str:
    digest = hashlib.md5(text.encode("utf-8", "surrogatepass"), usedforsecurity=False).digest()
    return base64.b64encode(digest).decode("ascii")


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def _bytes(text: str) -> bytes:
    """Return what a text stands for; b"" for none of ours."""
    try:
        data = base64.b64decode(text, validate=True)
    except ValueError:
        return b""
    return data if len(data) == _TIME_BYTES + NONCE_BYTES + SIGNATURE_BYTES else b""

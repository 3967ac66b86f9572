"""Who is let in: before every route, whatever it is. Pure.

Without token and users only this machine is, and then pages of others have to be kept out: a browser here may
be made to ask us, under a name that leads here, or across sites. With them it is the credentials that count,
and requests across sites are refused since a browser sends those along.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import os
from collections.abc import Mapping
from contextlib import suppress
from hashlib import sha256
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

from rtmpsrv.api_settings import is_loopback

OPEN_HERE: Final = frozenset({"/healthz", "/readyz"})  # from this machine nobody is asked who it is
MAX_NAME: Final = 64  # of a user's name that is shown
SAFE: Final = frozenset({"GET", "HEAD"})
CHALLENGES: Final = ('Basic realm="rtmpsrv", charset="UTF-8"', 'Bearer realm="rtmpsrv"')


class Refusal(NamedTuple):
    """Why not; with 401 the client is told how."""

    status: int
    sentence: str


class Guard:
    """Knows the secrets, and shows them to nobody."""

    def __init__(self, token: str, users: Mapping[str, str]) -> None:
        """A token alone is also taken as the password of any user name: browsers know nothing else."""
        self._key = os.urandom(32)
        self._token = self._digest(token.encode()) if token else None
        self._users = {name.encode(): self._digest(password.encode()) for name, password in users.items()}
        self._nobody = os.urandom(32)  # the digest of no password

    @property
    def asks(self) -> bool:
        """Whether credentials are needed."""
        return self._token is not None or bool(self._users)

    def judge(self, environ: Mapping[str, Any], *, changes: bool = False) -> Refusal | None:
        """Return why a request, as WSGI has it, is refused; None where it is not.

        `changes`: it does, even if it is a GET. Its route tells: a path may be written in many ways.
        """
        here = is_loopback(environ.get("REMOTE_ADDR", ""))
        if not self.asks:
            if not here:
                return Refusal(
                    403, "only from this machine, as long as there is no API_TOKEN and no API_USERS"
                )
            if not is_loopback(host_of(environ.get("HTTP_HOST", ""))):
                return Refusal(403, "Host is not this machine's: such a proxy needs API_TOKEN or API_USERS")
        elif not ((here and environ.get("PATH_INFO") in OPEN_HERE) or self._is_known(environ)):
            return Refusal(401, "authentication is needed")
        if is_of_another_site(environ, changes=changes):
            return Refusal(403, "not from another site")
        return None

    def _is_known(self, environ: Mapping[str, Any]) -> bool:
        """Compare all that there is to compare, in a time that tells nothing of it."""
        scheme, _, shown = str(environ.get("HTTP_AUTHORIZATION", "")).partition(" ")
        shown = shown.strip(" ")
        if scheme.lower() == "bearer":
            return self._equals(self._token, shown.encode("latin-1", "replace"))
        if scheme.lower() != "basic":
            return False
        try:
            name, colon, password = base64.b64decode(shown, validate=True).partition(b":")
        except (binascii.Error, ValueError):
            return False
        of_user = self._equals(self._users.get(name), password)
        of_token = self._equals(self._token, password)
        return bool(colon) and (of_user or of_token)

    def _equals(self, expected: bytes | None, shown: bytes) -> bool:
        same = hmac.compare_digest(expected or self._nobody, self._digest(shown))
        return bool(same) and expected is not None

    def _digest(self, secret: bytes) -> bytes:
        return hmac.digest(self._key, secret, sha256)


def who(environ: Mapping[str, Any]) -> str:
    """Name for the log who has asked, once that is known: the user, if there is one, and the address."""
    scheme, _, shown = str(environ.get("HTTP_AUTHORIZATION", "")).partition(" ")
    name = ""
    if scheme.lower() == "basic":
        with suppress(binascii.Error, ValueError):
            name = (
                base64.b64decode(shown.strip(" "), validate=True)
                .partition(b":")[0]
                .decode("utf-8", "replace")
            )
    address = str(environ.get("REMOTE_ADDR", ""))
    return f"{name[:MAX_NAME]!a} from {address}" if name else address


def is_of_another_site(environ: Mapping[str, Any], *, changes: bool = False) -> bool:
    """Tell whether a browser asks for a page that is not ours. Other programs say nothing of this."""
    site = environ.get("HTTP_SEC_FETCH_SITE", "").lower()
    if site in ("same-origin", "none"):  # no page can make its browser say so
        return False
    if site:
        follows_link = (
            environ.get("HTTP_SEC_FETCH_MODE", "").lower() == "navigate"
            and environ.get("HTTP_SEC_FETCH_DEST", "").lower() == "document"
            and environ.get("REQUEST_METHOD") in SAFE
            and not changes
        )
        return not follows_link
    origin = environ.get("HTTP_ORIGIN")
    if origin is None:
        return False
    try:
        shown = urlsplit(origin)
    except ValueError:
        return True
    return (shown.scheme, shown.netloc.lower()) != (
        _scheme(environ),
        str(environ.get("HTTP_HOST", "")).lower(),
    )


def _scheme(environ: Mapping[str, Any]) -> str:
    """Return by what the browser has reached us, or a proxy before us, which says so: no page can."""
    forwarded = str(environ.get("HTTP_X_FORWARDED_PROTO", "")).partition(",")[0].strip().lower()
    return forwarded or str(environ.get("wsgi.url_scheme", "http"))


def host_of(field: str) -> str:
    """Return the name or address of a Host field, without the port; "" for what is none."""
    try:
        return urlsplit(f"//{field}").hostname or ""
    except ValueError:
        return ""

"""The public keys that tokens are signed with: a JSON Web Key Set, from a file or from a URL.

A key is for one algorithm, RS256 or ES256, by what kind of key it is. A URL is asked in the background, for
ever; as long as it does not answer, the keys that it gave last stay in use.
"""

from __future__ import annotations

import errno
import json
import time
from collections.abc import Callable
from typing import Any

import gevent
import jwt
import requests
import urllib3
from gevent.event import Event

from rtmpsrv.access.backoff import Backoff, describe, keep_trying, stop_trying
from rtmpsrv.access.callback_http import make_session
from rtmpsrv.access.give_way import GiveWay
from rtmpsrv.access.stream_tokens import TokenKey, TokenRefused
from rtmpsrv.access.trust import Trust
from rtmpsrv.errors import ConfigError
from rtmpsrv.log import Logger

MAX_KEYS = 100
MIN_RSA_BITS = 2048
REFRESH_S = 300.0
SOONEST_S = 10.0  # after an answer, when a token names a key that was not in it
ANSWER_S = 10.0
WAIT_S = 5.0  # of a client, for keys that are on the way
STOP_S = 1.0

KeySet = dict[str, TokenKey]
_RAISED = (requests.RequestException, urllib3.exceptions.HTTPError, OSError, ValueError, ConfigError)


_ALGORITHMS = {"RSA": "RS256", "EC P-256": "ES256"}  # by kind and curve
_PUBLIC = frozenset(("kty", "crv", "n", "e", "x", "y"))


def read_keys(data: bytes) -> KeySet:
    """Return the keys that can be used, by id. Raises ConfigError when there is none."""
    try:
        listed = json.loads(data)["keys"]
        found = [_read_key(one) for one in listed[:MAX_KEYS]]
    except (ValueError, TypeError, KeyError, RecursionError):
        raise ConfigError(["not a JSON Web Key Set"]) from None
    keys = dict(filter(None, found))
    if not keys:
        raise ConfigError(["no key for RS256 or ES256 in it"])
    return keys


def _read_key(one: Any) -> tuple[str, TokenKey] | None:
    if not isinstance(one, dict):
        return None
    algorithm = _ALGORITHMS.get(f"{one.get('kty')} {one.get('crv', '')}".strip())
    if algorithm is None or one.get("alg", algorithm) != algorithm or one.get("use", "sig") != "sig":
        return None
    try:
        public = {name: one[name] for name in _PUBLIC & one.keys()}  # of a pair, should somebody give one
        key = jwt.PyJWK(public, algorithm).key
    except (jwt.PyJWTError, ValueError, TypeError):
        return None
    if algorithm == "RS256" and key.key_size < MIN_RSA_BITS:
        return None
    key_id = one.get("kid", "")
    return (key_id if isinstance(key_id, str) else ""), TokenKey(algorithm, key)


class KeyRing:
    """The keys in force, from whoever replaces them."""

    def __init__(self, renew: Callable[[], None] = lambda: None) -> None:
        """Begin without keys; `renew` is called when one is missing, and returns when there may be more."""
        self._keys: KeySet = {}
        self._renew = renew

    def replace(self, keys: KeySet) -> None:
        """Use these keys from now on, and no others."""
        self._keys = keys

    def find(self, key_id: str) -> TokenKey:
        """Return the key of that id; a token without an id means the only one. Raises TokenRefused."""
        found = self._look_up(key_id)
        if found is None:
            self._renew()
            found = self._look_up(key_id)
        if found is None:
            known = "an unknown key" if self._keys else "a key that could not be fetched yet"
            raise TokenRefused(f"the token is signed by {known}")
        return found

    def _look_up(self, key_id: str) -> TokenKey | None:
        if not key_id and len(self._keys) == 1:
            return next(iter(self._keys.values()))
        return self._keys.get(key_id)


class KeyFetcher:
    """Owner of the greenlet that asks a URL; ended by `close`."""

    def __init__(
        self,
        url: str,
        log: Logger,
        give_way: GiveWay,
        *,
        backoff: Backoff | None = None,
    ) -> None:
        self.ring = KeyRing(self._renew)
        self._url = url
        self._log = log
        self._http = make_session(give_way, Trust())
        self._backoff = backoff or Backoff()
        self._answered_at = float("-inf")
        self._answered = Event()
        self._asked = Event()
        self._known: KeySet = {}
        self._greenlet: gevent.Greenlet[..., None] | None = None

    def start(self) -> None:
        """Begin to ask, in a greenlet of its own. Never blocks."""
        if self._greenlet is None:
            self._greenlet = gevent.spawn(self._run)

    def ask(self) -> None:
        """Ask now. Never blocks."""
        self._asked.set()

    def close(self) -> None:
        """Ask no more. Blocks for a second or two at most."""
        if self._greenlet is not None:
            stop_trying(self._greenlet, STOP_S)
            self._greenlet = None
        self._http.close()

    def _renew(self) -> None:
        """Wait for an answer, unless there was one just now. Blocks up to `WAIT_S`."""
        if time.monotonic() - self._answered_at >= SOONEST_S:
            self._answered.clear()
            self._asked.set()
            self._answered.wait(WAIT_S)

    def _run(self) -> None:
        keep_trying(
            self._keep_fresh,
            expected=_RAISED,
            failed=self._tell_failure,
            backoff=self._backoff,
            stable_after_s=SOONEST_S,
            log=self._log,
        )

    def _keep_fresh(self) -> None:
        while True:
            self._asked.clear()
            self._take(self._fetch())
            self._asked.wait(REFRESH_S)

    def _take(self, data: bytes) -> None:
        keys = read_keys(data)
        self._answered_at = time.monotonic()
        self.ring.replace(keys)
        if keys.keys() != self._known.keys():
            self._log.info("TOKEN_JWKS_URL: %d keys", len(keys))
        self._known = keys
        self._answered.set()

    def _fetch(self) -> bytes:
        """Return the answer, whose length the session bounds. Blocks up to `ANSWER_S`."""
        too_slow = TimeoutError(errno.ETIMEDOUT, f"no answer within {ANSWER_S:g} s")
        with gevent.Timeout(ANSWER_S, too_slow):
            answer = self._http.get(self._url, timeout=ANSWER_S, allow_redirects=False)
        if answer.status_code != 200:
            raise ConfigError([f"status {answer.status_code}"])
        return answer.content

    def _tell_failure(self, error: Exception, wait_s: float) -> None:
        why = str(error) if isinstance(error, ConfigError) else describe(error)
        kept = "the old keys stay in use" if self._known else "no token can be checked until there are keys"
        self._log.error("TOKEN_JWKS_URL: %s; %s, next attempt in %.1f s", why, kept, wait_s)

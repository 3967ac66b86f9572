"""Watches the certificate files of RTMPS and has a new pair installed when there is a good one.

A bad pair is logged once per change, not at each look, and the pair in use stays. A pair with a flaw is
taken, with a WARNING, where there is none that works. Files are compared by what they hold: certbot and
Kubernetes swap symbolic links, and a time of modification may stay the same.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import UTC, datetime
from time import monotonic

import gevent
from gevent.event import Event

from ..errors import CertificateError
from ..log import Logger
from .certificates import CertificatePair, check_pair, read_pair

WARN_BELOW_DAYS = 14
DAY_S = 86400.0


def _utc_now() -> datetime:
    return datetime.now(UTC)


class CertificateReloader:
    """Owner of the greenlet that looks at the files; ended by `close`."""

    def __init__(
        self,
        chain_path: str,
        key_path: str,
        interval_s: float,
        install: Callable[[CertificatePair], None],
        log: Logger,
        *,
        today: Callable[[], datetime] = _utc_now,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        """Keep what is needed; `interval_s` 0 means to look only when asked.

        `install` takes a pair into use, or raises CertificateError or OSError; then it is tried again.
        """
        self._paths = (chain_path, key_path)
        self._interval_s = interval_s
        self._install = install
        self._log = log
        self._today = today
        self._clock = clock
        self._installed: CertificatePair | None = None
        self._installed_digest = b""
        self._complaint: tuple[bytes, str] | None = None  # contents and what was wrong, logged already
        self._next_reminder = 0.0
        self._asked = Event()
        self._greenlet: gevent.Greenlet[[], None] | None = None

    def start(self) -> None:
        """Install the pair, or say why not, and watch from then on."""
        self.check()
        self._greenlet = gevent.spawn(self._watch)

    def ask(self) -> None:
        """Look at the files now; for signal handlers. Never blocks."""
        self._asked.set()

    def close(self) -> None:
        """End the watching."""
        if self._greenlet is not None:
            self._greenlet.kill()

    @property
    def expires_at(self) -> float | None:
        """When the pair in use expires, in seconds since 1970; None without one."""
        return self._installed.not_after.timestamp() if self._installed is not None else None

    def check(self, asked: bool = False) -> bool:
        """Look at the files, and install a new good pair; False when they are bad.

        Somebody who asked gets an answer, also when nothing changed.
        """
        digest = b""
        try:
            contents = read_pair(*self._paths)
            digest = contents.digest
            if digest == self._installed_digest:
                self._complaint = None
                self._log.log(logging.INFO if asked else logging.DEBUG, "TLS configuration has not changed")
                return True
            pair = check_pair(contents, self._today())
            if pair.flaws and self._works():
                raise CertificateError("; ".join(pair.flaws))
            self._install(pair)
        except CertificateError as exc:
            self._complain(digest, str(exc), asked)
            return False
        except OSError as exc:
            self._complain(digest, f"RTMPS port: {exc.strerror or exc} (SSL_BIND_ADDRESS, SSL_PORT)", asked)
            return False
        is_first = self._installed is None
        self._installed, self._installed_digest = pair, digest
        self._complaint = None
        self._log.info(
            "TLS configuration %s: %s serial=%x",
            "loaded" if is_first else "reloaded",
            pair.subject,
            pair.serial,
        )
        for flaw in pair.flaws:
            self._log.warning("TLS configuration is used all the same: %s", flaw)
        self._tell_expiry(pair)
        return True

    def remind(self) -> None:
        """Once a day, say that the pair in use is about to expire, if it is."""
        pair = self._installed
        if pair is not None and self._clock() >= self._next_reminder:
            self._next_reminder = self._clock() + DAY_S
            if pair.days_left(self._today()) < WARN_BELOW_DAYS:
                self._tell_expiry(pair)

    # --- private ----------------------------------------------------------------------------------

    def _works(self) -> bool:
        """Tell whether the pair in use is without a flaw, today's date included."""
        pair = self._installed
        return pair is not None and not pair.flaws and self._today() <= pair.not_after

    def _watch(self) -> None:
        while True:
            self._asked.wait(self._interval_s or DAY_S)
            asked = self._asked.is_set()
            self._asked.clear()
            if asked or self._interval_s:
                self.check(asked)
            self.remind()

    def _complain(self, digest: bytes, problem: str, asked: bool) -> None:
        complaint = (digest, problem)
        if complaint == self._complaint and not asked:
            return
        self._complaint = complaint
        state = (
            "RTMPS is off until that is put right" if self._installed is None else "the old pair stays in use"
        )
        self._log.error("TLS configuration cannot be used: %s; %s", problem, state)

    def _tell_expiry(self, pair: CertificatePair) -> None:
        days = pair.days_left(self._today())
        when = f"{pair.not_after:%Y-%m-%d %H:%M} UTC"
        self._next_reminder = self._clock() + DAY_S
        if days < 0:
            self._log.error("TLS certificate expired on %s", when)
        elif days < WARN_BELOW_DAYS:
            self._log.warning("TLS certificate expires in %d days, on %s", days, when)
        else:
            self._log.info("TLS certificate expires in %d days, on %s", days, when)

"""Sends events to the operator's HTTP server, in whatever form, within a deadline. Decides nothing.

Cooperates with other greenlets only where `gevent.monkey` patched the sockets.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from http.client import HTTPException
from typing import Protocol
from urllib.parse import urlsplit

import gevent
import requests
import urllib3.exceptions

from rtmpsrv.access.callback_http import MAX_BODY_BYTES, make_session
from rtmpsrv.access.facts import Answer, Decision, Event, Message
from rtmpsrv.access.give_way import GiveWay
from rtmpsrv.access.trust import Trust
from rtmpsrv.log import Logger

CONNECT_TIMEOUT_S = 5.0  # docs/callbacks.md, "Deadlines"
TOTAL_TIMEOUT_S = 20.0
MAX_ANSWER_WAIT_S = 1.0
MAX_TOLD = 16  # names of limits that are told once
ACCEPTED, REFUSED, FAILED = "accepted", "refused", "failed"  # results of a request, for who counts
PLACE_OF_EVENT = "{event}"  # in the URL: backends with an address for each

HTTP_ERRORS = (OSError, ValueError, HTTPException, urllib3.exceptions.HTTPError)


class CallbackTimeout(OSError):
    """The callback did not answer within the total deadline."""


class Form(Protocol):
    """How a backend reads events, and what its answers mean. Pure."""

    @property
    def kinds(self) -> frozenset[str]:
        """The events that the form has."""

    @property
    def wants_facts(self) -> bool:
        """Whether more is told than channel, key and address."""

    def message(self, event: Event) -> Message:
        """Return an event as it is sent."""

    def wants_body(self, answer: Answer) -> bool:
        """Tell by status and headers whether the body counts."""

    def judge(self, event: Event, answer: Answer) -> Decision:
        """Return what an answer means."""


class Sender:
    """One backend, reached by one URL."""

    def __init__(
        self,
        url: str,
        form: Form,
        *,
        log: Logger,
        give_way: GiveWay,
        connect_timeout_s: float = CONNECT_TIMEOUT_S,
        timeout_s: float = TOTAL_TIMEOUT_S,
        ca: str = "",
    ) -> None:
        self.shown_url = without_secrets(url)
        self.form = form
        self.timeout_s = timeout_s
        self._log = log
        self._told: set[str] = set()
        self._url = url
        self._connect_timeout_s = connect_timeout_s
        self._http = make_session(give_way, Trust(ca))
        self.on_post: Callable[[str, str, float], None] = lambda kind, result, seconds: None

    def post(self, event: Event, budget_s: float) -> tuple[Answer, Decision]:
        """Send one event; return the answer once its headers are here, and its body if that counts.

        Blocks up to `budget_s`. Raises one of HTTP_ERRORS.
        """
        began, result = time.monotonic(), FAILED
        try:
            answer, decision = self._post(event, budget_s)
            if answer.status < 500:
                result = ACCEPTED if decision.allowed else REFUSED
        finally:
            self.on_post(event.kind, result, time.monotonic() - began)
        self._tell(decision.not_limits)
        return answer, decision

    def close(self) -> None:
        """Close the connections that are idle."""
        self._http.close()

    def _post(self, event: Event, budget_s: float) -> tuple[Answer, Decision]:
        message = self.form.message(event)
        # It fires however much the server sends: reading gives way.
        timer = gevent.Timeout(max(budget_s, 0.001))
        with timer:
            try:
                answer = self._exchange(message)
            except gevent.Timeout as exc:
                if exc is not timer:
                    raise
                raise CallbackTimeout(f"no answer within {self.timeout_s:g} s") from None
        return answer, self.form.judge(event, answer)

    def _tell(self, not_limits: Sequence[str]) -> None:
        """Say once of each name that it limits nothing."""
        for name in not_limits:
            if name not in self._told and len(self._told) < MAX_TOLD:
                self._told.add(name)
                self._log.warning("a limit of the callback is not known or no number, and ignored: %s", name)

    def _exchange(self, message: Message) -> Answer:
        try:
            return self._send(message)
        except requests.ConnectionError as exc:
            if not _closed_before_answering(exc):
                raise
            # A server that closes idle connections (node: after 5 s) may do so just as one is used again.
            return self._send(message)

    def _send(self, message: Message) -> Answer:
        # A token is the same for every event, so that the URL of `jwt` is used as it stands.
        url = self._url if message.body is None else self._url.replace(PLACE_OF_EVENT, message.name)
        given = self._http.post(
            url,
            data=message.body,
            headers=dict(message.headers),
            timeout=(self._connect_timeout_s, self.timeout_s),
            allow_redirects=False,  # what is told is for this URL only
            stream=True,
        )
        answer = Answer(given.status_code, _first_headers(given))
        if not self.form.wants_body(answer):
            _throw_body_away(given)
            return answer
        return replace(answer, body=_body(given))


def _first_headers(answer: requests.Response) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, value in answer.raw.headers.iteritems():  # those of `requests` are joined
        found.setdefault(name.lower(), value)
    return found


def _body(answer: requests.Response) -> bytes:
    """Read all of a body, whose length is bounded where it is read."""
    try:
        return b"".join(answer.iter_content(8192))
    finally:
        answer.close()


def _throw_body_away(answer: requests.Response) -> None:
    """Read a short body so that the connection can be used again; whatever it is, it changes no decision."""
    timer = gevent.Timeout(MAX_ANSWER_WAIT_S)
    with timer:
        try:
            read_bytes = 0
            for block in answer.iter_content(8192):
                read_bytes += len(block)
                if read_bytes > MAX_BODY_BYTES:
                    break
        except gevent.Timeout as exc:
            if exc is not timer:
                raise
        except HTTP_ERRORS:
            pass  # the status is known, and the connection gets closed below
        finally:
            answer.close()


def _closed_before_answering(error: requests.ConnectionError) -> bool:
    inner = error.args[0] if error.args else None
    if not isinstance(inner, urllib3.exceptions.ProtocolError):
        return False
    return any(isinstance(argument, ConnectionError) for argument in inner.args)


def without_secrets(url: str) -> str:
    """Return a URL for the log: without user, password and query."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return "(not a URL)"
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"

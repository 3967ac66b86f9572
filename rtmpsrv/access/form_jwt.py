"""Callbacks as rtmp-server-rs makes them: an empty POST whose header `rtmp-event` is a signed token. Pure.

`start` and `stop` alone are told to the letter as there. Where more events are wanted, all tokens have two
claims more.
"""

from __future__ import annotations

from typing import Final

from rtmpsrv.access import json_answer
from rtmpsrv.access.facts import KINDS, STOP, UPDATE, Answer, Decision, Event, Message
from rtmpsrv.access.tokens import Claim, callback_token

ANSWER_HEADER = "rtmp-answer"  # by which a backend says that its body counts


class JwtForm:
    """The default."""

    kinds: Final = frozenset(KINDS)

    def __init__(
        self, secret: str, subject: str, rtmp_host: str, rtmp_port: int, *, wide: bool = False
    ) -> None:
        """`wide`: whether others than `start` and `stop` are told."""
        self.wants_facts = wide
        self._secret = secret
        self._subject = subject
        self._rtmp_host = rtmp_host
        self._rtmp_port = rtmp_port

    def message(self, event: Event) -> Message:
        """Return the token as a header."""
        facts = event.facts
        more: dict[str, Claim] = {}
        if self.wants_facts:
            query = "&".join(text for text in (facts.query, facts.app_query) if text)
            more = {"query": query, "client_id": facts.id}
            if event.kind == UPDATE:
                more["seconds"] = event.seconds
            if event.file is not None:
                file = event.file
                more |= {
                    "file": file.name,
                    "seconds": round(file.seconds, 3),
                    "bytes": file.bytes,
                    "reason": file.reason,
                }
        token = callback_token(
            event.kind,
            secret=self._secret,
            subject=self._subject,
            channel=event.channel,
            key=event.key,
            # null on stop, as the stream id is on start: docs/callbacks.md, "What is asked, and when".
            client_ip=None if event.kind == STOP else event.client_ip,
            stream_id=event.stream_id,
            rtmp_host=self._rtmp_host,
            rtmp_port=self._rtmp_port,
            more=more,
        )
        headers = {"rtmp-event": token}
        if self.wants_facts:
            headers["x-event-id"] = event.id
        return Message(headers, None, event.kind)

    def wants_body(self, answer: Answer) -> bool:
        """Tell whether the body counts; not unless the backend says so."""
        return answer.headers.get(ANSWER_HEADER, "").strip().lower() == "json"

    def judge(self, event: Event, answer: Answer) -> Decision:
        """Return what an answer means: 200 is yes."""
        given = answer.headers.get("stream-id", "").strip()
        named = given if given.isascii() and given.isprintable() else ""
        decision = Decision(answer.status == 200, stream_id=named)
        if self.wants_body(answer):
            decision = json_answer.refined(decision, json_answer.read(answer.body))
        return decision

"""Callbacks as MediaMTX's `authHTTPAddress` makes them: JSON by POST, 2xx is yes. Pure.

Fields are those of MediaMTX's internal/auth. It asks who may publish and read, and tells no end.
"""

from __future__ import annotations

import json
from typing import Final
from urllib.parse import parse_qsl

from rtmpsrv.access import json_answer
from rtmpsrv.access.facts import PLAY, START, Answer, Decision, Event, Message

ACTIONS = {START: "publish", PLAY: "read"}
MAX_PARAMETERS = 32


class MediaMtxForm:
    """What a backend written for MediaMTX reads and answers."""

    kinds: Final = frozenset(ACTIONS)
    wants_facts = True

    def message(self, event: Event) -> Message:
        """Return the object."""
        facts, action = event.facts, ACTIONS[event.kind]
        query = facts.query or facts.app_query
        said = {
            "ip": event.client_ip,
            "user": facts.user,
            "password": facts.password,
            "token": facts.token or _jwt(query),
            "action": action,
            "path": "/".join(part for part in f"{facts.app}/{facts.name}".split("/") if part),
            "protocol": "rtmp",
            "id": facts.id,
            "query": query,
            "userAgent": facts.flash_ver,
        }
        headers = {"content-type": "application/json", "x-event-id": event.id}
        return Message(headers, json.dumps(said).encode(), action)

    def wants_body(self, answer: Answer) -> bool:
        """Tell whether the body counts; MediaMTX reads none."""
        return json_answer.is_json(answer)

    def judge(self, event: Event, answer: Answer) -> Decision:
        """Return what an answer means."""
        decision = Decision(200 <= answer.status < 300)
        if self.wants_body(answer):
            decision = json_answer.refined(decision, json_answer.read(answer.body))
        return decision


def _jwt(query: str) -> str:
    """Return the token where MediaMTX's own users put it."""
    try:
        return dict(parse_qsl(query, max_num_fields=MAX_PARAMETERS)).get("jwt", "")
    except ValueError:
        return ""

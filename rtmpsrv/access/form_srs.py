"""Callbacks as the `http_hooks` of SRS make them: JSON by POST; yes is 200 with `0` or `{"code": 0}`. Pure.

Fields are those of srs_app_http_hooks.cpp.
"""

from __future__ import annotations

import json
from typing import Any, Final

from rtmpsrv.access import json_answer
from rtmpsrv.access.facts import (
    CONNECT,
    PLAY,
    PLAY_STOP,
    RECORD_DONE,
    START,
    STOP,
    Answer,
    Decision,
    Event,
    Facts,
    Message,
)

ACTIONS = {
    CONNECT: "on_connect",
    START: "on_publish",
    STOP: "on_unpublish",
    PLAY: "on_play",
    PLAY_STOP: "on_stop",
    RECORD_DONE: "on_dvr",
}
VHOST = "__defaultVhost__"  # there are no others


class SrsForm:
    """What a backend written for SRS reads and answers."""

    kinds: Final = frozenset(ACTIONS)
    wants_facts = True

    def __init__(self, server_id: str) -> None:
        """`server_id` tells servers apart that share a backend."""
        self._server_id = server_id

    def message(self, event: Event) -> Message:
        """Return the object."""
        facts, action = event.facts, ACTIONS[event.kind]
        said: dict[str, Any] = {
            "server_id": self._server_id,
            "service_id": self._server_id,
            "action": action,
            "client_id": facts.id,
            "ip": event.client_ip,
            "vhost": VHOST,
            "app": facts.app,
        }
        if event.kind == CONNECT:
            said |= {"param": _param(facts.app_query), "tcUrl": facts.tc_url, "pageUrl": facts.page_url}
        else:
            said |= {
                "stream": facts.name,
                "param": _param(facts.query or facts.app_query),
                "tcUrl": facts.tc_url,
                "stream_url": _path(facts),
                "stream_id": event.stream_id or f"vid-{facts.id[:8]}",
            }
            if event.file is not None:
                said |= {"cwd": event.file.folder, "file": f"./{event.file.name}"}
            if event.kind == PLAY:
                said["pageUrl"] = facts.page_url
        headers = {"content-type": "application/json", "x-event-id": event.id}
        return Message(headers, json.dumps(said).encode(), action)

    def wants_body(self, answer: Answer) -> bool:
        """Tell whether the body counts."""
        return True

    def judge(self, event: Event, answer: Answer) -> Decision:
        """Return what an answer means; an empty body is no yes."""
        said = json_answer.read(answer.body)
        code = said.get("code")
        allowed = answer.body.strip() == b"0" or (code == 0 and not isinstance(code, bool))
        decision = Decision(allowed and answer.status == 200, json_answer.reason(said.get("msg")))
        return json_answer.refined(decision, said)


def _param(query: str) -> str:
    return f"?{query}" if query else ""


def _path(facts: Facts) -> str:
    return f"/{facts.app}/{facts.name}"

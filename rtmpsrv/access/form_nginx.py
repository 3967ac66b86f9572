"""Callbacks as nginx-rtmp's `on_publish` and its like make them: a form by POST, the status as answer. Pure.

Fields and their order are those of ngx_rtmp_notify_module.c and ngx_rtmp_netcall_module.c.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final
from urllib.parse import quote, unquote_plus

from rtmpsrv.access import json_answer
from rtmpsrv.access.facts import (
    CONNECT,
    KINDS,
    PLAY,
    PLAY_STOP,
    RECORD_DONE,
    START,
    STOP,
    UPDATE,
    Answer,
    Decision,
    Event,
    Facts,
    Message,
)

CALLS = {
    CONNECT: "connect",
    START: "publish",
    STOP: "publish_done",
    PLAY: "play",
    PLAY_STOP: "play_done",
    UPDATE: "update_",
    RECORD_DONE: "record_done",
}
# Players ask for "live or recorded" where they say nothing else: -2000 ms, printed as an unsigned number.
LIVE = {"start": str(2**32 - 2000), "duration": "0", "reset": "0"}
ELSEWHERE = "the callback names another server, which this one does not relay to"
_RESERVED = frozenset(
    (
        "app", "flashver", "swfurl", "tcurl", "pageurl", "addr", "clientid", "epoch", "call", "name", "type",
        "start", "duration", "reset", "time", "timestamp",
    )
)  # fmt: skip


class NginxForm:
    """What a backend written for nginx-rtmp reads and answers."""

    kinds: Final = frozenset(KINDS)
    wants_facts = True

    def message(self, event: Event) -> Message:
        """Return the form."""
        facts = event.facts
        fields = {
            "app": facts.app,
            "flashver": facts.flash_ver,
            "swfurl": facts.swf_url,
            "tcurl": facts.tc_url,
            "pageurl": facts.page_url,
            "addr": event.client_ip,
        }
        call = CALLS[event.kind]
        if event.kind == CONNECT:
            fields |= {"epoch": str(int(facts.asked_at) & 0xFFFFFFFF), "call": call}
        else:
            fields["clientid"] = str(facts.number)
            if event.kind == UPDATE:
                call += "publish" if event.publishes else "play"
            fields["call"] = call
            fields |= _special(event)
        arguments = facts.app_query if event.kind == CONNECT else facts.query
        pairs = [f"{name}={_quoted(value)}" for name, value in fields.items()] + _kept(arguments, fields)
        headers = {"content-type": "application/x-www-form-urlencoded", "x-event-id": event.id}
        return Message(headers, "&".join(pairs).encode("utf-8", "surrogatepass"), call)

    def wants_body(self, answer: Answer) -> bool:
        """Tell whether the body counts; nginx-rtmp reads none."""
        return json_answer.is_json(answer)

    def judge(self, event: Event, answer: Answer) -> Decision:
        """Return what an answer means: 2xx is yes, 3xx too, under the name that it gives."""
        decision = Decision(200 <= answer.status < 400)
        location = answer.headers.get("location", "").strip().strip("/") if 300 <= answer.status < 400 else ""
        if location and event.kind in (CONNECT, START, PLAY):
            if location.lower().startswith("rtmp://"):
                return Decision(False, ELSEWHERE)
            channel = location if event.kind == CONNECT else renamed(event.channel, event.facts, location)
            decision = Decision(True, channel=channel)
        if self.wants_body(answer):
            decision = json_answer.refined(decision, json_answer.read(answer.body))
        return decision


def renamed(channel: str, facts: Facts, name: str) -> str:
    """Return the channel of a stream that gets another name: its last part, or all of it where it has one."""
    beginning, mark, last = channel.rpartition("/")
    return f"{beginning}/{name}" if mark and last == facts.name.rpartition("/")[2] else name


def _special(event: Event) -> dict[str, str]:
    """Return what only some calls have, in their order."""
    facts = event.facts
    if event.kind == START:
        return {"name": facts.name, "type": facts.mode}
    if event.kind == PLAY:
        return {"name": facts.name, **LIVE}
    if event.kind == UPDATE:
        return {"time": str(event.seconds), "timestamp": str(event.seconds * 1000), "name": facts.name}
    if event.file is not None:
        return {"recorder": "", "name": facts.name, "path": f"{event.file.folder}/{event.file.name}"}
    return {"name": facts.name}


def _kept(arguments: str, fields: Mapping[str, str]) -> list[str]:
    """Return a client's own arguments, but for those that would pass for ours: in PHP the last one counts."""
    pairs = [pair for pair in arguments.split("&") if pair]
    reserved = _RESERVED | fields.keys()
    return [pair for pair in pairs if unquote_plus(pair.partition("=")[0]).strip().lower() not in reserved]


def _quoted(text: str) -> str:
    return quote(text, safe="", errors="surrogatepass")

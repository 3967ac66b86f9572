"""The text of the control link: what one websocket text frame says. Pure: it sends nothing.

Line 1 is the type, the lines after it are `Name: value`; an empty line ends them, and a body after it is
ignored. Written with one blank after the colon and LF; read with or without blanks, LF or CRLF, names in
any case.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from rtmpsrv.errors import LocalProtocolError

HEARTBEAT = "HEARTBEAT"
PUBLISH_REQUEST = "PUBLISH-REQUEST"
PUBLISH_END = "PUBLISH-END"
PUBLISH_ACCEPT = "PUBLISH-ACCEPT"
PUBLISH_DENY = "PUBLISH-DENY"
STREAM_KILL = "STREAM-KILL"
ERROR = "ERROR"

MAX_PARAMETERS = 64  # the grammar knows four
MAX_REQUEST_ID_DIGITS = 18


@dataclass(frozen=True, slots=True)
class ControlMessage:
    """One message: its type in capitals, its parameters by name in small letters; values show in no repr."""

    kind: str
    parameters: Mapping[str, str] = field(repr=False)

    def get(self, name: str) -> str:
        """Return a parameter, or "" where it is missing."""
        return self.parameters.get(name.lower(), "")

    def request_id(self) -> int | None:
        """Return the number of the request that is answered, or None if it is missing or no number."""
        text = self.get("Request-ID")
        if not text.isascii() or not text.isdigit() or len(text) > MAX_REQUEST_ID_DIGITS:
            return None
        return int(text)


def parse(text: str) -> ControlMessage:
    """Read one message. Never fails: what is no parameter is skipped, what has no type gets the type ""."""
    kind, *lines = text.replace("\r", "").split("\n", MAX_PARAMETERS + 1)
    parameters: dict[str, str] = {}
    for line in lines[:MAX_PARAMETERS]:
        if not line.strip():
            break
        name, colon, value = line.partition(":")
        if colon and name.strip():
            parameters.setdefault(name.strip().lower(), value.strip())
    return ControlMessage(kind.strip().upper(), parameters)


def render(kind: str, parameters: Mapping[str, str] | None = None) -> str:
    """Write one message. Raises LocalProtocolError, quoting nothing, for a value with a line break in it."""
    lines = [kind]
    for name, value in (parameters or {}).items():
        if "\n" in value or "\r" in value:
            raise LocalProtocolError(f"line break in the value of {name}")
        lines.append(f"{name}: {value}")
    return "\n".join(lines)

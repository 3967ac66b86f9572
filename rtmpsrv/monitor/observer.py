"""What happens to connections, counted and kept: the tally of a server that is watched. Never blocks."""

from __future__ import annotations

import time
from typing import Final, cast

from rtmpsrv.errors import AccessDenied
from rtmpsrv.relayed import RelayPlayback, RelayPublication
from rtmpsrv.server.host import Client, Playback, Publication
from rtmpsrv.server.tally import Asking, Doing, Tally, Watched
from rtmpsrv.watching import HLS, Viewing

from .counters import ACCEPTED, FAILED, FORMS, OTHER, RTMP, Tallies
from .history import History
from .texts import clean, one_line
from .values import EventValue, Form, Happening, Kind

_FORMS: Final = {form: cast("Form", form or RTMP) for form in FORMS}
ENDS: Final[dict[Doing, Happening]] = {"publish": "unpublish", "play": "stop"}


def kind_of(client: Client) -> Kind:
    """Name the type of a connection, or of what takes the place of one."""
    return _kind(client.form, client.secure)


def form_of(client: Client) -> Form:
    """Name what a client gets, or may get."""
    return _FORMS.get(client.form, "http")


def _kind(form: str, secure: bool) -> Kind:
    if not form:
        return "rtmpsConn" if secure else "rtmpConn"
    if form == HLS:
        return "hlsSession"
    return "httpsConn" if secure else "httpConn"


class Observer(Tally):
    """Made once, before there are sessions; what it has counted and kept is there for whoever asks."""

    __slots__ = ("counted", "history")

    def __init__(self, worker: str = "") -> None:
        self.counted = Tallies()
        self.history = History(worker)

    def accepted(self) -> None:
        """Count it."""
        self.counted.connections_accepted += 1

    def rejected(self, address: str, secure: bool, why: str, form: str = "") -> None:
        """Count and keep it."""
        self.counted.reject(why)
        self.history.add(_event("refused", _kind(form, secure), address, one_line(why)))

    def handshake_failed(self, reason: str) -> None:
        """Count it."""
        self.counted.handshakes[reason] += 1

    def refused(self, what: Asking, client: Client, denial: AccessDenied) -> None:
        """Count and keep it."""
        self.counted.refuse(what, denial.variable)
        event = _of(client, "refused", one_line(f"{what}: {denial.description}"))
        named, _, channel = denial.about.partition("=")
        if what == "connect":
            event["channel"] = ""
        elif named == "channel":  # the session does not know it yet
            event["channel"] = clean(channel)
        self.history.add(event)

    def failed(self, what: Doing) -> None:
        """Count it."""
        self.counted.count(what, FAILED)

    def began(self, what: Doing, client: Client, granted: Publication | Playback | Watched) -> None:
        """Count and keep it."""
        self.counted.count(what, ACCEPTED)
        event = _of(client, what, "")
        event["channel"] = _channel_of(granted, client)
        self.history.add(event)

    def ended(
        self,
        what: Doing,
        client: Client,
        granted: Publication | Playback | Watched,
        reason: str,
        received_bytes: int,
        sent_bytes: int,
    ) -> None:
        """Keep it."""
        event = _of(client, ENDS[what], one_line(reason))
        asked = client.to_publish if what == "publish" else client.to_play
        event["channel"] = _channel_of(granted, client)
        event["seconds"] = round(max(0.0, time.time() - asked.at), 3)
        event["received_bytes"], event["sent_bytes"] = received_bytes, sent_bytes
        self.history.add(event)

    def kicked(self, client: Client, channel: str, reason: str) -> None:
        """Keep that somebody wanted a connection to end."""
        event = _of(client, "kicked", reason)
        event["channel"] = clean(channel)
        self.history.add(event)

    def recorded(self, channel: str, reason: str, seconds: float, size: int) -> None:
        """Keep that a file is whole."""
        event = _event("recorded", "rtmpConn", "", one_line(reason))
        event["channel"], event["seconds"] = clean(channel), round(max(0.0, seconds), 3)
        event["received_bytes"] = size
        self.history.add(event)

    def left(self, received_bytes: int, sent_bytes: int, *, stalled: bool, form: str = "") -> None:
        """Count it."""
        self.counted.left(received_bytes, sent_bytes, stalled, form if form in FORMS else OTHER)

    def answered(self, kind: str, status: int) -> None:
        """Count it."""
        self.counted.answer(kind, status)

    def watched(self, sent_bytes: int) -> None:
        """Count it."""
        self.counted.hls_bytes += sent_bytes


def _of(client: Client, what: Happening, reason: str) -> EventValue:
    event = _event(what, kind_of(client), client.ip, reason)
    event["connection"], event["channel"] = client.id, clean(client.channel)
    return event


def _event(what: Happening, kind: Kind, address: str, reason: str) -> EventValue:
    return {
        "serial": 0,
        "worker": "",
        "at": 0.0,
        "what": what,
        "connection": "",
        "kind": kind,
        "remote_ip": address,
        "channel": "",
        "reason": reason,
        "seconds": 0.0,
        "received_bytes": 0,
        "sent_bytes": 0,
    }


def _channel_of(granted: Publication | Playback | Watched, client: Client) -> str:
    """Name the channel, which may be another one than was asked for."""
    if isinstance(granted, Viewing):
        return clean(granted.name)
    if isinstance(granted, RelayPublication | RelayPlayback):
        return clean(granted.channel.name)
    return clean(client.channel)

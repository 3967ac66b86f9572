"""A session of HTTP over a pair of sockets, with a host and handlers that do what a test says."""

from __future__ import annotations

import pickle
from dataclasses import replace
from typing import Any

import gevent
from gevent import socket as gsocket
from gevent.event import Event

from rtmpsrv import log
from rtmpsrv.errors import AccessDenied
from rtmpsrv.server.clock import LoopClock
from rtmpsrv.server.host import Client, Peer
from rtmpsrv.server.http import flv, routes
from rtmpsrv.server.http.frames import CLOSE
from rtmpsrv.server.http.session import HttpSession
from rtmpsrv.server.http.sink import MediaSink
from rtmpsrv.server.http.site import Site
from rtmpsrv.server.http.state import HttpState, begin
from rtmpsrv.server.outlet import Outlet
from rtmpsrv.server.parts import ServerParts
from rtmpsrv.server.tally import Tally
from rtmpsrv.server.transport import PlainTransport
from tests.unit.server.far_end import FarEnd
from tests.unit.server.http.test_frames import KEY, said
from tests.unit.server.stage import (
    PATIENCE_S,
    FakeHost,
    FakePlayback,
    FakeSlots,
    eventually,
    make_parts,
)

BYE = said(CLOSE, (1000).to_bytes(2))


class FakeViewing:
    name = "live"
    key: str | None = None
    channel = None

    def __init__(self) -> None:
        self.ends: list[str] = []

    def end(self, reason: str) -> None:
        self.ends.append(reason)


class ViewingHost(FakeHost):
    """Lets everybody watch, or nobody."""

    def __init__(self) -> None:
        super().__init__()
        self.asks: list[tuple[str, str, bool]] = []
        self.viewings: list[FakeViewing] = []
        self.sinks: list[MediaSink] = []
        self.bug = False

    def watch(self, peer: Peer, channel: str, query: str, sink: MediaSink, *, waits: bool) -> FakePlayback:
        self._ask(channel, query, waits)
        self.peers.append(peer)
        self.sinks.append(sink)
        # What a playback looks at is the outlet behind a sink.
        outlet: Outlet = sink if isinstance(sink, Outlet) else sink._outlet
        self.playbacks.append(FakePlayback(self, outlet))
        return self.playbacks[-1]

    def view(self, peer: Peer, channel: str, query: str) -> FakeViewing:
        self._ask(channel, query, True)
        self.viewings.append(FakeViewing())
        return self.viewings[-1]

    def resume_playback(self, peer: Peer, frozen: Any, outlet: MediaSink) -> FakePlayback:
        return super().resume_playback(peer, frozen, outlet if isinstance(outlet, Outlet) else outlet._outlet)

    def _ask(self, channel: str, query: str, waits: bool) -> None:
        self.asks.append((channel, query, waits))
        if self.bug:
            raise RuntimeError("a bug")
        if self.denial is not None:
            raise self.denial


class Told(Tally):
    """Notes what it is told."""

    __slots__ = ("answers", "events", "forms")

    def __init__(self) -> None:
        self.events: list[str] = []
        self.answers: list[tuple[str, int]] = []
        self.forms: list[str] = []  # of those who left

    def rejected(self, address: str, secure: bool, why: str, form: str = "") -> None:
        self.events.append("rejected")

    def refused(self, what: str, client: Client, denial: AccessDenied) -> None:
        self.events.append(f"refused {what}")

    def failed(self, what: str) -> None:
        self.events.append(f"failed {what}")

    def began(self, what: str, client: Client, granted: Any) -> None:
        self.events.append(f"began {what}")

    def ended(self, what: str, client: Client, granted: Any, reason: str, received: int, sent: int) -> None:
        self.events.append(f"ended {what}: {reason}")

    def left(self, received_bytes: int, sent_bytes: int, *, stalled: bool, form: str = "") -> None:
        self.events.append(f"left {received_bytes}")
        self.forms.append(form)

    def answered(self, kind: str, status: int) -> None:
        self.answers.append((kind, status))


class HttpStage(FarEnd):
    """One session that runs, and the other end of its socket."""

    def __init__(self, *, rule: str = "", buffer: int = 0, has_paths: bool = False, **settings: Any) -> None:
        self.host = ViewingHost()
        self.site = Site(self.host, has_paths=has_paths, allow_origin=rule)
        self.site.add(routes.FLV, flv.serve)
        self.told = Told()
        self.site.answered = self.told.answered
        self.parts: ServerParts = replace(make_parts(**settings), site=self.site, tally=self.told)
        self.mine, self.peer = gsocket.socketpair()
        if buffer:
            self.mine.setsockopt(gsocket.SOL_SOCKET, gsocket.SO_SNDBUF, buffer)
        self.peer.settimeout(PATIENCE_S)
        self.logger = log.session_logger("TEST", 7)
        client = Client(7, "192.0.2.1", 8080, False)
        self.run(begin(client, self.parts.settings, LoopClock().now()))

    def run(self, state: HttpState) -> None:
        self.session = HttpSession(state, PlainTransport(self.mine), self.parts, self.logger)
        self.greenlet = gevent.spawn(self.session.run)

    @property
    def slots(self) -> FakeSlots:
        slots = self.parts.slots
        assert isinstance(slots, FakeSlots)
        return slots

    @property
    def state(self) -> HttpState:
        return self.session._state

    def move(self) -> None:
        """Let another session go on, as if it were in another process."""
        state: HttpState = pickle.loads(pickle.dumps(self.session.freeze()))
        self.greenlet.join(PATIENCE_S)
        assert self.greenlet.dead
        if state.holds_slot:
            state.slot = self.slots.depart(state.client.ip)
            self.slots.arrive(state.slot, state.client.ip)
        self.run(state)

    def close(self) -> None:
        """End it all, and see to it that nothing is left."""
        self.peer.close()
        self.greenlet.join(PATIENCE_S)
        assert self.greenlet.dead, "the session did not end"
        assert self.slots.taken == []
        self.mine.close()

    # --- what the peer says -------------------------------------------------------------------------

    def send(self, data: bytes) -> None:
        self.peer.sendall(data)

    def get(self, path: str, *lines: str, method: str = "GET", version: str = "1.1") -> None:
        head = [f"{method} {path} HTTP/{version}", "Host: tv.example", *lines, "", ""]
        self.send("\r\n".join(head).encode())

    def get_websocket(self, path: str, *lines: str) -> None:
        self.get(
            path, "Upgrade: websocket", "Connection: keep-alive, Upgrade", f"Sec-WebSocket-Key: {KEY}",
            "Sec-WebSocket-Version: 13", *lines,
        )  # fmt: skip

    # --- what it hears ------------------------------------------------------------------------------

    def head(self) -> tuple[int, dict[str, str]]:
        """Read the head of an answer."""
        data = b""
        while not data.endswith(b"\r\n\r\n"):
            data += self.read(1)
        first, *lines = data.decode().rstrip("\r\n").split("\r\n")
        headers = dict(line.split(": ", 1) for line in lines)
        assert first.startswith("HTTP/1.1 ")
        return int(first.split(" ")[1]), headers

    def answer(self) -> tuple[int, str]:
        """Read an answer that says its length."""
        status, headers = self.head()
        return status, self.read(int(headers["Content-Length"])).decode()


__all__ = ["BYE", "Event", "HttpStage", "eventually", "said"]

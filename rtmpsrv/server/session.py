"""One connection, from its first byte to its last: reads, asks the host, answers. One greenlet each.

Knows the protocol only through `protocol.connection` and the application only through `host`. Nobody but
`run` closes the socket; others shut it down and let the reader unwind.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic
from typing import Any

import gevent
from gevent import socket as gsocket

from ..errors import AccessDenied, RemoteProtocolError
from ..log import Logger
from ..protocol import events
from ..protocol.chunks import Limits
from ..protocol.connection import ServerConnection
from ..protocol.state import Phase
from . import exchange_log
from .clock import ReadPacer
from .host import Client, Host, Playback, Publication
from .outlet import Outlet, Transport
from .waiting import ReadWait

READ_BYTES = 65536  # most that one read takes; all sessions share the buffer, it is copied from at once
# A socket that always has bytes never makes its reader wait: after this many it lets the others run.
TURN_BYTES = 65536
READ_COST_BYTES = 1024  # what a read counts for at least, so that a flood of tiny ones gives way too
# A timer, since it needs a round of the loop: after sleep(0) gevent runs the same greenlet up to 50 times
# more before it looks at any socket (CALLBACK_CHECK_COUNT of its loops).
TURN_REST_S = 0.0001
LINGER_S = 1.0  # for a refusal to reach a peer before its socket is closed
# On players: keeps what is unsent in the log, where a jump can still skip it, instead of in the kernel,
# whose send buffer grows to megabytes by itself.
NOTSENT_LOWAT_BYTES = 256 * 1024
_TCP_NOTSENT_LOWAT = getattr(gsocket, "TCP_NOTSENT_LOWAT", 25)
_TCP_ESTABLISHED = 1  # the state that TCP_INFO begins with

_HANDSHAKE = (Phase.C1, Phase.C2)

_buffer = bytearray(READ_BYTES)
_view = memoryview(_buffer)


@dataclass(frozen=True, slots=True)
class SessionSettings:
    """Bounds of one session; seconds and bytes."""

    chunk_size: int = 4096
    handshake_s: float = 10.0  # from accept to the end of the handshake, TLS included
    setup_s: float = 30.0  # from there to publish or play
    idle_s: float = 60.0
    ping_s: float = 30.0
    stall_s: float = 30.0
    message_bytes: int = 0xFFFFFF


class _Ended(Exception):
    """Leave the read loop; the text is the reason."""


class Session:
    """Owner of one accepted socket. `run` blocks until the connection is over and never raises."""

    def __init__(
        self,
        sock: Any,
        transport: Transport,
        client: Client,
        host: Host,
        settings: SessionSettings,
        pacer: ReadPacer,
        accepted_at: float,
    ) -> None:
        self.client = client
        self.log: Logger = client.log
        self._tells_all = client.log.isEnabledFor(logging.DEBUG)
        self.connection = ServerConnection(
            settings.chunk_size, publisher_limits=Limits(media_bytes=settings.message_bytes)
        )
        if self._tells_all:
            self.connection.judged = []
        self.outlet = Outlet(transport, settings.stall_s, self._refuse_waiting_player)
        self._socket = sock
        self._read_wait = ReadWait(transport.fileno())
        self._transport = transport
        self._host = host
        self._settings = settings
        self._pacer = pacer
        self._publication: Publication | None = None
        self._playback: Playback | None = None
        self._wants = (True, True)  # audio, video
        self._shaking_hands = True
        self._deadline = accepted_at + settings.handshake_s
        self._connected_at = 0.0
        self._next_ping = float("inf")
        self._drop_reason: str | None = None
        self._read_bytes = 0
        client.disconnect = self.drop
        client.left = self._has_left

    def run(self) -> None:
        """Serve the connection to its end, whatever happens; then close the socket."""
        reason = "connection lost"
        try:
            self._serve()
        except _Ended as exc:
            reason = str(exc)
        except RemoteProtocolError as exc:
            reason = f"protocol error: {exc}"
            self._say_goodbye(reason)
        except OSError as exc:
            reason = self._cause(f"connection lost: {exc.strerror or exc}")
        except gevent.GreenletExit:
            reason = "server is shutting down"
        except Exception:  # a bug of ours must cost this connection only
            self.log.exception("session failed")
            reason = "internal error"
        finally:
            self._finish(reason)

    def drop(self, reason: str) -> None:
        """End the connection from another greenlet. Never blocks."""
        if self._drop_reason is None:
            self._drop_reason = reason
            self._transport.shutdown()

    def drop_gently(self, reason: str) -> None:
        """End the connection when everything that waits for the peer was written. Never blocks."""
        if self._drop_reason is None:
            self._drop_reason = reason
            self.outlet.end_when_empty()

    def _has_left(self) -> bool:
        """Tell whether the peer has closed its side, though unread bytes may hide that. Never blocks."""
        if self._drop_reason is not None or self.outlet.failure is not None:
            return True
        try:
            return bool(
                self._socket.getsockopt(gsocket.IPPROTO_TCP, gsocket.TCP_INFO, 1)[0] != _TCP_ESTABLISHED
            )
        except OSError:
            return False  # not a TCP socket

    # --- reading ----------------------------------------------------------------------------------

    def _serve(self) -> None:
        connection = self.connection
        outlet = self.outlet
        pacer = self._pacer
        self._socket.settimeout(0.0)
        recv_into = self._socket.recv_into
        turn_left = TURN_BYTES
        while True:
            count = self._receive(recv_into)
            self._read_bytes += count
            connection.receive_data(bytes(_view[:count]))
            if self._shaking_hands and connection.phase not in _HANDSHAKE:
                self._shaking_hands = False
                self._restart_setup_deadline()
                self.log.debug("= handshake done")
            while connection.backlog:
                self._handle_events(connection)
            if connection.outbox:
                outlet.reply(connection.data_to_send())
            if pacer.rest_s and self._publication is not None and count < READ_BYTES:
                pacer.rest()
            turn_left -= count + READ_COST_BYTES
            if turn_left <= 0:
                turn_left = TURN_BYTES
                gevent.sleep(TURN_REST_S)

    def _receive(self, recv_into: Callable[[Any], int]) -> int:
        """Wait for bytes, within all deadlines; pings go out from here while a peer is silent."""
        settings = self._settings
        idle_at = monotonic() + settings.idle_s
        while True:
            now = monotonic()
            if now >= self._next_ping:
                self._next_ping = now + settings.ping_s
                self._send(events.Ping(int((now - self._connected_at) * 1000)))
                self.outlet.reply(self.connection.data_to_send())
            if now >= idle_at:
                raise _Ended(f"sent nothing for {settings.idle_s:g} s")
            if now >= self._deadline:
                raise _Ended(self._missed_deadline())
            try:
                count = recv_into(_buffer)
            except BlockingIOError:
                self._read_wait.wait(min(idle_at, self._deadline, self._next_ping))
                continue
            if not count:
                raise _Ended(self._cause("closed by the peer"))
            return count

    def _cause(self, seen: str) -> str:
        """Return why the connection is gone: shutting it down on our side looks like the peer's doing."""
        return self._drop_reason or self.outlet.failure or seen

    def _missed_deadline(self) -> str:
        if self._shaking_hands:
            return f"no handshake within {self._settings.handshake_s:g} s"
        return f"neither publish nor play within {self._settings.setup_s:g} s"

    def _send(self, event: events.Event) -> None:
        if self._tells_all:
            exchange_log.sent(self.log, event)
        self.connection.send(event)

    def _handle_events(self, connection: ServerConnection) -> None:
        for event in connection.events():
            self._tell_judged(connection)
            if isinstance(event, list):
                if self._publication is not None:
                    self._publication.append(event)
            else:
                _HANDLERS[type(event)](self, event)
                if connection.outbox:
                    self.outlet.reply(connection.data_to_send())
        self._tell_judged(connection)
        if self.outlet.failure is not None:
            raise _Ended(self._cause(self.outlet.failure))

    def _tell_judged(self, connection: ServerConnection) -> None:
        if connection.judged:
            exchange_log.received(self.log, connection.judged)
            connection.judged.clear()

    # --- what the peer asks -----------------------------------------------------------------------

    def _on_connect(self, event: events.ConnectAsked) -> None:
        client = self.client
        client.app = event.app or ""
        client.properties = event.properties
        try:
            if event.app is None:
                raise AccessDenied("NetConnection.Connect.Rejected", "No application name")
            self._host.connect(client)
        except AccessDenied as exc:
            self._send(events.ConnectRejected(exc.code, exc.description))
            self._close_refused("connect", exc)
        self._send(events.ConnectAccepted())
        self._connected_at = monotonic()
        self._next_ping = self._connected_at + self._settings.ping_s
        self.log.debug("= connected app=%s", client.app)

    def _on_publish(self, event: events.PublishAsked) -> None:
        self.client.publish_mode = event.mode
        try:
            publication = self._host.publish(self.client, event.name, event.msid)
        except AccessDenied as exc:
            self._send(events.PublishRefused(exc.code, exc.description))
            self._close_refused("publish", exc)
        self._publication = publication
        self._deadline = float("inf")
        self._pacer.publisher_began()
        self._send(events.PublishAccepted(publication.started))

    def _on_publish_stop(self, event: events.PublishStopAsked) -> None:
        publication = self._publication
        if publication is not None:
            # The peer is told first: players are told in `end`, and both in the order of spec 3.11.
            self._send(events.PublishEnded(publication.ended))
            self.end_publication("unpublished by the peer")
            self._restart_setup_deadline()

    def _on_play(self, event: events.PlayAsked) -> None:
        self._set_player_options()
        try:
            playback = self._host.play(self.client, event.name, event.msid, self.outlet)
        except AccessDenied as exc:
            self._send(events.PlayRefused(exc.code, exc.description))
            self._close_refused("play", exc)
        self._send(events.PlayAccepted())
        self._playback = playback
        self._deadline = float("inf")
        self.outlet.feed = playback.feed
        playback.start(*self._wants)

    def _on_play_stop(self, event: events.PlayStopAsked) -> None:
        if self._playback is not None:
            self._end_playback("stopped by the peer")
            self._send(events.PlayEnded("Stopped playing stream."))
            self._restart_setup_deadline()

    def _on_pause(self, event: events.PauseAsked) -> None:
        if self._playback is not None:
            self._playback.pause(event.paused)

    def _on_receive(self, event: events.ReceiveAsked) -> None:
        audio, video = self._wants
        self._wants = (event.wanted, video) if event.audio else (audio, event.wanted)
        if self._playback is not None:
            self._playback.receive(*self._wants)

    def _on_refused(self, event: events.Refused) -> None:
        self._close_refused(event.command, AccessDenied(event.code, event.description))

    # --- ends -------------------------------------------------------------------------------------

    def _restart_setup_deadline(self) -> None:
        if self._publication is None and self._playback is None:
            self._deadline = monotonic() + self._settings.setup_s

    def _close_refused(self, command: str, refusal: AccessDenied) -> None:
        """Flush the refusal, then end: several clients hang for ever when they are not closed."""
        reason = f"{command} refused: {refusal.description}"
        self._say_goodbye(reason)
        raise _Ended(reason)

    def _say_goodbye(self, reason: str) -> None:
        """Let the peer read what was written before the socket goes; a reset would discard it."""
        self.end_publication(reason)
        if self.connection.outbox:
            self.outlet.reply(self.connection.data_to_send())
        written = self.outlet.failure is None and self.outlet.drain(LINGER_S)
        self._end_playback(reason)  # not before: the last answer goes between two messages of the stream
        if not written:
            return
        try:
            self._socket.shutdown(gsocket.SHUT_WR)
            give_up_at = monotonic() + LINGER_S
            while (left := give_up_at - monotonic()) > 0:
                self._socket.settimeout(left)
                if not self._socket.recv_into(_buffer):
                    break
        except OSError:
            pass  # the peer was faster, or took no notice for the whole time

    def _refuse_waiting_player(self, code: str, description: str) -> None:
        """A waiting player's key turned out wrong; called from the publisher's greenlet, never blocks."""
        self._end_playback(f"refused: {description}")
        if self.connection.phase is Phase.ERROR:
            return  # it is being closed
        self._send(events.PlayRefused(code, description))
        self.outlet.reply(self.connection.data_to_send())
        self.drop_gently(f"play refused: {description}")

    def end_publication(self, reason: str) -> None:
        """Take the publisher of this connection, if any, off the air. Idempotent, never blocks."""
        publication, self._publication = self._publication, None
        if publication is not None:
            self._pacer.publisher_ended()
            publication.end(reason)

    def _end_playback(self, reason: str) -> None:
        playback, self._playback = self._playback, None
        if playback is not None:
            playback.end(reason)
            self.outlet.feed = None

    def _finish(self, reason: str) -> None:
        """Undo everything, in the order in which others notice; then close the socket."""
        self.end_publication(reason)
        self._end_playback(reason)
        self.outlet.close()
        self._read_wait.close()
        self._socket.close()
        self.log.info("closed: %s, in=%d out=%d bytes", reason, self._read_bytes, self.outlet.sent_bytes)

    def _set_player_options(self) -> None:
        try:
            self._socket.setsockopt(gsocket.IPPROTO_TCP, _TCP_NOTSENT_LOWAT, NOTSENT_LOWAT_BYTES)
        except OSError:
            self.log.debug("TCP_NOTSENT_LOWAT is not available: lagging players skip later")


_HANDLERS: dict[type[events.Event], Callable[[Session, Any], None]] = {
    events.ConnectAsked: Session._on_connect,
    events.PublishAsked: Session._on_publish,
    events.PublishStopAsked: Session._on_publish_stop,
    events.PlayAsked: Session._on_play,
    events.PlayStopAsked: Session._on_play_stop,
    events.PauseAsked: Session._on_pause,
    events.ReceiveAsked: Session._on_receive,
    events.Refused: Session._on_refused,
}

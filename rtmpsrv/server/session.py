"""One connection, from its first byte to its last, or until it moves to another process.

Knows the protocol only through `protocol.connection` and the application only through `host`. One greenlet
each, that of `run`. Nobody else closes the socket; others shut it down and let the reader unwind.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from time import monotonic
from typing import Any

import gevent
from gevent import socket as gsocket

from ..errors import PeerLost, RemoteProtocolError
from ..log import Logger
from ..protocol import events
from .base_session import BaseSession
from .ending import Dismissed, Ended, Moved, tell_end
from .host import Host, Playback, Publication
from .outlet import Outlet
from .parts import ServerParts
from .reading import Reader
from .requests import Requests
from .session_state import SessionState
from .tally import CLOSED, TIMEOUT, VERSION
from .transport import Transport

LINGER_S = 1.0  # for a refusal to reach a peer before its socket is closed


class Session(BaseSession[SessionState]):
    """Owner of one socket; a `Peer` to its host. Others call it from their greenlets where it says so."""

    _reader: Reader

    def __init__(
        self,
        state: SessionState,
        transport: Transport,
        host: Host,
        parts: ServerParts,
        log: Logger,
        comes_again: Callable[[], None] = lambda: None,
    ) -> None:
        """Begin, or go on with a state that another session's `freeze` returned.

        `comes_again` is called when the peer is about to, on another connection: this one counts no more.
        """
        super().__init__(state, transport, log)
        self._comes_again = comes_again
        self._tally = parts.tally
        self._announced = state.bytes_in > 0
        self.outlet = Outlet(transport, self, parts.budget, parts.settings.stall_s, state.outlet)
        self._requests = Requests(self, state, transport, self.outlet, host, parts)
        self._reader = Reader(self, state, transport, self.outlet, self._requests, parts)

    def run(self) -> None:
        """Serve the connection to its end, whatever happens; then close the socket. Blocks, never raises."""
        reason, is_probe, failure = "connection lost", False, CLOSED
        try:
            if self._moved:  # before it began
                raise Moved
            self._greenlet = gevent.getcurrent()
            self._requests.resume()
            self.outlet.kick()
            self._requests.ask_again()
            self._reader.serve()
        except Ended as exc:
            reason, failure = self._cause(str(exc)), TIMEOUT
            if exc.comes_again:
                self._comes_again()
            if exc.told:
                self._say_goodbye(reason)
        except PeerLost as exc:
            reason = self._cause(str(exc))
            is_probe = not self._announced and self._drop_reason is None and self.outlet.failure is None
        except RemoteProtocolError as exc:
            reason, failure = f"protocol error: {exc}", VERSION
            self._say_goodbye(reason)
        except Moved:
            pass
        except Dismissed:
            reason = self._cause("dismissed")
            self._requests.tell_end(reason)
            self._say_goodbye(reason)
        except gevent.GreenletExit:
            reason = "server is shutting down"
        except Exception:  # a bug of ours must cost this connection only
            self.log.exception("session failed")
            reason = "internal error"
        finally:
            if self._state.shaking_hands and not (is_probe or self._moved or self._drop_reason):
                self._tally.handshake_failed(failure)
            self._finish(reason, logging.DEBUG if is_probe else logging.INFO)

    def announce(self, level: int = logging.INFO) -> None:
        """Say that somebody is there; not before the first byte, since who says nothing is mostly a probe."""
        if not self._announced:
            self._announced = True
            self.log.log(level, "Connection accepted from %s", self.client.ip)

    # --- from other greenlets ---------------------------------------------------------------------

    def dismiss(self, reason: str) -> None:
        """End the connection; a peer that publishes or plays is told why first. Never blocks."""
        if self._drop_reason is not None:
            return
        if self._greenlet is None:
            self.drop(reason)  # it has not begun
        else:
            self._drop_reason = reason
            self._requests.interrupt()
            gevent.get_hub().loop.run_callback(self._throw_out)

    def drop_gently(self, reason: str) -> None:
        """End the connection when everything that waits for the peer was written. Never blocks."""
        if self._drop_reason is None:
            self._drop_reason = reason
            self._requests.interrupt()
            self.outlet.end_when_empty()

    def sound(self) -> bool:
        """Send something that draws a reset if the peer is gone; False when there is no need.

        The end of a peer that is read more slowly than it sends waits behind unread bytes, in its own system
        perhaps. Never blocks.
        """
        if self._over or self.has_left() or not self._reader.is_behind:
            return False
        try:
            self._reader.ping()
        except Exception:  # the caller is another connection's session
            self.log.exception("ping failed")
            self.drop("internal error")
        return True

    def refuse_play(self, code: str, description: str) -> None:
        """Tell a player that waits that it may not play after all, and close. Never blocks."""
        if self._moved or self._over:
            return  # it is another session's player now, or nobody's
        reason = f"play refused: {description}"
        try:
            self._requests.end_playback(reason)
            self._requests.send(events.PlayRefused(code, description))
            self._requests.answer()
            self.drop_gently(reason)
        except Exception:  # the caller is another connection's publisher
            self.log.exception("refusal failed")
            self.drop("internal error")

    def end_publication(self, reason: str) -> None:
        """Take the publisher of this connection, if any, off the air. Idempotent, never blocks."""
        if not self._over:
            self._requests.end_publication(reason)

    @property
    def role(self) -> str:
        """What it does, in a word: publisher or player; empty for nothing (any more)."""
        return "" if self._over else self._requests.role

    @property
    def granted(self) -> list[Publication | Playback]:
        """What it was granted by the host, and has not ended."""
        if self._over:
            return []
        return [one for one in (self._requests.publication, self._requests.playback) if one is not None]

    def traffic(self) -> tuple[int, int]:
        """Return how many bytes were received and sent so far. Not when it is over. Never blocks."""
        playback = self._requests.playback
        uncounted = playback.feed.uncounted_bytes if playback is not None else 0
        return self._state.bytes_in, self.outlet.bytes_out + uncounted

    @property
    def is_bound(self) -> bool:
        """Whether it can never move, since it is on TLS."""
        return not self._transport.can_move

    @property
    def is_held(self) -> bool:
        """Whether it waits with a request until a succession is over."""
        return self._state.asked is not None

    def play_at_once(self) -> bool:
        """Let a request to play that is held go on all the same; False for any other. Never blocks."""
        if not isinstance(self._state.asked, events.PlayAsked):
            return False
        self._requests.interrupt()
        return True

    def travel(self, wait: Callable[[], object]) -> None:
        """Let somebody freeze it with its request while `wait` blocks; returns if it stays. As `Requests`."""
        self._requests.travel(wait)

    def describe(self) -> dict[str, Any]:
        """Return what an operator wants to know; no keys, no queries."""
        state, requests = self._state, self._requests
        client, connection = state.client, state.connection
        bytes_in, bytes_out = self.traffic()
        return {
            "number": client.number,
            "ip": client.ip,
            "port": client.port,
            "secure": client.secure,
            "app": client.app,
            "role": requests.role,
            "phase": connection.phase.value,
            "accepted_at": state.accepted_at,
            "seconds": monotonic() - state.accepted_at,
            "bytes_in": bytes_in,
            "bytes_out": bytes_out,
            "work": connection.work,
            "held_bytes": connection.held_bytes,
            "waiting_bytes": self.outlet.waiting_bytes,
            "backlog": connection.backlog,
        }

    # --- for `BaseSession` ------------------------------------------------------------------------

    def _interrupt(self) -> None:
        self._requests.interrupt()

    def _is_busy(self) -> bool:
        return self._requests.busy or self._reader.is_busy

    def _freeze_granted(self) -> None:
        self._requests.freeze()

    # --- ends -------------------------------------------------------------------------------------

    def _cause(self, seen: str) -> str:
        """Return why the connection is gone: shutting it down on our side looks like the peer's doing."""
        return self._drop_reason or self.outlet.failure or seen

    def _say_goodbye(self, reason: str) -> None:
        """Let the peer read what was written before the socket goes; a reset would discard it."""
        self._ending = True
        self._requests.end_publication(reason)
        self._requests.answer()
        written = self.outlet.drain(LINGER_S) and self.outlet.failure is None
        # Not before: the last answer goes between two messages of the stream.
        self._requests.end_playback(reason)
        if written:
            self._transport.shutdown(gsocket.SHUT_WR)
            self._reader.throw_away(monotonic() + LINGER_S)

    def _finish(self, reason: str, level: int) -> None:
        """Undo everything, in the order in which others notice; then close the socket, and say so."""
        self._ending = True
        if self._moved:
            self.outlet.close()
            self._reader.close()
            self._tally.left(*self.traffic_here(), stalled=False)
            self._let_go()
            return
        self._requests.end_publication(reason)
        self._requests.end_playback(reason)
        self.outlet.close()
        self._reader.close()
        self._transport.close()
        self.announce(level)
        tell_end(self.log, level, self._state, self.outlet.bytes_out, reason, self._requests.refusal)
        self._tally.left(*self.traffic_here(), stalled=self.outlet.stalled)
        self._let_go()

    def _let_go(self) -> None:
        """Part with those that know this session: what is over is freed now, without the collector."""
        self._over = True
        self._drop_reason = self._drop_reason or "over"
        del self.outlet, self._requests, self._reader, self._greenlet

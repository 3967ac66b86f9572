"""What a peer asks for and what it was granted: its publication, its playback. One for each session.

Knows the application only through `host`. Runs in the session's greenlet, but where it says otherwise.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from time import monotonic, time
from typing import Any, NoReturn

from gevent.event import Event as Signal

from ..errors import AccessDenied, LoginAsked
from ..protocol import events
from . import exchange_log
from .ending import NO_REFUSAL, Ended, refused
from .host import Asked, Host, Peer, Playback, Publication
from .outlet import Outlet
from .parts import ServerParts
from .session_state import NEVER, SessionState
from .tally import Asking, Doing
from .transport import Transport

# On players: keeps what is unsent in the log, where a jump can still skip it, instead of in the kernel,
# whose send buffer grows to megabytes by itself.
NOTSENT_LOWAT_BYTES = 256 * 1024
# What requests cost that make the server look up and send metadata and headers, up to 2.5 MiB.
PLAY_UNITS = 100
CHOICE_UNITS = 25
NO_ROOM = "The server has no room for another stream"


class Requests:
    """Answers a peer's requests, and holds what it was granted."""

    __slots__ = (
        "_event", "_host", "_outlet", "_parts", "_peer", "_signal", "_state", "_tells_all", "_transport",
        "busy", "playback", "publication", "refusal", "units",
    )  # fmt: skip

    def __init__(
        self,
        peer: Peer,
        state: SessionState,
        transport: Transport,
        outlet: Outlet,
        host: Host,
        parts: ServerParts,
    ) -> None:
        self.publication: Publication | None = None
        self.playback: Playback | None = None
        self.busy = False  # in the middle of a request: how far it got cannot be seen from outside
        self.units = 0  # of work, beyond what messages count for
        self._peer = peer
        self._state = state
        self._transport = transport
        self._outlet = outlet
        self._host = host
        self._parts = parts
        self.refusal = NO_REFUSAL  # what a log of values is told of it
        self._signal: Signal | None = None  # ends a wait
        self._event: events.Event | None = None  # that is being handled
        self._tells_all = peer.log.isEnabledFor(logging.DEBUG)

    @property
    def role(self) -> str:
        """Return what the peer does, in a word; empty for nothing yet."""
        if self.publication is not None:
            return "publisher"
        return "player" if self.playback is not None else ""

    def handle(self, event: events.Event) -> None:
        """Do what the peer asks, and answer. Raises Ended; may block as long as the host does."""
        if self._parts.hold.closed and isinstance(event, (events.PublishAsked, events.PlayAsked)):
            self._wait_outside(event)
        self.busy = True
        self._event = event
        _HANDLERS[type(event)](self, event)
        self.answer()
        self.busy = False

    def send(self, event: events.Event) -> None:
        """Prepare an answer; `answer` sends it."""
        if self._tells_all:
            exchange_log.sent(self._peer.log, event)
        self._state.connection.send(event)

    def answer(self) -> None:
        """Send what was prepared. Never blocks."""
        connection = self._state.connection
        if connection.outbox:
            owed = connection.owed
            self._outlet.reply(connection.data_to_send(), owed)

    def ask_again(self) -> None:
        """Handle the request, if any, that was held where the session came from. As `handle`."""
        asked, self._state.asked = self._state.asked, None
        if asked is not None:
            self.handle(asked)

    def travel(self, wait: Callable[[], object]) -> None:
        """Let the session be frozen with the request that is handled, for as long as `wait` blocks.

        Called by the host; once for each request, wherever the session is. Does not return if it moved.
        """
        state = self._state
        if state.travelled:
            return
        state.travelled, state.asked, self.busy = True, self._event, False
        wait()
        state.asked, self.busy = None, True

    def interrupt(self) -> None:
        """Cut short the delay before a refusal, or the wait of a request. From any greenlet."""
        if self._signal is not None:
            self._signal.set()

    # --- what was granted -------------------------------------------------------------------------

    def resume(self) -> None:
        """Take up again what another session froze. Raises Ended if it was ended meanwhile."""
        state, host = self._state, self._host
        frozen, state.publication = state.publication, None
        if frozen is not None:
            try:
                self._publish(host.resume_publication(self._peer, frozen))
            except AccessDenied as exc:
                self.refusal = refused("publish")
                raise Ended(f"publish refused: {exc.for_log}") from exc
        frozen, state.playback = state.playback, None
        if frozen is not None:
            self.playback = playback = host.resume_playback(self._peer, frozen, self._outlet)
            self._outlet.feed = playback.feed
            playback.resume()

    def freeze(self) -> None:
        """Put what was granted into the state. From another greenlet; never blocks. Raises CannotMove."""
        state, publication, playback = self._state, self.publication, self.playback
        if publication is not None:
            state.publication = publication.freeze()
            self.publication = None
            self._parts.ingest.publisher_ended()
        if playback is not None:
            state.playback = playback.freeze()
            self.playback = None

    def end_publication(self, reason: str) -> None:
        """Take the peer off the air, if it is. Idempotent, never blocks; from any greenlet."""
        publication, self.publication = self.publication, None
        if publication is not None:
            self._parts.ingest.publisher_ended()
            publication.end(reason)
            self._tell_end("publish", publication, reason)

    def end_playback(self, reason: str) -> None:
        """End what the peer plays, if it does. Idempotent, never blocks; from any greenlet."""
        playback, self.playback = self.playback, None
        if playback is not None:
            playback.end(reason)
            self._outlet.feed = None
            self._tell_end("play", playback, reason)

    def tell_end(self, reason: str) -> None:
        """Prepare a status for what the peer was granted: it ends, and why."""
        if self.publication is not None:
            self.send(events.PublishEnded(reason))
        if self.playback is not None:
            self.send(events.PlayEnded(reason))

    def restart_setup(self) -> None:
        """Give a peer that does nothing (any more) its time to publish or play."""
        if self.publication is None and self.playback is None:
            self._state.deadline = monotonic() + self._parts.settings.setup_s

    def _publish(self, publication: Publication) -> None:
        self.publication = publication
        self._state.travelled = False
        self._state.account.trust()
        self._parts.ingest.publisher_began()

    def _tell_end(self, what: Doing, granted: Publication | Playback, reason: str) -> None:
        state = self._state
        self._parts.tally.ended(what, state.client, granted, reason, state.bytes_in, self._outlet.bytes_out)

    def _wait_outside(self, event: events.Event) -> None:
        """Block while the hold is closed. A session that is frozen meanwhile takes the request along."""
        self._state.asked = event
        self._signal = signal = Signal()
        self._parts.hold.wait(signal)
        self._signal = None
        self._state.asked = None
        if self._peer.has_left():
            raise Ended("left while its request waited")

    # --- requests ---------------------------------------------------------------------------------

    def _on_connect(self, event: events.ConnectAsked) -> None:
        state = self._state
        client = state.client
        client.app, client.app_query = split_app(event.app or "")
        client.properties = event.properties
        try:
            if event.app is None:
                raise AccessDenied("NetConnection.Connect.Rejected", "No application name")
            self._host.connect(self._peer)
        except AccessDenied as exc:
            self._refuse("connect", exc, events.ConnectRejected(exc.code, exc.description))
        self.send(events.ConnectAccepted())
        state.connected_at = monotonic()
        state.next_ping = state.connected_at + self._parts.settings.ping_s
        self._peer.log.debug("= connected app=%s", client.app)

    def _on_publish(self, event: events.PublishAsked) -> None:
        self._state.client.publish_mode = event.mode
        self._state.client.to_publish = Asked(event.name, time())
        try:
            if not self._parts.budget.admits_publisher():
                variable = self._parts.settings.room_variable
                raise AccessDenied("NetStream.Publish.BadName", NO_ROOM, variable)
            publication = self._host.publish(self._peer, event.name, event.msid)
        except AccessDenied as exc:
            self._refuse("publish", exc, events.PublishRefused(exc.code, exc.description))
        except Exception:
            self._parts.tally.failed("publish")
            raise
        self._publish(publication)
        self._parts.tally.began("publish", self._state.client, publication)
        self._state.deadline = NEVER
        self.send(events.PublishAccepted(publication.started))

    def _on_publish_stop(self, event: events.PublishStopAsked) -> None:
        # The publisher is told before its players are, which happens in `end`.
        self.send(events.PublishEnded(self.publication.ended if self.publication is not None else None))
        self.answer()
        self.end_publication("unpublished by the peer")
        self.restart_setup()

    def _on_play(self, event: events.PlayAsked) -> None:
        self.units += PLAY_UNITS
        self._state.client.to_play = Asked(event.name, time())
        if not self._transport.limit_unsent(NOTSENT_LOWAT_BYTES):
            self._peer.log.debug("TCP_NOTSENT_LOWAT is not available: lagging players skip later")
        try:
            playback = self._host.play(self._peer, event.name, event.msid, self._outlet)
        except AccessDenied as exc:
            self._refuse("play", exc, events.PlayRefused(exc.code, exc.description))
        except Exception:
            self._parts.tally.failed("play")
            raise
        self.send(events.PlayAccepted())
        self.playback = playback
        self._parts.tally.began("play", self._state.client, playback)
        self._state.account.trust()
        self._state.deadline = NEVER
        self._outlet.feed = playback.feed
        playback.start(*self._state.wants)

    def _on_play_stop(self, event: events.PlayStopAsked) -> None:
        self.end_playback("stopped by the peer")
        self.send(events.PlayEnded("Stopped playing stream."))
        self.restart_setup()

    def _on_pause(self, event: events.PauseAsked) -> None:
        self.units += CHOICE_UNITS
        if self.playback is not None:
            self.playback.pause(event.paused)

    def _on_receive(self, event: events.ReceiveAsked) -> None:
        self.units += CHOICE_UNITS
        audio, video = self._state.wants
        wants = self._state.wants = (event.wanted, video) if event.audio else (audio, event.wanted)
        if self.playback is not None:
            self.playback.receive(*wants)

    def _on_refused(self, event: events.Refused) -> None:
        self.refusal = refused(event.command)
        raise Ended(f"{event.command} refused: {event.description}", told=True)

    def _refuse(self, command: Asking, denial: AccessDenied, answer: events.Event) -> NoReturn:
        """Answer with a refusal when the host wants it, and end: several clients hang if left open."""
        if isinstance(denial, LoginAsked):
            self.send(answer)
            raise Ended("asked for a login", told=True, comes_again=True)
        self._parts.tally.refused(command, self._state.client, denial)
        delay_s = self._host.refusal_delay(self._state.client.ip)
        if delay_s > 0 and not self._peer.has_left():
            self._signal = signal = Signal()
            signal.wait(delay_s)
            self._signal = None
        self.send(answer)
        self.refusal = refused(command, denial.user)
        raise Ended(f"{command} refused: {denial.for_log}", told=True)


def split_app(text: str) -> tuple[str, str]:
    """Return the application that `connect` named, and the query behind it, "" for none.

    Slashes around it are a URL field's, `_definst_` is the default instance of presets made for Wowza.
    """
    name, _mark, query = text.partition("?")
    return name.strip("/").removesuffix("/_definst_").rstrip("/"), query


_HANDLERS: dict[type[events.Event], Callable[[Requests, Any], None]] = {
    events.ConnectAsked: Requests._on_connect,
    events.PublishAsked: Requests._on_publish,
    events.PublishStopAsked: Requests._on_publish_stop,
    events.PlayAsked: Requests._on_play,
    events.PlayStopAsked: Requests._on_play_stop,
    events.PauseAsked: Requests._on_pause,
    events.ReceiveAsked: Requests._on_receive,
    events.Refused: Requests._on_refused,
}

"""Players whom somebody is asked about, from the question to the report of their end; and who connects.

Between the host of the sessions, which has clients, and the hooks, which know events only.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Protocol

from rtmpsrv.access.facts import NO_FACTS, ClientFacts, Facts, facts_of
from rtmpsrv.access.gate import Grant, PublishRequest
from rtmpsrv.access.hooks import Hooks, Watch
from rtmpsrv.access.names import StreamName
from rtmpsrv.errors import AccessDenied


class Visitor(ClientFacts, Protocol):
    """A client whose permission to play is kept where it moves along."""

    ip: str
    granted: object  # its `Grant` as a player, None for none


class Visits:
    """Asks the hooks about clients."""

    def __init__(self, hooks: Hooks) -> None:
        self._hooks = hooks

    def facts(self, client: ClientFacts, name: str | None = None, stream: StreamName | None = None) -> Facts:
        """Return what a backend may be told about a client, if it wants to know."""
        return facts_of(client, name or "", stream) if self._hooks.wants_facts else NO_FACTS

    def connect(self, client: Visitor) -> bool:
        """Ask whether a client may connect; True where its app is another one now.

        Blocks, or raises AccessDenied.
        """
        app = self._hooks.connect(client.ip, self.facts(client))
        client.app = app or client.app
        return bool(app)

    def play(
        self, client: Visitor, name: str | None, stream: StreamName, check: Callable[[StreamName], None]
    ) -> StreamName:
        """Ask whether a client may play; return what it gets. Blocks, or raises AccessDenied.

        `check` raises it for what may not be played whoever says so; it is asked when the answer is here.
        """
        client.granted = None
        request = PublishRequest(stream.channel, stream.shown, client.ip, self.facts(client, name, stream))
        visit = self._hooks.play(request)
        if visit is None:
            return stream
        client.granted = visit
        stream = self.resumed(client, stream)
        try:
            check(stream)
        except AccessDenied:
            self.left(client)
            raise
        return stream

    def resumed(self, client: Visitor, stream: StreamName) -> StreamName:
        """Return what a client plays, by what it asks for: it may have been given something else."""
        visit = client.granted
        return replace(stream, channel=visit.channel) if isinstance(visit, Grant) else stream

    def left(self, client: Visitor) -> None:
        """Report the end of a player, if somebody was asked about it. Never blocks."""
        visit, client.granted = client.granted, None
        if isinstance(visit, Grant):
            self._hooks.left(visit)

    def max_players(self, client: Visitor) -> int:
        """Return how many may play with this client, as a backend says; 0 for any number."""
        visit = client.granted
        return visit.max_players if isinstance(visit, Grant) else 0

    def watch_player(self, client: Visitor, end: Callable[[str], None]) -> Watch:
        """Have a player ended when it may not go on. Never blocks."""
        visit = client.granted
        return self._hooks.watch(visit, end, publishes=False) if isinstance(visit, Grant) else Watch()

    def watch_publisher(self, grant: Grant, end: Callable[[str], None]) -> Watch:
        """Have a publisher ended when it may not go on. Never blocks."""
        return self._hooks.watch(grant, end, publishes=True)

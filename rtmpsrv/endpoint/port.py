"""One open port as the host of its sessions: which registration covers a client, and whether it may go on.

The order of checks is that of docs/endpoint.md, "Approval". After an approval all of them run again, since
anything may have changed while the registrant thought about it.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address
from time import monotonic
from typing import Generic, Protocol, TypeAlias, TypeVar
from urllib.parse import parse_qsl
from uuid import uuid4, uuid5

from gevent.event import AsyncResult

from ..errors import AccessDenied, CannotMove
from ..live.player import Player, PlayerState
from ..server.host import Peer
from ..server.listener import Listener
from ..server.outlet import Outlet
from .publisher import EndpointPublication
from .registrations import ObserverRegistration, PublisherRegistration, WatcherRegistration
from .requests import (
    ANY,
    Address,
    Exact,
    SecondPublisher,
    StreamId,
    StreamKeyRegistration,
)
from .types import (
    ApprovalRequired,
    Approve,
    Client,
    ConnectionId,
    PublisherRequiringApproval,
    Reject,
    ValidationResponse,
    WatcherRequiringApproval,
)
from .watcher import EndpointPlayback

LOOK_S = 0.1  # how often a client that waits for approval is looked at: it may have left
MAX_ARGUMENTS = 32  # of a stream name; more are ignored
PUBLISH_REFUSED = "NetStream.Publish.BadName"
PLAY_REFUSED = "NetStream.Play.BadName"
INVALID_KEY = "Invalid stream key provided"  # known to clients and tools; why follows
LEFT = "the client left"
NO_ANSWER = "No answer"

Asking: TypeAlias = PublisherRegistration | WatcherRegistration
Handle = TypeVar("Handle", PublisherRegistration, WatcherRegistration)


@dataclass(frozen=True, slots=True)
class Question:
    """How to ask a registrant, and how to refuse its client."""

    message: type[ApprovalRequired]
    refusal_code: str


PUBLISH = Question(PublisherRequiringApproval, PUBLISH_REFUSED)
PLAY = Question(WatcherRequiringApproval, PLAY_REFUSED)


class Observers(Protocol):
    """Who reads along. Declared here, answered by the endpoint."""

    def __call__(self, port: int, app: str, key: str) -> Iterable[ObserverRegistration]:
        """Return the observers of a key."""


class Table(Generic[Handle]):
    """The registrations of one kind on a port: by app, then by key."""

    def __init__(self) -> None:
        self._apps: dict[str, dict[StreamKeyRegistration, Handle]] = {}

    def __len__(self) -> int:
        return sum(map(len, self._apps.values()))

    def has_app(self, app: str) -> bool:
        """Tell whether anything is registered for an app."""
        return app in self._apps

    def conflicts(self, app: str, key: StreamKeyRegistration) -> bool:
        """Tell whether a new registration would share a key with one that is there."""
        keys = self._apps.get(app)
        if not keys:
            return False
        return key is ANY or ANY in keys or key in keys

    def add(self, handle: Handle) -> None:
        request = handle.request
        self._apps.setdefault(request.rtmp_app, {})[request.rtmp_stream_key] = handle

    def remove(self, handle: Handle) -> None:
        """Remove exactly this one, never an equal successor."""
        request = handle.request
        keys = self._apps.get(request.rtmp_app, {})
        if keys.get(request.rtmp_stream_key) is handle:
            del keys[request.rtmp_stream_key]
            if not keys:
                del self._apps[request.rtmp_app]

    def find(self, app: str, key: str) -> Handle | None:
        """Return the one registration that covers a key."""
        keys = self._apps.get(app)
        if keys is None:
            return None
        return keys.get(ANY) or keys.get(Exact(key))


class Port:
    """A `Host` for the sessions of one listener. Changed by `register` and by handles' ends."""

    def __init__(self, use_tls: bool, approval_s: float, observers: Observers) -> None:
        self.use_tls = use_tls
        self.listener: Listener
        self.publishers: Table[PublisherRegistration] = Table()
        self.watchers: Table[WatcherRegistration] = Table()
        self.publications: set[EndpointPublication] = set()
        self._approval_s = approval_s
        self._observers = observers
        self._namespace = uuid4()  # makes connection ids that cannot be guessed from their number

    @property
    def in_use(self) -> bool:
        """Whether anything is registered here."""
        return bool(len(self.publishers) or len(self.watchers))

    # --- the sessions' host -----------------------------------------------------------------------

    def connect(self, peer: Peer) -> None:
        """Accept an app that anything is registered for."""
        app = peer.client.app
        if not self.publishers.has_app(app) and not self.watchers.has_app(app):
            raise AccessDenied("NetConnection.Connect.Rejected", "No such application")

    def publish(self, peer: Peer, name: str | None, msid: int) -> EndpointPublication:
        """Put a client on the air. Blocks while the registrant is asked."""
        if peer.client.publish_mode not in ("", "live"):
            raise AccessDenied(PUBLISH_REFUSED, "Only live streams are taken")
        publisher = self._describe(peer, name, PUBLISH_REFUSED)
        registration = self._covering(self.publishers, publisher, PUBLISH_REFUSED)
        context = self._admit(registration, peer, publisher, PUBLISH, self._check_publisher)
        rival = registration.publications.get(publisher.stream_key)
        if rival is not None:  # and may be replaced, or it would have been refused
            rival.replace()
            if registration.closed is not None:  # its end message was one too many
                raise AccessDenied(PUBLISH_REFUSED, registration.closed)
        stream_id = registration.request.stream_id or StreamId(str(uuid4()))
        publication = EndpointPublication(peer, publisher, stream_id, registration, self.publications.discard)
        self.publications.add(publication)
        app, key = publisher.rtmp_app, publisher.stream_key
        publication.start(context, self._observers(publisher.port, app, key))
        try:
            peer.log.info("publish accepted app=%s stream_id=%s", app, stream_id)
        except BaseException:  # a handler of the program may wait, and the session be ended there
            publication.end("interrupted")
            raise
        return publication

    def play(self, peer: Peer, name: str | None, msid: int, outlet: Outlet) -> EndpointPlayback:
        """Let a client watch, or wait for media. Blocks while the registrant is asked."""
        watcher = self._describe(peer, name, PLAY_REFUSED)
        registration = self._covering(self.watchers, watcher, PLAY_REFUSED)
        context = self._admit(registration, peer, watcher, PLAY, _check_watcher)
        channel = registration.open_channel(watcher.stream_key)
        return EndpointPlayback(
            peer, watcher, channel, Player(outlet, PlayerState(msid)), registration, context
        )

    def resume_publication(self, peer: Peer, frozen: object) -> EndpointPublication:
        """Raise CannotMove: a registration is a program's, and stays with it."""
        raise CannotMove("publishers of a registration stay in its process")

    def resume_playback(self, peer: Peer, frozen: object, outlet: Outlet) -> EndpointPlayback:
        """Raise CannotMove: a registration is a program's, and stays with it."""
        raise CannotMove("watchers of a registration stay in its process")

    def refusal_delay(self, address: str) -> float:
        """Return 0: the program decides how it treats those that it refuses."""
        return 0.0

    # --- private ----------------------------------------------------------------------------------

    def _describe(self, peer: Peer, name: str | None, refusal_code: str) -> Client:
        if name is None:
            raise AccessDenied(refusal_code, "No stream key provided")
        key, _mark, query = name.partition("?")
        client = peer.client
        return Client(
            ConnectionId(str(uuid5(self._namespace, str(client.number)))),
            _address(client.ip),
            client.app,
            key,
            dict(parse_qsl(query, keep_blank_values=True)[:MAX_ARGUMENTS]),
            client.port,
            client.secure,
            client.properties,
        )

    def _covering(self, table: Table[Handle], who: Client, refusal_code: str) -> Handle:
        registration = table.find(who.rtmp_app, who.stream_key)
        if registration is None:
            why = INVALID_KEY
            if not table.has_app(who.rtmp_app):
                why += f": no {'watchers' if refusal_code == PLAY_REFUSED else 'publishers'} are taken here"
            raise AccessDenied(refusal_code, why)
        return registration

    def _check_publisher(self, registration: PublisherRegistration, publisher: Client) -> None:
        is_taken = publisher.stream_key in registration.publications
        if is_taken and registration.request.second_publisher is SecondPublisher.REFUSE:
            raise AccessDenied(PUBLISH_REFUSED, "Stream already publishing")
        _check_address(registration, publisher, PUBLISH_REFUSED)

    def _admit(
        self,
        registration: Handle,
        peer: Peer,
        who: Client,
        question: Question,
        check: Callable[[Handle, Client], None],
    ) -> object:
        """Return the context of the approval, None without; or raise AccessDenied. May block."""
        try:
            check(registration, who)
            if not registration.request.requires_approval:
                return None
            return self._ask(registration, peer, who, question, check)
        except AccessDenied:
            registration.statistics.refused += 1
            raise

    def _ask(
        self,
        registration: Handle,
        peer: Peer,
        who: Client,
        question: Question,
        check: Callable[[Handle, Client], None],
    ) -> object:
        """Ask the registrant; return the context it gives, or raise AccessDenied. Blocks up to the limit.

        The registrant was told of the client, so every refusal owes it an end message.
        """
        request = question.message(who)
        outcome: AsyncResult[ValidationResponse] = AsyncResult()

        def answered(response: AsyncResult[ValidationResponse]) -> None:
            if not outcome.ready():
                outcome.set(response.value)

        def turn_away(reason: str) -> None:
            # The greenlet that waits may not have seen an approval yet: this one counts.
            outcome.set(Reject(reason))

        # The registrant alone holds the question: one that it forgets is never answered.
        response = weakref.ref(request.response)
        request.response.rawlink(answered)
        registration.announce(who, turn_away)
        ended = "the server is shutting down"
        accepted = False
        try:
            registration.put(request)
            del request
            answer = self._await(outcome, response, registration, peer, question.refusal_code)
            if isinstance(answer, Reject):
                raise AccessDenied(question.refusal_code, answer.reason)
            if not isinstance(answer, Approve):
                raise AccessDenied(question.refusal_code, NO_ANSWER)
            registration.approved(who.connection_id, answer.context)
            check(registration, who)
            accepted = True
            return answer.context
        except AccessDenied as exc:
            ended = exc.description
            raise
        finally:
            if not accepted:
                registration.retire(who.connection_id, ended)

    def _await(
        self,
        outcome: AsyncResult[ValidationResponse],
        response: Callable[[], object],
        registration: Asking,
        peer: Peer,
        refusal_code: str,
    ) -> ValidationResponse | None:
        """Return the answer. Blocks; a question that nobody has any more is over at the next look."""
        deadline = monotonic() + self._approval_s
        while True:
            is_forgotten = response() is None
            outcome.wait(min(LOOK_S, max(0.0, deadline - monotonic())))
            if registration.closed is not None:
                raise AccessDenied(refusal_code, registration.closed)
            if peer.has_left():
                raise AccessDenied(refusal_code, LEFT)
            if outcome.ready():
                return outcome.value
            if is_forgotten:
                raise AccessDenied(refusal_code, NO_ANSWER)
            if monotonic() >= deadline:
                raise AccessDenied(refusal_code, "No answer in time")


def _check_watcher(registration: WatcherRegistration, watcher: Client) -> None:
    _check_address(registration, watcher, PLAY_REFUSED)


def _check_address(registration: Asking, who: Client, refusal_code: str) -> None:
    restriction = registration.request.ip_restriction
    if restriction is not None and not restriction.permits(who.address):
        raise AccessDenied(refusal_code, "Your net address is not permitted")


def _address(text: str) -> Address:
    """Read a peer's address; an IPv4-mapped one is the IPv4 one, a scope id is ignored."""
    address = ip_address(text.partition("%")[0])
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address

"""The one place that says who may publish, under which stream id, and that ends publications whoever asks.

It keeps the book of publications, from the moment an authority is asked until the session has let go; the
authority (nobody, HTTP callback, control server) decides. It knows no sockets and no channels with players.

A publication is asked for, granted, perhaps killed, and released. A kill that arrives while the authority
is still being asked is kept and carried out when the answer comes, so it cannot fall between the two; a
release happens once, however many callers try, so each accepted publication is reported as ended exactly
once.
"""

from __future__ import annotations

import hmac
import itertools
import math
import time
from collections.abc import Callable, Collection
from dataclasses import replace
from typing import TypedDict

import gevent.event

from rtmpsrv.access.authority import Authority as Authority
from rtmpsrv.access.authority import OpenAuthority as OpenAuthority
from rtmpsrv.access.blocks import Blocks
from rtmpsrv.access.grants import Grant as Grant
from rtmpsrv.access.grants import PublishRequest as PublishRequest
from rtmpsrv.access.grants import granted
from rtmpsrv.errors import AccessDenied

INVALID_KEY = "Invalid stream key provided"  # known to clients and tools; why follows
KILLED = "the stream was ended meanwhile"
MAX_KEPT_KILLS = 16  # kills by stream id that are remembered for one publication whose id is not known yet


class Note(TypedDict):
    """What a gate knows of a publication that is on the air, beside its grant."""

    killed: bool
    notify: bool


def refusal(why: str, variable: str = "") -> AccessDenied:
    """Return the refusal of a publisher; `variable` is the setting to look at."""
    return AccessDenied("NetStream.Publish.BadName", f"{INVALID_KEY}: {why}", variable)


def taken() -> AccessDenied:
    """Return the refusal of a publisher whose channel has one already."""
    return AccessDenied("NetStream.Publish.BadName", "Stream already publishing")


class _Publication:
    """The gate's own note about one publication; changed by Gate only, in methods that do not block."""

    __slots__ = ("authority", "grant", "killed", "kills_by_id", "notify", "on_kill", "request", "stream_id")

    def __init__(self, request: PublishRequest, on_kill: Callable[[str], None], authority: Authority) -> None:
        self.request = request
        self.authority = authority  # who granted it, and is told of its end
        self.on_kill = on_kill
        self.stream_id: str | None = None  # None while the authority is being asked
        self.grant: Grant | None = None  # likewise
        self.killed = False
        self.kills_by_id: list[str] = []
        self.notify = True

    def rebind(self, on_kill: Callable[[str], None]) -> None:
        """Call another session when the publication is to end."""
        self.on_kill = on_kill

    def was_granted(self, grant: Grant) -> None:
        """Take note of the answer; the channel may be another one now."""
        self.grant = grant
        self.request = replace(self.request, channel=grant.channel)


class Gate:
    """Admit publishers, and end publications."""

    def __init__(self, authority: Authority, clock: Callable[[], float] = time.monotonic) -> None:
        self._authority = authority
        self._clock = clock
        self._blocks = Blocks()
        self._serials = itertools.count(1)
        self._by_channel: dict[str, list[_Publication]] = {}
        self._granted: dict[int, _Publication] = {}
        self._asking = 0
        self._none_asking = gevent.event.Event()
        self._none_asking.set()
        self._closed = False
        # For who keeps a book: what is to be reported once, and what is not any more. They never block.
        self.on_granted: Callable[[Grant], None] = lambda grant: None
        self.on_abandoned: Callable[[Grant], None] = lambda grant: None

    def admit(
        self, request: PublishRequest, on_kill: Callable[[str], None], serial: int | None = None
    ) -> Grant:
        """Ask the authority; return a grant that the caller must release, or raise AccessDenied.

        Blocks up to the authority's deadline. `on_kill` gets the reason when the publication is to end: it
        must not block, must make the session end, and is called at most once, only after this method has
        returned. `serial` is the grant's, where others have named the publication before.
        """
        if self._closed:
            raise refusal("the server is shutting down")
        self._check_block(request.channel)
        publication = _Publication(request, on_kill, self._authority)
        self._by_channel.setdefault(request.channel, []).append(publication)
        self._asking += 1
        self._none_asking.clear()
        try:
            answer = self._authority.authorise(request)
            grant = granted(request, answer, next(self._serials) if serial is None else serial)
            publication.stream_id = grant.stream_id
        finally:
            self._asking -= 1
            if not self._asking:
                self._none_asking.set()
            if publication.stream_id is None:
                self._forget(publication)
        self._rename(publication, grant)
        self._granted[grant.serial] = publication
        self.on_granted(grant)
        if any(self._is_named(publication, stream_id) for stream_id in publication.kills_by_id):
            publication.killed = True
        if publication.killed or self._closed:
            publication.killed = True
            self.release(grant)
            raise refusal(KILLED)
        if grant.asked:
            try:
                self._check_block(grant.channel)
            except AccessDenied:
                self.release(grant)
                raise
        return grant

    def activate(self, grant: Grant) -> bool:
        """Say whether a channel that just went live may stay so: False if it was killed since `admit`.

        Release the grant after a False as after any other end. Never blocks.
        """
        publication = self._granted.get(grant.serial)
        return publication is not None and not publication.killed

    def adopt(self, grant: Grant, on_kill: Callable[[str], None], *, notify: bool = True) -> None:
        """Answer for a publication that the gate of another process has granted. Never blocks.

        Its end is reported here, unless `notify` is False. One that is known already stays what it is.
        """
        if grant.serial in self._granted:
            self._granted[grant.serial].rebind(on_kill)
            return
        request = PublishRequest(grant.channel, grant.key, grant.client_ip)
        publication = _Publication(request, on_kill, self._authority)
        publication.was_granted(grant)
        publication.stream_id, publication.notify = grant.stream_id, notify
        self._by_channel.setdefault(grant.channel, []).append(publication)
        self._granted[grant.serial] = publication

    def rebind(self, grant: Grant, on_kill: Callable[[str], None]) -> bool:
        """Let another session answer for a publication on the air; False if it was ended meanwhile."""
        publication = self._granted.get(grant.serial)
        if publication is None or publication.killed:
            return False
        publication.rebind(on_kill)
        self.on_granted(grant)
        return True

    def release(self, grant: Grant, notify: bool = True) -> None:
        """End a publication, whether it went live or not, and report it once. Never blocks.

        Calls after the first do nothing. Call it when the channel is free and before anything else can ask
        for the channel: the report then goes out before the next request.
        """
        publication = self._granted.pop(grant.serial, None)
        if publication is None:
            return
        self._forget(publication)
        if notify and publication.notify:
            publication.authority.ended(grant)
        else:
            self.on_abandoned(grant)

    def note(self, grant: Grant) -> Note | None:
        """Return what another process's gate needs to `inherit` a publication; None if it was released."""
        publication = self._granted.get(grant.serial)
        if publication is None:
            return None
        return {"killed": publication.killed, "notify": publication.notify}

    def granted_by(self, grant: Grant) -> Authority | None:
        """Return who granted a publication; None if it was released."""
        publication = self._granted.get(grant.serial)
        return publication.authority if publication is not None else None

    def inherit(self, grant: Grant, note: Note, authority: Authority | None = None) -> Grant:
        """Take over a publication from the process before this one; return the grant to go on with.

        `authority` is told of its end, this process's own if none is given. Until the session has called
        `rebind` a kill is kept. Never blocks.
        """
        request = PublishRequest(grant.channel, grant.key, grant.client_ip)
        publication = _Publication(request, lambda reason: None, authority or self._authority)
        publication.stream_id = grant.stream_id
        publication.killed, publication.notify = note["killed"], note["notify"]
        own = replace(grant, serial=next(self._serials))
        publication.was_granted(own)
        self._by_channel.setdefault(grant.channel, []).append(publication)
        self._granted[own.serial] = publication
        return own

    def abandon(self, grant: Grant) -> None:
        """Forget a publication that another process has inherited; nobody is told. Never blocks."""
        publication = self._granted.pop(grant.serial, None)
        if publication is not None:
            self._forget(publication)
            self.on_abandoned(grant)

    def kill(self, channel: str, stream_id: str | None, reason: str) -> bool:
        """End what is published on a channel, if its stream id is this one; None is any. Never blocks.

        Return whether something was ended. What is still being asked for is refused when the answer comes.
        """
        found = False
        for publication in list(self._by_channel.get(channel, ())):
            if stream_id is None or self._is_named(publication, stream_id):
                found = self._end(publication, reason) or found
            elif publication.stream_id is None and len(publication.kills_by_id) < MAX_KEPT_KILLS:
                publication.kills_by_id.append(stream_id)
        return found

    def block(self, channel: str, seconds: float) -> None:
        """Refuse the publishers of a channel for so long, 0 to admit them again. Never blocks.

        Who is there already is for `kill`.
        """
        self._blocks.add(channel, seconds, self._clock())

    def may_block(self, channel: str) -> bool:
        """Tell whether `block` opens no other channel. Never blocks."""
        return self._blocks.has_room(channel, self._clock())

    def blocks(self) -> dict[str, float]:
        """Return what `block` is to be told in the process that goes on. Never blocks."""
        return self._blocks.left(self._clock())

    def kill_all(
        self,
        reason: str,
        notify: bool,
        of: Authority | None = None,
        serials: Collection[int] | None = None,
    ) -> None:
        """End everything; or what one authority granted; or of that, what has certain serials.

        With `notify` False nothing is reported any more.

        Never blocks.
        """
        everything = [
            publication
            for group in self._by_channel.values()
            for publication in group
            if (of is None or publication.authority is of)
            and (serials is None or any(self._granted.get(one) is publication for one in serials))
        ]
        for publication in everything:
            publication.notify = publication.notify and notify
        for publication in everything:
            self._end(publication, reason)

    def wait_idle(self, timeout_s: float) -> bool:
        """Wait until all ends are reported; return whether they are. Blocks up to `timeout_s`."""
        return self._authority.wait_idle(timeout_s)

    def close(self, timeout_s: float) -> bool:
        """Admit nobody more, end what is left, wait for the reports; return whether all went out.

        Blocks up to `timeout_s`: half of it, at most, for answers that are still awaited.
        """
        self._closed = True
        self.kill_all("server is shutting down", notify=True)
        for publication in list(self._granted.values()):
            assert publication.grant is not None, "it is among the granted"
            self.release(publication.grant)
        half_s = timeout_s / 2
        self._none_asking.wait(half_s)
        idle = self._authority.wait_idle(half_s)
        self._authority.close()
        return idle and not self._asking

    def _end(self, publication: _Publication, reason: str) -> bool:
        if publication.killed:
            return False
        publication.killed = True
        if publication.stream_id is not None:
            publication.on_kill(reason)
        return True

    def _check_block(self, channel: str) -> None:
        blocked_s = self._blocks.left_s(channel, self._clock())
        if blocked_s:
            # Not as a wrong key is refused: its owner would go and change it.
            closed = f"The channel is closed for {math.ceil(blocked_s)} s more"
            raise AccessDenied("NetStream.Publish.BadName", closed)

    def _rename(self, publication: _Publication, grant: Grant) -> None:
        """List a publication under the channel that it got."""
        self._forget(publication)
        publication.was_granted(grant)
        self._by_channel.setdefault(grant.channel, []).append(publication)

    def _is_named(self, publication: _Publication, name: str) -> bool:
        names = [] if publication.stream_id is None else [publication.stream_id]
        if publication.authority.key_names_stream:
            names.append(publication.request.key)
        # A list, not a generator: every name is compared, so the time taken tells nothing.
        return any([_same(name, candidate) for candidate in names])  # noqa: C419

    def _forget(self, publication: _Publication) -> None:
        group = self._by_channel.get(publication.request.channel)
        if group is None or publication not in group:
            return
        group.remove(publication)
        if not group:
            del self._by_channel[publication.request.channel]


def _same(one: str, other: str) -> bool:
    return hmac.compare_digest(one.encode("utf-8", "surrogatepass"), other.encode("utf-8", "surrogatepass"))

"""One publisher on the air: its session's reader puts everything it sends on the registrants' queues.

That one greenlet writes connected, media and stopped, so their order holds by construction.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from time import monotonic
from typing import TypeAlias

import gevent

from ..errors import CannotMove, PeerLost
from ..media import classify
from ..media.headers import HeaderCache
from ..protocol import messages
from ..server.host import Peer
from .limits import MAX_DEPARTED
from .media_in import decode
from .registrations import ObserverRegistration, PublisherRegistration
from .requests import (
    StreamId,
)
from .types import (
    AudioData,
    Client,
    MediaData,
    NewPublisherConnected,
    ScriptData,
    StreamMetadata,
    VideoData,
)

SHORTEST_WAIT_S = 0.001  # for a full queue; the waits double
LONGEST_WAIT_S = 0.05
LOOK_S = 0.25  # how often one that waits is looked at: it may have left
SOUND_S = 1.0  # how often it is asked, too: unread bytes may hide that
LEFT = "the client left"
REPLACED = "replaced by another publisher"

Reader: TypeAlias = PublisherRegistration | ObserverRegistration

_CLASSIFY = {messages.VIDEO: classify.classify_video, messages.AUDIO: classify.classify_audio}


class EndpointPublication:
    """A client that publishes; a `Publication` of its session."""

    may_block = True

    def __init__(
        self,
        peer: Peer,
        publisher: Client,
        stream_id: StreamId,
        owner: PublisherRegistration,
        on_end: Callable[[EndpointPublication], None],
    ) -> None:
        self.publisher = publisher
        path = f"/{publisher.rtmp_app}/{publisher.stream_key}"
        self.started = f"{path} is now published."
        self.ended = f"{path} is now unpublished."
        self._peer = peer
        self._stream_id = stream_id
        self._readers: list[Reader] = []
        self._owner = owner
        self._on_end = on_end
        self._over = False
        self._over_reason = ""
        self._logged = False
        self._sound_at = 0.0
        # For observers that come later.
        self._metadata: StreamMetadata | None = None
        self._headers = HeaderCache()
        self._timestamp = 0  # of the last message
        self._has_video = False
        self._behind: set[ObserverRegistration] = set()  # those that miss media until they can go on

    def start(self, context: object, observers: Iterable[ObserverRegistration]) -> None:
        """Go on the air and tell the readers. Never blocks."""
        self._owner.publications[self.publisher.stream_key] = self
        self._add_reader(self._owner, context)
        for observer in observers:
            if not self._over:  # the owner may have been ended for not consuming
                self.add_observer(observer)

    def add_observer(self, observer: ObserverRegistration) -> None:
        """Let an observer read along from now on, metadata and headers first. Never blocks."""
        observer.publications.add(self)
        self._add_reader(observer, None)
        if observer in self._readers:  # it may have been ended for not consuming, or read no more
            self._introduce(observer)

    def _introduce(self, observer: ObserverRegistration) -> None:
        """Give metadata and headers, at the time of now."""
        connection_id = self.publisher.connection_id
        if self._metadata is not None:
            observer.put_media(connection_id, self._metadata)
        for type_id, payload in self._headers.snapshot():
            data = decode(type_id, self._timestamp, payload)
            assert data is not None, "it was decoded when it came"
            observer.put_media(connection_id, data)

    def lose_reader(self, observer: ObserverRegistration) -> None:
        """Go on without an observer that is closing. Never blocks."""
        observer.publications.discard(self)
        self._behind.discard(observer)
        self._readers.remove(observer)

    def replace(self) -> None:
        """Make room for another publisher of the key: stop, and disconnect. Never blocks."""
        self.stop(REPLACED)
        self._peer.dismiss(REPLACED)

    def append(self, batch: Iterable[tuple[int, int, int, bytes, int]]) -> None:
        """Hand media over. Blocks while a reader's queue is full that slows the publisher down.

        Raises PeerLost for a client that is gone, when too many like it wait there.
        """
        for reader in tuple(self._readers):
            if reader.slows_publishers:
                self._wait_for_room(reader)
        connection_id = self.publisher.connection_id
        for type_id, timestamp, _msid, payload, _csid in batch:
            data = decode(type_id, timestamp, payload)
            if data is None:
                continue
            if isinstance(data, StreamMetadata):
                self._metadata = data
            elif not isinstance(data, ScriptData):
                if data.is_sequence_header:
                    self._headers.update(type_id, payload, _CLASSIFY[type_id](payload))
                else:
                    self._headers.note_frames()
            self._has_video = self._has_video or isinstance(data, VideoData)
            for reader in self._readers:
                if isinstance(reader, PublisherRegistration) or self._reaches(reader, data):
                    reader.put_media(connection_id, data)
            self._timestamp = timestamp
        for observer in tuple(self._behind):
            observer.end_if_stalled(connection_id)

    def end(self, reason: str) -> None:
        """Stop, and log that; called by the session, always once. Idempotent."""
        self.stop(reason)
        if not self._logged:
            self._logged = True
            self._peer.log.info("publish ended app=%s reason=%s", self.publisher.rtmp_app, self._over_reason)

    def freeze(self) -> object:
        """Raise CannotMove: a registration is a program's, and stays with it."""
        raise CannotMove("publishers of a registration stay in its process")

    def stop(self, reason: str) -> None:
        """Go off the air: the key is free, each reader gets its one end message. Idempotent, never blocks.

        Not a line of log in here: the handlers are the program's, and may switch greenlets.
        """
        if self._over:
            return
        self._over = True
        self._over_reason = reason
        del self._owner.publications[self.publisher.stream_key]
        readers, self._readers = self._readers, []
        for reader in readers:
            if isinstance(reader, ObserverRegistration):
                reader.publications.discard(self)
                self._behind.discard(reader)
            reader.retire(self.publisher.connection_id, reason)
        self._on_end(self)

    def _add_reader(self, reader: Reader, context: object) -> None:
        self._readers.append(reader)
        reader.statistics.accepted += 1
        reader.admit(self.publisher, self._peer.dismiss, context, self._stream_id)
        reader.put(NewPublisherConnected(self.publisher, self._stream_id, context))

    def _reaches(self, observer: ObserverRegistration, data: MediaData) -> bool:
        """Tell whether an observer gets a message; one whose queue was full goes on where one can join."""
        if observer.slows_publishers:
            return True
        if not observer.has_room(self.publisher.connection_id):
            self._behind.add(observer)
        elif observer in self._behind and self._can_join_at(data):
            self._behind.discard(observer)
            self._introduce(observer)  # headers may have changed in between
        if observer in self._behind:
            observer.statistics.dropped += 1
            return False
        return True

    def _can_join_at(self, data: MediaData) -> bool:
        if self._has_video:
            return isinstance(data, VideoData) and data.is_keyframe and not data.is_sequence_header
        return isinstance(data, AudioData) and not data.is_sequence_header

    def _wait_for_room(self, reader: Reader) -> None:
        """Block until a reader has room, or is gone; or the client is, and too many like it wait here.

        A few may: the end of a stream is still there when its client is gone. A crowd that comes and leaves
        would fill the limit of connections.
        """
        wait_s = SHORTEST_WAIT_S
        connection_id = self.publisher.connection_id
        look_at = monotonic()
        try:
            while reader in self._readers and reader.closed is None and not reader.has_room(connection_id):
                reader.end_if_stalled(connection_id)
                now = monotonic()
                if now >= look_at and self not in reader.departed:
                    look_at = now + LOOK_S
                    if now >= self._sound_at:
                        self._sound_at = now + SOUND_S
                        self._peer.sound()
                    if self._peer.has_left():
                        if len(reader.departed) >= MAX_DEPARTED:
                            raise PeerLost(LEFT)
                        reader.departed.add(self)
                gevent.sleep(wait_s)
                wait_s = min(2 * wait_s, LONGEST_WAIT_S)
        finally:
            reader.departed.discard(self)

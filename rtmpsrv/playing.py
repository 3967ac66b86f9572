"""What is asked about each client that wants to play, in whatever form: names, addresses, rules, a backend.

Joins what the relay has for that. Knows nothing of how the media goes out.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from .access.names import StreamName
from .access.terms import Terms
from .access.visits import Visits
from .entrance import Entrance
from .errors import AccessDenied, naming
from .live.registry import Registry
from .relayed import wrong_key
from .room import Room
from .server.host import Client, Peer

PLAY_CODE = "NetStream.Play.BadName"


class Playing:
    """Lets clients play. Never blocks but where it says so."""

    def __init__(
        self,
        registry: Registry[str],
        entrance: Entrance,
        may_play: Callable[[str], bool],
        visits: Visits,
        room: Room,
    ) -> None:
        self._registry = registry
        self._entrance = entrance
        self._may_play = may_play
        self._visits = visits
        self._room = room

    def admit(
        self, peer: Peer, name: str | None, stream: StreamName, told: str, *, is_player: bool = True
    ) -> tuple[StreamName, Terms]:
        """Return what a client plays, and on what terms; `told` is the number or form for the log.

        Others than players, to whom what is kept is shown at once, need the key also of a publisher who may
        come back. Blocks as long as the entrance and a backend do. Raises AccessDenied.
        """
        client = peer.client
        client.channel, client.user = stream.channel, stream.who
        with naming(f"channel={stream.channel}"):
            if not self._may_play(client.ip):
                description = "Your net address is not whitelisted for playing"
                raise AccessDenied(PLAY_CODE, description, "RTMP_PLAY_WHITELIST")
            terms = self._entrance.play(client, stream)
            peer.log.info("PLAY (%s): %s", told, stream.channel)
            check = partial(self._check, client, terms, is_player)
            check(stream)
            stream = self._visits.play(client, name, stream, check)
            channel = self._registry.find(stream.channel)
            is_live = channel is not None and channel.live
            peer.log.debug("= player %s", "starts" if is_live else "waits for a publisher")
            return stream, terms

    def _check(self, client: Client, terms: Terms, is_player: bool, stream: StreamName) -> None:
        """Raise AccessDenied for a key that is not the publisher's, and where there are enough players."""
        self._entrance.check_channel(stream.channel, PLAY_CODE)
        self._room.check_address(client, stream.channel)
        channel = self._registry.find(stream.channel)
        if channel is None:
            return
        is_asked = channel.live or (channel.suspended and not is_player)
        if is_asked and terms.key is not None and not channel.contents.accepts_key(terms.key):
            raise wrong_key()
        self._room.check(client, stream.channel, self._room.players(channel), terms.max_players)

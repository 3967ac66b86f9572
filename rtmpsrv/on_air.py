"""Who publishes and plays in this process, for whoever looks at it. Changes nothing, never blocks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from .access.grants import Grant
from .live.player import Player
from .server.host import Client

if TYPE_CHECKING:
    from .relayed import RelayPlayback, RelayPublication


class OnAir:
    """What a relay has granted."""

    def __init__(
        self,
        publications: Mapping[str, RelayPublication],
        playbacks: Mapping[Player, RelayPlayback],
        max_bitrate: Callable[[str], int],
    ) -> None:
        """`max_bitrate` is that of the rules for a channel."""
        self._publications = publications
        self._playbacks = playbacks
        self._max_bitrate = max_bitrate

    def publisher_of(self, channel: str) -> Client | None:
        """Return who publishes a channel."""
        publication = self._here(channel)
        return publication.peer.client if publication is not None else None

    def grant_of(self, channel: str) -> Grant | None:
        """Return what the publisher of a channel was granted."""
        publication = self._here(channel)
        return publication.grant if publication is not None else None

    def client_of(self, player: Player) -> Client | None:
        """Return whose connection a player is."""
        playback = self._playbacks.get(player)
        return playback.peer.client if playback is not None else None

    def max_bitrate(self, channel: str) -> int | None:
        """Return the bits per second that rules, token and backend allow a channel; None for any."""
        publication = self._publications.get(channel)
        said = publication.max_bitrates if publication is not None else ()
        return min([limit for limit in (self._max_bitrate(channel), *said) if limit], default=None)

    def _here(self, channel: str) -> RelayPublication | None:
        """Leave out one that has gone to another process, whose players may still be served here."""
        publication = self._publications.get(channel)
        return publication if publication is not None and not publication.is_over else None

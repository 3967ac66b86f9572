"""Which channels the viewers' side may tell anybody of. Pure but for a look at the registry, never blocks."""

from __future__ import annotations

from typing import Protocol

from .access.doors import OPEN
from .config import Config
from .entrance import Entrance
from .live.registry import Registry
from .relay_partners import Elsewhere


class Among(Protocol):
    """Who knows other processes, as soon as there are any."""

    elsewhere: Elsewhere | None


class Listing:
    """The channels on the air, here and in other processes, if whoever knows the name of one may play it."""

    def __init__(
        self,
        config: Config,
        registry: Registry[str],
        relay: Among,
        entrance: Entrance,
    ) -> None:
        """Keep what is asked each time: rules change, and there are other processes or none."""
        self._is_open = config.play_access == OPEN and (
            config.rtmp_play_whitelist.empty or config.rtmp_play_whitelist.everything
        )
        self._registry = registry
        self._entrance = entrance
        self._relay = relay

    def __call__(self) -> list[str] | None:
        """Return their names; None when none may be listed, whatever goes on."""
        if not self._is_open:
            return None
        names = {one.name for one in self._registry if one.live}
        if self._relay.elsewhere is not None:
            names.update(self._relay.elsewhere.names())
        return [name for name in names if self._entrance.is_open(name)]

"""Which channels the viewers' side may tell anybody of. Pure but for a look at the registry, never blocks."""

from __future__ import annotations

from .access.doors import OPEN
from .config import Config
from .entrance import Entrance
from .live.registry import Registry


class Listing:
    """The channels on the air in this process, where whoever knows the name of one may play it."""

    def __init__(self, config: Config, registry: Registry[str], entrance: Entrance) -> None:
        """Keep what is asked each time: rules change."""
        self._is_open = config.play_access == OPEN and (
            config.rtmp_play_whitelist.empty or config.rtmp_play_whitelist.everything
        )
        self._registry = registry
        self._entrance = entrance

    def __call__(self) -> list[str] | None:
        """Return their names; None when none may be listed, whatever goes on."""
        if not self._is_open:
            return None
        return [one.name for one in self._registry if one.live and self._entrance.is_open(one.name)]

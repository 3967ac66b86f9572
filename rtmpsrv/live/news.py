"""What happens to players that only the host can report: live/ calls nobody above it."""

from __future__ import annotations

from enum import Enum
from typing import TypeAlias

from .player import Player


class News(Enum):
    """What happened to a player."""

    JUMPED = "jumped"  # it was too far behind, and left something out
    REFUSED = "refused"  # its key is not the publisher's; it has left the channel


NewsOf: TypeAlias = tuple[News, Player]

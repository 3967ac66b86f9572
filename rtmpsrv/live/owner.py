"""What an output knows of who owns it: declared here, since owners make outputs. Nothing but declarations."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from .contents import Contents
    from .output import Output
    from .player import Player


class Owner(Protocol):
    """The channel, as its outputs know it."""

    @property
    def contents(self) -> Contents:
        """What is known of the present publication."""

    def finished(self, output: Output, player: Player) -> None:
        """A player has read an ended log to its end."""

    def jumped(self, player: Player, begin: int, end: int) -> None:
        """A player left something out."""

    def drop_ended(self) -> None:
        """An output needs to be kept no longer for those who have not come."""

    def keyframe_to_come(self) -> bool:
        """Whether it is worth waiting for a keyframe."""

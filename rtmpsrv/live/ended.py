"""Publications of a channel that are over, while players still read them, or may come to. Never blocks."""

from __future__ import annotations

from collections.abc import Iterator

from .output import Output
from .player import Player


class Ended:
    """Their outputs, by number. Changed by their channel only."""

    __slots__ = ("_outputs",)

    def __init__(self) -> None:
        self._outputs: dict[int, Output] = {}

    def __len__(self) -> int:
        return len(self._outputs)

    def __iter__(self) -> Iterator[Output]:
        return iter(list(self._outputs.values()))

    @property
    def newest(self) -> int:
        """The highest number; 0 for none."""
        return max(self._outputs, default=0)

    def find(self, publication: int) -> Output | None:
        """Return the output of a publication."""
        return self._outputs.get(publication)

    def keep(self, output: Output) -> None:
        """Keep an output, in place of any other of its number, to which nobody comes back."""
        before = self._outputs.get(output.publication)
        if before is not None:
            before.let_go()
        self._outputs[output.publication] = output

    def take(self, publication: int) -> Output:
        """Let go of an output that is there, and return it."""
        return self._outputs.pop(publication)

    def release(self, publication: int) -> list[Player]:
        """Let go of the players of a publication, and return them."""
        output = self._outputs.get(publication)
        if output is None:
            return []
        players = list(output.audience)
        for player in players:
            output.leave(player)
        return players

    def drop(self) -> None:
        """Let go of those that nobody needs."""
        needed: dict[int, Output] = {}
        for output in self:
            if output.is_needed:
                needed[output.publication] = output
            else:
                output.withdraw()
        self._outputs = needed

    def clear(self) -> None:
        """Let go of all."""
        self._outputs.clear()

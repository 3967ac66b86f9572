"""The HLS of all channels of a process: who is made now, and the numbers that outlive that.

Numbers are kept by the names of channels, and go along into the process after this one.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from time import time
from typing import Any, Final

from rtmpsrv.hls.maker import Maker
from rtmpsrv.media.hls_moved import FORM
from rtmpsrv.media.hls_numbers import Numbering, first_number, restore

MAX_KEPT: Final = 10_000  # channels whose numbers are known; of others they begin anew, further on
PREFIX_BYTES: Final = 4


class Makers:
    """One for all. Never blocks, but `close`."""

    def __init__(self, make: Callable[..., Maker], *, wall: Callable[[], float] = time) -> None:
        """`make` starts a maker for a channel, with numbers, and with what another one was if that moved."""
        self._make = make
        self._wall = wall
        self._makers: dict[str, Maker] = {}
        self._numberings: dict[str, Numbering] = {}  # the ones not used for longest first

    def find(self, channel: str) -> Maker | None:
        """Return who makes the HLS of a channel, if anybody does."""
        maker = self._makers.get(channel)
        if maker is not None and not maker.is_running:
            del self._makers[channel]
            return None
        return maker

    def open(self, channel: str) -> Maker:
        """Return who makes the HLS of a channel, from now on if need be; somebody asks for it."""
        maker = self.find(channel)
        if maker is None:
            self._drop_ended()
            maker = self._makers[channel] = self._make(channel, self._numbering(channel))
        maker.asked()
        return maker

    def snapshot(self) -> dict[str, dict[str, Any]]:
        """Return all numbers in plain values, for the process after this one."""
        return {channel: numbering.snapshot() for channel, numbering in self._numberings.items()}

    def inherit(self, value: dict[str, dict[str, Any]]) -> None:
        """Go on with the numbers of the process before this one, where none are in use here."""
        for channel, numbers in value.items():
            if channel not in self._makers:
                self._numberings[channel] = restore(numbers)

    def state_of(self, channel: str, most: int) -> dict[str, Any] | None:
        """Return what a maker in another process goes on with; None for nothing. Never blocks.

        With `most` bytes of segments.
        """
        maker = self.find(channel)
        return maker.snapshot(most) if maker is not None else None

    def adopt(self, channel: str, value: dict[str, Any]) -> None:
        """Go on as the maker of another process, where there is none here. Never blocks."""
        if self.find(channel) is None and value["form"] == FORM:
            maker = self._makers[channel] = self._make(channel, self._numbering(channel), value)
            self._numberings[channel] = maker.window.numbering

    def close(self) -> None:
        """End all. Idempotent. Blocks until their greenlets have ended."""
        for maker in list(self._makers.values()):
            maker.close()
        self._makers.clear()

    @property
    def running(self) -> int:
        """How many channels are made now."""
        return sum([maker.is_running for maker in self._makers.values()])

    def describe(self) -> dict[str, Any]:
        """Return what an operator may want to know."""
        return {channel: maker.describe() for channel, maker in self._makers.items() if maker.is_running}

    # --- private ----------------------------------------------------------------------------------

    def _numbering(self, channel: str) -> Numbering:
        numbering = self._numberings.pop(channel, None)
        if numbering is None:
            numbering = Numbering(first_number(self._wall()), secrets.token_hex(PREFIX_BYTES))
        self._numberings[channel] = numbering
        while len(self._numberings) > MAX_KEPT:
            oldest = next((one for one in self._numberings if one not in self._makers), channel)
            if oldest == channel:
                break  # all are in use
            del self._numberings[oldest]
        return numbering

    def _drop_ended(self) -> None:
        self._makers = {channel: maker for channel, maker in self._makers.items() if maker.is_running}

"""An authority in a process before this one: it holds the connection over which it granted publications.

The end of such a connection ends them, at its other end too, so that process stays for as long as they last.
"""

from __future__ import annotations

from collections.abc import Collection
from contextlib import suppress

from ..access.gate import Grant, PublishRequest, refusal
from .conversation import Conversation
from .wire import WireLost


class InheritedAuthority:
    """Tells the predecessor what has ended; it grants nothing new."""

    key_names_stream = False

    def __init__(self, talk: Conversation) -> None:
        self._talk = talk
        self._serials: dict[int, int] = {}  # of grants, here and in the predecessor

    def adopted(self, own: Grant, serial: int) -> None:
        """Take note of a publication, and of its serial in the predecessor. Never blocks."""
        self._serials[own.serial] = serial

    def own_serials(self, theirs: Collection[int]) -> set[int]:
        """Translate serials of the predecessor's."""
        return {own for own, their in self._serials.items() if their in theirs}

    def authorise(self, request: PublishRequest) -> str:
        """Refuse: nobody is asked to."""
        raise refusal("the server is being replaced")

    def ended(self, grant: Grant) -> None:
        """Tell the predecessor, which reports it. Never blocks."""
        serial = self._serials.pop(grant.serial, None)
        if serial is not None:
            self._talk.tell({"kind": "ended", "serial": serial})

    def wait_idle(self, timeout_s: float) -> bool:
        """Wait until the predecessor has been told. Blocks up to `timeout_s`."""
        with suppress(WireLost):  # then there is nobody to be told
            self._talk.flush(timeout_s)
        return True

    def close(self) -> None:
        """Release nothing."""

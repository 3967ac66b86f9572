"""HLS put together, for whoever composes the server: what makes it, who may watch, who answers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Protocol

from rtmpsrv import log
from rtmpsrv.hls.handler import HlsHandler
from rtmpsrv.hls.maker import Maker
from rtmpsrv.hls.makers import Makers
from rtmpsrv.hls.pace import Pace
from rtmpsrv.hls.peer import NOBODY, Held, HlsPeer, Host, Slots, admit, resume
from rtmpsrv.hls.viewers import Viewers
from rtmpsrv.live.registry import Registry
from rtmpsrv.media.hls_numbers import Numbering
from rtmpsrv.media.mp4_source import Question
from rtmpsrv.server.tally import Tally


class Door(Host, Protocol):
    """The same, who slows down those who guess."""

    def refusal_delay(self, address: str) -> float:
        """Return for how many seconds to keep a refusal from a peer of that address. Never blocks."""


def hls_handler(
    registry: Registry[str],
    host: Door,
    slots: Slots,
    numbers: Iterator[int],
    first_part: Callable[[Question], bytes],
    *,
    window_ms: int,
    tally: Tally = NOBODY,
    counted_as: Callable[[str], str] = str,
    pace: Pace | None = None,
) -> HlsHandler:
    """Return what answers requests for HLS; `first_part` makes the beginnings of MP4, and blocks.

    `pace` may be that of others, too.
    """
    pace = pace or Pace()

    def make(channel: str, numbering: Numbering, moved: dict[str, Any] | None = None) -> Maker:
        # The channel as it is then: one that nobody wants is forgotten.
        return Maker(
            lambda notify, place: registry.open(channel).subscribe(notify, place),
            first_part, numbering, window_ms, registry.budget, log.get("HLS"), moved=moved,
            pace=pace,
        )  # fmt: skip

    def let_in(request: Any, leave: Callable[[], None]) -> Held:
        number = next(numbers)
        peer = HlsPeer(request.client, number, log.session_logger("HLS", number), leave)
        return admit(host, slots, peer, request.route.channel, request.head.query, tally)

    def go_on(state: dict[str, Any], leave: Callable[[], None]) -> Held:
        client = state["client"]
        peer = HlsPeer(client, client.number, log.session_logger("HLS", client.number), leave)
        return resume(host, slots, peer, state, tally)

    def is_on_air(channel: str) -> bool:
        found = registry.find(channel)
        return found is not None and found.output is not None

    return HlsHandler(
        Makers(make),
        Viewers(counted_as=counted_as),
        let_in,
        is_on_air,
        log.get("HLS"),
        go_on,
        delay=host.refusal_delay,
    )

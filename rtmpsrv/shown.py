"""What viewers by HTTP are shown beside FLV, put together: MP4, stills, HLS, and a process that helps."""

from __future__ import annotations

from functools import partial
from typing import Any, Final

from rtmpsrv import log
from rtmpsrv.access.limits import counted_as
from rtmpsrv.av.mp4_site import Mp4Site
from rtmpsrv.av.process import AvProcess
from rtmpsrv.av.still_site import StillSite
from rtmpsrv.hls.handler import HlsHandler
from rtmpsrv.hls.pace import Pace
from rtmpsrv.hls.site import hls_handler
from rtmpsrv.live.registry import Registry
from rtmpsrv.server.http.routes import HLS, JPG, MP4
from rtmpsrv.server.http.site import Site
from rtmpsrv.server.parts import ServerParts

MP4_SHARE: Final = 0.5  # of the time, that one maker of MP4 may work, whose viewers want each frame at once


class Shown:
    """One process's. Nothing of it runs before somebody asks."""

    def __init__(self, site: Site, process: AvProcess) -> None:
        """Show nothing yet. Never blocks."""
        self.log = log.get("WATCH")
        self.process = process
        self.mp4: Mp4Site | None = None
        self.stills: StillSite | None = None
        self.hls: HlsHandler | None = None
        self._site = site
        self._pace = Pace()  # of makers of either kind

    def show_mp4(self, registry: Registry[str]) -> None:
        """Give the handlers of MP4 and stills to the site."""
        memory = registry.budget
        self.mp4 = Mp4Site(
            registry.open, self.process, memory, self.log, partial(self._pace.rest_s, own_share=MP4_SHARE)
        )  # fmt: skip
        self.stills = StillSite(registry.open, self.process.picture, memory)
        self._site.add(MP4, self.mp4.handle)
        self._site.add(JPG, self.stills.handle)

    def show_hls(self, registry: Registry[str], parts: ServerParts, window_s: int) -> None:
        """Give the handler of HLS to the site, too, which counts its viewers among connections."""
        host: Any = self._site.host  # which knows more of viewers than sessions have to
        process = self.process
        self.hls = hls_handler(
            registry, host, parts.slots, parts.numbers, process.init, window_ms=window_s * 1000,
            tally=parts.tally, counted_as=counted_as, pace=self._pace,
        )  # fmt: skip
        self._site.add(HLS, self.hls)

    # --- to another process -----------------------------------------------------------------------

    def state_of(self, channel: str, most: int) -> tuple[dict[str, Any] | None, int]:
        """Return what is made of a channel, for `adopt` there, and its bytes, at `most`. Never blocks."""
        try:
            return self.hls.state_of(channel, most) if self.hls is not None else (None, 0)
        except Exception:  # a bug of ours; it begins anew there, and the channel moves all the same
            self.log.exception("HLS does not go on in another process")
            return None, 0

    def let_go(self, channel: str) -> None:
        """Take note that another process has adopted what was made of a channel. Never blocks."""
        if self.hls is not None:
            self.hls.let_go(channel)

    def adopt(self, channel: str, value: dict[str, Any]) -> None:
        """Go on with what was made of a channel that has moved here. Never blocks."""
        try:
            if self.hls is not None:
                self.hls.adopt(channel, value)
        except Exception:  # as above
            self.log.exception("HLS does not go on from another process")

    def numbers(self) -> dict[str, Any]:
        """Return the numbers of all channels, for `inherit` there."""
        return self.hls.makers.snapshot() if self.hls is not None else {}

    def inherit(self, value: dict[str, Any]) -> None:
        """Go on with numbers of another process."""
        if self.hls is not None:
            self.hls.makers.inherit(value)

    def describe(self) -> dict[str, Any]:
        """Return what an operator may want to know."""
        return {
            "process": self.process.describe(),
            "mp4": self.mp4.describe() if self.mp4 is not None else {},
            "stills": self.stills.describe() if self.stills is not None else {},
            "hls": self.hls.describe() if self.hls is not None else {},
        }

    def close(self) -> None:
        """End what is shown. Idempotent. Blocks for seconds at most."""
        if self.mp4 is not None:
            self.mp4.close()
        if self.stills is not None:
            self.stills.close()
        if self.hls is not None:
            self.hls.close("the server ends")

"""What viewers by HTTP are shown beside FLV, put together: live MP4, stills, and a process that helps."""

from __future__ import annotations

from typing import Any

from rtmpsrv import log
from rtmpsrv.av.mp4_site import Mp4Site
from rtmpsrv.av.process import AvProcess
from rtmpsrv.av.still_site import StillSite
from rtmpsrv.server.http.routes import JPG, MP4
from rtmpsrv.server.http.site import Site


class Shown:
    """One process's. Nothing of it runs before somebody asks."""

    def __init__(self, site: Site) -> None:
        """Give the handlers to a site. Never blocks."""
        logger = log.get("WATCH")
        self.process = AvProcess(logger)
        self.mp4 = Mp4Site(self.process.init, logger)
        self.stills = StillSite(self.process.picture)
        site.add(MP4, self.mp4.handle)
        site.add(JPG, self.stills.handle)

    def describe(self) -> dict[str, Any]:
        """Return what an operator may want to know."""
        return {
            "process": self.process.describe(),
            "mp4": self.mp4.describe(),
            "stills": self.stills.describe(),
        }

    def close(self) -> None:
        """End what is shown, and the process. Idempotent. Blocks for seconds at most."""
        self.mp4.close()
        self.process.close()

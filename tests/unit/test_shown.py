from __future__ import annotations

from typing import cast

from rtmpsrv.server.http.routes import JPG, MP4
from rtmpsrv.server.http.site import Site, ViewerHost
from rtmpsrv.shown import Shown


def test_nothing_runs_before_somebody_asks() -> None:
    site = Site(cast(ViewerHost, None))
    shown = Shown(site)

    assert {MP4, JPG} <= site.handlers.keys()
    assert shown.describe()["process"]["pid"] is None
    assert shown.describe()["mp4"] == {"makers": 0, "viewers": 0}
    assert shown.describe()["stills"]["kept"] == 0
    shown.close()
    shown.close()

from __future__ import annotations

from itertools import count
from types import SimpleNamespace
from typing import cast

from rtmpsrv import log
from rtmpsrv.av.process import AvProcess
from rtmpsrv.live.output import LiveLimits
from rtmpsrv.live.registry import Registry
from rtmpsrv.server.clock import LoopClock
from rtmpsrv.server.http.routes import HLS, JPG, MP4
from rtmpsrv.server.http.site import Site, ViewerHost
from rtmpsrv.server.parts import ServerParts
from rtmpsrv.server.tally import Tally
from rtmpsrv.shown import Shown


def test_nothing_runs_before_somebody_asks() -> None:
    site = Site(cast(ViewerHost, None))
    shown = Shown(site, AvProcess(log.get("AV")))

    assert {MP4, JPG} <= site.handlers.keys()
    assert shown.describe()["process"]["pid"] is None
    assert shown.describe()["mp4"] == {"makers": 0, "viewers": 0}
    assert shown.describe()["stills"]["kept"] == 0
    assert shown.describe()["hls"] == {}
    registry: Registry[str] = Registry(LoopClock(), LiveLimits(), 1 << 20, 4096)
    parts = SimpleNamespace(slots=None, numbers=count(1), tally=Tally())
    shown.show_hls(registry, cast(ServerParts, parts), 30)
    assert HLS in site.handlers
    assert shown.describe()["hls"] == {"channels": {}, "viewers": 0}
    shown.close()
    shown.close()

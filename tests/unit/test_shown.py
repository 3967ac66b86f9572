from __future__ import annotations

from itertools import count
from types import SimpleNamespace
from typing import cast

from rtmpsrv import log
from rtmpsrv.av.process import AvProcess
from rtmpsrv.live.output import LiveLimits
from rtmpsrv.live.registry import Registry
from rtmpsrv.media.hls_moved import FORM
from rtmpsrv.media.hls_numbers import Numbering
from rtmpsrv.server.clock import LoopClock
from rtmpsrv.server.http.routes import HLS, JPG, MP4
from rtmpsrv.server.http.site import Site, ViewerHost
from rtmpsrv.server.parts import ServerParts
from rtmpsrv.server.tally import Tally
from rtmpsrv.shown import Shown

HOST = cast(ViewerHost, SimpleNamespace(refusal_delay=lambda address: 0.0))


def test_nothing_runs_before_somebody_asks() -> None:
    site = Site(HOST)
    shown = Shown(site, AvProcess(log.get("AV")))

    assert [shown.describe()[kind] for kind in ("mp4", "stills", "hls")] == [{}, {}, {}]
    shown.close()
    registry: Registry[str] = Registry(LoopClock(), LiveLimits(), 1 << 20, 4096)
    parts = SimpleNamespace(slots=None, numbers=count(1), tally=Tally())
    shown.show_mp4(registry)
    shown.show_hls(registry, cast(ServerParts, parts), 30)
    assert {MP4, JPG, HLS} <= site.handlers.keys()
    assert shown.describe()["process"]["pid"] is None
    assert shown.describe()["mp4"] == {"makers": 0, "viewers": 0}
    assert shown.describe()["stills"]["kept"] == 0
    assert shown.describe()["hls"] == {"channels": {}, "viewers": 0}
    shown.close()
    shown.close()


def test_what_is_made_goes_on_elsewhere_or_begins_anew() -> None:
    site = Site(HOST)
    shown = Shown(site, AvProcess(log.get("AV")))
    assert shown.state_of("a", 100) == (None, 0)
    shown.let_go("a")
    shown.adopt("a", {})
    shown.inherit({})
    assert shown.numbers() == {}
    registry: Registry[str] = Registry(LoopClock(), LiveLimits(), 1 << 20, 4096)
    parts = SimpleNamespace(slots=None, numbers=count(1), tally=Tally())
    shown.show_hls(registry, cast(ServerParts, parts), 30)
    assert shown.state_of("a", 100) == ({"maker": None, "viewers": []}, 0)
    shown.let_go("a")
    numbers = Numbering(7, "ab").snapshot()
    shown.inherit({"a": numbers})
    assert shown.numbers() == {"a": numbers}
    shown.adopt("a", {"maker": {"form": FORM}, "viewers": []})
    assert shown.hls is not None
    assert shown.hls.makers.find("a") is None, "what is broken costs no more than itself"
    shown.hls.makers.state_of = lambda channel, most: 1 / 0  # type: ignore[method-assign, assignment, return-value]
    assert shown.state_of("a", 100) == (None, 0)
    shown.close()

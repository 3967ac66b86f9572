"""What a server has fits what is asked of it."""

from __future__ import annotations

import pytest

from rtmpsrv.monitor.viewed import Made, Viewers
from tests.unit.monitor.stage import by_hls, stage


def test_nothing_is_made_before_somebody_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    with stage(monkeypatch, http_port=0) as on:
        assert set(on.app.viewers.made()) == set(Made.__annotations__)
        assert not any(on.app.viewers.made().values())


def test_viewers_are_those_whom_the_relay_lets_watch(monkeypatch: pytest.MonkeyPatch) -> None:
    with stage(monkeypatch) as on:
        viewers: Viewers = on.app.relay.watching
        peer, held = by_hls(on, "key=k")
        (viewing,) = viewers.viewings("news")
        assert viewers.apart() == [viewing]
        assert viewers.find_apart(peer.client.id) is viewing
        held.end("it left")
        assert (viewers.apart(), viewers.viewings("news"), viewers.sent_before("news")) == ([], [], 0)

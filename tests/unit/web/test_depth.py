"""One channel in depth: which players are asked for, and in which order they come."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from rtmpsrv.monitor.values import ChannelValue, ConnectionValue
from rtmpsrv.web.depth import NOTHING, ORDER, ROWS, Depths, View, view_of
from rtmpsrv.web.source import Gathered
from rtmpsrv.web.verdict import Verdicts
from tests.doubles.monitor_source import FakeSource, crowd
from tests.doubles.monitor_values import player, waited_for

NAME = "live/channel-0000"


class Stage:
    """Depths over a crowd, with a clock that a test moves."""

    def __init__(self, players: int) -> None:
        self.source = crowd(1, players)
        self.now = 1000.0
        self.depths = Depths(self.source, Verdicts(), lambda: self.now)

    @property
    def channel(self) -> ChannelValue:
        return self.source.values_of_channels[0]

    def show(self, **view: Any) -> dict[str, Any]:
        return self.depths.show(View(NAME, **view), self.channel)

    def ids(self, **view: Any) -> list[str]:
        return [one["id"] for one in self.show(**view)["players"]]

    @property
    def readers(self) -> list[str]:
        return [one for one, _ in self.channel["readers"]]


def test_a_window_asks_for_its_players_and_the_publisher_only(monkeypatch: pytest.MonkeyPatch) -> None:
    stage = Stage(500)
    asked: list[int] = []
    connections = stage.source.connections

    def noting(ids: Sequence[str] | None = None) -> Gathered[ConnectionValue]:
        asked.append(len(ids or ()))
        return connections(ids)

    monkeypatch.setattr(stage.source, "connections", noting)
    shown = stage.show(first=100, rows=40)
    assert asked == [41]
    assert shown["total"] == 500
    assert shown["first"] == 100
    assert [one["id"] for one in shown["players"]] == stage.readers[100:140]
    assert shown["publisher"]["id"] == stage.channel["publisher"]


def test_the_end_of_the_list_is_a_short_window_and_beyond_it_is_none() -> None:
    stage = Stage(10)
    assert stage.ids(first=8, rows=5) == stage.readers[8:]
    assert stage.ids(first=50, rows=5) == []


def test_a_channel_that_is_gone_is_not_found() -> None:
    depths = Depths(FakeSource(), Verdicts())
    assert depths.show(View("nobody"), None) == {"channel": "nobody", "found": False}


def test_a_channel_without_publisher_and_players_asks_nothing() -> None:
    source = FakeSource([waited_for("live/a")], [])
    shown = Depths(source, Verdicts()).show(View("live/a"), source.values_of_channels[0])
    assert (shown["found"], shown["publisher"], shown["players"], shown["total"]) == (True, None, [], 0)
    assert source.asked == []


def test_the_newest_come_first_the_other_way_round() -> None:
    stage = Stage(5)
    assert stage.ids(descending=True) == stage.readers[::-1]


def test_the_slowest_players_come_first_where_that_is_wanted() -> None:
    stage = Stage(6)
    slow = stage.source.values_of_connections[4]
    slow["player"] = player(lag_s=7.0)
    assert stage.ids(sort="lag", descending=True)[0] == slow["id"]
    assert stage.ids(sort="lag", descending=False)[-1] == slow["id"]


@pytest.mark.parametrize("sort", ORDER)
def test_each_order_holds_all_players_once(sort: str) -> None:
    stage = Stage(6)
    assert sorted(stage.ids(sort=sort)) == sorted(stage.readers)


def test_an_order_is_kept_for_a_while_and_longer_with_many_players() -> None:
    stage = Stage(1000)
    slow = stage.source.values_of_connections[500]
    assert stage.ids(sort="lag", descending=True, rows=1) != [slow["id"]]
    slow["player"] = player(lag_s=7.0)
    stage.now += 3.9
    assert stage.ids(sort="lag", descending=True, rows=1) != [slow["id"]]
    stage.now += 0.2
    assert stage.ids(sort="lag", descending=True, rows=1) == [slow["id"]]


def test_players_that_went_leave_the_order_and_who_came_is_last() -> None:
    stage = Stage(4)
    assert stage.ids(sort="address") == stage.readers
    first, *others = stage.channel["readers"]
    newcomer = stage.source.values_of_connections[0]  # any connection will do
    stage.channel["readers"] = [(newcomer["id"], "rtmpConn"), *others]
    assert stage.ids(sort="address") == [*(one for one, _ in others), newcomer["id"]]
    assert first not in others


def test_a_filter_finds_addresses_players_and_users() -> None:
    stage = Stage(12)
    stage.source.values_of_connections[3]["user"] = "Anna"
    assert len(stage.ids(words="198.51.100.3")) == 1
    assert stage.ids(words="anna") == [stage.source.values_of_connections[3]["id"]]
    assert len(stage.ids(words="lnx 9")) == 12
    assert stage.show(words="nobody")["total"] == 0


def test_orders_that_nobody_looks_at_are_forgotten() -> None:
    stage = Stage(2)
    for number in range(200):
        stage.show(words=str(number))
    assert len(stage.depths._orders) == 64


def test_earlier_ends_are_those_of_the_channel() -> None:
    depths = Depths(FakeSource(), Verdicts())
    ends = depths.ends("live/good")
    assert ends
    assert {one["channel"] for one in ends} == {"live/good"}


@pytest.mark.parametrize(
    "asked",
    [
        None,
        [],
        "live/a",
        {"channel": 5},
        {"first": -1},
        {"first": True},
        {"first": 1.5},
        {"rows": ROWS + 1},
        {"rows": -1},
        {"sort": "secret"},
        {"words": "x" * 101},
        {"descending": "yes"},
    ],
)
def test_what_is_no_view_is_refused(asked: object) -> None:
    assert view_of(asked) is None


def test_a_view_has_what_was_asked_for_and_nothing_else() -> None:
    asked = {
        "channel": "a",
        "first": 3,
        "rows": ROWS,
        "sort": "lag",
        "descending": True,
        "words": "x",
        "by": 1,
    }
    assert view_of(asked) == View("a", 3, ROWS, "lag", True, "x")
    assert view_of({}) == NOTHING

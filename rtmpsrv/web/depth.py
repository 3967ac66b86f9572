"""What the view of one channel shows: the channel in depth, and those of its players that are in the window.

A channel may have thousands of players and a window shows some thirty. Only these are asked for each second.
An order by what players do needs all of them, so it is made again only from time to time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from time import monotonic
from typing import Any

from rtmpsrv.monitor.values import ChannelValue

from .picture import Row, connection_row, detail_row, event_row
from .source import Source
from .verdict import Verdicts

ROWS = 200  # of players, in one window
ORDER_S = 2.0  # an order is kept for so long, and longer by a second for each so many players:
ORDER_PLAYERS = 500
WORDS = 100  # characters of a filter
ORDERS = 64  # kept; there are no more views


@dataclass(frozen=True, slots=True)
class View:
    """What one page looks at; "" as the channel is none."""

    channel: str = ""
    first: int = 0
    rows: int = 50
    sort: str = "joined"
    descending: bool = False
    words: str = ""


NOTHING = View()

# By what players may be ordered; those who joined first come first without asking anybody.
ORDER: dict[str, Callable[[Row], Any]] = {
    "joined": lambda row: 0,
    "address": lambda row: row["address"],
    "agent": lambda row: row["agent"],
    "since": lambda row: -row["since"],
    "sent": lambda row: row["sent"],
    "dropped": lambda row: row["dropped"],
    "lag": lambda row: row.get("lag", 0.0),
}


def view_of(asked: Any) -> View | None:
    """Return the view that a page asks for as JSON, None where it makes no sense."""
    if not isinstance(asked, dict):
        return None
    known: Mapping[str, type] = {
        "channel": str,
        "first": int,
        "rows": int,
        "sort": str,
        "descending": bool,
        "words": str,
    }
    given = {name: asked[name] for name in known if name in asked}
    if any(type(value) is not known[name] for name, value in given.items()):
        return None
    view = View(**given)
    if view.first < 0 or not 0 <= view.rows <= ROWS or view.sort not in ORDER or len(view.words) > WORDS:
        return None
    return view


class Depths:
    """Answers views, and remembers orders between two answers. Blocks as its source does."""

    def __init__(self, source: Source, verdicts: Verdicts, clock: Callable[[], float] = monotonic) -> None:
        self._source = source
        self._verdicts = verdicts
        self._clock = clock
        self._orders: dict[tuple[str, str, bool, str], tuple[float, list[str]]] = {}

    def ends(self, name: str) -> list[Row]:
        """Return what is remembered of who published the channel before. Later ends come with all events."""
        return [event_row(event) for event in self._source.events({}, name).values]

    def show(self, view: View, channel: ChannelValue | None) -> Row:
        """Return what the view shows of this channel; None: there is no such channel now."""
        if channel is None:
            return {"channel": view.channel, "found": False}
        ids = self._ordered(view, channel)
        window = ids[view.first : view.first + view.rows]
        publisher = channel["publisher"]
        asked = [*window, publisher] if publisher else window
        values = self._source.connections(asked).values if asked else []
        rows = {one["id"]: connection_row(one) for one in values}
        return {
            "channel": view.channel,
            "found": True,
            "detail": detail_row(channel, self._verdicts.judge(channel, self._clock())),
            "publisher": rows.get(publisher or ""),
            "total": len(ids),
            "first": view.first,
            "players": [rows[one] for one in window if one in rows],
        }

    def _ordered(self, view: View, channel: ChannelValue) -> list[str]:
        """Return the ids of the players that pass the filter, in the order that the view wants."""
        readers = [reader for reader, _ in channel["readers"]]
        if view.sort == "joined" and not view.words:
            return readers[::-1] if view.descending else readers
        wanted = (view.channel, view.sort, view.descending, view.words)
        there = set(readers)
        now = self._clock()
        kept = self._orders.pop(wanted, None)
        if kept is None or now - kept[0] >= ORDER_S + len(readers) / ORDER_PLAYERS:
            kept = (now, self._order(view, readers))
        self._orders[wanted] = kept
        while len(self._orders) > ORDERS:
            del self._orders[next(iter(self._orders))]
        ids = [one for one in kept[1] if one in there]
        if view.words:
            return ids
        known = set(ids)
        return ids + [one for one in readers if one not in known]  # who came since is last

    def _order(self, view: View, readers: list[str]) -> list[str]:
        rows = [connection_row(one) for one in self._source.connections(readers).values]
        words = view.words.lower()
        if words:
            rows = [row for row in rows if words in _text_of(row)]
        rows.sort(key=ORDER[view.sort], reverse=view.descending)
        return [row["id"] for row in rows]


def _text_of(row: Row) -> str:
    """Return what a filter looks at."""
    return f"#{row['number']} {row['address']} {row['agent']} {row['user']}".lower()

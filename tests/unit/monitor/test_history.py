from __future__ import annotations

import pickle
from collections import Counter

from rtmpsrv.monitor.history import KEPT, KEPT_ENDS, MAX_CHANNELS, History
from rtmpsrv.monitor.values import EventValue, Happening


def event(what: Happening = "unpublish", channel: str = "news", reason: str = "") -> EventValue:
    return {
        "serial": 0, "worker": "", "at": 0.0, "what": what, "connection": "id", "kind": "rtmpConn",
        "remote_ip": "192.0.2.1", "channel": channel, "reason": reason, "seconds": 1.0,
        "received_bytes": 2, "sent_bytes": 3,
    }  # fmt: skip


def test_events_have_growing_serials_and_are_told_from_where_somebody_is() -> None:
    history = History("w1", lambda: 12.5)
    for what in ("publish", "play", "refused", "stop", "unpublish"):
        history.add(event(what))
    told = history.since(0)
    assert [(one["serial"], one["what"]) for one in told["events"]] == [
        (1, "publish"), (2, "play"), (3, "refused"), (4, "stop"), (5, "unpublish"),
    ]  # fmt: skip
    assert told["last"] == 5
    assert {(one["worker"], one["at"]) for one in told["events"]} == {("w1", 12.5)}
    assert [one["serial"] for one in history.since(3)["events"]] == [4, 5]
    assert history.since(5) == {"last": 5, "events": []}


def test_a_serial_of_a_process_that_is_gone_counts_as_none() -> None:
    history = History()
    history.add(event())
    assert len(history.since(2)["events"]) == len(history.since(-1)["events"]) == 1


def test_floods_of_refusals_and_players_push_out_no_ends() -> None:
    history = History()
    history.add(event("unpublish"))
    for _ in range(KEPT + 1):
        history.add(event("refused"))
        history.add(event("play"))
    events = history.since(0)["events"]
    assert len(events) == 2 * KEPT + 1
    assert events[0]["what"] == "unpublish"
    assert events[1]["serial"] == 4


def test_a_channel_keeps_its_last_ends() -> None:
    history = History()
    for number in range(KEPT_ENDS + 2):
        history.add(event(reason=str(number)))
        history.add(event("stop"))
    told = history.of("news")
    assert [one["reason"] for one in told["events"]] == [str(n) for n in range(2, KEPT_ENDS + 2)]
    assert told["last"] == 2 * KEPT_ENDS + 4
    assert history.of("other")["events"] == []


def test_the_channel_whose_last_end_is_longest_ago_makes_room() -> None:
    history = History()
    for number in range(MAX_CHANNELS):
        history.add(event(channel=str(number)))
    history.add(event(channel="0"))
    history.add(event(channel="new"))
    assert history.of("1")["events"] == []
    assert len(history.of("0")["events"]) == 2
    assert len(history.of("2")["events"]) == len(history.of("new")["events"]) == 1


def test_the_next_process_goes_on_with_what_was_and_puts_its_own_behind() -> None:
    first = History("", lambda: 10.0)
    first.add(event("unpublish"))
    first.add(event("refused"))
    second = History("", lambda: 20.0)
    second.add(event("publish", "sport"))
    second.adopt(pickle.loads(pickle.dumps(first.snapshot())))
    assert second.began_at == 10.0
    assert [(one["serial"], one["what"], one["at"]) for one in second.since(0)["events"]] == [
        (1, "unpublish", 10.0), (2, "refused", 10.0), (3, "publish", 20.0),
    ]  # fmt: skip
    assert [one["what"] for one in second.of("news")["events"]] == ["unpublish"]
    second.add(event("unpublish"))
    assert [one["serial"] for one in second.of("news")["events"]] == [1, 4]


def test_what_is_recorded_pushes_out_nothing_else_and_older_processes_had_no_such_thing() -> None:
    history = History()
    history.add(event("publish"))
    for _ in range(KEPT + 1):
        history.add(event("recorded"))
    kinds = Counter(one["what"] for one in history.since(0)["events"])
    assert kinds == {"publish": 1, "recorded": KEPT}
    value = history.snapshot()
    del value["shelves"][3]
    other = History()
    other.add(event("recorded"))
    other.adopt(value)
    assert Counter(one["what"] for one in other.since(0)["events"]) == {"publish": 1, "recorded": 1}

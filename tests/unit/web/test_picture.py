"""What the page shows, and what differs between two looks."""

from __future__ import annotations

import json

import pytest

from rtmpsrv.monitor.values import TrackValue
from rtmpsrv.web import picture
from rtmpsrv.web.verdict import Finding, Verdict
from tests.doubles.monitor_values import (
    audio,
    connection,
    event,
    on_air,
    player,
    process,
    video,
    vitals,
    waited_for,
)

GOOD = Verdict("good", "", "Picture and sound arrive as they should.", ())
BAD = Verdict("bad", "silence", "Nothing arrives.", (Finding("silence", "bad", "Nothing arrives."),))


@pytest.mark.parametrize(
    ("track", "words"),
    [
        (video(), "H264 1920\N{MULTIPLICATION SIGN}1080 30 fps"),
        (video(declared_fps=None, fps=59.94), "H264 1920\N{MULTIPLICATION SIGN}1080 60 fps"),
        (video(width=None, declared_fps=None, fps=None), "H264"),
        (audio(), "AAC 48 kHz stereo"),
        (audio(codec="MPEG-1/2 Audio", sample_rate=44_100, channels=1), "MP3 44.1 kHz mono"),
        (audio(codec="AC-3", channels=6), "AC-3 48 kHz 6 ch"),
        (audio(sample_rate=None, channels=None), "AAC"),
    ],
)
def test_a_track_is_told_in_a_few_words(track: TrackValue, words: str) -> None:
    assert picture.track_words(track) == words


def test_a_channel_on_the_air_has_its_chart_and_verdict() -> None:
    row = picture.channel_row(on_air("live/a", players=3), BAD)
    assert row["players"] == 3
    assert len(row["chart"]) == picture.CHART_S
    assert row["bitrate"] == 4_500_000
    assert (row["verdict"], row["sentence"]) == ("bad", "Nothing arrives.")
    assert [one.split()[0] for one in row["tracks"]] == ["H264", "AAC"]


def test_a_chart_begins_with_its_stream() -> None:
    young = vitals(age_s=3.2, bitrates=[*[0] * 57, 5, 0, 7])
    assert picture.channel_row(on_air("live/a", vitals=young), GOOD)["chart"] == [5, 0, 7]
    silent = vitals(age_s=300.0, bitrates=[*[0] * 57, 5, 0, 7])
    assert len(picture.channel_row(on_air("live/a", vitals=silent), GOOD)["chart"]) == picture.CHART_S


def test_a_channel_that_is_waited_for_has_neither_bitrate_nor_tracks() -> None:
    row = picture.channel_row(waited_for("live/a"), GOOD)
    assert (row["bitrate"], row["chart"], row["tracks"]) == (0, [], [])


def test_the_detail_has_vitals_and_findings_and_speaks_of_codecs_as_people_do() -> None:
    detail = picture.detail_row(on_air("live/a", max_bitrate=6_000_000), BAD)
    assert detail["limit"] == 6_000_000
    assert [track["codec"] for track in detail["vitals"]["tracks"]] == ["H264", "AAC"]
    assert detail["findings"] == [{"rule": "silence", "severity": "bad", "sentence": "Nothing arrives."}]
    assert picture.detail_row(waited_for("live/a"), GOOD)["vitals"] is None


def test_processes_are_told_as_one_server() -> None:
    one = process("w1", not_ready=["draining"], compiled=True)
    other = process("w2", not_ready=["draining", "no keeper"], started_at=5.0)
    row = picture.server_row([one, other], "app-stream")
    assert row["processes"] == 2
    assert row["started"] == 5.0
    assert row["not_ready"] == ["draining", "no keeper"]
    assert (row["ports"], row["secure_ports"]) == ([1935], [443])
    assert row["layout"] == "app-stream"
    assert not row["compiled"]
    assert picture.server_row([], "channel-key")["started"] is None


def test_a_process_that_has_handed_over_says_nothing_of_the_server() -> None:
    left = process("w1", ready=False, not_ready=["it hands over to another process"], succeeded=True)
    assert picture.server_row([left, process("w2")], "channel-key")["not_ready"] == []
    assert picture.server_row([left], "channel-key")["not_ready"] == ["it hands over to another process"]


def test_a_player_has_its_lag_and_a_publisher_has_none() -> None:
    slow = picture.connection_row(connection("slow", "read", "live/a", player=player(lag_s=5.3, jumps=4)))
    assert (slow["lag"], slow["skips"]) == (5.3, 4)
    assert "lag" not in picture.connection_row(connection("publisher", "publish", "live/a"))


def test_an_event_keeps_its_reason() -> None:
    row = picture.event_row(event(4, "refused", reason="no"))
    assert (row["serial"], row["what"], row["reason"]) == (4, "refused", "no")


@pytest.mark.parametrize(
    ("old", "new", "more"),
    [
        ([1, 2, 3], [1, 2, 3, 4], [4]),
        ([1, 2, 3], [1, 2, 3], []),
        ([1, 2, 3], [9, 8, 7, 6], None),
        ([], [1], None),
        ([1, 2], [], None),
        (list(range(60)), list(range(2, 62)), [60, 61]),
        (list(range(60)), list(range(100, 160)), None),
        ([5, *range(59)], [*range(59), 7], [7]),
        ([1, 2, 3], [2, 3, 4], None),  # shorter than a minute it only grows
    ],
)
def test_a_chart_that_moved_on_is_told_by_what_came(
    old: list[int], new: list[int], more: list[int] | None
) -> None:
    assert picture.grown(old, new) == more
    if more is not None:
        assert [*old, *more][-picture.CHART_S :] == new


def test_only_fields_that_changed_are_told() -> None:
    old = picture.channel_row(on_air("live/a"), GOOD)
    rates = old["chart"]
    moved = vitals(bitrates=[*rates[1:], 1], bitrate_10s=9)
    new = picture.channel_row(on_air("live/a", vitals=moved), GOOD)
    assert picture.changed(old, new) == {"bitrate": 9, "more": [1]}


def test_another_publication_has_another_chart() -> None:
    old = picture.channel_row(on_air("live/a"), GOOD)
    new = {**old, "chart": [1]}
    assert picture.changed(old, new) == {"chart": [1]}


def test_channels_that_came_changed_and_went_are_told_and_no_others() -> None:
    old = {name: {"players": 1, "chart": []} for name in ("stays", "changes", "goes")}
    new = {name: {"players": 1, "chart": []} for name in ("stays", "comes")} | {
        "changes": {"players": 2, "chart": []}
    }
    message = picture.changes(old, new)
    assert sorted(message["channels"]) == [
        ["changes", {"players": 2}],
        ["comes", {"players": 1, "chart": []}],
    ]
    assert message["gone"] == ["goes"]
    assert picture.changes(new, new) == {}


def test_rates_are_those_of_the_last_seconds() -> None:
    rates = picture.Rates()
    assert rates.note(100.0, 5000, 5000) == (None, None), "one look makes no rate"
    assert rates.note(101.0, 6000, 7000) == (8000, 16000)
    for second in range(2, 20):
        rates.note(100.0 + second, 6000, 7000)
    assert rates.note(120.0, 6000, 7000) == (0, 0)


def test_a_process_that_went_makes_no_rate_below_zero() -> None:
    rates = picture.Rates()
    rates.note(100.0, 50_000, 50_000)
    assert rates.note(101.0, 1000, 1000) == (None, None)
    assert rates.note(102.0, 2000, 3000) == (8000, 16000)


def test_all_rows_are_json() -> None:
    rows = [
        picture.channel_row(on_air("live/a"), GOOD),
        picture.detail_row(on_air("live/a"), BAD),
        picture.server_row([process()], "channel-key"),
        picture.event_row(event(1, "publish")),
        picture.connection_row(connection("p", "read", "live/a")),
    ]
    assert json.loads(json.dumps(rows)) == rows


def test_many_players_push_out_no_end_of_a_publisher() -> None:
    lately = picture.Lately()
    lately.add([{"what": "unpublish", "at": 1.0}, {"what": "refused", "at": 2.0}])
    lately.add({"what": "play", "at": 3.0 + number} for number in range(1000))
    kept = lately.all()
    assert [one["what"] for one in kept[:3]] == ["unpublish", "refused", "play"]
    assert len(kept) == 2 + picture.EVENTS
    assert kept[-1]["at"] == 1002.0


def test_blocks_are_the_same_within_some_haze() -> None:
    blocks = [("a", 10.0), ("b", 20.0)]
    assert picture.same_blocks(blocks, [("a", 10.4), ("b", 19.7)])
    assert not picture.same_blocks(blocks, [("a", 10.0), ("b", 80.0)])
    assert not picture.same_blocks(blocks, [("a", 10.0)])
    assert not picture.same_blocks(blocks, [("a", 10.0), ("c", 20.0)])

"""What the processes tell becomes what MediaMTX's clients read."""

from __future__ import annotations

from typing import get_type_hints

import pytest

from rtmpsrv.monitor.values import TrackValue
from rtmpsrv.web.items import (
    MAX_READERS,
    codec_props,
    connection_item,
    path_item,
    player_item,
    rfc3339,
    with_moments,
)
from rtmpsrv.web.shapes import AboutPath, Connection, Path
from tests.doubles.monitor_values import (
    NOW,
    audio,
    connection,
    event,
    id_of,
    on_air,
    player,
    process,
    video,
    vitals,
    waited_for,
)
from tests.doubles.verdicts import Opinion, Thought

GOOD = Opinion("good", "", "Picture and sound arrive as they should.")
# The names that MediaMTX has and its clients read, in its order; then ours.
PATH_FIELDS = [
    "name",
    "confName",
    "ready",
    "readyTime",
    "available",
    "availableTime",
    "online",
    "onlineTime",
    "source",
    "tracks",
    "tracks2",
    "readers",
    "inboundBytes",
    "outboundBytes",
    "inboundFramesInError",
    "bytesReceived",
    "bytesSent",
    "rtmpsrv",
]
CONNECTION_FIELDS = [
    "id",
    "created",
    "remoteAddr",
    "state",
    "path",
    "query",
    "user",
    "userAgent",
    "inboundBytes",
    "outboundBytes",
    "outboundFramesDiscarded",
    "bytesReceived",
    "bytesSent",
    "rtmpsrv",
]


def test_a_path_has_the_fields_of_mediamtx_in_its_order() -> None:
    assert list(path_item(on_air("x"), GOOD)) == PATH_FIELDS == list(get_type_hints(Path))


def test_a_connection_has_the_fields_of_mediamtx_in_its_order() -> None:
    assert list(connection_item(connection("x"))) == CONNECTION_FIELDS == list(get_type_hints(Connection))


def test_a_path_that_is_on_the_air() -> None:
    channel = on_air("live/x", readers=[(id_of("a"), "rtmpsConn")], players=1, sent_bytes=5, frames_dropped=2)
    path = path_item(channel, GOOD)
    began = "2025-10-09T08:43:20.000Z"
    assert path["name"] == "live/x"
    assert [path["ready"], path["available"], path["online"]] == [True] * 3
    assert [path["readyTime"], path["availableTime"], path["onlineTime"]] == [began] * 3
    assert path["source"] == {"type": "rtmpConn", "id": id_of("publisher live/x")}
    assert path["readers"] == [{"type": "rtmpsConn", "id": id_of("a")}]
    assert path["inboundBytes"] == path["bytesReceived"] == 337_500_000
    assert path["outboundBytes"] == path["bytesSent"] == 5
    assert path["tracks"] == ["H264", "MPEG-4 Audio"]
    assert path["tracks2"] == [
        {"codec": "H264", "codecProps": {"width": 1920, "height": 1080, "profile": "High", "level": "4.1"}},
        {"codec": "MPEG-4 Audio", "codecProps": {"sampleRate": 48000, "channelCount": 2}},
    ]
    assert path["rtmpsrv"]["vitals"] == vitals()
    assert path["rtmpsrv"]["frames_dropped"] == 2
    assert "events" not in path["rtmpsrv"]
    assert set(path["rtmpsrv"]) == set(get_type_hints(AboutPath)) - {"events"}


def test_a_path_whose_publisher_fell_off_is_held_and_not_online() -> None:
    path = path_item(waited_for("x", suspended=True, started_at=NOW, waits_until_at=NOW + 5), GOOD)
    assert path["rtmpsrv"]["waits_until_at"] == rfc3339(NOW + 5)
    assert [path["ready"], path["available"], path["online"]] == [False, True, False]
    assert [path["readyTime"], path["availableTime"], path["onlineTime"]] == [None, rfc3339(NOW), None]
    assert path["source"] is None


def test_a_path_that_is_only_waited_for() -> None:
    path = path_item(waited_for("x"), GOOD)
    assert [path["ready"], path["available"], path["online"]] == [False] * 3
    assert [path["readyTime"], path["availableTime"], path["onlineTime"]] == [None] * 3
    assert path["source"] is None
    assert (path["tracks"], path["tracks2"]) == ([], [])
    assert path["inboundFramesInError"] == 0
    assert path["rtmpsrv"]["vitals"] is None


def test_the_source_is_an_object_even_where_only_a_mirror_tells() -> None:
    path = path_item(on_air("x", publisher=None, publisher_kind=None), GOOD)
    assert path["source"] == {"type": "rtmpConn", "id": ""}


@pytest.mark.parametrize("more", [0, 1])
def test_readers_are_bounded_and_it_says_so(more: int) -> None:
    everybody = [(id_of(str(index)), "rtmpConn") for index in range(MAX_READERS + more)]
    path = path_item(on_air("x", readers=everybody, players=len(everybody)), GOOD)
    assert len(path["readers"]) == MAX_READERS
    assert path["rtmpsrv"]["readers_truncated"] is bool(more)
    assert path["rtmpsrv"]["players"] == MAX_READERS + more


def test_the_verdict_and_the_last_ends_are_told() -> None:
    thought = Thought("gop_long", "bad", "Keyframes every 12 s.")
    path = path_item(
        on_air("x"), Opinion("bad", "gop_long", thought.sentence, (thought,)), [event(3, "stop")]
    )
    assert path["rtmpsrv"]["health"] == {
        "state": "bad",
        "rule": "gop_long",
        "sentence": "Keyframes every 12 s.",
        "findings": [{"rule": "gop_long", "severity": "bad", "sentence": "Keyframes every 12 s."}],
    }
    assert path["rtmpsrv"]["events"] == [{**event(3, "stop"), "at": "2025-10-09T08:43:23.000Z"}]


def test_a_connection_in_the_words_of_mediamtx() -> None:
    value = connection(
        "x", "read", "live/x", player=player(lag_s=1.5), frames_dropped=9, user="anna", number=4
    )
    assert connection_item(value) == {
        "id": id_of("x"),
        "created": "2025-10-09T08:43:30.000Z",
        "remoteAddr": "192.0.2.10",
        "state": "read",
        "path": "live/x",
        "query": "",
        "user": "anna",
        "userAgent": "LNX 9,0,124,2",
        "inboundBytes": 3_500,
        "outboundBytes": 330_000_000,
        "outboundFramesDiscarded": 9,
        "bytesReceived": 3_500,
        "bytesSent": 330_000_000,
        "rtmpsrv": {
            **{"worker": "", "number": 4, "form": "rtmp", "app": "live", "page_url": "", "swf_url": ""},
            "player": player(lag_s=1.5),
        },
    }
    assert player_item(value) == {"type": "rtmpConn", **connection_item(value)}


@pytest.mark.parametrize(
    ("track", "props"),
    [
        (video(codec="H265", profile="Main", level=""), {"width": 1920, "height": 1080, "profile": "Main"}),
        (video(width=None, height=None, profile="", level="3.1"), {"level": "3.1"}),
        (video(codec="AV1"), {"width": 1920, "height": 1080}),
        (video(codec="VP9", width=None), None),
        (audio(codec="Opus", sample_rate=None), {"channelCount": 2}),
        (audio(channels=None), {"sampleRate": 48000}),
    ],
)
def test_what_is_not_known_of_a_track_is_left_out(track: TrackValue, props: dict[str, object] | None) -> None:
    assert codec_props(track) == props


def test_moments_are_text_and_spans_stay_numbers() -> None:
    value = process(certificate_expires_at=None)
    told: dict[str, object] = {**with_moments(value)}
    assert told == {**value, "started_at": "2025-10-09T07:53:20.000Z"}
    assert {**with_moments(event(1, "stop", seconds=2.5))}["seconds"] == 2.5


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "1970-01-01T00:00:00.000Z"),
        (NOW + 0.123456, "2025-10-09T08:53:20.123Z"),
        (NOW + 0.9999, "2025-10-09T08:53:20.999Z"),
    ],
)
def test_moments_are_utc_to_the_millisecond(seconds: float, text: str) -> None:
    assert rfc3339(seconds) == text

"""`/stat`: order of elements, what readers of nginx-rtmp's need, hostile names, bandwidths of NOALBS."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from hypothesis import given
from hypothesis import strategies as st

from rtmpsrv.monitor.values import ChannelValue, ConnectionValue
from rtmpsrv.web import stat
from tests import stat_readers
from tests.doubles.monitor_source import HTML_NAME, FakeSource, crowd
from tests.doubles.monitor_values import (
    NOW,
    audio,
    connection,
    on_air,
    player,
    process,
    video,
    vitals,
    waited_for,
)

# What nginx-rtmp 1.2.2 writes, in its order; flashver and what stands in <video> are always there here.
ORDER: dict[str, list[str]] = {
    "rtmp": [
        *("nginx_version", "nginx_rtmp_version", "compiler", "built", "pid", "uptime", "naccepted"),
        *("bw_in", "bytes_in", "bw_out", "bytes_out", "server"),
    ],
    "server": ["application"],
    "application": ["name", "live"],
    "live": ["stream", "nclients"],
    "stream": [
        *("name", "time", "bw_in", "bytes_in", "bw_out", "bytes_out", "bw_audio", "bw_video", "client"),
        *("meta", "nclients", "publishing", "active"),
    ],
    "client": [
        *("id", "address", "time", "flashver", "pageurl", "swfurl", "dropped", "avsync", "timestamp"),
        *("publishing", "active"),
    ],
    "meta": ["video", "audio"],
    "video": ["width", "height", "frame_rate", "codec", "profile", "compat", "level"],
    "audio": ["codec", "profile", "channels", "sample_rate"],
}


def client_of(source: FakeSource, url_layout: str = "channel-key", now: float = NOW) -> FlaskClient:
    app = Flask(__name__, static_folder=None)
    app.register_blueprint(stat.blueprint(source, url_layout, lambda: now))
    return app.test_client()


def text_of(source: FakeSource, url_layout: str = "channel-key") -> str:
    return client_of(source, url_layout).get("/stat").get_data(as_text=True)


def document(
    channels: list[ChannelValue], connections: list[ConnectionValue], url_layout: str = "channel-key"
) -> str:
    return stat.document([process()], channels, connections, url_layout, NOW)


def one_stream(channel: ChannelValue) -> str:
    return document([channel], [connection("encoder", "publish", channel["name"])])


def noalbs(text: str, name: str = "x") -> dict[str, Any]:
    found = stat_readers.noalbs(text, "live", name)
    assert found is not None
    return found


# --- the order ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("url_layout", ["channel-key", "app-stream"])
def test_all_elements_are_in_the_order_of_nginx_rtmp(url_layout: str) -> None:
    root = ET.fromstring(text_of(FakeSource(), url_layout))
    seen = set()
    for element in root.iter():
        tags = [one.tag for one in element]
        if not tags:
            continue
        order = ORDER[element.tag]
        places = [order.index(tag) for tag in tags]
        assert places == sorted(places), element.tag
        repeated = {tag for tag in tags if tags.count(tag) > 1}
        assert repeated <= {"application", "stream", "client"}
        seen |= {element.tag, *tags}
    everything = {*ORDER, *(tag for order in ORDER.values() for tag in order)}
    assert everything - seen == {"swfurl", "pageurl"}  # nobody who plays gave any


def test_urls_of_a_player_stand_where_nginx_rtmp_has_them() -> None:
    viewer = connection("viewer", "read", "x", page_url="http://a/?", swf_url="http://b/p.swf")
    (element,) = ET.fromstring(document([on_air("x")], [viewer])).iter("client")
    assert [one.tag for one in element] == [tag for tag in ORDER["client"] if tag != "publishing"]


def test_there_is_one_server_and_always_an_application() -> None:
    root = ET.fromstring(document([], []))
    assert [one.findtext("application/name") for one in root.iter("server")] == ["live"]
    assert stat_readers.noalbs(document([], []), "live", "x") is None


# --- what its readers need ----------------------------------------------------------------------------------


@pytest.mark.parametrize("url_layout", ["channel-key", "app-stream"])
def test_all_readers_of_nginx_rtmp_take_it(url_layout: str) -> None:
    source = FakeSource()
    text = text_of(source, url_layout)
    streams = len([one for one in source.values_of_channels if one["live"] or one["players"]])
    assert len(stat_readers.kaylendog(text)) == streams
    assert len(stat_readers.mauricioabreu(text)) >= streams
    assert len(stat_readers.rfratto(text)) >= streams


def test_readers_find_the_numbers() -> None:
    encoder = connection("encoder", "publish", "x", number=5, frames_dropped=0)
    viewer = connection("viewer", "read", "x", number=6, frames_dropped=41, player=player(lag_s=2.5))
    channel = on_air("x", players=1, sent_bytes=77, vitals=vitals(av_offset_s=-0.12))
    text = document([channel], [encoder, viewer])
    assert stat_readers.kaylendog(text)["live", "x"] == {
        **{"bytes_in": 337_500_000, "bytes_out": 77, "bw_in": 4_500_000, "bw_out": 4_500_000},
        **{"bw_video": 4_340_000, "bw_audio": 160_000, "clients": 1},
    }
    read = stat_readers.mauricioabreu(text)
    assert read["x"]["uptime"] == 600_000.0
    assert read[""] == {
        **{"incoming": 9e9, "outgoing": 55e9, "receive": 4_500_000.0, "transmit": 4_500_000.0},
        "uptime": 3600.0,
    }
    clients = list(ET.fromstring(text).iter("client"))
    told = [(one.findtext("id"), one.findtext("dropped"), one.findtext("timestamp")) for one in clients]
    assert told == [("5", "0", "600000"), ("6", "41", "597500")]
    assert {one.findtext("avsync") for one in clients} == {"-120"}
    assert [one.find("publishing") is not None for one in clients] == [True, False]


def test_the_meta_has_nginx_rtmps_words() -> None:
    meta = noalbs(one_stream(on_air("x")))["meta"]
    assert meta == {
        "video": {
            **{"width": 1920, "height": 1080, "frame_rate": 30.0, "codec": "H264", "profile": "High"},
            **{"compat": 0, "level": 4.1},
        },
        "audio": {"codec": "AAC", "profile": "LC", "channels": 2, "sample_rate": 48_000},
    }


@pytest.mark.parametrize(
    "tracks",
    [
        [],
        [audio()],
        [video()],
        [video(width=None, height=None, declared_fps=None, fps=None, level="?", profile="", codec="")],
        [video(declared_fps=None, fps=29.97), audio(sample_rate=None, channels=None, codec="", profile="")],
    ],
)
def test_what_is_not_known_of_the_tracks_breaks_no_reader(tracks: list[Any]) -> None:
    text = one_stream(on_air("x", vitals=vitals(tracks=tracks)))
    assert "meta" in noalbs(text)
    assert ("live", "x") in stat_readers.kaylendog(text)
    stat_readers.mauricioabreu(text)
    stat_readers.rfratto(text)


def test_a_new_publication_without_vitals_breaks_no_reader() -> None:
    text = one_stream(on_air("x", vitals=None, started_at=None))
    assert noalbs(text)["bw_video"] == 0
    assert stat_readers.kaylendog(text)["live", "x"]["bw_in"] == 0


def test_without_a_publisher_the_stream_is_there_for_its_players_and_offline() -> None:
    waiting = connection("viewer", "read", "x")
    text = document([waited_for("x", suspended=True, players=1)], [waiting])
    assert ("live", "x") in stat_readers.kaylendog(text)
    assert stat_readers.noalbs(text, "live", "x") is None
    assert "<publishing/>" not in text


def test_a_channel_that_nobody_publishes_or_plays_is_no_stream() -> None:
    assert "<stream>" not in document([waited_for("x", suspended=True)], [connection("idle")])


# --- the bandwidth NOALBS goes by ---------------------------------------------------------------------------


def bw_video(**changes: Any) -> int:
    return int(noalbs(one_stream(on_air("x", vitals=vitals(**changes))))["bw_video"])


def test_all_video_tracks_count() -> None:
    assert bw_video(tracks=[video(bitrate_10s=1000), video(track=1, bitrate_10s=500), audio()]) == 1500


def test_a_stream_that_just_began_has_a_bandwidth_as_soon_as_media_came() -> None:
    young = video(bitrate_10s=0, received_bytes=125_000)
    assert bw_video(age_s=2.0, tracks=[young]) == 500_000
    assert (
        bw_video(age_s=0.1, tracks=[young]) == 1_000_000
    )  # a keyframe at once is not a bandwidth of 10 Mb/s
    assert bw_video(age_s=600.0, tracks=[young]) == 0  # the picture has stopped, the sound goes on


@pytest.mark.parametrize(("silence_s", "expected"), [(9.9, 4_340_000), (10.0, 0), (60.0, 0), (None, 0)])
def test_when_all_has_stopped_the_bandwidth_is_0_and_not_the_last_one(
    silence_s: float | None, expected: int
) -> None:
    assert bw_video(silence_s=silence_s) == expected


def test_a_bandwidth_fits_32_bits() -> None:
    assert bw_video(tracks=[video(bitrate_10s=2**32)]) == 2**32 - 1


def test_players_that_wait_are_not_sent_anything() -> None:
    text = one_stream(on_air("x", players=5, waiting=2))
    assert stat_readers.kaylendog(text)["live", "x"]["bw_out"] == 3 * 4_500_000


# --- names --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url_layout", "channel", "expected"),
    [
        ("channel-key", "x", ("live", "x")),
        ("channel-key", "a/b", ("live", "a/b")),
        ("app-stream", "a/b", ("a", "b")),
        ("app-stream", "a/b/c", ("a/b", "c")),
        ("app-stream", "x", ("live", "x")),
        ("app-stream", "/x", ("live", "x")),
    ],
)
def test_the_application_is_what_stands_before_the_last_slash(
    url_layout: str, channel: str, expected: tuple[str, str]
) -> None:
    assert stat.application_and_name(channel, url_layout) == expected


def test_streams_stand_with_their_application() -> None:
    channels = [on_air("a/one"), on_air("live/two"), on_air("a/three")]
    text = document(
        channels, [connection(one["name"], "publish", one["name"]) for one in channels], "app-stream"
    )
    assert set(stat_readers.kaylendog(text)) == {("live", "two"), ("a", "one"), ("a", "three")}
    root = ET.fromstring(text)
    assert [one.findtext("live/nclients") for one in root.iter("application")] == ["1", "2"]


def test_idle_connections_are_no_clients_of_a_channel_without_a_name() -> None:
    text = document([on_air("")], [connection("encoder", "publish", ""), connection("idle")])
    assert ET.fromstring(text).findtext(".//stream/nclients") == "1"


def test_html_in_a_name_stays_text() -> None:
    text = text_of(FakeSource())
    assert HTML_NAME not in text
    assert HTML_NAME in {one.text for one in ET.fromstring(text).iter("name")}


any_text = st.text(st.characters(codec=None, exclude_categories=()), max_size=40)
forbidden = re.compile("[^\t\n\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@given(any_text, any_text)
def test_any_name_makes_good_xml_and_is_found_again(name: str, agent: str) -> None:
    encoder = connection("encoder", "publish", name, user_agent=agent, page_url=agent, swf_url=agent)
    channel = on_air("x", vitals=vitals(tracks=[video(codec=agent, profile=agent)]))
    channel["name"] = name
    text = document([channel], [encoder])
    root = ET.fromstring(text.encode())
    assert root.findtext(".//stream/name") == forbidden.sub("\ufffd", name)
    assert root.findtext(".//client/flashver") == forbidden.sub("\ufffd", agent)
    stat_readers.rfratto(text)


# --- asked for ----------------------------------------------------------------------------------------------


def test_it_comes_whole_as_xml() -> None:
    answer = client_of(FakeSource()).get("/stat")
    assert answer.status_code == 200
    assert answer.mimetype == "text/xml"
    assert answer.content_length == len(answer.data)
    assert answer.data.startswith(b'<?xml version="1.0" encoding="utf-8" ?>\r\n<rtmp>\r\n')
    assert "X-Missing-Workers" not in answer.headers


def test_processes_that_do_not_answer_are_named() -> None:
    source = crowd(4, 1, ["w1", "w2"])
    source.missing = ["w2"]
    answer = client_of(source).get("/stat")
    assert answer.headers["X-Missing-Workers"] == "w2"
    assert len(stat_readers.kaylendog(answer.text)) == 2


def test_nobody_who_answers_is_an_error() -> None:
    source = FakeSource()
    source.missing = [""]
    assert client_of(source).get("/stat").status_code == 503


def test_every_connection_is_a_client() -> None:
    root = ET.fromstring(text_of(crowd(5, 100)))
    assert len(list(root.iter("client"))) == 505
    assert root.findtext("server/application/live/nclients") == "505"

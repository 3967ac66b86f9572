"""`/metrics?format=mediamtx`: names, labels, filters, escapes."""

from __future__ import annotations

import pytest
from flask import Flask
from flask.testing import FlaskClient
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families as read_text

from rtmpsrv.web import mediamtx_metrics, metrics
from rtmpsrv.web.verdict import Verdicts
from tests.doubles.monitor_source import FakeSource
from tests.doubles.monitor_values import connection, id_of, on_air, waited_for

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]
CONNECTION = {"inbound_bytes": 11, "outbound_bytes": 22, "outbound_frames_discarded": 3}
CONNECTION |= {"bytes_received": 11, "bytes_sent": 22}


def house() -> FakeSource:
    readers = [("1", "rtmpConn"), ("2", "rtmpsConn"), ("3", "rtmpConn")]
    numbers = {"received_bytes": 11, "sent_bytes": 22, "frames_dropped": 3}
    return FakeSource(
        [on_air("a/x", readers=readers, received_bytes=5, sent_bytes=6), waited_for("y")],
        [
            connection("encoder", "publish", "a/x", **numbers),
            connection("viewer", "read", "a/x", kind="rtmpsConn", **numbers),
        ],
    )


def client_of(source: FakeSource) -> FlaskClient:
    app = Flask(__name__, static_folder=None)
    app.register_blueprint(metrics.blueprint(source, per_channel=False, verdicts=Verdicts()))
    return app.test_client()


def samples(source: FakeSource, arguments: str = "") -> Samples:
    answer = client_of(source).get(f"/metrics?format=mediamtx{arguments}")
    assert answer.status_code == 200
    assert answer.content_type.startswith("text/plain; version=0.0.4")
    return {
        (one.name, frozenset(one.labels.items())): one.value
        for family in read_text(answer.text)
        for one in family.samples
    }


def labelled(**labels: str) -> frozenset[tuple[str, str]]:
    return frozenset(labels.items())


def test_paths_have_old_and_new_names() -> None:
    read = samples(house(), "&type=paths")
    x, y = labelled(name="a/x", state="ready"), labelled(name="y", state="notReady")
    assert read == {
        ("paths", x): 1,
        ("paths_readers", x | labelled(readerType="rtmpConn")): 2,
        ("paths_readers", x | labelled(readerType="rtmpsConn")): 1,
        ("paths_inbound_bytes", x): 5,
        ("paths_outbound_bytes", x): 6,
        ("paths_inbound_frames_in_error", x): 0,
        ("paths_bytes_received", x): 5,
        ("paths_bytes_sent", x): 6,
        ("paths", y): 1,
        ("paths_readers", y | labelled(readerType="")): 0,
        ("paths_inbound_bytes", y): 0,
        ("paths_outbound_bytes", y): 0,
        ("paths_inbound_frames_in_error", y): 0,
        ("paths_bytes_received", y): 0,
        ("paths_bytes_sent", y): 0,
    }


@pytest.mark.parametrize(
    ("prefix", "what", "state"), [("rtmp_conns", "encoder", "publish"), ("rtmps_conns", "viewer", "read")]
)
def test_connections_have_theirs(prefix: str, what: str, state: str) -> None:
    labels = labelled(id=id_of(what), path="a/x", remoteAddr="192.0.2.10", state=state)
    read = samples(house(), f"&type={prefix}")
    assert read == {
        (prefix, labels): 1,
        **{(f"{prefix}_{name}", labels): value for name, value in CONNECTION.items()},
    }


@pytest.mark.parametrize(
    ("arguments", "families"),
    [
        ("", {"paths", "rtmp_conns", "rtmps_conns"}),
        ("&type=rtmp_conns", {"rtmp_conns"}),
        ("&type=hls_muxers", set()),
        ("&path=a/x", {"paths"}),
        ("&path=nobody", set()),
        (f"&rtmp_conn={id_of('encoder')}", {"rtmp_conns"}),
        (f"&rtmps_conn={id_of('viewer')}", {"rtmps_conns"}),
        (f"&rtmp_conn={id_of('viewer')}", set()),  # it is one of TLS
        ("&type=rtmp_conns&path=a/x", set()),
        (f"&path=a/x&rtmp_conn={id_of('encoder')}", {"paths", "rtmp_conns"}),
    ],
)
def test_filters_pick_as_those_of_mediamtx(arguments: str, families: set[str]) -> None:
    read = {name for name, _ in samples(house(), arguments)}
    assert {one for one in ("paths", "rtmp_conns", "rtmps_conns") if one in read} == families
    if "path=" in arguments:
        assert not [labels for name, labels in samples(house(), arguments) if ("name", "y") in labels]


def test_where_there_is_nothing_the_names_are_there_with_0() -> None:
    read = samples(FakeSource([], []))
    assert set(read.values()) == {0}
    assert {labels for _, labels in read} == {frozenset()}
    assert {name for name, _ in read} == {
        *("paths", "paths_readers", "paths_inbound_bytes", "paths_outbound_bytes"),
        *("paths_inbound_frames_in_error", "paths_bytes_received", "paths_bytes_sent"),
        *(f"{prefix}{name}" for prefix in ("rtmp_conns", "rtmps_conns") for name in ("", *OF_CONNECTIONS)),
        *("hls_sessions", "hls_sessions_outbound_bytes"),
    }


def test_viewers_by_hls_have_names_of_their_own() -> None:
    viewer = connection("x", "read", "live/x", kind="hlsSession", form="hls", sent_bytes=7)
    source = FakeSource([], [viewer])
    read = samples(source, "&type=hls_sessions")
    told = {name: value for (name, labels), value in read.items() if labels}
    assert told == {"hls_sessions": 1, "hls_sessions_outbound_bytes": 7}
    one = samples(source, f"&hls_session={viewer['id']}")
    assert {name for name, labels in one if labels} == set(told)


OF_CONNECTIONS = tuple(f"_{name}" for name in CONNECTION)


@pytest.mark.parametrize("wanted", ["paths", "rtmp_conns"])
def test_nobody_who_answers_is_an_error(wanted: str) -> None:
    source = house()
    source.missing = [""]
    assert client_of(source).get(f"/metrics?format=mediamtx&type={wanted}").status_code == 503


def test_labels_are_escaped() -> None:
    assert mediamtx_metrics.labels(b='x"y\\z\nq', a="\ud800") == '{a="?",b="x\\"y\\\\z\\nq"}'


@given(st.text(st.characters(codec=None, exclude_categories=()), max_size=30))
def test_any_name_stays_in_its_line(name: str) -> None:
    written = mediamtx_metrics.labels(name=name)
    assert "\n" not in written
    written.encode()
    plain = written.replace("\\\\", "").replace('\\"', "")
    assert plain.count('"') == 2

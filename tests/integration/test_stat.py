"""`/stat`, `/control` and `/metrics` of the real server, with one ffmpeg stream, beside nginx-rtmp."""

from __future__ import annotations

import itertools
import re
import urllib.request
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic, sleep

import pytest

from tests import stat_readers
from tests.doubles.secrets import KEY
from tests.media_files import system_tool
from tests.programs import running
from tests.server_process import ServerProcess, free_port
from tests.worker_crew import WorkerCrew

MODULE = "/usr/lib/nginx/modules/ngx_rtmp_module.so"
WAIT_S = 30.0
INPUT = "-re -f lavfi -i testsrc2=size=320x180:rate=25 -f lavfi -i sine=sample_rate=44100"
CODING = "-c:v libx264 -preset veryfast -profile:v high -g 25 -pix_fmt yuv420p -c:a aac -ac 2 -f flv"
# What has to be the same for the same stream; the rest are clocks, ports, versions and counters.
SAME = (
    *("application/name", "application/live/stream/name", "application/live/stream/nclients"),
    *(f"application/live/stream/meta/video/{tag}" for tag in ("width", "height", "frame_rate", "codec")),
    *(f"application/live/stream/meta/video/{tag}" for tag in ("profile", "level")),
    *(f"application/live/stream/meta/audio/{tag}" for tag in ("codec", "profile", "channels", "sample_rate")),
    *("application/live/nclients", "application/live/stream/client/address"),
)

Asked = Callable[[str], str]


@contextmanager
def nginx(directory: Path) -> Iterator[tuple[str, int]]:
    """Run nginx-rtmp; where its streams and its HTTP are."""
    rtmp_port, http_port = free_port(), free_port()
    places = " ".join(
        f"{name}_temp_path {directory}/{name};"
        for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    path = directory / "nginx.conf"
    path.write_text(
        f"load_module {MODULE};\ndaemon off;\nworker_processes 1;\npid {directory}/nginx.pid;\n"
        f"error_log {directory}/error.log;\nevents {{ worker_connections 64; }}\n"
        f"rtmp {{ server {{ listen 127.0.0.1:{rtmp_port}; application live {{ live on; }} }} }}\n"
        f"http {{ access_log off; {places} server {{ listen 127.0.0.1:{http_port};\n"
        f"location /stat {{ rtmp_stat all; }} location /control {{ rtmp_control all; }} }} }}\n"
    )
    log = str(directory / "error.log")
    command = [system_tool("nginx"), "-p", str(directory), "-c", str(path), "-e", log]
    with running(*command):
        until(lambda: (directory / "nginx.pid").exists())
        yield f"rtmp://127.0.0.1:{rtmp_port}/live/x", http_port


@contextmanager
def ours(path: str = "live/x", **settings: str) -> Iterator[tuple[str, int]]:
    """Run the server; where its streams and its HTTP are."""
    http_port = free_port()
    settings = {"URL_LAYOUT": "app-stream", "API_PORT": str(http_port)} | settings
    with ServerProcess(**settings) as server:
        yield f"rtmp://127.0.0.1:{server.port}/{path}", http_port


@contextmanager
def streaming(url: str, asked: Asked) -> Iterator[str]:
    """Publish, and play once it can be; the XML as soon as all of it is there."""
    program = [system_tool("ffmpeg"), "-v", "error", "-nostdin"]
    with running(*program, *INPUT.split(), *CODING.split(), url):
        until(lambda: "<active/>" in asked("/stat"))
        with running(*program, "-i", url, "-f", "null", "-"):
            until(lambda: is_whole(asked("/stat")))
            yield asked("/stat")


def is_whole(document: str) -> bool:
    """Tell whether both clients are there, and what is known of both tracks."""
    known = all(f"<codec>{name}</codec>" in document for name in ("H264", "AAC"))
    return known and "<sample_rate>" in document and document.count("<client>") == 2


def asking(port: int) -> Asked:
    def ask(path: str) -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=WAIT_S) as answer:
            return str(answer.read().decode())

    return ask


def until(condition: Callable[[], bool]) -> None:
    end = monotonic() + WAIT_S
    while not condition():
        assert monotonic() < end
        sleep(0.1)


def orders(document: str) -> tuple[set[str], set[tuple[str, str]]]:
    """Return the paths of all elements, and which of them stand before which others in the same one."""
    paths: set[str] = set()
    before: set[tuple[str, str]] = set()

    def look(element: ET.Element, path: str) -> None:
        names = [f"{path}/{one.tag}" for one in element]
        paths.update(names)
        before.update((one, other) for one, other in itertools.combinations(names, 2) if one != other)
        for one, name in zip(element, names, strict=True):
            look(one, name)

    root = ET.fromstring(document)
    look(root, root.tag)
    return paths, before


@pytest.fixture(scope="module")
def theirs_and_ours(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    with nginx(tmp_path_factory.mktemp("nginx")) as (url, port), streaming(url, asking(port)) as theirs:
        pass
    with ours() as (url, port), streaming(url, asking(port)) as document:
        pass
    return theirs, document


def test_the_order_of_elements_is_that_of_nginx_rtmp(theirs_and_ours: tuple[str, str]) -> None:
    (paths, before), (our_paths, our_before) = (orders(one) for one in theirs_and_ours)
    assert paths <= our_paths
    assert our_paths - paths <= {"rtmp/compiler"}  # Debian's build does not say it
    assert not {(other, one) for one, other in before} & our_before
    assert len(before) > 150


def test_what_is_told_of_the_stream_is_the_same(theirs_and_ours: tuple[str, str]) -> None:
    theirs, document = (ET.fromstring(one).find("server") for one in theirs_and_ours)
    assert theirs is not None
    assert document is not None
    assert {path: document.findtext(path) for path in SAME} == {path: theirs.findtext(path) for path in SAME}


def test_all_readers_take_it_and_see_the_video(theirs_and_ours: tuple[str, str]) -> None:
    _, document = theirs_and_ours
    assert stat_readers.noalbs(document, "live", "x") is not None
    assert stat_readers.kaylendog(document)["live", "x"]["clients"] == 1
    assert stat_readers.mauricioabreu(document)["x"]["incoming"] > 0
    assert stat_readers.rfratto(document) == {"x": 2}


def test_control_drops_as_that_of_nginx_rtmp() -> None:
    with ours() as (url, port):
        ask = asking(port)
        with streaming(url, ask):
            assert ask("/control/drop/subscriber?app=live&name=other") == "0"
            assert ask("/control/drop/subscriber?app=live&name=x") == "1"
            until(lambda: ask("/stat").count("<client>") == 1)
            until(lambda: bitrate(ask("/stat")) > 0)
            assert ask("/control/drop/publisher?app=live&name=x&addr=127.0.0.1") == "1"
            until(lambda: "<client>" not in ask("/stat"))


def bitrate(document: str) -> int:
    """Return the kb/s that NOALBS goes by."""
    found = stat_readers.noalbs(document, "live", "x")
    assert found is not None
    return int(found["bw_video"]) // 1024


def test_metrics_tell_of_the_channel_and_nothing_tells_its_key() -> None:
    settings = {"URL_LAYOUT": "channel-key", "METRICS_PER_CHANNEL": "YES"}
    with ours(f"x/{KEY}", **settings) as (url, port):
        ask = asking(port)
        with streaming(url, ask) as document:
            assert stat_readers.noalbs(document, "live", "x") is not None
            metrics = ask("/metrics")
            assert 'rtmpsrv_connections{protocol="rtmp",role="publisher"} 1.0' in metrics
            assert 'rtmpsrv_connections{protocol="rtmp",role="player"} 1.0' in metrics
            assert 'rtmpsrv_channel_players{channel="x"} 1.0' in metrics
            assert 'rtmpsrv_publishes_total{result="accepted"} 1.0' in metrics
            theirs = ask("/metrics?format=mediamtx")
            assert 'paths_readers{name="x",readerType="rtmpConn",state="ready"} 1' in theirs
            assert KEY not in document + metrics + theirs


def number(metrics: str, series: str) -> float:
    """Return the value of a series; 0 where it is not."""
    (value,) = re.findall(rf"^{re.escape(series)} (\S+)$", metrics, re.MULTILINE) or ["0"]
    return float(value)


def test_what_a_worker_has_counted_stays_when_it_is_killed() -> None:
    http_port = free_port()
    with WorkerCrew(2, API_PORT=str(http_port), URL_LAYOUT="app-stream") as crew:
        ask = asking(http_port)
        with streaming(f"rtmp://127.0.0.1:{crew.port}/live/x", ask):
            before = ask("/metrics")
            accepted = number(before, "rtmpsrv_connections_accepted_total")
            received = number(before, "rtmpsrv_received_bytes_total")
            assert accepted == 2
            assert received > 0
            assert [number(before, f'rtmpsrv_worker_up{{worker="w{one}"}}') for one in (1, 2)] == [1, 1]
            for name in ("w1", "w2"):
                crew.kill(name)
        after = ask("/metrics")
        assert number(after, "rtmpsrv_connections_accepted_total") == accepted
        assert number(after, "rtmpsrv_received_bytes_total") >= received
        assert number(after, 'rtmpsrv_connections{protocol="rtmp",role="publisher"}') == 0
        crew.start_worker()
        crew.wait_for(1)
        until(lambda: number(ask("/metrics"), 'rtmpsrv_worker_up{worker="w3"}') == 1)
        assert number(ask("/metrics"), "rtmpsrv_connections_accepted_total") == accepted

"""Writes the pictures of docs/: the pages over facts and streams made here, in Debian's Chromium.

.venv/bin/python scripts/page_pictures.py [DIRECTORY]
"""

from __future__ import annotations

from gevent import monkey

monkey.patch_all()

import random
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(PROJECT))

import gevent

from rtmpsrv.monitor.values import ChannelValue, ConnectionValue
from tests.browser import NARROW, Browser
from tests.doubles.monitor_source import FakeSource
from tests.doubles.monitor_values import NOW, audio, connection, event, on_air, player, process, video, vitals
from tests.media_files import current_ffmpeg
from tests.page_stage import PageStage
from tests.server_process import ServerProcess, free_port

SIZE = (1280, 800)
MINUTE = 60
# name, viewers, bits per second, how much these swing, minutes on the air
CHANNELS = (
    ("studio-1", 1284, 6_000_000, 0.03, 127),
    ("studio-2", 311, 4_500_000, 0.03, 127),
    ("garden-camera", 42, 2_500_000, 0.12, 3040),
    ("mobile-team", 96, 3_200_000, 0.3, 18),
    ("late-show", 5021, 7_800_000, 0.02, 64),
    ("chess-finals", 733, 3_000_000, 0.05, 211),
    ("weather-map", 58, 900_000, 0.06, 12_600),
    ("rehearsal", 3, 5_200_000, 0.04, 9),
    ("lobby", 17, 1_800_000, 0.08, 720),
)


# name, colours of its picture
WATCHED = (
    ("evening-show", ("0x0b1b3a", "0x1f5c99", "0xd98e5f")),
    ("chess-finals", ("0x2b2118", "0x8a6d4b", "0xe8dcc4")),
    ("garden-camera", ("0x12331c", "0x3f7d4e", "0xcfe3a8")),
)


def main(directory: Path) -> None:
    """Write all pictures."""
    directory.mkdir(parents=True, exist_ok=True)
    with Browser(SIZE) as browser:
        pictures_of_operators(browser, directory)
        pictures_of_viewers(browser, directory)


def pictures_of_operators(browser: Browser, directory: Path) -> None:
    """Write those of docs/monitoring.md."""
    with PageStage(source()) as stage:
        for name, where, dark, size, selector in (
            ("page-light", "", False, SIZE, "#channels .row"),
            ("page-dark", "", True, SIZE, "#channels .row"),
            ("page-narrow", "", False, NARROW, "#channels .row"),
            ("page-channel", "#channel=late-show", False, (1280, 1060), "#view-channel .player-row"),
        ):
            browser.resize(size)
            browser.scheme(dark=dark)
            browser.driver.get("about:blank")
            browser.driver.get(stage.url + where)
            browser.shows(selector, "")
            gevent.sleep(2.5)  # until the rates of the head are there
            save(browser, directory / f"{name}.png")
        browser.driver.get("about:blank")


def pictures_of_viewers(browser: Browser, directory: Path) -> None:
    """Write those of docs/watch.md."""
    port = free_port()
    limits = {"CONCURRENT_LIMIT_WHITELIST": "127.0.0.1", "PLAY_ACCESS": "open"}
    with ServerProcess(HTTP_PORT=str(port), **limits) as server, published(server):
        browser.resize(SIZE)
        browser.scheme(dark=True)
        browser.driver.get(f"http://127.0.0.1:{port}/{WATCHED[0][0]}")
        browser.until(browser.one("#delay").is_displayed)
        gevent.sleep(4)  # until the delay is that of most of the time
        browser.run("document.dispatchEvent(new Event('pointermove'))")  # the bar was gone
        gevent.sleep(0.5)
        save(browser, directory / "watch-dark.png")
        browser.scheme(dark=False)
        browser.resize((1280, 420))
        browser.driver.get(f"http://127.0.0.1:{port}/")
        browser.until(lambda: len(browser.texts("#channels .title")) == len(WATCHED))
        gevent.sleep(5)  # until the pictures are there
        save(browser, directory / "watch-list.png")
        browser.driver.get("about:blank")


@contextmanager
def published(server: ServerProcess) -> Iterator[None]:
    """Publish something to look at on each channel."""
    encoders = []
    for name, colours in WATCHED:
        picture = (
            "gradients=size=640x360:rate=25:x0=60:y0=20:x1=600:y1=340:nb_colors=3:speed=0.001:"
            + ":".join(f"c{number}={colour}" for number, colour in enumerate(colours))
        )
        sources = f"-re -f lavfi -i {picture} -f lavfi -i sine"
        coding = "-c:v libx264 -preset ultrafast -tune zerolatency -g 25 -pix_fmt yuv420p -c:a aac"
        command = [current_ffmpeg(), "-v", "error", "-nostdin", *sources.split(), *coding.split()]
        url = f"rtmp://127.0.0.1:{server.port}/{name}/key"
        encoders.append(subprocess.Popen([*command, "-f", "flv", url]))
        server.wait_for_line(f"publish accepted channel={name}", timeout_s=30)
    try:
        yield
    finally:
        for one in encoders:
            one.kill()
            one.wait()


def save(browser: Browser, path: Path) -> None:
    """Write what the window shows."""
    browser.driver.save_screenshot(str(path))
    print(path, path.stat().st_size)


def source() -> FakeSource:
    """Make a server on an ordinary evening, whose counters go on."""
    chance = random.Random(14)
    channels: list[ChannelValue] = []
    connections: list[ConnectionValue] = []
    for name, viewers, rate, swing, minutes in CHANNELS:
        rates = [round(rate * (1 + swing * chance.uniform(-1, 1))) for _ in range(60)]
        state = vitals(bitrates=rates, bitrate_10s=sum(rates[-10:]) // 10, bitrate_60s=rate)
        if name == "mobile-team":
            rates[-9:] = [round(one * 0.35) for one in rates[-9:]]
            state.update({"bitrate_10s": sum(rates[-10:]) // 10, "media_rate": 0.91, "jitter_s": 0.21})
        elif name == "rehearsal":
            state.update({"gops_s": [10.4, 10.5, 10.4], "keyframe_age_s": 3.1})
        else:
            state["tracks"] = [video(bitrate_10s=rate - 160_000), audio()]
        readers = [
            connection(
                f"{name} {index}",
                "read",
                name,
                number=index + 2,
                remote_ip=f"203.0.113.{index % 200 + 10}",
                user_agent=chance.choice(("LNX 9,0,124,2", "VLC 3.0.20", "FMLE/3.0", "ffplay")),
                created_at=NOW - chance.uniform(10, minutes * MINUTE),
                sent_bytes=round(rate / 8 * chance.uniform(60, minutes * MINUTE)),
                kind="rtmpsConn" if index % 3 == 0 else "rtmpConn",
                player=player(lag_s=4.2, behind_bytes=900_000, jumps=2) if index == 3 else player(),
                frames_dropped=118 if index == 3 else 0,
            )
            for index in range(viewers)
        ]
        publisher = connection(
            f"publisher {name}",
            "publish",
            name,
            remote_ip="198.51.100.7",
            user_agent="FMLE/3.0 (compatible; OBS 31.0)",
            created_at=NOW - minutes * MINUTE - 1,
        )
        channels.append(
            on_air(
                name,
                publisher=publisher["id"],
                players=viewers,
                readers=[(one["id"], one["kind"]) for one in readers],
                vitals=state,
                started_at=NOW - minutes * MINUTE,
                max_bitrate=10_000_000,
                received_bytes=rate // 8 * minutes * MINUTE,
                sent_bytes=rate // 8 * minutes * MINUTE * viewers // 2,
            )
        )
        connections += [publisher, *readers]
    events = [
        event(1, "publish", channel="late-show", remote_ip="198.51.100.7"),
        event(2, "unpublish", channel="late-show", reason="peer closed the connection", seconds=5400.0),
        event(
            3, "refused", channel="late-show", reason="Invalid stream key provided", remote_ip="192.0.2.66"
        ),
    ]
    made = FakeSource(channels, connections, events, [process(compiled=True)])
    gevent.spawn(_go_on, made)
    return made


def _go_on(made: FakeSource) -> None:
    """Let the counters of the process grow as these channels make them."""
    counters = made.values_of_processes[0]["counters"]
    while True:
        counters["received_bytes"] += sum(rate for _, _, rate, _, _ in CHANNELS) // 80
        counters["sent_bytes"] += sum(rate * viewers for _, viewers, rate, _, _ in CHANNELS) // 80
        gevent.sleep(0.1)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else PROJECT / "docs" / "images")

"""Streams that are bad in one way each: the verdict is the right one, and nothing is said of a good one.

All are published at the same time to one server, in real time, until each has the verdict that it is to have;
the tests only look at what came of it.
"""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from time import monotonic
from typing import Any
from urllib.request import urlopen

import gevent
import pytest

from rtmpsrv.media.flv import Tag, TagReader
from rtmpsrv.protocol.messages import AUDIO, VIDEO
from tests.bad_streams import BAD_STREAMS, GOOD_STREAM, BadStream, make_files, publish
from tests.client import Client
from tests.server_process import ServerProcess, free_port

# In real time: beside others that take the machine, a good stream does arrive badly.
pytestmark = pytest.mark.alone

DEADLINE_S = 80.0  # before the streams end
ASK_S = 0.5
CSIDS = {AUDIO: 4, VIDEO: 6}
PAUSES_AT_MS = (3_000, 6_000, 9_000)
PAUSE_S = 1.5
QUIET = BadStream("quiet", "silence", "bad")  # the publisher is halted
SAID_BY_HAND = (
    BadStream("apart", "av_offset", "warning"),
    BadStream("odd", "odd_headers", "warning"),
    BadStream("pausing", "stalls", "warning"),
)
EXPECTED = (*BAD_STREAMS, *SAID_BY_HAND, QUIET, GOOD_STREAM)

Change = Callable[[Tag], Tag]
Health = dict[str, Any]


def sound_is_ahead(tag: Tag) -> Tag:
    """Make sound 400 ms newer than the picture that is sent with it, which no muxer does."""
    return tag._replace(timestamp=tag.timestamp + 400 * (tag.type_id == AUDIO))


def header_makes_no_sense(tag: Tag) -> Tag:
    """Send a configuration of H.264 that has a wrong version and ends early, again and again."""
    is_keyframe = tag.type_id == VIDEO and tag.payload[0] >> 4 == 1
    if is_keyframe and tag.payload[1] == 1 and tag.timestamp % 4000 < 2000:
        return tag._replace(payload=bytes.fromhex("1700000000 ff") + tag.timestamp.to_bytes(4, "big"))
    return tag


def as_it_is(tag: Tag) -> Tag:
    return tag


def send(client: Client, tags: list[Tag], change: Change, pauses_ms: tuple[int, ...] = ()) -> None:
    """Send tags in real time, and what a pause has held back at once after it."""
    began = monotonic()
    waiting = list(pauses_ms)
    for tag in tags:
        if waiting and tag.timestamp >= waiting[0]:
            gevent.sleep(PAUSE_S)
            del waiting[0]
        gevent.sleep(max(began + tag.timestamp / 1000 - monotonic(), 0))
        said = change(tag)
        client.message(said.type_id, said.payload, said.timestamp, 1, CSIDS.get(said.type_id, 5))


class Run:
    """Server and publishers, and the verdicts as they come."""

    def __init__(self, server: ServerProcess, api_port: int, files: dict[str, Path]) -> None:
        self._server = server
        self._url = f"http://127.0.0.1:{api_port}/v3/paths/list?itemsPerPage=1000"
        self._files = files
        self.said: dict[str, list[Health]] = {stream.name: [] for stream in EXPECTED}
        self.matched: dict[str, Health] = {}

    def run(self) -> None:
        """Publish until each stream has its verdict, or the deadline is over. Blocks."""
        processes = {one.name: self._publish(one) for one in (*BAD_STREAMS, QUIET, GOOD_STREAM)}
        clients = [Client(self._server.port).publish(one.name) for one in SAID_BY_HAND]
        tags = TagReader().feed(self._files["well"].read_bytes())
        sending = [
            gevent.spawn(send, clients[0], tags, sound_is_ahead),
            gevent.spawn(send, clients[1], tags, header_makes_no_sense),
            gevent.spawn(send, clients[2], tags, as_it_is, PAUSES_AT_MS),
        ]
        try:
            self._ask(lambda: processes[QUIET.name].send_signal(signal.SIGSTOP))
        finally:
            gevent.killall(sending)
            for client in clients:
                client.close()
            for process in processes.values():
                process.kill()
                process.wait()

    def _publish(self, stream: BadStream) -> subprocess.Popen[bytes]:
        return publish(stream, self._files, f"rtmp://127.0.0.1:{self._server.port}/{stream.name}/key")

    def _ask(self, halt: Callable[[], None]) -> None:
        until, halted = monotonic() + DEADLINE_S, False
        while len(self.matched) < len(EXPECTED) and monotonic() < until:
            with urlopen(self._url, timeout=5) as answer:
                items = {item["name"]: item["rtmpsrv"]["health"] for item in json.load(answer)["items"]}
            for stream in EXPECTED:
                if stream.name in items:
                    self._take(stream, items[stream.name])
            quiet = items.get(QUIET.name)
            if not halted and quiet is not None and quiet["state"] == "good":
                halt()
                halted = True
            gevent.sleep(ASK_S)

    def _take(self, stream: BadStream, health: Health) -> None:
        said = self.said[stream.name]
        if not said or said[-1]["sentence"] != health["sentence"]:
            said.append(health)
        if is_expected(stream, health):
            self.matched.setdefault(stream.name, health)


def is_expected(stream: BadStream, health: Health) -> bool:
    """Tell whether a verdict is the right one; what is worth knowing leaves a stream good."""
    if stream.severity != "info":
        return (health["state"], health["rule"]) == (stream.severity, stream.rule)
    found = [finding["rule"] for finding in health["findings"]]
    return (health["state"], found) == ("good", [stream.rule] if stream.rule else [])


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    files = make_files(tmp_path_factory.mktemp("bad_streams"))
    api_port = free_port()
    limits = {"MAX_IP_CONCURRENT_CONNECTIONS": "100", "MAX_CONNECTIONS": "100"}
    with ServerProcess(API_PORT=str(api_port), **limits) as server:
        made = Run(server, api_port, files)
        made.run()
        yield made
        server.check_log()


@pytest.mark.parametrize("stream", EXPECTED, ids=lambda stream: stream.name)
def test_the_verdict_on_a_stream_is_the_right_one(stream: BadStream, run: Run) -> None:
    assert stream.name in run.matched, run.said[stream.name]
    assert run.matched[stream.name]["sentence"]


def test_no_stream_is_bad_before_it_is_judged(run: Run) -> None:
    assert all(said[0]["state"] == "starting" for said in run.said.values() if said)

"""Who may watch by HTTP, in every form: what is asked of players by RTMP is asked of them."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from http.client import HTTPConnection
from pathlib import Path
from time import time

import pytest

from rtmpsrv.access.stream_tokens import make_token
from tests.access_run import AccessServer, Encoder
from tests.doubles.callback_server import Answer, CallbackServer, Received
from tests.doubles.secrets import JWT_SECRET, KEY, OTHER_KEY
from tests.http_viewers import (
    FORMS,
    FULL,
    GOOD,
    PATIENCE_S,
    POLICY,
    REFUSED,
    Viewer,
    own_address,
    refused,
    wait_until_shown,
)
from tests.server_process import free_port

CHANNELS = ("plain", "few", "signed", "asked", "moody")
ORIGIN = "https://tv.example"
PROXY, TELLER = "127.0.0.5", "127.0.0.6"  # by headers, and by the PROXY protocol
STRANGER = "127.2.0.1"  # may not play
FILE = """
[[channel]]
name = "few"
max_players = 1

[[channel]]
name = "signed"
play_access = "token"
"""
MOODY = f"""
[[channel]]
name = "moody"
play_access = "key"
play_keys = ["{OTHER_KEY}"]
"""


def answer(received: Received) -> Answer:
    """The backend lets nobody watch one channel whose query does not say the word."""
    claims = received.claims
    if received.event == "play" and claims["channel"] == "asked" and "word=yes" not in claims["query"]:
        return Answer(403)
    return Answer()


class Served:
    """A server, with something on the air in all channels."""

    def __init__(self, folder: Path, ends: ExitStack) -> None:
        self.port = free_port()
        self.rules = folder / "channels.toml"
        self.rules.write_text(FILE)
        self.backend = ends.enter_context(CallbackServer(JWT_SECRET))
        self.backend.answer = answer
        self.server = ends.enter_context(
            AccessServer(
                HTTP_PORT=str(self.port),
                CHANNELS_FILE=str(self.rules),
                TOKEN_SECRET=JWT_SECRET,
                JWT_SECRET=JWT_SECRET,
                CALLBACK_URL=self.backend.url,
                CALLBACK_EVENTS="start,stop,play,play_stop",
                RTMP_PLAY_WHITELIST="127.0.0.0/24,127.1.0.0/16,198.51.100.0/24",
                MAX_IP_CONCURRENT_CONNECTIONS="2",
                CONCURRENT_LIMIT_WHITELIST="127.0.0.1",
                HTTP_ALLOW_ORIGIN=ORIGIN,
                HTTP_TRUSTED_PROXIES=PROXY,
                PROXY_PROTOCOL_FROM=TELLER,
            )
        )
        for channel in CHANNELS:
            ends.enter_context(Encoder(self.server.port, channel))
        wait_until_shown(self.port, "plain", f"key={KEY}")

    def status(self, form: str, channel: str, query: str = f"key={KEY}", source: str = "") -> int:
        with Viewer(self.port, form, channel, query, source=source) as viewer:
            return viewer.status

    def change(self, rules: str) -> None:
        since = self.server.mark()
        self.rules.write_text(rules)
        os.kill(self.server.process.pid, signal.SIGHUP)
        self.server.wait_for_line("CHANNELS_FILE", since, timeout_s=PATIENCE_S)

    def heard(self, event: str, channel: str) -> int:
        """How often the backend has heard of an event."""
        return sum(
            one.event == event and one.claims["channel"] == channel for one in list(self.backend.received)
        )


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with ExitStack() as ends:
        yield Served(tmp_path_factory.mktemp("served"), ends)


def token(channel: str, **claims: object) -> str:
    now = int(time())
    return make_token(
        {"iat": now, "exp": now + 60, "channel": channel, "action": "play"} | claims, JWT_SECRET
    )


def eventually(is_so: Callable[[], bool], what: str) -> None:
    from tests.integration.test_admin import eventually as wait

    wait(is_so, what)


def test_the_publishers_key_is_needed(served: Served) -> None:
    for form in FORMS:
        assert served.status(form, "plain") == GOOD
        assert served.status(form, "plain", f"key={OTHER_KEY}") == refused(form, REFUSED)
        assert served.status(form, "plain", "") == refused(form, REFUSED)


def test_a_token_is_needed(served: Served) -> None:
    right, other = token("signed"), token("other")
    old = token("signed", exp=int(time()) - 100)
    for form in FORMS:
        if form == "mp4":
            assert served.status(form, "signed", f"token={old}") == REFUSED
        assert served.status(form, "signed", f"token={other}") == refused(form, REFUSED)
        assert served.status(form, "signed") == refused(form, REFUSED)
        with Viewer(served.port, form, "signed", f"token={right}") as viewer:
            # What is made for several players may not be there yet.
            assert viewer.status in (GOOD, FULL, 404), viewer.text
            assert "connections" not in viewer.text


def test_the_address_counts(served: Served) -> None:
    for form in FORMS:
        assert served.status(form, "plain", source=STRANGER) == refused(form, REFUSED)


def test_the_backend_is_asked_and_told(served: Served) -> None:
    for form in FORMS:
        assert served.status(form, "asked") == refused(form, REFUSED)
    before = served.heard("play_stop", "asked")
    with Viewer(served.port, "flv", "asked", f"key={KEY}&word=yes") as viewer:
        assert viewer.status == GOOD
        assert served.heard("play_stop", "asked") == before
    eventually(lambda: served.heard("play_stop", "asked") == before + 1, "the end of a viewer")


@pytest.mark.parametrize("first", ["flv", "ws-flv", "mp4", "ws-mp4", "hls"])
def test_a_channel_has_so_many_players_in_all_forms(served: Served, first: str) -> None:
    with admitted(served, first, "few"):
        for form in FORMS:
            with Viewer(served.port, form, "few", f"key={KEY}") as other:
                assert other.status == refused(form, FULL), (first, form)
                assert "full (1)" in other.text


def admitted(served: Served, form: str, channel: str) -> Viewer:
    """Return a viewer for whom there is room, as soon as who was there before has left."""
    found: list[Viewer] = []

    def is_admitted() -> bool:
        viewer = Viewer(served.port, form, channel, f"key={KEY}")
        if "full (1)" in viewer.text:
            viewer.close()
            return False
        found.append(viewer)
        return True

    eventually(is_admitted, "room for a viewer")
    return found[0]


def test_an_address_has_so_many_in_all_forms(served: Served) -> None:
    source = own_address()
    query = f"key={KEY}"
    with (
        Viewer(served.port, "flv", "plain", query, source=source),
        Viewer(served.port, "ws-mp4", "plain", query, source=source),
    ):
        for form in FORMS:
            with Viewer(served.port, form, "plain", query, source=source) as other:
                assert other.status == refused(form, FULL)
                assert "limit of 2 connections from one address" in other.text
        page = HTTPConnection("127.0.0.1", served.port, timeout=PATIENCE_S, source_address=(source, 0))
        page.request("GET", "/plain")
        assert page.getresponse().status == GOOD, "who only asks takes no place of those who watch"
        page.close()
    eventually(lambda: served.status("flv", "plain", source=source) == GOOD, "a place that is free again")


def test_who_may_watch_no_more_is_sent_away(served: Served) -> None:
    served.change(FILE + MOODY)
    query = f"key={OTHER_KEY}"
    wait_until_shown(served.port, "moody", query)
    with ExitStack() as ends:
        viewers = {
            form: ends.enter_context(Viewer(served.port, form, "moody", query))
            for form in ("flv", "ws-flv", "mp4", "ws-mp4", "hls")
        }
        assert {form: viewer.status for form, viewer in viewers.items()} == dict.fromkeys(viewers, GOOD)
        link = next(one for one in viewers["hls"].text.splitlines() if one.startswith("live.m3u8"))
        served.change(FILE + MOODY.replace(OTHER_KEY, KEY))
        ends_with = {form: viewers[form].wait_for_end() for form in ("flv", "ws-flv", "mp4", "ws-mp4")}
        assert ends_with == {"flv": 0, "ws-flv": POLICY, "mp4": 0, "ws-mp4": POLICY}
        again = HTTPConnection("127.0.0.1", served.port, timeout=PATIENCE_S)
        again.request("GET", f"/moody/{link}")
        assert again.getresponse().status == REFUSED
        again.close()


def test_pages_of_others_may_read_where_they_are_named(served: Served) -> None:
    headers = {"Origin": ORIGIN}
    for form in ("flv", "mp4", "hls"):
        with Viewer(served.port, form, "plain", f"key={KEY}", headers=headers) as viewer:
            assert viewer.headers["Access-Control-Allow-Origin"] == ORIGIN
        with Viewer(served.port, form, "plain", headers=headers) as viewer:
            assert viewer.status == REFUSED
            assert viewer.headers["Access-Control-Allow-Origin"] == ORIGIN, "else the page sees no status"
        with Viewer(served.port, form, "plain", f"key={KEY}", headers={"Origin": "https://x"}) as viewer:
            assert "Access-Control-Allow-Origin" not in viewer.headers
    asks = HTTPConnection("127.0.0.1", served.port, timeout=PATIENCE_S)
    asks.request("OPTIONS", "/plain.flv", headers=headers | {"Access-Control-Request-Headers": "range"})
    told = asks.getresponse()
    asks.close()
    assert told.status == 204
    assert "range" in str(told.getheader("Access-Control-Allow-Headers")).lower()
    for form in ("ws-flv", "ws-mp4"):
        for origin, status in ((ORIGIN, GOOD), ("http://localhost", GOOD), ("https://x", REFUSED)):
            with Viewer(served.port, form, "plain", f"key={KEY}", headers={"Origin": origin}) as viewer:
                assert viewer.status == status, (form, origin)


def test_who_comes_through_a_proxy_is_who_it_says(served: Served) -> None:
    query = f"key={KEY}"
    for form in FORMS:
        # Two of the same proxy and many more: each counts for itself.
        for client, status in (("198.51.100.7", GOOD), ("203.0.113.7", REFUSED)):
            headers = {"X-Forwarded-For": f"127.0.0.1, {client}"}
            with Viewer(served.port, form, "plain", query, source=PROXY, headers=headers) as viewer:
                assert viewer.status == (status if status == GOOD else refused(form, status)), (form, client)
        headers = {"X-Forwarded-For": "203.0.113.8"}
        with Viewer(served.port, form, "plain", query, headers=headers) as viewer:
            assert viewer.status == GOOD, "anybody can say so"
        with Viewer(
            served.port, form, "plain", query, source=TELLER,
            before=b"PROXY TCP4 203.0.113.9 192.0.2.1 4711 80\r\n",
        ) as viewer:  # fmt: skip
            assert viewer.status == refused(form, REFUSED)
    assert served.server.matching(r"PLAY \(mp4, 198\.51\.100\.7\): plain")

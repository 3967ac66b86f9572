"""What a server that starts says about where to publish."""

from __future__ import annotations

from typing import Any

import pytest

from rtmpsrv.config import Config
from rtmpsrv.greeting import urls, where_to_publish, where_to_watch
from rtmpsrv.server.ports import NO_PORTS


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, ("rtmp://HOST:1935/CHANNEL/KEY", "rtmp://127.0.0.1:1935/live/key")),
        (
            {"bind_address": "::1"},
            ("rtmp://[::1]:1935/CHANNEL/KEY", "rtmp://[::1]:1935/live/key"),
        ),
        (
            {"rtmp_host": "live.example", "url_layout": "app-stream"},
            ("rtmp://live.example:1935/APP/NAME", "rtmp://127.0.0.1:1935/live/stream"),
        ),
    ],
)
def test_urls_are_those_that_work(settings: dict[str, Any], expected: tuple[str, str]) -> None:
    config = Config(**settings)
    assert urls(config, config.bind_address, 1935) == expected


def test_what_is_said_names_the_other_port_and_the_backend() -> None:
    config = Config(ssl_cert="x", ssl_key="y", ssl_port=8443, callback_url="http://h/")
    assert where_to_publish(config, NO_PORTS, 1935) == [
        "Publish to rtmp://HOST:1935/CHANNEL/KEY, or to rtmps://HOST:8443/CHANNEL/KEY, for example "
        "rtmp://127.0.0.1:1935/live/key, if your backend accepts it",
        "Watch the same, for example with: ffplay rtmp://127.0.0.1:1935/live/key",
        "In OBS: Settings, Stream, Service Custom; Server rtmp://127.0.0.1:1935/live, Stream Key key",
    ]


def test_what_is_said_names_what_publishers_and_players_have_to_show() -> None:
    config = Config(publish_access="login", play_access="token", url_layout="app-stream")
    publish, play, _ = where_to_publish(config, NO_PORTS, 1935)
    assert publish == (
        "Publish to rtmp://HOST:1935/APP/NAME, for example rtmp://127.0.0.1:1935/live/stream, "
        "with what PUBLISH_ACCESS=login asks for"
    )
    assert play.endswith("ffplay rtmp://127.0.0.1:1935/live/stream?token=TOKEN")


@pytest.mark.parametrize(
    ("settings", "address", "expected"),
    [
        ({}, "127.0.0.1", ", on this machine (HTTP_BIND_ADDRESS): http://127.0.0.1:8080/live?key=key"),
        (
            {"url_layout": "app-stream", "http_tls": True},
            "::1",
            ", on this machine (HTTP_BIND_ADDRESS): https://[::1]:8080/live/stream",
        ),
        ({"play_access": "open"}, "::", ": http://HOST:8080/CHANNEL, here http://127.0.0.1:8080/live"),
        (
            {"url_layout": "app-stream", "rtmp_host": "live.example"},
            "0.0.0.0",
            ": http://live.example:8080/APP/NAME, here http://127.0.0.1:8080/live/stream",
        ),
        ({}, "192.0.2.7", ": http://192.0.2.7:8080/live?key=key"),
        ({"play_access": "token"}, "192.0.2.7", ": http://192.0.2.7:8080/live?token=TOKEN"),
    ],
)
def test_the_page_to_watch_is_that_of_the_example_and_who_reaches_it_is_said(
    settings: dict[str, Any], address: str, expected: str
) -> None:
    assert where_to_watch(Config(**settings), address, 8080) == f"Watch it in a browser{expected}"

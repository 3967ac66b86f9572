from __future__ import annotations

import pytest

from rtmpsrv.server.http.routes import (
    FLV,
    HLS,
    JPG,
    LIST,
    MAX_KNOWN_LENGTH,
    MAX_PARTS,
    MP4,
    PAGE,
    STATIC,
    Route,
    find,
)


@pytest.mark.parametrize(
    ("path", "route"),
    [
        ("/", Route(LIST)),
        ("/live", Route(PAGE, "live")),
        ("/live.flv", Route(FLV, "live")),
        ("/live.mp4", Route(MP4, "live")),
        ("/live.jpg", Route(JPG, "live")),
        ("/live/index.m3u8", Route(HLS, "live", "index.m3u8")),
        ("/live/7.m4s", Route(HLS, "live", "7.m4s")),
        ("/static/player.js", Route(STATIC, rest="player.js")),
        ("/favicon.ico", Route(STATIC, rest="favicon.ico")),
        ("/static", Route(PAGE, "static")),
        ("/a%20b.flv", Route(FLV, "a b")),
        ("/a%2fb.flv", Route(FLV, "a/b")),
        ("/a.b.flv", Route(FLV, "a.b")),
    ],
)
def test_a_channel_has_one_part(path: str, route: Route) -> None:
    assert find(path, has_paths=False) == route


@pytest.mark.parametrize(
    ("path", "route"),
    [
        ("/live/a", Route(PAGE, "live/a")),
        ("/live/a/b.flv", Route(FLV, "live/a/b")),
        ("/live/a/index.m3u8", Route(HLS, "live/a", "index.m3u8")),
        ("/static/a.flv", Route(STATIC, rest="a.flv")),
    ],
)
def test_a_channel_has_two_parts_and_more_in_the_other_layout(path: str, route: Route) -> None:
    assert find(path, has_paths=True) == route


@pytest.mark.parametrize(
    "path",
    [
        "", "*", "http://x/live.flv", "//", "//live.flv", "/live/", "/live//a.flv", "/./live.flv", "/..",
        "/../x", "/%2e%2e/x.flv", "/live/..", "/.flv", "/live/.m3u8/", "/%ff.flv", "/a%00.flv", "/a%0ab.flv",
        "/index.m3u8", "/a/b.flv", "/a/b/index.m3u8", "/" + "a/" * MAX_PARTS + "b",
    ],
)  # fmt: skip
def test_what_means_nothing(path: str) -> None:
    assert find(path, has_paths=False) is None


@pytest.mark.parametrize("path", ["/live", "/live.flv", "/live/index.m3u8", "/live%2fa.flv", "/a%2fb/c.flv"])
def test_what_means_nothing_in_the_other_layout(path: str) -> None:
    assert find(path, has_paths=True) is None


def test_a_long_path_means_the_same() -> None:
    name = "x" * MAX_KNOWN_LENGTH
    assert find(f"/{name}.flv", has_paths=False) == Route(FLV, name)

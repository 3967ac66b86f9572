"""Playlists as text, against a strict reader with the rules of the standard."""

from __future__ import annotations

from rtmpsrv.media.hls_numbers import Numbering
from rtmpsrv.media.hls_playlist import QUERY, index_of, media_playlist, multivariant, skippable
from rtmpsrv.media.hls_window import Window
from tests.hls_rules import Playlist, check_series, merge, parse


class Channel:
    """Segments of 2 s in four parts, target 3 s."""

    def __init__(self, window_ms: int = 30_000) -> None:
        self.numbering = Numbering(1000, "ab1")
        self.numbering.fix(2000, 1000 / 30)
        self.window = Window(self.numbering, window_ms)
        self.init = self.window.add_init(b"init")
        self.parts = 0
        self.lists: list[str] = []

    def part(self, *, discontinuity: bool = False) -> None:
        """Add a part, and end the segment after four."""
        window = self.window
        if window.open is None:
            window.begin(self.init, 1_700_000_000_000 + self.parts * 500, discontinuity)
        window.add_part(b"x", 500, window.open_parts == 0)
        self.parts += 1
        if window.open_parts == 4:
            window.end(self.parts / 2)
        self.lists.append(media_playlist(window))

    def play(self, parts: int) -> None:
        for _ in range(parts):
            self.part()

    def list(self, *, low_latency: bool = True, skip: bool = False) -> Playlist:
        return parse(media_playlist(self.window, low_latency, skip))


def test_playlist_to_the_letter() -> None:
    made = Channel()
    made.play(5)
    assert media_playlist(made.window).replace(QUERY, "?key=k") == (
        "#EXTM3U\n#EXT-X-VERSION:9\n#EXT-X-TARGETDURATION:3\n"
        "#EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,CAN-SKIP-UNTIL=18.0,PART-HOLD-BACK=1.515,HOLD-BACK=9.0\n"
        "#EXT-X-PART-INF:PART-TARGET=0.505\n"
        "#EXT-X-MEDIA-SEQUENCE:1000\n#EXT-X-DISCONTINUITY-SEQUENCE:1000\n"
        '#EXT-X-MAP:URI="ab1-init1.m4s?key=k"\n'
        "#EXT-X-PROGRAM-DATE-TIME:2023-11-14T22:13:20.000Z\n"
        '#EXT-X-PART:DURATION=0.500,URI="ab1-1000-0.m4s?key=k",INDEPENDENT=YES\n'
        '#EXT-X-PART:DURATION=0.500,URI="ab1-1000-1.m4s?key=k"\n'
        '#EXT-X-PART:DURATION=0.500,URI="ab1-1000-2.m4s?key=k"\n'
        '#EXT-X-PART:DURATION=0.500,URI="ab1-1000-3.m4s?key=k"\n'
        "#EXTINF:2.000,\nab1-1000.m4s?key=k\n"
        "#EXT-X-PROGRAM-DATE-TIME:2023-11-14T22:13:22.000Z\n"
        '#EXT-X-PART:DURATION=0.500,URI="ab1-1001-0.m4s?key=k",INDEPENDENT=YES\n'
        '#EXT-X-PRELOAD-HINT:TYPE=PART,URI="ab1-1001-1.m4s?key=k"\n'
    )


def test_plain_playlist_to_the_letter() -> None:
    """Chromium's own player refuses lists with a preload hint."""
    made = Channel()
    made.play(5)
    assert media_playlist(made.window, low_latency=False).replace(QUERY, "") == (
        "#EXTM3U\n#EXT-X-VERSION:6\n#EXT-X-TARGETDURATION:3\n"
        "#EXT-X-MEDIA-SEQUENCE:1000\n#EXT-X-DISCONTINUITY-SEQUENCE:1000\n"
        '#EXT-X-MAP:URI="ab1-init1.m4s"\n'
        "#EXT-X-PROGRAM-DATE-TIME:2023-11-14T22:13:20.000Z\n"
        "#EXTINF:2.000,\nab1-1000.m4s\n"
    )


def test_series_of_reloads_keeps_the_rules() -> None:
    made = Channel(window_ms=12_000)
    for number in range(200):
        if number == 90:
            made.init = made.window.add_init(b"other")
        made.part(discontinuity=number in (0, 60, 92))
    lists = [parse(text) for text in made.lists]
    check_series(lists)
    assert lists[-1].first > 1000
    assert int(lists[-1].once["EXT-X-DISCONTINUITY-SEQUENCE"]) == 1003
    plain = Channel(window_ms=12_000)
    series = []
    for _ in range(100):
        plain.part()
        series.append(plain.list(low_latency=False))
    check_series(series)


def test_hint_names_the_part_that_comes() -> None:
    made = Channel()
    for _ in range(20):
        hint = parse(media_playlist(made.window)).hint.rstrip(QUERY)
        assert made.window.find(hint) is None
        made.part()
        assert made.window.find(hint) == (b"x",)


def test_map_is_named_again_where_it_changes() -> None:
    made = Channel()
    made.play(4)
    made.init = made.window.add_init(b"other")
    made.play(8)
    text = media_playlist(made.window)
    assert text.count("#EXT-X-MAP") == 2
    assert [one.map_uri.rstrip(QUERY) for one in parse(text).segments] == [
        "ab1-init1.m4s", "ab1-init2.m4s", "ab1-init2.m4s",
    ]  # fmt: skip


def test_delta_makes_the_whole_list() -> None:
    made = Channel(window_ms=60_000)
    made.play(10 * 4)
    assert skippable(made.window) == 0
    for _ in range(30):
        made.part()
        whole, delta = made.list(), made.list(skip=True)
        if delta.skipped:
            assert merge(whole, delta) == whole
    assert made.list(skip=True).skipped > 3
    assert made.list(low_latency=False, skip=True).skipped == 0


def test_delta_names_a_map_that_changes_at_its_beginning() -> None:
    made = Channel(window_ms=60_000)
    made.play(4 * 4)
    made.init = made.window.add_init(b"other")
    made.play(4 * 11)
    whole, delta = made.list(), made.list(skip=True)
    assert delta.skipped
    assert merge(whole, delta) == whole


def test_empty_window_has_a_playlist() -> None:
    made = Channel()
    text = media_playlist(made.window)
    assert "#EXT-X-MEDIA-SEQUENCE:1000\n" in text
    assert parse(text).segments == []


def test_multivariant_says_what_is_in_it() -> None:
    assert multivariant("avc1.64001f,mp4a.40.2", 2_500_000, (1280, 720), 30.0) == (
        "#EXTM3U\n#EXT-X-VERSION:6\n"
        '#EXT-X-STREAM-INF:BANDWIDTH=2500000,CODECS="avc1.64001f,mp4a.40.2",RESOLUTION=1280x720,FRAME-RATE=30.000\n'
        f"live.m3u8{QUERY}\n"
    )
    assert '#EXT-X-STREAM-INF:BANDWIDTH=1,CODECS="opus"\n' in multivariant("opus", 1)


def test_index_tells_what_is_in_the_window() -> None:
    made = Channel()
    assert "BANDWIDTH=10000," in index_of(made.window, "x", None, True)
    for size, frames in ((1000, 25), (3000, 50)):
        made.window.begin(made.init, 0, False)
        made.window.add_part(bytes(size), 1000, True, frames)
        made.window.end(0.0)
    said = index_of(made.window, "avc1.x,mp4a.40.2", (640, 360), False)
    # 24,000 bits in a second, a tenth more, in whole steps.
    assert 'BANDWIDTH=30000,CODECS="avc1.x,mp4a.40.2",RESOLUTION=640x360,FRAME-RATE=50.000\n' in said
    assert 'BANDWIDTH=30000,CODECS="mp4a.40.2"\n' in index_of(made.window, "mp4a.40.2", None, True)

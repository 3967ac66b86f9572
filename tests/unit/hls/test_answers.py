"""Which answer a request gets, and after which wait."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from rtmpsrv.errors import MediaRefused, PeerLost
from rtmpsrv.hls.answers import PRIVATE, START_S, Answer, answer
from rtmpsrv.live.lock import lock_of, shape_of
from rtmpsrv.live.reading import Over, Spliced
from tests.unit.hls.stage import WALL_S, Stage, Viewer


@pytest.fixture
def stage() -> Iterator[Stage]:
    made = Stage()
    made.let_run()
    yield made
    made.close()


@pytest.fixture
def running(stage: Stage) -> Stage:
    """Segments 0 and 1, and some parts of 2."""
    stage.begin()
    stage.play(5)
    return stage


def ask(stage: Stage, name: str, viewer: Viewer | None = None, **query: str) -> Answer:
    return answer(stage.maker, name, query, None, viewer or Viewer(), stage.clock)


def show(stage: Stage, name: str, key: str, viewer: Viewer | None = None, **query: str) -> Answer:
    """Ask as somebody whose key has to be the publisher's."""
    stage.maker.asked(with_key=True)
    return answer(stage.maker, name, query, shape_of(key), viewer or Viewer(), stage.clock)


def whole(found: Answer) -> bytes:
    return found.body if isinstance(found.body, bytes) else b"".join(found.body)


def test_index_names_the_playlist_with_what_a_player_must_show(running: Stage) -> None:
    found = ask(running, "index.m3u8", key="k&/=", token="t", ll="no", s="1", other="x", _HLS_msn="1")
    assert (found.status, found.type) == (200, "application/vnd.apple.mpegurl")
    assert whole(found).endswith(b"\nlive.m3u8?key=k%26%2F%3D&token=t&s=1&ll=no\n")
    assert whole(ask(running, "index.m3u8")).endswith(b"\nlive.m3u8\n")


def test_playlist_comes_at_once(running: Stage) -> None:
    viewer = Viewer()
    found = ask(running, "live.m3u8", viewer, key="k")
    assert (found.status, found.headers) == (200, (("Cache-Control", "no-cache"),))
    assert found.body.count(b"?key=k") == found.body.count(b".m4s")
    assert b"EXT-X-PART:" in found.body
    assert b"EXT-X-PART" not in ask(running, "live.m3u8", ll="no").body
    assert viewer.waited == []


def test_large_playlist_comes_in_pieces(running: Stage) -> None:
    key = "k" * 5000
    small = whole(ask(running, "live.m3u8", key="k"))
    found = ask(running, "live.m3u8", key=key)
    assert isinstance(found.body, list)
    assert b"".join(found.body) == small.replace(b"key=k", b"key=" + key.encode())
    assert len({id(piece) for piece in found.body if len(piece) > len(key)}) == 1


def test_only_what_has_a_meaning_goes_along(running: Stage) -> None:
    assert whole(ask(running, "index.m3u8", ll="x" * 9999)).endswith(b"\nlive.m3u8\n")


def test_first_segment_is_waited_for(stage: Stage) -> None:
    viewer = Viewer(stage.begin, lambda: stage.play(2.5), lambda: stage.play(2.5))
    assert ask(stage, "live.m3u8", viewer).status == 503  # nothing was changed by the beginning
    viewer = Viewer(lambda: stage.play(2.5), lambda: stage.play(0.5))
    assert ask(stage, "live.m3u8", viewer).status == 200


def test_nothing_in_time_is_503(stage: Stage) -> None:
    viewer = Viewer()
    found = ask(stage, "index.m3u8", viewer)
    assert (found.status, viewer.waited) == (503, [START_S])
    assert ("Retry-After", "1") in found.headers
    stage.begin()

    def too_late() -> None:
        stage.play(1.5)
        stage.now += START_S
        stage.maker._tell()

    assert ask(stage, "live.m3u8", Viewer(too_late)).status == 503


def test_what_cannot_be_shown_is_said(stage: Stage) -> None:
    stage.failure = MediaRefused("no MP4 of this")
    stage.begin()
    stage.play(1)
    assert ask(stage, "live.m3u8")[:2] == (415, b"no MP4 of this\n")


def test_maker_that_ended_is_503(stage: Stage) -> None:
    stage.close()
    assert ask(stage, "live.m3u8").status == 503


@pytest.mark.parametrize("query", [{"_HLS_part": "1"}, {"_HLS_msn": "x"}, {"_HLS_msn": str(WALL_S + 9)}])
def test_senseless_directives_are_400(running: Stage, query: dict[str, str]) -> None:
    assert ask(running, "live.m3u8", None, **query).status == 400


def test_reload_waits_for_its_part(running: Stage) -> None:
    window = running.maker.window
    number, part = window.last + 1, window.open_parts
    viewer = Viewer(lambda: running.play(0.6))
    found = ask(running, "live.m3u8", viewer, _HLS_msn=str(number), _HLS_part=str(part))
    assert found.status == 200
    assert b"ab1-%d-%d.m4s" % (number, part) in found.body
    assert viewer.waited == [3.0 * running.numbering.target_s]


def test_reload_that_comes_to_nothing_is_503(running: Stage) -> None:
    number = str(running.maker.window.last + 1)
    assert ask(running, "live.m3u8", _HLS_msn=number).status == 503
    viewer = Viewer(lambda: running.send(Over(1)))
    # The segment was ended with the publication, so that one is there; the next is not.
    assert ask(running, "live.m3u8", viewer, _HLS_msn=number).status == 200
    number = str(running.maker.window.last + 1)
    assert ask(running, "live.m3u8", viewer, _HLS_msn=number).status == 503
    assert len(viewer.waited) == 1  # it did not wait for a publisher that is gone
    assert ask(running, "live.m3u8").status == 200


def test_delta_is_given_to_who_asks(running: Stage) -> None:
    assert ask(running, "live.m3u8", _HLS_skip="YES").body == ask(running, "live.m3u8").body


def test_media_is_for_no_shared_cache(running: Stage) -> None:
    found = ask(running, f"ab1-{WALL_S}.m4s")
    assert (found.status, found.type, found.headers) == (200, "video/mp4", (PRIVATE,))
    assert found.body == running.maker.window.find(f"ab1-{WALL_S}.m4s")
    assert ask(running, f"ab1-{WALL_S}-0.m4s", key="k").headers == (PRIVATE,)
    assert ask(running, "ab1-init1.m4s").body == (b"init1",)
    running.maker.is_sound = True
    assert ask(running, "ab1-init1.m4s").type == "audio/mp4"
    for name in (f"ab1-{WALL_S + 50}.m4s", "x.m4s", "other.m3u8"):
        assert ask(running, name).status == 404


def test_hinted_part_is_waited_for(running: Stage) -> None:
    name = running.maker.window.next_name
    viewer = Viewer(lambda: running.play(0.6))
    found = ask(running, name, viewer)
    assert (found.status, len(viewer.waited)) == (200, 1)
    assert found.body == running.maker.window.find(name)
    assert ask(running, running.maker.window.next_name).status == 503


def test_hinted_part_of_a_publisher_that_is_gone_is_404(running: Stage) -> None:
    running.send(Over(1))
    viewer = Viewer()
    assert ask(running, running.maker.window.next_name, viewer).status == 404
    assert viewer.waited == []


def test_viewer_that_leaves_is_let_go(running: Stage) -> None:
    def leave() -> None:
        raise PeerLost("gone")

    with pytest.raises(PeerLost):
        ask(running, "live.m3u8", Viewer(leave), _HLS_msn=str(running.maker.window.last + 1))


def test_what_is_left_of_a_publisher_is_for_who_has_its_key(stage: Stage) -> None:
    stage.begin(1, b"first")
    stage.play(5)
    stage.send(Over(1))
    for name in ("live.m3u8", "index.m3u8", f"ab1-{WALL_S}.m4s", "ab1-init1.m4s"):
        assert show(stage, name, "first").status == 200
        assert show(stage, name, "wrong").status in (404, 503)
    assert ask(stage, "live.m3u8").status == 200, "nobody asks for a key"


def test_next_publisher_with_another_key_begins_anew(stage: Stage) -> None:
    stage.begin(1, b"first")
    stage.play(5)
    stage.maker.asked(with_key=True)
    stage.begin(2, b"second")
    last = stage.maker.window.last
    assert show(stage, f"ab1-{WALL_S}.m4s", "second").status == 404
    stage.play(5)
    playlist = whole(show(stage, "live.m3u8", "second"))
    assert f"#EXT-X-MEDIA-SEQUENCE:{last + 1}\n".encode() in playlist
    assert b'#EXT-X-DISCONTINUITY\n#EXT-X-MAP:URI="ab1-init2.m4s"' in playlist
    assert show(stage, f"ab1-{WALL_S}.m4s", "second").status == 404
    assert show(stage, f"ab1-{last + 1}.m4s", "second").status == 200
    assert show(stage, f"ab1-{last + 1}.m4s", "first").status == 404
    assert show(stage, "live.m3u8", "first").status == 503


@pytest.mark.parametrize("key", [None, "key"])
def test_window_goes_on_where_no_key_is_asked_for_or_it_is_the_same(stage: Stage, key: str | None) -> None:
    stage.maker.asked(with_key=key is not None)
    stage.begin(1, b"key" if key else b"first")
    stage.play(5)
    stage.begin(2, b"key" if key else b"second")
    stage.play(5)
    found = show(stage, "live.m3u8", key) if key else ask(stage, "live.m3u8")
    assert f"#EXT-X-MEDIA-SEQUENCE:{WALL_S}\n".encode() in whole(found)


def test_publisher_who_goes_on_may_have_another_key(stage: Stage) -> None:
    stage.maker.asked(with_key=True)
    stage.begin(1, b"first")
    stage.play(5)
    stage.source.lock = lock_of(b"second")
    viewer = Viewer(lambda: stage.send(Spliced(stage.source.headers)))
    assert show(stage, "live.m3u8", "second", viewer).status == 200
    assert show(stage, "live.m3u8", "first").status == 200
    assert show(stage, "live.m3u8", "wrong").status == 503


def test_who_waited_gets_nothing_of_the_next_publisher(stage: Stage) -> None:
    stage.begin(1, b"first")
    stage.play(5)

    def another() -> None:
        stage.begin(2, b"second")
        stage.play(5)

    number = str(stage.maker.window.last + 1)
    assert show(stage, "live.m3u8", "first", Viewer(another), _HLS_msn=number).status == 503
    name = stage.maker.window.next_name
    other = Viewer(lambda: stage.begin(3, b"third"), lambda: stage.play(3))
    assert show(stage, name, "second", other).status == 404

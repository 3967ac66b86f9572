"""Which answer a request gets, and after which wait."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from rtmpsrv.errors import MediaRefused, PeerLost
from rtmpsrv.hls.answers import PRIVATE, PUBLIC, START_S, Answer, answer
from rtmpsrv.live.reading import Over
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
    return answer(stage.maker, name, query, viewer or Viewer(), stage.clock)


def whole(found: Answer) -> bytes:
    return found.body if isinstance(found.body, bytes) else b"".join(found.body)


def test_index_names_the_playlist_with_what_a_player_must_show(running: Stage) -> None:
    found = ask(running, "index.m3u8", key="k&/=", token="t", ll="no", s="1", other="x", _HLS_msn="1")
    assert (found.status, found.type) == (200, "application/vnd.apple.mpegurl")
    assert whole(found).endswith(b"\nlive.m3u8?key=k%26%2F%3D&token=t&ll=no&s=1\n")
    assert whole(ask(running, "index.m3u8")).endswith(b"\nlive.m3u8\n")


def test_playlist_comes_at_once(running: Stage) -> None:
    viewer = Viewer()
    found = ask(running, "live.m3u8", viewer, key="k")
    assert (found.status, found.headers) == (200, (("Cache-Control", "no-cache"),))
    assert found.body.count(b"?key=k") == found.body.count(b".m4s")
    assert b"EXT-X-PART:" in found.body
    assert b"EXT-X-PART" not in ask(running, "live.m3u8", ll="no").body
    assert viewer.waited == []


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


def test_media_is_for_all_or_for_one(running: Stage) -> None:
    found = ask(running, f"ab1-{WALL_S}.m4s")
    assert (found.status, found.type, found.headers) == (200, "video/mp4", (PUBLIC,))
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

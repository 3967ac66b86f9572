from __future__ import annotations

from rtmpsrv.av.mp4_viewer import MAX_WAITING_BYTES, Movie, Viewer
from rtmpsrv.media.mp4_live import Cut

MOVIE = Movie("video/mp4", b"init")


def begun(*cuts: Cut) -> Viewer:
    viewer = Viewer()
    viewer.begin(MOVIE, list(cuts))
    return viewer


def test_it_gets_all_that_waits_at_once() -> None:
    viewer = begun(Cut(b"key", True), Cut(b"inter", False))
    assert viewer.movie == MOVIE
    assert viewer.news.is_set()

    viewer.add(Cut(b"more", False))

    assert viewer.take() == b"keyintermore"
    assert viewer.news.is_set()
    assert viewer.take() == b""
    assert not viewer.news.is_set()


def test_without_a_fragment_to_begin_with_it_waits_for_one() -> None:
    viewer = begun()
    viewer.add(Cut(b"inter", False))
    assert viewer.take() == b""

    viewer.add(Cut(b"key", True))
    viewer.add(Cut(b"inter", False))

    assert viewer.take() == b"keyinter"


def test_one_that_takes_nothing_goes_on_at_a_keyframe() -> None:
    viewer = begun(Cut(bytes(MAX_WAITING_BYTES), True), Cut(b"x", False))
    viewer.add(Cut(b"inter", False))
    viewer.add(Cut(b"inter", False))
    viewer.add(Cut(b"key", True))

    assert viewer.take() == b"key"
    assert viewer.left_out == 4


def test_the_end_is_news() -> None:
    viewer = begun()
    viewer.news.clear()
    viewer.refuse("there is none")

    assert (viewer.is_over, viewer.refusal) == (True, "there is none")
    assert viewer.news.is_set()

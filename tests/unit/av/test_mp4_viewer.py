from __future__ import annotations

from rtmpsrv.av.mp4_shelf import Shelf
from rtmpsrv.av.mp4_viewer import Movie, Viewer
from rtmpsrv.media.mp4_live import Cut
from tests.unit.av.asking import Memory


def test_it_gets_what_is_on_the_shelf() -> None:
    memory = Memory()
    shelf = Shelf(memory)
    viewer = Viewer()
    assert viewer.take() == b""
    viewer.leave()
    shelf.put(Cut(b"key", True), 0.0)
    shelf.put(Cut(b"inter", False), 0.0)

    viewer.begin(Movie("video/mp4", b"init", shelf))

    assert viewer.news.is_set()
    assert viewer.take() == b"keyinter"
    assert viewer.news.is_set()
    assert viewer.take() == b""
    assert not viewer.news.is_set()
    assert viewer.left_out == 0
    shelf.end()
    assert memory.used == 8
    viewer.leave()
    assert memory.used == 0


def test_the_end_is_news() -> None:
    viewer = Viewer()
    viewer.refuse("there is none")

    assert (viewer.is_over, viewer.refusal) == (True, "there is none")
    assert viewer.news.is_set()

from __future__ import annotations

from collections.abc import Callable

import gevent
import pytest

from rtmpsrv import log
from rtmpsrv.av import live_mp4, mp4_site
from rtmpsrv.av.mp4_site import MAX_SELECTIONS, Mp4Site, selected
from rtmpsrv.av.mp4_viewer import Viewer
from rtmpsrv.errors import MediaRefused, PeerLost
from rtmpsrv.live.reading import Over
from rtmpsrv.media.mp4_source import MAX_TRACKS, Question, Selection
from tests.unit.av.asking import Memory, Reply, Request, Source, Watched
from tests.unit.av.test_live_mp4 import BEGAN, START

TYPE = 'video/mp4; codecs="avc1.640020,mp4a.40.2"'


@pytest.mark.parametrize(
    ("query", "selection"),
    [
        ({}, Selection(True, 1)),
        ({"audio": "2", "key": "x"}, Selection(True, 2)),
        ({"audio": "no"}, Selection(True, 0)),
        ({"video": "no"}, Selection(False, 1)),
        ({"video": "yes", "audio": "yes"}, Selection(True, 1)),
        ({"video": "no", "audio": "no"}, None),
        ({"video": "2"}, None),
        ({"audio": str(MAX_TRACKS + 1)}, None),
        ({"audio": "9" * 5000}, None),
        ({"audio": "-1"}, None),
        ({"audio": "\u0663"}, Selection(True, 3)),
    ],
)
def test_which_tracks_are_wanted(query: dict[str, str], selection: Selection | None) -> None:
    assert selected(query) == selection


class Stage:
    def __init__(self) -> None:
        self.source = Source()
        self.channel = Watched(lambda: self.source)
        self.site = Mp4Site({"channel": self.channel}.__getitem__, self, Memory(), log.get("AV"))
        self.failure: Exception | None = None
        self.reply = Reply()

    def warm(self) -> None:
        """Do nothing: it is ready."""

    def init(self, question: Question) -> bytes:
        if self.failure is not None:
            raise self.failure
        return b"init"

    def ask(self, *, is_websocket: bool = False, **query: str) -> gevent.Greenlet[[], None]:
        running = gevent.spawn(self.site.handle, Request("channel", is_websocket, query), self.reply)
        gevent.sleep(0)
        gevent.sleep(0)
        return running  # type: ignore[return-value]


def test_a_response_is_one_configuration_of_a_publication() -> None:
    stage = Stage()
    running = stage.ask()
    assert stage.reply.said == []  # nothing is answered while nothing is known
    stage.source.send(BEGAN, START)
    stage.reply.hears("begin", "write", "write")
    assert stage.reply.said[:2] == [("begin", 200, TYPE), ("write", b"init")]
    assert stage.site.describe() == {"makers": 1, "viewers": 1}

    stage.source.send(Over(1))
    running.get(timeout=5)

    assert [one[0] for one in stage.reply.said] == ["begin", "write", "write"]
    assert stage.site.describe()["viewers"] == 0
    stage.site.close()
    assert stage.site.describe() == {"makers": 0, "viewers": 0}


def test_a_websocket_goes_on_with_the_next_publication() -> None:
    stage = Stage()
    running = stage.ask(is_websocket=True)
    assert stage.reply.said == [("accept",)]
    stage.source.send(BEGAN, START)
    stage.reply.hears("accept", "text", "write", "write")
    assert stage.reply.said[1] == ("text", '{"type": "video/mp4; codecs=\\"avc1.640020,mp4a.40.2\\""}')

    stage.source.send(Over(1), BEGAN, START)
    stage.reply.hears("accept", "text", "write", "write", "text", "write", "write")
    stage.reply.left.set()
    with pytest.raises(PeerLost):
        running.get(timeout=5)
    assert stage.site.describe()["viewers"] == 0
    stage.site.close()


@pytest.mark.parametrize("is_websocket", [False, True])
def test_who_holds_too_much_is_disconnected(is_websocket: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    ends: list[object] = []

    class Noting(Viewer):
        def __init__(self, end: Callable[[str], None]) -> None:
            super().__init__(end)
            ends.append(end)

    monkeypatch.setattr(live_mp4, "Viewer", Noting)
    stage = Stage()
    request = Request("channel", is_websocket)
    running = gevent.spawn(stage.site.handle, request, stage.reply)
    gevent.sleep(0)
    stage.site.close()
    running.join(timeout=5)
    assert ends[0] == request.drop


def test_a_websocket_is_closed_when_the_server_ends() -> None:
    stage = Stage()
    running = stage.ask(is_websocket=True)
    stage.source.send(BEGAN, START)
    stage.reply.hears("accept", "text", "write", "write")

    stage.site.close()
    running.get(timeout=5)

    assert stage.reply.said[-1] == ("close", 4503, "come again")


@pytest.mark.parametrize(
    ("is_websocket", "said"),
    [
        (False, ("send", 415, b"it cannot be\n", "text/plain; charset=utf-8")),
        (True, ("close", 4415, "it cannot be")),
    ],
)
def test_what_cannot_be_is_said(is_websocket: bool, said: tuple[object, ...]) -> None:
    stage = Stage()
    stage.failure = MediaRefused("it cannot be")
    running = stage.ask(is_websocket=is_websocket)
    stage.source.send(BEGAN, START)

    running.get(timeout=5)

    assert stage.reply.said[-1] == said
    stage.site.close()


def test_nobody_is_waited_for_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mp4_site, "WAIT_S", 0.01)
    stage = Stage()
    stage.ask().get(timeout=5)

    assert [one[:2] for one in stage.reply.said] == [("send", 503)]
    stage.site.close()


def test_a_query_that_says_nothing_is_refused() -> None:
    stage = Stage()
    stage.ask(video="no", audio="no").get(timeout=5)

    assert [one[:2] for one in stage.reply.said] == [("send", 400)]


def test_only_so_many_selections_of_a_channel_are_made_beside_the_usual_one() -> None:
    stage = Stage()
    running = [stage.ask(audio=str(number)) for number in range(2, 2 + MAX_SELECTIONS)]
    stage.ask(video="no").get(timeout=5)
    stage.ask(is_websocket=True, video="no").get(timeout=5)

    too_many = "Too many ask for different tracks of this channel."
    assert [one[:3] for one in stage.reply.said] == [
        ("send", 503, f"{too_many}\n".encode()),
        ("accept",),
        ("close", 4503, too_many),
    ]
    assert stage.site.describe()["makers"] == MAX_SELECTIONS
    running.append(stage.ask())
    assert stage.site.describe() == {"makers": MAX_SELECTIONS + 1, "viewers": MAX_SELECTIONS + 1}
    stage.site.close()
    gevent.joinall(running, timeout=5)
    assert stage.site.describe()["makers"] == 0


def test_what_is_no_websocket_costs_no_place() -> None:
    class Refusing(Reply):
        def accept(self) -> None:
            raise PeerLost("this is no request for a WebSocket")

    stage = Stage()
    stage.reply = Refusing()
    for number in range(2, 2 + MAX_SELECTIONS):
        with pytest.raises(PeerLost):
            stage.ask(is_websocket=True, audio=str(number)).get(timeout=5)

    assert stage.site._makers == {}

from __future__ import annotations

from collections.abc import Callable, Iterator

import gevent
import pytest
import requests
from gevent.server import StreamServer

from rtmpsrv.access.callback_http import MAX_BODY_BYTES, MAX_HEAD_BYTES, make_session
from rtmpsrv.access.give_way import Share
from rtmpsrv.access.trust import Trust
from rtmpsrv.server.turns import Turns

OK = b"HTTP/1.1 200 OK\r\nstream-id: abc\r\ncontent-length: 0\r\n\r\n"
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class CountingShare:
    """A share that notes how often it was spent."""

    def __init__(self, inner: Share) -> None:
        self.spent = 0
        self._inner = inner

    def spend(self, units: int = 1) -> None:
        self.spent += units
        self._inner.spend(units)


class Counting:
    """Hands out such shares."""

    def __init__(self) -> None:
        self.given: list[CountingShare] = []

    @property
    def shares(self) -> int:
        return len(self.given)

    @property
    def spent(self) -> int:
        return sum(share.spent for share in self.given)

    def share(self) -> Share:
        self.given.append(CountingShare(Turns().share()))
        return self.given[-1]


Say = Callable[[gevent.socket.socket], None]


class Peer:
    """A web server that answers each request as it is told."""

    def __init__(self, say: Say) -> None:
        self.say = say
        self.requests: list[bytes] = []
        self.server = StreamServer(("127.0.0.1", 0), self.talk)
        self.server.start()
        self.url = f"http://127.0.0.1:{self.server.server_port}/"

    def talk(self, connection: gevent.socket.socket, address: object) -> None:
        try:
            while True:
                head = b""
                while b"\r\n\r\n" not in head:
                    part = connection.recv(65536)
                    if not part:
                        return
                    head += part
                self.requests.append(head)
                self.say(connection)
        except OSError:
            pass  # the client has had enough
        finally:
            connection.close()


@pytest.fixture
def session() -> Iterator[requests.Session]:
    give_way = Counting()
    with make_session(give_way, Trust()) as one:
        one.trust_env = False
        yield one


def peer_says(*parts: bytes) -> Say:
    def say(connection: gevent.socket.socket) -> None:
        for part in parts:
            connection.sendall(part)

    return say


def for_ever(part: bytes) -> Say:
    def say(connection: gevent.socket.socket) -> None:
        while True:
            connection.sendall(part)

    return say


@pytest.fixture
def peer() -> Iterator[Peer]:
    one = Peer(peer_says(OK))
    yield one
    one.server.stop()


def test_an_answer_is_read_and_the_connection_used_again(session: requests.Session, peer: Peer) -> None:
    for _ in range(3):
        answer = session.post(peer.url)
        assert answer.status_code == 200
        assert answer.headers["stream-id"] == "abc"
    assert len(peer.requests) == 3
    (pool,) = session.get_adapter(peer.url).poolmanager.pools._container.values()  # type: ignore[attr-defined]
    assert pool.num_connections == 1


def test_some_100_continue_before_the_answer_are_passed_over(session: requests.Session, peer: Peer) -> None:
    peer.say = peer_says(CONTINUE * 20, OK)
    assert session.post(peer.url).status_code == 200


@pytest.mark.parametrize(
    "part",
    [CONTINUE * 4000, b"y" * 65536, b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 4000],
    ids=["100 Continue", "a line", "headers"],
)
def test_a_head_without_end_fails_at_its_limit(peer: Peer, part: bytes) -> None:
    give_way = Counting()
    peer.say = for_ever(part)
    with make_session(give_way, Trust()) as session, gevent.Timeout(5):
        session.trust_env = False
        with pytest.raises(requests.RequestException):
            session.post(peer.url)
    assert give_way.shares == 1


def test_the_head_has_a_limit_and_the_body_another(session: requests.Session, peer: Peer) -> None:
    room = 20_000  # what is read at once may belong to the next part
    body = b"x" * (MAX_BODY_BYTES - room)
    head = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(body)
    passed_over = CONTINUE * ((MAX_HEAD_BYTES - room) // len(CONTINUE))
    peer.say = peer_says(passed_over, head, body)
    assert len(session.post(peer.url).content) == len(body)


def test_a_body_without_end_fails(session: requests.Session, peer: Peer) -> None:
    peer.say = peer_says(b"HTTP/1.1 200 OK\r\n\r\n", b"x" * (2 * MAX_BODY_BYTES + 20_000))
    with pytest.raises(requests.RequestException):
        session.post(peer.url)


def test_a_chunk_size_without_end_fails(session: requests.Session, peer: Peer) -> None:
    def say(connection: gevent.socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
        for_ever(b"0" * 65536)(connection)

    peer.say = say
    with pytest.raises(requests.RequestException):
        session.post(peer.url)


def test_answers_through_a_proxy_are_metered_too(session: requests.Session, peer: Peer) -> None:
    session.proxies = {"http": peer.url}
    assert session.post("http://callback.example/path").status_code == 200
    assert peer.requests[0].startswith(b"POST http://callback.example/path HTTP/1.1\r\n")
    peer.say = for_ever(CONTINUE * 4000)
    with pytest.raises(requests.RequestException), gevent.Timeout(5):
        session.post("http://callback.example/path")


def test_the_answer_of_a_proxy_to_connect_is_metered_too(session: requests.Session, peer: Peer) -> None:
    session.proxies = {"https": peer.url}
    peer.say = for_ever(b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 4000)
    with pytest.raises(requests.RequestException), gevent.Timeout(5):
        session.post("https://callback.example/path")
    assert peer.requests[0].startswith(b"CONNECT callback.example:443")

from __future__ import annotations

import pytest

from rtmpsrv.errors import LocalProtocolError, RemoteProtocolError
from rtmpsrv.protocol import events, messages
from rtmpsrv.protocol.chunks import pack
from rtmpsrv.protocol.commands import Command
from rtmpsrv.protocol.link import MESSAGES_PER_CALL, Link
from rtmpsrv.protocol.state import Phase, Role


def link(**options: object) -> Link:
    made = Link()
    made.phase = Phase.CONNECTED
    for name, value in options.items():
        setattr(made, name, value)
    return made


@pytest.mark.parametrize(
    ("options", "expected"),
    [({}, []), ({"any_media": True}, [[b"v"]]), ({"publish_role": Role.PUBLISHING}, [[b"v"]])],
)
def test_media_is_handed_out_to_those_who_take_it(options: dict[str, object], expected: object) -> None:
    one = link(**options)
    one.receive_data(pack(6, 0, 9, 1, b"v"))
    assert [[message[3] for message in run] for run in one.events() if isinstance(run, list)] == expected


def test_what_the_ends_do_each_in_their_way_is_theirs() -> None:
    with pytest.raises(NotImplementedError):
        Link().receive_data(b"\3")
    with pytest.raises(NotImplementedError):
        link().send(events.Ping(1))
    with pytest.raises(NotImplementedError):
        link()._on_command(Command("x", 0.0, None, []), 0)


PUBLISHER = {"publish_role": Role.PUBLISHING}
MEDIA = pack(4, 1, 8, 1, b"a") + pack(6, 2, 9, 1, b"v")


def payloads(run: object) -> list[bytes]:
    assert isinstance(run, list)
    return [message[3] for message in run]


def test_media_is_taken_in_one_call() -> None:
    one = link(**PUBLISHER)
    assert payloads(one.take_media(MEDIA[:-1])) == [b"a"]
    assert not one.backlog
    assert payloads(one.take_media(MEDIA[-1:])) == [b"v"]
    assert (one.backlog, one.work, one.received_bytes) == (False, 2, len(MEDIA))
    assert list(one.events()) == []
    assert one.take_media(b"") == []
    assert not one.backlog


def test_what_is_not_media_is_left_to_events() -> None:
    one = link(**PUBLISHER)
    ping = messages.user_control(messages.PING_REQUEST, 5)
    assert payloads(one.take_media(MEDIA + ping + MEDIA)) == [b"a", b"v"]
    assert one.backlog
    assert one.take_media(MEDIA) == []  # the ping is not judged yet
    assert [payloads(run) for run in one.events()] == [[b"a", b"v"] * 2]
    answer = messages.user_control(messages.PING_RESPONSE, 5)
    assert (one.backlog, one.data_to_send()) == (False, answer)


def test_media_that_is_taken_is_acknowledged_and_seen_by_who_looks() -> None:
    one = link(**PUBLISHER, peer_window=2 * len(MEDIA))
    one.judged = []
    one.take_media(MEDIA[:-1])
    assert one.data_to_send() == b""
    one.take_media(MEDIA[-1:])
    assert one.data_to_send() == messages.acknowledgement(len(MEDIA))
    assert payloads(one.judged) == [b"a", b"v"]


def test_who_does_not_publish_has_no_media_taken() -> None:
    one = link()
    assert one.take_media(MEDIA) == []
    assert one.backlog
    assert list(one.events()) == []


def test_no_more_is_taken_at_once_than_events_look_at() -> None:
    one = link(**PUBLISHER)
    assert len(one.take_media(MEDIA * MESSAGES_PER_CALL)) == MESSAGES_PER_CALL
    assert one.backlog
    assert [len(payloads(run)) for run in one.events()] == [MESSAGES_PER_CALL]


def test_what_nobody_may_send_ends_it_there_too() -> None:
    one = link(**PUBLISHER)
    with pytest.raises(RemoteProtocolError, match="unknown chunk stream 9"):
        one.take_media(b"\xc9")
    assert one.phase is Phase.ERROR
    with pytest.raises(LocalProtocolError):
        one.take_media(MEDIA)

from __future__ import annotations

import pytest

from rtmpsrv.endpoint.limits import Limits
from rtmpsrv.endpoint.registrations import CLOSED_BY_REGISTRANT, STALLED
from rtmpsrv.endpoint.requests import (
    ANY,
    Exact,
    ListenForPublishers,
    StreamId,
)
from rtmpsrv.endpoint.types import (
    AudioCodec,
    AudioData,
    ConnectionId,
    PublishingStopped,
    RegistrationClosed,
    Statistics,
    VideoCodec,
    VideoData,
)
from tests.unit.endpoint.doubles import observer, publishers, taken, watchers

ONE = ConnectionId("one")


def test_an_announced_client_gets_one_end_however_often_it_is_retired() -> None:
    registration = publishers()
    registration.announce(ONE, lambda reason: None)
    registration.retire(ONE, "gone")
    registration.retire(ONE, "gone")
    assert taken(registration) == [PublishingStopped(ONE)]


def test_closing_ends_clients_then_the_queue_and_disconnects_them() -> None:
    registration = publishers()
    dropped: list[str] = []
    registration.announce(ONE, dropped.append)
    with registration:
        pass
    registration.close("again")
    assert dropped == [CLOSED_BY_REGISTRANT]
    assert taken(registration) == [
        PublishingStopped(ONE),
        RegistrationClosed(CLOSED_BY_REGISTRANT),
        StopIteration,
    ]


def test_disconnect_reaches_only_announced_clients() -> None:
    registration = publishers()
    dropped: list[str] = []
    registration.announce(ONE, dropped.append)
    registration.disconnect(ConnectionId("other"))
    registration.disconnect(ONE)
    assert dropped == ["disconnected by the registrant"]


def test_an_observer_disconnects_nobody() -> None:
    tap = observer()
    dropped: list[str] = []
    tap.announce(ONE, dropped.append)
    with pytest.raises(TypeError):
        tap.disconnect(ONE)
    tap.close()
    assert dropped == []


def test_control_messages_that_nobody_takes_end_the_registration() -> None:
    registration = publishers(Limits(queue_messages=3, stall_s=0.0))
    for _ in range(5):
        registration.put("message")
    assert registration.closed == STALLED


def test_update_changes_what_does_not_identify_the_registration() -> None:
    registration = publishers(rtmp_stream_key=Exact("a"))
    registration.update(requires_approval=True, stream_id="pinned")
    assert registration.request == ListenForPublishers(
        rtmp_app="app", rtmp_stream_key=Exact("a"), requires_approval=True, stream_id=StreamId("pinned")
    )
    for name, value in (("rtmp_app", "b"), ("rtmp_stream_key", ANY), ("port", 1), ("use_tls", True)):
        with pytest.raises(ValueError, match=f"keeps its {name}"):
            registration.update(**{name: value})
    with pytest.raises(TypeError):
        registration.update(colour="red")
    with pytest.raises(TypeError):
        registration.update(ip_restriction="127.0.0.1")
    with pytest.raises(TypeError):
        observer().update(requires_approval=True)


def test_covers_is_exact_or_everything() -> None:
    assert publishers().covers("any")
    assert publishers(rtmp_stream_key=Exact("a")).covers("a")
    assert not publishers(rtmp_stream_key=Exact("a")).covers("A")


def test_what_is_sent_is_counted() -> None:
    registration = watchers()
    registration.send("key", AudioData(b"12", 0))
    registration.send("key", AudioData(b"12", 0, AudioCodec.OPUS))
    assert registration.statistics == Statistics(messages=1, bytes=4)


def test_send_after_close_does_nothing() -> None:
    registration = watchers()
    registration.close()
    assert registration.send("key", AudioData(b"", 0)) == 0


def test_what_cannot_be_sent_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    registration = watchers()
    with caplog.at_level("WARNING", "rtmpsrv"):
        registration.send("key", AudioData(b"", 0, AudioCodec.UNKNOWN))
        registration.send("key", VideoData(b"", 0, VideoCodec.UNKNOWN))
    assert len([record for record in caplog.records if "not sent" in record.getMessage()]) <= 1


def test_a_key_outside_is_refused_without_naming_it() -> None:
    registration = watchers(rtmp_stream_key=Exact("a"))
    with pytest.raises(ValueError, match="does not cover") as caught:
        registration.send("hush", AudioData(b"", 0))
    assert "hush" not in str(caught.value)


def test_end_forgets_the_channel_and_may_be_repeated() -> None:
    registration = watchers()
    registration.send("key", AudioData(b"", 0))
    assert len(registration._registry) == 1
    registration.end("key")
    registration.end("key")
    assert len(registration._registry) == 0

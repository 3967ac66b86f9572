from __future__ import annotations

import dataclasses
import pickle

import pytest

from rtmpsrv.protocol import events

SECRET = "a-secret-key"
EVENTS = [
    events.ConnectAsked(1.0, "app", {"tcUrl": SECRET}),
    events.PublishAsked(1, SECRET),
    events.PlayAsked(1, SECRET),
    events.PublishAccepted(SECRET),
    events.PublishEnded(SECRET),
    events.PauseAsked(True),
    events.ReceiveAsked(True, False),
    events.PublishStopAsked(),
    events.PlayStopAsked(),
    events.Refused("play", "code", "description", 1),
    events.ClientHello(),
    events.StreamAsked(),
    events.StreamCreated(1),
    events.Status(1, "status", "code", SECRET),
    events.Call(0, "FCPublish", 2.0, {"name": SECRET}, (SECRET,)),
    events.HandshakeDone(),
    events.ConnectAccepted(),
    events.ConnectRejected("code", "description"),
    events.PublishRefused("code", "description"),
    events.PlayAccepted(),
    events.PlayRefused("code", "description"),
    events.PlayEnded(),
    events.Ping(1),
]


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: type(event).__name__)
def test_event_shows_no_stream_name(event: events.Event) -> None:
    assert SECRET not in repr(event)


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: type(event).__name__)
def test_event_is_a_value(event: events.Event) -> None:
    assert pickle.loads(pickle.dumps(event)) == event
    for field in dataclasses.fields(event):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(event, field.name, None)


def test_every_event_is_listed_here() -> None:
    declared = {value for value in vars(events).values() if isinstance(value, type)}
    declared = {kind for kind in declared if issubclass(kind, events.Event)} - {events.Event}
    assert {type(event) for event in EVENTS} == declared

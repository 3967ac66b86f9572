from __future__ import annotations

import pytest

from rtmpsrv.protocol import events
from rtmpsrv.protocol.chunks import pack
from rtmpsrv.protocol.commands import Command
from rtmpsrv.protocol.link import Link
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

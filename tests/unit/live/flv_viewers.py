"""Viewers of FLV on a stage, and what they got: read back by the parser of the format."""

from __future__ import annotations

from rtmpsrv.live.player import FLV, PlayerState
from rtmpsrv.media import flv
from rtmpsrv.media.flv import Tag
from tests.unit.live.fakes import FakeSink, Message
from tests.unit.live.stage import Stage


def view(
    stage: Stage,
    *,
    can_sendfile: bool = True,
    room: int | None = None,
    cache: str = "",
    key: str | None = None,
) -> FakeSink:
    """Let a viewer come."""
    return stage.seat(FakeSink(stage.clock, can_sendfile, room), PlayerState(key=key, cache=cache, form=FLV))


def shown(sink: FakeSink) -> flv.TagReader:
    """What the file header says; fails unless all arrived are whole tags."""
    return read(sink)[0]


def tags(sink: FakeSink) -> list[Tag]:
    """All that arrived."""
    return read(sink)[1]


def read(sink: FakeSink) -> tuple[flv.TagReader, list[Tag]]:
    reader = flv.TagReader()
    data = bytes(sink.received)
    found = reader.feed(data)
    again = flv.header(reader.has_audio, reader.has_video) + b"".join([flv.tag(*one) for one in found])
    assert data in (again, b""), "whole tags with right back pointers, and nothing else"
    return reader, found


def media(sink: FakeSink) -> list[tuple[int, bytes]]:
    """Times and payloads of audio and video, headers included."""
    return [(one.timestamp, one.payload) for one in tags(sink) if one.type_id != 18]


def sent(*messages: Message) -> list[tuple[int, bytes]]:
    """The same of what was published."""
    return [(one[1], one[3]) for one in messages]


def ended(sink: FakeSink) -> bool:
    """Whether the connection ends when all is written."""
    return sink.ended

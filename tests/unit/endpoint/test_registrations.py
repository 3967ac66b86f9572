from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from rtmpsrv.endpoint.requests import Exact
from rtmpsrv.endpoint.types import (
    AudioCodec,
    AudioData,
    Statistics,
    VideoCodec,
    VideoData,
)
from tests.unit.endpoint.doubles import watchers


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


@pytest.mark.parametrize("key", [b"k", None, 3])
def test_a_key_of_another_type_is_a_type_error_and_not_nobody(key: Any) -> None:
    registration = watchers()
    calls: list[Callable[[], object]] = [
        lambda: registration.send(key, AudioData(b"", 0)),
        lambda: registration.end(key),
        lambda: registration.watcher_count(key),
        lambda: registration.covers(key),
        lambda: watchers(rtmp_stream_key=Exact("k")).covers(key),
    ]
    for call in calls:
        with pytest.raises(TypeError, match="a stream key is text"):
            call()
    assert len(registration._registry) == 0

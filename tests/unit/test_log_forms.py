"""The forms of log lines. The text form is that of `test_log`; here it is held against JSON."""

from __future__ import annotations

import io
import json
import logging
import sys
from typing import Any

import pytest

from rtmpsrv import log
from rtmpsrv.log_forms import FORMS, MAX_LINE_BYTES

CREATED = 1_769_857_205.1234  # 2026-01-31T11:00:05.123Z


def record(message: str, *args: object, exc_info: Any = None, **extra: object) -> logging.LogRecord:
    made = logging.LogRecord("rtmpsrv", logging.INFO, __file__, 1, message, args, exc_info)
    made.created = CREATED
    made.__dict__ |= extra
    return made


def as_json(message: str, *args: object, process: str = "", **extra: Any) -> dict[str, Any]:
    (line,) = FORMS["json"].lines(record(message, *args, **extra), process)
    assert line.endswith("\n")
    assert line.count("\n") == 1
    assert line.isascii()
    assert len(line) <= MAX_LINE_BYTES
    content: dict[str, Any] = json.loads(line)
    return content


def failure(text: str) -> Any:
    try:
        raise ValueError(text)
    except ValueError:
        return sys.exc_info()


def test_a_line_is_an_object_with_time_level_origin_and_text() -> None:
    said = as_json("got %d", 3, process="W7", prefix="[SERVER:TCP] [#1] ", prefixes=("SERVER:TCP", "#1"))
    assert list(said.items()) == [
        ("time", "2026-01-31T11:00:05.123Z"), ("level", "INFO"), ("process", "W7"), ("logger", "SERVER:TCP"),
        ("session", 1), ("message", "got 3"),
    ]  # fmt: skip


def test_what_is_not_known_is_not_there() -> None:
    assert list(as_json("text")) == ["time", "level", "message"]


def test_a_prefix_that_is_no_number_of_a_connection_is_a_part() -> None:
    assert as_json("text", prefixes=("#1a",))["logger"] == "#1a"


def test_the_end_of_a_connection_has_fields() -> None:
    fields = {
        "event": "closed", "address": "192.0.2.1", "channel": "news", "seconds": 12.34567,
        "received_bytes": 5, "reason": None, "clean": True, "what": b"x",
    }  # fmt: skip
    said = as_json("closed", fields=fields)
    assert said["message"] == "closed"
    assert {name: said[name] for name in fields} == fields | {"seconds": 12.346, "what": "b'x'"}


def test_a_field_does_not_take_the_place_of_another() -> None:
    said = as_json("text", fields={"level": "forged", "message": "forged", "time": "forged"})
    assert (said["level"], said["message"]) == ("INFO", "text")


def test_what_a_peer_sends_is_escaped_as_in_text() -> None:
    peers = 'a\n{"level": "forged"}\r\x1b[2J\x85\u2028\ud800é日😀'
    said = as_json("%s", peers, fields={"channel": peers})
    assert said["message"] == 'a\\n{"level": "forged"}\\r\\x1b[2J\\x85\\u2028\\ud800é日😀'
    assert said["channel"] == said["message"]
    (text,) = FORMS["text"].lines(record("%s", peers), "")
    assert text.endswith(f" [INFO] {said['message']}\n")


def test_a_traceback_is_in_the_object_of_its_line() -> None:
    said = as_json("failed", exc_info=failure("two\nli\x1bnes"))
    assert said["message"] == "failed"
    first, *_, last = said["traceback"].split("\n")
    assert first == "Traceback (most recent call last):"
    assert last == "li\\x1bnes"


@pytest.mark.parametrize(
    "text", ["x" * 1_000_000, "é" * 3000, "😀" * 1000, '"' * 4000, "\\" * 4096, "\x00" * 1500]
)
def test_lines_are_bounded_and_still_objects(text: str) -> None:
    said = as_json("%s", text, process="W7")
    assert said["message"].endswith("...")
    assert len(json.dumps(said)) > MAX_LINE_BYTES - 20


def test_the_longest_texts_are_cut_and_no_others() -> None:
    said = as_json("m" * 1000, fields={"channel": "c" * 100, "reason": "r" * 5000})
    assert said["message"] == "m" * 1000
    assert said["channel"] == "c" * 100
    assert said["reason"].endswith("r...")
    both = as_json("m" * 5000, fields={"reason": "r" * 5000})
    assert both["message"] == "..."
    assert both["reason"].endswith("r...")


def test_of_a_long_traceback_the_end_stays() -> None:
    trace = as_json("failed", exc_info=failure("x" * 5000 + " the end"))["traceback"]
    assert trace.startswith("...x")
    assert trace.endswith("x the end")


def test_a_line_at_the_bound_is_left_whole() -> None:
    room = MAX_LINE_BYTES - len(FORMS["json"].lines(record(""), "")[0])
    assert as_json("y" * room)["message"] == "y" * room
    assert as_json("y" * (room + 1))["message"].endswith("y...")


def test_lines_without_a_record_have_the_same_form() -> None:
    said = json.loads(FORMS["json"].line("WARNING", "lost\n", "W7"))
    assert (said["level"], said["process"], said["message"]) == ("WARNING", "W7", "lost\\n")
    assert FORMS["text"].line("WARNING", "lost", "W7").endswith("] [W7] [WARNING] lost\n")


def test_trace_has_its_name_in_both() -> None:
    made = record("x")
    made.levelno, made.levelname = log.TRACE, "Level 5"
    assert json.loads(FORMS["json"].lines(made, "")[0])["level"] == "TRACE"
    assert FORMS["text"].lines(made, "")[0].endswith(" [TRACE] x\n")


def test_arguments_that_do_not_fit_are_the_callers_to_tell() -> None:
    for form in FORMS.values():
        with pytest.raises(TypeError):
            form.lines(record("%d", "no number"), "")


def test_every_line_of_text_begins_with_the_name_of_the_process() -> None:
    lines = FORMS["text"].lines(record("failed", exc_info=failure("x")), "W7")
    assert len(lines) > 2
    assert all("] [W7] [INFO] " in line for line in lines)
    assert io.StringIO("".join(lines)).readlines() == lines
